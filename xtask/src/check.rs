//! Opens a published site as its clients do and lists all problems.
//!
//! The parsers, the decision and the image check are those of the device; a
//! site at a URL is fetched with the device's own HTTP client. Everything
//! starts from `releases.json`, which holds the hash of every other file: a
//! change of a single byte shows.

mod against;
mod page;
mod paths;
mod remote;
pub mod secrets;
mod target;
mod terms;
mod trust;

pub use against::check_against;
pub use paths::{End, Leg, UpdatePath, paths, svg as paths_svg, table as paths_table};
pub use remote::{Remote, RemoteError};

use crate::{
    keys::chain::{Chain, FOLDER, file_name},
    name::{ProjectName, TargetName},
    receipt, signing,
    site::{FORMAT, INDEX, Index, IndexArtifact, IndexChannel, IndexRelease, ServedTarget},
    store::sha256,
};
use rayon::prelude::*;
use secrets::Secrets;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{Component, Path, PathBuf},
};
use towline::{Decision, Running, decide};
use towline_descriptor::{Descriptor, Sha256, Version};
use trust::Trust;

/// Something that would go wrong for a client of the site.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// The file.
    pub path: String,
    /// What is wrong with it.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// The files of a site, wherever they are.
pub trait Files: Sync {
    /// Returns the bytes of a file.
    ///
    /// # Errors
    /// Why a client would not get them.
    fn read(&self, path: &str) -> Result<Vec<u8>, String>;

    /// Returns the paths of all files, where that can be told: some may be there
    /// that are not listed.
    fn all(&self) -> Vec<String> {
        Vec::new()
    }

    /// Asks the host, if there is one, for what should not be there: it says so,
    /// or answers with something else.
    fn absence(&self, path: &str) -> Option<Result<(), String>> {
        let _ = path;
        None
    }
}

/// A site in a folder.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Takes the site in `root`.
    pub fn new(root: &Path) -> Self {
        Self(root.to_owned())
    }
}

impl Files for Folder {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        let inside = Path::new(path).components().all(|c| matches!(c, Component::Normal(_)));
        if !inside {
            return Err("leads out of the site".into());
        }
        std::fs::read(self.0.join(path)).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => "missing".into(),
            _ => error.to_string(),
        })
    }

    fn all(&self) -> Vec<String> {
        let mut files = Vec::new();
        let mut folders = vec![self.0.clone()];
        while let Some(folder) = folders.pop() {
            for entry in folder.read_dir().into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else if let Ok(path) = path.strip_prefix(&self.0) {
                    let parts = path.iter().map(|part| part.to_string_lossy());
                    files.push(parts.collect::<Vec<_>>().join("/"));
                }
            }
        }
        files
    }
}

/// What a check goes by beside the site itself.
pub struct Terms<'a> {
    /// The time in seconds since 1970.
    pub now: u64,
    /// The project at hand, and its roots if it has some.
    pub project: Option<(&'a ProjectName, Option<&'a Chain>)>,
    /// Secret keys at hand, which must be nowhere.
    pub secrets: &'a Secrets,
    /// Targets of releases that are known to be sound.
    pub known: &'a BTreeSet<(&'a str, &'a TargetName)>,
    /// Seconds that what is signed has to count for yet; `None` for a quarter of
    /// its life.
    pub min_left: Option<u64>,
}

/// What a check found.
#[derive(Debug, Default)]
pub struct Findings {
    /// All problems, in order.
    pub problems: Vec<Problem>,
    /// What cannot be helped any more, but should be known.
    pub warnings: Vec<Problem>,
    /// When the first signed descriptor expires, in seconds since 1970.
    pub expires: Option<u64>,
}

/// Checks a site; no problems means that its clients can use all of it.
pub fn check(files: &impl Files) -> Vec<Problem> {
    let (secrets, known) = (Secrets::default(), BTreeSet::new());
    let terms = Terms {
        now: signing::clock(),
        project: None,
        secrets: &secrets,
        known: &known,
        min_left: None,
    };
    inspect(files, &terms).problems
}

/// Checks a site on these terms.
pub fn inspect(files: &impl Files, terms: &Terms<'_>) -> Findings {
    let index = match read_index(files) {
        Ok(index) => index,
        Err(message) => {
            let problems = vec![Problem { path: INDEX.into(), message }];
            return Findings { problems, ..Findings::default() };
        }
    };
    let mut problems = Vec::new();
    let contents: BTreeMap<&str, _> = index
        .files
        .par_iter()
        .map(|(path, listed)| (path.as_str(), read_listed(files, path, listed)))
        .collect();
    for (path, content) in &contents {
        problems.extend(match content {
            Err(message) => Some(Problem { path: (*path).to_owned(), message: message.clone() }),
            Ok(bytes) => terms.secrets.problem(path, bytes),
        });
    }
    let (trust, faults) = Trust::read(&index, &contents, terms);
    problems.extend(faults);
    problems.extend(trust.next_root().and_then(|next| next_root_problem(files, next)));
    let mut expires = None;
    let file = |path: &str| Some(contents.get(path)?.as_deref().unwrap_or_default());
    for channel in &index.channels {
        for served in &channel.targets {
            let path = &served.descriptor;
            let result = match file(path) {
                None => Err(format!("{INDEX} does not list it")),
                // Reported above.
                Some([]) => Ok(()),
                Some(bytes) => trust.verify(&channel.name, bytes).and_then(|end| {
                    expires = [expires, end].into_iter().flatten().min();
                    check_descriptor(&index, channel, served, bytes)
                }),
            };
            problems.extend(result.err().map(|message| Problem { path: path.clone(), message }));
        }
        let path = &channel.manifest;
        let result = match file(path) {
            None => Err(format!("{INDEX} does not list it")),
            Some([]) => Ok(()),
            Some(bytes) => check_manifest(&index, channel, bytes),
        };
        problems.extend(result.err().map(|message| Problem { path: path.clone(), message }));
    }
    problems.extend(unlisted(&index));
    problems.extend(page::check(&contents));
    problems
        .extend(index.releases.iter().flat_map(|release| trust.check_sums(files, &index, release)));
    problems.par_extend(unlisted_secrets(files, &index, terms.secrets));
    let targets: Vec<_> = index
        .releases
        .iter()
        .flat_map(|release| release.targets.iter().map(move |target| (release, target)))
        .filter(|(release, t)| !terms.known.contains(&(release.version.as_str(), &t.target)))
        .collect();
    let found: Vec<_> = targets
        .par_iter()
        .map(|(release, t)| target::check(files, &index, release, t, &trust, terms.secrets))
        .collect();
    let mut warnings = Vec::new();
    for (faults, known) in found {
        problems.extend(faults);
        warnings.extend(known);
    }
    for list in [&mut problems, &mut warnings] {
        list.sort();
        list.dedup();
    }
    Findings { problems, warnings, expires }
}

/// Finds out whether a host has an answer where devices look for the next root.
fn next_root_problem(files: &impl Files, number: u32) -> Option<Problem> {
    let path = format!("{FOLDER}/{}", file_name(number));
    let answer = files.absence(&path)?.err()?;
    let message = format!(
        "is not published, and {answer}: devices look there for the next root; let the host answer with status 404 what it does not have"
    );
    Some(Problem { path, message })
}

/// Finds secret keys in files that no client would look at.
fn unlisted_secrets<'a>(
    files: &'a impl Files,
    index: &Index,
    secrets: &'a Secrets,
) -> impl ParallelIterator<Item = Problem> + 'a {
    let targets = index.releases.iter().flat_map(|release| &release.targets);
    let listed: BTreeSet<&str> =
        targets.flat_map(receipt::paths).chain(index.files.keys().map(String::as_str)).collect();
    let mut unlisted = files.all();
    unlisted.retain(|path| !listed.contains(path.as_str()));
    unlisted
        .into_par_iter()
        .filter_map(|path| secrets.problem(&path, &files.read(&path).unwrap_or_default()))
}

fn read_index(files: &impl Files) -> Result<Index, String> {
    let text = files.read(INDEX)?;
    let index: Index = serde_json::from_slice(&text).map_err(|e| format!("not an index: {e}"))?;
    if index.fmt != FORMAT {
        return Err(format!("format {} is not known, only {FORMAT}", index.fmt));
    }
    let mut versions: Vec<_> = index.releases.iter().map(|release| &release.version).collect();
    versions.dedup_by(|a, b| a.precedence(b).is_eq());
    if versions.len() != index.releases.len()
        || !versions.is_sorted_by(|a, b| a.precedence(b).is_gt())
    {
        return Err("releases are not in falling order of their versions".into());
    }
    Ok(index)
}

/// Returns a file's bytes if they are what the index says.
pub(crate) fn read_listed(
    files: &impl Files,
    path: &str,
    listed: &IndexArtifact,
) -> Result<Vec<u8>, String> {
    let bytes = files.read(path)?;
    compare(&bytes, sha256(&bytes), listed)?;
    Ok(bytes)
}

/// Compares a file and its hash with what the index says of it.
fn compare(bytes: &[u8], found: Sha256, listed: &IndexArtifact) -> Result<(), String> {
    if bytes.len() != listed.size as usize {
        return Err(format!("has {} bytes, {INDEX} says {}", bytes.len(), listed.size));
    }
    if found != listed.sha256 {
        return Err(format!("has SHA-256 {found}, {INDEX} says {}", listed.sha256));
    }
    Ok(())
}

/// Finds descriptors and manifests that no channel has: devices that still
/// read them are led astray.
fn unlisted(index: &Index) -> Vec<Problem> {
    let known: BTreeSet<&str> = index
        .channels
        .iter()
        .flat_map(|channel| {
            let descriptors = channel.targets.iter().map(|target| target.descriptor.as_str());
            descriptors.chain([channel.manifest.as_str()])
        })
        .collect();
    let of_channel = |path: &str| path.starts_with("ota/") || path.starts_with("manifests/");
    let stray =
        index.files.keys().filter(|path| of_channel(path) && !known.contains(path.as_str()));
    stray
        .map(|path| Problem { path: path.clone(), message: "belongs to no channel".into() })
        .collect()
}

fn check_descriptor(
    index: &Index,
    channel: &IndexChannel,
    served: &ServedTarget,
    bytes: &[u8],
) -> Result<(), String> {
    let expect = |ok: bool, message: &str| if ok { Ok(()) } else { Err(message.to_owned()) };
    let mut document = bytes.to_vec();
    let mut descriptor = Descriptor::parse(&mut document).map_err(|error| error.to_string())?;
    expect(descriptor.version == served.version, "version is not the one of the index")?;
    let release = index.releases.iter().find(|r| r.version == served.version);
    let release: &IndexRelease = release.ok_or("there is no such release")?;
    expect(release.yanked.is_none(), "the release was yanked")?;
    let target = release.targets.iter().find(|t| t.target == served.target);
    let target = target.ok_or("the release has no such target")?;
    let app = target.app.path.as_deref().unwrap_or_default();
    expect(
        descriptor.path.strip_prefix(index.base_url.as_str()) == Some(app),
        "path is not that of the release's image on this site",
    )?;
    towline_descriptor::Url::parse(descriptor.path).map_err(|error| format!("path: {error}"))?;
    expect(descriptor.size == Some(target.app.size), "size is not that of the image")?;
    expect(descriptor.sha256 == Some(target.app.sha256), "sha256 is not that of the image")?;
    terms::check(index, channel, served, release, &descriptor)?;
    terms::release_from(&mut descriptor);
    let running = Running {
        project: index.project.as_str(),
        version: Version::parse("0.0.0-0").ok(),
        chip: target.chip,
        target: Some(served.target.as_str()),
        channel: Some(channel.name.as_str()),
        id: &[],
        groups: &[],
        now: None,
        utc_offset: 0,
        by_user: false,
        switched: false,
        secure_version: 0,
        slot_size: target.slot_size.unwrap_or(u32::MAX),
    };
    match decide(&running, &descriptor) {
        Decision::Install(_) => Ok(()),
        Decision::Stay(reason) => Err(format!("a device would not install it: {reason}")),
    }
}

/// What esp-web-tools reads of a manifest.
#[derive(Deserialize)]
struct Manifest {
    version: String,
    builds: Vec<ManifestBuild>,
}

#[derive(Deserialize)]
struct ManifestBuild {
    #[serde(rename = "chipFamily")]
    chip_family: String,
    parts: Vec<ManifestPart>,
}

#[derive(Deserialize)]
struct ManifestPart {
    path: String,
    offset: u32,
}

fn check_manifest(index: &Index, channel: &IndexChannel, bytes: &[u8]) -> Result<(), String> {
    let manifest: Manifest = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let release = index.releases.iter().find(|r| r.version.as_str() == manifest.version);
    let Some(release) = release else {
        let is_empty = channel.targets.is_empty() && manifest.builds.is_empty();
        return if is_empty { Ok(()) } else { Err("there is no release of its version".into()) };
    };
    for build in &manifest.builds {
        let parts = |target: &crate::site::IndexTarget| {
            let same = |part: &ManifestPart| {
                target.parts.iter().any(|known| {
                    known.offset == part.offset
                        && known.file.path.as_deref() == part.path.strip_prefix("../")
                })
            };
            target.chip_family == build.chip_family
                && target.parts.len() == build.parts.len()
                && build.parts.iter().all(same)
        };
        if !release.targets.iter().any(parts) {
            let family = &build.chip_family;
            return Err(format!(
                "the parts for {family} are not those of release {}",
                release.version
            ));
        }
    }
    Ok(())
}
