//! What a tool says to a board, and how it drives its lines.

use std::time::Duration;
use towline_rom::{Board, Lines, Options};

pub(crate) const READ_REG: u8 = 0x0A;
pub(crate) const MAGIC: [u8; 4] = 0x4000_1000_u32.to_le_bytes();

/// Sets lines and waits, step by step: DTR, RTS, milliseconds.
pub(crate) fn drive(board: &mut Board, steps: &[(bool, bool, u64)]) {
    for (dtr, rts, wait) in steps {
        board.set_lines(Lines { dtr: *dtr, rts: *rts });
        board.advance(Duration::from_millis(*wait));
    }
}

/// One line at a time, as on Windows.
pub(crate) const CLASSIC: [(bool, bool, u64); 5] =
    [(false, true, 100), (true, true, 0), (true, false, 50), (false, false, 0), (false, false, 50)];
/// Both lines at once.
pub(crate) const TIGHT: [(bool, bool, u64); 5] =
    [(false, false, 0), (true, true, 0), (false, true, 100), (true, false, 50), (false, false, 0)];
/// For the chip's own USB peripheral.
pub(crate) const USB: [(bool, bool, u64); 6] = [
    (false, false, 100),
    (true, false, 100),
    (true, true, 0),
    (false, true, 100),
    (false, false, 0),
    (false, false, 100),
];
pub(crate) const RESTART: [(bool, bool, u64); 2] = [(false, true, 100), (false, false, 100)];

pub(crate) fn encode(op: u8, checksum: u8, data: &[u8]) -> Vec<u8> {
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
pub(crate) fn ask(board: &mut Board, op: u8, data: &[u8]) -> Vec<Vec<u8>> {
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

pub(crate) fn sync(board: &mut Board) -> Vec<Vec<u8>> {
    ask(board, 0x08, &[&[0x07, 0x07, 0x12, 0x20][..], &[0x55; 32]].concat())
}

pub(crate) fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

pub(crate) fn waiting(options: Options) -> Board {
    let mut board = Board::new(options).unwrap().in_download_mode();
    board.take_output();
    board
}
