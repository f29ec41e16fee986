//! What a release would do, decided before anything is done.

mod markdown;

use crate::{
    build::{self, BuildCommand},
    channel::Channels,
    config::{Build, Config, TagPrefix},
    name::{ChannelName, TargetName},
    patch,
    release::Record,
    toolchain,
};
use serde::Serialize;
use std::path::PathBuf;
use towline_descriptor::{Chip, Version};

/// The plan of a release.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// The project.
    pub project: String,
    /// Version of the release; `None` until an image says it.
    pub version: Option<Version>,
    /// The newest release so far.
    pub newest: Option<Version>,
    /// What is built.
    pub targets: Vec<PlannedTarget>,
    /// Targets of the newest release that would be missing.
    pub missing: Vec<TargetName>,
    /// What the channels would serve.
    pub channels: Vec<PlannedChannel>,
    /// A job for each target, as the matrix of a workflow has them.
    pub include: Vec<Job>,
    /// Where records and artifacts are kept.
    pub store: PathBuf,
    /// Where the site goes.
    pub site_dir: PathBuf,
}

/// What is done for a target.
#[derive(Clone, Debug, Serialize)]
pub struct PlannedTarget {
    /// The target.
    pub name: TargetName,
    /// Its chip.
    pub chip: Chip,
    /// The command that builds it; `None` if it is prebuilt.
    pub command: Option<Vec<String>>,
    /// The folder that the command runs in, or the prebuilt file.
    pub from: PathBuf,
    /// What has to be installed first.
    pub needs: Option<String>,
}

/// A job that builds a target.
#[derive(Clone, Debug, Serialize)]
pub struct Job {
    /// The target.
    pub target: TargetName,
    /// Its chip.
    pub chip: Chip,
    /// The Rust toolchain that builds it.
    pub toolchain: Toolchain,
    /// The target triple; `None` if cargo does not build it.
    pub triple: Option<String>,
}

/// A Rust toolchain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Toolchain {
    /// The one that everybody has.
    Stable,
    /// Espressif's own, for Xtensa chips.
    Esp,
}

/// What a channel would serve.
#[derive(Clone, Debug, Serialize)]
pub struct PlannedChannel {
    /// The channel.
    pub name: String,
    /// Its rule in words.
    pub rule: String,
    /// What it serves now: the highest version of all targets.
    pub now: Option<Version>,
    /// What it would serve; `None` while the version is not known.
    pub then: Option<Version>,
    /// The releases from which its devices would get patches to the new one, the newest
    /// first.
    pub patches_from: Vec<Version>,
}

/// Plans a release of these targets.
///
/// `version` is that of the release, where it is known; `has_triple` says
/// whether firmware for a target triple can be built.
pub fn plan(
    config: &Config,
    channels: &Channels,
    releases: &[Record],
    targets: &[TargetName],
    version: Option<Version>,
    has_triple: impl Fn(&str) -> bool,
) -> Plan {
    let newest = releases.last();
    // As the rules of releases see it: the one before this version.
    let is_before = |old: &&Record| {
        version.as_ref().is_none_or(|version| old.version.precedence(version).is_lt())
    };
    let missing = releases.iter().rfind(is_before).map(|previous| {
        previous.targets.keys().filter(|target| !targets.contains(target)).cloned().collect()
    });
    let planned = |name: &TargetName| {
        let target = &config.targets[name];
        let command = build::command(name, target);
        let from = match (&command, &target.build) {
            (_, Build::Prebuilt(file)) => file.clone(),
            (Some(BuildCommand { dir, .. }), _) => dir.clone(),
            (None, _) => config.root.clone(),
        };
        let needs = build::cargo_triple(target)
            .filter(|triple| !has_triple(triple))
            .map(|triple| toolchain::install_command(triple).join(" "));
        PlannedTarget {
            name: name.clone(),
            chip: target.chip,
            command: command.map(|command| command.command),
            from,
            needs,
        }
    };
    let job = |name: &TargetName| {
        let target = &config.targets[name];
        let triple = build::cargo_triple(target);
        let toolchain =
            if triple.is_some_and(build::is_xtensa) { Toolchain::Esp } else { Toolchain::Stable };
        Job {
            target: name.clone(),
            chip: target.chip,
            toolchain,
            triple: triple.map(str::to_owned),
        }
    };
    let patches_from = |channel: &ChannelName, new: &Version| {
        let of_target = |target: &TargetName| {
            patch::plan::bases(config, channels, channel, target, (new, None), releases)
        };
        let mut bases: Vec<_> = targets.iter().flat_map(of_target).map(|r| &r.version).collect();
        bases.sort_by(|a, b| b.precedence(a));
        bases.dedup();
        bases.into_iter().cloned().collect()
    };
    let channels = channels.rules.iter().map(|(name, rule)| {
        let served = config
            .targets
            .keys()
            .filter_map(|target| channels.serves(name, target, releases))
            .max_by(|a, b| a.version.precedence(&b.version))
            .map(|record| record.version.clone());
        let takes = |new: &Version| {
            rule.matches(new)
                && channels.yank_reason(new).is_none()
                && served.as_ref().is_none_or(|now| now.precedence(new).is_lt())
        };
        let new = version.clone().filter(takes);
        PlannedChannel {
            name: name.to_string(),
            rule: rule.to_string(),
            patches_from: new.as_ref().map_or(Vec::new(), |new| patches_from(name, new)),
            then: version.is_some().then(|| new.or_else(|| served.clone())).flatten(),
            now: served.clone(),
        }
    });
    Plan {
        project: config.project.to_string(),
        version: version.clone(),
        newest: newest.map(|record| record.version.clone()),
        targets: targets.iter().map(planned).collect(),
        missing: missing.unwrap_or_default(),
        channels: channels.collect(),
        include: targets.iter().map(job).collect(),
        store: PathBuf::new(),
        site_dir: PathBuf::new(),
    }
}

/// Why a release cannot have a tag.
#[derive(Debug, thiserror::Error)]
pub enum TagError {
    /// The tag is not one of a release.
    #[error("the tag is {tag}, those of releases look like {example}")]
    NotOfRelease {
        /// The tag.
        tag: String,
        /// The tag of a release.
        example: String,
    },
    /// A target has another version.
    #[error("the tag is {tag}, and target {target} has version {version}, whose tag is {expected}")]
    OtherVersion {
        /// The tag.
        tag: String,
        /// The target.
        target: TargetName,
        /// Its version.
        version: Version,
        /// The tag that it would have.
        expected: String,
    },
}

/// Returns the version of the release with a tag. `versions` are those of the
/// targets, where they are known before they are built.
///
/// # Errors
/// [`TagError`].
pub fn tagged(
    prefix: &TagPrefix,
    tag: &str,
    versions: impl IntoIterator<Item = (TargetName, Version)>,
) -> Result<Version, TagError> {
    let mut tagged = prefix.version(tag);
    for (target, version) in versions {
        let expected = prefix.tag(&version);
        if expected != tag {
            return Err(TagError::OtherVersion { tag: tag.to_owned(), target, version, expected });
        }
        // As the image has it, with a `v` or without.
        tagged = Some(version);
    }
    tagged.ok_or_else(|| TagError::NotOfRelease {
        tag: tag.to_owned(),
        example: Version::parse("1.2.0").map(|version| prefix.tag(&version)).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_the_version_that_all_targets_have() {
        let tagged = |tag: &str, versions: &[&str]| {
            let versions = versions.iter().zip(["esp32c3", "esp32c6"]);
            let versions =
                versions.map(|(version, name)| (name.parse().unwrap(), version.parse().unwrap()));
            tagged(&TagPrefix::default(), tag, versions)
                .map(|version| version.to_string())
                .map_err(|error| error.to_string())
        };
        assert_eq!(tagged("v1.2.0", &["1.2.0", "1.2.0"]).unwrap(), "1.2.0");
        assert_eq!(tagged("v1.2.0", &["v1.2.0"]).unwrap(), "v1.2.0");
        assert_eq!(tagged("v1.2.0-rc.1", &[]).unwrap(), "1.2.0-rc.1");
        assert_eq!(
            tagged("v1.2.1", &["1.2.1", "1.2.0"]).unwrap_err(),
            "the tag is v1.2.1, and target esp32c6 has version 1.2.0, whose tag is v1.2.0"
        );
        assert_eq!(
            tagged("nightly", &[]).unwrap_err(),
            "the tag is nightly, those of releases look like v1.2.0"
        );
        assert!(tagged("1.2.0", &["1.2.0"]).is_err() && tagged("v1.2.0\n", &["1.2.0"]).is_err());
    }
}
