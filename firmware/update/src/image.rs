//! ESP app and bootloader images: the head that says what an image is, and the
//! check of a whole image as its bytes go by.
//!
//! ```text
//! 0        24         32                288 bytes = HEAD_LEN
//! | header | segment 1 | app descriptor | ... segments ... | pad | checksum | SHA-256 |
//! ```
//!
//! Source of the format: ESP-IDF, `esp_image_format.h` and `esp_app_desc.h`.

mod check;
mod head;

pub use check::{Checked, ImageCheck, check};
pub use head::{AppDescriptor, Head, Header, Text};

use core::fmt;

/// Bytes of an app image that tell all about it: header, first segment header
/// and app descriptor.
pub const HEAD_LEN: usize = 288;

/// Most segments in an image (`ESP_IMAGE_MAX_SEGMENTS`).
pub const MAX_SEGMENTS: u8 = 16;

const MAGIC: u8 = 0xE9;
const HEADER_LEN: usize = 24;

/// Why bytes are not a sound image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageError {
    /// It does not start with the magic byte 0xE9.
    NotAnImage,
    /// It has no segments or more than [`MAX_SEGMENTS`].
    SegmentCount,
    /// A segment is not a multiple of 4 bytes or 16 MiB and longer.
    SegmentLength,
    /// No app descriptor: the image says neither project nor version.
    NoAppDescriptor,
    /// A text of the app descriptor is not UTF-8.
    Text,
    /// It ends before its last segment, checksum or hash.
    Truncated,
    /// The checksum byte is wrong.
    Checksum,
    /// The SHA-256 at its end is wrong.
    Hash,
    /// Bytes follow that are neither padding nor a signature sector.
    TrailingBytes,
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAnImage => "not an ESP image (magic byte 0xE9 missing)",
            Self::SegmentCount => "segment count is not 1 to 16",
            Self::SegmentLength => "a segment length is not a multiple of 4 below 16 MiB",
            Self::NoAppDescriptor => "no app descriptor, so neither project nor version",
            Self::Text => "a text of the app descriptor is not UTF-8",
            Self::Truncated => "the image ends too early",
            Self::Checksum => "the checksum is wrong",
            Self::Hash => "the appended SHA-256 is wrong",
            Self::TrailingBytes => "bytes follow the image that are no signature",
        })
    }
}

impl core::error::Error for ImageError {}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
