//! Findings that are meant.

use super::{Code, Finding, UnknownCode};
use indexmap::IndexMap;
use serde::Deserialize;
use std::{fmt, str::FromStr};

/// A kind of finding that is meant, everywhere or in one place, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allow {
    code: Code,
    /// The file, or the folder, which has a slash at its end.
    path: Option<String>,
    reason: String,
}

/// Why nothing is allowed by a text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAllow {
    /// It names no kind of finding.
    #[error(transparent)]
    Code(#[from] UnknownCode),
    /// It does not say why.
    #[error("`{0}` says no reason: expected CODE=REASON or CODE:PATH=REASON")]
    NoReason(String),
}

impl Allow {
    /// Allows `what`, `CODE` or `CODE:PATH`.
    ///
    /// # Errors
    /// [`InvalidAllow`].
    pub fn new(what: &str, reason: &str) -> Result<Self, InvalidAllow> {
        let (code, path) = match what.split_once(':') {
            Some((code, path)) => (code, Some(path.to_owned())),
            None => (what, None),
        };
        let code = code.trim().parse()?;
        match reason.trim() {
            "" => Err(InvalidAllow::NoReason(what.to_owned())),
            reason => Ok(Self { code, path, reason: reason.to_owned() }),
        }
    }

    /// Returns why it is meant.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Returns whether this is what is meant.
    pub fn covers(&self, finding: &Finding) -> bool {
        let has = |path: &String| match path.strip_suffix('/') {
            Some(folder) => finding
                .place
                .file
                .strip_prefix(folder)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
            None => finding.place.file == *path,
        };
        finding.code == self.code && self.path.as_ref().is_none_or(has)
    }
}

impl fmt::Display for Allow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code.as_str())?;
        self.path.as_ref().map_or(Ok(()), |path| write!(f, ":{path}"))
    }
}

impl FromStr for Allow {
    type Err = InvalidAllow;

    fn from_str(text: &str) -> Result<Self, InvalidAllow> {
        let (what, reason) = text.split_once('=').unwrap_or((text, ""));
        Self::new(what, reason)
    }
}

/// What a project allows: `CODE` or `CODE:PATH`, each with its reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "IndexMap<String, String>")]
pub struct Allows(pub Vec<Allow>);

impl TryFrom<IndexMap<String, String>> for Allows {
    type Error = InvalidAllow;

    fn try_from(allowed: IndexMap<String, String>) -> Result<Self, InvalidAllow> {
        allowed
            .iter()
            .map(|(what, reason)| Allow::new(what, reason))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Findings;

    #[test]
    fn what_is_allowed_has_a_code_and_a_reason() {
        let allow = |text: &str| text.parse::<Allow>();
        assert_eq!(allow("gone=it was never meant").unwrap().to_string(), "gone");
        assert_eq!(allow("gone:a/=b=c").unwrap().reason(), "b=c");
        for text in ["gone", "gone=", "gone: =  ", "gone:ota/testing/"] {
            let error = allow(text).unwrap_err().to_string();
            assert!(error.contains("says no reason"), "{error}");
        }
        let error = allow("chip-mismach=x").unwrap_err().to_string();
        assert!(error.contains("did you mean `chip-mismatch`?"), "{error}");
    }

    #[test]
    fn it_is_marked_where_it_is_meant_and_nowhere_else() {
        let files = ["ota/testing/", "ota/testing/a.json", "ota/testing2/a.json", "b"];
        let mut findings = Findings::default();
        findings.add(files.map(|file| Code::Gone.of(file, "is gone")));
        let allowed: Vec<Allow> = ["gone:ota/testing/=moved", "gone:b=too", "unpaused=never"]
            .map(|a| a.parse().unwrap())
            .into();
        let unused = findings.allow(&allowed);
        assert_eq!(unused.iter().map(ToString::to_string).collect::<Vec<_>>(), ["unpaused"]);
        let shown: Vec<_> =
            findings.allowed().map(|(finding, why)| (finding.place.file.as_str(), why)).collect();
        assert_eq!(shown, [("b", "too"), (files[0], "moved"), (files[1], "moved")]);
        let errors = findings.take_errors();
        assert_eq!(errors.iter().map(|f| f.place.file.as_str()).collect::<Vec<_>>(), [files[2]]);
    }
}
