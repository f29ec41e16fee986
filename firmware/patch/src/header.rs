//! The header of a patch.
//!
//! ```text
//! 0   "TWP1"
//! 4   u8 isa: 0 none, 1 Xtensa, 2 RISC-V
//! 5   u8 exact    6 u8 page    7 u8 grain    8 u8 literals    9 u8 order    10 u8 changes
//! 11  u8 0
//! 12  u32 working memory in bytes, which 5 to 10 give
//! 16  u32 size of the old image, 0 where there is none     20  u32 size of the new image
//! 24  first 8 bytes of the SHA-256 of the old image        32  of the new image
//! 40  u32 size of the patch                                44  u32 CRC-32 of 0 to 44
//! ```
//!
//! Numbers are little endian. Blocks follow.

use crate::range::FIRST;
use core::fmt;

/// The instructions that an image has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// None that this format knows: bytes.
    None,
    /// Xtensa: ESP32, S2 and S3.
    Xtensa,
    /// RISC-V with 32 and 16 bits: every other chip.
    RiscV,
}

impl Isa {
    /// Whether this build knows it: a device knows its own, a host all.
    pub(crate) const HAS_XTENSA: bool =
        !cfg!(any(target_arch = "riscv32", target_arch = "riscv64"));
    pub(crate) const HAS_RISC_V: bool = !cfg!(target_arch = "xtensa");
}

/// How a patch is coded: what its decoder knows, and how much memory that takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Params {
    /// Instructions of the old image.
    pub isa: Isa,
    /// Entries of the table of targets, as a power of 2: 0 for no table, 4 to 12.
    pub exact: u8,
    /// Entries of the table of pages, as a power of 2: 0 for no table, 4 to 12.
    pub page: u8,
    /// Bytes of a page, as a power of 2: 8 to 16.
    pub grain: u8,
    /// Bits of its position by which a literal is told: 0 to 2.
    pub literals: u8,
    /// Odds of literals by the byte before, as a power of 2: 0 for none, 8 to 12.
    pub order: u8,
    /// Trees for changed bytes of a copy: 1, 2, 3 or 6.
    pub changes: u8,
}

impl Params {
    fn parse([isa, exact, page, grain, literals, order, changes]: [u8; 7]) -> Option<Self> {
        let isa = match isa {
            0 => Isa::None,
            1 if Isa::HAS_XTENSA => Isa::Xtensa,
            2 if Isa::HAS_RISC_V => Isa::RiscV,
            _ => return None,
        };
        let params = Self { isa, exact, page, grain, literals, order, changes };
        params.are_allowed().then_some(params)
    }

    fn are_allowed(&self) -> bool {
        matches!(self.exact, 0 | 4..=12)
            && matches!(self.page, 0 | 4..=12)
            && matches!(self.grain, 8..=16)
            && self.literals <= 2
            && matches!(self.order, 0 | 8..=12)
            && matches!(self.changes, 1 | 2 | 3 | 6)
    }

    fn to_bytes(self) -> [u8; 7] {
        let isa = match self.isa {
            Isa::None => 0,
            Isa::Xtensa => 1,
            Isa::RiscV => 2,
        };
        [isa, self.exact, self.page, self.grain, self.literals, self.order, self.changes]
    }
}

/// What a patch says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// How it is coded.
    pub params: Params,
    /// Size of the old image in bytes, 0 where the patch is a whole image.
    pub old_size: u32,
    /// Size of the new image in bytes.
    pub new_size: u32,
    /// How the SHA-256 of the old image begins.
    pub old_sha256: [u8; 8],
    /// How the SHA-256 of the new image begins.
    pub new_sha256: [u8; 8],
    /// Size of the patch in bytes, with this header.
    pub size: u32,
}

/// An image that a device knows: the one that runs, or the one that it is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image {
    /// Size in bytes.
    pub size: u32,
    /// SHA-256 of all of it.
    pub sha256: [u8; 32],
}

impl Image {
    /// No bytes: what a whole image that is packed starts from.
    pub const EMPTY: Self = Self {
        size: 0,
        sha256: [
            0xE3, 0xB0, 0xC4, 0x42, 0x98, 0xFC, 0x1C, 0x14, 0x9A, 0xFB, 0xF4, 0xC8, 0x99, 0x6F,
            0xB9, 0x24, 0x27, 0xAE, 0x41, 0xE4, 0x64, 0x9B, 0x93, 0x4C, 0xA4, 0x95, 0x99, 0x1B,
            0x78, 0x52, 0xB8, 0x55,
        ],
    };

    fn is(&self, size: u32, start: [u8; 8]) -> bool {
        self.size == size && self.sha256.starts_with(&start)
    }
}

/// What a patch must be, as its device knows before it takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The image to start from: the one that runs, or [`Image::EMPTY`].
    pub old: Image,
    /// The image that the patch was offered to make.
    pub new: Image,
    /// Size of the patch in bytes, as it was offered.
    pub size: u32,
    /// Bytes of the slot that the new image goes to.
    pub slot: u32,
    /// Most bytes of working memory.
    pub memory: u32,
}

/// Why a patch is not taken. Nothing was erased for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It starts from another image.
    Base,
    /// It makes another image than the one that was offered.
    Image,
    /// It has another size than was offered.
    Size,
    /// The new image is larger than its slot.
    Slot,
    /// It needs more working memory than the device gives.
    Memory,
}

/// Why bytes are no header of a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// Another format, or a later version of this one.
    UnknownFormat,
    /// The checksum is wrong.
    Checksum,
    /// A parameter is out of its range.
    Params,
    /// A size is 0, or too small for what it is the size of.
    Size,
}

const MAGIC: [u8; 4] = *b"TWP1";

impl Header {
    /// Bytes of a header.
    pub const LEN: usize = 48;

    /// Bytes of a block's own header.
    pub const BLOCK: usize = 8;

    /// Reads the first bytes of a patch.
    ///
    /// # Errors
    /// [`HeaderError`].
    pub fn parse(bytes: &[u8; Self::LEN]) -> Result<Self, HeaderError> {
        if !bytes.starts_with(&MAGIC) {
            return Err(HeaderError::UnknownFormat);
        }
        if u32_at(bytes, 44) != crc32(&bytes[..44]) {
            return Err(HeaderError::Checksum);
        }
        let params = Params::parse(array_at(bytes, 4)).ok_or(HeaderError::Params)?;
        if bytes[11] != 0 || u32_at(bytes, 12) != params.memory() {
            return Err(HeaderError::Params);
        }
        let header = Self {
            params,
            old_size: u32_at(bytes, 16),
            new_size: u32_at(bytes, 20),
            old_sha256: array_at(bytes, 24),
            new_sha256: array_at(bytes, 32),
            size: u32_at(bytes, 40),
        };
        if header.new_size == 0 || header.size < (Self::LEN + Self::BLOCK + FIRST) as u32 {
            return Err(HeaderError::Size);
        }
        Ok(header)
    }

    /// Finds out whether a device takes the patch.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn check(&self, limits: &Limits) -> Result<(), Refused> {
        if !limits.old.is(self.old_size, self.old_sha256) {
            Err(Refused::Base)
        } else if !limits.new.is(self.new_size, self.new_sha256) {
            Err(Refused::Image)
        } else if self.size != limits.size {
            Err(Refused::Size)
        } else if self.new_size > limits.slot {
            Err(Refused::Slot)
        } else if self.params.memory() > limits.memory {
            Err(Refused::Memory)
        } else {
            Ok(())
        }
    }

    /// Returns the first bytes of the patch.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let mut put = |at: usize, field: &[u8]| bytes[at..][..field.len()].copy_from_slice(field);
        put(0, &MAGIC);
        put(4, &self.params.to_bytes());
        put(12, &self.params.memory().to_le_bytes());
        put(16, &self.old_size.to_le_bytes());
        put(20, &self.new_size.to_le_bytes());
        put(24, &self.old_sha256);
        put(32, &self.new_sha256);
        put(40, &self.size.to_le_bytes());
        let check = crc32(&bytes[..44]);
        bytes[44..].copy_from_slice(&check.to_le_bytes());
        bytes
    }
}

fn array_at<const N: usize>(bytes: &[u8; Header::LEN], at: usize) -> [u8; N] {
    core::array::from_fn(|i| bytes[at + i])
}

fn u32_at(bytes: &[u8; Header::LEN], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

/// CRC-32 as in zip and Ethernet.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            crc >> 1 ^ (0xEDB8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownFormat => "no patch of a format that is known here",
            Self::Checksum => "the checksum of the patch's header is wrong",
            Self::Params => "a parameter of the patch is out of its range",
            Self::Size => "a size in the patch is too small",
        })
    }
}

impl core::error::Error for HeaderError {}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Base => "the patch starts from another image",
            Self::Image => "the patch makes another image",
            Self::Size => "the patch has another size",
            Self::Slot => "the patch makes an image that is larger than its slot",
            Self::Memory => "the patch needs more memory than there is",
        })
    }
}

impl core::error::Error for Refused {}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header {
        params: Params {
            isa: Isa::RiscV,
            exact: 7,
            page: 7,
            grain: 12,
            literals: 0,
            order: 0,
            changes: 1,
        },
        old_size: 100,
        new_size: 200,
        old_sha256: *b"12345678",
        new_sha256: *b"abcdefgh",
        size: 99,
    };

    #[test]
    fn a_header_is_read_as_it_was_written() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(Header::parse(&HEADER.to_bytes()), Ok(HEADER));
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_noticed() {
        for bit in 0..8 * Header::LEN {
            let mut bytes = HEADER.to_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::parse(&bytes).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn parameters_and_sizes_out_of_range_are_refused_though_the_checksum_is_right() {
        for (at, value, error) in [
            (0, 0, HeaderError::UnknownFormat),
            (4, 3, HeaderError::Params),
            (5, 3, HeaderError::Params),
            (6, 13, HeaderError::Params),
            (7, 7, HeaderError::Params),
            (8, 3, HeaderError::Params),
            (9, 7, HeaderError::Params),
            (10, 4, HeaderError::Params),
            (11, 1, HeaderError::Params),
            (12, 0, HeaderError::Params),
            (20, 0, HeaderError::Size),
            (40, 60, HeaderError::Size),
        ] {
            let mut bytes = HEADER.to_bytes();
            bytes[at] = value;
            let check = crc32(&bytes[..44]);
            bytes[44..].copy_from_slice(&check.to_le_bytes());
            assert_eq!(Header::parse(&bytes), Err(error), "byte {at}");
        }
    }
}
