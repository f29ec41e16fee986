//! A project that signs its channels, and a device that follows one.

use crate::device::{DESCRIPTOR, Device, IMAGE, NEW, Offer, new_image};
use towline::{
    Trust, TrustError, UpdateError,
    descriptor::root::MAX_ROOT,
    ed25519,
    trust::{NameHash, State},
};
use towline_sim::{
    Origin,
    sample::Table,
    signing::{NamedRole, Signer, root_payload, signed_root},
};

/// When all this takes place, in seconds since 1970.
pub(crate) const NOW: u64 = 1_800_000_000;
/// When the descriptors of this project expire.
pub(crate) const EXPIRES: u64 = NOW + 30 * 24 * 3600;

/// Returns the key that signs roots.
pub(crate) fn root_key() -> Signer {
    Signer::new(1)
}

/// Returns the key of the channel `stable`.
pub(crate) fn stable_key() -> Signer {
    Signer::new(11)
}

/// Returns the key of all other channels.
pub(crate) fn other_key() -> Signer {
    Signer::new(12)
}

/// Returns the root of this number, with this key for `stable`.
pub(crate) fn root_with(version: u32, stable: &Signer) -> String {
    let (root, other) = (root_key(), other_key());
    let roles: [NamedRole<'_>; 3] =
        [("root", 1, &[&root]), ("stable", 1, &[stable]), ("*", 1, &[&other])];
    root_payload("lamp", version, &roles)
}

/// Returns a device that runs this version and trusts this root.
pub(crate) fn trusting(version: &str, root: &str) -> Device {
    let mut device = Device::running(version);
    device.trust = Some(trust(root));
    device.now = Some(NOW);
    device
}

/// Returns a device that trusts the first root.
pub(crate) fn device() -> Device {
    trusting("1.0.0", &root_with(1, &stable_key()))
}

pub(crate) fn trust(root: &str) -> Trust<'static> {
    Trust {
        // For as long as the test runs.
        root: Box::leak(root.as_bytes().into()),
        roots: "https://updates.example/root/",
        verify: ed25519,
    }
}

/// Returns the signed fields of an offer of this image.
pub(crate) fn offer_of(version: &str, image: &[u8], seq: u64) -> Offer {
    Offer::of(version, image)
        .with("seq", seq.to_string())
        .with("issued", NOW.to_string())
        .with("expires", EXPIRES.to_string())
}

/// Returns the signed fields of an offer of the new image.
pub(crate) fn offer(seq: u64) -> Offer {
    offer_of(NEW, &new_image(), seq)
}

/// Returns a host with this descriptor and the new image.
pub(crate) fn host(descriptor: Vec<u8>) -> Origin {
    crate::device::origin(descriptor, &new_image())
}

/// Returns a host that offers this image, signed as it should be.
pub(crate) fn sound_host(version: &str, image: &[u8], seq: u64) -> Origin {
    let mut origin = Origin::default();
    origin.serve(DESCRIPTOR, offer_of(version, image, seq).signed(&[&stable_key()]));
    origin.serve(IMAGE, image.to_vec());
    origin
}

/// Publishes a root.
pub(crate) fn publish_root(origin: &mut Origin, version: u32, payload: &str, by: &[&Signer]) {
    origin.serve(&format!("/root/{version}.json"), signed_root(payload, by));
}

/// Returns how often roots were asked for.
pub(crate) fn roots_asked(origin: &Origin) -> usize {
    origin.asked.iter().filter(|path| path.starts_with("/root/")).count()
}

/// Returns what the device remembers: the `seq` of `stable`, and its root.
pub(crate) fn remembered(device: &Device) -> (Option<u64>, String) {
    let mut flash = device.flash.clone();
    let mut root = [0; MAX_ROOT];
    let region = towline::Region { offset: Table::TRUSTED, size: 0x2000 };
    let (state, len) = State::read(&mut flash, region, &mut root).expect("the flash works");
    let seq = state.newest(NameHash::of("stable")).map(|newest| newest.seq);
    (seq, String::from_utf8_lossy(&root[..len]).into_owned())
}

/// Returns why a device does not believe what it is served; it installs
/// nothing, and not a byte of flash is changed.
#[track_caller]
pub(crate) fn distrust(device: &mut Device, host: &mut Origin) -> TrustError {
    match device.refuses_at_once(host) {
        UpdateError::Trust(error) => {
            assert!(!host.asked.iter().any(|path| path == IMAGE), "the image was fetched");
            error
        }
        error => panic!("not of trust: {error}"),
    }
}

/// Returns why a fresh device does not believe a descriptor. A sound one is
/// believed afterwards.
#[track_caller]
pub(crate) fn distrusts(descriptor: Vec<u8>) -> TrustError {
    let mut device = device();
    let error = distrust(&mut device, &mut host(descriptor));
    device.follows(&mut sound_host(NEW, &new_image(), 1), NEW);
    error
}
