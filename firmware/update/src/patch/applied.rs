//! A patch that is applied as it comes.

use super::PatchError;
use crate::{decide::Form, error::OtaError, journal::PatchFile, slot::SlotWriter};
use embedded_storage::nor_flash::NorFlash;
use towline_descriptor::Sha256;
use towline_patch::{Applier, Error, Header, Image, Images, Limits, Progress as Step, Start};

/// A patch that is applied as it comes.
pub(super) struct Patch<'w> {
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

impl<'w> Patch<'w> {
    /// Takes up the file where it was left, if it was begun.
    pub(super) fn new<F: NorFlash>(
        slot: &SlotWriter<'_, F>,
        form: Form,
        size: u32,
        sha256: &Sha256,
        work: &'w mut [u16],
    ) -> Option<Self> {
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
        Some(Self {
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
        })
    }

    pub(super) fn size(&self) -> u32 {
        self.limits.size
    }

    pub(super) fn at(&self) -> u32 {
        self.at
    }

    pub(super) fn is_busy(&self) -> bool {
        self.is_busy
    }

    /// The file comes from its start.
    pub(super) fn restart(&mut self) {
        self.at = 0;
    }

    /// Takes the next bytes of the file, and returns how many.
    pub(super) fn write<F: NorFlash>(
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
