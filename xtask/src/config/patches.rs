//! Which shorter ways to a release a site offers.

use crate::patch::Profile;
use serde::Deserialize;
use towline_descriptor::Version;

/// Which patches a site has for the releases that its channels serve.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Patches {
    /// From how many of the releases before they start, the newest first.
    pub from: usize,
    /// Releases that they start from besides, however old.
    pub also: Vec<Version>,
    /// What devices need to apply them.
    pub profile: Profile,
    /// Whether whole images are there compressed too.
    pub compressed: bool,
}

impl Default for Patches {
    fn default() -> Self {
        Self { from: 5, also: Vec::new(), profile: Profile::default(), compressed: true }
    }
}
