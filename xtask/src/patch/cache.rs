//! Patches that were made, which are never made again.
//!
//! ```text
//! dist/store/patches/<key>.json   size and hash of the patch between two images
//!            artifacts/<sha256>   its bytes
//! ```
//!
//! The key names all that a patch depends on: both images, what devices need to apply
//! it, and the version of what makes it. So the folder may be kept, copied or removed
//! at any time.

use super::{Profile, VERSION, header, make, plan::Wanted};
use crate::{
    disk::Disk,
    release::Artifact,
    store::{DirectoryStore, Store, StoreError, StoreMut, artifact_of, sha256},
    ui::Ui,
};
use rayon::prelude::*;
use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
};
use towline_descriptor::Sha256;

/// The most that a patch may have, in hundredths of the image in its shortest other
/// form: one that saves less is not worth the flash that is read for it.
const MOST: u64 = 60;

/// The most that a compressed image may have, in hundredths of the image.
const MOST_COMPRESSED: u64 = 90;

/// Patches at hand.
#[derive(Clone, Debug, Default)]
pub struct Patches {
    profile: Profile,
    made: BTreeMap<(Sha256, Sha256), Artifact>,
}

impl Patches {
    /// Pretends to have made patches between these images.
    #[cfg(test)]
    pub(crate) fn with(images: impl IntoIterator<Item = (Sha256, Sha256)>) -> Self {
        let patch = |images: (Sha256, Sha256)| {
            let size = if images.0 == Sha256::OF_NOTHING { 400_000 } else { 40_000 };
            (images, Artifact { size, sha256: Sha256([7; 32]) })
        };
        Self { profile: Profile::Small, made: images.into_iter().map(patch).collect() }
    }

    /// Returns what devices need to apply them.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// Returns a patch that is worth to be published.
    pub fn published(&self, wanted: &Wanted<'_>) -> Option<&Artifact> {
        let (from, to) = wanted.images();
        let worth = |artifact: &&Artifact, most: u64, than: u32| {
            u64::from(artifact.size) * 100 <= u64::from(than) * most
        };
        let image = wanted.new_image().size;
        let compressed = self.made.get(&(Sha256::OF_NOTHING, to));
        let compressed = compressed.filter(|artifact| worth(artifact, MOST_COMPRESSED, image));
        if wanted.from.is_none() {
            return compressed;
        }
        let shortest = compressed.map_or(image, |compressed| compressed.size);
        self.made.get(&(from, to)).filter(|artifact| worth(artifact, MOST, shortest))
    }
}

/// Where patches are kept.
#[derive(Debug)]
pub struct Cache {
    folder: PathBuf,
    artifacts: DirectoryStore,
    disk: Disk,
}

/// Why a patch is not there.
#[derive(Debug)]
pub struct Unmade {
    /// What it was to lead from and to, for people.
    pub what: String,
    /// What went wrong.
    pub reason: String,
}

impl fmt::Display for Unmade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no patch for {}: {}; its devices fetch more", self.what, self.reason)
    }
}

impl Cache {
    /// Opens the cache in the folder of a store.
    pub fn new(store: &Path, disk: &Disk) -> Self {
        Self {
            folder: store.join("patches"),
            artifacts: DirectoryStore::new(store, disk.clone()),
            disk: disk.clone(),
        }
    }

    /// Returns all that is wanted: what is kept, and what has to be made of the images
    /// of `store`, several at a time.
    ///
    /// A patch whose old image cannot be read is left out: updates do without. The
    /// reasons come with the patches.
    ///
    /// # Errors
    /// If an image that channels serve cannot be read, or a patch not be kept.
    pub fn get(
        &self,
        wanted: &[Wanted<'_>],
        profile: Profile,
        store: &impl Store,
        ui: Ui,
    ) -> Result<(Patches, Vec<Unmade>), StoreError> {
        let io = |source| StoreError::Io { path: self.folder.clone(), source };
        if !wanted.is_empty() {
            self.disk.create_dir(&self.folder).map_err(io)?;
            self.disk.clean_in(&self.folder).map_err(io)?;
        }
        let kept = |wanted: &Wanted<'_>| (wanted.images(), self.kept(wanted, profile));
        let kept: Vec<_> = wanted.par_iter().map(kept).collect();
        let missing = wanted.iter().zip(&kept).filter(|(_, (_, kept))| kept.is_none());
        let missing: Vec<_> = missing.map(|(wanted, _)| wanted).collect();
        if !missing.is_empty() {
            ui.say(format_args!("patches to make: {}", missing.len()));
        }
        let bar = ui.steps(missing.len() as u64, "patches");
        let make = |wanted: &Wanted<'_>| {
            let new = store.artifact(wanted.new_image())?;
            let old = wanted.old_image().map(|old| store.artifact(old)).transpose();
            let patch = old.map_err(anyhow::Error::from);
            let patch = patch.and_then(|old| Ok(make(&old.unwrap_or_default(), &new, profile)?));
            let path = self.path(wanted, profile);
            let made = patch.map(|patch| self.keep(&path, &patch));
            bar.inc(1);
            Ok(match made {
                Ok(kept) => Ok((wanted.images(), kept?)),
                Err(error) => Err(Unmade { what: name(wanted), reason: format!("{error:#}") }),
            })
        };
        let made: Vec<_> = missing.into_par_iter().map(make).collect::<Result<_, StoreError>>()?;
        bar.finish_and_clear();
        let mut patches = Patches { profile, made: BTreeMap::new() };
        let kept = kept.into_iter().filter_map(|(images, kept)| Some((images, kept?)));
        patches.made.extend(kept);
        let mut unmade = Vec::new();
        for made in made {
            match made {
                Ok((images, patch)) => drop(patches.made.insert(images, patch)),
                Err(reason) => unmade.push(reason),
            }
        }
        Ok((patches, unmade))
    }

    /// Returns the patch that is wanted, if it is there as it was made.
    fn kept(&self, wanted: &Wanted<'_>, profile: Profile) -> Option<Artifact> {
        let path = self.path(wanted, profile);
        let artifact = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        let header = header(&self.artifacts.artifact(&artifact).ok()?).ok()?;
        let (from, to) = wanted.images();
        let is_wanted = header.old_sha256 == from.0[..8]
            && header.new_sha256 == to.0[..8]
            && header.new_size == wanted.new_image().size
            && header.params.memory() <= profile.memory();
        is_wanted.then_some(artifact)
    }

    fn keep(&self, path: &Path, patch: &[u8]) -> Result<Artifact, StoreError> {
        let artifact = artifact_of(patch)?;
        self.artifacts.put_artifact(&artifact, patch)?;
        let text = serde_json::to_vec(&artifact).expect("an artifact is plain data");
        let io = |source| StoreError::Io { path: path.to_owned(), source };
        self.disk.write(path, &text).map_err(io)?;
        Ok(artifact)
    }

    fn path(&self, wanted: &Wanted<'_>, profile: Profile) -> PathBuf {
        let (from, to) = wanted.images();
        let key = format!("{from} {to} {} {VERSION}", profile.alg());
        self.folder.join(format!("{}.json", sha256(key.as_bytes())))
    }
}

/// Names a patch for people.
pub fn name(wanted: &Wanted<'_>) -> String {
    let Wanted { target, from, to } = wanted;
    match from {
        Some(from) => format!("{target} {} to {}", from.version, to.version),
        None => format!("{target} {} compressed", to.version),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::{Record, tests::record};

    /// Two releases whose images are kept in a store.
    struct Two {
        dir: tempfile::TempDir,
        store: DirectoryStore,
        releases: [Record; 2],
        target: crate::name::TargetName,
    }

    impl Two {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let store = DirectoryStore::new(dir.path(), Disk::default());
            drop(store.lock(|| {}).unwrap());
            let image = |version: &str| {
                let image = towline_sim::sample::app_image;
                image(towline_descriptor::Chip::Esp32c3, "lamp", version, 20_000)
            };
            let releases = ["1.0.0", "1.1.0"].map(|version| {
                let mut record = record(version, &["esp32c3"]);
                record.targets[0].app = artifact_of(&image(version)).unwrap();
                store.put_artifact(&record.targets[0].app, &image(version)).unwrap();
                record
            });
            Self { dir, store, releases, target: "esp32c3".parse().unwrap() }
        }

        fn wanted(&self) -> [Wanted<'_>; 2] {
            let to = &self.releases[1];
            [None, Some(&self.releases[0])].map(|from| Wanted { target: &self.target, from, to })
        }

        fn get(&self) -> (Patches, Vec<Unmade>) {
            let cache = Cache::new(self.dir.path(), &Disk::default());
            cache.get(&self.wanted(), Profile::Small, &self.store, Ui::new(true)).unwrap()
        }

        fn path(&self, artifact: &Artifact) -> PathBuf {
            self.dir.path().join("artifacts").join(artifact.sha256.to_string())
        }
    }

    #[test]
    fn patches_are_made_once_and_lead_to_the_image() {
        let two = Two::new();
        let (patches, unmade) = two.get();
        assert!(unmade.is_empty(), "{unmade:?}");
        let new = two.store.artifact(two.wanted()[0].new_image()).unwrap();
        for wanted in two.wanted() {
            let patch = two.store.artifact(&patches.made[&wanted.images()]).unwrap();
            let old = wanted.old_image().map(|old| two.store.artifact(old).unwrap());
            assert_eq!(super::super::apply(&old.unwrap_or_default(), &patch).unwrap(), new);
        }
        // Nothing is made again: the images are not needed.
        for release in &two.releases {
            fs::remove_file(two.path(&release.targets[0].app)).unwrap();
        }
        assert_eq!(two.get().0.made, patches.made);
    }

    #[test]
    fn a_patch_that_is_damaged_or_gone_is_made_again() {
        let two = Two::new();
        let patches = two.get().0;
        let [compressed, patch] = two.wanted().map(|wanted| patches.made[&wanted.images()].clone());
        fs::write(two.path(&compressed), "damaged").unwrap();
        fs::remove_file(two.path(&patch)).unwrap();
        assert_eq!(two.get().0.made, patches.made);
        assert!([compressed, patch].iter().all(|patch| two.store.artifact(patch).is_ok()));
        fs::remove_dir_all(two.dir.path().join("patches")).unwrap();
        assert_eq!(two.get().0.made, patches.made);
    }

    #[test]
    fn a_release_whose_image_is_gone_is_told_and_left_out() {
        let two = Two::new();
        fs::remove_file(two.path(&two.releases[0].targets[0].app)).unwrap();
        let (patches, unmade) = two.get();
        assert_eq!(patches.made.len(), 1);
        let told = unmade[0].to_string();
        assert!(told.starts_with("no patch for esp32c3 1.0.0 to 1.1.0: "), "{told}");
    }

    #[test]
    fn patches_that_save_little_are_not_published() {
        let two = Two::new();
        let [compressed, patch] = two.wanted();
        let image = u64::from(compressed.new_image().size);
        let of = |size: u64| Artifact { size: size.try_into().unwrap(), sha256: Sha256([7; 32]) };
        let published = |whole: u64, part: u64| {
            let made = [(compressed.images(), of(whole)), (patch.images(), of(part))];
            let patches = Patches { profile: Profile::Small, made: made.into() };
            [compressed, patch].map(|wanted| patches.published(&wanted).is_some())
        };
        let whole = image / 2;
        assert_eq!(published(whole, whole * 60 / 100), [true, true]);
        assert_eq!(published(whole, whole * 60 / 100 + 1), [true, false]);
        // A compressed image that is not published is none that a patch has to beat.
        let whole = image * 95 / 100;
        assert_eq!(published(whole, image * 60 / 100), [false, true]);
        assert_eq!(published(whole, image * 60 / 100 + 1), [false, false]);
    }
}
