//! The site as a pure function of configuration, channels and records.
//!
//! ```text
//! index.html, 404.html, assets/              the page, and the one for what is not there
//! ota/<channel>/<target>.json                descriptor, read by devices
//! firmware/<project>/<version>/...           immutable artifacts, hash in each name;
//!                                            their sums and signatures
//! root/<N>.json, root/<keyid>.pub            keys, if the project has some
//! manifests/<channel>.json                   for esp-web-tools
//! releases.json                              index of everything
//! ```
//!
//! The same inputs give the same bytes on any machine: nothing here reads a
//! clock, a disk or the network. [`Site::write`] is the edge that does.

mod descriptor;
mod index;
mod keep;
mod page;
mod patches;
mod steps;

pub use descriptor::{Form, Offer, payload, plain};
pub use index::{
    FORMAT, Index, IndexArtifact, IndexChannel, IndexPart, IndexPatch, IndexPolicy, IndexRelease,
    IndexRollout, IndexTarget, IndexWindow, ServedTarget,
};

use crate::{
    channel::Channels,
    check::{self, secrets::Secrets},
    config::{Config, Size},
    disk::{Disk, temporary_beside},
    installer::Bundle,
    keys::chain,
    name::{ChannelName, TargetName},
    patch::cache::Patches,
    receipt::{self, Receipts},
    release::{Artifact, Record, Role, TargetRecord},
    signing::{Signer, SigningError, artifacts},
    source::date_text,
    store::{Store, StoreError, artifact_of},
};
pub use keep::{Keep, Kept};
pub use page::size_text;

pub(crate) use index::served_targets;
use indexmap::IndexMap;
use patches::Published;
use rayon::prelude::*;
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};
pub(crate) use steps::below;
use towline_descriptor::{MAX_DOCUMENT, Version};

/// Name of the index.
pub const INDEX: &str = "releases.json";

/// The page for what is not there. Hosts that find it answer with status 404, and
/// not with their front page, which devices would take for the next root.
pub const NOT_FOUND: &str = "404.html";

/// What a site consists of at its top; anything else in its place is not ours
/// to replace.
const TOP_LEVEL: [&str; 8] =
    [NOT_FOUND, "assets", "firmware", "index.html", "manifests", "ota", chain::FOLDER, INDEX];

/// A rendered site: its files by their path.
#[derive(Clone, Debug)]
pub struct Site {
    /// The index of all of it.
    pub index: Index,
    /// Files whose bytes are rendered.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Files that are artifacts of the store.
    pub artifacts: BTreeMap<String, Artifact>,
    /// When its descriptors were signed, in seconds since 1970; `None` if they
    /// are not signed.
    pub signed_at: Option<u64>,
    /// What the publisher ought to know, though the site is sound.
    pub warnings: Vec<String>,
}

/// Why a site could not be rendered or written.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// The page's template is at fault.
    #[error("the page cannot be rendered: {0}")]
    Template(#[from] minijinja::Error),
    /// An artifact is missing or damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file could not be written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// What is in the place of the site is not one.
    #[error(
        "{path} has `{entry}`, which is not part of a site; choose another folder with --site-dir, or move it"
    )]
    NotASite {
        /// The folder.
        path: PathBuf,
        /// What is in it.
        entry: String,
    },
    /// A channel is pinned to a release that it cannot serve.
    #[error(
        "channel {channel} of channels.toml would serve nothing: {reason}; `cargo xtask follow {channel}` or pin another release"
    )]
    Stranded {
        /// The channel.
        channel: ChannelName,
        /// Why not.
        reason: String,
    },
    /// Something cannot be signed.
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// A channel asks for more than a descriptor has room for.
    #[error(
        "the descriptor of channel {channel} for target {target} would have {bytes} bytes, and {MAX_DOCUMENT} are all that devices read: give the channel fewer devices or groups or less metadata with `cargo xtask policy {channel}`"
    )]
    TooLong {
        /// The channel.
        channel: ChannelName,
        /// The target.
        target: TargetName,
        /// Its size without notes.
        bytes: usize,
    },
    /// There is no room for what the channels serve.
    #[error(
        "what the channels serve takes {0} on the site with the releases that lead devices there, and its `max-size` is {1}; raise that in towline.toml if the host takes more (GitHub Pages takes 1 GB), or let fewer releases be served: `cargo xtask plan` shows what each channel serves"
    )]
    TooLarge(Size, Size),
    /// The site that was written is faulty.
    #[error(
        "the new site has problems, the old one is untouched:\n{}\n`cargo xtask check --explain CODE` tells more; what is meant, `[check.allow]` of towline.toml lets pass",
        list(.0)
    )]
    Problems(Vec<check::Finding>),
}

fn list(problems: &[check::Finding]) -> String {
    let line = |problem: &check::Finding| format!("  {}: {problem}", problem.code);
    problems.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Returns the path of an artifact on the site.
pub(crate) fn artifact_path(
    record: &Record,
    target: &TargetName,
    role: Role,
    artifact: &Artifact,
) -> String {
    format!("{}{}", release_path(record), artifact.file_name(target, role))
}

/// Returns the path of a release's folder on the site, with a slash at its end.
pub(crate) fn release_path(record: &Record) -> String {
    format!("firmware/{}/{}/", record.project, record.version)
}

/// Returns the path of a descriptor on the site.
pub fn descriptor_path(channel: &ChannelName, target: &TargetName) -> String {
    format!("ota/{channel}/{target}.json")
}

/// Renders the site for these releases, lowest version first, with `installer`
/// on its page, signed by `signer` if the project has keys. It holds those that
/// [`Keep`] wants and has room for, and what is at hand of `patches` unless it has no
/// room for that.
///
/// # Errors
/// [`SiteError::Template`], [`SiteError::TooLong`], [`SiteError::TooLarge`] or
/// [`SiteError::Signing`].
pub fn render(
    config: &Config,
    channels: &Channels,
    releases: &[Record],
    patches: &Patches,
    installer: &Bundle,
    signer: Option<&Signer>,
) -> Result<Site, SiteError> {
    // Devices are led on from every release that there ever was.
    let mut offered = offered(config, channels, releases, patches, signer)?;
    let keep = Keep::of(config, channels, releases);
    let max_size = config.site.max_size;
    let mut spare = keep.most(max_size);
    loop {
        let kept = keep.with(spare);
        let mut site = offered.clone().holding(config, channels, &kept, installer, signer)?;
        match site.size() {
            size if size <= max_size => {
                site.warnings.extend(kept.warnings(max_size));
                return Ok(site);
            }
            _ if spare == 0 && !offered.patches.is_empty() => {
                offered = self::offered(config, channels, releases, &Patches::default(), signer)?;
                let message = format!(
                    "no patches on the site, by its `max-size` of {max_size}: devices fetch whole images"
                );
                offered.warnings.push(message);
            }
            size if spare == 0 => return Err(SiteError::TooLarge(size, max_size)),
            // The page and the index of the others take some of the room.
            _ => spare -= 1,
        }
    }
}

/// What a site offers, whichever releases it holds beside that.
#[derive(Clone)]
struct Offered {
    files: BTreeMap<String, Vec<u8>>,
    /// The patches that its descriptors name.
    patches: Vec<Published>,
    warnings: Vec<String>,
}

/// Renders what the channels serve.
fn offered(
    config: &Config,
    channels: &Channels,
    releases: &[Record],
    patches: &Patches,
    signer: Option<&Signer>,
) -> Result<Offered, SiteError> {
    let mut files = BTreeMap::new();
    let mut named = Vec::new();
    let mut warnings = Vec::new();
    for channel in config.channels.keys() {
        let served = served_targets(channel, channels, releases);
        let offers: Vec<_> = served
            .iter()
            .filter_map(|(name, _)| Offer::of(config, channels, releases, channel, name, patches))
            .collect();
        let mut overdue = None;
        for offer in &offers {
            let path = descriptor_path(channel, offer.target());
            let form = match signer {
                None => Form::Plain,
                Some(signer) => Form::Sealed { signatures: signer.signatures(channel)? },
            };
            let descriptor = offer.make(form)?;
            named.extend_from_slice(offer.patches_in(&descriptor));
            let text = match signer {
                None => plain(&descriptor),
                Some(signer) => {
                    let offered = signer.seal(&path, channel, &descriptor)?;
                    overdue = [overdue, offered.overdue].into_iter().flatten().min();
                    offered.text
                }
            };
            files.insert(path, text);
        }
        warnings.extend(left_behind(channel, &offers));
        warnings.extend(overdue.map(|expires| {
            let date = date_text(expires.try_into().unwrap_or(i64::MAX));
            format!("channel {channel}: its key is not at hand, so what it serves stays as it was signed, and expires on {date}")
        }));
        files.insert(format!("manifests/{channel}.json"), manifest(config, &served));
    }
    files.extend(signer.into_iter().flat_map(Signer::files));
    Ok(Offered { files, patches: named, warnings })
}

impl Offered {
    /// Renders the rest of a site that holds these releases.
    fn holding(
        self,
        config: &Config,
        channels: &Channels,
        kept: &Kept,
        installer: &Bundle,
        signer: Option<&Signer>,
    ) -> Result<Site, SiteError> {
        let Self { mut files, patches, warnings } = self;
        let named = patches.iter().map(Published::file);
        let mut artifacts: BTreeMap<_, _> =
            named.map(|(path, artifact)| (path.to_owned(), artifact.clone())).collect();
        for record in &kept.releases {
            let held = artifacts::files(record);
            artifacts.extend(held.into_iter().map(|(path, artifact)| (path, artifact.clone())));
            let folder = release_path(record);
            let sums = artifacts::sums(record).into_bytes();
            files.insert(format!("{folder}{}", artifacts::SUMS), sums);
            files.extend(signer.into_iter().flat_map(|signer| signer.signatures_in(&folder)));
        }
        page::render(config, channels, &kept.releases, &patches, installer, &mut files)?;
        let index = index::make(config, channels, kept, &patches, &files)?;
        files.insert(INDEX.into(), json(&index));
        Ok(Site { index, files, artifacts, signed_at: signer.map(Signer::now), warnings })
    }
}

/// Names the devices of a channel that find no way to what it serves, one
/// warning for all targets that fare alike.
fn left_behind(channel: &ChannelName, offers: &[Offer<'_>]) -> Vec<String> {
    let texts = |versions: &[&Version]| {
        versions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    let mut alike: IndexMap<(&Version, String), Vec<String>> = IndexMap::new();
    for offer in offers.iter().filter(|offer| !offer.left_behind().is_empty()) {
        let key = (&offer.record().version, texts(offer.left_behind()));
        alike.entry(key).or_default().push(offer.target().to_string());
    }
    let warning = |((offered, versions), targets): ((&Version, String), Vec<String>)| {
        format!(
            "channel {channel}: no release leads from {versions} up to {offered}, which does not install over them; devices of {} that run them stay there until one does",
            targets.join(", ")
        )
    };
    alike.into_iter().map(warning).collect()
}

fn json(value: &impl Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).expect("plain data");
    text.push(b'\n');
    text
}

/// An installer manifest of esp-web-tools.
#[derive(Serialize)]
struct Manifest<'a> {
    name: &'a str,
    version: &'a str,
    new_install_prompt_erase: bool,
    /// Seconds to wait for Improv after an install; 10 where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    new_install_improv_wait_time: Option<u32>,
    builds: Vec<ManifestBuild>,
}

#[derive(Serialize)]
struct ManifestBuild {
    #[serde(rename = "chipFamily")]
    chip_family: &'static str,
    parts: Vec<ManifestPart>,
}

#[derive(Serialize)]
struct ManifestPart {
    path: String,
    offset: u32,
}

/// Renders a channel's manifest: the targets of its newest release that can be
/// flashed. Parts keep to their places, so settings survive an install
/// without erase.
fn manifest(config: &Config, served: &[(&TargetName, &Record)]) -> Vec<u8> {
    let newest = served.iter().map(|(_, r)| r).max_by(|a, b| a.version.precedence(&b.version));
    let builds =
        served.iter().filter(|(_, record)| newest.is_some_and(|n| n.version == record.version));
    let build = |name: &TargetName, record: &Record, target: &TargetRecord| ManifestBuild {
        chip_family: target.chip.family(),
        parts: target
            .parts
            .iter()
            .map(|part| ManifestPart {
                path: format!("../{}", artifact_path(record, name, part.role, &part.artifact)),
                offset: part.offset,
            })
            .collect(),
    };
    json(&Manifest {
        // The installer compares it with the name that firmware gives over
        // Improv: only then is an install on such a board an update, which
        // erases nothing.
        name: config.project.as_str(),
        version: newest.map_or("", |record| record.version.as_str()),
        new_install_prompt_erase: true,
        // Waiting for firmware that has no Improv is time lost.
        new_install_improv_wait_time: (!config.installer.improv).then_some(0),
        builds: builds
            .map(|(name, record)| (name, record, &record.targets[*name]))
            .filter(|(.., target)| !target.parts.is_empty())
            .filter(|(_, record, target)| is_only_one_of_its_family(record, target))
            .map(|(name, record, target)| build(name, record, target))
            .collect(),
    })
}

/// Returns whether no other target of the release has the same chip. The
/// installer goes by the chip alone and would flash the wrong board.
fn is_only_one_of_its_family(record: &Record, target: &TargetRecord) -> bool {
    record.targets.values().filter(|other| other.chip == target.chip).count() == 1
}

impl Site {
    /// Returns the size of all its files.
    fn size(&self) -> Size {
        let files = self.files.values().map(|bytes| bytes.len() as u64);
        let artifacts = self.artifacts.values().map(|artifact| u64::from(artifact.size));
        Size(files.chain(artifacts).sum())
    }

    /// Writes the site beside `folder`, checks it as its clients will use it,
    /// and puts it in the place of `folder`. `receipts` is the file that
    /// remembers what was checked; none of `secrets` may be in it. What is wrong
    /// with it has to be `allowed`. Returns what should be known of it.
    ///
    /// # Errors
    /// [`SiteError`]; what stood in `folder` is untouched then.
    pub fn write(
        &self,
        store: &impl Store,
        folder: &Path,
        receipts: &Path,
        secrets: &Secrets,
        allowed: &[check::Allow],
        disk: &Disk,
    ) -> Result<Vec<check::Finding>, SiteError> {
        // What a link leads to is replaced, not the link.
        let folder = &folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        refuse_foreign(folder)?;
        let parent =
            folder.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        disk.create_dir(parent)?;
        // Runs with other stores may write here too: one at a time.
        let _lock = fs::File::open(parent).and_then(|parent| parent.lock().map(|()| parent));
        disk.clean_beside(folder)?;
        let staged = temporary_beside(folder);
        let paths = self.files.keys().chain(self.artifacts.keys());
        let folders: BTreeSet<_> = paths.filter_map(|path| Path::new(path).parent()).collect();
        for folder in folders {
            disk.create_dir(&staged.join(folder))?;
        }
        for (path, bytes) in &self.files {
            disk.stage(&staged.join(path), bytes)?;
        }
        // What was checked and not touched since comes from the old site.
        let old = Receipts::read(receipts);
        let mut known = BTreeSet::new();
        for release in &self.index.releases {
            for target in &release.targets {
                if old.hold(self, release, target, folder) {
                    known.insert((release.version.as_str(), &target.target));
                    for path in receipt::paths(target) {
                        disk.take_over(&folder.join(path), &staged.join(path))?;
                    }
                }
            }
        }
        self.artifacts.par_iter().try_for_each(|(path, artifact)| {
            let to = staged.join(path);
            if !to.exists() {
                // The check below reads it as its clients will.
                store.copy_artifact(artifact, &to)?;
            }
            Ok::<_, SiteError>(())
        })?;
        let terms = check::Terms {
            now: self.signed_at.unwrap_or_default(),
            project: None,
            secrets,
            known: &known,
            // Those that are kept without their key are warned of.
            min_left: Some(0),
            start: None,
        };
        let mut findings = check::inspect(&check::Folder::new(&staged), &terms);
        findings.allow(allowed);
        let problems = findings.take_errors();
        if !problems.is_empty() {
            fs::remove_dir_all(&staged)?;
            return Err(SiteError::Problems(problems));
        }
        disk.swap_dir(&staged, folder)?;
        // Without receipts the next run takes longer, nothing else. What is allowed today
        // is looked at again.
        if findings.allowed().next().is_none() {
            let _ = Receipts::write(receipts, self, folder, disk);
        }
        Ok(findings.all)
    }
}

/// Refuses a folder that holds anything but a site.
pub(crate) fn refuse_foreign(folder: &Path) -> Result<(), SiteError> {
    let entries = match folder.read_dir() {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(
                io::Error::new(error.kind(), format!("{}: {error}", folder.display())).into()
            );
        }
    };
    for entry in entries {
        let entry = entry?.file_name().to_string_lossy().into_owned();
        if !TOP_LEVEL.contains(&entry.as_str()) {
            return Err(SiteError::NotASite { path: folder.to_owned(), entry });
        }
    }
    Ok(())
}

/// Returns what the index says of a rendered file.
fn listed(bytes: &[u8]) -> Result<IndexArtifact, StoreError> {
    let Artifact { size, sha256 } = artifact_of(bytes)?;
    Ok(IndexArtifact { path: None, size, sha256 })
}
