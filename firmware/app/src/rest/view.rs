//! How things look as JSON.

use super::{Activity, Name, Offered, Progress};
use crate::slots::Contents;
use serde::{
    Serialize, Serializer,
    ser::{SerializeSeq, SerializeStruct},
};
use towline::{Reason, Slot, SlotInfo, otadata::State};

/// The JSON form of what it borrows.
pub(super) struct View<'a, T: ?Sized>(pub(super) &'a T);

/// Returns the name of a state, as the field's update modules call it.
pub(super) const fn state_name(state: State) -> &'static str {
    match state {
        State::New => "new",
        State::PendingVerify => "testing",
        State::Valid => "valid",
        State::Invalid => "invalid",
        State::Aborted => "aborted",
        State::Undefined | State::Other(_) => "undefined",
    }
}

/// What a channel offers, beside what runs.
pub(super) struct Offer<'a> {
    pub(super) offered: &'a Offered,
    pub(super) current: &'a str,
}

impl Serialize for Offer<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut offer = serializer.serialize_struct("Offer", 3)?;
        offer.serialize_field("available", self.offered.version.as_str())?;
        offer.serialize_field("current", self.current)?;
        offer.serialize_field("reason", &self.offered.reason.as_ref().map(View))?;
        offer.end()
    }
}

impl Serialize for View<'_, Reason> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self.0)
    }
}

impl Serialize for View<'_, [Name]> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut names = serializer.serialize_seq(Some(self.0.len()))?;
        self.0.iter().try_for_each(|name| names.serialize_element(name.as_str()))?;
        names.end()
    }
}

impl Serialize for View<'_, Progress> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Progress { activity, received, size } = self.0;
        let activity = match activity {
            Activity::Idle => "idle",
            Activity::Checking => "check",
            Activity::Updating => "update",
            Activity::Uploading => "upload",
            Activity::Switching => "change",
            Activity::Restarting => "restart",
        };
        let mut progress = serializer.serialize_struct("Progress", 3)?;
        progress.serialize_field("activity", activity)?;
        progress.serialize_field("received", received)?;
        progress.serialize_field("size", size)?;
        progress.end()
    }
}

impl Serialize for View<'_, Slot> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self.0)
    }
}

impl Serialize for View<'_, [SlotInfo]> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut slots = serializer.serialize_seq(Some(self.0.len()))?;
        self.0.iter().try_for_each(|slot| slots.serialize_element(&View(slot)))?;
        slots.end()
    }
}

impl Serialize for View<'_, SlotInfo> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let SlotInfo { slot: partition, state, app, .. } = self.0;
        let mut slot = serializer.serialize_struct("Slot", 8)?;
        slot.serialize_field("partition", &View(partition))?;
        slot.serialize_field("state", state_name(*state))?;
        if let Ok(app) = app {
            slot.serialize_field("project", app.project_name.as_str())?;
            slot.serialize_field("version", app.version.as_str())?;
            slot.serialize_field("date", app.date.as_str())?;
            slot.serialize_field("time", app.time.as_str())?;
            slot.serialize_field("secure_version", &app.secure_version)?;
            slot.serialize_field("idf_version", app.idf_version.as_str())?;
        }
        slot.end()
    }
}

impl Serialize for View<'_, Contents> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Contents { running, next_boot, slots } = self.0;
        let mut info = serializer.serialize_struct("Info", 3)?;
        info.serialize_field("running", &View(running))?;
        info.serialize_field("next_boot", &View(next_boot))?;
        info.serialize_field("slots", &View(&**slots))?;
        info.end()
    }
}
