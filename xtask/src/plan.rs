//! What a release would do, decided before anything is done.

use crate::{
    build::{self, BuildCommand},
    channel::Channels,
    config::{Build, Config},
    name::TargetName,
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
        store: PathBuf::new(),
        site_dir: PathBuf::new(),
    }
}
