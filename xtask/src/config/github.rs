//! Where releases are published on GitHub.

use serde::Deserialize;
use std::{fmt, str::FromStr};

/// A project's place on GitHub. What is not given is taken from the workflow or
/// the Git remote.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct GitHub {
    /// The repository.
    pub repository: Option<Repository>,
    /// The API; that of GitHub Enterprise is `https://host/api/v3`.
    pub api_url: Option<ApiUrl>,
    /// What the tags of releases start with, before the version.
    pub tag_prefix: TagPrefix,
}

/// A repository by its name, such as `towline-fw/towline`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Repository(String);

/// The URL of an API, without a slash at its end: https, or http on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ApiUrl(http::Uri);

/// What tags start with; `v` if nothing else is said.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct TagPrefix(String);

/// Why a text is not what the section `[github]` needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidGitHub {
    /// Not a repository.
    #[error("expected a repository as owner/name")]
    Repository,
    /// Not the URL of an API.
    #[error("expected an https URL, such as https://api.github.com or https://host/api/v3")]
    ApiUrl,
    /// Not the start of a tag.
    #[error("expected letters, digits, `.`, `-`, `_` and `/`, such as \"v\" or \"lamp-\"")]
    TagPrefix,
}

impl TryFrom<String> for Repository {
    type Error = InvalidGitHub;

    fn try_from(text: String) -> Result<Self, InvalidGitHub> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        let is_name = |part: &str| !matches!(part, "" | "." | "..") && part.bytes().all(plain);
        match text.split_once('/') {
            Some((owner, name)) if is_name(owner) && is_name(name) => Ok(Self(text)),
            _ => Err(InvalidGitHub::Repository),
        }
    }
}

impl Repository {
    /// Reads the repository out of the URL of a Git remote, such as
    /// `git@github.com:owner/name.git`.
    pub fn of_remote(url: &str) -> Option<Self> {
        let url = url.trim().trim_end_matches('/');
        let url = url.strip_suffix(".git").unwrap_or(url);
        let path = match url.split_once("://") {
            Some((_, rest)) => rest.split_once('/')?.1,
            None => url.split_once(':')?.1,
        };
        Self::try_from(path.to_owned()).ok()
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<String> for ApiUrl {
    type Error = InvalidGitHub;

    fn try_from(text: String) -> Result<Self, InvalidGitHub> {
        let url: http::Uri =
            text.trim_end_matches('/').parse().map_err(|_| InvalidGitHub::ApiUrl)?;
        if is_private(&url) && url.query().is_none() {
            Ok(Self(url))
        } else {
            Err(InvalidGitHub::ApiUrl)
        }
    }
}

impl ApiUrl {
    /// The API of github.com.
    pub fn public() -> Self {
        Self(http::Uri::from_static("https://api.github.com"))
    }

    /// Returns scheme and host.
    pub fn origin(&self) -> String {
        origin(&self.0).unwrap_or_default()
    }

    /// Returns the path that those of the API start with, without a slash at its
    /// end.
    pub fn path(&self) -> &str {
        self.0.path().trim_end_matches('/')
    }

    /// Returns whether the API is on this machine.
    pub fn is_here(&self) -> bool {
        self.0.scheme_str() == Some("http")
    }
}

impl FromStr for ApiUrl {
    type Err = InvalidGitHub;

    fn from_str(text: &str) -> Result<Self, InvalidGitHub> {
        Self::try_from(text.to_owned())
    }
}

impl fmt::Display for ApiUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin(), self.path())
    }
}

/// Returns scheme and host of a URL that has them.
pub(crate) fn origin(url: &http::Uri) -> Option<String> {
    Some(format!("{}://{}", url.scheme_str()?, url.authority()?))
}

/// Returns whether nobody on the way can read what is sent to a URL: it is https,
/// or http to an address of this machine.
pub(crate) fn is_private(url: &http::Uri) -> bool {
    let Some(authority) = url.authority() else { return false };
    // What stands before an `@` would be a password.
    if authority.as_str().contains('@') {
        return false;
    }
    let host = authority.host().trim_matches(['[', ']']);
    let is_here = || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback());
    match url.scheme_str() {
        Some("https") => true,
        Some("http") => is_here(),
        _ => false,
    }
}

impl Default for TagPrefix {
    fn default() -> Self {
        Self("v".into())
    }
}

impl TryFrom<String> for TagPrefix {
    type Error = InvalidGitHub;

    fn try_from(text: String) -> Result<Self, InvalidGitHub> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-/".contains(&b);
        let is_sound = text.bytes().all(plain)
            && !text.starts_with(['.', '-', '/'])
            && !text.contains("..")
            && !text.contains("//");
        if is_sound { Ok(Self(text)) } else { Err(InvalidGitHub::TagPrefix) }
    }
}

impl TagPrefix {
    /// Returns the tag of a version.
    pub fn tag(&self, version: &towline_descriptor::Version) -> String {
        format!("{}{}", self.0, version.without_v())
    }

    /// Returns the version that a tag says; `None` for the tags of other things.
    pub fn version(&self, tag: &str) -> Option<towline_descriptor::Version> {
        let rest = tag.strip_prefix(&self.0)?;
        if rest.starts_with('v') { None } else { towline_descriptor::Version::parse(rest).ok() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remotes_of_all_kinds_name_their_repository() {
        for url in [
            "https://github.com/towline-fw/towline.git",
            "https://github.com/towline-fw/towline/",
            "git@github.com:towline-fw/towline.git",
            "ssh://git@github.com:22/towline-fw/towline",
        ] {
            assert_eq!(Repository::of_remote(url).unwrap().to_string(), "towline-fw/towline");
        }
        for url in ["", "/srv/towline.git", "https://github.com/towline", "a:../b", "x:a/b/c"] {
            assert_eq!(Repository::of_remote(url), None, "{url}");
        }
    }

    #[test]
    fn a_token_is_sent_over_https_or_within_this_machine() {
        for url in [
            "https://api.github.com/",
            "https://git.example.org/api/v3",
            "http://127.0.0.1:8080",
            "http://[::1]:1",
        ] {
            assert_eq!(url.parse::<ApiUrl>().unwrap().to_string(), url.trim_end_matches('/'));
        }
        for url in [
            "http://api.github.com",
            "http://localhost",
            "https://a@b/",
            "api.github.com",
            "ftp://a",
            "https://a/?b",
            "",
        ] {
            assert_eq!(url.parse::<ApiUrl>(), Err(InvalidGitHub::ApiUrl), "{url}");
        }
    }

    #[test]
    fn a_tag_names_one_version() {
        let version = |prefix: &str, tag: &str| {
            let prefix = TagPrefix::try_from(prefix.to_owned()).unwrap();
            let version = prefix.version(tag)?;
            assert_eq!(prefix.tag(&version), tag);
            Some(version.to_string())
        };
        assert_eq!(version("v", "v1.2.0-rc.1").as_deref(), Some("1.2.0-rc.1"));
        assert_eq!(version("lamp/", "lamp/1.2.0").as_deref(), Some("1.2.0"));
        assert_eq!(version("", "1.2.0").as_deref(), Some("1.2.0"));
        for tag in ["1.2.0", "vv1.2.0", "v1.2", "vnext"] {
            assert_eq!(version("v", tag), None, "{tag}");
        }
        assert!(TagPrefix::try_from("v 1".to_owned()).is_err());
    }
}
