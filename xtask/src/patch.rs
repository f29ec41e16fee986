//! Patches: from the image that a device runs to the next one.
//!
//! They are made by `towline-diff` and applied by `towline-patch`, as on devices.

pub mod cache;
pub mod plan;

use serde::Deserialize;

pub use towline_diff::{DiffError, Header, VERSION, apply, header};

/// How much memory a device needs to apply a patch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// At most 4 KiB.
    #[default]
    Small,
    /// At most 32 KiB.
    Large,
}

impl Profile {
    /// All of them, the one that needs the least first.
    pub const ALL: [Self; 2] = [Self::Small, Self::Large];

    /// Returns the name that descriptors have for it.
    pub const fn alg(self) -> &'static str {
        match self {
            Self::Small => "twp1-small",
            Self::Large => "twp1-large",
        }
    }

    /// Returns the most bytes of working memory.
    pub const fn memory(self) -> u32 {
        match self {
            Self::Small => 4 << 10,
            Self::Large => 32 << 10,
        }
    }

    /// Returns the smallest profile that lends so many bytes.
    pub fn of(memory: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| memory <= profile.memory())
    }
}

/// Makes the patch from `old` to `new`; from nothing it is the image compressed. It was
/// applied before it is returned.
///
/// # Errors
/// [`DiffError`].
pub fn make(old: &[u8], new: &[u8], profile: Profile) -> Result<Vec<u8>, DiffError> {
    towline_diff::make(old, new, profile.memory())
}
