//! Reading what a patch leads from, and what it made so far.

use super::SlotWriter;
use crate::{error::OtaError, image::Checked};
use embedded_storage::nor_flash::NorFlash;
use towline_descriptor::Sha256;

impl<F: NorFlash> SlotWriter<'_, F> {
    /// Returns the SHA-256 of the image; that of nothing if it is not known.
    pub(crate) fn sha256(&self) -> Sha256 {
        self.expected.sha256.unwrap_or(Sha256::OF_NOTHING)
    }

    /// Returns what runs, if it was looked at.
    pub(crate) fn running(&self) -> Option<Checked> {
        self.ota.image
    }

    /// Reads bytes that came, from `at` on.
    ///
    /// # Errors
    /// [`OtaError::Size`] if not all of them came, [`OtaError::Flash`].
    pub(crate) fn read_back(
        &mut self,
        at: u32,
        bytes: &mut [u8],
    ) -> Result<(), OtaError<F::Error>> {
        let len = bytes.len() as u32;
        if at.checked_add(len).is_none_or(|end| end > self.received()) {
            return Err(OtaError::Size);
        }
        // What is in flash, and what is still to be programmed.
        let (held, rest) = bytes.split_at_mut(self.written.saturating_sub(at).min(len) as usize);
        let region = self.region();
        read_any(&mut self.ota.flash, region.offset + at, held).map_err(OtaError::Flash)?;
        let start = (at + held.len() as u32).saturating_sub(self.written) as usize;
        rest.copy_from_slice(&self.chunk[start..][..rest.len()]);
        Ok(())
    }

    /// Reads bytes of the running image, from `at` on.
    ///
    /// # Errors
    /// [`OtaError::Size`] if its slot is not that large, [`OtaError::Flash`].
    pub(crate) fn read_running(
        &mut self,
        at: u32,
        bytes: &mut [u8],
    ) -> Result<(), OtaError<F::Error>> {
        let region = self.ota.layout.region(self.ota.running).ok_or(OtaError::Size)?;
        if at.checked_add(bytes.len() as u32).is_none_or(|end| end > region.size) {
            return Err(OtaError::Size);
        }
        read_any(&mut self.ota.flash, region.offset + at, bytes).map_err(OtaError::Flash)
    }
}

/// Reads flash from any offset, and as many bytes as are wanted.
fn read_any<F: NorFlash>(
    flash: &mut F,
    mut offset: u32,
    mut bytes: &mut [u8],
) -> Result<(), F::Error> {
    const { assert!(PIECE.is_multiple_of(F::READ_SIZE)) }
    let mut piece = Piece([0; PIECE]);
    while !bytes.is_empty() {
        let start = offset as usize % F::READ_SIZE;
        let len = bytes.len().min(PIECE - start);
        let piece = &mut piece.0[..(start + len).next_multiple_of(F::READ_SIZE)];
        flash.read(offset - start as u32, piece)?;
        let (head, rest) = bytes.split_at_mut(len);
        head.copy_from_slice(&piece[start..][..len]);
        bytes = rest;
        offset += len as u32;
    }
    Ok(())
}

/// Bytes that are read at a time where nothing is aligned: what a patch looks at
/// of the old image, and what its alignment takes.
const PIECE: usize = 256;

/// Drivers read whole words at once where they belong.
#[repr(align(4))]
struct Piece([u8; PIECE]);
