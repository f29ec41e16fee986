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
mod tests {
    use super::*;
    use crate::github::model::State;
    use towline_descriptor::Sha256;

    fn goal() -> Goal {
        let file = |name: &str, seed: u8, stage| File {
            name: name.into(),
            artifact: Artifact { size: u32::from(seed), sha256: Sha256([seed; 32]) },
            stage,
        };
        Goal {
            tag: "v1.0.0".into(),
            version: "1.0.0".parse().unwrap(),
            name: "lamp 1.0.0".into(),
            body: String::new(),
            commit: None,
            prerelease: false,
            files: vec![
                file("a.bin", 1, Stage::Artifacts),
                file("SHA256SUMS", 2, Stage::Sums),
                file("release.json", 3, Stage::Record),
            ],
        }
    }

    fn asset(id: u64, name: &str, seed: u8) -> Asset {
        let digest = Some(format!("sha256:{}", Sha256([seed; 32])));
        Asset { id, name: name.into(), state: State::Uploaded, size: seed.into(), digest }
    }

    fn release(id: u64, draft: bool, assets: &[Asset]) -> Release {
        Release {
            id,
            tag_name: "v1.0.0".into(),
            draft,
            prerelease: false,
            body: None,
            html_url: String::new(),
            upload_url: String::new(),
            assets: assets.to_vec(),
        }
    }

    fn all() -> [Asset; 3] {
        [asset(11, "a.bin", 1), asset(12, "SHA256SUMS", 2), asset(13, "release.json", 3)]
    }

    fn planned(releases: &[Release]) -> Vec<String> {
        let found = Found { releases: releases.to_vec(), ..Found::default() };
        plan(&goal(), &found).unwrap().calls.iter().map(ToString::to_string).collect()
    }

    const UPLOADS: [&str; 3] = [
        "POST assets: a.bin, 1 bytes",
        "POST assets: SHA256SUMS, 2 bytes",
        "POST assets: release.json, 3 bytes",
    ];
    const PUBLISH: &str = "PATCH releases: publish, the latest";

    #[test]
    fn artifacts_come_before_sums_and_these_before_the_record() {
        let created = [&["POST releases: a draft of v1.0.0"], &UPLOADS[..], &[PUBLISH]].concat();
        assert_eq!(planned(&[]), created);
        assert_eq!(planned(&[release(1, true, &[])]), created[1..]);
    }

    #[test]
    fn what_is_there_is_not_uploaded_again() {
        assert_eq!(planned(&[release(1, true, &all())]), [PUBLISH]);
        assert!(planned(&[release(1, false, &all())]).is_empty());
        assert_eq!(planned(&[release(1, false, &all()[..2])]), UPLOADS[2..]);
    }

    #[test]
    fn an_upload_that_broke_off_is_made_anew() {
        let mut assets = all();
        assets[1].state = State::Starter;
        assets[1].size = 0;
        let deleted = "DELETE releases/assets/12: the upload of SHA256SUMS broke off";
        assert_eq!(planned(&[release(1, true, &assets)]), [deleted, UPLOADS[1], PUBLISH]);
    }

    #[test]
    fn other_bytes_are_an_error_before_anything_is_done() {
        let refused = |assets: &[Asset]| {
            let releases = vec![release(1, true, assets)];
            plan(&goal(), &Found { releases, ..Found::default() }).unwrap_err().to_string()
        };
        let error = refused(&[asset(11, "a.bin", 9)]);
        let hash = |seed: u8| Sha256([seed; 32]).to_string();
        assert!(error.contains(&hash(9)) && error.contains(&hash(1)), "{error}");
        let mut longer = asset(11, "a.bin", 1);
        (longer.size, longer.digest) = (7, None);
        assert!(refused(&[longer]).contains("7 bytes"));
    }

    #[test]
    fn without_hashes_assets_are_compared_once() {
        let mut assets = all();
        assets.iter_mut().for_each(|asset| asset.digest = None);
        let releases = vec![release(1, false, &assets)];
        assert_eq!(planned(&releases).len(), 3);
        let found = Found { releases, compared: [11, 12, 13].into(), ..Found::default() };
        assert!(plan(&goal(), &found).unwrap().calls.is_empty());
    }

    #[test]
    fn drafts_of_one_tag_come_together_in_the_oldest_or_the_published_one() {
        let (first, second) = (release(1, true, &all()[..1]), release(2, true, &all()[..2]));
        let expected = ["DELETE releases/2: a draft too many", UPLOADS[1], UPLOADS[2], PUBLISH];
        assert_eq!(planned(&[second.clone(), first]), expected);
        assert_eq!(
            planned(&[release(1, true, &[]), release(2, false, &all())]),
            ["DELETE releases/1: a draft too many"]
        );
    }

    #[test]
    fn what_a_person_put_into_a_draft_is_not_lost() {
        let foreign = asset(21, "manual.pdf", 5);
        let releases = [release(1, true, &all()), release(2, true, &[foreign.clone()])];
        let carried = "GET releases/assets/21, POST assets: carry manual.pdf over, 5 bytes";
        let discarded = "DELETE releases/2: a draft too many";
        assert_eq!(planned(&releases), [carried, discarded, PUBLISH]);

        let mut has_it = releases.clone();
        has_it[0].assets.push(Asset { id: 14, ..foreign });
        assert_eq!(planned(&has_it), [discarded, PUBLISH]);
        has_it[0].assets[3].digest = Some(format!("sha256:{}", Sha256([6; 32])));
        let found = Found { releases: has_it.into(), ..Found::default() };
        assert!(matches!(plan(&goal(), &found), Err(PlanError::Doubled { .. })));
    }

    #[test]
    fn the_latest_is_the_highest_that_is_no_prerelease() {
        let publish = |version: &str, highest: &str| {
            let version: Version = version.parse().unwrap();
            let goal = Goal { prerelease: version.is_prerelease(), version, ..goal() };
            let highest = Some(highest.parse().unwrap());
            let releases = vec![release(1, true, &all())];
            let plan = plan(&goal, &Found { releases, highest, ..Found::default() }).unwrap();
            plan.calls[0].clone()
        };
        let is = |prerelease, latest| Call::Publish { prerelease, latest };
        assert_eq!(publish("1.10.0", "1.9.0"), is(false, true));
        assert_eq!(publish("1.8.1", "1.9.0"), is(false, false));
        assert_eq!(publish("2.0.0-rc.1", "1.9.0"), is(true, false));
    }
}
