//! From verified images to a recorded release and its site.
//!
//! The order makes every cut harmless: artifacts, then the record that names
//! them, then the site, which is swapped in whole. The next run completes what
//! was cut short.

use crate::{
    image::{ImagePart, Images},
    name::{ProjectName, TargetName},
    release::{Admission, FORMAT, Part, Record, Role, RuleError, TargetRecord, admit},
    site::artifact_path,
    source::Source,
    store::{StoreError, StoreMut, artifact_of, artifact_with},
};
use indexmap::IndexMap;
use rayon::prelude::*;
use towline_descriptor::Version;

/// A release that is not recorded yet.
#[derive(Debug)]
pub struct Draft {
    /// What it will be recorded as.
    pub record: Record,
    images: Vec<Images>,
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
    /// The release would understand no settings, not even its own.
    #[error("--min-from {min_from} is higher than the release, which is {version}")]
    MinFrom {
        /// What was asked for.
        min_from: Version,
        /// The version of the release.
        version: Version,
    },
    /// There is nothing to release.
    #[error("there is no target to release")]
    Empty,
    /// An image is larger than any flash.
    #[error(transparent)]
    TooLarge(#[from] StoreError),
}

impl Draft {
    /// Makes a release of these images. `words` are what it says of itself.
    /// `asked` is the version that it is to have; a leading `v` does not count.
    /// `existing` are the releases so far, lowest version first.
    ///
    /// # Errors
    /// [`DraftError`].
    pub fn new(
        project: &ProjectName,
        source: &Source,
        Words { notes, min_from }: Words,
        asked: Option<&Version>,
        existing: &[Record],
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
        if let Some(min_from) = &min_from
            && min_from.precedence(&version).is_gt()
        {
            return Err(DraftError::MinFrom { min_from: min_from.clone(), version });
        }
        let twin = existing.iter().find(|record| record.version == version);
        let targets: Vec<_> = images
            .iter()
            .collect::<Vec<_>>()
            .into_par_iter()
            .map(|(name, (images, facts))| {
                let known = twin.and_then(|twin| twin.targets.get(name));
                Ok((name.clone(), target_record(images, facts, known)?))
            })
            .collect::<Result<_, StoreError>>()?;
        let record = Record {
            fmt: FORMAT,
            project: project.clone(),
            version,
            source_date: source.date,
            commit: source.commit.clone(),
            dirty: source.dirty,
            notes,
            min_from,
            targets: targets.into_iter().collect(),
        };
        let images = images.into_values().map(|(images, _)| images).collect();
        Ok(Self { record, images })
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

    /// Returns the files that were built, by their path on the site.
    pub fn files(&self) -> impl Iterator<Item = (String, &[u8])> {
        let targets = self.record.targets.iter().zip(&self.images);
        targets.flat_map(|((name, target), images)| {
            let path = |role, artifact| artifact_path(&self.record, name, role, artifact);
            let app = (path(Role::App, &target.app), images.app.as_slice());
            let parts = target.parts.iter().zip(&images.parts).map(move |(part, image)| {
                (path(part.role, &part.artifact), image.bytes.as_slice())
            });
            std::iter::once(app).chain(parts.collect::<Vec<_>>())
        })
    }

    /// Keeps all artifacts, those too that are kept already but were damaged.
    ///
    /// # Errors
    /// If one cannot be written.
    pub fn put_artifacts(&self, store: &impl StoreMut) -> Result<(), StoreError> {
        let targets: Vec<_> = self.record.targets.values().zip(&self.images).collect();
        targets.into_par_iter().try_for_each(|(target, images)| {
            store.put_artifact(&target.app, &images.app)?;
            for (part, image) in target.parts.iter().zip(&images.parts) {
                store.put_artifact(&part.artifact, &image.bytes)?;
            }
            match (&target.factory, images.factory()) {
                (Some(artifact), Some(bytes)) => store.put_artifact(artifact, &bytes),
                _ => Ok(()),
            }
        })
    }
}

/// Checks the rules of releases, and keeps a release if it is new: its artifacts,
/// then its record.
///
/// # Errors
/// [`KeepError`]; a release that breaks a rule leaves no trace.
pub(crate) fn keep(
    record: &Record,
    store: &impl StoreMut,
    existing: &[Record],
    dropped: &[TargetName],
    put_artifacts: impl FnOnce() -> Result<(), StoreError>,
) -> Result<Admission, KeepError> {
    let admission = admit(record, existing, dropped)?;
    if admission == Admission::New {
        put_artifacts()?;
        store.put_record(record)?;
    }
    Ok(admission)
}

/// What a release says of itself, beside what is read from its images.
#[derive(Clone, Debug, Default)]
pub struct Words {
    /// Release notes, plain text.
    pub notes: Option<String>,
    /// The oldest version whose settings it understands.
    pub min_from: Option<Version>,
}

/// What is known of a target beside its images.
#[derive(Clone, Debug)]
pub struct TargetFacts {
    /// The chip.
    pub chip: towline_descriptor::Chip,
    /// Size of the flash chip in bytes.
    pub flash_size: u32,
    /// PSRAM in bytes that the board has to have.
    pub psram: Option<u32>,
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

/// Describes a target. `known` is what the release already has of it.
fn target_record(
    images: &Images,
    facts: &TargetFacts,
    known: Option<&TargetRecord>,
) -> Result<TargetRecord, StoreError> {
    let app = artifact_with(&images.app, images.app_sha256)?;
    let part = |part: &ImagePart| {
        let artifact = if part.role == Role::App { app.clone() } else { artifact_of(&part.bytes)? };
        Ok(Part { role: part.role, offset: part.offset, artifact })
    };
    let parts: Vec<_> = images.parts.iter().map(part).collect::<Result<_, StoreError>>()?;
    // The same parts make the same factory image.
    let factory = match known {
        Some(known) if known.parts == parts => known.factory.clone(),
        _ => images.factory().map(|bytes| artifact_of(&bytes)).transpose()?,
    };
    Ok(TargetRecord {
        chip: facts.chip,
        flash_size: facts.flash_size,
        psram: facts.psram,
        slot_size: images.slot_size,
        secure_version: images.head.app.secure_version,
        app,
        parts,
        factory,
    })
}

#[cfg(test)]
#[path = "../tests/suite/firmware.rs"]
mod firmware;

#[cfg(test)]
mod tests {
    use super::{firmware::*, *};
    use crate::{
        channel::Channels,
        check::{Folder, Terms, inspect, secrets::Secrets},
        config::Config,
        disk::Disk,
        image,
        installer::{Bundle, File},
        keys::{
            SecretKey,
            chain::{Chain, Signed},
            root::{Role as KeyRole, Root},
        },
        patch::{
            cache::{Cache, Patches},
            plan,
        },
        signing::{Signer, Standing, artifacts},
        site::{SiteError, render},
        store::{DirectoryStore, Store as _, sha256},
        ui::Ui,
    };
    use std::{
        collections::{BTreeMap, BTreeSet},
        fs,
        path::{Path, PathBuf},
    };
    use towline_descriptor::Chip;

    const CONFIG: &str = "project = \"lamp\"\nbase-url = \"https://example.org/\"\n[targets.esp32c3]\nbuild.prebuilt = \"app.bin\"\npartition-table = \"partitions.csv\"\n";

    /// An installer without anything in it.
    fn installer() -> Bundle {
        let [script, style, licenses, demo] =
            ["installer-0.js", "installer-0.css", "licenses-0.txt", "demo-0.js"].map(str::to_owned);
        let published = [&script, &style, &licenses].map(|name| (name.clone(), b"//".to_vec()));
        let demo = File { name: demo, bytes: Vec::new() };
        Bundle { published: published.into(), script, style, licenses, demo }
    }

    /// A project that releases two versions, one after the other.
    struct Project {
        root: PathBuf,
        config: Config,
        channels: Channels,
        is_signed: bool,
    }

    /// When all of it happens, in seconds since 1970.
    const NOW: u64 = 1000;

    impl Project {
        fn new(root: &Path, is_signed: bool) -> Self {
            fs::write(root.join("partitions.csv"), PARTITIONS).unwrap();
            let config = Config::parse(&root.join("towline.toml"), CONFIG).unwrap();
            let channels = Channels::parse(Path::new("channels.toml"), "", &config).unwrap();
            Self { root: root.to_owned(), config, channels, is_signed }
        }

        fn signer(&self, store: &DirectoryStore, disk: &Disk) -> anyhow::Result<Option<Signer>> {
            if !self.is_signed {
                return Ok(None);
            }
            let [root, channel] = [1, 2].map(|seed| SecretKey::from_seed([seed; 32]));
            let role = |key: &SecretKey| KeyRole { threshold: 1, keys: vec![key.public()] };
            let roles = [("root".to_owned(), role(&root)), ("*".to_owned(), role(&channel))];
            let first = Root::first(self.config.project.clone(), NOW, roles.into());
            let mut signed = Signed::new(first)?;
            signed.sign(&root);
            let chain = Chain::verify(&[(String::new(), signed.to_file())], &self.config.project)?;
            let (keys, folder) = ([channel], self.root.join("dist/store/signatures"));
            let root = &chain.newest().root;
            let releases = store.records()?;
            let signatures = artifacts::sign(&releases, root, &keys, store, &folder, disk)?;
            let standing = Standing::read(&self.root.join("dist/site"))?;
            let signer = Signer::new(chain, keys.into(), standing, NOW, 1000, false)?;
            Ok(Some(signer.with_signatures(signatures)))
        }

        fn problems(&self) -> Vec<crate::check::Finding> {
            let (secrets, known) = (Secrets::default(), BTreeSet::new());
            let terms = Terms {
                now: NOW,
                project: None,
                secrets: &secrets,
                known: &known,
                min_left: None,
                start: None,
            };
            inspect(&Folder::new(&self.root.join("dist/site")), &terms).take_errors()
        }

        fn release(&self, version: &str, disk: &Disk) -> anyhow::Result<()> {
            let (name, target) = self.config.targets.first().unwrap();
            let app = self.root.join("app.bin");
            fs::write(&app, app_image(Chip::Esp32c3, "lamp", version, 9000)).unwrap();
            let images =
                image::make(&self.config.project, target, &app, &image::Tables::default())?;
            let facts = TargetFacts { chip: target.chip, flash_size: 4 << 20, psram: None };
            let source = Source { date: 0, commit: None, dirty: false };
            let images = IndexMap::from([(name.clone(), (images, facts))]);
            let store = DirectoryStore::new(&self.root.join("dist/store"), disk.clone());
            let _lock = store.lock(|| {})?;
            let existing = store.records()?;
            let draft = Draft::new(
                &self.config.project,
                &source,
                Words::default(),
                None,
                &existing,
                images,
            )?;
            draft.keep(&store, &existing, &[])?;
            let signer = self.signer(&store, disk)?;
            let releases = store.records()?;
            let wanted = plan::wanted(&self.config, &self.channels, &releases);
            let cache = Cache::new(&self.root.join("dist/store"), disk);
            let profile = self.config.patches.profile;
            let (patches, unmade) = cache.get(&wanted, profile, &store, Ui::new(true))?;
            assert!(unmade.is_empty(), "{unmade:?}");
            let signer = signer.as_ref();
            let (config, channels) = (&self.config, &self.channels);
            let site = render(config, channels, &releases, &patches, &installer(), signer)?;
            let receipts = self.root.join("dist/store/.checked.json");
            site.write(
                &store,
                &self.root.join("dist/site"),
                &receipts,
                &Secrets::default(),
                &[],
                disk,
            )?;
            Ok(())
        }

        /// Everything under its final name.
        fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
            let mut files = BTreeMap::new();
            let mut folders = vec![self.root.join("dist")];
            while let Some(folder) = folders.pop() {
                for entry in folder.read_dir().into_iter().flatten() {
                    let path = entry.unwrap().path();
                    if path.file_name().unwrap().to_string_lossy().starts_with(".") {
                        continue;
                    } else if path.is_dir() {
                        folders.push(path);
                    } else {
                        files.insert(
                            path.strip_prefix(&self.root).unwrap().into(),
                            fs::read(&path).unwrap(),
                        );
                    }
                }
            }
            files
        }
    }

    /// Whatever step a run is killed at: nothing half-written is seen under its
    /// final name, the site is the old one or the new one, and the next run
    /// ends as if nothing had happened.
    #[test]
    fn a_run_that_is_killed_at_any_step_is_completed_by_the_next() {
        kill_at_every_step(false);
    }

    #[test]
    fn a_signed_run_that_is_killed_at_any_step_is_completed_by_the_next() {
        kill_at_every_step(true);
    }

    fn kill_at_every_step(is_signed: bool) {
        let dir = tempfile::tempdir().unwrap();
        let reference = Project::new(dir.path(), is_signed);
        reference.release("1.0.0", &Disk::default()).unwrap();
        let old = reference.files();
        reference.release("1.1.0", &Disk::default()).unwrap();
        let new = reference.files();

        let mut cases = 0;
        for steps in 0.. {
            let dir = tempfile::tempdir().unwrap();
            let project = Project::new(dir.path(), is_signed);
            project.release("1.0.0", &Disk::default()).unwrap();
            assert_eq!(project.files(), old);
            let result = project.release("1.1.0", &Disk::killed_after(steps));
            let cut = project.files();
            for (path, bytes) in &cut {
                if path.starts_with("dist/store/artifacts") {
                    let name = path.file_name().unwrap().to_string_lossy();
                    assert_eq!(sha256(bytes).to_string(), name, "after {steps} steps");
                } else {
                    let known = [&old, &new].iter().any(|files| files.get(path) == Some(bytes));
                    assert!(known, "{} after {steps} steps", path.display());
                }
            }
            assert_eq!(project.problems(), [], "after {steps} steps");
            let done = result.is_ok();
            project.release("1.1.0", &Disk::default()).unwrap();
            assert_eq!(project.files(), new, "after {steps} steps");
            let leftovers = dir.path().join("dist").read_dir().unwrap().count();
            assert_eq!(leftovers, 2, "after {steps} steps");
            cases += 1;
            if done {
                break;
            }
        }
        assert!(cases > 30, "{cases}");
    }

    #[test]
    fn a_site_with_problems_does_not_take_the_place_of_a_good_one() {
        let dir = tempfile::tempdir().unwrap();
        let project = Project::new(dir.path(), false);
        project.release("1.0.0", &Disk::default()).unwrap();
        let before = project.files();
        let store = DirectoryStore::new(&dir.path().join("dist/store"), Disk::default());
        let mut releases = store.records().unwrap();
        // The image of a slot that is smaller than it.
        releases[0].targets[0].slot_size = Some(4096);
        let (config, channels) = (&project.config, &project.channels);
        let patches = Patches::default();
        let site = render(config, channels, &releases, &patches, &installer(), None).unwrap();
        let receipts = dir.path().join("dist/store/.checked.json");
        let (secrets, disk) = (Secrets::default(), Disk::default());
        let folder = dir.path().join("dist/site");
        let result = site.write(&store, &folder, &receipts, &secrets, &[], &disk);
        assert!(matches!(result, Err(SiteError::Problems(_))));
        assert_eq!(project.files(), before);
    }
}
