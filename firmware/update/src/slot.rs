//! Writing an image to the spare slot, and the proof that it is there.
//!
//! ```text
//! Ota::begin -> SlotWriter: write ... write -> finish -> Verified -> activate
//!     (goes on behind what flash holds)    (read back)            (otadata)
//! ```
//!
//! Downloading and writing take turns. Flash calls block, on ESP chips with the
//! cache off, so that no other code runs meanwhile; what overlaps is the
//! network's own buffering.
//!
//! Nothing is erased until the head of the image is found fit. Before the first
//! sector of the slot is, boot selection is made to name what runs and nothing
//! else.
//!
//! Only a [`Verified`] image can be activated, and only [`SlotWriter::finish`]
//! makes one. It holds the flash until then: nobody can write in between.

#[cfg(feature = "patches")]
mod read;

use crate::{
    error::OtaError,
    image::{HEAD_LEN, Head, ImageCheck, ImageError},
    journal::{Download, Found, Journal, PatchFile, STEP, Validator},
    layout::{Region, Slot},
    ota::{Ota, read_head},
};
use core::fmt::{self, Debug};
use embedded_storage::nor_flash::NorFlash;
use sha2::{Digest, Sha256 as Hasher};
use towline_descriptor::{Sha256, Version};
use towline_patch::Start;

/// Bytes that are collected before they are programmed: two flash pages, and
/// enough to hold the head of an image.
const CHUNK: usize = 512;

const _: () = assert!(CHUNK >= HEAD_LEN && STEP.is_multiple_of(CHUNK as u32));

/// What is known of an image before it comes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// Size in bytes. Without it, the image ends where it says.
    pub size: Option<u32>,
    /// SHA-256 of the whole image. Without it, as for an image that a person
    /// pushes, a broken download starts over.
    pub sha256: Option<Sha256>,
    /// Version, byte for byte that of the app descriptor.
    pub version: Option<Version>,
}

/// Writes one image to the spare slot.
///
/// Dropping it leaves what was written; a download of the same image goes on
/// there.
pub struct SlotWriter<'o, F> {
    ota: &'o mut Ota<F>,
    expected: Expected,
    slot: usize,
    check: ImageCheck,
    validator: Validator,
    /// The patch that the bytes come from, and the block of it where it can be
    /// taken up.
    pub(crate) patch: Option<PatchFile>,
    pub(crate) start: Option<Start>,
    journal: Option<Journal>,
    /// Bytes in flash, a multiple of [`CHUNK`] until the end.
    written: u32,
    chunk: [u8; CHUNK],
    filled: usize,
}

/// A whole image in a slot, read back and found to be the expected one.
#[must_use = "the image boots only once it is activated"]
pub struct Verified<'o, F> {
    ota: &'o mut Ota<F>,
    slot: usize,
}

impl<'o, F: NorFlash> SlotWriter<'o, F> {
    pub(crate) fn begin(
        ota: &'o mut Ota<F>,
        expected: Expected,
    ) -> Result<Self, OtaError<F::Error>> {
        const {
            assert!(CHUNK.is_multiple_of(F::WRITE_SIZE) && CHUNK.is_multiple_of(F::READ_SIZE));
            assert!(
                F::ERASE_SIZE.is_multiple_of(CHUNK)
                    && (STEP as usize).is_multiple_of(F::ERASE_SIZE)
            );
        }
        if expected.size.is_some_and(|size| size > ota.spare_size()) {
            return Err(OtaError::TooLarge);
        }
        let slot = ota.layout.spare(ota.running());
        let mut writer = Self {
            ota,
            expected,
            slot,
            check: ImageCheck::new(),
            validator: Validator::of(None),
            patch: None,
            start: None,
            journal: None,
            written: 0,
            chunk: [0xFF; CHUNK],
            filled: 0,
        };
        writer.recover()?;
        Ok(writer)
    }

    /// Takes the next bytes of the image. Sectors are erased as they are
    /// reached, the first one only after the head was found fit.
    ///
    /// # Errors
    /// [`OtaError`]; the writer is of no further use then. A faulty image is
    /// forgotten: nothing goes on behind it.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), OtaError<F::Error>> {
        let (limit, error) = match self.expected.size {
            Some(size) => (size, OtaError::Size),
            None => (self.region().size, OtaError::TooLarge),
        };
        if bytes.len() > (limit - self.received()) as usize {
            return self.forget_after(error);
        }
        while !bytes.is_empty() {
            let (head, rest) = bytes.split_at(bytes.len().min(CHUNK - self.filled));
            self.chunk[self.filled..][..head.len()].copy_from_slice(head);
            self.filled += head.len();
            bytes = rest;
            if self.filled == CHUNK {
                if let Err(error) = self.look() {
                    return self.forget_after(error);
                }
                self.program()?;
            }
        }
        Ok(())
    }

    /// Checks the bytes of the chunk, once: a patch makes them one by one, too few to
    /// be hashed each for itself.
    fn look(&mut self) -> Result<(), OtaError<F::Error>> {
        self.check.update(&self.chunk[..self.filled]).map_err(OtaError::Image)
    }

    /// Ends the image: checks structure, size and digest of what came, programs
    /// what is left, and compares what flash holds.
    ///
    /// # Errors
    /// [`OtaError`]; the start of the slot is erased then, so that it holds
    /// nothing that could boot.
    pub fn finish(mut self) -> Result<Verified<'o, F>, OtaError<F::Error>> {
        match self.verify() {
            Ok(()) => Ok(Verified { ota: self.ota, slot: self.slot }),
            Err(error @ OtaError::Flash(_)) => Err(error),
            Err(error) => {
                self.forget()?;
                Err(error)
            }
        }
    }

    /// Gives the image up: nothing goes on behind what was written.
    ///
    /// # Errors
    /// [`OtaError::Flash`].
    pub fn abort(mut self) -> Result<(), OtaError<F::Error>> {
        self.forget()
    }

    /// Returns the bytes of the image that came so far, those of an earlier
    /// download included.
    pub fn received(&self) -> u32 {
        self.written + self.filled as u32
    }

    /// Returns the size of the image in bytes; 0 if it is not known.
    pub(crate) fn size(&self) -> u32 {
        self.expected.size.unwrap_or_default()
    }

    /// Returns whether bytes came, and of the image as it is.
    pub(crate) fn is_plain(&self) -> bool {
        self.received() > 0 && self.patch.is_none()
    }

    /// Returns the slot that is written.
    pub fn slot(&self) -> Slot {
        Slot::Ota(self.slot)
    }

    /// Returns the validator that the bytes so far came with.
    pub fn validator(&self) -> Validator {
        self.validator
    }

    /// Lets the bytes that came count for a file that comes with this
    /// validator.
    pub(crate) fn adopt(&mut self, validator: Validator) {
        self.validator = validator;
    }

    /// Starts over: the next bytes are the first of the image, which comes with
    /// this validator.
    pub fn restart(&mut self, validator: Validator) {
        self.check = ImageCheck::new();
        self.validator = validator;
        self.patch = None;
        self.start = None;
        self.journal = None;
        self.written = 0;
        self.filled = 0;
    }

    /// Takes up what an earlier download of the same image left in the slot.
    fn recover(&mut self) -> Result<(), OtaError<F::Error>> {
        let (Some(size), Some(sha256)) = (self.expected.size, self.expected.sha256) else {
            return Ok(());
        };
        let otadata = self.ota.otadata()?;
        if self.ota.selected(&otadata) == self.ota.running() {
            let journal = Journal::at(self.ota.layout.otadata, otadata.free_sector());
            let found = journal.read(&mut self.ota.flash).map_err(OtaError::Flash)?;
            if let Some(Found { download, held, start }) = found
                && (download.size, download.sha256) == (size, sha256)
                && usize::from(download.slot) == self.slot
                && held > 0
            {
                self.validator = download.validator;
                self.patch = download.patch;
                self.start = start;
                self.journal = Some(journal);
                // Whole steps only: the last one may be held to its end.
                let held = held.min(size / STEP * STEP);
                if self.take_up(held)? {
                    return Ok(());
                }
                self.restart(Validator::of(None));
            }
        }
        // All of it may be there, and boot selection lost its record.
        let offset = self.region().offset;
        let head = read_head(&mut self.ota.flash, offset).map_err(OtaError::Flash)?;
        let is_meant = head.is_ok_and(|head| {
            self.expected.version.as_ref().is_some_and(|v| v.as_str() == head.app.version.as_str())
        });
        if is_meant && !(self.take_up(size)? && self.is_whole()) {
            self.restart(Validator::of(None));
        }
        Ok(())
    }

    /// Checks the first `held` bytes of the slot. Returns whether they can be
    /// those of the image.
    fn take_up(&mut self, held: u32) -> Result<bool, OtaError<F::Error>> {
        while self.written < held {
            let len = (held - self.written).min(CHUNK as u32);
            self.read_chunk(self.written, len)?;
            if self.check.update(&self.chunk[..len as usize]).is_err() {
                return Ok(false);
            }
            if self.written == 0 && self.check_head(len as usize).is_err() {
                return Ok(false);
            }
            self.written += len;
        }
        Ok(true)
    }

    /// Returns whether the bytes that came are the whole image.
    fn is_whole(&self) -> bool {
        self.check
            .clone()
            .finish()
            .is_ok_and(|checked| Some(checked.sha256) == self.expected.sha256)
    }

    fn verify(&mut self) -> Result<(), OtaError<F::Error>> {
        if self.received() == 0 {
            return Err(OtaError::Empty);
        }
        if self.expected.size.is_some_and(|size| size != self.received()) {
            return Err(OtaError::Size);
        }
        self.look()?;
        let checked = self.check.clone().finish().map_err(OtaError::Image)?;
        if self.expected.sha256.is_some_and(|sha256| sha256 != checked.sha256) {
            return Err(OtaError::Digest);
        }
        if self.filled > 0 {
            self.program()?;
        }
        let region = self.region();
        let held = slot_digest(&mut self.ota.flash, region, checked.size);
        if held.map_err(OtaError::Flash)? != checked.sha256 {
            return Err(OtaError::ReadBack);
        }
        Ok(())
    }

    fn region(&self) -> Region {
        self.ota.layout.slots()[self.slot]
    }

    /// Programs the chunk, and erases first where it starts a sector.
    fn program(&mut self) -> Result<(), OtaError<F::Error>> {
        if self.written == 0 {
            self.check_head(self.filled)?;
            self.open_slot()?;
        }
        let sector = F::ERASE_SIZE as u32;
        let at = self.region().offset + self.written;
        let flash = &mut self.ota.flash;
        if self.written.is_multiple_of(sector) {
            flash.erase(at, at + sector).map_err(OtaError::Flash)?;
        }
        let len = self.filled.next_multiple_of(F::WRITE_SIZE);
        self.chunk[self.filled..len].fill(0xFF);
        flash.write(at, &self.chunk[..len]).map_err(OtaError::Flash)?;
        self.written += self.filled as u32;
        self.filled = 0;
        if let Some(journal) = self.journal
            && self.written.is_multiple_of(STEP)
        {
            journal.mark(flash, self.written, self.start).map_err(OtaError::Flash)?;
        }
        Ok(())
    }

    /// Makes boot selection name nothing but what runs, and begins the journal.
    fn open_slot(&mut self) -> Result<(), OtaError<F::Error>> {
        let sector = self.ota.free_other_record()?;
        if let (Some(size), Some(sha256)) = (self.expected.size, self.expected.sha256) {
            let journal = Journal::at(self.ota.layout.otadata, sector);
            let (slot, validator, patch) = (self.slot as u8, self.validator, self.patch);
            let download = Download { size, sha256, slot, validator, patch };
            journal.begin(&mut self.ota.flash, &download).map_err(OtaError::Flash)?;
            self.journal = Some(journal);
        }
        Ok(())
    }

    /// Compares what the image says of itself with what was expected. The chunk
    /// holds its first `len` bytes.
    fn check_head(&self, len: usize) -> Result<(), OtaError<F::Error>> {
        let (true, Some(head)) = (len >= HEAD_LEN, self.chunk.first_chunk()) else {
            return Err(OtaError::Image(ImageError::Truncated));
        };
        let head = Head::parse(head).map_err(OtaError::Image)?;
        if head.app.project_name.as_str() != self.ota.app().project_name.as_str() {
            return Err(OtaError::OtherProject);
        }
        if head.header.chip() != Some(self.ota.chip()) {
            return Err(OtaError::OtherChip);
        }
        if let Some(version) = &self.expected.version
            && head.app.version.as_str() != version.as_str()
        {
            return Err(OtaError::OtherVersion);
        }
        if head.app.secure_version < self.ota.secure_version() {
            return Err(OtaError::SecureVersion);
        }
        Ok(())
    }

    fn read_chunk(&mut self, at: u32, len: u32) -> Result<(), OtaError<F::Error>> {
        // Reads are aligned as writes are.
        let aligned = (len as usize).next_multiple_of(F::READ_SIZE);
        let offset = self.region().offset + at;
        self.ota.flash.read(offset, &mut self.chunk[..aligned]).map_err(OtaError::Flash)
    }

    pub(crate) fn forget_after<T>(
        &mut self,
        error: OtaError<F::Error>,
    ) -> Result<T, OtaError<F::Error>> {
        self.forget()?;
        Err(error)
    }

    /// Erases the start of the slot and the journal, if anything was written.
    fn forget(&mut self) -> Result<(), OtaError<F::Error>> {
        if self.written > 0 {
            self.ota.free_other_record()?;
            let start = self.region().offset;
            let end = start + F::ERASE_SIZE as u32;
            self.ota.flash.erase(start, end).map_err(OtaError::Flash)?;
        }
        self.restart(Validator::of(None));
        Ok(())
    }
}

/// Returns the SHA-256 of the first `size` bytes of a region of flash.
pub(crate) fn slot_digest<F: NorFlash>(
    flash: &mut F,
    region: Region,
    size: u32,
) -> Result<Sha256, F::Error> {
    let mut hasher = Hasher::new();
    let mut chunk = [0; CHUNK];
    let mut at = 0;
    while at < size {
        let len = (size - at).min(CHUNK as u32);
        // Reads are aligned as writes are; what lies behind is not hashed.
        let aligned = (len as usize).next_multiple_of(F::READ_SIZE);
        flash.read(region.offset + at, &mut chunk[..aligned])?;
        hasher.update(&chunk[..len as usize]);
        at += len;
    }
    Ok(Sha256(hasher.finalize().into()))
}

impl<F: NorFlash> Verified<'_, F> {
    /// Returns the slot that holds the image.
    pub fn slot(&self) -> Slot {
        Slot::Ota(self.slot)
    }

    /// Makes the image the next to boot, on trial.
    ///
    /// # Errors
    /// [`OtaError::Flash`] and [`OtaError::SequenceUsedUp`]; what runs stays
    /// bootable.
    pub fn activate(self) -> Result<(), OtaError<F::Error>> {
        self.ota.activate(self.slot)
    }
}

impl<F> Debug for SlotWriter<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlotWriter").field("slot", &self.slot).finish_non_exhaustive()
    }
}

impl<F> Debug for Verified<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified").field("slot", &self.slot).finish_non_exhaustive()
    }
}
