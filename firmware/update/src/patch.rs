//! Writing an image from what is fetched of it: the image itself, or a patch.
//!
//! ```text
//! image:  file -----------------> SlotWriter -> spare slot
//! patch:  file -> Applier --put-> SlotWriter -> spare slot
//!                  ^    ^             |
//!    running slot -+old +-----back----+
//! ```
//!
//! A patch decides nothing. What it makes is checked as if it had been fetched:
//! its head before anything is erased, and its SHA-256 before it can boot. A
//! patch is refused as early as it shows that it leads elsewhere, only to save
//! the work.
//!
//! After a power cut, a patch goes on at the start of the block that makes the
//! first byte that flash does not hold. What the block makes of those that it
//! does hold is dropped, as is what comes again from a host that does not go on
//! where it is asked to.

#[cfg(feature = "patches")]
mod applied;
#[cfg(not(feature = "patches"))]
mod none;

#[cfg(feature = "patches")]
use applied::Patch;
#[cfg(not(feature = "patches"))]
use none::Patch;

use crate::{
    decide::Form,
    error::OtaError,
    journal::Validator,
    slot::{SlotWriter, Verified},
    update::Progress,
};
use core::fmt;
use embedded_storage::nor_flash::NorFlash;
use towline_descriptor::Sha256;
use towline_patch::{HeaderError, Refused};

/// Why an image cannot be made of a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchError {
    /// Its header is none.
    Header(HeaderError),
    /// It is not for what runs here, or not what was offered.
    Refused(Refused),
    /// It contradicts itself, or is cut.
    Damaged,
}

/// Writes an image from its file, whichever that is.
pub(crate) struct FileWriter<'o, 'w, F> {
    slot: SlotWriter<'o, F>,
    patch: Option<Patch<'w>>,
}

impl<'o, 'w, F: NorFlash> FileWriter<'o, 'w, F> {
    /// Takes the image as it is.
    pub(crate) fn image(slot: SlotWriter<'o, F>) -> Self {
        Self { slot, patch: None }
    }

    /// Takes a patch of `size` bytes with this SHA-256, which works in `work`.
    pub(crate) fn patch(
        slot: SlotWriter<'o, F>,
        form: Form,
        size: u32,
        sha256: &Sha256,
        work: &'w mut [u16],
    ) -> Self {
        let patch = Patch::new(&slot, form, size, sha256, work);
        Self { slot, patch }
    }

    /// Returns the size of the file in bytes.
    pub(crate) fn size(&self) -> u32 {
        self.patch.as_ref().map_or(self.slot.size(), Patch::size)
    }

    /// Returns the offset in the file of the byte that is to come next.
    pub(crate) fn from(&self) -> u32 {
        self.patch.as_ref().map_or(self.slot.received(), Patch::at)
    }

    /// Returns the validator that the bytes before came with.
    pub(crate) fn validator(&self) -> Validator {
        self.slot.validator()
    }

    /// Returns how much of the image is there.
    pub(crate) fn progress(&self) -> Progress {
        Progress { received: self.slot.received(), size: self.slot.size() }
    }

    /// Returns whether all of the image is there.
    pub(crate) fn is_whole(&self) -> bool {
        self.slot.received() == self.slot.size()
    }

    /// Returns whether more can be made of what came.
    pub(crate) fn is_busy(&self) -> bool {
        self.patch.as_ref().is_some_and(Patch::is_busy)
    }

    /// The file comes from its start, with this validator.
    pub(crate) fn restart(&mut self, validator: Validator) {
        match &mut self.patch {
            None => self.slot.restart(validator),
            Some(patch) => {
                patch.restart();
                self.slot.adopt(validator);
            }
        }
    }

    /// Takes the next bytes of the file. Returns how many: not all of them if
    /// they [make more](Self::is_busy) than is written at a time.
    ///
    /// # Errors
    /// [`OtaError`]; the writer is of no further use then. Nothing goes on
    /// behind what a faulty patch made.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<usize, OtaError<F::Error>> {
        let Some(patch) = &mut self.patch else {
            self.slot.write(bytes)?;
            return Ok(bytes.len());
        };
        match patch.write(&mut self.slot, bytes) {
            Err(error) if !matches!(error, OtaError::Flash(_)) => self.slot.forget_after(error),
            taken => taken,
        }
    }

    /// Ends the image, as [`SlotWriter::finish`] does.
    ///
    /// # Errors
    /// [`OtaError`].
    pub(crate) fn finish(self) -> Result<Verified<'o, F>, OtaError<F::Error>> {
        self.slot.finish()
    }
}

impl fmt::Display for PatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(error) => error.fmt(f),
            Self::Refused(refused) => refused.fmt(f),
            Self::Damaged => f.write_str("the patch is damaged"),
        }
    }
}
