//! Images without their addresses, for telling what is alike.
//!
//! Two builds of the same function differ in where they call and point to. In a masked
//! image these fields are zero and pointers are one of two words, so that functions that
//! only moved are the same bytes.

use towline_patch::{Isa, Kind, Place, Registers, Segments, Site, Unit};

/// Bytes from a unit on that parsing it looks at.
const AHEAD: usize = 48;

/// Returns an image of the same size with its references masked.
pub(crate) fn masked(image: &[u8], isa: Isa) -> Vec<u8> {
    let mut masked = image.to_vec();
    let mut segments = Segments::of(image);
    let mut at = 0;
    while at < image.len() {
        at += match segments.at(at as u32) {
            Some(place) => {
                let room = (place.room as usize).min(image.len() - at);
                mask(&mut masked[at..at + room], &image[at..], place, isa, &segments);
                room
            }
            // A header.
            None => 1,
        };
    }
    masked
}

/// Masks a segment. `image` begins with it.
fn mask(segment: &mut [u8], image: &[u8], place: Place, isa: Isa, segments: &Segments) {
    let mut registers = Registers::new();
    let mut at = 0;
    while at < segment.len() {
        let address = place.address.wrapping_add(at as u32);
        let bytes = &image[at..image.len().min(at + AHEAD)];
        if let (Isa::Xtensa, true, Some(skipped)) = (isa, place.code, to_entry(bytes, address)) {
            at += skipped;
            continue;
        }
        let site = Site { bytes, address, room: place.room - at as u32, code: place.code };
        let unit = Unit::parse(isa, segments, &site, &registers);
        let len = unit.len as usize;
        let word = word(&bytes[..len]);
        registers.follow(&unit, (word, address), (word, address));
        let kept = kept(unit.kind, isa, word).to_le_bytes();
        segment[at..at + len].copy_from_slice(&kept[..len]);
        at += len;
    }
}

/// Returns how far it is to an Xtensa function that begins within what would be the next
/// instruction: at a multiple of four, with `entry a1`. What is between is padding.
fn to_entry(bytes: &[u8], address: u32) -> Option<usize> {
    let skipped = (address.wrapping_neg() & 3) as usize;
    let entry = bytes.get(skipped..skipped + 2)?;
    ((1..3).contains(&skipped) && entry[0] == 0x36 && entry[1] & 0xF == 1).then_some(skipped)
}

/// Returns a word without what refers to an address.
fn kept(kind: Kind, isa: Isa, word: u32) -> u32 {
    match (kind, isa) {
        // Flash on the data bus of Xtensa chips, or anything else.
        (Kind::Pointer, _) if word >> 24 == 0x3F => 0x3F00_0000,
        (Kind::Pointer, _) => 0x4000_0000,
        (Kind::Call, Isa::Xtensa) => word & 0x3F,
        (Kind::Literal, _) => word & 0xFF,
        (Kind::Call | Kind::High, _) => word & 0xFFF,
        (Kind::Low, _) => word & 0xF_FFFF,
        (Kind::Store, _) => word & 0x01FF_F07F,
        // Most lead to places of the same function.
        _ => word,
    }
}

fn word(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte))
}
