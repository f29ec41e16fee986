//! The check of a whole image.

use super::{HEADER_LEN, Header, ImageError, MAGIC, u32_at};
use sha2::{Digest, Sha256 as Hasher};
use towline_descriptor::Sha256;

const SEGMENT_HEADER_LEN: usize = 8;
const MAX_SEGMENT_LEN: u32 = 16 * 1024 * 1024;
const CHECKSUM_SEED: u8 = 0xEF;
const SIGNATURE_MAGIC: u8 = 0xE7;
const SIGNATURE_SECTOR: u32 = 4096;

/// Checks a whole image while its bytes go by, in pieces of any size.
///
/// It follows the segments, and compares the checksum and the appended
/// SHA-256, as the bootloader does before it boots an image. What follows the
/// image must be a secure boot signature: padding of 0xFF to a sector of 4 KiB
/// and one signature sector.
#[derive(Clone)]
pub struct ImageCheck {
    hasher: Hasher,
    position: u32,
    checksum: u8,
    part: Part,
    /// The bytes of a header or hash that came so far, and their number.
    pending: [u8; 32],
    filled: usize,
}

/// What a whole image proved to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Size in bytes.
    pub size: u32,
    /// SHA-256 of all bytes.
    pub sha256: Sha256,
}

/// Which part of the image comes next.
#[derive(Clone, Copy)]
enum Part {
    Header,
    SegmentHeader {
        left: u8,
        hash: bool,
    },
    SegmentData {
        left: u8,
        hash: bool,
        len: u32,
    },
    /// Up to the checksum, the last byte of a row of 16.
    Padding {
        hash: bool,
    },
    /// The appended hash, which has to be this.
    Hash([u8; 32]),
    End,
    SignaturePadding,
    Signature {
        end: u32,
    },
    /// A fault was found.
    Faulty(ImageError),
}

impl Default for ImageCheck {
    fn default() -> Self {
        Self::new()
    }
}

impl ImageCheck {
    /// Starts at the first byte of an image.
    pub fn new() -> Self {
        Self {
            hasher: Hasher::new(),
            position: 0,
            checksum: CHECKSUM_SEED,
            part: Part::Header,
            pending: [0; 32],
            filled: 0,
        }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// The first fault that they show. A faulty image stays faulty: there is
    /// no use in going on.
    pub fn update(&mut self, mut bytes: &[u8]) -> Result<(), ImageError> {
        while !bytes.is_empty() {
            bytes = self.step(bytes)?;
        }
        Ok(())
    }

    /// Takes the next bytes up to the end of the image and returns those
    /// behind it, for a place that is larger than its image: a slot.
    ///
    /// # Errors
    /// As [`ImageCheck::update`].
    pub fn update_to_end<'b>(&mut self, mut bytes: &'b [u8]) -> Result<&'b [u8], ImageError> {
        while !bytes.is_empty() && !self.is_complete() {
            bytes = self.step(bytes)?;
        }
        Ok(bytes)
    }

    /// Returns whether the image is whole, apart from a signature behind it.
    pub fn is_complete(&self) -> bool {
        matches!(self.part, Part::End)
    }

    /// Takes bytes of the current part and returns the rest.
    fn step<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], ImageError> {
        let result = self.take(bytes);
        if let Err(error) = result {
            self.part = Part::Faulty(error);
        }
        result
    }

    fn take<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], ImageError> {
        match self.part {
            Part::Faulty(error) => Err(error),
            Part::Header => {
                if self.position == 0 && bytes[0] != MAGIC {
                    return Err(ImageError::NotAnImage);
                }
                let (header, rest) = self.collect::<HEADER_LEN>(bytes);
                if let Some(header) = header {
                    let header = Header::parse(&header)?;
                    self.part =
                        Part::SegmentHeader { left: header.segments, hash: header.hash_appended };
                }
                Ok(rest)
            }
            Part::SegmentHeader { left, hash } => {
                let (header, rest) = self.collect::<SEGMENT_HEADER_LEN>(bytes);
                if let Some(header) = header {
                    let len = u32_at(&header, 4);
                    if !len.is_multiple_of(4) || len >= MAX_SEGMENT_LEN {
                        return Err(ImageError::SegmentLength);
                    }
                    self.part = segment_part(left, hash, len);
                }
                Ok(rest)
            }
            Part::SegmentData { left, hash, len } => {
                let (data, rest) = bytes.split_at(bytes.len().min(len as usize));
                self.checksum = data.iter().fold(self.checksum, |sum, byte| sum ^ byte);
                self.part = segment_part(left, hash, len - self.consume(data));
                Ok(rest)
            }
            Part::Padding { hash } => {
                let row = 16 - self.position as usize % 16;
                let (padding, rest) = bytes.split_at(bytes.len().min(row));
                self.consume(padding);
                if padding.len() == row {
                    if padding[row - 1] != self.checksum {
                        return Err(ImageError::Checksum);
                    }
                    self.part = if hash {
                        Part::Hash(self.hasher.clone().finalize().into())
                    } else {
                        Part::End
                    };
                }
                Ok(rest)
            }
            Part::Hash(expected) => {
                let (hash, rest) = self.collect::<32>(bytes);
                if let Some(hash) = hash {
                    if hash != expected {
                        return Err(ImageError::Hash);
                    }
                    self.part = Part::End;
                }
                Ok(rest)
            }
            Part::End | Part::SignaturePadding => {
                let sector_starts = self.position.is_multiple_of(SIGNATURE_SECTOR);
                self.part = match bytes[0] {
                    SIGNATURE_MAGIC if sector_starts => {
                        Part::Signature { end: self.position + SIGNATURE_SECTOR }
                    }
                    0xFF => Part::SignaturePadding,
                    _ => return Err(ImageError::TrailingBytes),
                };
                let (byte, rest) = bytes.split_at(1);
                self.consume(byte);
                Ok(rest)
            }
            Part::Signature { end } => {
                if self.position == end {
                    return Err(ImageError::TrailingBytes);
                }
                let (signature, rest) =
                    bytes.split_at(bytes.len().min((end - self.position) as usize));
                self.consume(signature);
                Ok(rest)
            }
        }
    }

    /// Ends the check after the last byte.
    ///
    /// # Errors
    /// [`ImageError::Truncated`] if bytes are missing,
    /// [`ImageError::TrailingBytes`] if padding without a signature follows.
    pub fn finish(self) -> Result<Checked, ImageError> {
        match self.part {
            Part::End => {}
            Part::Signature { end } if end == self.position => {}
            Part::SignaturePadding => return Err(ImageError::TrailingBytes),
            Part::Faulty(error) => return Err(error),
            _ => return Err(ImageError::Truncated),
        }
        Ok(Checked { size: self.position, sha256: Sha256(self.hasher.finalize().into()) })
    }

    /// Collects a part of `N` bytes, at most 32, across pieces.
    fn collect<'b, const N: usize>(&mut self, bytes: &'b [u8]) -> (Option<[u8; N]>, &'b [u8]) {
        let (head, rest) = bytes.split_at(bytes.len().min(N - self.filled));
        self.pending[self.filled..][..head.len()].copy_from_slice(head);
        self.filled += head.len();
        self.consume(head);
        if self.filled < N {
            return (None, rest);
        }
        self.filled = 0;
        (self.pending.first_chunk().copied(), rest)
    }

    /// Counts and hashes bytes; returns their number.
    fn consume(&mut self, bytes: &[u8]) -> u32 {
        self.hasher.update(bytes);
        let len = bytes.len() as u32;
        self.position += len;
        len
    }
}

/// The part that follows when `len` bytes of a segment are still to come, and
/// `left` segments counting that one.
fn segment_part(left: u8, hash: bool, len: u32) -> Part {
    match (len, left) {
        (0, 1) => Part::Padding { hash },
        (0, _) => Part::SegmentHeader { left: left - 1, hash },
        _ => Part::SegmentData { left, hash, len },
    }
}

/// Checks a whole image that is in memory.
///
/// # Errors
/// The first fault, as [`ImageCheck`] finds it.
pub fn check(image: &[u8]) -> Result<Checked, ImageError> {
    let mut check = ImageCheck::new();
    check.update(image)?;
    check.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Head;
    use proptest::prelude::*;
    use std::{vec, vec::Vec};

    /// An image with segments of these lengths, as `esptool elf2image` lays it
    /// out.
    fn image(segments: &[u32]) -> Vec<u8> {
        let mut image = vec![MAGIC, u8::try_from(segments.len()).unwrap(), 2, 0x20];
        image.resize(HEADER_LEN, 0);
        image[12] = 5;
        image[23] = 1;
        let mut sum = CHECKSUM_SEED;
        for (index, len) in segments.iter().enumerate() {
            image.extend(0x4200_0000_u32.to_le_bytes());
            image.extend(len.to_le_bytes());
            for at in 0..*len {
                let byte = (at as u8).wrapping_mul(7).wrapping_add(index as u8);
                sum ^= byte;
                image.push(byte);
            }
        }
        image.resize(image.len() / 16 * 16 + 15, 0);
        image.push(sum);
        let hash = Hasher::digest(&image);
        image.extend(hash);
        image
    }

    #[test]
    fn a_sound_image_is_accepted_in_any_pieces() {
        let image = image(&[256, 4, 0, 1000]);
        let whole = check(&image).unwrap();
        assert_eq!(whole.size as usize, image.len());
        assert_eq!(whole.sha256.0, <[u8; 32]>::from(Hasher::digest(&image)));
        for size in [1, 3, 7, 16, 31, 33, 500] {
            let mut check = ImageCheck::new();
            image.chunks(size).for_each(|piece| check.update(piece).unwrap());
            assert_eq!(check.finish(), Ok(whole));
        }
    }

    #[test]
    fn every_cut_is_truncated() {
        let image = image(&[256, 4]);
        for len in 0..image.len() {
            assert_eq!(check(&image[..len]), Err(ImageError::Truncated), "{len}");
        }
    }

    #[test]
    fn seventeen_segments_are_refused() {
        assert_eq!(check(&image(&[4; 17])), Err(ImageError::SegmentCount));
        assert!(check(&image(&[4; 16])).is_ok());
    }

    #[test]
    fn a_length_that_wraps_around_is_refused() {
        let mut image = image(&[256]);
        for len in [u32::MAX, u32::MAX - 3, 0x8000_0000, MAX_SEGMENT_LEN, 5] {
            image[28..32].copy_from_slice(&len.to_le_bytes());
            assert_eq!(check(&image), Err(ImageError::SegmentLength));
        }
    }

    #[test]
    fn trailing_bytes_are_refused_unless_a_signature() {
        let sound = image(&[256]);
        for tail in [&[0][..], &[0xFF], &[0xE7], &[0xFF; 5000]] {
            let image = [&sound, tail].concat();
            assert_eq!(check(&image), Err(ImageError::TrailingBytes));
        }
        let mut signed = sound;
        signed.resize(4096, 0xFF);
        signed.push(SIGNATURE_MAGIC);
        signed.resize(8192, 0x5A);
        assert!(check(&signed).is_ok());
        assert_eq!(check(&signed[..8191]), Err(ImageError::Truncated));
        signed.push(0);
        assert_eq!(check(&signed), Err(ImageError::TrailingBytes));
    }

    proptest! {
        #[test]
        fn any_changed_byte_is_found(at in 0_usize..1300, flip in 1_u8..) {
            let mut image = image(&[256, 100, 900]);
            let at = at % image.len();
            image[at] ^= flip;
            // Byte 23 says whether a hash follows: without it the hash itself
            // is trailing bytes.
            prop_assert!(check(&image).is_err());
        }

        #[test]
        fn any_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), valid_start in any::<bool>()) {
            let mut bytes = bytes;
            if valid_start && bytes.len() > 1 {
                bytes[0] = MAGIC;
                bytes[1] = 1;
            }
            let _ = check(&bytes);
            if let Some(head) = bytes.first_chunk() {
                let _ = Head::parse(head);
            }
        }
    }
}
