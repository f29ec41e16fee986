//! Which releases the site holds.
//!
//! ```text
//! releases -> needed   what channels serve, and the steps that lead there: always
//!          -> spare    the newest that channels take, most wanted first: what fits
//!          -> the rest, which stays in the store
//! ```
//!
//! A channel wants its newest release most. What several channels take is wanted
//! as the one of them wants it that wants it most. So a higher `keep` only adds
//! releases after those that are there.

use super::{served_targets, steps};
use crate::{
    channel::Channels,
    config::{Config, Size},
    release::Record,
    signing::artifacts::files,
};
use std::{cmp::Reverse, collections::BTreeSet, num::NonZeroUsize};
use towline_descriptor::Version;

/// Releases by how much they are wanted on the site, as positions in all of them.
#[derive(Debug, PartialEq, Eq)]
pub struct Keep<'r> {
    releases: &'r [Record],
    needed: BTreeSet<usize>,
    spare: Vec<usize>,
}

/// The releases of a site.
#[derive(Debug, PartialEq, Eq)]
pub struct Kept {
    /// Those that it holds, lowest version first.
    pub releases: Vec<Record>,
    /// Versions that no channel keeps.
    pub beyond: Vec<Version>,
    /// Versions that there is no room for.
    pub crowded_out: Vec<Version>,
}

impl<'r> Keep<'r> {
    /// Looks at all releases, lowest version first.
    pub fn of(config: &Config, channels: &Channels, releases: &'r [Record]) -> Self {
        let position = |record: &Record| releases.iter().position(|r| r.version == record.version);
        let mut needed = BTreeSet::new();
        // Of each release, which place it has in the channels that take it, and
        // how many of them have a place on the site.
        let mut places = vec![Vec::new(); releases.len()];
        for (channel, settings) in &config.channels {
            for (target, served) in served_targets(channel, channels, releases) {
                let way = steps::way(channels, channel, target, served, releases);
                needed.extend(way.steps.into_iter().chain([served]).filter_map(position));
            }
            let keep = settings.keep.or(config.site.keep).map_or(usize::MAX, NonZeroUsize::get);
            let taken =
                (0..releases.len()).filter(|at| channels.takes(channel, &releases[*at].version));
            for (place, at) in taken.rev().enumerate() {
                places[at].push((place, keep));
            }
        }
        let wanted = |at: usize| match places[at].as_slice() {
            [] => config.site.keep.is_none().then_some(usize::MAX),
            places => {
                let kept = places.iter().filter(|(place, keep)| place < keep);
                kept.map(|(place, _)| *place).min()
            }
        };
        let spare = (0..releases.len()).filter(|at| !needed.contains(at));
        let mut spare: Vec<_> = spare.filter_map(|at| Some((wanted(at)?, Reverse(at)))).collect();
        spare.sort();
        let spare = spare.into_iter().map(|(_, Reverse(at))| at).collect();
        Self { releases, needed, spare }
    }

    /// Returns how many releases that are not needed have room, if nothing but
    /// artifacts took some.
    pub fn most(&self, max_size: Size) -> usize {
        let bytes = |at: &usize| -> u64 {
            files(&self.releases[*at]).values().map(|artifact| u64::from(artifact.size)).sum()
        };
        let needed: u64 = self.needed.iter().map(bytes).sum();
        let sums = self.spare.iter().scan(needed, |sum, at| {
            *sum += bytes(at);
            Some(*sum)
        });
        sums.take_while(|sum| *sum <= max_size.0).count()
    }

    /// Returns the releases of a site with those that are needed and `spare`
    /// others.
    pub fn with(&self, spare: usize) -> Kept {
        let (spare, crowded_out) = self.spare.split_at(spare.min(self.spare.len()));
        let mut kept = self.needed.clone();
        kept.extend(spare);
        let crowded_out: BTreeSet<_> = crowded_out.iter().copied().collect();
        let (mut releases, mut beyond, mut crowded) = (Vec::new(), Vec::new(), Vec::new());
        for (at, record) in self.releases.iter().enumerate() {
            match (kept.contains(&at), crowded_out.contains(&at)) {
                (true, _) => releases.push(record.clone()),
                (_, true) => crowded.push(record.version.clone()),
                _ => beyond.push(record.version.clone()),
            }
        }
        Kept { releases, beyond, crowded_out: crowded }
    }
}

impl Kept {
    /// Returns the versions that the site does not hold.
    pub fn dropped(&self) -> impl Iterator<Item = &Version> {
        self.beyond.iter().chain(&self.crowded_out)
    }

    /// Says which releases the site does not hold, and why.
    pub(super) fn warnings(&self, max_size: Size) -> Vec<String> {
        let warning = |versions: &[Version], reason: String| {
            let versions: Vec<_> = versions.iter().map(Version::as_str).collect();
            let of_them = format!(
                "not on the site, {reason}, and still in the store: {}",
                versions.join(", ")
            );
            (!versions.is_empty()).then_some(of_them)
        };
        let reasons = [
            warning(&self.beyond, "by `keep` of towline.toml".into()),
            warning(&self.crowded_out, format!("by its `max-size` of {max_size}")),
        ];
        reasons.into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests;
