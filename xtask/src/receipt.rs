//! What was checked already.
//!
//! After a site was checked, a receipt is kept for each target of each release:
//! size, times and inode of its files. A target whose files nobody touched since
//! is taken over from the old site as it is and not opened again, so that a
//! site with many releases changes as fast as one with a few.
//!
//! Receipts only save time. Without them, or after any doubt, files are copied
//! from the store and checked; `cargo xtask check` never looks at receipts.

use crate::{
    disk::Disk,
    signing::minisig,
    site::{IndexRelease, IndexTarget, Site},
    store::sha256,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::LazyLock,
    time::UNIX_EPOCH,
};
use towline_descriptor::Sha256;

/// Receipts of the last site of a store.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Receipts(BTreeMap<String, Vec<Stamp>>);

/// How a file was when it was checked.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    path: PathBuf,
    size: u64,
    /// Nanoseconds since 1970, as text: JSON numbers do not hold them.
    modified: String,
    /// Inode and time of its last change, which nobody can set back; zero where
    /// the system has none.
    inode: u64,
    changed: i64,
}

/// The rules of the check: receipts of other rules do not count.
static RULES: LazyLock<Sha256> = LazyLock::new(|| {
    let rules = [
        include_str!("check/facts.rs"),
        include_str!("check/facts/bootloader.rs"),
        include_str!("check/facts/build_path.rs"),
        include_str!("check/facts/marks.rs"),
        include_str!("check/facts/nvs.rs"),
        include_str!("check/facts/segments.rs"),
        include_str!("check/facts/texts.rs"),
        include_str!("check/facts/tokens.rs"),
        include_str!("check/patches.rs"),
        include_str!("check/rules/rollback.rs"),
        include_str!("check/rules/table.rs"),
        include_str!("check/target.rs"),
        include_str!("check/secrets.rs"),
        include_str!("check/secrets/published.rs"),
        include_str!("check/trust.rs"),
        include_str!("signing/minisig.rs"),
        include_str!("placement.rs"),
        include_str!("../../firmware/diff/src/apply.rs"),
        include_str!("../../firmware/patch/src/apply.rs"),
        include_str!("../../firmware/patch/src/engine.rs"),
        include_str!("../../firmware/patch/src/header.rs"),
        include_str!("../../firmware/patch/src/isa.rs"),
        include_str!("../../firmware/patch/src/isa/riscv.rs"),
        include_str!("../../firmware/patch/src/isa/xtensa.rs"),
        include_str!("../../firmware/patch/src/model.rs"),
        include_str!("../../firmware/patch/src/range.rs"),
        include_str!("../../firmware/patch/src/segments.rs"),
        include_str!("../../firmware/patch/src/unit.rs"),
        include_str!("../../firmware/update/src/image/check.rs"),
    ];
    sha256(rules.concat().as_bytes())
});

impl Receipts {
    /// Reads the receipts in a file; none if it is missing or not understood.
    pub fn read(path: &Path) -> Self {
        let text = std::fs::read(path).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Writes the receipts for all targets of the site in `folder`, which has
    /// just been checked.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(path: &Path, site: &Site, folder: &Path, disk: &Disk) -> io::Result<()> {
        let mut receipts = Self::default();
        for release in &site.index.releases {
            for target in &release.targets {
                let stamps = paths(target).map(|file| stamp(folder, file));
                receipts.0.insert(key(site, release, target), stamps.collect::<io::Result<_>>()?);
            }
        }
        disk.write(path, &serde_json::to_vec(&receipts)?)
    }

    /// Returns whether the files of a target in `folder` are the checked ones.
    pub fn hold(
        &self,
        site: &Site,
        release: &IndexRelease,
        target: &IndexTarget,
        folder: &Path,
    ) -> bool {
        let stamps = self.0.get(&key(site, release, target));
        stamps.is_some_and(|stamps| {
            let now: io::Result<Vec<_>> = paths(target).map(|file| stamp(folder, file)).collect();
            now.is_ok_and(|now| now == *stamps)
        })
    }
}

/// Returns the paths of all files of a target, each once.
pub(crate) fn paths(target: &IndexTarget) -> impl Iterator<Item = &str> {
    let parts = target.parts.iter().map(|part| &part.file).filter(|file| **file != target.app);
    std::iter::once(&target.app)
        .chain(parts)
        .chain(&target.factory)
        .chain(target.patches.iter().map(|patch| &patch.file))
        .filter_map(|file| file.path.as_deref())
}

/// Names all that the check of a target depends on.
fn key(site: &Site, release: &IndexRelease, target: &IndexTarget) -> String {
    let signatures: Vec<_> = paths(target)
        .map(|path| site.files.get(&format!("{path}{}", minisig::EXTENSION)))
        .collect();
    let keys: Vec<_> = site.files.keys().filter(|path| path.ends_with(".pub")).collect();
    let facts = (*RULES, &site.index.project, &release.version, target, signatures, keys);
    sha256(&serde_json::to_vec(&facts).unwrap_or_default()).to_string()
}

fn stamp(folder: &Path, path: &str) -> io::Result<Stamp> {
    let metadata = folder.join(path).symlink_metadata()?;
    let modified = metadata.modified()?.duration_since(UNIX_EPOCH).map_err(io::Error::other)?;
    Ok(Stamp {
        path: path.into(),
        size: metadata.len(),
        modified: modified.as_nanos().to_string(),
        inode: identity(&metadata).0,
        changed: identity(&metadata).1,
    })
}

#[cfg(unix)]
fn identity(metadata: &std::fs::Metadata) -> (u64, i64) {
    use std::os::unix::fs::MetadataExt;
    let nanoseconds = metadata.ctime().wrapping_mul(1_000_000_000);
    (metadata.ino(), nanoseconds.wrapping_add(metadata.ctime_nsec()))
}

#[cfg(not(unix))]
fn identity(_: &std::fs::Metadata) -> (u64, i64) {
    (0, 0)
}
