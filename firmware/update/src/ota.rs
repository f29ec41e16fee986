//! The slots of a device: what is in them, what boots, and the boot guard.
//!
//! # Life of an update
//!
//! | step                        | record that decides      | the other record   |
//! |-----------------------------|--------------------------|--------------------|
//! | old image runs              | old, VALID               | any                |
//! | [`Ota::begin`], first bytes | old, VALID               | blank, progress    |
//! | [`Verified::activate`]      | new, NEW, *activated*    | old, VALID         |
//! | first boot, [`Ota::guard`]  | new, PENDING, *guarded*  | new, NEW           |
//! | [`Ota::accept`]             | new, VALID, *accepted*   | old, VALID         |
//! | or second boot, or [`Ota::rollback`] | old, VALID      | new, ABORTED, *rejected* |
//! | or second boot after a loss of power | old, VALID      | new, ABORTED, *interrupted* |
//!
//! With a bootloader that was built with rollback, it is the bootloader that
//! turns NEW into PENDING, and PENDING into ABORTED. The guard tells it by the
//! label (a NEW image is never seen to run there) and stands aside.
//!
//! # What the guard cannot do
//!
//! The stock bootloader boots a NEW image again and again. Firmware that fails
//! before it reaches [`Ota::guard`] has to be prevented by calling it first
//! thing in `main`, and by a watchdog that is armed before what follows.
//!
//! # Errors of other systems and their counterparts here
//!
//! | ESP-IDF, NodeMCU                          | here                             |
//! |-------------------------------------------|----------------------------------|
//! | no OTA partition available                | [`LayoutError::TooFewSlots`]     |
//! | ota data partition invalid                | [`LayoutError::NoOtadata`]       |
//! | out of memory                             | nothing is allocated             |
//! | cannot overwrite running firmware         | impossible: `begin` picks the slot |
//! | cannot upgrade from unconfirmed firmware  | [`OtaError::Unconfirmed`]        |
//! | call commence first, none in progress     | impossible: `write` needs a [`SlotWriter`] |
//! | not a valid OTA image                     | [`OtaError::Image`]              |
//! | empty firmware image                      | [`OtaError::Empty`]              |
//! | validation failed                         | [`OtaError::Image`], [`OtaError::Digest`], [`OtaError::ReadBack`] |
//! | lower secure version                      | [`OtaError::SecureVersion`]      |
//! | no other firmware to roll back to         | [`OtaError::NothingToGoBackTo`]  |
//!
//! [`Verified::activate`]: crate::Verified::activate

use crate::{
    image::{AppDescriptor, Checked, HEAD_LEN, Head, ImageCheck, ImageError},
    layout::{Layout, LayoutError, PARTITION_TABLE_OFFSET, Region, Slot},
    otadata::{Boot, Change, Label, OtaData, Record, SECTOR, Stage, State, sector_offset},
    slot::{Expected, SlotWriter, slot_digest},
};
use core::fmt;
use embedded_storage::nor_flash::{NorFlash, ReadNorFlash};
use towline_descriptor::{Chip, Sha256, Version};

/// Bytes that are read from flash at a time.
const PIECE: usize = 512;

/// How many trials of a release may be cut short by a loss of power before it
/// counts as bad.
pub const MOST_INTERRUPTIONS: u8 = 3;

/// The slots of a device that is running.
#[derive(Debug)]
pub struct Ota<F> {
    pub(crate) flash: F,
    pub(crate) layout: Layout,
    running: Slot,
    app: AppDescriptor,
    chip: Chip,
    secure_version: u32,
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

/// Why an operation on slots failed. What runs stays bootable in every case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtaError<E> {
    /// Erasing, programming or reading flash failed.
    Flash(E),
    /// What runs is on trial: accept or roll back first.
    Unconfirmed,
    /// The bytes are not a sound image.
    Image(ImageError),
    /// There are no bytes.
    Empty,
    /// The image is of another project.
    OtherProject,
    /// The image is for another chip.
    OtherChip,
    /// The version of the image is not the expected one.
    OtherVersion,
    /// The image is barred by anti-rollback.
    SecureVersion,
    /// There are more or fewer bytes than expected.
    Size,
    /// The image is larger than the slot.
    TooLarge,
    /// The SHA-256 is not the expected one.
    Digest,
    /// Flash does not hold what was written to it.
    ReadBack,
    /// No other partition holds a sound image that was not rejected.
    NothingToGoBackTo,
    /// The sequence numbers of otadata are used up.
    SequenceUsedUp,
}

/// Why the chip started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// Power came, or came back: power-on and brown-out.
    Power,
    /// Anything else: a watchdog, a panic, the application's own wish.
    Other,
}

/// What the boot guard found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "an image on trial has to be accepted, and a rolled back one reset"]
pub enum Guard {
    /// What runs was accepted, or came by another way than an update.
    Settled,
    /// What runs boots for the first time. Test it, then call
    /// [`Ota::accept`] or [`Ota::rollback`] in good time.
    Trial,
    /// What runs was not accepted in its first boot. Boot selection is back on
    /// this slot: reset now.
    RolledBack {
        /// What boots next.
        to: Slot,
    },
    /// What runs was not accepted in its first boot, but there is nothing to
    /// go back to. Carry on as on trial.
    Stranded,
    /// The image that was selected did not boot, so that the bootloader came
    /// back here. It is rejected.
    DidNotBoot {
        /// Where that image is.
        slot: Slot,
    },
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

/// What boot selection says of the image that runs.
enum Standing {
    Settled,
    /// First boot, nobody took note yet.
    New,
    /// On trial; the bootloader took note.
    Pending,
    /// Booted once more without having been accepted.
    NotAccepted,
    /// The image in this other slot was to boot for the first time.
    FellBack(usize),
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
        Ok(Self { flash, layout, running: slot, app, chip, secure_version })
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

    /// Watches over the first boot of an update. It has to be called once a
    /// boot, first thing in `main`.
    ///
    /// An image that was not accepted in its first boot is rolled back. If it
    /// was a loss of power that ended its trial, it may be tried again, up to
    /// [`MOST_INTERRUPTIONS`] times.
    ///
    /// # Errors
    /// [`OtaError::Flash`] and [`OtaError::SequenceUsedUp`]: nothing is known
    /// then; carry on as on trial.
    pub fn guard(&mut self, reset: Reset) -> Result<Guard, OtaError<F::Error>> {
        let otadata = self.otadata()?;
        match self.standing(&otadata) {
            Standing::Settled => {
                self.settle_verdict(&otadata, reset)?;
                Ok(Guard::Settled)
            }
            Standing::Pending => Ok(Guard::Trial),
            Standing::New => {
                let label = Label::new(Stage::Guarded, self.previous(&otadata));
                let label = label.interrupted(self.interruptions(&otadata));
                self.write(self.select(&otadata, State::PendingVerify)?.labelled(label))?;
                Ok(Guard::Trial)
            }
            Standing::NotAccepted => match self.other_sound_image()? {
                Some(to) => {
                    let label = verdict(self.interruptions(&otadata), reset);
                    self.return_to(to, State::Aborted, label)?;
                    Ok(Guard::RolledBack { to })
                }
                None => Ok(Guard::Stranded),
            },
            Standing::FellBack(slot) => {
                self.reselect_running()?;
                self.note(slot, State::Aborted, Label::new(Stage::Rejected, None))?;
                Ok(Guard::DidNotBoot { slot: Slot::Ota(slot) })
            }
        }
    }

    /// Accepts what runs: it is bootable for good. Nothing happens if it was
    /// accepted before.
    ///
    /// # Errors
    /// [`OtaError::Flash`] and [`OtaError::SequenceUsedUp`]; what runs stays on
    /// trial then.
    pub fn accept(&mut self) -> Result<(), OtaError<F::Error>> {
        let otadata = self.otadata()?;
        let Slot::Ota(running) = self.running else { return Ok(()) };
        if let Standing::Settled | Standing::FellBack(_) = self.standing(&otadata) {
            return Ok(());
        }
        let previous = self.previous(&otadata);
        let label = Label::new(Stage::Accepted, previous);
        self.write(self.select(&otadata, State::Valid)?.labelled(label))?;
        // The other record goes back to its use: the image to fall back to.
        match previous {
            Some(Slot::Ota(slot)) => {
                self.note(slot, State::Valid, Label::new(Stage::Accepted, None))
            }
            _ => self.note(running, State::Valid, label),
        }
    }

    /// Rejects what runs and selects what ran before, or else another sound
    /// image. The rejected release is remembered and not offered again. The
    /// caller resets the device.
    ///
    /// # Errors
    /// [`OtaError::NothingToGoBackTo`] if no other slot holds a sound image
    /// that was not itself rejected; [`OtaError::Flash`],
    /// [`OtaError::SequenceUsedUp`].
    pub fn rollback(&mut self) -> Result<Slot, OtaError<F::Error>> {
        let verdict = if self.is_on_trial()? { State::Aborted } else { State::Invalid };
        let to = self.other_sound_image()?.ok_or(OtaError::NothingToGoBackTo)?;
        self.return_to(to, verdict, Label::new(Stage::Rejected, None))?;
        Ok(to)
    }

    /// Makes boot selection blank, so that the factory app boots next, or
    /// `ota_0` where there is none. The caller resets the device.
    ///
    /// # Errors
    /// [`OtaError::Flash`].
    pub fn factory_reset(&mut self) -> Result<(), OtaError<F::Error>> {
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

    /// Returns whether what runs still has to be accepted.
    ///
    /// # Errors
    /// [`OtaError::Flash`].
    pub fn is_on_trial(&mut self) -> Result<bool, OtaError<F::Error>> {
        let otadata = self.otadata()?;
        Ok(!matches!(self.standing(&otadata), Standing::Settled | Standing::FellBack(_)))
    }

    /// Returns the version of the newest image that was rolled back, or did not
    /// boot, as far as its slot still holds it.
    ///
    /// # Errors
    /// [`OtaError::Flash`].
    pub fn rolled_back(&mut self) -> Result<Option<Version>, OtaError<F::Error>> {
        let otadata = self.otadata()?;
        for slot in (0..self.layout.slots().len()).filter(|slot| Slot::Ota(*slot) != self.running) {
            if self.is_rejected(&otadata, slot) {
                let region = self.layout.slots()[slot];
                let head = read_head(&mut self.flash, region.offset).map_err(OtaError::Flash)?;
                return Ok(head.ok().and_then(|head| head.app.version.as_str().parse().ok()));
            }
        }
        Ok(None)
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
    /// [`OtaError::Unconfirmed`] while what runs is on trial and there is
    /// something to go back to, [`OtaError::TooLarge`], [`OtaError::Flash`].
    pub fn begin(&mut self, expected: Expected) -> Result<SlotWriter<'_, F>, OtaError<F::Error>> {
        if self.is_on_trial()? && self.other_sound_image()?.is_some() {
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
            Slot::Factory => self.factory_reset(),
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

    /// Settles what is to be thought of an image in another slot that was on
    /// trial: a bootloader with rollback gives no reason for its verdict, and a
    /// cut may have come between the way back and ours.
    fn settle_verdict(
        &mut self,
        otadata: &OtaData,
        reset: Reset,
    ) -> Result<(), OtaError<F::Error>> {
        let count = self.layout.slots().len();
        let was_on_trial = |record: &&Record| {
            matches!(record.state, State::PendingVerify | State::Aborted)
                && matches!(record.label.stage(), Some(Stage::Activated | Stage::Guarded))
                && record.has_right_crc()
                && Slot::Ota(record.slot(count)) != self.running
        };
        let Some(record) = otadata.records.iter().find(was_on_trial) else { return Ok(()) };
        let label = verdict(record.label.interruptions(), reset);
        if let (None, Slot::Ota(_)) = (otadata.active(), self.running) {
            let accepted = Label::new(Stage::Accepted, None);
            self.write(self.select(otadata, State::Valid)?.labelled(accepted))?;
            return self.note(record.slot(count), State::Aborted, label);
        }
        let sector = usize::from(*record == otadata.records[1]);
        let record = Record::new(record.seq, State::Aborted).labelled(label);
        self.write(Change { sector, record })
    }

    /// Returns how many trials of what runs were cut short.
    fn interruptions(&self, otadata: &OtaData) -> u8 {
        self.record_of(otadata, self.running).map_or(0, |record| record.label.interruptions())
    }

    fn standing(&self, otadata: &OtaData) -> Standing {
        let Slot::Ota(running) = self.running else {
            return self.standing_of_fallback(otadata);
        };
        let Some(active) = otadata.active() else {
            return if self.is_rejected(otadata, running) {
                Standing::NotAccepted
            } else {
                Standing::Settled
            };
        };
        let record = &otadata.records[active];
        if record.slot(self.layout.slots().len()) != running {
            return self.standing_of_fallback(otadata);
        }
        // A newer record of it that was rejected, while an older one decides.
        let rejected = |newest: Record| {
            matches!(newest.state, State::Invalid | State::Aborted)
                && newest.label.stage() != Some(Stage::Accepted)
        };
        if self.record_of(otadata, self.running).is_some_and(rejected) {
            return Standing::NotAccepted;
        }
        match (record.state, record.label.stage()) {
            (State::New, _) => Standing::New,
            (State::PendingVerify, Some(Stage::Guarded)) => Standing::NotAccepted,
            (State::PendingVerify, _) => Standing::Pending,
            // The state was lost: see `otadata`.
            (_, Some(Stage::Activated | Stage::Guarded)) => Standing::New,
            (_, Some(Stage::Rejected | Stage::Interrupted)) => Standing::NotAccepted,
            _ => Standing::Settled,
        }
    }

    /// Returns the standing of an image that boots although another is
    /// selected.
    fn standing_of_fallback(&self, otadata: &OtaData) -> Standing {
        match otadata.boot(self.layout.slots().len()) {
            Boot::Slot { slot, sector, .. } if Slot::Ota(slot) != self.running => {
                match otadata.records[sector].label.stage() {
                    Some(Stage::Activated | Stage::Guarded) => Standing::FellBack(slot),
                    _ => Standing::Settled,
                }
            }
            _ => Standing::Settled,
        }
    }

    /// Returns the slot that ran before what runs.
    fn previous(&self, otadata: &OtaData) -> Option<Slot> {
        let active = otadata.active()?;
        let other = &otadata.records[1 - active];
        let labelled = otadata.records[active].label.previous();
        let recorded = other.is_valid().then(|| Slot::Ota(other.slot(self.layout.slots().len())));
        [labelled, recorded].into_iter().flatten().find(|slot| *slot != self.running)
    }

    /// Returns whether boot selection tells that the image of a slot was
    /// rejected, or that it was booted and did not accept itself.
    fn is_rejected(&self, otadata: &OtaData, slot: usize) -> bool {
        self.record_of(otadata, Slot::Ota(slot)).is_some_and(|record| {
            let is_running = Slot::Ota(slot) == self.running;
            match (record.state, record.label.stage()) {
                // VALID -> INVALID is one bit, outside the crc: bit rot.
                (State::Invalid | State::Aborted, stage) => {
                    !matches!(stage, Some(Stage::Accepted | Stage::Interrupted))
                }
                (State::PendingVerify, Some(Stage::Guarded)) => !is_running,
                (_, stage) => stage == Some(Stage::Rejected),
            }
        })
    }

    /// Returns the newest record of a slot.
    fn record_of(&self, otadata: &OtaData, slot: Slot) -> Option<Record> {
        let count = self.layout.slots().len();
        let is_meant = |record: &&Record| {
            !record.is_blank() && record.has_right_crc() && Slot::Ota(record.slot(count)) == slot
        };
        otadata.records.iter().filter(is_meant).max_by_key(|record| record.seq).copied()
    }

    /// Returns a slot other than the running one whose image is sound and was
    /// not rejected: the one that ran before, if it can be.
    fn other_sound_image(&mut self) -> Result<Option<Slot>, OtaError<F::Error>> {
        let otadata = self.otadata()?;
        let rest = self.layout.partitions().filter(|slot| *slot != self.running);
        // Upwards from the running slot is back in time, the factory app last.
        let mut candidates: heapless::Vec<Slot, { crate::layout::MAX_SLOTS + 1 }> = rest.collect();
        let first = self.previous(&otadata);
        let count = self.layout.slots().len();
        candidates.sort_unstable_by_key(|slot| match (*slot, self.running) {
            (slot, _) if Some(slot) == first => 0,
            (Slot::Factory, _) => count + 1,
            (Slot::Ota(slot), Slot::Ota(running)) => 1 + (running + count - slot - 1) % count,
            (Slot::Ota(slot), Slot::Factory) => 1 + slot,
        });
        for slot in candidates {
            if let Slot::Ota(index) = slot
                && self.is_rejected(&otadata, index)
            {
                continue;
            }
            let Some(region) = self.layout.region(slot) else { continue };
            if check_slot(&mut self.flash, region).map_err(OtaError::Flash)?.is_ok() {
                return Ok(Some(slot));
            }
        }
        Ok(None)
    }

    /// Selects `to`, and notes the verdict on what runs.
    fn return_to(
        &mut self,
        to: Slot,
        verdict: State,
        label: Label,
    ) -> Result<(), OtaError<F::Error>> {
        let count = self.layout.slots().len();
        let otadata = self.otadata()?;
        if let Slot::Ota(to) = to {
            let change = otadata.select(to, count, State::Valid).ok_or(OtaError::SequenceUsedUp)?;
            self.write(change.labelled(Label::new(Stage::Accepted, None)))?;
            return match self.running {
                Slot::Ota(running) => self.note(running, verdict, label),
                Slot::Factory => Ok(()),
            };
        }
        // The factory app boots where no record decides: the one that does is
        // rewritten, after the other was erased. Until then its label keeps
        // what runs on trial.
        self.erase_record(otadata.free_sector())?;
        let Some(active) = otadata.active() else { return Ok(()) };
        let record = Record::new(otadata.records[active].seq, verdict).labelled(label);
        self.write(Change { sector: active, record })
    }

    /// Returns the change that selects what runs.
    fn select(&self, otadata: &OtaData, state: State) -> Result<Change, OtaError<F::Error>> {
        let Slot::Ota(running) = self.running else { return Err(OtaError::SequenceUsedUp) };
        let count = self.layout.slots().len();
        otadata.select(running, count, state).ok_or(OtaError::SequenceUsedUp)
    }

    /// Notes something of a slot in the record that does not decide, if there
    /// is a sequence number for it.
    fn note(&mut self, slot: usize, state: State, label: Label) -> Result<(), OtaError<F::Error>> {
        let count = self.layout.slots().len();
        match self.otadata()?.note(slot, count, state) {
            Some(change) => self.write(change.labelled(label)),
            None => Ok(()),
        }
    }

    fn write(&mut self, change: Change) -> Result<(), OtaError<F::Error>> {
        change.write(&mut self.flash, self.layout.otadata).map_err(OtaError::Flash)
    }

    fn erase_record(&mut self, sector: usize) -> Result<(), OtaError<F::Error>> {
        let start = sector_offset(self.layout.otadata, sector);
        self.flash.erase(start, start + SECTOR).map_err(OtaError::Flash)
    }
}

/// Returns the verdict on an image that did not accept itself in its first
/// boot, of which that many trials were cut short before.
fn verdict(interruptions: u8, reset: Reset) -> Label {
    match reset {
        Reset::Power if interruptions < MOST_INTERRUPTIONS => {
            Label::new(Stage::Interrupted, None).interrupted(interruptions + 1)
        }
        _ => Label::new(Stage::Rejected, None),
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

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settled => f.write_str("accepted"),
            Self::Trial => f.write_str("first boot, on trial"),
            Self::RolledBack { to } => write!(f, "not accepted in its first boot; back to {to}"),
            Self::Stranded => f.write_str("not accepted, but there is nothing to go back to"),
            Self::DidNotBoot { slot } => write!(f, "the image in {slot} did not boot"),
        }
    }
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

impl<E: fmt::Debug> fmt::Display for OtaError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flash(error) => return write!(f, "flash failed: {error:?}"),
            Self::Image(error) => return error.fmt(f),
            Self::Unconfirmed => "what runs is on trial: accept it or roll back first",
            Self::Empty => "the image is empty",
            Self::OtherProject => "the image is of another project",
            Self::OtherChip => "the image is for another chip",
            Self::OtherVersion => "the version of the image is not the offered one",
            Self::SecureVersion => "the image is barred by anti-rollback",
            Self::Size => "the image has not the offered size",
            Self::TooLarge => "the image is larger than the slot",
            Self::Digest => "the SHA-256 of the image is not the offered one",
            Self::ReadBack => "flash does not hold what was written",
            Self::NothingToGoBackTo => "no other slot holds a sound image to go back to",
            Self::SequenceUsedUp => "the sequence numbers of otadata are used up",
        })
    }
}

impl<E: fmt::Debug> core::error::Error for OtaError<E> {}
