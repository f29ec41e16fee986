//! Where records and artifacts are kept.
//!
//! ```text
//! dist/store/
//!   artifacts/<sha256>       bytes, named by their hash
//!   releases/<version>.json  record, written after all it names
//! ```

use crate::{
    disk::Disk,
    release::{Artifact, Record},
};
use sha2::{Digest, Sha256 as Hasher};
use std::{
    io,
    path::{Path, PathBuf},
};
use towline_descriptor::{Sha256, Version};

/// Has records and artifacts.
pub trait Store: Sync {
    /// Returns all records, lowest version first.
    ///
    /// # Errors
    /// If one cannot be read: a site made without it would lose a release.
    fn records(&self) -> Result<Vec<Record>, StoreError>;

    /// Returns the bytes of an artifact, verified.
    ///
    /// # Errors
    /// If it is missing or has other bytes than its name says.
    fn artifact(&self, artifact: &Artifact) -> Result<Vec<u8>, StoreError>;

    /// Copies an artifact to `path`, as it is: who uses the copy verifies it.
    ///
    /// # Errors
    /// If it is missing or cannot be written.
    fn copy_artifact(&self, artifact: &Artifact, path: &Path) -> Result<(), StoreError>;
}

/// Keeps records and artifacts.
pub trait StoreMut: Store {
    /// Keeps an artifact, if it is not kept yet, with its bytes.
    ///
    /// # Errors
    /// If it cannot be written.
    fn put_artifact(&self, artifact: &Artifact, bytes: &[u8]) -> Result<(), StoreError>;

    /// Keeps a record. All artifacts that it names have to be kept already.
    ///
    /// # Errors
    /// If it cannot be written.
    fn put_record(&self, record: &Record) -> Result<(), StoreError>;
}

/// Why a store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// A record cannot be understood.
    #[error("{path}: not a release record: {reason}")]
    Record {
        /// The record.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// An artifact has other bytes than its name says.
    #[error(
        "{path}: damaged, its SHA-256 is {found}; release the version again from the same source to mend it"
    )]
    Damaged {
        /// The artifact.
        path: PathBuf,
        /// The hash of what is there.
        found: Sha256,
    },
    /// An artifact is too large to be one.
    #[error("{0} bytes are too large for an artifact")]
    TooLarge(usize),
    /// A store that is not on this machine failed.
    #[error("{0}")]
    Remote(String),
}

/// Keeps other runs from changing a store.
#[derive(Debug)]
#[must_use = "the store is free again when this is dropped"]
pub struct Lock {
    _file: std::fs::File,
}

/// A store in a folder.
#[derive(Debug)]
pub struct DirectoryStore {
    root: PathBuf,
    artifacts: PathBuf,
    releases: PathBuf,
    disk: Disk,
}

impl DirectoryStore {
    /// Opens the store in `root`; its folders are made when something is kept.
    pub fn new(root: &Path, disk: Disk) -> Self {
        Self {
            root: root.to_owned(),
            artifacts: root.join("artifacts"),
            releases: root.join("releases"),
            disk,
        }
    }

    /// Waits until no other run changes the store, makes the folders, and
    /// removes what killed runs left. The store is this run's until the result
    /// is dropped. `wait` is called if another run is at it.
    ///
    /// # Errors
    /// If that is not possible.
    pub fn lock(&self, wait: impl FnOnce()) -> Result<Lock, StoreError> {
        let path = self.root.join(".lock");
        let lock = || {
            std::fs::create_dir_all(&self.root)?;
            let file = std::fs::File::create(&path)?;
            if file.try_lock().is_err() {
                wait();
                file.lock()?;
            }
            Ok(Lock { _file: file })
        };
        let lock = lock().map_err(|source| StoreError::Io { path: path.clone(), source })?;
        self.prepare()?;
        Ok(lock)
    }

    fn prepare(&self) -> Result<(), StoreError> {
        for folder in [&self.root, &self.artifacts, &self.releases] {
            let prepare = || {
                self.disk.create_dir(folder)?;
                self.disk.clean_in(folder)
            };
            prepare().map_err(|source| StoreError::Io { path: folder.clone(), source })?;
        }
        Ok(())
    }

    /// Returns the bytes of the record of a version, as they are kept.
    ///
    /// # Errors
    /// If there is none.
    pub fn record_text(&self, version: &Version) -> Result<Vec<u8>, StoreError> {
        let path = self.record_path(version);
        std::fs::read(&path).map_err(|source| StoreError::Io { path, source })
    }

    /// Returns whether there is a file for an artifact, of the size that it has.
    pub fn has_artifact(&self, artifact: &Artifact) -> bool {
        let file = self.path(&artifact.sha256).metadata();
        file.is_ok_and(|file| file.len() == u64::from(artifact.size))
    }

    fn path(&self, sha256: &Sha256) -> PathBuf {
        self.artifacts.join(sha256.to_string())
    }

    fn record_path(&self, version: &Version) -> PathBuf {
        self.releases.join(format!("{version}.json"))
    }
}

/// Returns what an artifact of these bytes is called.
///
/// # Errors
/// [`StoreError::TooLarge`] for 4 GiB and more.
pub fn artifact_of(bytes: &[u8]) -> Result<Artifact, StoreError> {
    artifact_with(bytes, sha256(bytes))
}

/// Returns what an artifact of these bytes, whose hash is known, is called.
///
/// # Errors
/// [`StoreError::TooLarge`] for 4 GiB and more.
pub fn artifact_with(bytes: &[u8], sha256: Sha256) -> Result<Artifact, StoreError> {
    let size = u32::try_from(bytes.len()).map_err(|_| StoreError::TooLarge(bytes.len()))?;
    Ok(Artifact { size, sha256 })
}

/// Returns the SHA-256 of bytes.
pub fn sha256(bytes: &[u8]) -> Sha256 {
    Sha256(Hasher::digest(bytes).into())
}

impl Store for DirectoryStore {
    fn records(&self) -> Result<Vec<Record>, StoreError> {
        let entries = match self.releases.read_dir() {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(StoreError::Io { path: self.releases.clone(), source }),
        };
        let mut records = Vec::new();
        for entry in entries {
            let path = entry
                .map_err(|source| StoreError::Io { path: self.releases.clone(), source })?
                .path();
            if path.extension().is_some_and(|extension| extension == "json") {
                records.push(read_record(&path)?);
            }
        }
        records.sort_by(|a, b| a.version.precedence(&b.version));
        Ok(records)
    }

    fn artifact(&self, artifact: &Artifact) -> Result<Vec<u8>, StoreError> {
        let path = self.path(&artifact.sha256);
        let bytes =
            std::fs::read(&path).map_err(|source| StoreError::Io { path: path.clone(), source })?;
        match sha256(&bytes) {
            found if found == artifact.sha256 => Ok(bytes),
            found => Err(StoreError::Damaged { path, found }),
        }
    }

    fn copy_artifact(&self, artifact: &Artifact, path: &Path) -> Result<(), StoreError> {
        let from = self.path(&artifact.sha256);
        self.disk.copy(&from, path).map_err(|source| StoreError::Io { path: from, source })
    }
}

impl StoreMut for DirectoryStore {
    fn put_artifact(&self, artifact: &Artifact, bytes: &[u8]) -> Result<(), StoreError> {
        // What is there is trusted only if it is what it says.
        if self.artifact(artifact).is_err() {
            let path = self.path(&artifact.sha256);
            self.disk.write(&path, bytes).map_err(|source| StoreError::Io { path, source })?;
        }
        Ok(())
    }

    fn put_record(&self, record: &Record) -> Result<(), StoreError> {
        let path = self.record_path(&record.version);
        let mut text = serde_json::to_vec_pretty(record).expect("a record is plain data");
        text.push(b'\n');
        self.disk.write(&path, &text).map_err(|source| StoreError::Io { path, source })
    }
}

fn read_record(path: &Path) -> Result<Record, StoreError> {
    let fault = |reason: String| StoreError::Record { path: path.to_owned(), reason };
    let text =
        std::fs::read(path).map_err(|source| StoreError::Io { path: path.to_owned(), source })?;
    let record = Record::parse(&text).map_err(fault)?;
    let stem = path.file_stem().unwrap_or_default();
    if stem != Version::as_str(&record.version) {
        return Err(fault(format!("it is of version {}", record.version)));
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::tests::record;

    fn store() -> (tempfile::TempDir, DirectoryStore) {
        let dir = tempfile::tempdir().unwrap();
        let store = DirectoryStore::new(dir.path(), Disk::default());
        store.prepare().unwrap();
        (dir, store)
    }

    #[test]
    fn artifacts_are_named_by_their_content_and_verified() {
        let (_dir, store) = store();
        let artifact = artifact_of(b"firmware").unwrap();
        store.put_artifact(&artifact, b"firmware").unwrap();
        assert_eq!(store.artifact(&artifact).unwrap(), b"firmware");
        std::fs::write(store.path(&artifact.sha256), b"firmwarf").unwrap();
        assert!(matches!(store.artifact(&artifact), Err(StoreError::Damaged { .. })));
        store.put_artifact(&artifact, b"firmware").unwrap();
        assert_eq!(store.artifact(&artifact).unwrap(), b"firmware");
    }

    #[test]
    fn records_come_back_in_the_order_of_their_versions() {
        let (_dir, store) = store();
        for version in ["1.10.0", "1.2.0", "1.2.0-rc.1"] {
            store.put_record(&record(version, &["esp32c3"])).unwrap();
        }
        let versions: Vec<_> =
            store.records().unwrap().iter().map(|r| r.version.to_string()).collect();
        assert_eq!(versions, ["1.2.0-rc.1", "1.2.0", "1.10.0"]);
    }

    #[test]
    fn a_record_that_is_none_stops_everything() {
        let (dir, store) = store();
        let path = dir.path().join("releases/1.0.0.json");
        for text in ["", "{}", &serde_json::to_string(&record("2.0.0", &[])).unwrap()] {
            std::fs::write(&path, text).unwrap();
            assert!(matches!(store.records(), Err(StoreError::Record { .. })), "{text}");
        }
    }

    #[test]
    fn frozen_record_1_is_read() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/frozen/1.4.0-rc.1.json");
        let record = read_record(&path).unwrap();
        assert_eq!(record.targets[0].parts.len(), 4);
        assert_eq!((record.min_from, record.targets[0].psram), (None, None));
    }

    #[test]
    fn frozen_record_1_with_min_from_and_psram_is_read() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/frozen/1.5.0.json");
        let record = read_record(&path).unwrap();
        assert_eq!(record.min_from.as_ref().map(Version::as_str), Some("1.2.0"));
        assert_eq!(record.targets[0].psram, Some(8 << 20));
    }
}
