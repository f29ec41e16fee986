//! A release of the store as it is to be on GitHub.

use super::{
    Place, RECORD,
    plan::{File, Goal, Stage},
};
use crate::{
    release::{Artifact, Record},
    signing::artifacts::{self, SUMS},
    site::size_text,
    store::{DirectoryStore, Store, StoreError, artifact_of},
};
use hyper::body::Bytes;
use std::{collections::BTreeMap, fmt::Write};

/// The most bytes of notes: GitHub takes 125,000 characters in all.
const MAX_NOTES: usize = 100_000;

/// A release of the store, and how its files are read.
pub struct Local<'a> {
    /// What is to be on GitHub.
    pub goal: Goal,
    store: &'a DirectoryStore,
    /// Files that are no artifacts of the store.
    texts: BTreeMap<String, Bytes>,
}

impl<'a> Local<'a> {
    /// Takes a release out of the store.
    ///
    /// # Errors
    /// If its record cannot be read.
    pub fn new(
        record: &Record,
        store: &'a DirectoryStore,
        place: &Place,
        title: &str,
        prerelease: bool,
    ) -> Result<Self, StoreError> {
        let file_name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        let mut files: Vec<_> = artifacts::files(record)
            .into_iter()
            .map(|(path, artifact)| File {
                name: file_name(&path),
                artifact: artifact.clone(),
                stage: Stage::Artifacts,
            })
            .collect();
        let sums = artifacts::sums(record).into_bytes();
        let text = store.record_text(&record.version)?;
        let mut texts = BTreeMap::new();
        for (name, bytes, stage) in [(SUMS, sums, Stage::Sums), (RECORD, text, Stage::Record)] {
            files.push(File { name: name.into(), artifact: artifact_of(&bytes)?, stage });
            texts.insert(name.to_owned(), Bytes::from(bytes));
        }
        let goal = Goal {
            tag: place.tags.tag(&record.version),
            version: record.version.clone(),
            name: format!("{title} {}", record.version.without_v()),
            body: body(record),
            commit: record.commit.clone(),
            prerelease,
            files,
        };
        Ok(Self { goal, store, texts })
    }

    /// Returns the bytes of a file.
    ///
    /// # Errors
    /// If the store does not have them, whole.
    pub(super) fn bytes(&self, file: &File) -> Result<Bytes, StoreError> {
        match self.texts.get(&file.name) {
            Some(bytes) => Ok(bytes.clone()),
            None => self.store.artifact(&file.artifact).map(Bytes::from),
        }
    }

    /// Returns the file of a name that a plan has.
    pub(super) fn file(&self, name: &str) -> &File {
        let file = self.goal.files.iter().find(|file| file.name == name);
        file.expect("a plan names files of its goal")
    }
}

/// Writes what a GitHub Release says: the notes, and a table of its targets.
fn body(record: &Record) -> String {
    let notes = record.notes.as_deref().unwrap_or_default().trim();
    let end = (0..=notes.len().min(MAX_NOTES)).rev().find(|end| notes.is_char_boundary(*end));
    let mut body = notes[..end.unwrap_or_default()].to_owned();
    if !body.is_empty() {
        body.push_str("\n\n");
    }
    body.push_str("| Target | Size | SHA-256 |\n|---|---|---|\n");
    for (name, target) in &record.targets {
        let Artifact { size, sha256 } = &target.app;
        // Writing to a text does not fail.
        let _ = writeln!(body, "| {name} | {} | `{sha256}` |", size_text((*size).into()));
    }
    body
}
