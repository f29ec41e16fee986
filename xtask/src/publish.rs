//! From verified images to a recorded release and its site.
//!
//! The order makes every cut harmless: artifacts, then the record that names
//! them, then the site, which is swapped in whole. The next run completes what
//! was cut short.

use crate::{
    image::Images,
    name::{ProjectName, TargetName},
    release::{Admission, Artifact, FORMAT, Part, Record, Role, RuleError, TargetRecord, admit},
    source::Source,
    store::{Store, StoreError, artifact_of},
};
use indexmap::IndexMap;
use rayon::prelude::*;
use towline_descriptor::Version;

/// A release that is not recorded yet.
#[derive(Clone, Debug)]
pub struct Draft {
    /// What it will be recorded as.
    pub record: Record,
    /// The bytes of its artifacts.
    blobs: Vec<(Artifact, Vec<u8>)>,
}

/// Why a release cannot be made of these images.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// The images have different versions.
    #[error(
        "target {target} has version {found}, {other_target} has {other}: one release has one version"
    )]
    Versions {
        /// A target.
        target: TargetName,
        /// Its version.
        found: Version,
        /// Another target.
        other_target: TargetName,
        /// Its version.
        other: Version,
    },
    /// The images have not the version of the release.
    #[error("the release is to be {asked}, but target {target} was built as {found}")]
    Asked {
        /// The version of the release.
        asked: Version,
        /// A target.
        target: TargetName,
        /// Its version.
        found: Version,
    },
    /// There is nothing to release.
    #[error("there is no target to release")]
    Empty,
    /// An image is larger than any flash.
    #[error(transparent)]
    TooLarge(#[from] StoreError),
}

impl Draft {
    /// Makes a release of these images. `asked` is the version that it is to
    /// have; a leading `v` does not count.
    ///
    /// # Errors
    /// [`DraftError`].
    pub fn new(
        project: &ProjectName,
        source: &Source,
        notes: Option<String>,
        asked: Option<&Version>,
        images: IndexMap<TargetName, (Images, TargetFacts)>,
    ) -> Result<Self, DraftError> {
        let (first, (first_images, _)) = images.first().ok_or(DraftError::Empty)?;
        let (first, version) = (first.clone(), first_images.version.clone());
        for (target, (images, _)) in &images {
            if images.version != version {
                return Err(DraftError::Versions {
                    target: target.clone(),
                    found: images.version.clone(),
                    other_target: first,
                    other: version,
                });
            }
        }
        if let Some(asked) = asked
            && asked.without_v() != version.without_v()
        {
            return Err(DraftError::Asked { asked: asked.clone(), target: first, found: version });
        }
        let made: Vec<_> = images
            .into_iter()
            .collect::<Vec<_>>()
            .into_par_iter()
            .map(|(name, (images, facts))| Ok((name, target_record(images, &facts)?)))
            .collect::<Result<_, StoreError>>()?;
        let mut targets = IndexMap::new();
        let mut blobs = Vec::new();
        for (name, (target, bytes)) in made {
            targets.insert(name, target);
            blobs.extend(bytes);
        }
        let record = Record {
            fmt: FORMAT,
            project: project.clone(),
            version,
            source_date: source.date,
            commit: source.commit.clone(),
            dirty: source.dirty,
            notes,
            targets,
        };
        Ok(Self { record, blobs })
    }

    /// Checks the rules of releases, and keeps the release if it is new.
    ///
    /// # Errors
    /// [`KeepError`]; a release that breaks a rule leaves no trace.
    pub fn keep(
        &self,
        store: &impl Store,
        existing: &[Record],
        dropped: &[TargetName],
    ) -> Result<Admission, KeepError> {
        let admission = admit(&self.record, existing, dropped)?;
        // Known artifacts too: one that was damaged is mended by its bytes.
        self.blobs
            .par_iter()
            .try_for_each(|(artifact, bytes)| store.put_artifact(artifact, bytes))?;
        if admission == Admission::New {
            store.put_record(&self.record)?;
        }
        Ok(admission)
    }
}

/// What is known of a target beside its images.
#[derive(Clone, Debug)]
pub struct TargetFacts {
    /// The chip.
    pub chip: towline_descriptor::Chip,
    /// Size of the flash chip in bytes.
    pub flash_size: u32,
}

/// Why a release was not kept.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// It breaks a rule of releases.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// It could not be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

type Blobs = Vec<(Artifact, Vec<u8>)>;

fn target_record(images: Images, facts: &TargetFacts) -> Result<(TargetRecord, Blobs), StoreError> {
    let mut blobs = Blobs::new();
    let mut keep = |bytes: Vec<u8>| {
        let artifact = artifact_of(&bytes)?;
        blobs.push((artifact.clone(), bytes));
        Ok::<_, StoreError>(artifact)
    };
    let factory = images.factory().map(&mut keep).transpose()?;
    let app = keep(images.app)?;
    let mut parts = Vec::new();
    for part in images.parts {
        let artifact = if part.role == Role::App { app.clone() } else { keep(part.bytes)? };
        parts.push(Part { role: part.role, offset: part.offset, artifact });
    }
    let target = TargetRecord {
        chip: facts.chip,
        flash_size: facts.flash_size,
        slot_size: images.slot_size,
        secure_version: images.head.app.secure_version,
        app,
        parts,
        factory,
    };
    Ok((target, blobs))
}
