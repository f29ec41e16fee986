//! Signatures of artifacts, and the sums of each release.
//!
//! ```text
//! firmware/<project>/<version>/<artifact>.bin
//!                              <artifact>.bin.minisig
//!                              SHA256SUMS             what `sha256sum -c` reads
//!                              SHA256SUMS.minisig
//! dist/store/signatures/<keyid>/<version>.json        those that were made
//! ```
//!
//! Artifacts never change, and neither does the signature of one by a key: each
//! is made once and kept in the store.

use super::{SigningError, minisig};
use crate::{
    disk::Disk,
    keys::{PublicKey, SecretKey, root::Root},
    release::{Artifact, Record},
    site::{SiteError, artifact_path, release_path},
    store::{Store, artifact_of},
};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};
use towline_descriptor::{KeyId, Sha256};

/// Name of the file with the sums of a release.
pub const SUMS: &str = "SHA256SUMS";

/// Signatures of a release by a key, as the store keeps them.
#[derive(Default, Serialize, Deserialize)]
struct Kept(BTreeMap<String, Signature>);

/// The signature of a file.
#[derive(Clone, Serialize, Deserialize)]
struct Signature {
    sha256: Sha256,
    minisig: String,
}

/// Returns the artifacts of a release by their path on the site, each once.
pub(crate) fn files(record: &Record) -> BTreeMap<String, &Artifact> {
    let mut files = BTreeMap::new();
    for (name, target) in &record.targets {
        for (role, artifact) in target.artifacts() {
            files.insert(artifact_path(record, name, role, artifact), artifact);
        }
    }
    files
}

/// Writes the sums of a release as `sha256sum` does.
pub fn sums(record: &Record) -> String {
    let folder = release_path(record);
    let line = |(path, artifact): (&String, &&Artifact)| {
        format!("{}  {}\n", artifact.sha256, path.trim_start_matches(&folder))
    };
    files(record).iter().map(line).collect()
}

/// Returns what the signature of a file of a release says beside it.
fn comment(record: &Record, file: &str) -> String {
    minisig::trusted_comment(file, record.version.as_str(), record.project.as_str())
}

/// Signs all files of these releases by a channel key of `root`, and returns the
/// signatures by their path on the site. What the store keeps is not signed
/// again.
///
/// # Errors
/// [`SiteError`].
pub fn sign(
    releases: &[Record],
    root: &Root,
    keys: &[SecretKey],
    store: &impl Store,
    folder: &Path,
    disk: &Disk,
) -> Result<BTreeMap<String, String>, SiteError> {
    let mut signatures = BTreeMap::new();
    for record in releases {
        let signed = of_release(record, root, keys, store, folder, disk)?;
        let folder = release_path(record);
        signatures.extend(signed.0.into_iter().map(|(file, signature)| {
            (format!("{folder}{file}{}", minisig::EXTENSION), signature.minisig)
        }));
    }
    Ok(signatures)
}

fn of_release(
    record: &Record,
    root: &Root,
    keys: &[SecretKey],
    store: &impl Store,
    folder: &Path,
    disk: &Disk,
) -> Result<Kept, SiteError> {
    let sums = sums(record);
    let sums_artifact = artifact_of(sums.as_bytes())?;
    let release = release_path(record);
    let mut wanted: BTreeMap<String, &Artifact> = files(record)
        .into_iter()
        .map(|(path, artifact)| (path.trim_start_matches(&release).to_owned(), artifact))
        .collect();
    wanted.insert(SUMS.into(), &sums_artifact);
    let public: Vec<PublicKey> = root.channel_keys();
    // A key whose signatures are all there need not be at hand.
    for key in &public {
        let mut kept = Kept::read(&path(folder, key.id(), record));
        kept.retain(&wanted);
        if kept.0.len() == wanted.len() {
            return Ok(kept);
        }
    }
    let key = public.iter().find_map(|public| keys.iter().find(|key| key.public() == *public));
    let key = key.ok_or_else(|| SigningError::NoKey {
        what: format!("release {}", record.version),
        threshold: 1,
        at_hand: 0,
        keys: public.iter().map(|key| key.id().to_string()).collect(),
    })?;
    let path = path(folder, key.public().id(), record);
    let mut kept = Kept::read(&path);
    kept.retain(&wanted);
    let missing: Vec<_> = wanted.iter().filter(|(file, _)| !kept.0.contains_key(*file)).collect();
    let made: Vec<_> = missing
        .into_par_iter()
        .map(|(file, artifact)| {
            let bytes = match file.as_str() {
                SUMS => sums.clone().into_bytes(),
                _ => store.artifact(artifact)?,
            };
            let minisig = minisig::sign(key, &bytes, file, &comment(record, file));
            Ok((file.clone(), Signature { sha256: artifact.sha256, minisig }))
        })
        .collect::<Result<_, SiteError>>()?;
    kept.0.extend(made);
    if let Some(folder) = path.parent() {
        disk.create_dir(folder)?;
        disk.clean_in(folder)?;
    }
    disk.write(&path, &serde_json::to_vec(&kept).map_err(io::Error::other)?)?;
    Ok(kept)
}

fn path(folder: &Path, key: KeyId, record: &Record) -> PathBuf {
    folder.join(key.to_string()).join(format!("{}.json", record.version))
}

impl Kept {
    /// Reads what is kept; nothing if it is missing or not understood.
    fn read(path: &Path) -> Self {
        let text = fs::read(path).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    fn retain(&mut self, wanted: &BTreeMap<String, &Artifact>) {
        self.0.retain(|file, kept| wanted.get(file).is_some_and(|a| a.sha256 == kept.sha256));
    }
}

/// Verifies the signature of a file of a release by one of `keys`.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn verify(
    keys: &[PublicKey],
    bytes: &[u8],
    signature: &[u8],
    (file, version, project): (&str, &str, &str),
) -> Result<(), String> {
    minisig::verify(keys, bytes, signature, &minisig::trusted_comment(file, version, project))
}
