//! What devices on each release would do now, as their own code decides it.
//!
//! ```text
//! runs 1.0.0 -> decide(descriptor) -> installs 1.1.0 -> decide(descriptor) -> ... -> stays
//! ```

mod svg;
mod table;

pub use svg::svg;
pub(super) use table::table;

use super::{Code, Finding, terms};
use crate::{
    name::{ChannelName, TargetName},
    site::{Index, IndexChannel, IndexTarget, ServedTarget, descriptor_path, size_text},
};
use indexmap::IndexMap;
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, iter,
};
use towline::{Decision, Reason, Running, decide, decide::Offer};
use towline_descriptor::{Descriptor, Sha256, Version};

/// The way of a device that runs a release and follows a channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UpdatePath {
    /// The channel.
    pub channel: ChannelName,
    /// The target.
    pub target: TargetName,
    /// The release that it runs.
    pub from: Version,
    /// What it installs, one after the other.
    pub legs: Vec<Leg>,
    /// Where that ends.
    pub end: End,
    /// Why it does not set out now, such as a rollout that has not come to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
}

/// One update on the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Leg {
    /// The version that the descriptor offers.
    pub version: Version,
    /// What is downloaded, in bytes, by a device that can apply patches.
    pub bytes: u32,
}

/// How the way of a device ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "at", content = "reason")]
pub enum End {
    /// It runs what the channel serves.
    Served,
    /// It runs a release that comes after what the channel serves, and waits for
    /// a later one.
    Ahead,
    /// It would never get to what the channel serves.
    DeadEnd(String),
    /// It installs the same again and again.
    Loop,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Served => f.write_str("up to date"),
            Self::Ahead => f.write_str("stays ahead"),
            Self::DeadEnd(reason) => write!(f, "never gets there: {reason}"),
            Self::Loop => f.write_str("installs it again and again"),
        }
    }
}

impl UpdatePath {
    /// Returns whether the device is lost to the publisher.
    pub fn is_fault(&self) -> bool {
        matches!(self.end, End::DeadEnd(_) | End::Loop)
    }

    /// Returns the bytes that the device downloads on its way.
    pub fn bytes(&self) -> u64 {
        self.legs.iter().map(|leg| u64::from(leg.bytes)).sum()
    }
}

/// Returns the way of a device on each release that the site has ever served, for
/// each channel. `descriptor` returns the bytes of a descriptor by its path; one that
/// cannot be read has no ways. `now` is the time in seconds since 1970.
pub fn paths(
    index: &Index,
    descriptor: impl Fn(&str) -> Option<Vec<u8>>,
    now: u64,
) -> Vec<UpdatePath> {
    let mut paths = Vec::new();
    for channel in &index.channels {
        for served in &channel.targets {
            let Some(mut document) = descriptor(&served.descriptor) else { continue };
            let Ok(descriptor) = Descriptor::parse(&mut document) else { continue };
            let board = Board { index, channel, served, now };
            paths.extend(board.starts().map(|(from, image)| board.path(from, image, &descriptor)));
        }
    }
    paths
}

/// Finds the releases whose devices are led in a circle or not led on.
pub(super) fn find(index: &Index, paths: &[UpdatePath]) -> Vec<Finding> {
    let is_yanked = |version: &Version| {
        index.releases.iter().any(|known| known.version == *version && known.yanked.is_some())
    };
    let mut found: BTreeMap<(String, Code, String), Vec<&str>> = BTreeMap::new();
    for path in paths {
        let (code, message) = match &path.end {
            End::Loop => (Code::UpdateLoop, path.end.to_string()),
            End::DeadEnd(_) => (Code::DeadEnd, path.end.to_string()),
            End::Ahead if is_yanked(&path.from) => (
                Code::YankedAhead,
                "stays there, a yanked release: what is served comes before it".into(),
            ),
            _ => continue,
        };
        let descriptor = descriptor_path(&path.channel, &path.target);
        found.entry((descriptor, code, message)).or_default().push(path.from.as_str());
    }
    let finding = |((file, code, message), from): ((_, Code, _), Vec<_>)| {
        code.of(file, format!("a device on {} {message}", from.join(" or ")))
    };
    found.into_iter().map(finding).collect()
}

/// What the devices of a channel and target have in common.
struct Board<'i> {
    index: &'i Index,
    channel: &'i IndexChannel,
    served: &'i ServedTarget,
    now: u64,
}

impl<'i> Board<'i> {
    /// Returns the releases that devices may run, the highest version first, each with
    /// its image. Of those that the site does not hold any more only the versions are
    /// known: their devices are taken for those of the oldest release that it holds.
    fn starts(&self) -> impl Iterator<Item = (&'i Version, &'i IndexTarget)> {
        let image = |target: &&IndexTarget| target.target == self.served.target;
        let held = move |index: &'i Index| {
            index.releases.iter().filter_map(move |release| {
                Some((&release.version, release.targets.iter().find(image)?))
            })
        };
        let oldest = held(self.index).next_back().map(|(_, image)| image);
        let dropped = self.index.dropped.iter().rev().zip(iter::repeat(oldest));
        let dropped = dropped.filter_map(|(version, oldest)| Some((version, oldest?)));
        let mut starts: Vec<_> = held(self.index).chain(dropped).collect();
        starts.sort_by(|(a, _), (b, _)| b.precedence(a));
        starts.into_iter()
    }

    /// Follows a device that was first flashed with `image`: its slots stay as they
    /// are.
    fn path(&self, from: &Version, image: &IndexTarget, descriptor: &Descriptor<'_>) -> UpdatePath {
        let mut released = descriptor.clone();
        terms::lift_conditions(&mut released);
        let mut legs: Vec<Leg> = Vec::new();
        let mut runs = from.clone();
        let end = loop {
            match decide(&self.running(&runs, image), &released) {
                Decision::Stay(Reason::UpToDate) => break End::Served,
                Decision::Stay(Reason::Downgrade) => break End::Ahead,
                Decision::Stay(reason) => break End::DeadEnd(reason.to_string()),
                Decision::Install(offer) => {
                    if legs.iter().any(|leg| leg.version == offer.version) {
                        break End::Loop;
                    }
                    let bytes = self.fetched(&runs, &offer, descriptor);
                    runs = self.version_in(offer.sha256, &offer.version);
                    legs.push(Leg { version: offer.version, bytes });
                }
            }
        };
        let held = match decide(&self.running(from, image), descriptor) {
            Decision::Stay(reason) if !legs.is_empty() => Some(reason.to_string()),
            _ => None,
        };
        let (channel, target) = (self.channel.name.clone(), self.served.target.clone());
        UpdatePath { channel, target, from: from.clone(), legs, end, held }
    }

    /// Returns the bytes of the shortest form in which a device that runs a release can
    /// fetch what is offered.
    fn fetched(&self, runs: &Version, offer: &Offer, descriptor: &Descriptor<'_>) -> u32 {
        let targets = self.index.releases.iter().flat_map(|release| &release.targets);
        let offered = targets.filter(|target| target.app.sha256 == offer.sha256);
        let patches = offered.flat_map(|target| &target.patches).filter(|patch| {
            let is_named = descriptor.patches.iter().any(|it| it.sha256 == patch.file.sha256);
            is_named && patch.from.as_ref().is_none_or(|from| from == runs)
        });
        patches.map(|patch| patch.file.size).chain([offer.size]).min().unwrap_or(offer.size)
    }

    /// Returns what an image calls itself, which is what a device goes by after its
    /// reset; `offered` for one that the index does not know.
    fn version_in(&self, image: Sha256, offered: &Version) -> Version {
        let has = |target: &IndexTarget| target.app.sha256 == image;
        let release = self.index.releases.iter().find(|release| release.targets.iter().any(has));
        release.map_or(offered, |release| &release.version).clone()
    }

    fn running<'a>(&'a self, version: &Version, image: &'a IndexTarget) -> Running<'a> {
        Running {
            project: self.index.project.as_str(),
            version: Some(version.clone()),
            chip: image.chip,
            target: Some(self.served.target.as_str()),
            channel: Some(self.channel.name.as_str()),
            id: &[],
            groups: &[],
            now: Some(self.now),
            utc_offset: 0,
            by_user: false,
            switched: false,
            secure_version: image.secure_version,
            slot_size: image.slot_size.unwrap_or(u32::MAX),
        }
    }
}

/// Devices of several targets that fare alike.
struct Group<'p> {
    channel: &'p ChannelName,
    from: &'p Version,
    targets: Vec<&'p TargetName>,
    /// Least and most bytes that one of them downloads.
    bytes: (u64, u64),
    /// The path of one of them.
    path: &'p UpdatePath,
}

impl Group<'_> {
    fn is_alike(&self, path: &UpdatePath) -> bool {
        let versions = |path: &UpdatePath| -> Vec<_> {
            path.legs.iter().map(|leg| leg.version.clone()).collect()
        };
        (&self.path.end, &self.path.held) == (&path.end, &path.held)
            && versions(self.path) == versions(path)
    }

    /// Names the targets; `all` is how many the channel serves.
    fn targets_text(&self, all: usize) -> String {
        match self.targets.as_slice() {
            targets if targets.len() == all && all > 1 => format!("all {all}"),
            targets => targets.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", "),
        }
    }

    fn end_text(&self) -> String {
        match &self.path.held {
            Some(reason) => format!("{}; not now: {reason}", self.path.end),
            None => self.path.end.to_string(),
        }
    }
}

/// Writes from how many to how many bytes.
fn range_text(least: u64, most: u64) -> String {
    let [least, most] = [least, most].map(size_text);
    if least == most { most } else { format!("{least} to {most}") }
}

/// Puts paths together that differ in nothing but target and bytes, in their order.
fn groups(paths: &[UpdatePath]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for path in paths {
        let bytes = path.bytes();
        let same = |group: &&mut Group<'_>| {
            (group.channel, group.from) == (&path.channel, &path.from) && group.is_alike(path)
        };
        if let Some(group) = groups.iter_mut().find(same) {
            group.targets.push(&path.target);
            group.bytes = (group.bytes.0.min(bytes), group.bytes.1.max(bytes));
        } else {
            let (channel, from, targets) = (&path.channel, &path.from, vec![&path.target]);
            groups.push(Group { channel, from, targets, bytes: (bytes, bytes), path });
        }
    }
    groups
}

/// Returns the channels of paths in their order, each with how many targets it serves.
fn channels(paths: &[UpdatePath]) -> IndexMap<&ChannelName, usize> {
    let mut targets: IndexMap<_, BTreeSet<_>> = IndexMap::new();
    for path in paths {
        targets.entry(&path.channel).or_default().insert(&path.target);
    }
    targets.into_iter().map(|(channel, targets)| (channel, targets.len())).collect()
}

#[cfg(test)]
mod tests;
