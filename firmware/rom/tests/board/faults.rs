//! What goes wrong on a board, and what a tool sees of it.

use crate::talk::{CLASSIC, MAGIC, READ_REG, RESTART, USB, ask, drive, sync, waiting, words};
use std::time::Duration;
use towline_descriptor::Chip;
use towline_rom::{Board, Faults, Options, State, Wiring};

const SECOND: Duration = Duration::from_secs(1);

fn with(faults: Faults) -> Options {
    Options { faults, ..Options::new(Chip::Esp32c3) }
}

fn printed(board: &mut Board) -> String {
    String::from_utf8_lossy(&board.take_output()).into_owned()
}

#[test]
fn a_silent_chip_says_nothing_at_all() {
    let mut board = Board::new(with(Faults { silent: true, ..Faults::default() })).unwrap();
    board.advance(SECOND);
    drive(&mut board, &CLASSIC);
    assert_eq!(board.state(), State::Rom);
    assert!(sync(&mut board).is_empty());
    board.mend(Faults::default());
    assert_eq!(sync(&mut board).len(), 8);
}

#[test]
fn every_nth_frame_of_the_host_is_lost_across_resets() {
    let mut board = waiting(with(Faults { dropped_frame: Some(3), ..Faults::default() }));
    let answered = |board: &mut Board| !sync(board).is_empty();
    assert_eq!([(); 4].map(|()| answered(&mut board)), [true, true, false, true]);
    let mut board = board.in_download_mode();
    board.take_output();
    assert_eq!([(); 4].map(|()| answered(&mut board)), [true, false, true, true]);
}

#[test]
fn every_nth_answer_has_a_wrong_bit() {
    let mut sound = waiting(Options::new(Chip::Esp32c3));
    let mut board = waiting(with(Faults { corrupt_reply: Some(10), ..Faults::default() }));
    assert_eq!(sync(&mut board), sync(&mut sound));
    let mut wrong = |board: &mut Board| {
        let right = ask(&mut sound, READ_REG, &MAGIC).concat();
        let bits = ask(board, READ_REG, &MAGIC).concat();
        bits.iter().zip(right).map(|(a, b)| (a ^ b).count_ones()).sum::<u32>()
    };
    let bits: Vec<_> = (9..=21).map(|_| wrong(&mut board)).collect();
    assert_eq!(bits, [0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
}

#[test]
fn above_its_limit_the_line_carries_garbage_both_ways() {
    let mut board = waiting(with(Faults { max_baud: Some(460_800), ..Faults::default() }));
    board.set_host_baud(Some(115_200));
    sync(&mut board);
    for (baud, answers) in [(460_800, 1), (921_600, 0)] {
        // The host changes after the answer.
        assert_eq!(ask(&mut board, 0x0F, &words(&[baud, 0])).len(), 1);
        board.set_host_baud(Some(baud));
        assert_eq!(ask(&mut board, READ_REG, &MAGIC).len(), answers, "{baud}");
    }
    board.mend(Faults { max_baud: Some(57_600), ..Faults::default() });
    board.set_host_baud(Some(115_200));
    board.reset();
    board.advance(SECOND);
    let log = printed(&mut board);
    assert!(!log.is_empty() && !log.contains("ESP-ROM"), "{log}");
    // The chip's own USB has no baud rate, and no limit.
    let faults = Faults { max_baud: Some(115_200), ..Faults::default() };
    let mut board = waiting(Options { wiring: Wiring::UsbSerialJtag, ..with(faults) });
    sync(&mut board);
    board.set_host_baud(Some(921_600));
    assert_eq!(ask(&mut board, READ_REG, &MAGIC).len(), 1);
}

#[test]
fn a_log_is_read_at_its_own_baud_rate_only() {
    let log = |baud, wiring| {
        let mut board = Board::new(Options { wiring, ..Options::new(Chip::Esp32c3) }).unwrap();
        board.set_host_baud(baud);
        board.advance(SECOND);
        printed(&mut board)
    };
    assert!(log(None, Wiring::Bridge).contains("ESP-ROM:esp32c3"));
    assert!(log(Some(115_200), Wiring::Bridge).contains("ESP-ROM:esp32c3"));
    assert!(log(Some(921_600), Wiring::UsbSerialJtag).contains("ESP-ROM:esp32c3"));
    let garbage = log(Some(921_600), Wiring::Bridge);
    assert!(!garbage.is_empty() && !garbage.contains("ESP-ROM"), "{garbage}");
}

#[test]
fn lines_that_are_not_wired_do_nothing_and_the_buttons_do() {
    for (wiring, sequence) in [(Wiring::Bridge, &CLASSIC[..]), (Wiring::UsbSerialJtag, &USB[..])] {
        let faults = Faults { no_reset: true, ..Faults::default() };
        let mut board = Board::new(Options { wiring, ..with(faults) }).unwrap();
        board.advance(SECOND);
        drive(&mut board, sequence);
        assert_eq!(board.state(), State::Firmware);
        board.hold_boot(true);
        board.reset();
        board.advance(SECOND);
        board.hold_boot(false);
        assert_eq!(board.state(), State::Rom);
        drive(&mut board, &RESTART);
        assert_eq!(board.state(), State::Rom);
    }
}

#[test]
fn a_chip_without_firmware_says_so_again_and_again() {
    let mut board = Board::new(Options::new(Chip::Esp32c3)).unwrap();
    for _ in 0..500 {
        board.advance(Duration::from_millis(5));
    }
    let log = printed(&mut board);
    assert_eq!(log.matches("invalid header: 0xffffffff").count(), 5, "{log}");
}

#[test]
fn a_cable_that_is_plugged_in_again_powers_the_chip_anew() {
    let mut board = waiting(with(Faults { unplugged_after: Some(50), ..Faults::default() }));
    assert_eq!(sync(&mut board).len(), 8);
    assert!(sync(&mut board).is_empty());
    assert!(board.is_unplugged());
    board.advance(SECOND);
    assert_eq!(printed(&mut board), "");
    board.plug();
    board.advance(SECOND);
    assert!(printed(&mut board).contains("rst:"));
    assert_eq!(board.state(), State::Firmware);
    // It stays in this time.
    drive(&mut board, &CLASSIC);
    board.take_output();
    assert_eq!([sync(&mut board).len(), sync(&mut board).len()], [8, 8]);
    board.unplug();
    assert!(board.is_unplugged() && sync(&mut board).is_empty());
}

fn register(options: Options, address: u32) -> u32 {
    let mut board = waiting(options);
    sync(&mut board);
    let answer = ask(&mut board, READ_REG, &words(&[address]));
    u32::from_le_bytes(*answer[0][4..].first_chunk().unwrap())
}

#[test]
fn an_esp32_has_no_secure_download_mode() {
    let mut board = waiting(Options { secure_download: true, ..Options::new(Chip::Esp32) });
    sync(&mut board);
    assert_eq!(ask(&mut board, READ_REG, &MAGIC)[0][4..8], 0x00F0_1D83_u32.to_le_bytes());
}

/// As `getPsramCap`, `getPsramVendor` and `getPkgVersion` of esptool-js read it.
#[test]
fn psram_in_the_package_is_in_the_efuses() {
    let s3 = |psram| {
        let word = register(Options { psram, ..Options::new(Chip::Esp32s3) }, 0x6000_7054);
        (word >> 3 & 3, word >> 7 & 3)
    };
    assert_eq!([s3(0), s3(8 << 20), s3(2 << 20)], [(0, 0), (1, 1), (2, 1)]);
    let esp32 = |psram| {
        let word = register(Options { psram, ..Options::new(Chip::Esp32) }, 0x3FF5_A00C);
        (word >> 9 & 7) + (word >> 2 & 1) * 8
    };
    assert_eq!([esp32(0), esp32(2 << 20), esp32(8 << 20)], [0, 6, 0]);
}

#[test]
fn a_chip_tells_when_it_talks_by_its_own_usb() {
    for (chip, address, usb) in [(Chip::Esp32c3, 0x3FCD_F07C, 3), (Chip::Esp32s3, 0x3FCE_F14C, 4)] {
        assert_eq!(register(Options::new(chip), address), 0);
        let wiring = Wiring::UsbSerialJtag;
        assert_eq!(register(Options { wiring, ..Options::new(chip) }, address), usb);
    }
}
