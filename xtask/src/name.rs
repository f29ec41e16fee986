//! Names that become parts of paths and URLs.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// The longest name in bytes; `project_name` of an app descriptor holds no
/// more.
const MAX_NAME: usize = 31;

/// Why a text is not a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a name has 1 to 31 letters, digits, `.`, `-` or `_`, starts with a letter or digit, and has no `..`"
)]
pub struct InvalidName;

fn check(name: &str) -> Result<(), InvalidName> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    let ok = (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(plain)
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && !name.ends_with('.')
        && !name.contains("..");
    if ok { Ok(()) } else { Err(InvalidName) }
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(String);

        impl $name {
            /// Returns the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;

            fn try_from(name: String) -> Result<Self, InvalidName> {
                check(&name).map(|()| Self(name))
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(name: &str) -> Result<Self, InvalidName> {
                Self::try_from(name.to_owned())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    )*};
}

names! {
    /// Name of a channel, such as `stable`.
    ChannelName
    /// Name of a target: a board variant, by default named after its chip.
    TargetName
    /// Name of a project, the `project_name` of its app descriptors.
    ProjectName
    /// Name of a group of devices, such as `beta`.
    GroupName
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_leave_its_folder_is_refused() {
        for name in [
            "", ".", "..", "a..b", ".a", "-a", "_a", "a/b", "a\\b", "a b", "\u{e4}", "a\0", "a.",
            "CON:",
        ] {
            assert_eq!(name.parse::<TargetName>(), Err(InvalidName), "{name:?}");
        }
        assert!("a".repeat(32).parse::<ChannelName>().is_err());
    }

    #[test]
    fn usual_names_are_accepted() {
        for name in ["stable", "esp32c3", "esp32-evse", "board_v1.2", "4mb"] {
            assert!(name.parse::<ProjectName>().is_ok(), "{name}");
        }
    }
}
