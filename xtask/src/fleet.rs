//! A fleet in virtual time, together with the host that all of it shares.
//!
//! ```text
//! events -> poll -> Host: refused? -> towline::decide -> Host: its share of the bandwidth
//!   ^                      |                |                |
//!   +-- towline::schedule -+----------------+-- broken off --+-- whole: reset, trial, rollback
//! ```
//!
//! [`crate::rollout`] tells who is offered what when. Here the devices also fetch
//! it: from a host that refuses what is too much, over lines that break, with
//! power that fails, and some find that the new firmware is bad. What decides is
//! the code of the device; made up are the fleet, its host and its luck. The same
//! seed gives the same course, to the last byte.

mod device;
mod host;
mod report;
mod site;
mod svg;

pub use report::{Report, table};
pub use site::{Published, published};
pub use svg::svg;

use crate::rollout::{
    Board, Course, Duration, Fleet, Phase, Tally, documents, offers, times, versions,
};
use device::Simulation;
use host::Host;
use std::{fmt, str::FromStr};
use towline_descriptor::{Sha256, Share, Version};

/// What can happen to a fleet and its host.
#[derive(Clone, Debug)]
pub struct World {
    /// The fleet.
    pub fleet: Fleet,
    /// Most requests a second that the host answers; the others get 429.
    pub most_requests: Option<u32>,
    /// Bytes a second that the host sends at most to all devices together.
    pub bandwidth: Option<u64>,
    /// Bytes a second that a device takes at most: its radio, or its flash.
    pub device_rate: u64,
    /// Bytes of memory that devices have for patches; 0 if they know none.
    pub patch_memory: u32,
    /// SHA-256 of the images that devices run, as far as they are known: what
    /// patches start from.
    pub images: Vec<(Version, Sha256)>,
    /// When the host does not answer.
    pub host_down: Vec<Outage>,
    /// When the power fails, of all devices at once.
    pub power_cuts: Vec<Outage>,
    /// Downloads that break off somewhere.
    pub broken: Share,
    /// Devices on which a new release fails its self-test.
    pub bad: Share,
    /// Devices that are switched off for eight hours each day.
    pub daily_off: Share,
}

/// A time during which something does not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    /// When it begins, from the start.
    pub at: Duration,
    /// How long it lasts.
    pub lasts: Duration,
}

/// The text is no outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an outage is when it begins and how long it lasts, such as 6h=30m")]
pub struct InvalidOutage;

impl FromStr for Outage {
    type Err = InvalidOutage;

    fn from_str(text: &str) -> Result<Self, InvalidOutage> {
        let (at, lasts) = text.split_once('=').ok_or(InvalidOutage)?;
        let time = |text: &str| text.parse().map_err(|_| InvalidOutage);
        Ok(Self { at: time(at)?, lasts: time(lasts)? })
    }
}

impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from {} on", self.lasts, self.at)
    }
}

impl Outage {
    /// Returns the millisecond at which it is over, if it is not yet.
    fn until(&self, now: u64) -> Option<u64> {
        let (begin, length) = (self.at.seconds() * 1000, self.lasts.seconds() * 1000);
        (begin..begin + length).contains(&now).then_some(begin + length)
    }
}

/// What a host had to do, and what it was like for the devices.
#[derive(Clone, Debug, Default)]
pub struct Load {
    /// Requests in each second, those that were refused included.
    pub requests: Vec<u32>,
    /// Bytes of images that were sent between two counts of the course.
    pub bytes: Vec<u64>,
    /// Bytes that images would have had that were downloaded as patches, or compressed.
    pub saved: u64,
    /// Bytes of descriptors, and of the heads of all answers.
    pub small_bytes: u64,
    /// Requests that were answered with 429.
    pub refused: u64,
    /// Requests that nobody answered.
    pub unanswered: u64,
    /// Downloads that ended, and those that did before the end of the image.
    pub downloads: u64,
    /// See [`Load::downloads`].
    pub broken_off: u64,
    /// The most downloads at once.
    pub most_at_once: u32,
    /// Devices that went back because the release failed its self-test.
    pub failed_self_test: u32,
    /// Devices that went back from a good release, because they did not reach
    /// their channel while it was on trial.
    pub failed_trial: u32,
}

impl Load {
    /// Returns all bytes of images.
    pub fn image_bytes(&self) -> u64 {
        self.bytes.iter().sum()
    }

    /// Returns all requests.
    pub fn all_requests(&self) -> u64 {
        self.requests.iter().map(|count| u64::from(*count)).sum()
    }

    /// Returns the requests of a second that this part of all seconds has at
    /// most.
    pub fn percentile(&self, part: f64) -> u32 {
        let mut sorted = self.requests.clone();
        sorted.sort_unstable();
        let last = sorted.len().saturating_sub(1);
        sorted.get((last as f64 * part).round() as usize).copied().unwrap_or(0)
    }

    /// Returns the busiest second, and its requests.
    pub fn busiest(&self) -> (usize, u32) {
        let most = self.requests.iter().copied().max().unwrap_or(0);
        (self.requests.iter().position(|count| *count == most).unwrap_or(0), most)
    }
}

/// Lets a fleet live through these phases, the first of which begins at 0.
/// `tell` hears now and then how many seconds have passed.
pub fn simulate(
    world: &World,
    board: &Board<'_>,
    phases: &[Phase],
    tell: impl FnMut(u64),
) -> (Course, Load) {
    let fleet = &world.fleet;
    let mut documents = documents(phases);
    let sizes: Vec<_> = documents.iter().map(|document| document.len() as u64).collect();
    let offers = offers(phases, &mut documents);
    let versions = versions(fleet, &offers[0].1);
    let times = times(fleet);
    let tally = Tally::new(versions.len(), times.len());
    let host = Host::new(world, times.clone());
    let mut simulation = Simulation::new(world, board, &offers, &sizes, &versions, tally, host);
    simulation.run(tell);
    let (tally, load) = simulation.end();
    (tally.course(fleet, versions, times), load)
}

#[cfg(test)]
mod tests;
