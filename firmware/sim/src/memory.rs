//! NOR flash in memory, whose power can be cut at any operation.

use crate::flash::SECTOR;
use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};

/// Flash in memory that enforces what NOR hardware does: programming only turns
/// ones into zeros, erasing works on whole sectors, addresses are aligned.
///
/// Operations that change it are counted, and one of them can be the one at
/// which the power is cut.
#[derive(Clone, Debug)]
pub struct Memory {
    bytes: Vec<u8>,
    operations: u32,
    cut: Option<Cut>,
}

/// When and how the power is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The operation, counted from 0.
    pub operation: u32,
    /// What that operation does.
    pub torn: Torn,
}

/// What an operation does at which the power is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Torn {
    /// Nothing.
    Before,
    /// Only the first part of its bytes, in eighths, 1 to 7.
    Head(u8),
    /// Only the last part of its bytes, in eighths, 1 to 7.
    Tail(u8),
    /// Only this word of 4 bytes of its first 32 bytes, 0 to 7.
    Word(u8),
    /// Each bit, or not, by chance.
    Bits(u32),
    /// All of it, and nothing after it.
    After,
}

impl Torn {
    /// One of each kind, with what is most telling for records of 32 bytes.
    pub const KINDS: [Self; 16] = [
        Self::Before,
        Self::Head(1),
        Self::Head(4),
        Self::Head(7),
        Self::Tail(1),
        Self::Tail(4),
        Self::Word(0),
        Self::Word(1),
        Self::Word(3),
        Self::Word(5),
        Self::Word(6),
        Self::Word(7),
        Self::Bits(1),
        Self::Bits(2),
        Self::Bits(3),
        Self::After,
    ];
}

/// Why an operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemoryError {
    /// The power was cut.
    #[error("the power was cut")]
    PowerCut,
    /// The range is not within the flash.
    #[error("{1:#x} bytes at {0:#x} are not within the flash")]
    OutOfBounds(u32, usize),
    /// The range is not aligned.
    #[error("{1:#x} bytes at {0:#x} are not aligned")]
    NotAligned(u32, usize),
    /// A bit was to become 1 without an erase.
    #[error("programming {0:#x} would turn a 0 into a 1: not erased")]
    NotErased(u32),
}

impl Memory {
    /// Makes blank flash of `size` bytes.
    pub fn new(size: usize) -> Self {
        Self { bytes: vec![0xFF; size], operations: 0, cut: None }
    }

    /// Puts bytes there, as a flashing tool does. It is no operation.
    ///
    /// # Panics
    /// If they do not fit.
    pub fn burn(&mut self, offset: u32, bytes: &[u8]) {
        let start = offset as usize;
        let end = (start + bytes.len()).next_multiple_of(SECTOR as usize);
        self.bytes[start..end].fill(0xFF);
        self.bytes[start..][..bytes.len()].copy_from_slice(bytes);
    }

    /// Returns the bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the bytes for whatever happens to hardware, such as bit rot.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Turns the power on: operations are counted from 0, and the power is cut
    /// at one of them, or not.
    pub fn power_on(&mut self, cut: Option<Cut>) {
        self.operations = 0;
        self.cut = cut;
    }

    /// Returns the number of operations since the power was turned on.
    pub fn operations(&self) -> u32 {
        self.operations
    }

    /// Returns the bytes of the flash that an operation on `range` leaves:
    /// `new` where it takes place.
    fn change(&mut self, offset: u32, new: &[u8]) -> Result<(), MemoryError> {
        let operation = self.operations;
        self.operations += 1;
        let old = &mut self.bytes[offset as usize..][..new.len()];
        let torn = match self.cut {
            Some(cut) if operation > cut.operation => return Err(MemoryError::PowerCut),
            Some(cut) if operation == cut.operation => cut.torn,
            _ => {
                old.copy_from_slice(new);
                return Ok(());
            }
        };
        let eighths = |part: u8| (new.len() * usize::from(part)).div_ceil(8);
        match torn {
            Torn::Before => {}
            Torn::After => old.copy_from_slice(new),
            Torn::Head(part) => {
                let end = eighths(part);
                old[..end].copy_from_slice(&new[..end]);
            }
            Torn::Tail(part) => {
                let start = new.len() - eighths(part);
                old[start..].copy_from_slice(&new[start..]);
            }
            Torn::Word(word) => {
                let start = usize::from(word) * 4 % new.len();
                old[start..start + 4].copy_from_slice(&new[start..start + 4]);
            }
            Torn::Bits(seed) => {
                let mut random = u64::from(seed) << 32 | u64::from(operation);
                for (old, new) in old.iter_mut().zip(new) {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let taken = (random >> 56) as u8;
                    *old = (*old & !taken) | (new & taken);
                }
            }
        }
        Err(MemoryError::PowerCut)
    }

    fn check(&self, offset: u32, len: usize, align: u32) -> Result<(), MemoryError> {
        if offset as usize + len > self.bytes.len() {
            return Err(MemoryError::OutOfBounds(offset, len));
        }
        if !offset.is_multiple_of(align) || !len.is_multiple_of(align as usize) {
            return Err(MemoryError::NotAligned(offset, len));
        }
        Ok(())
    }
}

impl NorFlashError for MemoryError {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            Self::OutOfBounds(..) => NorFlashErrorKind::OutOfBounds,
            Self::NotAligned(..) => NorFlashErrorKind::NotAligned,
            _ => NorFlashErrorKind::Other,
        }
    }
}

impl ErrorType for Memory {
    type Error = MemoryError;
}

impl ReadNorFlash for Memory {
    const READ_SIZE: usize = 4;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), MemoryError> {
        self.check(offset, bytes.len(), 4)?;
        bytes.copy_from_slice(&self.bytes[offset as usize..][..bytes.len()]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl NorFlash for Memory {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = SECTOR as usize;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), MemoryError> {
        let len = to.saturating_sub(from) as usize;
        self.check(from, len, SECTOR)?;
        self.change(from, &vec![0xFF; len])
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), MemoryError> {
        self.check(offset, bytes.len(), 4)?;
        if bytes.is_empty() {
            return Ok(());
        }
        let old = &self.bytes[offset as usize..][..bytes.len()];
        if let Some(at) = old.iter().zip(bytes).position(|(old, new)| old & new != *new) {
            return Err(MemoryError::NotErased(offset + at as u32));
        }
        self.change(offset, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_program_only_clears_bits_and_a_torn_erase_only_sets_them() {
        for torn in Torn::KINDS {
            let mut flash = Memory::new(8192);
            flash.burn(0, &[0b1010_1010; 4096]);
            flash.power_on(Some(Cut { operation: 0, torn }));
            assert_eq!(flash.erase(0, 4096), Err(MemoryError::PowerCut));
            assert!(flash.bytes[..4096].iter().all(|byte| byte & 0b1010_1010 == 0b1010_1010));
            assert_eq!(flash.write(4096, &[0; 4]), Err(MemoryError::PowerCut));

            let mut flash = Memory::new(8192);
            flash.power_on(Some(Cut { operation: 1, torn }));
            flash.write(0, &[0xF0; 32]).unwrap();
            assert_eq!(flash.write(0, &[0x30; 32]), Err(MemoryError::PowerCut));
            assert!(flash.bytes[..32].iter().all(|byte| byte | 0xC0 == 0xF0));
        }
    }

    #[test]
    fn programming_only_clears_bits() {
        let mut flash = Memory::new(4096);
        flash.write(0, &[0b1100; 4]).unwrap();
        assert_eq!(flash.write(0, &[0b0110; 4]), Err(MemoryError::NotErased(0)));
    }
}
