//! The segments of an image: what is loaded or mapped to which address.

use std::ops::Range;
use towline::image::Header;
use towline_descriptor::Chip;

/// Bytes of the header of an image, and of that of a segment.
const HEADER: usize = 24;
const SEGMENT_HEADER: usize = 8;

/// Where the description of an app says how large the pages of its flash are, as a
/// power of 2.
const PAGE_BITS: usize = 0xD4;

/// A segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment<'a> {
    /// Its first address.
    pub address: u32,
    /// Where in the image its data begins, in bytes.
    pub at: usize,
    pub data: &'a [u8],
}

/// Returns the segments of an image that is whole.
pub(super) fn segments(image: &[u8]) -> Option<Vec<Segment<'_>>> {
    let header = Header::parse(image.first_chunk()?).ok()?;
    let word = |at: usize| Some(u32::from_le_bytes(*image.get(at..)?.first_chunk()?));
    let mut next = HEADER;
    let mut segments = Vec::new();
    for _ in 0..header.segments {
        let (address, len) = (word(next)?, word(next + 4)? as usize);
        let at = next + SEGMENT_HEADER;
        segments.push(Segment { address, at, data: image.get(at..at.checked_add(len)?)? });
        next = at + len;
    }
    Some(segments)
}

/// Returns where the first segment of an app is that flash cannot be mapped to, in
/// bytes: pages are mapped as a whole, so its place in a page must be that of its
/// address. Apps start with a page.
pub(super) fn unmappable(app: &[u8]) -> Option<usize> {
    let chip = Header::parse(app.first_chunk()?).ok()?.chip()?;
    let page = page(chip, *app.get(PAGE_BITS)?)?;
    let is_mapped = |address: u32| mapped(chip).iter().any(|range| range.contains(&address));
    segments(app)?
        .iter()
        .find(|part| is_mapped(part.address) && part.address as usize % page != part.at % page)
        .map(|part| part.at)
}

/// Returns the size of a page of flash in bytes, where it is known.
fn page(chip: Chip, bits: u8) -> Option<usize> {
    match (chip, bits) {
        // These have no other.
        (Chip::Esp32 | Chip::Esp32s2 | Chip::Esp32s3 | Chip::Esp32c3, _) => Some(1 << 16),
        (_, 13..=16) => Some(1 << bits),
        _ => None,
    }
}

/// Returns the addresses that are flash for certain (`SOC_DROM_LOW` and the like).
fn mapped(chip: Chip) -> &'static [Range<u32>] {
    match chip {
        Chip::Esp32 => &[0x3F40_0000..0x3F80_0000, 0x400D_0000..0x4040_0000],
        Chip::Esp32s2 => &[0x3F00_0000..0x3F3F_0000, 0x4008_0000..0x4080_0000],
        Chip::Esp32s3 => &[0x3C00_0000..0x3E00_0000, 0x4200_0000..0x4400_0000],
        Chip::Esp32c3 => &[0x3C00_0000..0x3C80_0000, 0x4200_0000..0x4280_0000],
        Chip::Esp32c2 => &[0x3C00_0000..0x3C40_0000, 0x4200_0000..0x4240_0000],
        Chip::Esp32c6 | Chip::Esp32h2 => &[0x4200_0000..0x4280_0000, 0x4280_0000..0x4300_0000],
        _ => &[],
    }
}
