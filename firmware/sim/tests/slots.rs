//! What the client does to boot selection, whatever it finds there.

use sha2::{Digest, Sha256 as Hasher};
use towline::{
    Expected, Guard, Layout, Ota, Reset, Slot,
    layout::LayoutError,
    otadata::{Record, SECTOR, State},
};
use towline_descriptor::{Chip, Sha256, Version};
use towline_sim::{
    Kind, Memory, MemoryError, boot,
    sample::{Table, app_image},
};

fn table(factory: bool) -> Table {
    Table { slots: 2, slot_size: 0x10000, factory }
}

fn image(version: &str) -> Vec<u8> {
    app_image(Chip::Esp32c3, "lamp", version, 6000)
}

/// A device with these images (none: nothing bootable) and records.
fn device(images: [Option<&str>; 3], records: [Option<Record>; 2]) -> Memory {
    let table = table(images[2].is_some());
    let mut flash = Memory::new(table.flash_size());
    flash.burn(0x8000, &table.to_bytes());
    for (slot, version) in images.into_iter().enumerate() {
        if let Some(version) = version {
            flash.burn(table.offset(slot), &image(version));
        }
    }
    for (sector, record) in records.iter().enumerate() {
        if let Some(record) = record {
            flash.burn(Table::OTADATA + sector as u32 * SECTOR, &record.to_bytes());
        }
    }
    flash
}

/// Boots; the guard may want a reset.
fn start(flash: &mut Memory) -> (String, Guard) {
    for _ in 0..4 {
        let booted = boot(flash, Kind::Stock).unwrap();
        let mut ota = Ota::open(&mut *flash, booted.offset()).unwrap();
        match ota.guard(Reset::Other).unwrap() {
            Guard::RolledBack { .. } => {}
            guard => return (booted.head.app.version.to_string(), guard),
        }
    }
    panic!("no rest");
}

/// Installs `image` as 9.0.0 on what runs, as the client does.
fn install(flash: &mut Memory, image: &[u8], sha256: Sha256) -> Result<(), String> {
    let booted = boot(flash, Kind::Stock).unwrap();
    let mut ota = Ota::open(flash, booted.offset()).unwrap();
    ota.accept().unwrap();
    let expected = Expected {
        size: Some(image.len() as u32),
        sha256: Some(sha256),
        version: Some(Version::parse("9.0.0").unwrap()),
    };
    let text = |error: towline::OtaError<_>| error.to_string();
    let mut writer = ota.begin(expected).map_err(text)?;
    let received = writer.received() as usize;
    image[received..].chunks(700).try_for_each(|piece| writer.write(piece)).map_err(text)?;
    writer.finish().map_err(text)?.activate().map_err(text)
}

/// Every combination of images and records from which something boots.
fn devices() -> Vec<Memory> {
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
                devices.push(device(images, [*first, *second]));
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
    for mut flash in devices() {
        let before = start(&mut flash).0;
        // Sound in itself, but not what was offered.
        let error = install(&mut flash, &new, Sha256([0; 32])).unwrap_err();
        assert!(error.contains("not the offered one"), "{error}");
        assert_eq!(start(&mut flash).0, before);
        // Breaks off half-way, short of what was offered.
        let error = install(&mut flash, &new[..3000], sha256).unwrap_err();
        assert!(!error.is_empty());
        assert_eq!(start(&mut flash).0, before);
        // The real one.
        install(&mut flash, &new, sha256).unwrap();
        assert_eq!(start(&mut flash), ("9.0.0".into(), Guard::Trial));
        // It does not accept itself: what ran before runs again.
        assert_eq!(start(&mut flash), (before, Guard::Settled));
        cases += 1;
    }
    assert_eq!(cases, 6 * 25 * 25);
}

#[test]
fn what_runs_is_never_rolled_back_to_nothing() {
    let mut flash = device([Some("1.0.0"), None, None], [None, None]);
    let mut ota = Ota::open(&mut flash, 0x10000).unwrap();
    assert_eq!(ota.rollback(), Err(towline::OtaError::NothingToGoBackTo));
    assert_eq!(ota.info().unwrap().next_boot, Slot::Ota(0));
}

#[test]
fn a_factory_reset_boots_the_factory_app() {
    let records = [Some(Record::new(1, State::Valid)), Some(Record::new(2, State::Valid))];
    let mut flash = device([Some("1.0.0"), Some("2.0.0"), Some("0.1.0")], records);
    assert_eq!(start(&mut flash).0, "2.0.0");
    Ota::open(&mut flash, 0x20000).unwrap().factory_reset().unwrap();
    assert_eq!(start(&mut flash).0, "0.1.0");
}

/// Returns why a table is refused that differs from a sound one by `change`.
fn refusal(change: impl Fn(&mut Vec<u8>)) -> LayoutError<MemoryError> {
    let mut flash = device([Some("1.0.0"), None, None], [None, None]);
    let mut bytes = table(false).to_bytes();
    change(&mut bytes);
    flash.burn(0x8000, &bytes);
    assert!(boot(&mut flash, Kind::Stock).is_err());
    Layout::read(&mut flash, 0x8000).unwrap_err()
}

/// Puts a word at an offset of the table; entries have 32 bytes.
fn word(at: usize, value: u32) -> impl Fn(&mut Vec<u8>) {
    move |bytes| bytes[at..at + 4].copy_from_slice(&value.to_le_bytes())
}

#[test]
fn a_table_that_points_outside_the_flash_is_refused() {
    for (at, value) in
        [(32 + 8, u32::MAX), (32 + 4, u32::MAX - 0xFFF), (64 + 4, table(false).offset(0))]
    {
        assert_eq!(refusal(word(at, value)), LayoutError::BadRegion);
    }
}

#[test]
fn a_slot_is_made_of_whole_sectors_behind_the_table() {
    // Erasing its last sector would erase the start of what follows it.
    assert_eq!(refusal(word(32 + 8, 0xF100)), LayoutError::BadRegion);
    assert_eq!(refusal(word(64 + 4, 0x2_0004)), LayoutError::BadRegion);
    assert_eq!(refusal(word(64 + 8, 0)), LayoutError::BadRegion);
    // The table itself, and the bootloader before it.
    for offset in [0x8000, 0x4000, 0] {
        assert_eq!(refusal(word(4, offset)), LayoutError::BadRegion);
    }
}

#[test]
fn a_partition_for_trust_has_two_sectors_of_its_own() {
    let read = |change: &dyn Fn(&mut [u8])| {
        let mut flash = device([Some("1.0.0"), None, None], [None, None]);
        change(&mut flash.bytes_mut()[0x8000 + 3 * 32..][..32]);
        let layout = Layout::read(&mut flash, 0x8000).unwrap();
        (layout.trusted, layout.trusted_is_unfit)
    };
    let trusted = towline::Region { offset: Table::TRUSTED, size: 0x2000 };
    assert_eq!(read(&|_| {}), (Some(trusted), false));
    // One that is of no use is left alone, and the device goes on without.
    for (at, value) in [(4, Table::OTADATA), (4, 0x1_0000), (4, 0x9100), (8, 0x1000), (8, 0)] {
        let change = |entry: &mut [u8]| entry[at..at + 4].copy_from_slice(&value.to_le_bytes());
        assert_eq!(read(&change), (None, true), "{at} {value:#x}");
    }
    // NVS that somebody called so is NVS.
    assert_eq!(read(&|entry| entry[3] = 2), (None, true));
    // Under another name it is none of the client's.
    assert_eq!(read(&|entry| entry[12] = b'T'), (None, false));
}

#[test]
fn slots_that_the_bootloader_would_count_otherwise_are_refused() {
    let with_slot = |number: u8| {
        refusal(move |bytes| {
            let mut entry = bytes[64..96].to_vec();
            entry[3] = 0x10 + number;
            bytes.extend(entry);
        })
    };
    assert_eq!(with_slot(3), LayoutError::SlotNumbers);
    assert_eq!(with_slot(1), LayoutError::SlotNumbers);
}
