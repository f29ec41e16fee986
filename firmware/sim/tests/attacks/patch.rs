//! Patches that lead elsewhere, or nowhere.

use crate::device::{DESCRIPTOR, Device, HOST, IMAGE, NEW, OLD, Offer, STEP, TABLE};
use embassy_futures::block_on;
use sha2::{Digest, Sha256 as Hasher};
use towline::{
    Buffers, Form, Identity, LastPoll, Limits, Ota, OtaError, Outcome, Reset, UpdateError, Updater,
    descriptor::Chip, schedule::Jitter,
};
use towline_sim::{
    Counted, Cut, Memory, Origin, Torn,
    patch::{patch, with_header},
    sample::{program_image, seal},
};

const PATCH: &str = "/old.twp";
const LEN: usize = 90_000;
/// Bytes of the image in a block of a patch.
const BLOCK: usize = 10_000;

fn old_image() -> Vec<u8> {
    program_image(Chip::Esp32c3, "lamp", OLD, 60_000)
}

fn new_image() -> Vec<u8> {
    program_image(Chip::Esp32c3, "lamp", NEW, LEN)
}

fn device() -> Device {
    Device::with(TABLE, &old_image())
}

fn hex(bytes: &[u8]) -> String {
    Hasher::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the offer of the new image, with a patch from what has this SHA-256.
fn offer(from: &[u8], file: &[u8]) -> Offer {
    let entry = format!(
        r#"[{{"from_sha256":"{}","alg":"twp1-small","path":"https://{HOST}{PATCH}","size":{},
        "sha256":"{}"}}]"#,
        hex(from),
        file.len(),
        hex(file)
    );
    Offer::of(NEW, &new_image()).with("patches", entry)
}

/// Returns a host that offers this patch from what runs.
fn host(file: &[u8]) -> Origin {
    let mut origin = offer(&old_image(), file).origin(&new_image());
    origin.serve(PATCH, file.to_vec());
    origin
}

fn sound_patch() -> Vec<u8> {
    patch(&old_image(), &new_image(), BLOCK)
}

/// Lets a device install what a host offers. Returns the form in which it came,
/// and how many bytes were fetched for it.
#[track_caller]
fn installs(device: &mut Device, host: &mut Origin) -> (Form, usize) {
    let outcome = device.poll(host);
    let Ok(Outcome::Installed { form, fetched, .. }) = outcome else {
        panic!("not installed: {outcome:?}");
    };
    let slot = &device.flash.bytes()[TABLE.offset(1) as usize..];
    assert!(slot.starts_with(&new_image()), "the slot holds something else");
    assert_eq!(device.start(Reset::Other).0, NEW);
    (form, fetched as usize)
}

/// Asserts that a patch is given up for the image, after so many of its bytes.
#[track_caller]
fn falls_back(file: &[u8]) {
    let (form, fetched) = installs(&mut device(), &mut host(file));
    assert_eq!(form, Form::Plain);
    let patch = fetched - new_image().len();
    assert!(patch <= file.len(), "{patch} bytes of the patch were fetched");
}

/// As [`falls_back`], and nothing is erased for the patch.
#[track_caller]
fn falls_back_at_once(file: &[u8]) {
    let mut origin = host(file);
    // An image of another length is refused before anything is erased.
    origin.serve(IMAGE, vec![0]);
    assert!(matches!(device().refuses_at_once(&mut origin), UpdateError::Length));
    falls_back(file);
}

#[test]
fn a_patch_is_installed_for_a_fraction_of_the_image() {
    let file = sound_patch();
    assert!(file.len() < LEN / 2, "the patch has {} bytes", file.len());
    assert_eq!(installs(&mut device(), &mut host(&file)), (Form::Patch, file.len()));
}

#[test]
fn a_compressed_image_is_installed_on_any_other() {
    let file = patch(&[], &new_image(), BLOCK);
    let mut origin = offer(&[], &file).origin(&new_image());
    origin.serve(PATCH, file.clone());
    assert_eq!(installs(&mut Device::new(), &mut origin), (Form::Compressed, file.len()));
}

#[test]
fn a34_a_patch_from_another_base_is_not_fetched() {
    let file = sound_patch();
    let mut origin = offer(&[1], &file).origin(&new_image());
    origin.serve(PATCH, file);
    assert_eq!(installs(&mut device(), &mut origin), (Form::Plain, new_image().len()));
    assert!(!origin.asked.iter().any(|path| path == PATCH));
}

/// The descriptor says that it starts from what runs; the patch knows better.
#[test]
fn a34_a_patch_against_another_base_is_refused_by_its_header() {
    let other = program_image(Chip::Esp32c3, "lamp", "0.9.0", 60_000);
    let file = patch(&other, &new_image(), BLOCK);
    falls_back_at_once(&file);
    let file = patch(&[], &new_image(), BLOCK);
    falls_back_at_once(&file);
}

/// The patch lies as well: what it makes has another SHA-256.
#[test]
fn a34_a_patch_against_another_base_whose_header_lies_is_refused_by_the_hash() {
    let (old, new) = (old_image(), new_image());
    let file = patch(&new[..old.len()], &new, BLOCK);
    let file = with_header(file, |header| {
        header.old_size = old.len() as u32;
        header.old_sha256.copy_from_slice(&Hasher::digest(&old)[..8]);
    });
    falls_back(&file);
}

#[test]
fn a34_a_patch_to_another_image_is_refused() {
    let other = program_image(Chip::Esp32c3, "lamp", "1.0.9", LEN);
    let file = patch(&old_image(), &other, BLOCK);
    falls_back_at_once(&file);
    let new = new_image();
    let lying = with_header(file, |header| {
        header.new_size = new.len() as u32;
        header.new_sha256.copy_from_slice(&Hasher::digest(&new)[..8]);
    });
    falls_back(&lying);
}

#[test]
fn a34_a_patch_bomb_is_refused() {
    let sound = sound_patch();
    for size in [u32::MAX, LEN as u32 * 100] {
        let file = with_header(sound.clone(), |header| header.new_size = size);
        falls_back_at_once(&file);
    }
    // A block that makes more, or less, than it says.
    for (at, bytes) in [(48, u32::MAX), (48, LEN as u32), (48, 1), (52, u32::MAX), (52, 5)] {
        let mut file = sound.clone();
        file[at..at + 4].copy_from_slice(&bytes.to_le_bytes());
        falls_back(&file);
    }
    // Few bytes that go on for ever.
    for byte in [0x00, 0x55, 0xFF] {
        let mut file = sound[..56].to_vec();
        file.resize(200, byte);
        file[48..52].copy_from_slice(&(new_image().len() as u32).to_le_bytes());
        file[52..56].copy_from_slice(&(200_u32 - 56).to_le_bytes());
        file[56] = 0;
        falls_back(&with_header(file, |header| header.size = 200));
    }
}

#[test]
fn a34_a_patch_that_ends_early_is_refused() {
    let sound = sound_patch();
    for len in [0, 1, 47, 48, 49, 56, 61, 100, sound.len() - 1] {
        let short = sound[..len].to_vec();
        falls_back(&short);
        if len >= 48 {
            falls_back(&with_header(short, |header| header.size = len as u32));
        }
    }
}

#[test]
fn a34_a_patch_that_needs_more_memory_is_refused() {
    let file = with_header(sound_patch(), |header| header.params.exact = 12);
    falls_back_at_once(&file);
}

#[test]
fn a34_a_changed_byte_anywhere_costs_the_patch_and_no_more() {
    let sound = sound_patch();
    falls_back_at_once(&flipped(&sound, 0));
    for at in (0..sound.len()).step_by(sound.len() / 60) {
        falls_back(&flipped(&sound, at));
    }
}

fn flipped(file: &[u8], at: usize) -> Vec<u8> {
    let mut file = file.to_vec();
    file[at] ^= 0x10;
    file
}

#[test]
fn a_patch_that_is_missing_or_of_another_length_is_done_without() {
    let sound = sound_patch();
    let mut origin = host(&sound);
    origin.withdraw(PATCH);
    assert_eq!(installs(&mut device(), &mut origin), (Form::Plain, new_image().len()));
    let mut origin = host(&sound);
    origin.serve(PATCH, sound[..sound.len() - 1].to_vec());
    assert_eq!(installs(&mut device(), &mut origin), (Form::Plain, new_image().len()));
}

#[test]
fn the_image_is_fetched_once_after_a_patch_failed() {
    let mut file = sound_patch();
    *file.last_mut().expect("a patch has bytes") ^= 1;
    let mut origin = host(&file);
    let mut other = new_image();
    other[50_000] ^= 1;
    origin.serve(IMAGE, seal(other));
    let error = device().refuses(&mut origin);
    assert!(matches!(error, UpdateError::Ota(OtaError::Digest)), "{error}");
    let asked = |path: &str| origin.asked.iter().filter(|asked| *asked == path).count();
    assert_eq!((asked(PATCH), asked(IMAGE)), (1, 1));
}

#[test]
fn a_connection_that_is_lost_costs_not_a_byte_of_a_patch() {
    let file = sound_patch();
    let mut origin = host(&file);
    origin.loses_after = Some(file.len() / 7);
    assert_eq!(installs(&mut device(), &mut origin), (Form::Patch, file.len()));
}

/// A host that knows no ranges serves all of it each time; what is known is
/// dropped.
#[test]
fn a_patch_goes_on_where_a_host_starts_over() {
    let file = patch(&[], &new_image(), BLOCK);
    let mut origin = offer(&[], &file).origin(&new_image());
    origin.serve(PATCH, file.clone());
    let mut device = device();
    device.limits.attempts = 1;
    origin.loses_after = Some(file.len() * 3 / 4);
    device.refuses(&mut origin);
    device.restart();
    origin.loses_after = None;
    origin.ignores_ranges = true;
    device.flash.power_on(None);
    assert_eq!(installs(&mut device, &mut origin), (Form::Compressed, file.len()));
    assert!((device.flash.operations() as usize) < LEN / 512, "flash was written anew");
}

/// The journal is of a patch that is gone: what flash holds of the image stays,
/// however the rest comes.
#[test]
fn what_a_patch_made_serves_another_one() {
    let file = sound_patch();
    let mut device = device();
    device.limits.attempts = 1;
    let mut origin = host(&file);
    origin.loses_after = Some(file.len() * 3 / 4);
    device.refuses(&mut origin);
    device.restart();
    let other = patch(&old_image(), &new_image(), 2 * BLOCK);
    device.flash.power_on(None);
    assert_eq!(installs(&mut device, &mut host(&other)), (Form::Patch, other.len()));
    // A sector at a time, and a few for boot selection: not that of the start.
    let sectors = new_image().len().div_ceil(512);
    assert!((device.flash.operations() as usize) < sectors, "flash was written anew");
}

#[test]
fn a_power_cut_costs_little_of_what_was_fetched() {
    // Compressed: each part of the image costs as much.
    let file = patch(&[], &new_image(), BLOCK);
    let descriptor = offer(&[], &file);
    let mut sound = descriptor.origin(&new_image());
    sound.serve(PATCH, file.clone());
    let descriptor = descriptor.json().len();
    let start = device();
    let mut whole = start.clone();
    whole.flash.power_on(None);
    whole.poll(&mut sound.clone()).expect("a sound host");
    let operations = whole.flash.operations();
    let mut most = 0;
    for operation in 0..operations {
        let (mut device, mut origin) = (start.clone(), sound.clone());
        let torn = Torn::KINDS[operation as usize % Torn::KINDS.len()];
        device.flash.power_on(Some(Cut { operation, torn }));
        device.poll(&mut origin).expect_err("the power is cut");
        device.flash.power_on(None);
        if device.start(Reset::Power).0 == OLD {
            let before = origin.sent;
            let (_, fetched) = installs(&mut device, &mut origin);
            assert_eq!(origin.sent - before - descriptor, fetched);
            most = most.max(origin.sent.saturating_sub(2 * descriptor + file.len()));
        }
    }
    // A step of the journal, one block, and what was received and not used.
    let limit = file.len() * (STEP + BLOCK) / LEN + 2048;
    println!("{operations} cuts; at most {most} of {} bytes again", file.len());
    assert!((1..=limit).contains(&most), "{most} bytes were downloaded again, more than {limit}");
}

/// A signature of secure boot is a part of what a patch starts from, and leads
/// to.
#[test]
fn a_signed_image_is_patched_with_its_signature() {
    let signed = |mut image: Vec<u8>, byte| {
        image.resize(image.len().next_multiple_of(4096), 0xFF);
        image.push(0xE7);
        image.resize(image.len() + 4095, byte);
        image
    };
    let (old, new) = (signed(old_image(), 1), signed(new_image(), 2));
    let file = patch(&old, &new, BLOCK);
    let entry = format!(
        r#"[{{"from_sha256":"{}","alg":"twp1-small","path":"https://{HOST}{PATCH}","size":{},
        "sha256":"{}"}}]"#,
        hex(&old),
        file.len(),
        hex(&file)
    );
    let mut origin = Offer::of(NEW, &new).with("patches", entry).origin(&new);
    origin.serve(PATCH, file);
    for behind in [0xFF, 0x00, 0xE7] {
        let mut device = Device::with(TABLE, &old);
        // What an earlier image left behind this one.
        let end = TABLE.offset(0) as usize + old.len();
        device.flash.bytes_mut()[end..TABLE.offset(1) as usize].fill(behind);
        let outcome = device.poll(&mut origin.clone());
        let is_patched = matches!(outcome, Ok(Outcome::Installed { form: Form::Patch, .. }));
        assert!(is_patched, "{outcome:?}");
        let slot = &device.flash.bytes()[TABLE.offset(1) as usize..];
        assert!(slot.starts_with(&new), "the slot holds something else");
    }
}

/// A few bytes make all of an image; others have their turn meanwhile.
#[test]
fn no_more_than_4_kib_are_written_at_a_time() {
    let file = patch(&old_image(), &new_image(), usize::MAX);
    let (mut origin, mut device) = (host(&file), device());
    let mut ota = Ota::open(&mut device.flash, TABLE.offset(0)).expect("what runs finds itself");
    let (mut last, mut longest) = (0, 0);
    let updater = Updater::<&mut Memory, _, _> {
        ota: &mut ota,
        net: &mut origin,
        clock: &Counted::default(),
        device: Identity { target: Some("desk"), channel: Some("stable"), ..Identity::default() },
        trust: None,
        by_user: false,
        limits: Limits::DEFAULT,
        jitter: &mut Jitter::new(1),
        last: &mut LastPoll::default(),
        buffers: &mut Buffers::new(),
    };
    let update = block_on({ updater }.update(&format!("https://{HOST}{DESCRIPTOR}"), |now| {
        longest = longest.max(now.received - last);
        last = now.received;
    }));
    update.expect("a sound host");
    assert_eq!((last as usize, longest <= 4096), (new_image().len(), true), "{longest}");
}
