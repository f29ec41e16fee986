//! Writing an image to the spare slot, and the proof that it is there.
//!
//! ```text
//! SlotWriter::begin -> write ... write -> finish -> Verified -> activate
//!     (otadata selects what runs)          (read back)         (otadata)
//! ```
//!
//! Nothing of the slot is erased until the head of the image is found fit.
//!
//! Only a [`Verified`] image can be activated, and only [`SlotWriter::finish`]
//! makes one.

use crate::{
    decide::{Offer, Running},
    image::{HEAD_LEN, Head, ImageCheck, ImageError},
    layout::{Layout, Region},
    otadata::{Boot, OtaData, State},
};
use core::fmt;
use embedded_storage::nor_flash::{NorFlash, ReadNorFlash};
use sha2::{Digest, Sha256 as Hasher};

/// Bytes that are collected before they are programmed: two flash pages, and
/// enough to hold the head of an image.
const CHUNK: usize = 512;

const _: () = assert!(CHUNK >= HEAD_LEN);

/// Why an image was not written or not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotError<E> {
    /// Erasing, programming or reading flash failed.
    Flash(E),
    /// The bytes are not a sound image.
    Image(ImageError),
    /// The image is of another project.
    OtherProject,
    /// The image is for another chip.
    OtherChip,
    /// The version of the image is not the offered one.
    OtherVersion,
    /// The image is barred by anti-rollback.
    SecureVersion,
    /// There are more or fewer bytes than the offer states.
    Size,
    /// The SHA-256 is not the offered one.
    Digest,
    /// Flash does not hold what was written to it.
    ReadBack,
    /// The sequence numbers of otadata are used up.
    SequenceUsedUp,
}

/// Writes one image to the spare slot.
pub struct SlotWriter<'a, F> {
    flash: &'a mut F,
    layout: &'a Layout,
    running: &'a Running<'a>,
    offer: &'a Offer,
    slot: usize,
    check: ImageCheck,
    /// Bytes in flash, a multiple of [`CHUNK`] until the end.
    written: u32,
    chunk: [u8; CHUNK],
    filled: usize,
}

/// A whole image in a slot, read back and found to be the offered one.
#[derive(Debug)]
#[must_use = "the image boots only once it is activated"]
pub struct Verified {
    slot: usize,
}

impl<'a, F: NorFlash> SlotWriter<'a, F> {
    /// Begins to write `offer` to the slot that follows `running_slot`, `None`
    /// being the factory app. The slot is not touched yet, but boot selection is
    /// made to select what runs, should the bootloader have fallen back to it.
    ///
    /// # Errors
    /// [`SlotError::Flash`] and [`SlotError::SequenceUsedUp`].
    pub fn begin(
        flash: &'a mut F,
        layout: &'a Layout,
        running_slot: Option<usize>,
        running: &'a Running<'a>,
        offer: &'a Offer,
    ) -> Result<Self, SlotError<F::Error>> {
        const {
            assert!(CHUNK.is_multiple_of(F::WRITE_SIZE) && CHUNK.is_multiple_of(F::READ_SIZE));
            assert!(F::ERASE_SIZE.is_multiple_of(CHUNK));
        }
        let slot = layout.spare(running_slot);
        select_running(flash, layout, running_slot)?;
        Ok(Self {
            flash,
            layout,
            running,
            offer,
            slot,
            check: ImageCheck::new(),
            written: 0,
            chunk: [0xFF; CHUNK],
            filled: 0,
        })
    }

    /// Takes the next bytes of the image. Sectors are erased as they are
    /// reached, the first one only after the head was found fit.
    ///
    /// # Errors
    /// [`SlotError`]; the writer is of no further use then.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), SlotError<F::Error>> {
        if bytes.len() > (self.offer.size - self.received()) as usize {
            return Err(SlotError::Size);
        }
        self.check.update(bytes).map_err(SlotError::Image)?;
        while !bytes.is_empty() {
            let (head, rest) = bytes.split_at(bytes.len().min(CHUNK - self.filled));
            self.chunk[self.filled..][..head.len()].copy_from_slice(head);
            self.filled += head.len();
            bytes = rest;
            if self.filled == CHUNK {
                self.program()?;
            }
        }
        Ok(())
    }

    /// Ends the image: checks structure, size and digest of what came, programs
    /// what is left, and compares what flash holds.
    ///
    /// # Errors
    /// [`SlotError`]; the start of the slot is erased then, so that it holds
    /// nothing that could boot.
    pub fn finish(mut self) -> Result<Verified, SlotError<F::Error>> {
        let result = self.verify();
        if result.is_err() && self.written > 0 {
            let start = self.region().offset;
            self.flash.erase(start, start + F::ERASE_SIZE as u32).map_err(SlotError::Flash)?;
        }
        result.map(|()| Verified { slot: self.slot })
    }

    fn verify(&mut self) -> Result<(), SlotError<F::Error>> {
        if self.received() != self.offer.size {
            return Err(SlotError::Size);
        }
        let checked = self.check.clone().finish().map_err(SlotError::Image)?;
        if checked.sha256 != self.offer.sha256 {
            return Err(SlotError::Digest);
        }
        if self.filled > 0 {
            self.program()?;
        }
        if !holds(self.flash, self.region(), self.offer).map_err(SlotError::Flash)? {
            return Err(SlotError::ReadBack);
        }
        Ok(())
    }

    /// Returns the bytes of the image that came so far.
    pub fn received(&self) -> u32 {
        self.written + self.filled as u32
    }

    fn region(&self) -> Region {
        self.layout.slots()[self.slot]
    }

    /// Programs the chunk, and erases first where it starts a sector.
    fn program(&mut self) -> Result<(), SlotError<F::Error>> {
        if self.written == 0 {
            self.check_head()?;
        }
        let sector = F::ERASE_SIZE as u32;
        let at = self.region().offset + self.written;
        if self.written.is_multiple_of(sector) {
            self.flash.erase(at, at + sector).map_err(SlotError::Flash)?;
        }
        let len = self.filled.next_multiple_of(F::WRITE_SIZE);
        self.chunk[self.filled..len].fill(0xFF);
        self.flash.write(at, &self.chunk[..len]).map_err(SlotError::Flash)?;
        self.written += self.filled as u32;
        self.filled = 0;
        Ok(())
    }

    /// Compares what the image says of itself with what was offered.
    fn check_head(&self) -> Result<(), SlotError<F::Error>> {
        let head = self.chunk.first_chunk().expect("a chunk holds the head");
        let head = Head::parse(head).map_err(SlotError::Image)?;
        if head.app.project_name.as_str() != self.running.project {
            return Err(SlotError::OtherProject);
        }
        if head.header.chip() != Some(self.running.chip) {
            return Err(SlotError::OtherChip);
        }
        if head.app.version.as_str() != self.offer.version.as_str() {
            return Err(SlotError::OtherVersion);
        }
        if head.app.secure_version < self.running.secure_version {
            return Err(SlotError::SecureVersion);
        }
        if self.offer.size > self.region().size {
            return Err(SlotError::Size);
        }
        Ok(())
    }
}

/// Makes sure that boot selection selects what runs. It may select another slot
/// whose image did not boot: that slot is about to be erased, and must not be
/// booted, nor be what a rollback returns to, before it is verified.
fn select_running<F: NorFlash>(
    flash: &mut F,
    layout: &Layout,
    running_slot: Option<usize>,
) -> Result<(), SlotError<F::Error>> {
    let otadata = OtaData::read(flash, layout.otadata).map_err(SlotError::Flash)?;
    let count = layout.slots().len();
    let selected = match otadata.boot(count) {
        Boot::Slot { slot, .. } => Some(slot),
        Boot::Default => layout.factory.is_none().then_some(0),
    };
    match running_slot {
        _ if selected == running_slot => Ok(()),
        Some(running) => otadata
            .select(running, count, State::Valid)
            .ok_or(SlotError::SequenceUsedUp)?
            .write(flash, layout.otadata)
            .map_err(SlotError::Flash),
        // Blank boot selection is the factory app.
        None => {
            let Region { offset, size } = layout.otadata;
            flash.erase(offset, offset + size).map_err(SlotError::Flash)
        }
    }
}

/// Returns whether a region of flash starts with the offered image.
///
/// # Errors
/// What reading flash returns.
pub(crate) fn holds<F: ReadNorFlash>(
    flash: &mut F,
    region: Region,
    offer: &Offer,
) -> Result<bool, F::Error> {
    let mut hasher = Hasher::new();
    let mut chunk = [0; CHUNK];
    let mut at = 0;
    while at < offer.size {
        let len = (offer.size - at).min(CHUNK as u32);
        // Reads are aligned as writes are; what lies behind is not hashed.
        let aligned = (len as usize).next_multiple_of(F::READ_SIZE);
        flash.read(region.offset + at, &mut chunk[..aligned])?;
        hasher.update(&chunk[..len as usize]);
        at += len;
    }
    Ok(<[u8; 32]>::from(hasher.finalize()) == offer.sha256.0)
}

impl Verified {
    /// Returns the index of the slot that holds the image.
    pub fn slot(&self) -> usize {
        self.slot
    }

    /// Makes the image the next to boot, as [`State::New`].
    ///
    /// # Errors
    /// [`SlotError::Flash`] and [`SlotError::SequenceUsedUp`]; what runs stays
    /// bootable.
    pub fn activate<F: NorFlash>(
        self,
        flash: &mut F,
        layout: &Layout,
    ) -> Result<(), SlotError<F::Error>> {
        let otadata = OtaData::read(flash, layout.otadata).map_err(SlotError::Flash)?;
        let change = otadata
            .select(self.slot, layout.slots().len(), State::New)
            .ok_or(SlotError::SequenceUsedUp)?;
        change.write(flash, layout.otadata).map_err(SlotError::Flash)
    }
}

impl<E: fmt::Debug> fmt::Display for SlotError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flash(error) => return write!(f, "flash failed: {error:?}"),
            Self::Image(error) => return error.fmt(f),
            Self::OtherProject => "the image is of another project",
            Self::OtherChip => "the image is for another chip",
            Self::OtherVersion => "the version of the image is not the offered one",
            Self::SecureVersion => "the image is barred by anti-rollback",
            Self::Size => "the image has not the offered size, or the slot is too small",
            Self::Digest => "the SHA-256 of the image is not the offered one",
            Self::ReadBack => "flash does not hold what was written",
            Self::SequenceUsedUp => "the sequence numbers of otadata are used up",
        })
    }
}

impl<E: fmt::Debug> core::error::Error for SlotError<E> {}
