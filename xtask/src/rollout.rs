//! A rollout on paper: who gets what when, before anything is published.
//!
//! ```text
//! stages -> rendering -> descriptors -+
//!                                     +-> towline::decide, at each poll of each device -> Course
//! fleet  -> device: id, zone, phase --+                                                  chart, svg
//! ```
//!
//! Nothing is modelled that the real code decides: places, windows, dates and
//! steps are those of the device. What is made up is the fleet: when devices
//! ask, where they are, and when their users agree. The same seed gives the
//! same course.

mod chance;
mod chart;
mod device;
mod fleet;
pub(crate) mod svg;

pub use chart::{chart, headline};
pub use fleet::{Change, Duration, Fleet, InvalidDuration, InvalidRun, InvalidStage, Run, Stage};
pub use svg::svg;

pub(crate) use chance::{Born, Chance};

use crate::{
    channel::{Channels, Terms},
    config::Config,
    name::{ChannelName, TargetName},
    patch::cache::Patches,
    release::{Record, TargetRecord},
    site::{Form, Offer, SiteError, plain},
};
use rayon::prelude::*;
use serde::Serialize;
use towline::{Reason, Running};
use towline_descriptor::{Chip, Descriptor, Document, DocumentError, Rollout, Version};

/// Points of time at which the fleet is counted, beside the start.
const TICKS: usize = 240;

/// What devices read from a point of time on.
#[derive(Clone, Debug)]
pub struct Phase {
    /// When it begins, in seconds from the start.
    pub at: u64,
    /// How far the release is rolled out.
    pub rollout: Rollout,
    document: Vec<u8>,
}

impl Phase {
    /// Takes a descriptor as it is published.
    ///
    /// # Errors
    /// If devices would not read it. Its signatures are not verified.
    pub fn of(document: Vec<u8>) -> Result<Self, DocumentError> {
        let rollout = read(&mut document.clone())?.rollout;
        Ok(Self { at: 0, rollout, document })
    }
}

/// Renders the descriptor of each stage, with those of these patches that lead to it. The channel's own rollout holds until
/// the first.
///
/// # Errors
/// [`SiteError::TooLong`]. `None` if the channel serves nothing to the target.
pub fn phases(
    config: &Config,
    channels: &Channels,
    releases: &[Record],
    channel: &ChannelName,
    target: &TargetName,
    stages: &[Stage],
    patches: &Patches,
) -> Result<Option<Vec<Phase>>, SiteError> {
    let terms = channels.terms(channel);
    let mut points = vec![(0, terms.rollout)];
    let mut sorted = stages.to_vec();
    sorted.sort_by_key(|stage| stage.at);
    for stage in &sorted {
        let rollout = stage.change.after(points[points.len() - 1].1);
        // Two at once: the later of them counts.
        points.retain(|(at, _)| *at != stage.at.seconds());
        points.push((stage.at.seconds(), rollout));
    }
    let mut phases = Vec::new();
    for (at, rollout) in points {
        let staged = Terms { rollout, policy: terms.policy.clone() };
        let channels = channels.clone().on_terms(channel, staged);
        let offer = Offer::of(config, &channels, releases, channel, target, patches);
        let Some(offer) = offer else { return Ok(None) };
        phases.push(Phase { at, rollout, document: plain(&offer.make(Form::Plain)?) });
    }
    Ok(Some(phases))
}

/// What all devices of a fleet have in common.
#[derive(Clone, Debug)]
pub struct Board<'a> {
    /// The project.
    pub project: &'a str,
    /// The channel that they follow.
    pub channel: &'a ChannelName,
    /// Their target.
    pub target: &'a TargetName,
    /// Their chip.
    pub chip: Chip,
    /// Bytes of the slot that an update goes to.
    pub slot_size: u32,
}

impl<'a> Board<'a> {
    /// Takes the board that a release is for.
    pub fn of(
        project: &'a str,
        channel: &'a ChannelName,
        target: &'a TargetName,
        record: &Record,
    ) -> Self {
        let TargetRecord { chip, slot_size, .. } = &record.targets[target];
        let slot_size = slot_size.unwrap_or(u32::MAX);
        Self { project, channel, target, chip: *chip, slot_size }
    }

    /// Returns what a device with this id knows of itself.
    pub(crate) fn running(
        &self,
        version: Version,
        id: &'a [u8; 8],
        utc_offset: i16,
        groups: &'a [&'a str],
    ) -> Running<'a> {
        Running {
            project: self.project,
            version: Some(version),
            chip: self.chip,
            target: Some(self.target.as_str()),
            channel: Some(self.channel.as_str()),
            // As long as a MAC address.
            id: &id[..6],
            groups,
            now: None,
            utc_offset,
            by_user: false,
            switched: false,
            secure_version: 0,
            slot_size: self.slot_size,
        }
    }
}

/// Why a device does not run the offered release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// It is switched off.
    Off,
    /// It has not asked yet.
    Unasked,
    /// It has installed a release on the way.
    OnTheWay,
    /// It downloads a release.
    Loading,
    /// Its last download was broken off.
    BrokenOff,
    /// Its host did not answer, or refused.
    NoAnswer,
    /// Its last poll ended so.
    Told(Reason),
}

impl Wait {
    /// Returns it in a few words.
    pub fn label(self) -> String {
        match self {
            Self::Off => "switched off".into(),
            Self::Unasked => "has not asked yet".into(),
            Self::OnTheWay => "on the way up".into(),
            Self::Loading => "downloads it".into(),
            Self::BrokenOff => "its download was broken off".into(),
            Self::NoAnswer => "no answer of the host".into(),
            Self::Told(Reason::NotInRollout) => "not in the rollout yet".into(),
            Self::Told(Reason::Paused) => "rollout paused".into(),
            Self::Told(Reason::OutsideWindow) => "asked outside the window".into(),
            Self::Told(Reason::NeedsApproval) => "waits for its user to agree".into(),
            Self::Told(Reason::NotYet) => "not valid yet".into(),
            Self::Told(Reason::Ended) => "not valid any more".into(),
            Self::Told(Reason::NotForThisDevice) => "for other devices or groups".into(),
            Self::Told(Reason::TooOld) => "too old, and no way up".into(),
            Self::Told(Reason::Downgrade) => "runs a newer version".into(),
            Self::Told(Reason::RolledBack) => "went back from it".into(),
            Self::Told(reason) => reason.to_string(),
        }
    }

    /// Returns where it comes in a list.
    fn order(self) -> usize {
        match self {
            Self::OnTheWay => 0,
            Self::Loading => 1,
            Self::BrokenOff => 2,
            Self::NoAnswer => 3,
            Self::Told(Reason::OutsideWindow) => 4,
            Self::Told(Reason::NeedsApproval) => 5,
            Self::Told(Reason::NotInRollout) => 6,
            Self::Told(Reason::Paused) => 7,
            Self::Told(Reason::NotYet) => 8,
            Self::Told(Reason::Ended) => 9,
            Self::Told(Reason::NotForThisDevice) => 10,
            Self::Told(Reason::TooOld) => 11,
            Self::Told(Reason::Downgrade) => 12,
            Self::Told(_) => 13,
            Self::Unasked => 14,
            Self::Off => 15,
        }
    }
}

/// How a rollout went.
#[derive(Clone, Debug)]
pub struct Course {
    /// How many devices there are.
    pub devices: u32,
    /// The release that is offered.
    pub goal: Version,
    /// Seconds from the start of each count.
    pub times: Vec<u64>,
    /// How many devices run each version at each of these times: the goal, then
    /// the others from the newest to the oldest.
    pub versions: Vec<(Version, Vec<u32>)>,
    /// How many devices wait, and why.
    pub waits: Vec<(Wait, Vec<u32>)>,
}

impl Course {
    /// Returns how many devices run the goal at each time.
    pub fn done(&self) -> &[u32] {
        &self.versions[0].1
    }

    /// Returns the seconds after which this part of all devices runs the goal.
    pub fn reached(&self, percent: u32) -> Option<u64> {
        let needed = u64::from(self.devices) * u64::from(percent);
        let tick = self.done().iter().position(|done| u64::from(*done) * 100 >= needed)?;
        Some(self.times[tick])
    }
}

/// Lets a fleet poll through these phases, the first of which begins at 0.
///
/// # Panics
/// If a descriptor is not one that devices read.
pub fn simulate(fleet: &Fleet, board: &Board<'_>, phases: &[Phase]) -> Course {
    let mut documents = documents(phases);
    let offers = offers(phases, &mut documents);
    let versions = versions(fleet, &offers[0].1);
    let times = times(fleet);
    let tally = (0..fleet.devices)
        .into_par_iter()
        .fold(
            || Tally::new(versions.len(), times.len()),
            |mut tally, index| {
                device::live(fleet, board, &offers, &versions, index, |at, version, wait| {
                    tally.count(times.partition_point(|time| *time < at), version, wait);
                });
                tally
            },
        )
        .reduce(|| Tally::new(versions.len(), times.len()), Tally::merge);
    tally.course(fleet, versions, times)
}

/// Returns what devices read in each phase, for [`offers`] to be read in.
pub(crate) fn documents(phases: &[Phase]) -> Vec<Vec<u8>> {
    phases.iter().map(|phase| phase.document.clone()).collect()
}

/// Returns the descriptor of each phase, and the second at which it begins.
///
/// # Panics
/// If a descriptor is not one that devices read.
pub(crate) fn offers<'d>(
    phases: &[Phase],
    documents: &'d mut [Vec<u8>],
) -> Vec<(u64, Descriptor<'d>)> {
    let read = |document| read(document).expect("what is rendered can be read");
    let offers = phases.iter().zip(documents);
    offers.map(|(phase, document)| (phase.at, read(document.as_mut_slice()))).collect()
}

/// Reads a descriptor; what was signed counts.
fn read(document: &mut [u8]) -> Result<Descriptor<'_>, DocumentError> {
    match Document::parse(document)? {
        Document::Plain(descriptor) => Ok(descriptor),
        Document::Signed(signed) => signed.read(),
    }
}

/// Returns the versions that devices run: the offered one, then the others from
/// the newest to the oldest.
pub(crate) fn versions(fleet: &Fleet, goal: &Descriptor<'_>) -> Vec<Version> {
    let mut versions = vec![goal.version.clone()];
    let steps = goal.steps.iter().map(|step| &step.version);
    for version in steps.chain(fleet.runs.iter().map(|run| &run.version)) {
        if !versions.contains(version) {
            versions.push(version.clone());
        }
    }
    versions[1..].sort_by(|a, b| b.precedence(a));
    versions
}

/// Returns the seconds from the start at which a fleet is counted.
pub(crate) fn times(fleet: &Fleet) -> Vec<u64> {
    (0..=TICKS as u64).map(|tick| tick * fleet.span.seconds() / TICKS as u64).collect()
}

/// Changes from each count to the next.
pub(crate) struct Tally {
    versions: Vec<Vec<i32>>,
    waits: Vec<(Wait, Vec<i32>)>,
    ticks: usize,
}

/// How a device is: the place of its version in the list, and why it waits.
pub(crate) type State = (usize, Option<Wait>);

impl Tally {
    pub(crate) fn new(versions: usize, ticks: usize) -> Self {
        Self { versions: vec![vec![0; ticks]; versions], waits: Vec::new(), ticks }
    }

    /// Counts a device whose state changes at a tick.
    pub(crate) fn count(&mut self, tick: usize, old: Option<State>, new: State) {
        if tick >= self.ticks {
            return;
        }
        for (state, change) in old.map(|state| (state, -1)).into_iter().chain([(new, 1)]) {
            self.versions[state.0][tick] += change;
            if let Some(wait) = state.1 {
                self.changes(wait)[tick] += change;
            }
        }
    }

    fn changes(&mut self, wait: Wait) -> &mut Vec<i32> {
        let known = self.waits.iter().position(|(known, _)| *known == wait);
        let index = known.unwrap_or_else(|| {
            self.waits.push((wait, vec![0; self.ticks]));
            self.waits.len() - 1
        });
        &mut self.waits[index].1
    }

    /// Returns what was counted.
    pub(crate) fn course(self, fleet: &Fleet, versions: Vec<Version>, times: Vec<u64>) -> Course {
        let mut waits: Vec<_> =
            self.waits.into_iter().map(|(wait, changes)| (wait, sums(&changes))).collect();
        waits.sort_by_key(|(wait, _)| wait.order());
        waits.retain(|(_, counts)| counts.iter().any(|count| *count > 0));
        Course {
            devices: fleet.devices,
            goal: versions[0].clone(),
            versions: versions.into_iter().zip(self.versions.iter().map(|c| sums(c))).collect(),
            times,
            waits,
        }
    }

    fn merge(mut self, other: Self) -> Self {
        let add = |to: &mut Vec<i32>, from: &[i32]| {
            to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        };
        for (to, from) in self.versions.iter_mut().zip(&other.versions) {
            add(to, from);
        }
        for (wait, from) in &other.waits {
            add(self.changes(*wait), from);
        }
        self
    }
}

fn sums(changes: &[i32]) -> Vec<u32> {
    let mut sum = 0;
    let add = |change: &i32| {
        sum += change;
        u32::try_from(sum).expect("whoever leaves was counted")
    };
    changes.iter().map(add).collect()
}

/// A course for machines.
#[derive(Serialize)]
pub struct Report<'a> {
    release: &'a Version,
    devices: u32,
    /// Seconds after which half, nine tenths and 99 % of the devices run it.
    reached: [(u32, Option<u64>); 3],
    samples: Vec<Sample<'a>>,
}

#[derive(Serialize)]
struct Sample<'a> {
    /// Seconds from the start.
    at: u64,
    versions: indexmap::IndexMap<&'a str, u32>,
    waiting: indexmap::IndexMap<String, u32>,
}

impl<'a> Report<'a> {
    /// Makes the report of a course.
    pub fn of(course: &'a Course) -> Self {
        let sample = |(tick, at): (usize, &u64)| Sample {
            at: *at,
            versions: course.versions.iter().map(|(v, c)| (v.as_str(), c[tick])).collect(),
            waiting: course.waits.iter().map(|(w, c)| (w.label(), c[tick])).collect(),
        };
        Self {
            release: &course.goal,
            devices: course.devices,
            reached: [50, 90, 99].map(|percent| (percent, course.reached(percent))),
            samples: course.times.iter().enumerate().map(sample).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
