//! NOR flash in a file.

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};
use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
};

/// Size in bytes of an erase sector.
pub const SECTOR: u32 = 4096;

/// Flash of an ESP module, kept in a file of its size.
///
/// It enforces what the hardware does silently: programming only turns ones
/// into zeros, erasing works on whole sectors, and addresses are aligned. Each
/// operation reaches the file before it returns.
#[derive(Debug)]
pub struct Flash {
    file: File,
    size: u32,
}

/// Why an operation on flash failed.
#[derive(Debug, thiserror::Error)]
pub enum FlashError {
    /// The file could not be read or written.
    #[error("the flash file failed: {0}")]
    File(#[from] io::Error),
    /// The range is not within the flash.
    #[error("{len:#x} bytes at {offset:#x} are not within the flash")]
    OutOfBounds {
        /// Offset in bytes.
        offset: u32,
        /// Length in bytes.
        len: usize,
    },
    /// The range is not aligned.
    #[error("{len:#x} bytes at {offset:#x} are not aligned")]
    NotAligned {
        /// Offset in bytes.
        offset: u32,
        /// Length in bytes.
        len: usize,
    },
    /// A bit was to become 1 without an erase.
    #[error("programming {offset:#x} would turn a 0 into a 1: not erased")]
    NotErased {
        /// Offset in bytes of the first such byte.
        offset: usize,
    },
    /// The file has not the size of a flash chip.
    #[error("{0} bytes are not the size of a flash chip (1 to 256 MiB, a power of two)")]
    Size(u64),
}

impl Flash {
    /// Opens the flash in `path`.
    ///
    /// # Errors
    /// If there is no such file, or it has not the size of a flash chip.
    pub fn open(path: &Path) -> Result<Self, FlashError> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let len = file.metadata()?.len();
        let size = u32::try_from(len)
            .ok()
            .filter(|size| size.is_power_of_two() && (1 << 20..=1 << 28).contains(size))
            .ok_or(FlashError::Size(len))?;
        Ok(Self { file, size })
    }

    /// Creates blank flash of `size` bytes in `path`, in place of what is
    /// there.
    ///
    /// # Errors
    /// If the file cannot be written, or `size` is not that of a flash chip.
    pub fn create(path: &Path, size: u32) -> Result<Self, FlashError> {
        std::fs::write(path, vec![0xFF; size as usize])?;
        Self::open(path)
    }

    /// Erases and programs `data` at `offset`, as a flashing tool does.
    ///
    /// # Errors
    /// As the operations of [`NorFlash`].
    pub fn burn(&mut self, offset: u32, data: &[u8]) -> Result<(), FlashError> {
        let len = u32::try_from(data.len())
            .map_err(|_| FlashError::OutOfBounds { offset, len: data.len() })?;
        self.erase(offset, offset + len.next_multiple_of(SECTOR))?;
        let mut padded = data.to_vec();
        padded.resize(data.len().next_multiple_of(Self::WRITE_SIZE), 0xFF);
        self.write(offset, &padded)
    }

    fn check(&self, offset: u32, len: usize, align: u32) -> Result<(), FlashError> {
        if offset as usize + len > self.size as usize {
            return Err(FlashError::OutOfBounds { offset, len });
        }
        if !offset.is_multiple_of(align) || !len.is_multiple_of(align as usize) {
            return Err(FlashError::NotAligned { offset, len });
        }
        Ok(())
    }

    fn store(&mut self, offset: u32, bytes: &[u8]) -> Result<(), FlashError> {
        self.file.seek(SeekFrom::Start(offset.into()))?;
        Ok(self.file.write_all(bytes)?)
    }
}

impl NorFlashError for FlashError {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            Self::OutOfBounds { .. } => NorFlashErrorKind::OutOfBounds,
            Self::NotAligned { .. } => NorFlashErrorKind::NotAligned,
            _ => NorFlashErrorKind::Other,
        }
    }
}

impl ErrorType for Flash {
    type Error = FlashError;
}

impl ReadNorFlash for Flash {
    const READ_SIZE: usize = 4;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), FlashError> {
        self.check(offset, bytes.len(), 4)?;
        self.file.seek(SeekFrom::Start(offset.into()))?;
        Ok(self.file.read_exact(bytes)?)
    }

    fn capacity(&self) -> usize {
        self.size as usize
    }
}

impl NorFlash for Flash {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = SECTOR as usize;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), FlashError> {
        let len = to.saturating_sub(from) as usize;
        self.check(from, len, SECTOR)?;
        self.store(from, &vec![0xFF; len])
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), FlashError> {
        let mut old = vec![0; bytes.len()];
        self.read(offset, &mut old)?;
        if let Some(at) = old.iter().zip(bytes).position(|(old, new)| old & new != *new) {
            return Err(FlashError::NotErased { offset: offset as usize + at });
        }
        self.store(offset, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flash() -> (tempfile::TempDir, Flash) {
        let dir = tempfile::tempdir().unwrap();
        let flash = Flash::create(&dir.path().join("flash.bin"), 1 << 20).unwrap();
        (dir, flash)
    }

    #[test]
    fn programming_only_clears_bits() {
        let (_dir, mut flash) = flash();
        flash.write(0, &[0b1100; 4]).unwrap();
        flash.write(0, &[0b0100; 4]).unwrap();
        assert!(matches!(flash.write(0, &[0b1100; 4]), Err(FlashError::NotErased { offset: 0 })));
        flash.erase(0, SECTOR).unwrap();
        flash.write(0, &[0b1100; 4]).unwrap();
    }

    #[test]
    fn ranges_are_checked() {
        let (_dir, mut flash) = flash();
        assert!(matches!(flash.erase(1, SECTOR + 1), Err(FlashError::NotAligned { .. })));
        assert!(matches!(flash.erase(0, 2 << 20), Err(FlashError::OutOfBounds { .. })));
        assert!(matches!(flash.write(2, &[0; 4]), Err(FlashError::NotAligned { .. })));
        assert!(matches!(flash.read(1 << 20, &mut [0; 4]), Err(FlashError::OutOfBounds { .. })));
    }

    #[test]
    fn a_file_of_another_size_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("flash.bin");
        std::fs::write(&path, [0; 1000]).unwrap();
        assert!(matches!(Flash::open(&path), Err(FlashError::Size(1000))));
    }
}
