//! What the client does to boot selection, whatever it finds there.

#[path = "../../../xtask/tests/suite/firmware.rs"]
mod firmware;

use embedded_storage::nor_flash::NorFlash;
use firmware::app_image;
use sha2::{Digest, Sha256 as Hasher};
use std::path::Path;
use tempfile::TempDir;
use towline::{
    Layout, OtaData, Running,
    decide::Offer,
    otadata::{Record, SECTOR, State},
    slot::{SlotError, SlotWriter},
};
use towline_descriptor::{Chip, Sha256, Version};
use towline_sim::{Flash, boot};

const SLOTS: [u32; 2] = [0x10000, 0x50000];
const SLOT_SIZE: u32 = 0x40000;

/// A partition table with otadata and two slots, with a factory app or not.
fn table(factory: bool) -> Vec<u8> {
    let entry = |kind: u8, subtype: u8, offset: u32, size: u32| {
        let mut entry = vec![0xAA, 0x50, kind, subtype];
        entry.extend(offset.to_le_bytes());
        entry.extend(size.to_le_bytes());
        entry.resize(32, 0);
        entry
    };
    let mut table = [
        entry(1, 0, 0xd000, 0x2000),
        entry(0, 0x10, SLOTS[0], SLOT_SIZE),
        entry(0, 0x11, SLOTS[1], SLOT_SIZE),
    ]
    .concat();
    if factory {
        table.extend(entry(0, 0, 0x90000, SLOT_SIZE));
    }
    table
}

fn image(version: &str) -> Vec<u8> {
    app_image(Chip::Esp32c3, "lamp", version, 6000)
}

/// A device with these images (none: nothing bootable) and records.
fn device(dir: &Path, images: [Option<&str>; 3], records: [Option<Record>; 2]) -> Flash {
    let mut flash = Flash::create(&dir.join("flash.bin"), 1 << 20).unwrap();
    flash.burn(0x8000, &table(images[2].is_some())).unwrap();
    for (offset, version) in [SLOTS[0], SLOTS[1], 0x90000].into_iter().zip(images) {
        if let Some(version) = version {
            flash.burn(offset, &image(version)).unwrap();
        }
    }
    for (sector, record) in records.iter().enumerate() {
        if let Some(record) = record {
            flash.burn(0xd000 + sector as u32 * SECTOR, &record.to_bytes()).unwrap();
        }
    }
    flash
}

/// Installs `image` as 9.0.0 on what runs, as the client does.
fn install(flash: &mut Flash, image: &[u8], sha256: Sha256) -> Result<(), String> {
    let booted = boot(flash).unwrap();
    let running = Running {
        project: "lamp",
        version: None,
        chip: Chip::Esp32c3,
        target: None,
        channel: None,
        secure_version: 0,
        slot_size: SLOT_SIZE,
    };
    let offer =
        Offer { version: Version::parse("9.0.0").unwrap(), size: image.len() as u32, sha256 };
    let text = |error: SlotError<_>| error.to_string();
    let layout = booted.layout;
    let mut writer =
        SlotWriter::begin(flash, &layout, booted.slot, &running, &offer).map_err(text)?;
    image.chunks(700).try_for_each(|piece| writer.write(piece)).map_err(text)?;
    let verified = writer.finish().map_err(text)?;
    verified.activate(flash, &layout).map_err(text)
}

fn runs(flash: &mut Flash) -> String {
    boot(flash).unwrap().head.app.version.to_string()
}

/// Every combination of images and records from which something boots.
fn devices() -> Vec<(TempDir, Flash)> {
    let states = [
        State::New,
        State::PendingVerify,
        State::Valid,
        State::Invalid,
        State::Aborted,
        State::Undefined,
    ];
    let mut records = vec![None];
    for seq in [1, 2, 3, 4] {
        records.extend(states.map(|state| Some(Record::new(seq, state))));
    }
    let mut devices = Vec::new();
    for images in [
        [Some("1.0.0"), Some("2.0.0"), None],
        [Some("1.0.0"), None, None],
        [None, Some("2.0.0"), None],
        [Some("1.0.0"), Some("2.0.0"), Some("0.1.0")],
        [None, None, Some("0.1.0")],
        [None, Some("2.0.0"), Some("0.1.0")],
    ] {
        for first in &records {
            for second in &records {
                let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
                let flash = device(dir.path(), images, [*first, *second]);
                devices.push((dir, flash));
            }
        }
    }
    devices
}

#[test]
fn an_image_that_was_not_verified_never_boots_and_a_verified_one_can_be_rolled_back() {
    let new = image("9.0.0");
    let sha256 = Sha256(Hasher::digest(&new).into());
    let mut cases = 0;
    for (_dir, mut flash) in devices() {
        let before = runs(&mut flash);
        // Sound in itself, but not what was offered.
        let error = install(&mut flash, &new, Sha256([0; 32])).unwrap_err();
        assert!(error.contains("not the offered one"), "{error}");
        assert_eq!(runs(&mut flash), before);
        // Breaks off half-way.
        let error = install(&mut flash, &new[..3000], sha256).unwrap_err();
        assert!(!error.is_empty());
        assert_eq!(runs(&mut flash), before);
        // The real one.
        install(&mut flash, &new, sha256).unwrap();
        assert_eq!(runs(&mut flash), "9.0.0");
        // It turns out bad: what ran before runs again.
        let layout = Layout::read(&mut flash, 0x8000).unwrap();
        let otadata = OtaData::read(&mut flash, layout.otadata).unwrap();
        let sector = otadata.active().unwrap();
        let aborted = Record::new(otadata.records[sector].seq, State::Aborted);
        flash.burn(layout.otadata.offset + sector as u32 * SECTOR, &aborted.to_bytes()).unwrap();
        assert_eq!(runs(&mut flash), before);
        cases += 1;
    }
    assert_eq!(cases, 6 * 25 * 25);
}

#[test]
fn a_table_that_points_outside_the_flash_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut flash = device(dir.path(), [Some("1.0.0"), None, None], [None, None]);
    for (at, value) in [(32 + 8, u32::MAX), (32 + 4, u32::MAX - 0xFFF), (64 + 4, SLOTS[0])] {
        let mut table = table(false);
        table[at..at + 4].copy_from_slice(&value.to_le_bytes());
        flash.erase(0x8000, 0x9000).unwrap();
        flash.write(0x8000, &table).unwrap();
        assert!(Layout::read(&mut flash, 0x8000).is_err());
        assert!(boot(&mut flash).is_err());
    }
}
