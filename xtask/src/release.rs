//! Release records: what was built, from what, with which hashes.
//!
//! A record is immutable. It names every artifact by its content, so that a
//! release can be published, promoted and checked without building anything.

use crate::name::{ProjectName, TargetName};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use towline_descriptor::{Chip, Sha256, Version};

/// The number of the record format that is written, and the only one read.
pub const FORMAT: u32 = 1;

/// A release of all targets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// [`FORMAT`].
    pub fmt: u32,
    /// The project.
    pub project: ProjectName,
    /// Version of every image, byte for byte.
    pub version: Version,
    /// Time of the source in seconds since 1970: the commit's, or
    /// `SOURCE_DATE_EPOCH`.
    pub source_date: i64,
    /// The commit that was built; `None` outside Git.
    pub commit: Option<String>,
    /// Whether the work tree had changes that are not in the commit.
    pub dirty: bool,
    /// Release notes, plain text.
    pub notes: Option<String>,
    /// The oldest version whose settings this one understands; `None` where all
    /// are understood. Records of before this field have none.
    pub min_from: Option<Version>,
    /// What was built for each target.
    pub targets: IndexMap<TargetName, TargetRecord>,
}

impl Record {
    /// Reads a record.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let record: Self = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        if record.fmt != FORMAT {
            return Err(format!("format {} is not known, only {FORMAT}", record.fmt));
        }
        Ok(record)
    }
}

/// What was built for a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetRecord {
    /// The chip.
    pub chip: Chip,
    /// Size of the flash chip in bytes.
    pub flash_size: u32,
    /// PSRAM in bytes that the board has to have. Records of before this field
    /// ask for none.
    pub psram: Option<u32>,
    /// Size of the smallest app slot in bytes; `None` without a partition
    /// table.
    pub slot_size: Option<u32>,
    /// Anti-rollback version of the image.
    pub secure_version: u32,
    /// The app image, which updates carry.
    pub app: Artifact,
    /// The parts of a first flash, the app among them; empty without a
    /// partition table.
    pub parts: Vec<Part>,
    /// All parts in one file that starts at offset 0. Writing it erases the
    /// settings between them.
    pub factory: Option<Artifact>,
}

/// A part of a first flash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// What it is.
    pub role: Role,
    /// Where it goes in flash, in bytes.
    pub offset: u32,
    /// The bytes.
    #[serde(flatten)]
    pub artifact: Artifact,
}

/// What an artifact is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Second-stage bootloader.
    Bootloader,
    /// Partition table, binary.
    PartitionTable,
    /// Blank boot selection: a first flash boots the app that it writes.
    Otadata,
    /// App image.
    App,
    /// All parts in one.
    Factory,
}

impl Role {
    /// Returns the name used in file names.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bootloader => "bootloader",
            Self::PartitionTable => "partition-table",
            Self::Otadata => "otadata",
            Self::App => "app",
            Self::Factory => "factory",
        }
    }
}

/// Immutable bytes, named by their hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Size in bytes.
    pub size: u32,
    /// SHA-256 of the bytes.
    pub sha256: Sha256,
}

impl Artifact {
    /// Returns the name of the artifact on a site; it holds the start of the
    /// hash, so that a name never has other bytes.
    pub fn file_name(&self, target: &TargetName, role: Role) -> String {
        let hash = self.sha256.to_string();
        format!("{target}-{}-{}.bin", role.as_str(), &hash[..12])
    }
}

impl TargetRecord {
    /// Returns every artifact with its role, each once.
    pub fn artifacts(&self) -> impl Iterator<Item = (Role, &Artifact)> {
        let parts = self.parts.iter().filter(|part| part.role != Role::App);
        std::iter::once((Role::App, &self.app))
            .chain(parts.map(|part| (part.role, &part.artifact)))
            .chain(self.factory.iter().map(|factory| (Role::Factory, factory)))
    }
}

/// A rule of releases that is broken.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// The version is released with other bytes.
    #[error(
        "release {version} already exists with other bytes for target {target}:\n  released {released}\n  built    {built}"
    )]
    OtherBytes {
        /// The version.
        version: Version,
        /// The first target that differs.
        target: TargetName,
        /// What the record has.
        released: String,
        /// What was built now.
        built: String,
    },
    /// A version of equal precedence is released.
    #[error("release {new} has the precedence of {old}: devices would not see a difference")]
    EqualPrecedence {
        /// The version that was asked for.
        new: Version,
        /// The version that exists.
        old: Version,
    },
    /// Targets of the previous release are missing.
    #[error("release {previous} had targets that this one lacks: {}", missing.join(", "))]
    MissingTargets {
        /// The previous release.
        previous: Version,
        /// The targets.
        missing: Vec<String>,
    },
    /// The project is not the one of the releases so far.
    #[error(
        "the releases so far are of project {old}, this one is of {new}: devices would refuse it"
    )]
    OtherProject {
        /// The project of the store.
        old: ProjectName,
        /// The project now.
        new: ProjectName,
    },
    /// A target has another chip than before.
    #[error("target {target} is an {new} now and was an {old}: its devices would refuse the image")]
    OtherChip {
        /// The target.
        target: TargetName,
        /// The chip before.
        old: Chip,
        /// The chip now.
        new: Chip,
    },
    /// A target was dropped and built.
    #[error("target {0} is both built and named in --drop-target")]
    DroppedAndBuilt(TargetName),
}

/// What is to be done with a release that was built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is new: record it.
    New,
    /// It is recorded already with the same bytes.
    Known,
}

/// Checks a release against those that exist, oldest first.
///
/// # Errors
/// [`RuleError`]: nothing may be recorded.
pub fn admit(
    record: &Record,
    existing: &[Record],
    dropped: &[TargetName],
) -> Result<Admission, RuleError> {
    if let Some(target) = dropped.iter().find(|target| record.targets.contains_key(*target)) {
        return Err(RuleError::DroppedAndBuilt(target.clone()));
    }
    if let Some(old) = existing.iter().find(|old| old.project != record.project) {
        let (old, new) = (old.project.clone(), record.project.clone());
        return Err(RuleError::OtherProject { old, new });
    }
    for (name, target) in &record.targets {
        let before = existing.iter().filter_map(|old| old.targets.get(name));
        if let Some(old) = before.map(|old| old.chip).find(|chip| *chip != target.chip) {
            return Err(RuleError::OtherChip { target: name.clone(), old, new: target.chip });
        }
    }
    let twin = existing.iter().find(|old| old.version.precedence(&record.version).is_eq());
    if let Some(old) = twin {
        if old.version != record.version {
            return Err(RuleError::EqualPrecedence {
                new: record.version.clone(),
                old: old.version.clone(),
            });
        }
        return match difference(record, old) {
            Some(error) => Err(error),
            None => Ok(Admission::Known),
        };
    }
    let previous = existing.iter().rfind(|old| old.version.precedence(&record.version).is_lt());
    if let Some(previous) = previous {
        let missing: Vec<_> = previous
            .targets
            .keys()
            .filter(|target| !record.targets.contains_key(*target) && !dropped.contains(target))
            .map(ToString::to_string)
            .collect();
        if !missing.is_empty() {
            return Err(RuleError::MissingTargets { previous: previous.version.clone(), missing });
        }
    }
    Ok(Admission::New)
}

/// Returns the first target whose bytes differ between the two.
fn difference(built: &Record, released: &Record) -> Option<RuleError> {
    let hashes = |record: &Record, target: &TargetName| match record.targets.get(target) {
        None => "(no such target)".to_owned(),
        Some(target) => {
            let differing =
                target.artifacts().map(|(role, a)| format!("{} {}", role.as_str(), a.sha256));
            differing.collect::<Vec<_>>().join("\n           ")
        }
    };
    let targets = built.targets.keys().chain(released.targets.keys());
    for target in targets {
        if built.targets.get(target) != released.targets.get(target) {
            let (mut old, mut new) = (hashes(released, target), hashes(built, target));
            if old == new {
                // The same bytes for another board: memory, slots or offsets.
                let facts = |record: &Record| {
                    let target = &record.targets[target];
                    let offsets: Vec<_> = target.parts.iter().map(|part| part.offset).collect();
                    format!(
                        "flash {:?}, PSRAM {:?}, slot {:?}, offsets {offsets:?}",
                        target.flash_size, target.psram, target.slot_size
                    )
                };
                (old, new) = (facts(released), facts(built));
            }
            return Some(RuleError::OtherBytes {
                version: built.version.clone(),
                target: target.clone(),
                released: old,
                built: new,
            });
        }
    }
    None
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A release with an app image for each of these targets.
    pub(crate) fn record(version: &str, targets: &[&str]) -> Record {
        let artifact = |seed: u8| Artifact { size: 700_000, sha256: Sha256([seed; 32]) };
        let app = artifact(version.len() as u8 ^ version.as_bytes()[0]);
        let target = |name: &str| TargetRecord {
            chip: name.parse().unwrap(),
            flash_size: 4 << 20,
            psram: None,
            slot_size: Some(0x1D_0000),
            secure_version: 0,
            app: app.clone(),
            parts: vec![
                Part { role: Role::Bootloader, offset: 0, artifact: artifact(1) },
                Part { role: Role::PartitionTable, offset: 0x8000, artifact: artifact(2) },
                Part { role: Role::App, offset: 0x1_0000, artifact: app.clone() },
            ],
            factory: Some(artifact(3)),
        };
        Record {
            fmt: FORMAT,
            project: "lamp".parse().unwrap(),
            version: version.parse().unwrap(),
            source_date: 1_790_000_000,
            commit: Some("0123456789abcdef0123456789abcdef01234567".into()),
            dirty: false,
            notes: Some("Brighter.\n<script>alert(1)</script>".into()),
            min_from: None,
            targets: targets.iter().map(|name| (name.parse().unwrap(), target(name))).collect(),
        }
    }

    #[test]
    fn the_same_bytes_again_are_known() {
        let old = record("1.0.0", &["esp32c3"]);
        let mut again = old.clone();
        again.notes = None;
        assert_eq!(admit(&again, &[old], &[]).unwrap(), Admission::Known);
    }

    #[test]
    fn other_bytes_under_the_same_version_show_both_hashes() {
        let old = record("1.0.0", &["esp32c3"]);
        let mut new = old.clone();
        new.targets[0].app.sha256 = Sha256([9; 32]);
        let error = admit(&new, std::slice::from_ref(&old), &[]).unwrap_err().to_string();
        assert!(error.contains(&Sha256([9; 32]).to_string()), "{error}");
        assert!(error.contains(&old.targets[0].app.sha256.to_string()), "{error}");
    }

    #[test]
    fn another_project_or_chip_is_refused() {
        let old = record("1.0.0", &["esp32c3"]);
        let mut new = record("1.1.0", &["esp32c3"]);
        new.targets[0].chip = Chip::Esp32s3;
        let error = admit(&new, std::slice::from_ref(&old), &[]).unwrap_err();
        assert!(matches!(error, RuleError::OtherChip { old: Chip::Esp32c3, .. }));
        let mut new = record("1.1.0", &["esp32c3"]);
        new.project = "fan".parse().unwrap();
        let error = admit(&new, &[old], &[]).unwrap_err();
        assert!(matches!(error, RuleError::OtherProject { .. }));
    }

    #[test]
    fn equal_precedence_is_no_new_release() {
        let error = admit(&record("v1.0.0", &[]), &[record("1.0.0", &[])], &[]).unwrap_err();
        assert!(matches!(error, RuleError::EqualPrecedence { .. }));
    }

    #[test]
    fn a_target_is_not_lost_by_accident() {
        let existing = [record("1.0.0", &["esp32c3", "esp32c6"]), record("2.0.0", &["esp32c3"])];
        let new = record("1.1.0", &["esp32c3"]);
        let error = admit(&new, &existing, &[]).unwrap_err();
        assert!(
            matches!(&error, RuleError::MissingTargets { missing, .. } if missing == &["esp32c6"])
        );
        let dropped = ["esp32c6".parse().unwrap()];
        assert_eq!(admit(&new, &existing, &dropped).unwrap(), Admission::New);
        assert!(admit(&record("2.1.0", &["esp32c3"]), &existing, &[]).is_ok());
    }
}
