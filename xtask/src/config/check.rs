//! What a check lets pass.

use crate::check::Allows;
use serde::Deserialize;

/// How a project is checked.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Check {
    /// Files and folders, in the repository or on the site, whose secret keys and
    /// tokens everybody may have, such as those of tests. The project's own are found
    /// there all the same.
    pub not_secret: Vec<PublicPath>,
    /// Findings that are meant.
    pub allow: Allows,
}

/// A file or folder by its path, with slashes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct PublicPath(String);

/// Why a text is not the path of a file or folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a file or a folder, such as \"tests/keys\", without wildcards")]
pub struct InvalidPath;

impl TryFrom<String> for PublicPath {
    type Error = InvalidPath;

    fn try_from(text: String) -> Result<Self, InvalidPath> {
        let path = text.trim_end_matches('/');
        let is_plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(['*', '\\']);
        if path.split('/').all(is_plain) { Ok(Self(path.to_owned())) } else { Err(InvalidPath) }
    }
}

impl PublicPath {
    /// Returns whether a file is this one, or in this folder.
    pub fn has(&self, path: &str) -> bool {
        path.strip_prefix(&self.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_what_is_in_it() {
        let path = |text: &str| PublicPath::try_from(text.to_owned());
        for folder in ["tests", "tests/"] {
            let folder = path(folder).unwrap();
            assert!(folder.has("tests/a/b.pem") && folder.has("tests"));
            assert!(!folder.has("tests.pem") && !folder.has("src/tests/a.pem"));
        }
        for wrong in ["", "/", "/etc", "../a", "a//b", "tests/**", "./tests"] {
            assert_eq!(path(wrong), Err(InvalidPath), "{wrong}");
        }
    }
}
