//! The flash: 8 MiB in the second of the machine's parallel flash banks, with
//! the rules of the flash of the chips.
//!
//! The emulated part (two Intel chips side by side, of 16 bits each) erases
//! sectors of 256 KiB, and it does not keep to the rule that programming only
//! clears bits. The chips erase sectors of 4 KiB. So erasing programs a sector
//! with ones, which this part allows, and the rule is kept here: programming a
//! bit from 0 to 1 is an error. A kill of the emulator leaves what was
//! programmed so far: sectors that are half erased, writes that are half done.

use super::{read, write};
use core::fmt;
use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash, check_erase, check_read,
    check_write,
};

/// Size in bytes.
pub const SIZE: usize = 8 << 20;

const BASE: usize = 0x2200_0000;
const WORD: usize = 4;
const SECTOR: usize = 4096;
/// Bytes that one command may program; it may not cross a multiple of that.
const BUFFER: usize = 1024;

// Each command goes to both chips.
const READ_ARRAY: u32 = 0x00FF_00FF;
const CLEAR_STATUS: u32 = 0x0050_0050;
const BUFFERED_PROGRAM: u32 = 0x00E8_00E8;
const CONFIRM: u32 = 0x00D0_00D0;
const READY: u32 = 0x0080_0080;
const FAULTS: u32 = 0x003A_003A;

/// The flash. There is one.
pub struct Flash(());

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlashError {
    /// Outside the flash, or not aligned.
    Access(NorFlashErrorKind),
    /// A bit would have to go from 0 to 1: the place is not erased.
    NotErased {
        /// Where.
        offset: u32,
    },
    /// The part reports a fault.
    Fault(u32),
}

impl NorFlashError for FlashError {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            Self::Access(kind) => *kind,
            _ => NorFlashErrorKind::Other,
        }
    }
}

impl fmt::Display for FlashError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl core::error::Error for FlashError {}

impl Flash {
    /// Takes the flash.
    ///
    /// # Safety
    /// Only one may exist: two would disturb each other's commands.
    pub unsafe fn take() -> Self {
        write(BASE, CLEAR_STATUS);
        write(BASE, READ_ARRAY);
        Self(())
    }

    /// Programs words from `offset` on, within one buffer of the part.
    fn program(
        &mut self,
        offset: usize,
        words: impl ExactSizeIterator<Item = u32>,
    ) -> Result<(), FlashError> {
        let start = BASE + offset;
        write(start, BUFFERED_PROGRAM);
        while read::<u32>(start) & READY != READY {}
        let count = words.len() as u32 - 1;
        write(start, count << 16 | count);
        for (index, word) in words.enumerate() {
            write(start + index * WORD, word);
        }
        write(start, CONFIRM);
        let status = loop {
            let status = read::<u32>(start);
            if status & READY == READY {
                break status;
            }
        };
        if status & FAULTS != 0 {
            write(start, CLEAR_STATUS);
        }
        write(start, READ_ARRAY);
        if status & FAULTS == 0 { Ok(()) } else { Err(FlashError::Fault(status)) }
    }
}

impl ErrorType for Flash {
    type Error = FlashError;
}

impl ReadNorFlash for Flash {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), FlashError> {
        check_read(self, offset, bytes.len()).map_err(FlashError::Access)?;
        let start = BASE + offset as usize;
        let (head, body) =
            bytes.split_at_mut(bytes.len().min(start.next_multiple_of(WORD) - start));
        let words = start + head.len();
        for (index, byte) in head.iter_mut().enumerate() {
            *byte = read(start + index);
        }
        let (body, tail) = body.as_chunks_mut::<WORD>();
        let rest = words + body.len() * WORD;
        for (index, word) in body.iter_mut().enumerate() {
            *word = read::<u32>(words + index * WORD).to_le_bytes();
        }
        for (index, byte) in tail.iter_mut().enumerate() {
            *byte = read(rest + index);
        }
        Ok(())
    }

    fn capacity(&self) -> usize {
        SIZE
    }
}

impl NorFlash for Flash {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = SECTOR;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), FlashError> {
        check_erase(self, from, to).map_err(FlashError::Access)?;
        for offset in (from as usize..to as usize).step_by(BUFFER) {
            self.program(offset, [u32::MAX; BUFFER / WORD].into_iter())?;
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), FlashError> {
        check_write(self, offset, bytes.len()).map_err(FlashError::Access)?;
        let (words, _) = bytes.as_chunks::<WORD>();
        let mut at = offset as usize;
        for (index, word) in words.iter().enumerate() {
            let there = read::<u32>(BASE + at + index * WORD);
            if u32::from_le_bytes(*word) & !there != 0 {
                return Err(FlashError::NotErased { offset: (at + index * WORD) as u32 });
            }
        }
        let mut words = words;
        while !words.is_empty() {
            let room = (BUFFER - at % BUFFER) / WORD;
            let (now, later) = words.split_at(words.len().min(room));
            self.program(at, now.iter().map(|word| u32::from_le_bytes(*word)))?;
            at += now.len() * WORD;
            words = later;
        }
        Ok(())
    }
}
