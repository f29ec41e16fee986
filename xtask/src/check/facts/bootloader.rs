//! Whether a bootloader goes back to the app before if a new one does not start.
//!
//! At the level of its log that is the default, no text of ESP-IDF's bootloader tells.
//! But one that rolls back writes otadata at three places more: so the calls of the
//! function that does are counted.
//!
//! ```text
//! "Error in write_otadata" <--refers-- code --inside of--> function <--call-- how often?
//! ```
//!
//! One call: it only fills blank otadata. Three and more: it marks images too. Other
//! bootloaders, and what is not quite like this, is unknown.
//!
//! Source: ESP-IDF, `bootloader_utility.c`; compared with 36 bootloaders of it.

use super::segments::{Segment, segments};
use memchr::memmem;
use std::{collections::BTreeSet, ops::Bound};
use towline_descriptor::Chip;

/// Texts that are only in one that rolls back, at a higher level of its log.
const TELLING: [&[u8]; 2] =
    [b"is marking as ABORTED", b"is selected as new and marked PENDING_VERIFY state"];

/// A text of the function that writes a record of otadata.
const WRITES: &[u8] = b"Error in write_otadata";

/// A text of the function that fills blank otadata.
const FILLS: &[u8] = b"Set actual ota_seq=";

/// The function refers to its text within so many bytes.
const NEAR: u32 = 0x100;

/// The size of a record of otadata in bytes, which the function names.
const RECORD: u32 = 32;

/// No bootloader is larger, in bytes: the partition table is behind it.
const MAX_SIZE: usize = 0x1_0000;

/// `lui` is at most so many bytes before the instruction that completes the address.
const PAIR: u32 = 60;

/// Returns whether a bootloader rolls back, if that can be told.
pub(super) fn rolls_back(image: &[u8], chip: Chip) -> Option<bool> {
    let segments = segments(image)?;
    if segments.iter().map(|segment| segment.data.len()).sum::<usize>() > MAX_SIZE {
        return None;
    }
    let tells = |text: &[u8]| segments.iter().any(|s| memmem::find(s.data, text).is_some());
    if TELLING.iter().any(|text| tells(text)) {
        return Some(true);
    }
    let writes = address_of(&segments, WRITES)?;
    let fills = address_of(&segments, FILLS);
    // Texts are data, and what looks like code there is none.
    let is_code = |s: &&Segment<'_>| memmem::find(s.data, WRITES).is_none();
    let mut code = Code::default();
    for segment in segments.iter().filter(is_code) {
        match chip {
            Chip::Esp32 | Chip::Esp32s2 | Chip::Esp32s3 => code.read_xtensa(segment, &segments),
            _ => code.read_riscv(segment),
        }
    }
    code.rolls_back(writes, fills)
}

/// Returns where the text is loaded that has these bytes in it.
fn address_of(segments: &[Segment<'_>], part: &[u8]) -> Option<u32> {
    segments.iter().find_map(|segment| {
        let at = memmem::find(segment.data, part)?;
        let start = segment.data[..at].iter().rposition(|byte| *byte == 0).map_or(0, |end| end + 1);
        Some(segment.address.wrapping_add(start as u32))
    })
}

/// What is known of code.
#[derive(Default)]
struct Code {
    /// Which address refers to which.
    refers: Vec<(u32, u32)>,
    /// Where functions begin.
    entries: BTreeSet<u32>,
    /// What is called, once for each call.
    calls: Vec<u32>,
    /// Where the size of a record is loaded.
    sizes: Vec<u32>,
}

impl Code {
    fn rolls_back(&self, writes: u32, fills: Option<u32>) -> Option<bool> {
        let mut references = self.refers.iter().filter(|(_, to)| *to == writes);
        let ((at, _), None) = (references.next()?, references.next()) else { return None };
        let entry = *self.entries.range(..=at).next_back()?;
        let end = self
            .entries
            .range((Bound::Excluded(*at), Bound::Unbounded))
            .next()
            .copied()
            .unwrap_or(u32::MAX);
        let is_function = at - entry < NEAR
            && self.sizes.iter().any(|place| (entry..*at).contains(place))
            && !self.refers.iter().any(|(at, to)| Some(*to) == fills && (entry..end).contains(at));
        match self.calls.iter().filter(|call| **call == entry).count() {
            0 | 1 => Some(false),
            2 => None,
            _ => is_function.then_some(true),
        }
    }

    fn call(&mut self, target: u32) {
        self.calls.push(target);
        self.entries.insert(target);
    }

    /// Reads RV32 code from its first instruction on.
    fn read_riscv(&mut self, segment: &Segment<'_>) {
        // What the registers hold since the last `lui` or `auipc`, and where that was.
        let mut upper = [None; 32];
        let mut at = 0;
        while let Some(half) = segment.data.get(at..at + 2) {
            let pc = segment.address.wrapping_add(at as u32);
            let half = u16::from_le_bytes([half[0], half[1]]);
            if half & 3 != 3 {
                // c.jal
                if half & 0xE003 == 0x2001 {
                    self.call(pc.wrapping_add(compressed_offset(half)));
                }
                at += 2;
                continue;
            }
            let Some(word) = segment.data.get(at..).and_then(|rest| rest.first_chunk()) else {
                break;
            };
            let word = u32::from_le_bytes(*word);
            let (rd, rs1) = ((word >> 7 & 31) as usize, (word >> 15 & 31) as usize);
            let low = (word as i32 >> 20) as u32;
            let near = |set: Option<(u32, u32)>| {
                set.filter(|(since, _)| pc.wrapping_sub(*since) <= PAIR)
                    .map(|(_, high)| high.wrapping_add(low))
            };
            match (word & 0x7F, word >> 12 & 7) {
                // lui, auipc
                (0x37, _) => upper[rd] = Some((pc, word & 0xFFFF_F000)),
                (0x17, _) => upper[rd] = Some((pc, pc.wrapping_add(word & 0xFFFF_F000))),
                // addi
                (0x13, 0) if rs1 == 0 && low == RECORD => self.sizes.push(pc),
                (0x13, 0) => self.refers.extend(near(upper[rs1]).map(|to| (pc, to))),
                // jal, jalr
                (0x6F, _) if rd == 1 => self.call(pc.wrapping_add(jal_offset(word))),
                (0x67, 0) if rd == 1 && rs1 == 1 => {
                    if let Some(target) = near(upper[1]) {
                        self.call(target);
                    }
                }
                _ => {}
            }
            at += 4;
        }
    }

    /// Reads Xtensa code at every byte: instructions have 2 or 3 bytes, and literals
    /// are between them.
    fn read_xtensa(&mut self, segment: &Segment<'_>, all: &[Segment<'_>]) {
        for (at, bytes) in segment.data.windows(3).enumerate() {
            let pc = segment.address.wrapping_add(at as u32);
            let word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0]);
            match bytes[0] & 0xF {
                // l32r
                1 => {
                    let literal = (pc.wrapping_add(3) & !3)
                        .wrapping_add((0xFFFF_0000 | word >> 8).wrapping_mul(4));
                    self.refers.extend(read_word(all, literal).map(|to| (pc, to)));
                }
                // call4, call8, call12
                5 if bytes[0] & 0x30 != 0 => {
                    let offset = ((word << 8) as i32 >> 14) as u32;
                    let target = (pc & !3).wrapping_add(4).wrapping_add(offset.wrapping_mul(4));
                    self.calls.push(target);
                }
                // entry a1
                6 if bytes[0] == 0x36 && bytes[1] & 0xF == 1 && pc.is_multiple_of(4) => {
                    self.entries.insert(pc);
                }
                // movi.n, movi
                0xC if bytes[0] == 0x2C && bytes[1] & 0xF0 == 0 => self.sizes.push(pc),
                2 if bytes[1] == 0xA0 && u32::from(bytes[2]) == RECORD => self.sizes.push(pc),
                _ => {}
            }
        }
    }
}

/// Returns the word at an address.
fn read_word(segments: &[Segment<'_>], address: u32) -> Option<u32> {
    segments.iter().find_map(|segment| {
        let at = address.checked_sub(segment.address)? as usize;
        Some(u32::from_le_bytes(*segment.data.get(at..)?.first_chunk()?))
    })
}

/// Returns how far `jal` goes.
fn jal_offset(word: u32) -> u32 {
    let sign = (word as i32 >> 31 << 20) as u32;
    sign | word & 0xF_F000 | word >> 9 & 0x800 | word >> 20 & 0x7FE
}

/// Returns how far `c.jal` goes.
fn compressed_offset(half: u16) -> u32 {
    let bit = |from: u32, to: u32| (u32::from(half) >> from & 1) << to;
    let sign = if half & 0x1000 == 0 { 0 } else { 0xFFFF_F800 };
    let low = bit(3, 1) | bit(4, 2) | bit(5, 3) | bit(11, 4);
    sign | low | bit(2, 5) | bit(7, 6) | bit(6, 7) | bit(9, 8) | bit(10, 9) | bit(8, 10)
}

#[cfg(test)]
mod tests;
