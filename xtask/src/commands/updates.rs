//! What devices fetch for an update to a release.

use crate::{
    config::Config,
    name::TargetName,
    site::{Index, size_text},
    ui::table,
};
use serde::Serialize;
use towline_descriptor::Version;

/// Which patches a site has, beside what towline.toml says.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct PatchChoice {
    /// Releases that patches start from too, beside the newest ones that `from` of
    /// `[patches]` in towline.toml counts; its `also` names those of every run.
    #[arg(long, value_delimiter = ',', value_name = "VERSIONS")]
    patch_from: Vec<Version>,
}

impl PatchChoice {
    /// Lets a configuration have what was chosen.
    pub(super) fn apply(&self, config: &mut Config) {
        config.patches.also.extend_from_slice(&self.patch_from);
    }
}

/// What devices of a target fetch that can apply patches.
#[derive(Debug, Serialize)]
pub(super) struct Update {
    target: TargetName,
    /// What they run; `None` for all others.
    from: Option<Version>,
    /// Bytes that they fetch.
    bytes: u32,
    /// Bytes of the image, which all others fetch.
    full: u32,
}

/// Returns the updates to a release of a site that save bytes, those from the newest
/// release first and then those from any.
pub(super) fn updates(index: &Index, version: &Version) -> Vec<Update> {
    let release = index.releases.iter().find(|release| release.version == *version);
    let targets = release.into_iter().flat_map(|release| &release.targets);
    let of_target = targets.flat_map(|target| {
        let from = |is_any: bool| {
            let patches = target.patches.iter().filter(move |patch| patch.from.is_none() == is_any);
            patches.map(|patch| Update {
                target: target.target.clone(),
                from: patch.from.clone(),
                bytes: patch.file.size,
                full: target.app.size,
            })
        };
        from(false).chain(from(true))
    });
    of_target.collect()
}

/// Lays updates out as a table.
pub(super) fn text(updates: &[Update]) -> String {
    let mut rows = vec![["TARGET", "RUNS", "FETCHES", "SAVES"].map(String::from)];
    rows.extend(updates.iter().map(|update| {
        let saved = u64::from(update.full.saturating_sub(update.bytes)) * 100;
        let saved = saved / u64::from(update.full.max(1));
        [
            update.target.to_string(),
            update.from.as_ref().map_or("another".into(), ToString::to_string),
            size_text(update.bytes.into()),
            format!("{saved} %"),
        ]
    }));
    table(&rows)
}
