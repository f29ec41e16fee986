//! A signed channel, whose keys are replaced while the device is off, and what
//! the device has to remember of it whenever its power is cut.

use crate::{
    memory::Memory,
    origin::Origin,
    sample::Table,
    signing::{NamedRole, Signer, root_payload, signed_descriptor, signed_root},
};
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, sync::Mutex};
use towline::{
    Region, Trust,
    descriptor::{Key, Root, Signature, root::MAX_ROOT},
    ed25519,
    trust::{NameHash, State},
};

/// The root in the firmware, the one that the device went on to before, and the
/// one that is published.
const ROOTS: [u32; 3] = [1, 2, 3];

/// What a device remembers: the number of its root, and `seq` of its channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Remembered {
    root: u32,
    seq: u64,
}

/// The channel, as it was before, as it offers the update, and after it was
/// signed anew.
#[derive(Clone, Debug)]
pub(super) struct Channel {
    embedded: String,
    pub(super) earlier: Origin,
    pub(super) offering: Origin,
    pub(super) refreshed: Origin,
}

impl Remembered {
    /// What a device remembers at first, and at the end.
    pub(super) const FIRST: Self = Self { root: 2, seq: 4 };
    pub(super) const LAST: Self = Self { root: 3, seq: 6 };

    /// Reads what a device remembers.
    pub(super) fn read(flash: &Memory) -> Self {
        let mut root = [0; MAX_ROOT];
        let region = Region { offset: Table::TRUSTED, size: 0x2000 };
        let (state, len) =
            State::read(&mut flash.clone(), region, &mut root).expect("the power of a copy is on");
        let root = Root::parse(&mut root[..len], "stable").map_or(0, |root| root.version);
        let seq = state.newest(NameHash::of("stable")).map_or(0, |newest| newest.seq);
        Self { root, seq }
    }

    /// Returns whether nothing was forgotten since.
    pub(super) fn is_after(self, earlier: Self) -> bool {
        self.root >= earlier.root && self.seq >= earlier.seq
    }
}

impl Channel {
    /// Makes the channel: its device runs `old`, and `new` is offered, of which
    /// these are the fields.
    pub(super) fn new(old: [&str; 2], new: [&str; 2], images: &Origin) -> Self {
        let origin = |version: u32, [offered, fields]: [&str; 2], seq: u64| {
            let mut origin = images.clone();
            for version in 1..=version {
                let document = signed_root(&root(version), &[&Signer::new(1)]);
                origin.serve(&format!("/root/{version}.json"), document);
            }
            let payload = format!("{{\"seq\":{seq},\"expires\":2000000000,{fields}}}");
            let path = "https://example.org/new.bin";
            let document = signed_descriptor(offered, path, &payload, &[&key(version)]);
            origin.serve("/ota/stable/desk.json", document);
            origin
        };
        Self {
            embedded: root(ROOTS[0]),
            earlier: origin(ROOTS[1], old, Remembered::FIRST.seq),
            offering: origin(ROOTS[2], new, Remembered::LAST.seq - 1),
            refreshed: origin(ROOTS[2], new, Remembered::LAST.seq),
        }
    }

    /// Returns what the firmware trusts.
    pub(super) fn trust(&self) -> Trust<'_> {
        Trust { root: self.embedded.as_bytes(), roots: "https://example.org/root/", verify }
    }
}

/// Verifies each signature once: there are few, and many lives.
fn verify(key: &Key, message: &[&[u8]], signature: &Signature) -> bool {
    static KNOWN: Mutex<BTreeMap<[u8; 32], bool>> = Mutex::new(BTreeMap::new());
    let asked = Sha256::new().chain_update(key.0).chain_update(signature.0);
    let asked = asked.chain_update(message.concat()).finalize().into();
    let known = KNOWN.lock().expect("no thread panics").get(&asked).copied();
    known.unwrap_or_else(|| {
        let is_sound = ed25519(key, message, signature);
        KNOWN.lock().expect("no thread panics").insert(asked, is_sound);
        is_sound
    })
}

/// Returns the key of the channel while this root is the newest.
fn key(version: u32) -> Signer {
    Signer::new(10 + version as u8)
}

fn root(version: u32) -> String {
    let (root, key) = (Signer::new(1), key(version));
    let roles: [NamedRole<'_>; 2] = [("root", 1, &[&root]), ("stable", 1, &[&key])];
    root_payload("lamp", version, &roles)
}
