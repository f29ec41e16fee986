//! What is left to do until a release is on GitHub: a pure function of what is
//! wanted and what is there.
//!
//! | there | done |
//! |---|---|
//! | nothing | a draft is made, and GitHub is looked at again |
//! | several drafts of the tag, or drafts beside a published release | the published one counts, else the oldest; what only the others have is carried over, then they are discarded |
//! | an asset whose upload broke off | deleted, and uploaded anew |
//! | an asset of ours with other bytes | an error, before anything is changed |
//! | an asset of ours whose hash GitHub does not tell | downloaded and compared |
//! | an asset of somebody else's | left alone |
//! | a published release that lacks something | completed |
//! | all of it | nothing |
//!
//! Two runs that both make a draft come together: each looks again after that, and
//! sees the same oldest one.

use super::model::{Asset, Release};
use crate::release::Artifact;
use serde::Serialize;
use std::{collections::BTreeSet, fmt};
use towline_descriptor::Version;

/// A release as it is to be.
#[derive(Clone, Debug)]
pub struct Goal {
    /// The tag.
    pub tag: String,
    /// The version.
    pub version: Version,
    /// Its title.
    pub name: String,
    /// What it says, Markdown.
    pub body: String,
    /// The commit that a tag is made at, if there is none yet.
    pub commit: Option<String>,
    /// Whether it is marked as a prerelease.
    pub prerelease: bool,
    /// Its files in the order of their stages.
    pub files: Vec<File>,
}

/// A file of a release.
#[derive(Clone, Debug)]
pub struct File {
    /// Its name.
    pub name: String,
    /// Size and hash.
    pub artifact: Artifact,
    /// When it is uploaded.
    pub stage: Stage,
}

/// What is uploaded before what: whoever finds a file finds all that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Artifacts, in any order.
    Artifacts,
    /// Their sums.
    Sums,
    /// The record.
    Record,
}

/// What is on GitHub.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The releases with the tag, drafts too, with all their assets.
    pub releases: Vec<Release>,
    /// The highest version that is published and no prerelease, this one aside.
    pub highest: Option<Version>,
    /// Assets whose bytes were seen to be right, by their numbers.
    pub compared: BTreeSet<u64>,
}

/// A call that changes something, or a download that decides about one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "call", rename_all = "kebab-case")]
pub enum Call {
    /// Download an asset to compare it.
    Compare {
        /// The file.
        name: String,
        /// The asset.
        asset: u64,
    },
    /// Make a draft.
    Create {
        /// Its tag.
        tag: String,
    },
    /// Take an asset over from a draft that is to be discarded.
    Carry {
        /// Its name.
        name: String,
        /// The asset.
        asset: u64,
        /// Its size in bytes.
        size: u64,
    },
    /// Delete a draft that is there twice.
    Discard {
        /// The release.
        release: u64,
    },
    /// Delete an upload that broke off.
    Delete {
        /// Its name.
        name: String,
        /// The asset.
        asset: u64,
    },
    /// Upload a file.
    Upload {
        /// Its name.
        name: String,
        /// Its size in bytes.
        size: u32,
    },
    /// Publish the draft.
    Publish {
        /// Whether it is marked as a prerelease.
        prerelease: bool,
        /// Whether it becomes the latest release.
        latest: bool,
    },
}

/// The calls, and the release that they are about; `None` if it is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The release.
    pub release: Option<Release>,
    /// The calls in order.
    pub calls: Vec<Call>,
}

/// Why a release cannot be completed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// An asset has other bytes.
    #[error("{tag} on GitHub has {name} with other bytes:\n  there {found}\n  here  {expected}")]
    OtherBytes {
        /// The tag.
        tag: String,
        /// The asset.
        name: String,
        /// Size or hash of what is there.
        found: String,
        /// Size or hash of what was to be there.
        expected: String,
    },
    /// Two drafts have different assets of one name, neither of them ours.
    #[error("two releases of {tag} have different files named {name}")]
    Doubled {
        /// The tag.
        tag: String,
        /// The asset.
        name: String,
    },
}

/// Plans what is left to do.
///
/// # Errors
/// [`PlanError`]; nothing may be changed then.
pub fn plan(goal: &Goal, found: &Found) -> Result<Plan, PlanError> {
    let upload = |file: &File| Call::Upload { name: file.name.clone(), size: file.artifact.size };
    let is_latest = !goal.prerelease
        && found.highest.as_ref().is_none_or(|highest| highest.precedence(&goal.version).is_lt());
    let publish = Call::Publish { prerelease: goal.prerelease, latest: is_latest };
    let Some(kept) = found.releases.iter().min_by_key(|release| (release.draft, release.id)) else {
        let create = Call::Create { tag: goal.tag.clone() };
        let uploads = goal.files.iter().map(upload);
        let calls = std::iter::once(create).chain(uploads).chain([publish]).collect();
        return Ok(Plan { release: None, calls });
    };
    let (mut compare, mut calls) = (Vec::new(), Vec::new());
    for double in found.releases.iter().filter(|release| release.id != kept.id) {
        calls.extend(carried(goal, kept, double)?);
        calls.push(Call::Discard { release: double.id });
    }
    for file in &goal.files {
        let Some(asset) = asset(kept, &file.name) else {
            calls.push(upload(file));
            continue;
        };
        let name = file.name.clone();
        if !asset.is_complete() {
            calls.push(Call::Delete { name, asset: asset.id });
            calls.push(upload(file));
        } else if !is_right(goal, file, asset)? && !found.compared.contains(&asset.id) {
            compare.push(Call::Compare { name, asset: asset.id });
        }
    }
    compare.extend(calls);
    compare.extend(kept.draft.then_some(publish));
    Ok(Plan { release: Some(kept.clone()), calls: compare })
}

/// Returns whether an asset is known to be a file; it may be one if not.
fn is_right(goal: &Goal, file: &File, asset: &Asset) -> Result<bool, PlanError> {
    let other = |found: String, expected: String| {
        let (tag, name) = (goal.tag.clone(), file.name.clone());
        Err(PlanError::OtherBytes { tag, name, found, expected })
    };
    let Artifact { size, sha256 } = &file.artifact;
    match asset.sha256() {
        Some(found) if found != *sha256 => other(found.to_string(), sha256.to_string()),
        _ if asset.size != u64::from(*size) => {
            other(format!("{} bytes", asset.size), format!("{size} bytes"))
        }
        found => Ok(found.is_some()),
    }
}

/// Returns what only a double has, of files that are not ours.
fn carried(goal: &Goal, kept: &Release, double: &Release) -> Result<Vec<Call>, PlanError> {
    let mut calls = Vec::new();
    let is_ours = |name: &str| goal.files.iter().any(|file| file.name == name);
    for foreign in &double.assets {
        if !foreign.is_complete() || is_ours(&foreign.name) {
            continue;
        }
        let Asset { id, name, size, .. } = foreign.clone();
        match asset(kept, &name) {
            Some(twin) if !twin.is_complete() => {
                calls.push(Call::Delete { name: name.clone(), asset: twin.id });
                calls.push(Call::Carry { name, asset: id, size });
            }
            Some(twin) if (twin.size, twin.sha256()) == (size, foreign.sha256()) => {}
            Some(_) => return Err(PlanError::Doubled { tag: goal.tag.clone(), name }),
            None => calls.push(Call::Carry { name, asset: id, size }),
        }
    }
    Ok(calls)
}

fn asset<'a>(release: &'a Release, name: &str) -> Option<&'a Asset> {
    release.assets.iter().find(|asset| asset.name == name)
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compare { name, asset } => {
                write!(f, "GET releases/assets/{asset}: compare {name}")
            }
            Self::Create { tag } => write!(f, "POST releases: a draft of {tag}"),
            Self::Carry { name, asset, size } => {
                write!(
                    f,
                    "GET releases/assets/{asset}, POST assets: carry {name} over, {size} bytes"
                )
            }
            Self::Discard { release } => write!(f, "DELETE releases/{release}: a draft too many"),
            Self::Delete { name, asset } => {
                write!(f, "DELETE releases/assets/{asset}: the upload of {name} broke off")
            }
            Self::Upload { name, size } => write!(f, "POST assets: {name}, {size} bytes"),
            Self::Publish { prerelease, latest } => {
                let kind = if *prerelease { " as a prerelease" } else { "" };
                let latest = if *latest { ", the latest" } else { "" };
                write!(f, "PATCH releases: publish{kind}{latest}")
            }
        }
    }
}

#[cfg(test)]
mod tests;
