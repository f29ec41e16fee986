//! How long bytes take on a serial line.
//!
//! A byte is ten bits on the line: start, eight of data, stop. Bytes that are
//! sent while others are under way wait for them.

use std::{collections::VecDeque, time::Duration};

/// One direction of a serial line. Times count from whenever the owner likes.
#[derive(Clone, Debug, Default)]
pub struct Line {
    /// When the last byte that was sent has arrived.
    free_at: Duration,
    /// Bytes under way, each piece with the time of its arrival.
    pieces: VecDeque<(Duration, Vec<u8>)>,
}

/// Bytes of a piece that arrive together. Small enough that a receiver sees a
/// long transfer come in.
const PIECE: usize = 16;

impl Line {
    /// Sends bytes at `now`; without a baud rate they arrive at once, though
    /// never before what was sent earlier.
    pub fn send(&mut self, now: Duration, bytes: &[u8], baud: Option<u32>) {
        self.free_at = self.free_at.max(now);
        for piece in bytes.chunks(PIECE) {
            self.free_at += baud.map_or(Duration::ZERO, |baud| on_the_line(piece.len(), baud));
            self.pieces.push_back((self.free_at, piece.to_vec()));
        }
    }

    /// Returns when the next bytes arrive.
    pub fn next(&self) -> Option<Duration> {
        self.pieces.front().map(|(at, _)| *at)
    }

    /// Takes the bytes that have arrived by `now`.
    pub fn arrived(&mut self, now: Duration) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Some((_, piece)) = self.pieces.pop_front_if(|(at, _)| *at <= now) {
            bytes.extend(piece);
        }
        bytes
    }

    /// Loses what is under way, as when the cable is pulled.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Returns how long bytes take at a baud rate.
fn on_the_line(bytes: usize, baud: u32) -> Duration {
    const BITS: u64 = 10;
    Duration::from_nanos(bytes as u64 * BITS * 1_000_000_000 / u64::from(baud.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_byte_takes_ten_bits_and_waits_for_those_before_it() {
        let mut line = Line::default();
        line.send(SECOND, &[1; 1152], Some(115_200));
        line.send(SECOND, &[2; 1152], Some(115_200));
        assert!(line.arrived(SECOND).is_empty());
        let halfway = line.arrived(SECOND + Duration::from_millis(50));
        assert_eq!(halfway, [1; 576]);
        assert_eq!(line.arrived(SECOND + Duration::from_millis(101)).len(), 576);
        let end = SECOND + Duration::from_millis(200);
        assert_eq!(line.arrived(end - Duration::from_millis(1)).len(), 1136);
        assert_eq!(line.arrived(end), [2; 16]);
        assert_eq!(line.next(), None);
    }

    #[test]
    fn a_line_that_was_idle_starts_when_it_is_used() {
        let mut line = Line::default();
        line.send(5 * SECOND, &[1; 96], Some(9600));
        assert_eq!(line.arrived(5 * SECOND + Duration::from_millis(100)).len(), 96);
    }

    #[test]
    fn without_a_rate_bytes_arrive_at_once_and_in_order() {
        let mut line = Line::default();
        line.send(SECOND, b"ab", None);
        assert_eq!(line.arrived(SECOND), b"ab");
        line.send(SECOND, &[1; 960], Some(9600));
        line.send(SECOND, b"c", None);
        assert!(line.arrived(SECOND).is_empty());
        assert_eq!(line.arrived(2 * SECOND).last(), Some(&b'c'));
        line.send(2 * SECOND, b"d", Some(1));
        line.clear();
        assert_eq!(line.next(), None);
    }
}
