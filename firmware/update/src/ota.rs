//! The slots of a device: what is in them, what boots, and how they change.

use crate::{
    error::OtaError,
    image::{AppDescriptor, Checked, HEAD_LEN, Head, ImageCheck, ImageError},
    layout::{Layout, LayoutError, PARTITION_TABLE_OFFSET, Region, Slot},
    otadata::{Boot, Change, Label, OtaData, Record, SECTOR, Stage, State, sector_offset},
    slot::{Expected, SlotWriter, slot_digest},
};
use core::fmt;
use embedded_storage::nor_flash::{NorFlash, ReadNorFlash};
use towline_descriptor::{Chip, Sha256};

/// Bytes that are read from flash at a time.
const PIECE: usize = 512;

/// The slots of a device that is running.
#[derive(Debug)]
pub struct Ota<F> {
    pub(crate) flash: F,
    pub(crate) layout: Layout,
    pub(crate) running: Slot,
    app: AppDescriptor,
    chip: Chip,
    secure_version: u32,
    /// The running image, once it was looked at.
    pub(crate) image: Option<Checked>,
}

/// Why a device cannot be updated at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError<E> {
    /// The partition table cannot hold an update.
    Layout(LayoutError<E>),
    /// Reading flash failed.
    Flash(E),
    /// No app partition starts at this offset.
    NotASlot(u32),
    /// What runs does not say what it is.
    Image(ImageError),
    /// The image that runs is for a chip that has no name.
    UnknownChip(u16),
}

/// What runs and what boots next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// The slot that runs.
    pub running: Slot,
    /// The slot that boots next, if its image is sound.
    pub next_boot: Slot,
    /// Whether what runs still has to be accepted.
    pub on_trial: bool,
}

/// What is in a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotInfo {
    /// The slot.
    pub slot: Slot,
    /// Where it is.
    pub region: Region,
    /// What boot selection knows of it; [`State::Undefined`] if nothing.
    pub state: State,
    /// What its image says of itself.
    pub app: Result<AppDescriptor, ImageError>,
}

impl<F: NorFlash> Ota<F> {
    /// Opens the slots of the device that runs from the flash offset
    /// `running`, as the MMU of the chip tells. The partition table is at
    /// [`PARTITION_TABLE_OFFSET`].
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(flash: F, running: u32) -> Result<Self, OpenError<F::Error>> {
        Self::open_with_table(flash, PARTITION_TABLE_OFFSET, running)
    }

    /// As [`Ota::open`], with the partition table at the flash offset `table`.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open_with_table(
        mut flash: F,
        table: u32,
        running: u32,
    ) -> Result<Self, OpenError<F::Error>> {
        let layout = Layout::read(&mut flash, table).map_err(OpenError::Layout)?;
        let slot = layout.slot_at(running).ok_or(OpenError::NotASlot(running))?;
        let head = read_head(&mut flash, running).map_err(OpenError::Flash)?;
        let Head { header, app } = head.map_err(OpenError::Image)?;
        let chip = header.chip().ok_or(OpenError::UnknownChip(header.chip_id))?;
        let secure_version = app.secure_version;
        Ok(Self { flash, layout, running: slot, app, chip, secure_version, image: None })
    }

    /// Raises the lowest `secure_version` that is installed to what the eFuses
    /// of the chip demand. It is that of the running image otherwise.
    #[must_use]
    pub fn with_secure_version(mut self, lowest: u32) -> Self {
        self.secure_version = self.secure_version.max(lowest);
        self
    }

    /// Returns the slot that runs.
    pub fn running(&self) -> Slot {
        self.running
    }

    /// Returns what the running image says of itself.
    pub fn app(&self) -> &AppDescriptor {
        &self.app
    }

    /// Returns the chip that the running image is for.
    pub fn chip(&self) -> Chip {
        self.chip
    }

    /// Returns the lowest `secure_version` that is installed.
    pub fn secure_version(&self) -> u32 {
        self.secure_version
    }

    /// Returns size and SHA-256 of the running image, the signature of secure
    /// boot included, as they were published. All of it is read the first time:
    /// some 90 instructions a byte.
    ///
    /// # Errors
    /// [`OtaError::Image`] if it is not sound, which only a bootloader boots
    /// that does not look, and [`OtaError::Flash`].
    pub fn image(&mut self) -> Result<Checked, OtaError<F::Error>> {
        if let Some(image) = self.image {
            return Ok(image);
        }
        let region = self.layout.region(self.running).ok_or(OtaError::Empty)?;
        let image = check_published(&mut self.flash, region).map_err(OtaError::Flash)?;
        let image = image.map_err(OtaError::Image)?;
        self.image = Some(image);
        Ok(image)
    }

    /// Returns where things are in flash.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Returns the slot that an update goes to.
    pub fn spare(&self) -> Slot {
        Slot::Ota(self.layout.spare(self.running))
    }

    /// Returns the size in bytes of the slot that an update goes to.
    pub fn spare_size(&self) -> u32 {
        self.layout.slots()[self.layout.spare(self.running)].size
    }

    /// Gives the flash back.
    pub fn release(self) -> F {
        self.flash
    }

    /// Goes back to the factory app, or to `ota_0` where there is none: boot
    /// selection becomes blank. If `ota_0` is not what runs, nobody knows
    /// whether its image works, and it boots on trial. The caller resets the
    /// device.
    ///
    /// # Errors
    /// [`OtaError::NothingToGoBackTo`] if no sound image is there, or one that
    /// was rejected; [`OtaError::Unconfirmed`] if it is what runs, on trial;
    /// [`OtaError::Flash`], [`OtaError::SequenceUsedUp`].
    pub fn factory_reset(&mut self) -> Result<(), OtaError<F::Error>> {
        let otadata = self.otadata()?;
        let first = self.layout.factory.map_or(Slot::Ota(0), |_| Slot::Factory);
        if first == Slot::Ota(0) && self.running == first {
            if self.is_on_trial()? {
                return Err(OtaError::Unconfirmed);
            }
            return self.blank();
        }
        let region = self.layout.region(first).ok_or(OtaError::NothingToGoBackTo)?;
        let is_sound = check_slot(&mut self.flash, region).map_err(OtaError::Flash)?.is_ok();
        let is_rejected = first == Slot::Ota(0) && self.is_rejected(&otadata, 0);
        match first {
            _ if !is_sound || is_rejected => Err(OtaError::NothingToGoBackTo),
            Slot::Factory => self.blank(),
            Slot::Ota(slot) => self.activate(slot),
        }
    }

    /// Makes boot selection blank.
    fn blank(&mut self) -> Result<(), OtaError<F::Error>> {
        let free = self.otadata()?.free_sector();
        self.erase_record(free)?;
        self.erase_record(1 - free)
    }

    /// Returns what runs and what boots next.
    ///
    /// # Errors
    /// [`OtaError::Flash`].
    pub fn info(&mut self) -> Result<Info, OtaError<F::Error>> {
        let otadata = self.otadata()?;
        Ok(Info {
            running: self.running,
            next_boot: self.selected(&otadata),
            on_trial: self.is_on_trial()?,
        })
    }

    /// Returns what is in a slot; `None` if there is no such slot.
    ///
    /// # Errors
    /// [`OtaError::Flash`].
    pub fn slot_info(&mut self, slot: Slot) -> Result<Option<SlotInfo>, OtaError<F::Error>> {
        let Some(region) = self.layout.region(slot) else { return Ok(None) };
        let otadata = self.otadata()?;
        let state = self.record_of(&otadata, slot).map_or(State::Undefined, |record| record.state);
        let head = read_head(&mut self.flash, region.offset).map_err(OtaError::Flash)?;
        Ok(Some(SlotInfo { slot, region, state, app: head.map(|head| head.app) }))
    }

    /// Returns whether this image is installed already and boots next.
    pub(crate) fn awaits_reset(
        &mut self,
        size: u32,
        sha256: &Sha256,
    ) -> Result<bool, OtaError<F::Error>> {
        let otadata = self.otadata()?;
        let spare = self.layout.spare(self.running);
        let Boot::Slot { slot, sector, .. } = otadata.boot(self.layout.slots().len()) else {
            return Ok(false);
        };
        if slot != spare || otadata.records[sector].label.stage() != Some(Stage::Activated) {
            return Ok(false);
        }
        let region = self.layout.slots()[spare];
        let held = slot_digest(&mut self.flash, region, size.min(region.size));
        Ok(held.map_err(OtaError::Flash)? == *sha256)
    }

    /// Begins to write an image to the spare slot. Nothing is erased before its
    /// head was found fit. If a download of the same image was broken off, the
    /// writer goes on behind what flash holds of it:
    /// [`SlotWriter::received`] says where.
    ///
    /// # Errors
    /// [`OtaError::Unconfirmed`] while what runs is on trial,
    /// [`OtaError::TooLarge`], [`OtaError::Flash`].
    pub fn begin(&mut self, expected: Expected) -> Result<SlotWriter<'_, F>, OtaError<F::Error>> {
        if self.is_on_trial()? {
            return Err(OtaError::Unconfirmed);
        }
        SlotWriter::begin(self, expected)
    }

    /// Returns boot selection.
    pub(crate) fn otadata(&mut self) -> Result<OtaData, OtaError<F::Error>> {
        OtaData::read(&mut self.flash, self.layout.otadata).map_err(OtaError::Flash)
    }

    /// Returns what boots next.
    pub(crate) fn selected(&self, otadata: &OtaData) -> Slot {
        match otadata.boot(self.layout.slots().len()) {
            Boot::Slot { slot, .. } => Slot::Ota(slot),
            Boot::Default if self.layout.factory.is_some() => Slot::Factory,
            Boot::Default => Slot::Ota(0),
        }
    }

    /// Makes sure that boot selection selects what runs. It may select another
    /// slot whose image did not boot: that slot is about to be erased, and must
    /// not be booted before it is verified.
    pub(crate) fn reselect_running(&mut self) -> Result<(), OtaError<F::Error>> {
        let otadata = self.otadata()?;
        match self.running {
            running if self.selected(&otadata) == running => Ok(()),
            Slot::Ota(_) => {
                let label = Label::new(Stage::Accepted, None);
                self.write(self.select(&otadata, State::Valid)?.labelled(label))
            }
            // The factory app boots where no record decides.
            Slot::Factory => self.blank(),
        }
    }

    /// Erases the record that does not decide, so that boot selection names
    /// nothing but what runs. Returns its sector.
    pub(crate) fn free_other_record(&mut self) -> Result<usize, OtaError<F::Error>> {
        self.reselect_running()?;
        let sector = self.otadata()?.free_sector();
        self.erase_record(sector)?;
        Ok(sector)
    }

    /// Selects an image that was verified: the only way for one to boot.
    pub(crate) fn activate(&mut self, slot: usize) -> Result<(), OtaError<F::Error>> {
        let count = self.layout.slots().len();
        let otadata = self.otadata()?;
        let earlier = self.record_of(&otadata, Slot::Ota(slot));
        let interruptions = earlier.map_or(0, |record| record.label.interruptions());
        let label = Label::new(Stage::Activated, Some(self.running)).interrupted(interruptions);
        let change = otadata.select(slot, count, State::New).ok_or(OtaError::SequenceUsedUp)?;
        self.write(change.labelled(label))
    }

    /// Returns the newest record of a slot.
    pub(crate) fn record_of(&self, otadata: &OtaData, slot: Slot) -> Option<Record> {
        let count = self.layout.slots().len();
        let is_meant = |record: &&Record| {
            !record.is_blank() && record.has_right_crc() && Slot::Ota(record.slot(count)) == slot
        };
        otadata.records.iter().filter(is_meant).max_by_key(|record| record.seq).copied()
    }

    /// Returns the change that selects what runs.
    pub(crate) fn select(
        &self,
        otadata: &OtaData,
        state: State,
    ) -> Result<Change, OtaError<F::Error>> {
        let Slot::Ota(running) = self.running else { return Err(OtaError::SequenceUsedUp) };
        let count = self.layout.slots().len();
        otadata.select(running, count, state).ok_or(OtaError::SequenceUsedUp)
    }

    /// Notes something of a slot in the record that does not decide, if there
    /// is a sequence number for it.
    pub(crate) fn note(
        &mut self,
        slot: usize,
        state: State,
        label: Label,
    ) -> Result<(), OtaError<F::Error>> {
        let count = self.layout.slots().len();
        match self.otadata()?.note(slot, count, state) {
            Some(change) => self.write(change.labelled(label)),
            None => Ok(()),
        }
    }

    pub(crate) fn write(&mut self, change: Change) -> Result<(), OtaError<F::Error>> {
        change.write(&mut self.flash, self.layout.otadata).map_err(OtaError::Flash)
    }

    pub(crate) fn erase_record(&mut self, sector: usize) -> Result<(), OtaError<F::Error>> {
        let start = sector_offset(self.layout.otadata, sector);
        self.flash.erase(start, start + SECTOR).map_err(OtaError::Flash)
    }
}

/// Reads the head of the image at a flash offset.
pub(crate) fn read_head<F: ReadNorFlash>(
    flash: &mut F,
    offset: u32,
) -> Result<Result<Head, ImageError>, F::Error> {
    let mut head = [0; HEAD_LEN];
    flash.read(offset, &mut head)?;
    Ok(Head::parse(&head))
}

/// Checks the image in a slot, as the bootloader does before it boots it.
///
/// # Errors
/// What reading flash returns.
pub fn check_slot<F: ReadNorFlash>(
    flash: &mut F,
    slot: Region,
) -> Result<Result<Checked, ImageError>, F::Error> {
    let mut check = ImageCheck::new();
    let mut piece = [0; PIECE];
    let mut at = 0;
    while at < slot.size && !check.is_complete() {
        let len = (slot.size - at).min(PIECE as u32);
        let piece = &mut piece[..len as usize];
        flash.read(slot.offset + at, piece)?;
        if let Err(error) = check.update_to_end(piece) {
            return Ok(Err(error));
        }
        at += len;
    }
    Ok(check.finish())
}

/// As [`check_slot`], with the signature of secure boot if one follows: an image
/// as it was published.
fn check_published<F: ReadNorFlash>(
    flash: &mut F,
    slot: Region,
) -> Result<Result<Checked, ImageError>, F::Error> {
    let mut check = ImageCheck::new();
    let mut unsigned = None;
    let mut piece = [0; PIECE];
    for at in (0..slot.size).step_by(PIECE) {
        // Behind its sector and that of a signature there is nothing to be found.
        let end = |unsigned: Checked| unsigned.size.next_multiple_of(SECTOR) + SECTOR;
        if unsigned.is_some_and(|unsigned| at >= end(unsigned)) {
            break;
        }
        let piece = &mut piece[..PIECE.min((slot.size - at) as usize)];
        flash.read(slot.offset + at, piece)?;
        let rest = match check.update_to_end(piece) {
            Ok(rest) => rest,
            Err(error) => return Ok(unsigned.ok_or(error)),
        };
        if check.is_complete() && unsigned.is_none() {
            unsigned = check.clone().finish().ok();
        }
        // What an earlier image left behind this one is no signature.
        if unsigned.is_some() && check.update(rest).is_err() {
            break;
        }
        if let Ok(whole) = check.clone().finish()
            && unsigned.is_some_and(|unsigned| unsigned != whole)
        {
            return Ok(Ok(whole));
        }
    }
    Ok(unsigned.ok_or(ImageError::Truncated))
}

impl<E: fmt::Debug> fmt::Display for OpenError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layout(error) => error.fmt(f),
            Self::Flash(error) => write!(f, "flash failed: {error:?}"),
            Self::NotASlot(offset) => write!(f, "no app partition starts at {offset:#x}"),
            Self::Image(error) => write!(f, "the running image: {error}"),
            Self::UnknownChip(id) => write!(f, "the running image is for the unknown chip id {id}"),
        }
    }
}

impl<E: fmt::Debug> core::error::Error for OpenError<E> {}
