//! Releases on GitHub.
//!
//! ```text
//! store -- publish --> draft -> artifacts -> SHA256SUMS -> release.json -> published
//! site  <- records and artifacts of published releases, kept in the store's folder
//! ```
//!
//! A GitHub Release has the tag of a version. Its assets are the artifacts under
//! the names that they have on the site, their sums, and the record of the release.
//! What has no record, or another tag, is none of ours and left alone.

pub mod api;
pub mod local;
pub mod model;
pub mod plan;
pub mod publish;
pub mod request;
pub mod retry;
pub mod store;

use crate::{
    config::{ApiUrl, Config, Repository, TagPrefix},
    toolchain::capture,
    ui::Hinted,
};
use anyhow::{Context, Result};
use request::ApiError;
use std::fmt;

/// Name of the asset that is the record of a release.
pub const RECORD: &str = "release.json";

/// Where the releases of a project are.
#[derive(Clone, Debug)]
pub struct Place {
    /// The API.
    pub api: ApiUrl,
    /// The repository.
    pub repository: Repository,
    /// What tags of releases start with.
    pub tags: TagPrefix,
}

impl Place {
    /// Finds the place of a project: what towline.toml says, else the workflow,
    /// else the Git remote `origin`.
    ///
    /// # Errors
    /// If nothing names a repository.
    pub fn of(config: &Config) -> Result<Self> {
        let github = &config.github;
        let api = match (&github.api_url, variable("GITHUB_API_URL")) {
            (Some(api), _) => api.clone(),
            (None, Some(url)) => url.parse().with_context(|| format!("GITHUB_API_URL={url}"))?,
            (None, None) => ApiUrl::public(),
        };
        let repository = match (&github.repository, variable("GITHUB_REPOSITORY")) {
            (Some(repository), _) => repository.clone(),
            (None, Some(name)) => Repository::try_from(name.clone())
                .with_context(|| format!("GITHUB_REPOSITORY={name}"))?,
            (None, None) => {
                let remote = capture("git", &["remote", "get-url", "origin"], &config.root).ok();
                remote.as_deref().and_then(Repository::of_remote).ok_or_else(|| {
                    Hinted::new(
                        "no repository on GitHub is known",
                        "name it in towline.toml: [github] and `repository = \"owner/name\"`",
                    )
                })?
            }
        };
        Ok(Self { api, repository, tags: github.tag_prefix.clone() })
    }
}

/// A secret that stands for a person or a workflow. Nothing prints it.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// Returns the token of the environment: `GH_TOKEN`, else `GITHUB_TOKEN`, as
    /// GitHub's own tool reads them.
    ///
    /// # Errors
    /// If it has characters that no token has.
    pub fn of_environment() -> Result<Option<Self>> {
        let token = ["GH_TOKEN", "GITHUB_TOKEN"]
            .into_iter()
            .find_map(|name| variable(name).map(|token| (name, token)));
        let Some((name, token)) = token else { return Ok(None) };
        if !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Hinted::new(
                format!("{name} is no token: it has blanks or other characters that none has"),
                "set it to the token alone",
            )
            .into());
        }
        Ok(Some(Self(token)))
    }

    fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Returns a variable that says something.
fn variable(name: &str) -> Option<String> {
    let text = std::env::var(name).ok()?.trim().to_owned();
    (!text.is_empty()).then_some(text)
}

/// Runs requests to their end, from one thread or several.
///
/// # Errors
/// If the system has no means for it.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Says what may mend a failed request.
pub(crate) fn with_hint(place: &Place, error: ApiError) -> anyhow::Error {
    let repository = &place.repository;
    let hint = match &error {
        ApiError::Refused { is_limit: true, .. } => {
            "GitHub's rate limit is used up; run it again later, it goes on where it stopped".into()
        }
        ApiError::Refused { status, message, .. } => match status.as_u16() {
            401 => "the token in GITHUB_TOKEN or GH_TOKEN is not valid, or not any more".into(),
            403 | 404 => format!(
                "is {repository} the repository, and may the token write its contents? In a workflow: `permissions:` with `contents: write`; a token of a person: Contents, read and write"
            ),
            422 if message.contains("target_commitish") => {
                "GitHub does not have the commit of the release: push it first".into()
            }
            422 if message.contains("immutable") => {
                "releases of this repository cannot be changed once they are published".into()
            }
            _ => return error.into(),
        },
        ApiError::Broken { .. } => "run it again, it goes on where it stopped".into(),
        _ => return error.into(),
    };
    Hinted::new(error.to_string(), hint).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_shown() {
        assert_eq!(format!("{:?}", Some(Token("ghs_secret".into()))), "Some(Token(…))");
    }
}
