//! Flash that forgets, and power that fails, where it hurts: in boot
//! selection.

use crate::device::{Device, NEW, NEXT, OLD, Offer, image, origin, sound_origin};
use rayon::prelude::*;
use std::ops::Range;
use towline::{
    Guard, Outcome, Reason, Reset,
    otadata::{Label, OtaData, Record, SECTOR, Stage, State},
};
use towline_sim::{Cut, Kind, Memory, Torn, sample::Table};

const KINDS: [Kind; 2] = [Kind::Stock, Kind::Rollback];
const TABLE: Table = Table { slots: 2, slot_size: 0x10000, factory: false };
const LEN: usize = 9_000;
/// Bytes of a record, and where it counts the trials that were cut short, and
/// has its state.
const RECORD: usize = 32;
const INTERRUPTIONS: usize = 10;
const STATE: usize = 24;

/// Whether the firmware in [`NEW`] works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Firmware {
    Good,
    /// It is reset before it accepts itself.
    Hangs,
}

/// Where a device came to rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// It runs [`NEW`], accepted.
    UpToDate,
    /// It runs [`OLD`], and waits for a newer release.
    RolledBack,
}

fn device(kind: Kind) -> Device {
    let mut device = Device::with(TABLE, &image(OLD, LEN));
    device.kind = kind;
    device
}

/// Returns a device that installed [`NEW`] and was not reset since.
fn installed(kind: Kind) -> Device {
    let mut device = device(kind);
    device.poll(&mut sound_origin(NEW, LEN)).expect("a sound host");
    device
}

/// Returns a device on which [`NEW`] is on trial.
fn on_trial(kind: Kind) -> Device {
    let mut device = installed(kind);
    assert_eq!(device.start(Reset::Other), (NEW.into(), Guard::Trial));
    device
}

/// Returns a device that accepted [`NEW`].
fn accepted(kind: Kind) -> Device {
    let mut device = on_trial(kind);
    device.ota().accept().expect("the flash works");
    device
}

/// Returns where the record of a sector is.
fn record_at(sector: usize) -> usize {
    Table::OTADATA as usize + sector * SECTOR as usize
}

/// Returns the sector of the record that decides.
fn deciding(device: &mut Device) -> usize {
    let otadata = device.ota().layout().otadata;
    let otadata = OtaData::read(&mut device.flash, otadata).expect("the flash works");
    otadata.active().expect("a record decides")
}

/// Resets the device again and again, by `reset` at first, until it rests. A
/// whole image has to run at any time, and [`NEW`] only on trial before it was
/// accepted.
fn live(
    device: &mut Device,
    mut reset: Reset,
    firmware: Firmware,
    mut was_accepted: bool,
) -> Result<Rest, String> {
    device.flash.power_on(None);
    let mut host = sound_origin(NEW, LEN);
    for _ in 0..10 {
        let (version, guard) = device.reset(reset);
        reset = Reset::Other;
        let whole = image(&version, LEN);
        if !device.image().starts_with(&whole) {
            return Err(format!("{version} is not whole"));
        }
        match guard {
            Guard::RolledBack { .. } => continue,
            Guard::Trial | Guard::Stranded if version == NEW && firmware == Firmware::Hangs => {
                continue;
            }
            Guard::Trial | Guard::Stranded => {
                device.ota().accept().map_err(|error| error.to_string())?;
                was_accepted |= version == NEW;
            }
            Guard::Settled if version == NEW && !was_accepted => {
                return Err(format!("{version} runs unmonitored"));
            }
            Guard::Settled | Guard::DidNotBoot { .. } => {}
        }
        match device.poll(&mut host) {
            Ok(Outcome::Installed { .. } | Outcome::Stay(Reason::AwaitingReset)) => {}
            Ok(Outcome::Stay(Reason::UpToDate)) if version == NEW => return Ok(Rest::UpToDate),
            Ok(Outcome::Stay(Reason::RolledBack)) if version == OLD => return Ok(Rest::RolledBack),
            other => return Err(format!("{version}: {other:?}")),
        }
    }
    Err("no rest".into())
}

/// Lets the device live until it rests where one of `rests` says, and then
/// follow to the next release.
#[track_caller]
fn rests(device: &mut Device, reset: Reset, firmware: Firmware, expected: Rest) {
    assert_eq!(live(device, reset, firmware, false), Ok(expected));
    device.follows(&mut sound_origin(NEXT, LEN), NEXT);
}

/// Flips every bit of both records, and returns what went wrong with which.
fn rot(start: &Device, firmware: Firmware, was_accepted: bool) -> Vec<String> {
    let try_bit = |index: usize| {
        let (sector, bit) = (index / (RECORD * 8), index % (RECORD * 8));
        let mut device = start.clone();
        let before = device.flash.bytes()[record_at(sector)..][..RECORD].to_vec();
        device.flash.bytes_mut()[record_at(sector) + bit / 8] ^= 1 << (bit % 8);
        // A good release is tried again after a loss of power.
        let reset = if firmware == Firmware::Good { Reset::Power } else { Reset::Other };
        let rest = live(&mut device, reset, firmware, was_accepted);
        let fine = match (&rest, firmware) {
            (Ok(Rest::UpToDate), Firmware::Good) | (Ok(Rest::RolledBack), Firmware::Hangs) => true,
            // As if its trial had been cut short too often, or as if it had
            // rejected itself (PENDING -> INVALID): it waits for the next one.
            (Ok(Rest::RolledBack), Firmware::Good) => {
                !was_accepted && (bit / 8 == INTERRUPTIONS || bit == STATE * 8 + 1)
            }
            _ => false,
        };
        if fine {
            device.follows(&mut sound_origin(NEXT, LEN), NEXT);
            return None;
        }
        let rest = rest.map_or_else(|error| error, |rest| format!("{rest:?}"));
        Some(format!("{before:x?} sector {sector} byte {} bit {}: {rest}", bit / 8, bit % 8))
    };
    (0..2 * RECORD * 8).into_par_iter().filter_map(try_bit).collect()
}

#[test]
fn a37_bit_rot_in_otadata_never_bricks_and_never_leaves_an_image_unmonitored() {
    for kind in KINDS {
        for (name, start, was_accepted) in [
            ("VALID/VALID", accepted(kind), true),
            ("NEW", installed(kind), false),
            ("PENDING", on_trial(kind), false),
        ] {
            let faults = rot(&start, Firmware::Good, was_accepted);
            assert!(faults.is_empty(), "{kind:?} {name}:\n{}", faults.join("\n"));
        }
    }
}

#[test]
fn a37_bit_rot_in_otadata_does_not_keep_a_bad_release() {
    for kind in KINDS {
        for (name, start) in [("NEW", installed(kind)), ("PENDING", on_trial(kind))] {
            let mut faults = rot(&start, Firmware::Hangs, false);
            if (kind, name) == (Kind::Stock, "NEW") {
                // NEW -> PENDING is one bit, and reads as the note of a
                // bootloader with rollback, which would end the trial itself.
                // The stock one does not: each boot is another trial. It takes
                // a bad release and this one bit, between two resets.
                let known =
                    faults.extract_if(.., |fault| fault.ends_with("byte 24 bit 0: no rest"));
                assert_eq!(known.count(), 1);
            }
            assert!(faults.is_empty(), "{kind:?} {name}:\n{}", faults.join("\n"));
        }
    }
}

#[test]
fn a38_two_records_that_are_blank_invalid_or_garbage_boot_and_get_up_to_date() {
    let flipped_crc = |seq: u32| {
        let mut bytes = Record::new(seq, State::Valid).to_bytes();
        bytes[31] ^= 1;
        bytes
    };
    let contents = |sector: u32| {
        let invalid = |state| Record::new(2 + sector, state).to_bytes();
        [
            [0xFF; RECORD],
            [0; RECORD],
            std::array::from_fn(|at| (at as u8).wrapping_mul(37) ^ 0x5A),
            flipped_crc(1 + sector),
            flipped_crc(u32::MAX - 1),
            invalid(State::Invalid),
            invalid(State::Aborted),
            Record::new(u32::MAX, State::Valid).to_bytes(),
        ]
    };
    for kind in KINDS {
        for images in [[true, false, false], [false, true, false], [true; 3], [false, false, true]]
        {
            let table = Table { factory: images[2], ..TABLE };
            for first in contents(0) {
                for second in contents(1) {
                    let mut flash = Memory::new(table.flash_size());
                    flash.burn(0x8000, &table.to_bytes());
                    for slot in (0..3).filter(|slot| images[*slot]) {
                        flash.burn(table.offset(slot), &image(OLD, LEN));
                    }
                    flash.burn(Table::OTADATA, &first);
                    flash.burn(Table::OTADATA + SECTOR, &second);
                    let mut device = Device::of(flash, kind);
                    // It finds that it works: with its only record rejected it
                    // is on trial.
                    device.ota().accept().expect("the flash works");
                    device.follows(&mut sound_origin(NEXT, LEN), NEXT);
                }
            }
        }
    }
}

#[test]
fn a39_a_crash_before_the_confirmation_rolls_back() {
    for kind in KINDS {
        let mut device = on_trial(kind);
        // It crashes: the watchdog resets, and nobody accepted.
        assert_eq!(device.start(Reset::Other), (OLD.into(), Guard::Settled), "{kind:?}");
        device.assert_unharmed();
        // The bad release is not tried again, the next one is.
        assert_eq!(device.stays(&mut sound_origin(NEW, LEN)), Reason::RolledBack);
        assert_eq!(device.start(Reset::Power), (OLD.into(), Guard::Settled));
        assert_eq!(device.stays(&mut sound_origin(NEW, LEN)), Reason::RolledBack);
        device.follows(&mut sound_origin(NEXT, LEN), NEXT);
    }
}

#[test]
fn a40_a_cut_during_the_confirmation_costs_at_most_another_trial() {
    for kind in KINDS {
        let start = on_trial(kind);
        let mut whole = start.clone();
        whole.flash.power_on(None);
        whole.ota().accept().expect("the flash works");
        let operations = whole.flash.operations();
        assert!(operations > 0);
        for operation in 0..operations {
            for torn in Torn::KINDS {
                let mut device = start.clone();
                device.flash.power_on(Some(Cut { operation, torn }));
                device.ota().accept().expect_err("the power is cut");
                let rest = live(&mut device, Reset::Power, Firmware::Good, true);
                assert_eq!(rest, Ok(Rest::UpToDate), "{kind:?} {operation} {torn:?}");
                device.follows(&mut sound_origin(NEXT, LEN), NEXT);
            }
        }
    }
}

#[test]
fn hazard_1_a_torn_program_that_loses_the_state_leaves_the_image_on_trial() {
    for kind in KINDS {
        let before = device(kind);
        let mut whole = installed(kind);
        let operations = whole.flash.operations();
        // The last three change boot selection: erase, program, program crc.
        for operation in operations - 3..operations {
            for torn in Torn::KINDS {
                for (firmware, rest) in
                    [(Firmware::Good, Rest::UpToDate), (Firmware::Hangs, Rest::RolledBack)]
                {
                    let mut device = before.clone();
                    device.flash.power_on(Some(Cut { operation, torn }));
                    device.poll(&mut sound_origin(NEW, LEN)).expect_err("the power is cut");
                    rests(&mut device, Reset::Power, firmware, rest);
                }
            }
        }
        // It did happen: `seq` and `crc` are there, and `state` is not.
        let sector = deciding(&mut whole);
        whole.flash.bytes_mut()[record_at(sector) + STATE..][..4].fill(0xFF);
        let (_, guard) = whole.clone().reset(Reset::Power);
        assert_eq!(guard, Guard::Trial);
        rests(&mut whole.clone(), Reset::Power, Firmware::Good, Rest::UpToDate);
        rests(&mut whole, Reset::Power, Firmware::Hangs, Rest::RolledBack);
    }
}

#[test]
fn hazard_2_a_cut_between_erase_and_program_of_the_confirmation_downloads_nothing_again() {
    for kind in KINDS {
        let mut device = on_trial(kind);
        // The erase is done, the program is not.
        device.flash.power_on(Some(Cut { operation: 0, torn: Torn::After }));
        device.ota().accept().expect_err("the power is cut");
        device.flash.power_on(None);
        let mut host = sound_origin(NEW, LEN);
        let (version, guard) = device.start(Reset::Power);
        if version == OLD {
            assert_eq!(guard, Guard::Settled);
            assert!(matches!(device.poll(&mut host), Ok(Outcome::Installed { .. })));
            assert!(host.sent < 1000, "{} bytes were downloaded", host.sent);
            assert_eq!(device.start(Reset::Other), (NEW.into(), Guard::Trial));
        }
        device.ota().accept().expect("the flash works");
        assert_eq!(device.stays(&mut host), Reason::UpToDate);

        // Accepted is accepted: what is written after that may be cut.
        let start = on_trial(kind);
        for operation in 2.. {
            let mut device = start.clone();
            device.flash.power_on(Some(Cut { operation, torn: Torn::After }));
            if device.ota().accept().is_ok() {
                assert!(operation > 2);
                break;
            }
            device.flash.power_on(None);
            assert_eq!(device.start(Reset::Power), (NEW.into(), Guard::Settled), "{operation}");
        }
    }
}

#[test]
fn hazard_3_valid_to_invalid_is_one_bit() {
    assert_eq!((State::Valid.code() ^ State::Invalid.code()).count_ones(), 1);
    for kind in KINDS {
        let mut device = accepted(kind);
        let sector = deciding(&mut device);
        let state = record_at(sector) + STATE;
        assert_eq!(device.flash.bytes()[state], State::Valid.code() as u8);
        device.flash.bytes_mut()[state] = State::Invalid.code() as u8;
        assert_eq!(device.start(Reset::Power), (OLD.into(), Guard::Settled), "{kind:?}");
        // Nobody rejected it: it is selected again, and not downloaded.
        let mut host = sound_origin(NEW, LEN);
        device.follows(&mut host, NEW);
        assert!(host.sent < 1000, "{} bytes were downloaded", host.sent);
    }
}

#[test]
fn hazard_4_both_records_on_one_slot() {
    for kind in KINDS {
        for seqs in [[1, 3], [3, 1], [2, 4], [4, 2], [3, 3], [2, 2]] {
            for other_is_sound in [true, false] {
                let slot = (seqs[0] - 1) as usize % 2;
                let mut flash = Memory::new(TABLE.flash_size());
                flash.burn(0x8000, &TABLE.to_bytes());
                flash.burn(TABLE.offset(slot), &image(OLD, LEN));
                if other_is_sound {
                    flash.burn(TABLE.offset(1 - slot), &image("0.9.0", LEN));
                }
                for (sector, seq) in (0..2).zip(seqs) {
                    let record = Record::new(seq, State::Valid).to_bytes();
                    flash.burn(Table::OTADATA + sector * SECTOR, &record);
                }
                let mut device = Device::of(flash, kind);
                device.assert_unharmed();
                // A bad release goes back to what ran, a good one stays.
                device.poll(&mut sound_origin(NEW, LEN)).expect("a sound host");
                rests(&mut device, Reset::Other, Firmware::Hangs, Rest::RolledBack);
            }
        }
    }
}

/// The label says who wrote a record. Without it, as ESP-IDF writes them, the
/// states mean what they mean there.
#[test]
fn hazard_4_both_records_of_another_program_on_one_slot_and_one_rejected() {
    for state in [State::Invalid, State::Aborted] {
        let mut flash = Memory::new(TABLE.flash_size());
        flash.burn(0x8000, &TABLE.to_bytes());
        flash.burn(TABLE.offset(0), &image(OLD, LEN));
        flash.burn(Table::OTADATA, &Record::new(1, State::Valid).to_bytes());
        flash.burn(Table::OTADATA + SECTOR, &Record::new(3, state).to_bytes());
        let mut device = Device::of(flash, Kind::Stock);
        assert_eq!(device.start(Reset::Power).0, OLD);
        device.ota().accept().expect("the flash works");
        device.follows(&mut sound_origin(NEW, LEN), NEW);
    }
}

/// A label is read by its two copies: no single word of it decides alone.
#[test]
fn the_label_of_an_accepted_image_outlives_the_loss_of_a_word() {
    let record = Record::new(2, State::Valid).labelled(Label::new(Stage::Accepted, None));
    for word in 1..6 {
        for lost in [0x00, 0xFF] {
            let mut bytes = record.to_bytes();
            bytes[word * 4..][..4].fill(lost);
            assert_eq!(Record::parse(&bytes).label.stage(), Some(Stage::Accepted), "{word}");
        }
    }
}

#[test]
fn a_power_cut_during_a_download_costs_at_most_64_kib() {
    let table = Table { slots: 2, slot_size: 0x60000, factory: false };
    let new = image(NEW, 300 * 1024);
    let descriptor = Offer::of(NEW, &new).json();
    let sound = origin(descriptor.as_str(), &new);
    let start = Device::with(table, &image(OLD, LEN));
    let mut whole = start.clone();
    whole.flash.power_on(None);
    whole.poll(&mut sound.clone()).expect("a sound host");
    let operations = whole.flash.operations();
    assert!(operations > 600, "{operations} operations");

    let again = |cut: Cut| {
        let mut device = start.clone();
        let mut host = sound.clone();
        device.flash.power_on(Some(cut));
        device.poll(&mut host).expect_err("the power is cut");
        device.flash.power_on(None);
        let mut polls = 1;
        if device.start(Reset::Power).0 == OLD {
            polls += 1;
            let outcome = device.poll(&mut host);
            assert!(matches!(outcome, Ok(Outcome::Installed { .. })), "{cut:?}: {outcome:?}");
            assert_eq!(device.start(Reset::Other), (NEW.into(), Guard::Trial), "{cut:?}");
        }
        let downloaded = host.sent - polls * descriptor.len();
        downloaded.saturating_sub(new.len())
    };
    let cuts: Range<u32> = 0..operations;
    let torn = |operation: u32| Torn::KINDS[operation as usize % Torn::KINDS.len()];
    let most =
        cuts.into_par_iter().map(|operation| again(Cut { operation, torn: torn(operation) }));
    let most = most.max().expect("some operations");
    println!("{operations} cuts; at most {most} bytes were downloaded again");
    assert!((1..=64 * 1024).contains(&most), "{most} bytes were downloaded again");
}
