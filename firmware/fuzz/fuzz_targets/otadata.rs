//! Boot selection: whatever both sectors and the slots hold, what the client
//! does to them leaves a device that boots.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use towline::{
    Expected, Ota, OtaError, Reset, Slot,
    otadata::{Record, SECTOR, State},
};
use towline_fuzz::{Input, image};
use towline_sim::{
    Booted, Kind, Memory, MemoryError, boot,
    sample::{Table, with_secure_version},
};

const SLOT_SIZE: u32 = 0x4000;
const NEW: &str = "9.0.0";

static IMAGES: LazyLock<[Vec<u8>; 3]> = LazyLock::new(|| {
    [image("1.0.0", 600), with_secure_version(image("2.0.0", 900), 1), image(NEW, 5000)]
});

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let kind = match input.below(3) {
        0 => Kind::Stock,
        1 => Kind::Rollback,
        _ => Kind::AntiRollback { secure_version: 1 },
    };
    let mut flash = device(&mut input);
    let Ok(mut booted) = boot(&mut flash, kind) else { return };
    let mut reset = Reset::Power;
    for _ in 0..24 {
        if input.is_empty() {
            break;
        }
        booted = live(&mut input, &mut flash, &booted, kind, &mut reset);
    }
});

/// Makes a device; the input says what its sectors and slots hold.
fn device(input: &mut Input<'_>) -> Memory {
    let shape = input.byte();
    let table =
        Table { slots: 2 + usize::from(shape % 3), slot_size: SLOT_SIZE, factory: shape & 4 != 0 };
    let mut flash = Memory::new(table.flash_size());
    flash.burn(0x8000, &table.to_bytes());
    for slot in 0..5 {
        let content = input.byte();
        if slot >= table.slots + usize::from(table.factory) {
            continue;
        }
        let sound = &IMAGES[usize::from(content >> 7)];
        match content & 0x7F {
            0 => flash.burn(table.offset(slot), sound),
            1 => {}
            at => {
                let mut corrupt = sound.clone();
                corrupt[usize::from(at) * 7] ^= content;
                flash.burn(table.offset(slot), &corrupt);
            }
        }
    }
    for sector in 0..2 {
        let has_right_crc = input.byte() & 1 != 0;
        let mut record = Record::parse(&input.array());
        if has_right_crc {
            record = Record::new(record.seq, record.state).labelled(record.label);
        }
        flash.burn(Table::OTADATA + sector * SECTOR, &record.to_bytes());
    }
    flash
}

/// Does one thing to boot selection, and proves that the device still boots
/// what was chosen.
fn live(
    input: &mut Input<'_>,
    flash: &mut Memory,
    booted: &Booted,
    kind: Kind,
    reset: &mut Reset,
) -> Booted {
    let mut ota = Ota::open(&mut *flash, booted.offset()).expect("what booted can be opened");
    assert_eq!(ota.running(), booted.slot);
    let mut may_boot_new = false;
    match input.below(7) {
        0 => assert_only(ota.guard(*reset), &[OtaError::SequenceUsedUp]),
        1 => assert_only(ota.guard(Reset::Other), &[OtaError::SequenceUsedUp]),
        2 => assert_only(ota.accept(), &[OtaError::SequenceUsedUp]),
        3 => {
            let errors = [OtaError::SequenceUsedUp, OtaError::NothingToGoBackTo];
            assert_only(ota.rollback(), &errors);
        }
        4 => may_boot_new = install(&mut ota, IMAGES[2].len()),
        5 => {
            let len = usize::from(input.byte()) * 16;
            assert!(!install(&mut ota, len), "a part of an image was installed");
        }
        _ => {
            *reset = if input.byte() & 1 == 0 { Reset::Power } else { Reset::Other };
            return boot(flash, kind).expect("it booted before");
        }
    }
    let info = ota.info().expect("the flash works");
    let _ = ota.rolled_back().expect("the flash works");
    let next = boot(&mut flash.clone(), kind).expect("it booted before");
    if may_boot_new {
        let is_barred = matches!(kind, Kind::AntiRollback { .. });
        assert!(is_barred || next.head.app.version.as_str() == NEW, "{next:?}");
    }
    // What the client says boots next is what the bootloader tries first: it
    // boots, or else its image is unsound, or barred.
    if kind == Kind::Stock && next.slot != info.next_boot {
        let region = booted.layout.region(info.next_boot);
        let is_sound = region.is_some_and(|region| {
            towline::ota::check_slot(&mut *flash, region).expect("the flash works").is_ok()
        });
        assert!(!is_sound, "{:?} is said to boot, and {:?} does", info.next_boot, next.slot);
    }
    if let (Slot::Ota(_), State::New) = (next.slot, next.state) {
        assert_ne!(kind, Kind::Rollback, "such a bootloader never leaves an image NEW");
    }
    booted.clone()
}

/// Installs the first `len` bytes of the new image. Returns whether it was
/// activated.
fn install(ota: &mut Ota<&mut Memory>, len: usize) -> bool {
    let new = &IMAGES[2];
    let expected = Expected { size: Some(new.len() as u32), ..Expected::default() };
    let result = (|| {
        let mut writer = ota.begin(expected)?;
        writer.write(&new[..len.min(new.len() - usize::from(len < new.len()))])?;
        writer.finish()?.activate()
    })();
    match result {
        Ok(()) => true,
        Err(OtaError::Flash(error)) => panic!("{error}"),
        Err(_) => false,
    }
}

/// Only these errors are right.
fn assert_only<T>(result: Result<T, OtaError<MemoryError>>, errors: &[OtaError<MemoryError>]) {
    if let Err(error) = result {
        assert!(errors.contains(&error), "{error:?}");
    }
}
