//! Releases and assets as the API describes them; what is not used is left out.

use serde::{Deserialize, Serialize};
use towline_descriptor::Sha256;

/// A GitHub Release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Its number, which it keeps when it is published.
    pub id: u64,
    /// The tag.
    pub tag_name: String,
    /// Whether only those with write access see it.
    pub draft: bool,
    /// Whether it is marked as a prerelease.
    #[serde(default)]
    pub prerelease: bool,
    /// What it says.
    #[serde(default)]
    pub body: Option<String>,
    /// Where people find it.
    pub html_url: String,
    /// Where its assets are uploaded to; a template.
    pub upload_url: String,
    /// Its assets.
    #[serde(default)]
    pub assets: Vec<Asset>,
}

/// A file of a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asset {
    /// Its number.
    pub id: u64,
    /// The file name.
    pub name: String,
    /// How far its upload went.
    pub state: State,
    /// Size in bytes.
    pub size: u64,
    /// `sha256:` and the hash; older GitHub Enterprise has none.
    #[serde(default)]
    pub digest: Option<String>,
}

/// How far an upload went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// All of it is there.
    Uploaded,
    /// It has begun, and may have broken off.
    #[serde(other)]
    Starter,
}

impl Asset {
    /// Returns whether it can be downloaded.
    pub fn is_complete(&self) -> bool {
        self.state == State::Uploaded
    }

    /// Returns the hash of its bytes, where the API tells it.
    pub fn sha256(&self) -> Option<Sha256> {
        self.digest.as_deref()?.strip_prefix("sha256:")?.parse().ok()
    }
}
