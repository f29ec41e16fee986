//! `releases.json`: the index of a site, for the installer, for people and for
//! scripts. Its schema is `site/schema/releases-1.json`.

use super::{
    Kept, artifact_path, descriptor_path, listed,
    patches::{self, Published},
};
use crate::{
    channel::Channels,
    config::{self, Config},
    name::{ChannelName, ProjectName, TargetName},
    release::{Artifact, Record, Role, TargetRecord},
    signing::minisig,
    source::date_text,
    store::StoreError,
};
use serde::{Deserialize, Serialize, Serializer};
use std::collections::{BTreeMap, BTreeSet};
use towline_descriptor::{Chip, Policy, Priority, Rollout, Sha256, Version, Window};

/// The number of the index format that is written, and the only one read.
pub const FORMAT: u32 = 1;

/// Everything that a site offers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Index {
    /// [`FORMAT`].
    pub fmt: u32,
    /// `project_name` of every image.
    pub project: ProjectName,
    /// Name for people.
    pub title: String,
    /// Where the site is served, with a slash at its end.
    pub base_url: String,
    /// Whether the firmware sets up Wi-Fi by Improv over the serial line. Sites
    /// of before this field left that to be tried.
    #[serde(default = "improv_by_default")]
    pub improv: bool,
    /// Channels.
    pub channels: Vec<IndexChannel>,
    /// Releases, highest version first.
    pub releases: Vec<IndexRelease>,
    /// Versions that the project has released and the site does not hold any
    /// more, lowest first. Sites of before this field held all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<Version>,
    /// All files but this one, the artifacts and signatures of files, by their
    /// path.
    pub files: BTreeMap<String, IndexArtifact>,
}

/// A channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IndexChannel {
    /// Its name.
    pub name: ChannelName,
    /// One sentence about it.
    pub description: Option<String>,
    /// Path of its manifest for esp-web-tools.
    pub manifest: String,
    /// How far it is rolled out. Sites of before this field offered to all.
    #[serde(default)]
    pub rollout: IndexRollout,
    /// When it goes and to whom; `None` without conditions.
    #[serde(default)]
    pub policy: Option<IndexPolicy>,
    /// What it serves.
    pub targets: Vec<ServedTarget>,
}

/// How far the release of a channel is rolled out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IndexRollout {
    /// The part of all devices that gets it, in percent.
    #[serde(serialize_with = "percent")]
    pub percent: f64,
    /// Whether nobody gets it for now.
    pub paused: bool,
}

/// When the release of a channel goes and to whom; the descriptors name the
/// devices and carry the metadata.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IndexPolicy {
    /// First second, since 1970, at which devices install it.
    pub not_before: Option<u64>,
    /// Last second, since 1970, at which devices install it.
    pub not_after: Option<u64>,
    /// Part of the local day in which devices install it.
    pub window: Option<IndexWindow>,
    /// Whether it waits until the user of a device agrees.
    pub approval: bool,
    /// Whether it does not wait for the window.
    pub urgent: bool,
    /// Groups that it is for.
    pub groups: Vec<String>,
    /// How many devices are listed that it is for.
    pub devices: usize,
    /// Whether devices that come from another channel may go down to it.
    pub downgrade: bool,
}

/// A part of the local day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexWindow {
    /// First minute, counted from midnight.
    pub start: u16,
    /// Last minute, included.
    pub end: u16,
}

/// Writes a whole percentage without decimals.
fn percent<S: Serializer>(percent: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if percent.fract() == 0.0 {
        serializer.serialize_u8(*percent as u8)
    } else {
        serializer.serialize_f64(*percent)
    }
}

impl Default for IndexRollout {
    fn default() -> Self {
        Self::of(Rollout::default())
    }
}

impl IndexRollout {
    pub(crate) fn of(Rollout { percent, paused }: Rollout) -> Self {
        Self { percent: f64::from(percent.hundredths()) / 100.0, paused }
    }
}

impl IndexPolicy {
    /// Describes a policy, unless it has no conditions.
    pub(crate) fn of(policy: &Policy<'_>) -> Option<Self> {
        let conditions = Policy { metadata: None, ..policy.clone() };
        (conditions != Policy::default()).then(|| Self {
            not_before: policy.not_before,
            not_after: policy.not_after,
            window: policy.window.map(|Window { start, end }| IndexWindow { start, end }),
            approval: policy.approval,
            urgent: policy.priority == Priority::Urgent,
            groups: policy.groups.iter().map(|group| (*group).to_owned()).collect(),
            devices: policy.devices.len(),
            downgrade: policy.downgrade,
        })
    }
}

/// What a channel serves to the devices of a target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServedTarget {
    /// The target.
    pub target: TargetName,
    /// The release.
    pub version: Version,
    /// Path of the descriptor.
    pub descriptor: String,
}

/// A release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IndexRelease {
    /// Its version.
    pub version: Version,
    /// Whether that is a prerelease.
    pub prerelease: bool,
    /// Why no channel serves it any more, if it was yanked.
    pub yanked: Option<String>,
    /// Date of its source, `YYYY-MM-DD`.
    pub released: String,
    /// Release notes, plain text.
    pub notes: Option<String>,
    /// The oldest version whose settings this one understands.
    pub min_from: Option<Version>,
    /// The commit that was built.
    pub commit: Option<String>,
    /// Its images by target.
    pub targets: Vec<IndexTarget>,
}

/// The images of a target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IndexTarget {
    /// The target.
    pub target: TargetName,
    /// The chip, such as `esp32c3`.
    pub chip: Chip,
    /// The chip as people write it, such as `ESP32-C3`.
    pub chip_family: String,
    /// Size of the flash chip in bytes.
    pub flash_size: u32,
    /// PSRAM in bytes that the board has to have.
    pub psram: Option<u32>,
    /// Size of the smallest app slot in bytes.
    pub slot_size: Option<u32>,
    /// Anti-rollback version.
    pub secure_version: u32,
    /// The app image.
    pub app: IndexArtifact,
    /// The parts of a first flash.
    pub parts: Vec<IndexPart>,
    /// All parts in one file.
    pub factory: Option<IndexArtifact>,
    /// Shorter ways to the app image: the image compressed, then patches from other
    /// releases, the newest first. Sites of before this field had none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patches: Vec<IndexPatch>,
}

impl IndexTarget {
    /// Returns its files, the app image as often as it is a part.
    pub fn files(&self) -> impl Iterator<Item = &IndexArtifact> {
        let parts = self.parts.iter().map(|part| &part.file);
        std::iter::once(&self.app).chain(parts).chain(&self.factory)
    }
}

/// A shorter way to an app image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IndexPatch {
    /// The version that it starts from; `None` if it needs none.
    pub from: Option<Version>,
    /// SHA-256 of the image that it starts from.
    pub from_sha256: Sha256,
    /// Name of its format.
    pub alg: String,
    /// The file.
    #[serde(flatten)]
    pub file: IndexArtifact,
}

/// A part of a first flash.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IndexPart {
    /// What it is.
    pub role: Role,
    /// Where it goes in flash, in bytes.
    pub offset: u32,
    /// The file.
    #[serde(flatten)]
    pub file: IndexArtifact,
}

/// A file of the site.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IndexArtifact {
    /// Its path; `None` where it is the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Its size in bytes.
    pub size: u32,
    /// SHA-256 of its bytes.
    pub sha256: Sha256,
}

fn improv_by_default() -> bool {
    config::Installer::default().improv
}

/// Returns the targets that a channel serves, in the order of their names,
/// with the release that each is offered.
pub(crate) fn served_targets<'r>(
    channel: &ChannelName,
    channels: &Channels,
    releases: &'r [Record],
) -> Vec<(&'r TargetName, &'r Record)> {
    let targets: BTreeSet<_> = releases.iter().flat_map(|release| release.targets.keys()).collect();
    targets
        .into_iter()
        .filter_map(|target| Some((target, channels.serves(channel, target, releases)?)))
        .collect()
}

/// Makes the index of a site with these rendered files.
pub(super) fn make(
    config: &Config,
    channels: &Channels,
    kept: &Kept,
    patches: &[Published],
    files: &BTreeMap<String, Vec<u8>>,
) -> Result<Index, StoreError> {
    let releases = &kept.releases;
    let mut dropped: Vec<_> = kept.dropped().cloned().collect();
    dropped.sort_by(Version::precedence);
    let channel = |(name, channel): (&ChannelName, &crate::config::Channel)| IndexChannel {
        name: name.clone(),
        description: channel.description.clone(),
        manifest: format!("manifests/{name}.json"),
        rollout: IndexRollout::of(channels.terms(name).rollout),
        policy: IndexPolicy::of(&channels.terms(name).policy.wire()),
        targets: served_targets(name, channels, releases)
            .into_iter()
            .map(|(target, record)| ServedTarget {
                target: target.clone(),
                version: record.version.clone(),
                descriptor: descriptor_path(name, target),
            })
            .collect(),
    };
    Ok(Index {
        fmt: FORMAT,
        project: config.project.clone(),
        title: config.title.clone(),
        base_url: config.base_url.clone(),
        improv: config.installer.improv,
        channels: config.channels.iter().map(channel).collect(),
        releases: releases.iter().rev().map(|record| release(record, channels, patches)).collect(),
        dropped,
        // Who has a signature can tell by itself whether it holds; most files would
        // be some.
        files: files
            .iter()
            .filter(|(path, _)| !path.ends_with(minisig::EXTENSION))
            .map(|(path, bytes)| Ok((path.clone(), listed(bytes)?)))
            .collect::<Result<_, StoreError>>()?,
    })
}

/// Describes a release.
pub(super) fn release(record: &Record, channels: &Channels, patches: &[Published]) -> IndexRelease {
    IndexRelease {
        version: record.version.clone(),
        prerelease: record.version.is_prerelease(),
        yanked: channels.yank_reason(&record.version).map(str::to_owned),
        released: date_text(record.source_date),
        notes: record.notes.clone(),
        min_from: record.min_from.clone(),
        commit: record.commit.clone(),
        targets: record.targets.keys().map(|name| target(record, name, patches)).collect(),
    }
}

/// Describes the images of a target of a release.
pub(super) fn target(record: &Record, name: &TargetName, patches: &[Published]) -> IndexTarget {
    let target: &TargetRecord = &record.targets[name];
    let file = |role, artifact: &Artifact| IndexArtifact {
        path: Some(artifact_path(record, name, role, artifact)),
        size: artifact.size,
        sha256: artifact.sha256,
    };
    IndexTarget {
        target: name.clone(),
        chip: target.chip,
        chip_family: target.chip.family().to_owned(),
        flash_size: target.flash_size,
        psram: target.psram,
        slot_size: target.slot_size,
        secure_version: target.secure_version,
        app: file(Role::App, &target.app),
        parts: target
            .parts
            .iter()
            .map(|part| IndexPart {
                role: part.role,
                offset: part.offset,
                file: file(part.role, &part.artifact),
            })
            .collect(),
        factory: target.factory.as_ref().map(|factory| file(Role::Factory, factory)),
        patches: patches::listed(patches, name, &record.version),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frozen_index_1_is_read() {
        let index: Index =
            serde_json::from_str(include_str!("../../tests/frozen/releases-1.json")).unwrap();
        assert!(index.improv);
        assert_eq!(index.channels[0].rollout, IndexRollout { percent: 100.0, paused: false });
        assert_eq!(index.channels[0].policy, None);
        assert_eq!((index.releases.len(), index.releases[0].min_from.as_ref()), (1, None));
        assert_eq!(index.releases[0].targets[0].psram, None);
    }
}
