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

use crate::{
    decide::Form,
    error::OtaError,
    journal::{PatchFile, Validator},
    slot::{SlotWriter, Verified},
    update::Progress,
};
use core::fmt;
use embedded_storage::nor_flash::NorFlash;
use towline_descriptor::Sha256;
use towline_patch::{
    Applier, Error, Header, HeaderError, Image, Images, Limits, Progress as Step, Refused, Start,
};

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

/// A patch that is applied as it comes.
struct Patch<'w> {
    limits: Limits,
    id: [u8; 8],
    /// Offset in the file of the byte that comes next.
    at: u32,
    /// Bytes from its start that were taken.
    taken: u32,
    header: [u8; Header::LEN],
    /// Where it starts to be applied.
    start: Start,
    applier: Option<Applier<'w>>,
    work: &'w mut [u16],
    /// Bytes of the image that it made, from the start of the image.
    made: u32,
    is_busy: bool,
}

/// Both images, for the patch that leads from one to the other.
struct Slots<'s, 'o, F> {
    slot: &'s mut SlotWriter<'o, F>,
    made: &'s mut u32,
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
        Self { slot, patch: Some(patch) }
    }

    /// Returns the size of the file in bytes.
    pub(crate) fn size(&self) -> u32 {
        self.patch.as_ref().map_or(self.slot.size(), |patch| patch.limits.size)
    }

    /// Returns the offset in the file of the byte that is to come next.
    pub(crate) fn from(&self) -> u32 {
        self.patch.as_ref().map_or(self.slot.received(), |patch| patch.at)
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
        self.patch.as_ref().is_some_and(|patch| patch.is_busy)
    }

    /// The file comes from its start, with this validator.
    pub(crate) fn restart(&mut self, validator: Validator) {
        match &mut self.patch {
            None => self.slot.restart(validator),
            Some(patch) => {
                patch.at = 0;
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

impl<'w> Patch<'w> {
    fn new<F: NorFlash>(
        slot: &SlotWriter<'_, F>,
        form: Form,
        size: u32,
        sha256: &Sha256,
        work: &'w mut [u16],
    ) -> Self {
        let running = slot.running().filter(|_| form == Form::Patch);
        let limits = Limits {
            old: running.map_or(Image::EMPTY, |running| Image {
                size: running.size,
                sha256: running.sha256.0,
            }),
            new: Image { size: slot.size(), sha256: slot.sha256().0 },
            size,
            slot: slot.size(),
            memory: size_of_val(work) as u32,
        };
        let mut id = [0; 8];
        id.copy_from_slice(&sha256.0[..8]);
        // Only where the same file was begun.
        let begun = slot.patch.filter(|file| file.id == id);
        let (start, header) = match begun.zip(slot.start) {
            Some((file, start)) => (start, file.header),
            None => (Start::FIRST, [0; Header::LEN]),
        };
        let taken = if start == Start::FIRST { 0 } else { start.offset };
        Self {
            limits,
            id,
            at: taken,
            taken,
            header,
            start,
            applier: None,
            work,
            made: start.at,
            is_busy: false,
        }
    }

    fn write<F: NorFlash>(
        &mut self,
        slot: &mut SlotWriter<'_, F>,
        bytes: &[u8],
    ) -> Result<usize, OtaError<F::Error>> {
        let known = self.taken.saturating_sub(self.at).min(bytes.len() as u32);
        self.at += known;
        let mut input = &bytes[known as usize..];
        if let Some(missing) = self.header.get_mut(self.taken as usize..) {
            let (head, rest) = input.split_at(missing.len().min(input.len()));
            missing[..head.len()].copy_from_slice(head);
            self.count(head.len());
            input = rest;
        }
        if self.applier.is_none() && self.taken >= Header::LEN as u32 {
            self.begin(slot)?;
        }
        let Some(applier) = &mut self.applier else {
            return self.unless_over(Step::Hungry).map(|()| bytes.len());
        };
        let is_noted = slot.patch == Some(PatchFile { id: self.id, header: self.header });
        slot.start = is_noted.then(|| applier.start());
        let left = input.len();
        let progress = applier.push(&mut input, &mut Slots { slot, made: &mut self.made })?;
        self.count(left - input.len());
        self.is_busy = progress == Step::Busy;
        self.unless_over(progress)?;
        // Nothing follows what makes a whole image.
        Ok(if progress == Step::Done { bytes.len() } else { bytes.len() - input.len() })
    }

    fn begin<F: NorFlash>(
        &mut self,
        slot: &mut SlotWriter<'_, F>,
    ) -> Result<(), OtaError<F::Error>> {
        let header = Header::parse(&self.header)
            .map_err(|error| OtaError::Patch(PatchError::Header(error)))?;
        let work = core::mem::take(&mut self.work);
        let mut slots = Slots { slot, made: &mut self.made };
        let applier = Applier::resume(&header, &self.limits, self.start, work, &mut slots)?;
        self.applier = Some(applier);
        if slot.received() == 0 {
            slot.patch = Some(PatchFile { id: self.id, header: self.header });
        }
        Ok(())
    }

    /// Returns an error if there is nothing left of the file for what is hungry.
    fn unless_over<E>(&self, progress: Step) -> Result<(), OtaError<E>> {
        if progress == Step::Hungry && self.at >= self.limits.size {
            return Err(OtaError::Patch(PatchError::Damaged));
        }
        Ok(())
    }

    /// Counts bytes of the file that were taken.
    fn count(&mut self, bytes: usize) {
        self.taken += bytes as u32;
        self.at += bytes as u32;
    }
}

impl<F: NorFlash> Images for Slots<'_, '_, F> {
    type Error = OtaError<F::Error>;

    fn old(&mut self, at: u32, buf: &mut [u8]) -> Result<(), Self::Error> {
        self.slot.read_running(at, buf)
    }

    fn back(&mut self, at: u32, buf: &mut [u8]) -> Result<(), Self::Error> {
        self.slot.read_back(at, buf)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Self::Error> {
        let held = self.slot.received().saturating_sub(*self.made).min(bytes.len() as u32);
        *self.made += bytes.len() as u32;
        self.slot.write(&bytes[held as usize..])
    }
}

impl<E> From<Error<OtaError<E>>> for OtaError<E> {
    fn from(error: Error<OtaError<E>>) -> Self {
        match error {
            Error::Images(error) => error,
            Error::Damaged => Self::Patch(PatchError::Damaged),
            Error::Refused(refused) => Self::Patch(PatchError::Refused(refused)),
        }
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
