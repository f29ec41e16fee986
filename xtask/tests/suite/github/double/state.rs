//! What the double keeps.

use hyper::body::Bytes;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// The commit of the default branch.
pub(super) const MAIN: &str = "feedfacefeedfacefeedfacefeedfacefeedface";

/// All that there is.
#[derive(Default)]
pub(super) struct State {
    pub(super) releases: BTreeMap<u64, Release>,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) latest: Option<u64>,
    ids: u64,
}

/// A release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Release {
    pub(crate) id: u64,
    pub(crate) tag: String,
    pub(crate) target: Option<String>,
    pub(crate) name: String,
    pub(crate) body: String,
    pub(crate) draft: bool,
    pub(crate) prerelease: bool,
    /// In the order of their uploads.
    pub(crate) assets: Vec<Asset>,
}

/// An asset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asset {
    pub(crate) id: u64,
    pub(crate) name: String,
    /// Whether its upload came to its end.
    pub(crate) is_uploaded: bool,
    pub(crate) bytes: Bytes,
    /// What GitHub says of the bytes.
    pub(crate) digest: String,
}

impl Release {
    /// Returns what anybody can tell from outside: all but the numbers, and the
    /// order of uploads.
    pub(crate) fn facts(&self) -> String {
        let mut assets: Vec<_> = self
            .assets
            .iter()
            .map(|asset| format!("{} {} {}", asset.name, asset.is_uploaded, asset.digest))
            .collect();
        assets.sort();
        let Self { tag, target, name, body, draft, prerelease, .. } = self;
        format!("{tag} {target:?} {name} {draft} {prerelease}\n{body}\n{}", assets.join("\n"))
    }

    /// Returns the asset of a name.
    pub(crate) fn asset(&self, name: &str) -> &Asset {
        self.assets.iter().find(|asset| asset.name == name).unwrap()
    }
}

impl State {
    pub(super) fn id(&mut self) -> u64 {
        self.ids += 1;
        1000 + self.ids
    }

    pub(super) fn add(&mut self, tag: &str, draft: bool, assets: &[(&str, &[u8])]) -> u64 {
        let id = self.id();
        let assets = assets.iter().map(|(name, bytes)| Asset {
            id: self.id(),
            name: (*name).to_owned(),
            is_uploaded: true,
            bytes: Bytes::copy_from_slice(bytes),
            digest: digest(bytes),
        });
        let assets = assets.collect();
        let release = Release {
            id,
            tag: tag.into(),
            target: None,
            name: String::new(),
            body: String::new(),
            draft,
            prerelease: false,
            assets,
        };
        self.releases.insert(id, release);
        id
    }

    /// Returns the release and the place of an asset.
    pub(super) fn asset(&mut self, id: u64) -> Option<(&mut Release, usize)> {
        self.releases.values_mut().find_map(|release| {
            let place = release.assets.iter().position(|asset| asset.id == id)?;
            Some((release, place))
        })
    }

    /// Publishes a release, unless its tag is published.
    pub(super) fn publish(&mut self, id: u64, make_latest: &str) -> Result<(), ()> {
        let release = &self.releases[&id];
        let (tag, target) = (release.tag.clone(), release.target.clone());
        let is_taken = |other: &Release| other.id != id && !other.draft && other.tag == tag;
        if self.releases.values().any(is_taken) {
            return Err(());
        }
        self.tags.entry(tag).or_insert_with(|| target.unwrap_or_else(|| MAIN.into()));
        if make_latest == "true" {
            self.latest = Some(id);
        }
        self.releases.get_mut(&id).expect("it is there").draft = false;
        Ok(())
    }
}

/// Makes a name plain, as GitHub does.
pub(super) fn plain(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-+@".contains(c);
    let name: String = name.chars().map(|c| if is_plain(c) { c } else { '.' }).collect();
    name.trim_matches('.').to_owned()
}

/// Returns the digest of bytes.
pub(super) fn digest(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}
