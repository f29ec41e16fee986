//! Instructions and words that carry addresses.
//!
//! A [`Unit`] is an instruction, a pointer or a byte. Parsing goes in sequence; where
//! it lands between instructions it costs bytes, never correctness.

mod riscv;
mod xtensa;

use crate::{header::Isa, segments::Segments};

pub use riscv::Registers;

/// Bytes from a unit on that parsing it looks at.
pub(crate) const AHEAD: usize = 48;

/// What a unit is. Those before [`Kind::Byte`] refer to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Xtensa `call`, RISC-V `jal`.
    Call,
    /// Xtensa `l32r`.
    Literal,
    /// A conditional branch.
    Branch,
    /// Xtensa `j`, RISC-V `c.j` and `c.jal`.
    Jump,
    /// RISC-V `lui` or `auipc`, of which the low part follows.
    High,
    /// RISC-V `addi`, load or `jalr` behind a `lui` or `auipc`.
    Low,
    /// RISC-V store behind a `lui` or `auipc`.
    Store,
    /// An aligned word that points into the image or to RAM.
    Pointer,
    /// A byte that is none of these.
    Byte,
    /// Another instruction of 2 bytes.
    Two,
    /// Another instruction of 3 bytes.
    Three,
    /// Another instruction of 4 bytes.
    Four,
}

/// Kinds of units.
pub(crate) const KINDS: usize = 12;

/// Kinds that refer to an address.
pub(crate) const REFERENCES: usize = Kind::Byte as usize;

impl Kind {
    /// Whether the unit refers to an address.
    pub const fn refers(self) -> bool {
        (self as usize) < REFERENCES
    }

    /// Whether it refers to data more often than to code.
    pub(crate) const fn is_data(self) -> bool {
        matches!(self, Self::Pointer | Self::Low | Self::Store)
    }

    /// Whether where it leads tells where its target went: it says the whole address,
    /// and the target is not near anyway.
    pub(crate) const fn teaches(self) -> bool {
        matches!(self, Self::Call | Self::Literal | Self::Low | Self::Store | Self::Pointer)
    }
}

/// A unit of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit {
    /// What it is.
    pub kind: Kind,
    /// Its bytes, 1 to 4.
    pub len: u32,
    /// The address that it refers to.
    pub target: u32,
    /// What the register of a low part holds in the new image.
    base: u32,
}

impl Unit {
    const fn new(kind: Kind, len: u32, target: u32) -> Self {
        Self { kind, len, target, base: 0 }
    }

    /// One byte, without a meaning.
    pub const BYTE: Self = Self::new(Kind::Byte, 1, 0);

    /// Parses what stands somewhere in the old image.
    pub fn parse(isa: Isa, image: &Segments, site: &Site<'_>, registers: &Registers) -> Self {
        let bytes = site.bytes.get(..site.room.min(AHEAD as u32) as usize).unwrap_or(site.bytes);
        let pools = !(site.code && isa == Isa::RiscV);
        if let (true, Some(word)) = (pools && site.address & 3 == 0, word_at(bytes, 0, 4))
            && image.hold(word)
        {
            return Self::new(Kind::Pointer, 4, word);
        }
        match isa {
            Isa::Xtensa if Isa::HAS_XTENSA && site.code => xtensa::parse(bytes, site.address),
            Isa::RiscV if Isa::HAS_RISC_V && site.code => {
                riscv::parse(bytes, site.bytes, site.address, registers)
            }
            _ => Self::BYTE,
        }
    }

    /// Returns `word`, made to refer to `target` from its new address.
    pub(crate) fn aimed(&self, isa: Isa, word: u32, address: u32, target: u32) -> u32 {
        match (self.kind, isa) {
            (Kind::Pointer, _) => target,
            (_, Isa::Xtensa) if Isa::HAS_XTENSA => xtensa::aimed(self.kind, word, address, target),
            (_, Isa::RiscV) if Isa::HAS_RISC_V => riscv::aimed(self, word, address, target),
            _ => word,
        }
    }

    /// Returns what `new` refers to at its new address, if it differs from the old
    /// word in nothing else.
    pub(crate) fn target_of(&self, isa: Isa, old: u32, new: u32, address: u32) -> Option<u32> {
        let target = match (self.kind, isa) {
            (Kind::Pointer, _) => new,
            (_, Isa::Xtensa) if Isa::HAS_XTENSA => xtensa::target(self.kind, new, address)?,
            (_, Isa::RiscV) if Isa::HAS_RISC_V => riscv::target(self, new, address)?,
            _ => return None,
        };
        (self.aimed(isa, old, address, target) == new).then_some(target)
    }
}

/// Where a unit stands.
#[derive(Clone, Copy, Debug)]
pub struct Site<'a> {
    /// The image from there on, at least 48 bytes if it has so many.
    pub bytes: &'a [u8],
    /// Its address.
    pub address: u32,
    /// Most bytes that the unit may have.
    pub room: u32,
    /// Whether instructions stand there.
    pub code: bool,
}

/// Returns the little endian word of `len` bytes at `at`.
fn word_at(bytes: &[u8], at: usize, len: usize) -> Option<u32> {
    Some(word(bytes.get(at..at + len)?))
}

/// Returns up to 4 bytes as a little endian word.
pub(crate) fn word(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte))
}

/// Extends the sign of a number of `bits`.
const fn signed(number: u32, bits: u32) -> u32 {
    ((number << (32 - bits)) as i32 >> (32 - bits)) as u32
}
