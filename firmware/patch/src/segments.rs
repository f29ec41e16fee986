//! Where the bytes of an image go in memory.
//!
//! ```text
//! 0        24           32                                  ESP-IDF, esp_image_format.h
//! | header | load, len | data | load, len | data | ...
//! ```

/// Most segments in an image.
const MAX: usize = 16;
const MAGIC: u8 = 0xE9;
const HEADER: u32 = 24;
const SEGMENT: u32 = 8;

/// The segments of an image, as far as it is known.
#[derive(Clone, Debug, Default)]
pub struct Segments {
    list: [Segment; MAX],
    known: usize,
    /// How many there are.
    count: Option<usize>,
    /// Where the next header stands: of the image, then of a segment.
    next: u32,
    /// The segment that was asked for last.
    recent: usize,
}

/// Where the data of a segment stands in the image, and where it goes.
#[derive(Clone, Copy, Debug, Default)]
struct Segment {
    start: u32,
    end: u32,
    load: u32,
}

/// What stands at an offset of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its address in memory.
    pub address: u32,
    /// Bytes from here to the end of the segment.
    pub room: u32,
    /// Whether the segment holds instructions.
    pub code: bool,
}

impl Segments {
    /// The segments of a whole image.
    pub fn of(image: &[u8]) -> Self {
        let mut segments = Self::default();
        let header = |at: u32| image.get(at as usize..)?.first_chunk();
        while let Some(header) = segments.wanted(image.len() as u32).and_then(header) {
            segments.add(*header);
        }
        segments
    }

    /// Returns where 8 bytes are to be read for [`Self::add`], if their header lies
    /// before `held`.
    pub(crate) fn wanted(&self, held: u32) -> Option<u32> {
        let len = if self.count.is_none() { HEADER } else { SEGMENT };
        let behind = self.next.checked_add(len)?;
        (self.count != Some(self.known) && behind <= held).then_some(self.next)
    }

    /// Takes the start of the image's header, then the headers of segments.
    pub(crate) fn add(&mut self, [a, b, c, d, e, f, g, h]: [u8; SEGMENT as usize]) {
        if self.count.is_none() {
            self.count = Some(if a == MAGIC && usize::from(b) <= MAX { b.into() } else { 0 });
            self.next = HEADER;
            return;
        }
        let start = self.next.saturating_add(SEGMENT);
        let end = start.saturating_add(u32::from_le_bytes([e, f, g, h]));
        if let Some(segment) = self.list.get_mut(self.known) {
            *segment = Segment { start, end, load: u32::from_le_bytes([a, b, c, d]) };
            self.known += 1;
        }
        self.next = end;
    }

    /// Returns what stands at an offset, unless that is a header, padding or not
    /// known.
    pub fn at(&mut self, offset: u32) -> Option<Place> {
        let holds = |segment: &Segment| (segment.start..segment.end).contains(&offset);
        if !self.list.get(self.recent).is_some_and(holds) {
            self.recent = self.list.iter().position(holds)?;
        }
        let segment = self.list.get(self.recent)?;
        Some(Place {
            address: segment.load.wrapping_add(offset - segment.start),
            room: segment.end - offset,
            // The first one begins with the app descriptor.
            code: self.recent > 0 && (0x4000_0000..0x5000_0000).contains(&segment.load),
        })
    }

    /// Whether `word` can be a pointer: to a segment, or to the memory of any chip.
    pub fn hold(&self, word: u32) -> bool {
        (0x3C00_0000..0x5010_0000).contains(&word)
            && (matches!(
                word,
                0x3FC8_0000..0x4000_0000 | 0x4080_0000..0x4090_0000 | 0x4FF0_0000..0x4FFC_0000
            ) || self
                .list
                .iter()
                .any(|segment| word.wrapping_sub(segment.load) < segment.end - segment.start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{vec, vec::Vec};

    fn image(count: u8, segments: &[(u32, u32)]) -> Vec<u8> {
        let mut image = vec![0; 24];
        (image[0], image[1]) = (MAGIC, count);
        for (load, len) in segments {
            image.extend(load.to_le_bytes());
            image.extend(len.to_le_bytes());
            image.extend(vec![0; (*len).min(1000) as usize]);
        }
        image
    }

    #[test]
    fn a_place_is_found_in_each_segment_and_nowhere_else() {
        let image = image(3, &[(0x3C00_0020, 8), (0x4038_0000, 4), (0x3FC8_0000, 4)]);
        let mut segments = Segments::of(&image);
        let mut place = |at| segments.at(at).map(|place| (place.address, place.room, place.code));
        assert_eq!(place(31), None);
        assert_eq!(place(32), Some((0x3C00_0020, 8, false)));
        assert_eq!(place(39), Some((0x3C00_0027, 1, false)));
        assert_eq!(place(40), None);
        assert_eq!(place(48), Some((0x4038_0000, 4, true)));
        assert_eq!(place(60), Some((0x3FC8_0000, 4, false)));
        assert_eq!(place(64), None);
        assert_eq!(place(33), Some((0x3C00_0021, 7, false)));
        assert!(segments.hold(0x4038_0003) && !segments.hold(0x4038_0004));
    }

    #[test]
    fn segments_are_known_once_their_headers_are() {
        let image = image(2, &[(0x3C00_0020, 8), (0x4201_0000, 4)]);
        assert_eq!(Segments::of(&image[..47]).at(32).map(|place| place.room), Some(8));
        assert_eq!(Segments::of(&image[..47]).at(48), None);
        assert_eq!(Segments::of(&image[..48]).at(48).map(|place| place.room), Some(4));
        assert_eq!(Segments::of(&image[..31]).at(32), None);
        assert_eq!(Segments::of(&[]).at(0), None);
    }

    #[test]
    fn segments_that_cannot_be_are_not_there() {
        let full = vec![(0x4200_0000, 4); 17];
        assert_eq!(Segments::of(&image(16, &full)).known, 16);
        assert_eq!(Segments::of(&image(17, &full)).known, 0);
        assert_eq!(Segments::of(&image(0, &full)).known, 0);
        let mut endless = Segments::of(&image(3, &[(0x4200_0000, 4), (0x4200_0000, u32::MAX)]));
        assert_eq!(endless.known, 2);
        assert!(endless.at(u32::MAX).is_none());
    }
}
