//! Images that are not what was offered, or no sound images.

use crate::device::{Device, NEW, NEXT, Offer, TABLE, image, new_image, sound_origin};
use towline::{
    Guard, OtaError, Outcome, Reason, Reset, UpdateError, descriptor::Chip, image::ImageError,
};
use towline_sim::{
    Kind, MemoryError,
    sample::{app_image, seal, with_secure_version},
};

/// Returns why an image is refused that was fetched, and that its descriptor
/// describes so. A sound image is installed afterwards.
#[track_caller]
fn refused(device: &Device, offer: &Offer, image: &[u8]) -> OtaError<MemoryError> {
    let mut device = device.clone();
    let error = match device.refuses(&mut offer.origin(image)) {
        UpdateError::Ota(error) => error,
        error => panic!("not of the image: {error}"),
    };
    assert!(!spare_boots(&device), "the refused image is bootable");
    device.follows(&mut sound_origin(NEXT, 20_000), NEXT);
    error
}

/// As [`refused`], and flash is not touched: the head of the image tells.
#[track_caller]
fn refused_by_its_head(device: &Device, offer: &Offer, image: &[u8]) -> OtaError<MemoryError> {
    device.clone().refuses_at_once(&mut offer.origin(image));
    refused(device, offer, image)
}

/// Returns why an offer is refused of which nothing was fetched.
#[track_caller]
fn stays(device: &Device, offer: &Offer, image: &[u8]) -> Reason {
    let mut host = offer.origin(image);
    let reason = device.clone().stays(&mut host);
    assert_eq!(host.sent, offer.json().len(), "the image was fetched");
    reason
}

/// Returns whether the bootloader would boot what the spare slot holds, were
/// there nothing else.
fn spare_boots(device: &Device) -> bool {
    let mut flash = device.flash.clone();
    let running = TABLE.offset(0) as usize;
    flash.bytes_mut()[running..][..4096].fill(0xFF);
    towline_sim::boot(&mut flash, Kind::Stock).is_ok()
}

#[test]
fn a27_a_wrong_sha256_is_refused() {
    let (offered, other) = (new_image(), seal(changed(new_image(), 80_000)));
    assert_eq!(offered.len(), other.len());
    assert_eq!(refused(&Device::new(), &Offer::of(NEW, &offered), &other), OtaError::Digest);
    let zeros = format!("\"{}\"", "0".repeat(64));
    let offer = Offer::of(NEW, &offered).with("sha256", zeros);
    assert_eq!(refused(&Device::new(), &offer, &offered), OtaError::Digest);
}

#[test]
fn a27_without_a_sha256_nothing_is_installed() {
    let offer = Offer::of(NEW, &new_image());
    for field in ["sha256", "size"] {
        let reason = stays(&Device::new(), &offer.clone().without(field), &new_image());
        assert_eq!(reason, Reason::Unverifiable);
    }
}

fn changed(mut image: Vec<u8>, at: usize) -> Vec<u8> {
    image[at] ^= 0x10;
    image
}

/// Changed anywhere, with its own checks made anew or not.
#[test]
fn a27_a_changed_byte_anywhere_is_refused() {
    let sound = image(NEW, 10_000);
    let offer = Offer::of(NEW, &sound);
    let device = Device::new();
    for at in (0..sound.len()).step_by(97) {
        refused(&device, &offer, &changed(sound.clone(), at));
        if at >= 32 && at < sound.len() - 48 {
            refused(&device, &offer, &seal(changed(sound.clone(), at)));
        }
    }
}

#[test]
fn a28_an_image_of_another_chip_is_refused() {
    let device = Device::new();
    let other = app_image(Chip::Esp32c6, "lamp", NEW, 90_000);
    let honest = Offer::of(NEW, &other)
        .with("chip", "\"esp32c6\"")
        .with("chip_id", Chip::Esp32c6.id().to_string());
    assert_eq!(stays(&device, &honest, &other), Reason::OtherChip);
    for silent in
        [Offer::of(NEW, &other), Offer::of(NEW, &other).without("chip").without("chip_id")]
    {
        assert_eq!(refused_by_its_head(&device, &silent, &other), OtaError::OtherChip);
    }
    // A chip that nobody knows.
    let mut unknown = new_image();
    unknown[12..14].copy_from_slice(&0x7777_u16.to_le_bytes());
    let unknown = seal(unknown);
    assert_eq!(
        refused_by_its_head(&device, &Offer::of(NEW, &unknown), &unknown),
        OtaError::OtherChip
    );
    let id = Offer::of(NEW, &unknown).with("chip_id", "30583").with("chip", "\"esp32c3\"");
    assert_eq!(stays(&device, &id, &unknown), Reason::OtherChip);
}

#[test]
fn a29_an_image_of_another_project_is_refused() {
    let device = Device::new();
    for project in ["fan", "lamp2", "lam", "Lamp", ""] {
        let other = app_image(Chip::Esp32c3, project, NEW, 90_000);
        let honest = Offer::of(NEW, &other).with("project", format!("\"{project}\""));
        assert_eq!(stays(&device, &honest, &other), Reason::OtherProject);
        for silent in [Offer::of(NEW, &other), Offer::of(NEW, &other).without("project")] {
            assert_eq!(refused_by_its_head(&device, &silent, &other), OtaError::OtherProject);
        }
    }
    let other_version = image(NEXT, 90_000);
    let lie = Offer::of(NEW, &other_version);
    assert_eq!(refused_by_its_head(&device, &lie, &other_version), OtaError::OtherVersion);
}

#[test]
fn a30_a_lower_secure_version_is_refused() {
    let device = Device::with(TABLE, &with_secure_version(image("1.0.0", 9_000), 3));
    for lower in [0, 2] {
        let lower_image = with_secure_version(new_image(), lower);
        let offer = Offer::of(NEW, &lower_image);
        let honest = offer.clone().with("secure_version", lower.to_string());
        assert_eq!(stays(&device, &honest, &lower_image), Reason::SecureVersion);
        for lie in [offer.clone().without("secure_version"), offer.with("secure_version", "3")] {
            let mut device = device.clone();
            let error = device.refuses_at_once(&mut lie.origin(&lower_image));
            assert!(matches!(error, UpdateError::Ota(OtaError::SecureVersion)), "{error}");
        }
    }
    let equal = with_secure_version(new_image(), 3);
    let offer = Offer::of(NEW, &equal).with("secure_version", "3");
    device.clone().follows(&mut offer.origin(&equal), NEW);
}

#[test]
fn a31_an_image_larger_than_the_slot_is_refused() {
    let device = Device::new();
    let slot = TABLE.slot_size as usize;
    let larger = image(NEW, slot);
    assert_eq!(stays(&device, &Offer::of(NEW, &larger), &larger), Reason::TooLarge);
    // It fills the slot to its last byte.
    let fits = image(NEW, slot - 336);
    assert_eq!(fits.len(), slot);
    device.clone().follows(&mut Offer::of(NEW, &fits).origin(&fits), NEW);
    // The descriptor states less: the host's length gives it away.
    let lie = Offer::of(NEW, &larger).with("size", slot.to_string());
    let error = device.clone().refuses_at_once(&mut lie.origin(&larger));
    assert_eq!(error, UpdateError::Length);
    // Host and descriptor agree on less than the image says.
    let short = &larger[..slot];
    assert_eq!(
        refused(&device, &Offer::of(NEW, short), short),
        OtaError::Image(ImageError::Truncated)
    );
}

#[test]
fn a32_trailing_bytes_are_refused() {
    let trailing = OtaError::Image(ImageError::TrailingBytes);
    let sound = new_image();
    let row = sound.len().next_multiple_of(4096);
    let padded = |len: usize| {
        let mut image = sound.clone();
        image.resize(len, 0xFF);
        image
    };
    for extra in [&[0][..], &[0xFF], &[0xFF; 16], &[0xE9; 300], &[0xE7; 4096], &sound] {
        let image = [&sound, extra].concat();
        if image.len() <= TABLE.slot_size as usize {
            assert_eq!(refused(&Device::new(), &Offer::of(NEW, &image), &image), trailing);
        }
    }
    let mut two_signatures = padded(row);
    two_signatures.resize(row + 2 * 4096, 0xE7);
    for image in [padded(row), padded(row + 4096), two_signatures] {
        assert_eq!(refused(&Device::new(), &Offer::of(NEW, &image), &image), trailing);
    }
    // Half of a signature sector.
    let mut half = padded(row);
    half.resize(row + 2048, 0xE7);
    let truncated = OtaError::Image(ImageError::Truncated);
    assert_eq!(refused(&Device::new(), &Offer::of(NEW, &half), &half), truncated);
}

#[test]
fn a33_segments_that_no_bootloader_loads_are_refused() {
    let with = |at: usize, bytes: &[u8]| {
        let mut image = new_image();
        image[at..][..bytes.len()].copy_from_slice(bytes);
        image
    };
    let fault = |image: &[u8]| match refused(&Device::new(), &Offer::of(NEW, image), image) {
        OtaError::Image(error) => error,
        error => panic!("not of the image: {error}"),
    };
    for count in [0, 17, 255] {
        assert_eq!(fault(&with(1, &[count])), ImageError::SegmentCount, "{count} segments");
    }
    for len in [u32::MAX, u32::MAX - 3, u32::MAX - 31, 1 << 31, 1 << 24, 0x1001] {
        let image = with(28, &len.to_le_bytes());
        assert_eq!(fault(&image), ImageError::SegmentLength, "{len:#x}");
    }
    // Each is sound by itself; together they lead past the end.
    for len in [0x00FF_FFFC_u32, 0x0002_0000] {
        assert_eq!(fault(&with(28, &len.to_le_bytes())), ImageError::Truncated, "{len:#x}");
    }
    // The second segment starts where the first one ends, and wraps.
    let mut two = with(1, &[2]);
    two[28..32].copy_from_slice(&0x8000_u32.to_le_bytes());
    two[32 + 0x8000..][4..8].copy_from_slice(&(u32::MAX - 0x7FFF - 32).to_le_bytes());
    assert_eq!(fault(&two), ImageError::SegmentLength);
    two[32 + 0x8000..][4..8].copy_from_slice(&0xFF_0000_u32.to_le_bytes());
    assert_eq!(fault(&two), ImageError::Truncated);
}

/// Within the client nobody can write in between: what was verified holds the
/// flash until it is activated. Behind its back, the bootloader sees it.
#[test]
fn a35_bytes_that_are_swapped_after_the_check_do_not_boot() {
    for kind in [Kind::Stock, Kind::Rollback] {
        for at in [0, 24, 5_000, 90_000] {
            let mut device = Device::new();
            device.kind = kind;
            let outcome = device.poll(&mut sound_origin(NEW, 90_000));
            assert!(matches!(outcome, Ok(Outcome::Installed { .. })));
            device.flash.bytes_mut()[TABLE.offset(1) as usize + at] ^= 1;
            let (version, guard) = device.start(Reset::Other);
            assert_eq!(version, "1.0.0");
            assert!(matches!(guard, Guard::DidNotBoot { .. }), "{kind:?} {at}: {guard}");
            device.assert_unharmed();
            device.follows(&mut sound_origin(NEXT, 20_000), NEXT);
        }
    }
}
