//! Putting a release together whose targets were built apart, such as in the jobs
//! of a workflow.
//!
//! ```text
//! parts/esp32c3, a store --+
//! parts/esp32c6, a store --+-> one record -> rules of releases -> store
//! parts/esp32s3, a store --+   all targets
//! ```
//!
//! A release is of all targets or is none: one that failed publishes nothing.

use crate::{
    disk::Disk,
    name::TargetName,
    publish::{KeepError, Words, keep},
    release::{Admission, Artifact, Record, Role},
    site::artifact_path,
    store::{DirectoryStore, Store, StoreError, StoreMut},
};
use indexmap::IndexMap;
use rayon::prelude::*;
use std::path::{Path, PathBuf};
use towline::image::Head;
use towline_descriptor::{Sha256, Version};

/// Some targets of a release, in a store of their own.
#[derive(Debug)]
pub struct Part {
    /// The folder of the store, for messages.
    pub path: PathBuf,
    /// What was built.
    pub record: Record,
}

/// Why parts do not make a release.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// There is no part.
    #[error("there is no part to merge")]
    Empty,
    /// A folder is no part.
    #[error("{}: {found} releases, where a part has one", path.display())]
    NotOne {
        /// The folder.
        path: PathBuf,
        /// How many releases it has.
        found: usize,
    },
    /// Two parts are not of the same release.
    #[error("{what} differs: {} has {first}, {} has {second}", first_path.display(), second_path.display())]
    Differs {
        /// What differs.
        what: &'static str,
        /// A part.
        first_path: PathBuf,
        /// What it has.
        first: String,
        /// Another part.
        second_path: PathBuf,
        /// What that has.
        second: String,
    },
    /// Two parts have the same target.
    #[error("target {target} is in both {} and {}", first.display(), second.display())]
    Twice {
        /// The target.
        target: TargetName,
        /// A part.
        first: PathBuf,
        /// Another part.
        second: PathBuf,
    },
    /// A part has a target that the project has not.
    #[error("{}: target {target} is not in towline.toml", path.display())]
    Unknown {
        /// The target.
        target: TargetName,
        /// The part.
        path: PathBuf,
    },
    /// Targets of the project are in no part.
    #[error("no part has {}: a release is of all targets", missing.join(", "))]
    Missing {
        /// The targets.
        missing: Vec<String>,
    },
    /// The release would understand no settings, not even its own.
    #[error("--min-from {min_from} is higher than the release, which is {version}")]
    MinFrom {
        /// What was asked for.
        min_from: Version,
        /// The version of the release.
        version: Version,
    },
    /// An artifact is not what the record of its part says.
    #[error("{}: {path}: {reason}", part.display())]
    Artifact {
        /// The part.
        part: PathBuf,
        /// The artifact, by its path on the site.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// A store could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Part {
    /// Reads the part in a folder.
    ///
    /// # Errors
    /// If it has not exactly one release.
    pub fn read(path: &Path) -> Result<Self, MergeError> {
        let mut records = DirectoryStore::new(path, Disk::default()).records()?;
        match (records.pop(), records.len()) {
            (Some(record), 0) => Ok(Self { path: path.to_owned(), record }),
            (record, others) => Err(MergeError::NotOne {
                path: path.to_owned(),
                found: others + usize::from(record.is_some()),
            }),
        }
    }
}

/// Makes one record of those of parts: of the same commit, with each of `targets`
/// but those that are `dropped` in one part, and in their order. The oldest version
/// whose settings are understood is that of the parts.
///
/// # Errors
/// [`MergeError`].
pub fn merge<'t>(
    parts: &[Part],
    targets: impl IntoIterator<Item = &'t TargetName>,
    dropped: &[TargetName],
) -> Result<Record, MergeError> {
    let (first, others) = parts.split_first().ok_or(MergeError::Empty)?;
    for part in others {
        if let Some((what, a, b)) = difference(&first.record, &part.record) {
            let (first_path, second_path) = (first.path.clone(), part.path.clone());
            return Err(MergeError::Differs { what, first_path, first: a, second_path, second: b });
        }
    }
    let mut found = IndexMap::new();
    for part in parts {
        for (name, target) in &part.record.targets {
            if let Some((other, _)) = found.insert(name, (part, target)) {
                let (first, second) = (other.path.clone(), part.path.clone());
                return Err(MergeError::Twice { target: name.clone(), first, second });
            }
        }
    }
    let mut merged = IndexMap::new();
    let mut missing = Vec::new();
    for name in targets {
        match found.shift_remove(name) {
            Some(_) if dropped.contains(name) => {}
            Some((_, target)) => drop(merged.insert(name.clone(), target.clone())),
            None if dropped.contains(name) => {}
            None => missing.push(name.to_string()),
        }
    }
    if let Some((name, (part, _))) = found.into_iter().next() {
        return Err(MergeError::Unknown { target: name.clone(), path: part.path.clone() });
    }
    if !missing.is_empty() {
        return Err(MergeError::Missing { missing });
    }
    Ok(Record { targets: merged, ..first.record.clone() })
}

/// Returns what of two parts is not of one release. Their notes are not looked
/// at: those of the release are made when it is whole.
fn difference(a: &Record, b: &Record) -> Option<(&'static str, String, String)> {
    let commit = |record: &Record| record.commit.clone().unwrap_or_else(|| "none".into());
    let dirty = |record: &Record| match record.dirty {
        true => "changes that are not committed".to_owned(),
        false => "none".to_owned(),
    };
    let min_from = |record: &Record| record.min_from.as_ref().map_or("none".into(), text);
    let facts: [(&'static str, [String; 2]); 6] = [
        ("the project", [a, b].map(|record| text(&record.project))),
        ("the version", [a, b].map(|record| text(&record.version))),
        ("the commit", [a, b].map(commit)),
        ("the time of the source", [a, b].map(|record| text(&record.source_date))),
        ("the state of the work tree", [a, b].map(dirty)),
        ("--min-from", [a, b].map(min_from)),
    ];
    let differing = facts.into_iter().find(|(_, [a, b])| a != b);
    differing.map(|(what, [a, b])| (what, a, b))
}

fn text(value: &impl ToString) -> String {
    value.to_string()
}

/// A release whose parts are put together, with the bytes of its artifacts.
#[derive(Debug)]
pub struct Merged {
    /// What it will be recorded as.
    pub record: Record,
    artifacts: Vec<Bytes>,
}

/// An artifact with its path on the site.
#[derive(Debug)]
struct Bytes {
    path: String,
    artifact: Artifact,
    bytes: Vec<u8>,
}

impl Merged {
    /// Puts parts together and verifies every artifact of them. `words` take the
    /// place of what the parts say of themselves.
    ///
    /// # Errors
    /// [`MergeError`].
    pub fn new<'t>(
        parts: &[Part],
        targets: impl IntoIterator<Item = &'t TargetName>,
        dropped: &[TargetName],
        words: impl FnOnce(&Record) -> Words,
    ) -> Result<Self, MergeError> {
        let mut record = merge(parts, targets, dropped)?;
        let Words { notes, min_from } = words(&record);
        record.notes = notes;
        record.min_from = min_from.or(record.min_from);
        if let Some(min_from) = &record.min_from
            && min_from.precedence(&record.version).is_gt()
        {
            let (min_from, version) = (min_from.clone(), record.version.clone());
            return Err(MergeError::MinFrom { min_from, version });
        }
        let files = parts.iter().flat_map(|part| {
            let targets = part.record.targets.iter();
            targets.flat_map(move |(name, target)| {
                target.artifacts().map(move |(role, artifact)| (part, name, role, artifact))
            })
        });
        let files: Vec<_> = files.collect();
        let artifacts = files.into_par_iter().map(|(part, name, role, artifact)| {
            let path = artifact_path(&record, name, role, artifact);
            let bytes = DirectoryStore::new(&part.path, Disk::default()).artifact(artifact)?;
            check(&part.record, name, role, artifact, &bytes).map_err(|reason| {
                MergeError::Artifact { part: part.path.clone(), path: path.clone(), reason }
            })?;
            Ok(Bytes { path, artifact: artifact.clone(), bytes })
        });
        let artifacts = artifacts.collect::<Result<_, MergeError>>()?;
        Ok(Self { record, artifacts })
    }

    /// Returns the files that were built, by their path on the site.
    pub fn files(&self) -> impl Iterator<Item = (String, &[u8])> {
        self.artifacts.iter().map(|file| (file.path.clone(), file.bytes.as_slice()))
    }

    /// Checks the rules of releases, and keeps the release if it is new.
    ///
    /// # Errors
    /// [`KeepError`]; a release that breaks a rule leaves no trace.
    pub fn keep(
        &self,
        store: &impl StoreMut,
        existing: &[Record],
        dropped: &[TargetName],
    ) -> Result<Admission, KeepError> {
        keep(&self.record, store, existing, dropped, || self.put_artifacts(store))
    }

    /// Keeps all artifacts, those too that are kept already but were damaged.
    ///
    /// # Errors
    /// If one cannot be written.
    pub fn put_artifacts(&self, store: &impl StoreMut) -> Result<(), StoreError> {
        // Boot selection and the like are the same for several targets.
        let by_hash: IndexMap<Sha256, &Bytes> =
            self.artifacts.iter().map(|file| (file.artifact.sha256, file)).collect();
        let each_once: Vec<_> = by_hash.into_values().collect();
        each_once
            .into_par_iter()
            .try_for_each(|file| store.put_artifact(&file.artifact, &file.bytes))
    }
}

/// Checks bytes whose hash is right against what else the record says of them.
fn check(
    record: &Record,
    name: &TargetName,
    role: Role,
    artifact: &Artifact,
    bytes: &[u8],
) -> Result<(), String> {
    if bytes.len() != artifact.size as usize {
        return Err(format!("has {} bytes, the record says {}", bytes.len(), artifact.size));
    }
    if role != Role::App {
        return Ok(());
    }
    towline::image::check(bytes).map_err(|error| error.to_string())?;
    let head = bytes.first_chunk().map(Head::parse).ok_or("ends too early")?;
    let head = head.map_err(|error| error.to_string())?;
    let chip = record.targets[name].chip;
    if head.header.chip_id != chip.id() {
        return Err(format!("is for chip id {}, the record says {chip}", head.header.chip_id));
    }
    let (project, version) = (head.app.project_name.as_str(), head.app.version.as_str());
    if (project, version) != (record.project.as_str(), record.version.as_str()) {
        return Err(format!(
            "is {project} {version}, the record says {} {}",
            record.project, record.version
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
