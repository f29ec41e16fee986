//! Whether an offer is installed: a pure function with a reason for each
//! outcome.
//!
//! ```text
//! for this device? -> newer? -> fit? -> for all or for it? -> rolled out? -> now?
//! ```

mod form;

pub(crate) use form::memory_of;
pub use form::{Form, lightest};

use crate::{
    descriptor::{Chip, Descriptor, Policy, Priority, Sha256, Version, Window},
    place::{device_hash, in_rollout},
};
use core::{cmp::Ordering, fmt};

/// What a device knows of itself.
#[derive(Clone, Debug)]
pub struct Running<'a> {
    /// `project_name` of the running image.
    pub project: &'a str,
    /// Version of the running image; `None` if it is not semver, as that of a
    /// development build may be.
    pub version: Option<Version>,
    /// The chip.
    pub chip: Chip,
    /// Board variant; `None` for firmware that does not know its own.
    pub target: Option<&'a str>,
    /// Channel that the device follows; `None` if it knows only a URL.
    pub channel: Option<&'a str>,
    /// Id of the device, which decides its [place](crate::place); empty if it
    /// has none.
    pub id: &'a [u8],
    /// Groups that the device belongs to.
    pub groups: &'a [&'a str],
    /// The time in seconds since 1970, if it is known.
    pub now: Option<u64>,
    /// Local time is so many minutes ahead of UTC.
    pub utc_offset: i16,
    /// Whether a user of the device asks for the update now.
    pub by_user: bool,
    /// Whether the device comes from another channel, and the signatures of the
    /// descriptor were verified: only then it may go down.
    pub switched: bool,
    /// Lowest `secure_version` that may boot.
    pub secure_version: u32,
    /// Size in bytes of the slot that an update goes to.
    pub slot_size: u32,
}

/// What to do with an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Download and install this image.
    Install(Offer),
    /// Stay with what is running.
    Stay(Reason),
}

/// An image to install, as its descriptor describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Version: that of the release, or of one that lies on the way to it.
    pub version: Version,
    /// Size in bytes.
    pub size: u32,
    /// SHA-256 of the whole image.
    pub sha256: Sha256,
}

/// Why nothing is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The offered version is the running one.
    UpToDate,
    /// The offered version comes before the running one.
    Downgrade,
    /// The offer is of another project.
    OtherProject,
    /// The offer is for another chip.
    OtherChip,
    /// The offer is for another board variant.
    OtherTarget,
    /// The descriptor is that of another channel.
    OtherChannel,
    /// The offered image may not boot here: anti-rollback.
    SecureVersion,
    /// The image is larger than the slot.
    TooLarge,
    /// The descriptor states no size and SHA-256 to verify against.
    Unverifiable,
    /// What runs is too old for the offered release, and for each that leads
    /// there.
    TooOld,
    /// The release is for other devices or groups.
    NotForThisDevice,
    /// Nobody gets the release for now.
    Paused,
    /// The release is rolled out to a part of the devices, of which this is
    /// none yet.
    NotInRollout,
    /// The release may not be installed yet.
    NotYet,
    /// The release may not be installed any more.
    Ended,
    /// The release is installed in a part of the day that is not now.
    OutsideWindow,
    /// The release waits for a user to agree.
    NeedsApproval,
    /// When the release may be installed depends on a time that is not known.
    ClockUnset,
    /// The offered release was tried here and rolled back.
    RolledBack,
    /// The offered image is installed and boots at the next reset.
    AwaitingReset,
}

/// An image that a descriptor names: the offered one, or one on the way there.
#[derive(Clone, Copy, Debug)]
struct Candidate<'d> {
    version: &'d Version,
    path: &'d str,
    size: Option<u32>,
    sha256: Option<&'d Sha256>,
    secure_version: Option<u32>,
    min_from: Option<&'d Version>,
}

/// Decides what to do with the offer of a descriptor.
///
/// Identity comes first, so that a foreign descriptor is called foreign
/// whatever its version is. Order of versions is semver precedence: an equal
/// version is never installed again, and a lower one only if the policy allows
/// it to devices that [come from another channel](Running::switched). What a
/// user asks for need not wait for approval nor for the time of day.
pub fn decide(running: &Running<'_>, offered: &Descriptor<'_>) -> Decision {
    match choose(running, offered) {
        Err(reason) => Decision::Stay(reason),
        Ok((offer, _)) => Decision::Install(offer),
    }
}

/// Returns why a descriptor is none of this device's.
pub(crate) fn foreign(running: &Running<'_>, offered: &Descriptor<'_>) -> Option<Reason> {
    let chip_is_stated = offered.chip.is_some() || offered.chip_id.is_some();
    if offered.project.is_some_and(|project| project != running.project) {
        Some(Reason::OtherProject)
    } else if chip_is_stated && offered.chip() != Some(running.chip) {
        Some(Reason::OtherChip)
    } else if !agree(offered.target, running.target) {
        Some(Reason::OtherTarget)
    } else if !agree(offered.channel, running.channel) {
        Some(Reason::OtherChannel)
    } else {
        None
    }
}

/// Returns the image to install, and its URL.
pub(crate) fn choose<'d>(
    running: &Running<'_>,
    offered: &'d Descriptor<'_>,
) -> Result<(Offer, &'d str), Reason> {
    let unless = |ok: bool, reason| if ok { Ok(()) } else { Err(reason) };
    foreign(running, offered).map_or(Ok(()), Err)?;
    let chosen = candidate(running, offered)?;
    unless(
        chosen.secure_version.is_none_or(|version| version >= running.secure_version),
        Reason::SecureVersion,
    )?;
    let (size, sha256) = chosen.size.zip(chosen.sha256).ok_or(Reason::Unverifiable)?;
    unless(size <= running.slot_size, Reason::TooLarge)?;
    unless(is_addressed(running, &offered.policy), Reason::NotForThisDevice)?;
    unless(!offered.rollout.paused, Reason::Paused)?;
    unless(
        in_rollout(running.id, running.project, offered.version.as_str(), offered.rollout.percent),
        Reason::NotInRollout,
    )?;
    is_time(running, &offered.policy)?;
    Ok((Offer { version: chosen.version.clone(), size, sha256: *sha256 }, chosen.path))
}

/// Returns the highest version that the device may go to.
fn candidate<'d>(
    running: &Running<'_>,
    offered: &'d Descriptor<'_>,
) -> Result<Candidate<'d>, Reason> {
    let goal = Candidate {
        version: &offered.version,
        path: offered.path,
        size: offered.size,
        sha256: offered.sha256.as_ref(),
        secure_version: offered.secure_version,
        min_from: offered.min_from.as_ref(),
    };
    let steps = offered.steps.iter().map(|step| Candidate {
        version: &step.version,
        path: step.path,
        size: Some(step.size),
        sha256: Some(&step.sha256),
        secure_version: step.secure_version,
        min_from: step.min_from.as_ref(),
    });
    let Some(version) = &running.version else {
        // Nobody knows whether it is old enough for the long way.
        let open = |candidate: &Candidate<'_>| candidate.min_from.is_none();
        return highest(steps.chain([goal]).filter(open)).ok_or(Reason::TooOld);
    };
    match offered.version.precedence(version) {
        Ordering::Equal => return Err(Reason::UpToDate),
        Ordering::Less if running.switched && offered.policy.downgrade => return Ok(goal),
        Ordering::Less => return Err(Reason::Downgrade),
        Ordering::Greater => {}
    }
    let is_reachable = |candidate: &Candidate<'_>| {
        let is_old_enough =
            candidate.min_from.is_none_or(|least| version.precedence(least) != Ordering::Less);
        is_old_enough && candidate.version.precedence(version) == Ordering::Greater
    };
    highest(steps.chain([goal]).filter(is_reachable)).ok_or(Reason::TooOld)
}

fn highest<'d>(candidates: impl Iterator<Item = Candidate<'d>>) -> Option<Candidate<'d>> {
    candidates.max_by(|a, b| a.version.precedence(b.version))
}

/// Returns whether a release is for all devices, or for this one.
fn is_addressed(running: &Running<'_>, policy: &Policy<'_>) -> bool {
    if policy.groups.is_empty() && policy.devices.is_empty() {
        return true;
    }
    let is_listed = || policy.devices.contains(&device_hash(running.project, running.id));
    policy.groups.iter().any(|group| running.groups.contains(group))
        || (!running.id.is_empty() && is_listed())
}

/// Finds out whether now is the time.
fn is_time(running: &Running<'_>, policy: &Policy<'_>) -> Result<(), Reason> {
    let now = || running.now.ok_or(Reason::ClockUnset);
    if policy.not_before.map(|from| now().map(|now| now < from)).transpose()? == Some(true) {
        return Err(Reason::NotYet);
    }
    if policy.not_after.map(|until| now().map(|now| now > until)).transpose()? == Some(true) {
        return Err(Reason::Ended);
    }
    if running.by_user {
        return Ok(());
    }
    if policy.approval {
        return Err(Reason::NeedsApproval);
    }
    match policy.window {
        Some(window) if policy.priority != Priority::Urgent => {
            let minute = (second_of_day(now()?, running.utc_offset) / 60) as u16;
            if window.contains(minute) { Ok(()) } else { Err(Reason::OutsideWindow) }
        }
        _ => Ok(()),
    }
}

/// Returns the second of the local day.
pub(crate) fn second_of_day(now: u64, utc_offset: i16) -> u64 {
    let day = i64::from(Window::DAY) * 60;
    let second = (now % day as u64) as i64;
    (second + i64::from(utc_offset) * 60).rem_euclid(day) as u64
}

/// Returns whether two names agree, as far as both are known.
fn agree(offered: Option<&str>, own: Option<&str>) -> bool {
    match (offered, own) {
        (Some(offered), Some(own)) => offered == own,
        _ => true,
    }
}

impl Reason {
    /// Returns whether the same offer meets the same answer until the device is
    /// reset, whatever the time is and whoever asks.
    pub fn lasts_until_reset(self) -> bool {
        match self {
            Self::UpToDate
            | Self::Downgrade
            | Self::OtherProject
            | Self::OtherChip
            | Self::OtherTarget
            | Self::OtherChannel
            | Self::SecureVersion
            | Self::TooLarge
            | Self::Unverifiable
            | Self::TooOld
            | Self::NotForThisDevice
            | Self::Paused
            | Self::NotInRollout
            | Self::RolledBack => true,
            Self::NotYet
            | Self::Ended
            | Self::OutsideWindow
            | Self::NeedsApproval
            | Self::ClockUnset
            | Self::AwaitingReset => false,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UpToDate => "up to date",
            Self::Downgrade => "the channel offers an older version",
            Self::OtherProject => "the offer is of another project",
            Self::OtherChip => "the offer is for another chip",
            Self::OtherTarget => "the offer is for another board variant",
            Self::OtherChannel => "the descriptor is that of another channel",
            Self::SecureVersion => "the offered image is barred by anti-rollback",
            Self::TooLarge => "the offered image is larger than the slot",
            Self::Unverifiable => "the descriptor states no size and SHA-256",
            Self::TooOld => "what runs is too old for the release, and no release leads there",
            Self::NotForThisDevice => "the release is for other devices",
            Self::Paused => "the release is paused",
            Self::NotInRollout => "the release has not come to this device yet",
            Self::NotYet => "the release may not be installed yet",
            Self::Ended => "the time in which the release may be installed is over",
            Self::OutsideWindow => "the release waits for its time of day",
            Self::NeedsApproval => "the release waits for a user to agree",
            Self::ClockUnset => "the release is for a certain time, and the clock is not set",
            Self::RolledBack => "this release was rolled back here; waiting for a newer one",
            Self::AwaitingReset => "installed, and boots at the next reset",
        })
    }
}

#[cfg(test)]
mod tests;
