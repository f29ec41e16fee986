//! What a fleet meets on a site that is published already.

use crate::{
    check::Files,
    name::{ChannelName, TargetName},
    rollout::Phase,
    site::Index,
    ui::Hinted,
};
use anyhow::{Context, Result, anyhow};
use towline_descriptor::{Chip, Sha256, Version};

/// What a site offers to the devices of a target.
#[derive(Clone, Debug)]
pub struct Published {
    /// The project.
    pub project: String,
    /// Where the site is served.
    pub base_url: String,
    /// The target.
    pub target: TargetName,
    /// Its chip.
    pub chip: Chip,
    /// Bytes of its slots, if they are known.
    pub slot_size: Option<u32>,
    /// The release that is offered.
    pub offered: Version,
    /// The newest release before it.
    pub before: Option<Version>,
    /// What devices read.
    pub phase: Phase,
    /// SHA-256 of the images of all releases.
    pub images: Vec<(Version, Sha256)>,
}

/// Reads what a channel of a site serves to a target; `None` is the only one.
///
/// # Errors
/// If the site has no such channel or target, or its files cannot be read.
pub fn published(
    files: &impl Files,
    channel: &ChannelName,
    target: Option<&TargetName>,
) -> Result<Published> {
    let read = |path: &str| files.read(path).map_err(|fault| anyhow!("{path}: {fault}"));
    let index: Index = serde_json::from_slice(&read("releases.json")?).context("releases.json")?;
    let found = index.channels.iter().find(|found| found.name == *channel);
    let Some(found) = found else {
        let names: Vec<_> = index.channels.iter().map(|channel| channel.name.as_str()).collect();
        let message = format!("the site has no channel {channel}");
        let hint = format!("choose one with `--channel`: {}", names.join(", "));
        return Err(Hinted::new(message, hint).into());
    };
    let served = match target {
        Some(target) => found.targets.iter().find(|served| served.target == *target),
        None => found.targets.first().filter(|_| found.targets.len() == 1),
    };
    let Some(served) = served else {
        let names: Vec<_> = found.targets.iter().map(|served| served.target.as_str()).collect();
        let message = format!("{channel} serves {}", names.join(", "));
        return Err(Hinted::new(message, "choose one with `--target`").into());
    };
    let releases = || {
        let images = index.releases.iter().flat_map(|release| {
            release.targets.iter().map(move |target| (&release.version, target))
        });
        images.filter(|(_, target)| target.target == served.target)
    };
    let (_, image) =
        releases().find(|(version, _)| **version == served.version).with_context(|| {
            format!("releases.json lists no {} of {}", served.version, served.target)
        })?;
    let before = releases()
        .map(|(version, _)| version)
        .filter(|version| version.precedence(&served.version).is_lt())
        .max_by(|a, b| a.precedence(b));
    let document = read(&served.descriptor)?;
    let images = releases().map(|(version, image)| (version.clone(), image.app.sha256));
    Ok(Published {
        project: index.project.to_string(),
        base_url: index.base_url.clone(),
        target: served.target.clone(),
        chip: image.chip,
        slot_size: image.slot_size,
        offered: served.version.clone(),
        before: before.cloned(),
        images: images.collect(),
        phase: Phase::of(document).map_err(|error| anyhow!("{}: {error}", served.descriptor))?,
    })
}
