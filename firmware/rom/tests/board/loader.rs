//! The board as tools meet it: what its lines do, and what its loader says.

use crate::talk::{
    CLASSIC, MAGIC, READ_REG, RESTART, TIGHT, USB, ask, drive, encode, sync, waiting, words,
};
use std::time::Duration;
use towline_descriptor::Chip;
use towline_rom::{Board, Faults, Options, State, Wiring};

fn board(wiring: Wiring) -> Board {
    let mut board = Board::new(Options { wiring, ..Options::new(Chip::Esp32c3) }).unwrap();
    board.advance(Duration::from_secs(1));
    assert_eq!(board.state(), State::Firmware);
    board
}

#[test]
fn each_wiring_enters_download_mode_by_its_sequences_and_leaves_it_by_reset() {
    for (wiring, sequence) in [
        (Wiring::Bridge, &CLASSIC[..]),
        (Wiring::Bridge, &TIGHT[..]),
        (Wiring::UsbSerialJtag, &USB[..]),
    ] {
        let mut board = board(wiring);
        board.take_output();
        drive(&mut board, sequence);
        assert_eq!(board.state(), State::Rom, "{wiring:?} {sequence:?}");
        let log = String::from_utf8(board.take_output()).unwrap();
        assert!(log.contains("boot:0x4") && log.ends_with("waiting for download\r\n"), "{log}");
        drive(&mut board, &RESTART);
        assert_eq!(board.state(), State::Firmware, "{wiring:?}");
    }
}

#[test]
fn the_sequence_of_one_wiring_does_not_work_on_the_other() {
    let mut bridge = board(Wiring::Bridge);
    drive(&mut bridge, &USB);
    assert_eq!(bridge.state(), State::Firmware);
}

#[test]
fn a_strap_that_is_let_go_before_en_has_risen_is_missed() {
    let mut board = board(Wiring::Bridge);
    drive(&mut board, &[(false, true, 100), (true, false, 10), (false, false, 50)]);
    assert_eq!(board.state(), State::Firmware);
    // In reset as long as it is held, however long.
    drive(&mut board, &[(false, true, 10_000)]);
    assert_eq!(board.state(), State::Reset);
}

#[test]
fn the_boot_button_does_it_without_lines() {
    let mut board = board(Wiring::Bridge);
    board.hold_boot(true);
    board.reset();
    board.advance(Duration::from_millis(30));
    assert_eq!(board.state(), State::Rom);
}

#[test]
fn nothing_is_answered_before_the_rom_has_measured_the_baud_rate() {
    let mut board = waiting(Options::new(Chip::Esp32c3));
    assert!(ask(&mut board, READ_REG, &MAGIC).is_empty());
    assert_eq!(sync(&mut board).len(), 8);
    assert_eq!(ask(&mut board, READ_REG, &MAGIC)[0][4..8], 0x1B31_506F_u32.to_le_bytes());
}

#[test]
fn a_host_at_another_baud_rate_is_not_understood() {
    let mut board = waiting(Options::new(Chip::Esp32c3));
    board.set_host_baud(Some(74_880));
    sync(&mut board);
    board.set_host_baud(Some(115_200));
    assert!(ask(&mut board, READ_REG, &MAGIC).is_empty());
    board.set_host_baud(Some(74_880));
    assert_eq!(ask(&mut board, 0x0F, &words(&[921_600, 0])).len(), 1);
    assert!(ask(&mut board, READ_REG, &MAGIC).is_empty());
    board.set_host_baud(Some(921_600));
    assert_eq!(ask(&mut board, READ_REG, &MAGIC).len(), 1);
}

#[test]
fn an_unknown_command_is_answered_eight_times_with_another_number() {
    let mut board = waiting(Options::new(Chip::Esp32));
    sync(&mut board);
    let frames = ask(&mut board, 0x14, &[]);
    assert_eq!(frames.len(), 8);
    assert!(frames.iter().all(|frame| frame[1] != 0x14 && frame[8..10] == [1, 5]));
}

#[test]
fn secure_download_mode_tells_what_it_is_and_nothing_else() {
    let options = Options { secure_download: true, ..Options::new(Chip::Esp32c6) };
    let mut board = waiting(options);
    sync(&mut board);
    assert_eq!(ask(&mut board, READ_REG, &MAGIC).len(), 8);
    let info = ask(&mut board, 0x14, &[]);
    assert_eq!((info[0][8], info[0][20]), (4, 13));
}

#[test]
fn a_stub_runs_only_after_its_upload_and_is_gone_after_a_reboot() {
    let mut board = waiting(Options::new(Chip::Esp32c3));
    sync(&mut board);
    let start = words(&[0, 0x4038_0004]);
    assert_eq!(ask(&mut board, 0x06, &start).len(), 1);
    assert_eq!(board.state(), State::Rom);
    ask(&mut board, 0x05, &words(&[8, 1, 0x1800, 0x4038_0000]));
    ask(&mut board, 0x07, &[words(&[8, 0, 0, 0]), vec![0x13; 8]].concat());
    assert_eq!(ask(&mut board, 0x06, &start)[1], b"OHAI");
    assert_eq!(board.state(), State::Stub);
    // The strap is as it was at the last reset.
    ask(&mut board, 0x02, &words(&[0, 0, 0x4000, 0]));
    board.receive(&encode(0x04, 0, &words(&[0])));
    assert_eq!(board.state(), State::Rom);
    let log = String::from_utf8(board.take_output()).unwrap_or_default();
    assert!(log.is_empty() || log.contains("waiting"), "{log}");
}

#[test]
fn blocks_with_a_wrong_checksum_or_beyond_the_flash_change_nothing() {
    let mut board = waiting(Options::new(Chip::Esp32c3));
    sync(&mut board);
    let failed = |frames: &[Vec<u8>]| frames[0][8] == 1;
    assert!(failed(&ask(&mut board, 0x02, &words(&[0x1000, 4, 0x400, 0x40_0000, 0]))));
    assert!(failed(&ask(&mut board, 0x03, &[words(&[4, 0, 0, 0]), vec![0; 4]].concat())));
    assert!(!failed(&ask(&mut board, 0x02, &words(&[0x1000, 4, 0x400, 0, 0]))));
    board.receive(&encode(0x03, 0x55, &[words(&[4, 0, 0, 0]), vec![0; 4]].concat()));
    let reply = board.take_output();
    assert_eq!(reply[9..11], [1, 7]);
    assert!(board.flash().bytes().iter().all(|byte| *byte == 0xFF));
}

#[test]
fn noise_never_stops_the_loader() {
    let mut board = waiting(Options::new(Chip::Esp32s3));
    sync(&mut board);
    let mut seed = 1_u32;
    for op in (0..=255).chain(0..=255) {
        let noise: Vec<u8> = (0..op as usize % 48)
            .map(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (seed >> 24) as u8
            })
            .collect();
        // These leave the loader, or change its rate.
        if !matches!(op, 0x04 | 0x0F | 0x12 | 0xD3) {
            ask(&mut board, op, &noise);
        }
        board.receive(&noise);
    }
    assert_eq!(ask(&mut board, READ_REG, &MAGIC)[0][4..8], [9, 0, 0, 0]);
}

#[test]
fn a_pulled_cable_carries_nothing_until_it_is_mended() {
    let faults = Faults { unplugged_after: Some(20), ..Faults::default() };
    let mut board = waiting(Options { faults, ..Options::new(Chip::Esp32c3) });
    assert!(sync(&mut board).is_empty());
    assert!(board.is_unplugged());
    board.mend(Faults::default());
    let mut board = board.in_download_mode();
    board.take_output();
    assert_eq!(sync(&mut board).len(), 8);
}
