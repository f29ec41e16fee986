//! What runs on a chip that starts from its flash.

use crate::talk::{CLASSIC, RESTART, drive};
use std::time::Duration;
use towline_descriptor::Chip;
use towline_rom::{Board, Firmware, Flash, Options, State};

/// Tells what it is given, and keeps in flash how often it started.
struct Told;

const KEPT: u32 = 0x9000;

impl Firmware for Told {
    fn start(&mut self, flash: &mut Flash, out: &mut Vec<u8>) {
        let starts = !flash.read(KEPT, 1).unwrap()[0] + 1;
        flash.put(KEPT, &[!starts]).unwrap();
        out.extend(format!("start {starts};").bytes());
    }

    fn receive(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        out.extend(bytes.to_ascii_uppercase());
    }

    fn advance(&mut self, time: Duration, _: &mut Flash, out: &mut Vec<u8>) {
        out.extend(format!("+{};", time.as_millis()).bytes());
    }
}

fn printed(board: &mut Board) -> String {
    String::from_utf8(board.take_output()).unwrap()
}

#[test]
fn it_starts_at_each_reset_and_is_given_bytes_and_time() {
    let mut board = Board::new(Options::new(Chip::Esp32c3)).unwrap().with_firmware(Box::new(Told));
    board.flash_mut().put(0, &[0xE9, 1]).unwrap();
    board.advance(Duration::from_millis(30));
    assert!(printed(&mut board).ends_with("entry\r\nstart 1;"));
    board.receive(b"hello");
    board.advance(Duration::from_millis(4));
    assert_eq!(printed(&mut board), "HELLO+4;");
    drive(&mut board, &RESTART);
    assert!(printed(&mut board).ends_with("start 2;"));

    drive(&mut board, &CLASSIC);
    assert_eq!(board.state(), State::Rom);
    printed(&mut board);
    board.receive(b"hello");
    board.advance(Duration::from_secs(1));
    assert_eq!(printed(&mut board), "", "it does not run while the ROM does");
}

#[test]
fn it_hears_a_host_at_the_rate_of_its_log_only() {
    let mut board = Board::new(Options::new(Chip::Esp32c3)).unwrap().with_firmware(Box::new(Told));
    board.flash_mut().put(0, &[0xE9, 1]).unwrap();
    board.advance(Duration::from_millis(30));
    board.take_output();
    board.set_host_baud(Some(921_600));
    board.receive(b"a");
    assert!(board.take_output().is_empty());
    board.set_host_baud(Some(115_200));
    board.receive(b"b");
    assert_eq!(printed(&mut board), "B");
}

#[test]
fn it_does_not_start_without_a_bootloader() {
    let mut board = Board::new(Options::new(Chip::Esp32)).unwrap().with_firmware(Box::new(Told));
    board.flash_mut().put(0, &[0xE9, 1]).unwrap();
    board.advance(Duration::from_millis(30));
    // An ESP32 looks for it at 0x1000.
    let log = printed(&mut board);
    assert!(log.ends_with("invalid header: 0xffffffff\r\n"), "{log}");
    board.flash_mut().put(0x1000, &[0xE9, 1]).unwrap();
    board.advance(Duration::from_millis(500));
    assert!(printed(&mut board).ends_with("start 1;"), "its watchdog tries again");
}
