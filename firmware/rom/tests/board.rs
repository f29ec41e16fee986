//! The board as tools meet it: what its lines do, and what its loader says.

use std::time::Duration;
use towline_descriptor::Chip;
use towline_rom::{Board, Faults, Lines, Options, State, Wiring};

const READ_REG: u8 = 0x0A;
const MAGIC: [u8; 4] = 0x4000_1000_u32.to_le_bytes();

fn board(wiring: Wiring) -> Board {
    let mut board = Board::new(Options { wiring, ..Options::new(Chip::Esp32c3) }).unwrap();
    board.advance(Duration::from_secs(1));
    assert_eq!(board.state(), State::Firmware);
    board
}

/// Sets lines and waits, step by step: DTR, RTS, milliseconds.
fn drive(board: &mut Board, steps: &[(bool, bool, u64)]) {
    for (dtr, rts, wait) in steps {
        board.set_lines(Lines { dtr: *dtr, rts: *rts });
        board.advance(Duration::from_millis(*wait));
    }
}

/// One line at a time, as on Windows.
const CLASSIC: [(bool, bool, u64); 5] =
    [(false, true, 100), (true, true, 0), (true, false, 50), (false, false, 0), (false, false, 50)];
/// Both lines at once.
const TIGHT: [(bool, bool, u64); 5] =
    [(false, false, 0), (true, true, 0), (false, true, 100), (true, false, 50), (false, false, 0)];
/// For the chip's own USB peripheral.
const USB: [(bool, bool, u64); 6] = [
    (false, false, 100),
    (true, false, 100),
    (true, true, 0),
    (false, true, 100),
    (false, false, 0),
    (false, false, 100),
];
const RESTART: [(bool, bool, u64); 2] = [(false, true, 100), (false, false, 100)];

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

fn encode(op: u8, checksum: u8, data: &[u8]) -> Vec<u8> {
    let len = (data.len() as u16).to_le_bytes();
    let head = [0, op, len[0], len[1], checksum, 0, 0, 0];
    let mut wire = vec![0xC0];
    for byte in head.iter().chain(data) {
        match byte {
            0xC0 => wire.extend([0xDB, 0xDC]),
            0xDB => wire.extend([0xDB, 0xDD]),
            byte => wire.push(*byte),
        }
    }
    wire.push(0xC0);
    wire
}

/// Sends a command and returns the frames that come back.
fn ask(board: &mut Board, op: u8, data: &[u8]) -> Vec<Vec<u8>> {
    let checksum = data.get(16..).unwrap_or_default().iter().fold(0xEF, |sum, byte| sum ^ byte);
    board.receive(&encode(op, checksum, data));
    let wire = board.take_output();
    let mut frames = Vec::new();
    for frame in wire.split(|byte| *byte == 0xC0).filter(|frame| !frame.is_empty()) {
        let mut plain = Vec::new();
        let mut bytes = frame.iter();
        while let Some(byte) = bytes.next() {
            plain.push(match byte {
                0xDB if bytes.next() == Some(&0xDC) => 0xC0,
                0xDB => 0xDB,
                byte => *byte,
            });
        }
        frames.push(plain);
    }
    frames
}

fn sync(board: &mut Board) -> Vec<Vec<u8>> {
    ask(board, 0x08, &[&[0x07, 0x07, 0x12, 0x20][..], &[0x55; 32]].concat())
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn waiting(options: Options) -> Board {
    let mut board = Board::new(options).unwrap().in_download_mode();
    board.take_output();
    board
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
