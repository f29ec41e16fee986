//! The boot guard: the first boot of an update is a trial.
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
//! [`Ota::begin`]: crate::Ota::begin
//! [`Verified::activate`]: crate::Verified::activate

use crate::{
    error::OtaError,
    layout::Slot,
    ota::{Ota, check_slot, read_head},
    otadata::{Boot, Change, Label, OtaData, Record, Stage, State},
    slot::slot_digest,
};
use core::fmt;
use embedded_storage::nor_flash::NorFlash;
use towline_descriptor::{Sha256, Version};

/// How many trials of a release may be cut short by a loss of power before it
/// counts as bad.
pub const MOST_INTERRUPTIONS: u8 = 3;

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
            Standing::FellBack(slot) => self.reject_unbootable(slot),
        }
    }

    /// Rejects the image in `slot`, which is selected and did not boot.
    fn reject_unbootable(&mut self, slot: usize) -> Result<Guard, OtaError<F::Error>> {
        let rejected = Label::new(Stage::Rejected, None);
        let otadata = self.otadata()?;
        let failed = self.record_of(&otadata, Slot::Ota(slot));
        if self.running != Slot::Factory {
            self.reselect_running()?;
            self.note(slot, State::Aborted, rejected)?;
            return Ok(Guard::DidNotBoot { slot: Slot::Ota(slot) });
        }
        // The bootloader passes over slots above on its way to the factory app.
        if let Some(to @ Slot::Ota(previous)) = failed.and_then(|record| record.label.previous())
            && let Some(region) = self.layout.region(to)
            && !self.is_rejected(&otadata, previous)
            && check_slot(&mut self.flash, region).map_err(OtaError::Flash)?.is_ok()
        {
            let count = self.layout.slots().len();
            let change = otadata.select(previous, count, State::Valid);
            let change = change.ok_or(OtaError::SequenceUsedUp)?;
            self.write(change.labelled(Label::new(Stage::Accepted, None)))?;
            self.note(slot, State::Aborted, rejected)?;
            return Ok(Guard::RolledBack { to });
        }
        self.return_to(Slot::Factory, State::Aborted, rejected)?;
        Ok(Guard::DidNotBoot { slot: Slot::Ota(slot) })
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

    /// Returns whether what runs still has to be accepted.
    ///
    /// # Errors
    /// [`OtaError::Flash`].
    pub fn is_on_trial(&mut self) -> Result<bool, OtaError<F::Error>> {
        let otadata = self.otadata()?;
        Ok(!matches!(self.standing(&otadata), Standing::Settled | Standing::FellBack(_)))
    }

    /// Returns whether this image was rolled back, or did not boot, and a slot
    /// still holds it.
    pub(crate) fn was_rolled_back(
        &mut self,
        size: u32,
        sha256: &Sha256,
    ) -> Result<bool, OtaError<F::Error>> {
        let otadata = self.otadata()?;
        for slot in (0..self.layout.slots().len()).filter(|slot| Slot::Ota(*slot) != self.running) {
            let region = self.layout.slots()[slot];
            if size <= region.size && self.is_rejected(&otadata, slot) {
                let held = slot_digest(&mut self.flash, region, size).map_err(OtaError::Flash)?;
                if held == *sha256 {
                    return Ok(true);
                }
            }
        }
        Ok(false)
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
        let recorded =
            is_accepted(*other).then(|| Slot::Ota(other.slot(self.layout.slots().len())));
        [labelled, recorded].into_iter().flatten().find(|slot| *slot != self.running)
    }

    /// Returns whether boot selection tells that the image of a slot was
    /// rejected, or that it was booted and did not accept itself.
    pub(crate) fn is_rejected(&self, otadata: &OtaData, slot: usize) -> bool {
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

    /// Returns a slot other than the running one whose image is sound and was
    /// not rejected: the one that ran before, if it can be.
    fn other_sound_image(&mut self) -> Result<Option<Slot>, OtaError<F::Error>> {
        let otadata = self.otadata()?;
        let count = self.layout.slots().len();
        let first = self.previous(&otadata);
        // Slots are used in turn: downwards is back in time.
        let start = match self.running {
            Slot::Ota(running) => running,
            Slot::Factory => count,
        };
        let slots = (1..=count).map(|step| Slot::Ota((start + count - step) % count));
        let rest = slots.chain([Slot::Factory]).filter(|slot| Some(*slot) != first);
        for slot in first.into_iter().chain(rest).filter(|slot| *slot != self.running) {
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

    /// Returns whether the image of a slot ran before and was accepted. What
    /// was downloaded and never activated is sound, but nobody tried it.
    fn has_proved_itself(&self, otadata: &OtaData, slot: Slot) -> bool {
        let ran_before = self.record_of(otadata, self.running).is_some_and(|record| {
            // While what runs is on trial, no other slot is written.
            let on_trial = matches!(record.label.stage(), Some(Stage::Activated | Stage::Guarded));
            on_trial && record.label.previous() == Some(slot)
        });
        ran_before || self.record_of(otadata, slot).is_some_and(is_accepted)
    }

    /// Selects `to`, on trial unless it proved itself before, and notes the
    /// verdict on what runs.
    fn return_to(
        &mut self,
        to: Slot,
        verdict: State,
        label: Label,
    ) -> Result<(), OtaError<F::Error>> {
        let count = self.layout.slots().len();
        let otadata = self.otadata()?;
        if let Slot::Ota(index) = to {
            let (state, stage) = match self.has_proved_itself(&otadata, to) {
                true => (State::Valid, Stage::Accepted),
                false => (State::New, Stage::Activated),
            };
            let change = otadata.select(index, count, state).ok_or(OtaError::SequenceUsedUp)?;
            self.write(change.labelled(Label::new(stage, None)))?;
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
}

/// Returns whether a record stands for an image that was accepted, by this
/// crate or another program.
fn is_accepted(record: Record) -> bool {
    record.is_valid()
        && matches!(record.state, State::Valid | State::Undefined)
        && matches!(record.label.stage(), None | Some(Stage::Accepted))
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
