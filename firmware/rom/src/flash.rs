//! NOR flash in memory.

use std::fmt;

/// Size in bytes of an erase sector.
pub const SECTOR: u32 = 4096;

/// NOR flash: erasing sets whole sectors to ones, programming only turns ones
/// into zeros. Programming what is not erased is not refused, it leaves the
/// AND of both, as the hardware does.
#[derive(Clone, PartialEq, Eq)]
pub struct Flash {
    bytes: Vec<u8>,
}

/// A range that flash does not have, or does not have as sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlashError {
    /// Offset in bytes.
    pub offset: u32,
    /// Length in bytes.
    pub len: usize,
}

impl fmt::Display for FlashError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x} bytes at {:#x} are not within the flash", self.len, self.offset)
    }
}

impl std::error::Error for FlashError {}

impl Flash {
    /// Makes erased flash of `size` bytes.
    pub fn erased(size: u32) -> Self {
        Self { bytes: vec![0xFF; size as usize] }
    }

    /// Returns everything that is in the flash.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns a range.
    ///
    /// # Errors
    /// If the flash does not have it.
    pub fn read(&self, offset: u32, len: u32) -> Result<&[u8], FlashError> {
        let (start, len) = (offset as usize, len as usize);
        self.bytes.get(start..start.saturating_add(len)).ok_or(FlashError { offset, len })
    }

    /// Erases the sectors that hold a range.
    ///
    /// # Errors
    /// If the flash does not have them; nothing is erased then.
    pub fn erase(&mut self, offset: u32, len: u32) -> Result<(), FlashError> {
        let start = (offset - offset % SECTOR) as usize;
        let end = (offset as usize + len as usize).next_multiple_of(SECTOR as usize);
        let error = FlashError { offset, len: len as usize };
        self.bytes.get_mut(start..end).ok_or(error)?.fill(0xFF);
        Ok(())
    }

    /// Puts bytes there, past all rules of flash: for whoever prepares a board.
    ///
    /// # Errors
    /// If the flash does not have the range; nothing is changed then.
    pub fn put(&mut self, offset: u32, data: &[u8]) -> Result<(), FlashError> {
        let (start, len) = (offset as usize, data.len());
        let range = self.bytes.get_mut(start..start.saturating_add(len));
        range.ok_or(FlashError { offset, len })?.copy_from_slice(data);
        Ok(())
    }

    /// Programs bytes.
    ///
    /// # Errors
    /// If the flash does not have the range; nothing is programmed then.
    pub fn program(&mut self, offset: u32, data: &[u8]) -> Result<(), FlashError> {
        let (start, len) = (offset as usize, data.len());
        let range = self.bytes.get_mut(start..start.saturating_add(len));
        for (cell, byte) in range.ok_or(FlashError { offset, len })?.iter_mut().zip(data) {
            *cell &= byte;
        }
        Ok(())
    }
}

impl fmt::Debug for Flash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flash({} bytes)", self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programming_never_sets_a_bit_and_erasing_takes_whole_sectors() {
        let mut flash = Flash::erased(4 * SECTOR);
        flash.program(0x1FFE, &[0xF0, 0x0F, 0xAA]).unwrap();
        flash.program(0x1FFE, &[0x3C]).unwrap();
        assert_eq!(flash.read(0x1FFE, 3).unwrap(), [0x30, 0x0F, 0xAA]);
        flash.erase(0x1800, 1).unwrap();
        assert_eq!(flash.read(0x1FFE, 3).unwrap(), [0xFF, 0xFF, 0xAA]);
    }

    #[test]
    fn nothing_is_done_outside_the_flash() {
        let mut flash = Flash::erased(SECTOR);
        assert!(flash.program(SECTOR - 1, &[0, 0]).is_err());
        assert!(flash.erase(SECTOR - 1, 2).is_err());
        assert!(flash.erase(u32::MAX, u32::MAX).is_err());
        assert!(flash.read(u32::MAX, u32::MAX).is_err());
        assert_eq!(flash, Flash::erased(SECTOR));
    }
}
