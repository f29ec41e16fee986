//! Published releases as a store, with a folder as its cache.
//!
//! ```text
//! dist/store/github.json         the list of releases with its tags, for 304
//!            artifacts/<sha256>  records and artifacts that were downloaded
//! ```
//!
//! An unchanged run asks for the list and downloads nothing. Whatever comes from
//! GitHub has the hash that its record, or GitHub, says before it enters the cache,
//! and whatever is damaged there is fetched anew.

use super::{
    RECORD,
    api::{Api, Page},
    model::{Asset, Release},
    publish::AT_ONCE,
    request::ApiError,
    runtime, with_hint,
};
use crate::{
    disk::Disk,
    name::ProjectName,
    release::{Artifact, Record},
    store::{DirectoryStore, Store, StoreError, StoreMut, artifact_of, sha256},
    ui::Ui,
};
use anyhow::{Result, anyhow};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};
use tokio::runtime::Runtime;
use towline_descriptor::Sha256;

/// Name of the file that keeps the list of releases.
pub const LISTING: &str = "github.json";

/// The most bytes of a record.
const MAX_RECORD: u64 = 4 << 20;

/// The published releases of a repository.
pub struct GithubStore {
    api: Api,
    runtime: Runtime,
    cache: DirectoryStore,
    records: Vec<Record>,
    /// Assets by the hash that their record says.
    assets: BTreeMap<Sha256, Asset>,
    /// Tags of published releases that are none of ours.
    ignored: Vec<String>,
    /// Held while something damaged is mended: several files may have the same.
    mending: Mutex<()>,
}

/// What is known of GitHub since the last run.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Known {
    /// Pages of the list by their URL.
    pages: BTreeMap<String, KnownPage>,
    /// What the assets that are records have, by their numbers.
    records: BTreeMap<u64, Artifact>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct KnownPage {
    etag: String,
    next: Option<String>,
    releases: Vec<Release>,
}

/// The file, whose hash tells damage.
#[derive(Serialize, Deserialize)]
struct Sealed<T> {
    sha256: Sha256,
    known: T,
}

impl GithubStore {
    /// Fetches the list and the records of a project's releases. `dir` is the
    /// folder of the store, which is to be locked.
    ///
    /// # Errors
    /// If GitHub does not tell, or a record is not one of the project.
    pub fn open(
        api: impl FnOnce() -> Result<Api>,
        project: &ProjectName,
        dir: &Path,
        disk: &Disk,
    ) -> Result<Self> {
        let runtime = runtime()?;
        let api = {
            let _inside = runtime.enter();
            api()?
        };
        let cache = DirectoryStore::new(dir, disk.clone());
        let path = dir.join(LISTING);
        let mut known = Known::read(&path);
        let fetched = runtime.block_on(fetch_records(&api, project, &cache, &mut known));
        known.write(&path, disk)?;
        let Fetched { records, assets, ignored } = fetched?;
        Ok(Self { api, runtime, cache, records, assets, ignored, mending: Mutex::default() })
    }

    /// Returns the tags of published releases that are none of ours.
    pub fn ignored(&self) -> &[String] {
        &self.ignored
    }

    /// Fetches the artifacts of these releases that the cache lacks.
    ///
    /// # Errors
    /// If one is missing on GitHub or has other bytes than its record says.
    pub fn fetch(&self, records: &[Record], ui: Ui) -> Result<()> {
        let targets = records.iter().flat_map(|record| record.targets.values());
        let artifacts = targets.flat_map(|target| target.artifacts().map(|(_, artifact)| artifact));
        let mut seen = BTreeSet::new();
        let missing: Vec<_> = artifacts
            .filter(|artifact| seen.insert(artifact.sha256) && !self.cache.has_artifact(artifact))
            .collect();
        let bar = ui.bytes(missing.iter().map(|artifact| u64::from(artifact.size)).sum());
        let fetch = |artifact| {
            let bar = &bar;
            async move {
                self.download(artifact).await?;
                bar.inc(u64::from(artifact.size));
                Ok::<_, anyhow::Error>(())
            }
        };
        let all = stream::iter(missing.into_iter().map(fetch)).buffer_unordered(AT_ONCE);
        self.runtime.block_on(all.try_collect::<()>())?;
        bar.finish_and_clear();
        Ok(())
    }

    /// Downloads an artifact into the cache.
    async fn download(&self, artifact: &Artifact) -> Result<()> {
        let place = self.api.place();
        let repository = &place.repository;
        let asset = self.assets.get(&artifact.sha256).ok_or_else(|| {
            anyhow!("{repository} has no asset with the SHA-256 {}; complete its release with `cargo xtask publish`", artifact.sha256)
        })?;
        let other = |found: String, expected: String| {
            anyhow!(
                "{} of {repository} is not what its record says:\n  there  {found}\n  record {expected}",
                asset.name
            )
        };
        if asset.size != u64::from(artifact.size) {
            let [found, expected] =
                [asset.size, artifact.size.into()].map(|size| format!("{size} bytes"));
            return Err(other(found, expected));
        }
        let bytes = self.api.download(asset.id, asset.size).await;
        let bytes = bytes.map_err(|error| with_hint(place, error))?;
        let found = sha256(&bytes);
        if found != artifact.sha256 {
            return Err(other(found.to_string(), artifact.sha256.to_string()));
        }
        Ok(self.cache.put_artifact(artifact, &bytes)?)
    }

    /// Makes sure that the cache has an artifact, whole.
    fn heal(&self, artifact: &Artifact) -> Result<Vec<u8>, StoreError> {
        if let Ok(bytes) = self.cache.artifact(artifact) {
            return Ok(bytes);
        }
        let _mending = self.mending.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(bytes) = self.cache.artifact(artifact) {
            return Ok(bytes);
        }
        let remote = |error: anyhow::Error| StoreError::Remote(format!("{error:#}"));
        self.runtime.block_on(self.download(artifact)).map_err(remote)?;
        self.cache.artifact(artifact)
    }
}

impl Store for GithubStore {
    fn records(&self) -> Result<Vec<Record>, StoreError> {
        Ok(self.records.clone())
    }

    fn artifact(&self, artifact: &Artifact) -> Result<Vec<u8>, StoreError> {
        self.heal(artifact)
    }

    fn copy_artifact(&self, artifact: &Artifact, path: &Path) -> Result<(), StoreError> {
        self.heal(artifact)?;
        self.cache.copy_artifact(artifact, path)
    }
}

struct Fetched {
    records: Vec<Record>,
    assets: BTreeMap<Sha256, Asset>,
    ignored: Vec<String>,
}

async fn fetch_records(
    api: &Api,
    project: &ProjectName,
    cache: &DirectoryStore,
    known: &mut Known,
) -> Result<Fetched> {
    let hinted = |error| with_hint(api.place(), error);
    let published = list(api, known).await.map_err(hinted)?;
    let (ours, others): (Vec<_>, Vec<_>) =
        published.into_iter().partition(|release| record_of(api, release).is_some());
    known.records.retain(|id, _| ours.iter().any(|r| r.assets.iter().any(|asset| asset.id == *id)));
    let fetch = |release: Release| {
        let known = &*known;
        async move {
            let (record, id, artifact) = fetch_record(api, project, cache, known, &release).await?;
            Ok::<_, anyhow::Error>((release, record, id, artifact))
        }
    };
    let fetched: Vec<_> =
        stream::iter(ours.into_iter().map(fetch)).buffer_unordered(AT_ONCE).try_collect().await?;
    let (mut records, mut assets) = (Vec::new(), BTreeMap::new());
    for (mut release, record, id, artifact) in fetched {
        known.records.insert(id, artifact);
        if !index(&record, &release.assets, &mut assets) {
            // What comes with the list may not be all.
            release.assets = api.assets(release.id).await.map_err(hinted)?;
            index(&record, &release.assets, &mut assets);
        }
        records.push(record);
    }
    records.sort_by(|a: &Record, b| a.version.precedence(&b.version));
    let ignored = others.into_iter().map(|release| release.tag_name).collect();
    Ok(Fetched { records, assets, ignored })
}

/// Returns all published releases; pages that have not changed are known.
async fn list(api: &Api, known: &mut Known) -> Result<Vec<Release>, ApiError> {
    let (mut pages, mut releases) = (BTreeMap::new(), Vec::new());
    let mut url = Some(api.releases_url());
    while let Some(page) = url {
        let old = known.pages.remove(&page);
        let etag = old.as_ref().map(|old| old.etag.as_str());
        let new = match (api.page(&page, etag).await?, old) {
            (Page::Unchanged, Some(old)) => old,
            (Page::Unchanged, None) => break,
            (Page::New(items, etag, next), _) => {
                KnownPage { etag: etag.unwrap_or_default(), next, releases: items }
            }
        };
        url = new.next.clone();
        releases.extend(new.releases.iter().filter(|release| !release.draft).cloned());
        // Without a tag it cannot be asked for again.
        if !new.etag.is_empty() {
            pages.insert(page, new);
        }
    }
    known.pages = pages;
    // What moved to the next page meanwhile is on both.
    let mut seen = BTreeSet::new();
    releases.retain(|release: &Release| seen.insert(release.id));
    Ok(releases)
}

/// Returns the record among the assets of a release with a tag of ours.
fn record_of<'a>(api: &Api, release: &'a Release) -> Option<&'a Asset> {
    api.place().tags.version(&release.tag_name)?;
    release.assets.iter().find(|asset| asset.name == RECORD && asset.is_complete())
}

/// Returns the record of a release, from the cache if it is there.
async fn fetch_record(
    api: &Api,
    project: &ProjectName,
    cache: &DirectoryStore,
    known: &Known,
    release: &Release,
) -> Result<(Record, u64, Artifact)> {
    let tag = &release.tag_name;
    let fault = |what: String| anyhow!("{RECORD} of {tag} in {}: {what}", api.place().repository);
    let asset = record_of(api, release).ok_or_else(|| fault("missing".into()))?;
    let size = u32::try_from(asset.size).ok().filter(|size| u64::from(*size) <= MAX_RECORD);
    let size = size.ok_or_else(|| fault(format!("{} bytes are no record", asset.size)))?;
    let expected = asset.sha256().map(|sha256| Artifact { size, sha256 });
    let expected = expected.or_else(|| known.records.get(&asset.id).cloned());
    let cached = expected.as_ref().and_then(|artifact| cache.artifact(artifact).ok());
    let text = match cached {
        Some(text) => text,
        None => {
            let bytes = api.download(asset.id, asset.size).await;
            let bytes = bytes.map_err(|error| with_hint(api.place(), error))?;
            let found = sha256(&bytes);
            if let Some(sha256) = asset.sha256().filter(|sha256| *sha256 != found) {
                return Err(fault(format!("its SHA-256 is {found}, and GitHub says {sha256}")));
            }
            bytes.to_vec()
        }
    };
    let record = Record::parse(&text).map_err(|reason| fault(format!("no record: {reason}")))?;
    if record.project != *project {
        return Err(fault(format!("it is of project {}, not {project}", record.project)));
    }
    if api.place().tags.tag(&record.version) != *tag {
        return Err(fault(format!("it is of version {}", record.version)));
    }
    let artifact = artifact_of(&text)?;
    cache.put_artifact(&artifact, &text)?;
    Ok((record, asset.id, artifact))
}

/// Notes which asset has which artifact of a record. Returns whether all are there.
fn index(record: &Record, assets: &[Asset], by_hash: &mut BTreeMap<Sha256, Asset>) -> bool {
    let mut is_whole = true;
    for (name, target) in &record.targets {
        for (role, artifact) in target.artifacts() {
            let file = artifact.file_name(name, role);
            match assets.iter().find(|asset| asset.name == file && asset.is_complete()) {
                Some(asset) => drop(by_hash.insert(artifact.sha256, asset.clone())),
                None => is_whole = false,
            }
        }
    }
    is_whole
}

impl Known {
    /// Reads what is known; nothing if the file is missing or damaged.
    fn read(path: &Path) -> Self {
        let text = std::fs::read(path).unwrap_or_default();
        match serde_json::from_slice::<Sealed<Self>>(&text) {
            Ok(sealed) if sealed.sha256 == sealed.known.hash() => sealed.known,
            _ => Self::default(),
        }
    }

    /// Writes what is known, if the file says something else.
    fn write(&self, path: &Path, disk: &Disk) -> Result<(), StoreError> {
        let io = |source| StoreError::Io { path: PathBuf::from(path), source };
        let text = serde_json::to_vec(&Sealed { sha256: self.hash(), known: self })
            .map_err(|error| io(error.into()))?;
        if std::fs::read(path).is_ok_and(|old| old == text) {
            return Ok(());
        }
        disk.write(path, &text).map_err(io)
    }

    fn hash(&self) -> Sha256 {
        sha256(&serde_json::to_vec(self).unwrap_or_default())
    }
}
