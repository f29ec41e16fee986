//! The source that is built, as Git knows it.

use crate::toolchain::capture;
use anyhow::{Context, Result};
use std::path::Path;

/// 1980-01-01, the oldest time that archive formats can hold: stands in where
/// there is neither Git nor `SOURCE_DATE_EPOCH`.
const NO_DATE: i64 = 315_532_800;

/// Seconds of a day.
pub(crate) const DAY: u64 = 24 * 60 * 60;

/// What is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Seconds since 1970: `SOURCE_DATE_EPOCH`, or the time of the commit.
    pub date: i64,
    /// The commit; `None` outside Git.
    pub commit: Option<String>,
    /// Whether the work tree differs from the commit.
    pub dirty: bool,
}

impl Source {
    /// Looks at the repository that `root` is in.
    ///
    /// # Errors
    /// If Git fails there, or `SOURCE_DATE_EPOCH` is no number: the firmware
    /// would silently be another one.
    pub fn of(root: &Path) -> Result<Self> {
        let epoch = match std::env::var("SOURCE_DATE_EPOCH") {
            Err(_) => None,
            Ok(text) => Some(text.parse().with_context(|| format!("SOURCE_DATE_EPOCH={text}"))?),
        };
        let root = std::path::absolute(root)?;
        if !root.ancestors().any(|dir| dir.join(".git").exists()) {
            return Ok(Self { date: epoch.unwrap_or(NO_DATE), commit: None, dirty: false });
        }
        let git = |arguments: &[&str]| capture("git", arguments, &root);
        let head = match git(&["log", "-1", "--format=%ct %H"]) {
            Ok(head) => head,
            // A repository without a commit.
            Err(_)
                if git(&["rev-list", "--all", "--max-count=1"]).is_ok_and(|all| all.is_empty()) =>
            {
                return Ok(Self { date: epoch.unwrap_or(NO_DATE), commit: None, dirty: true });
            }
            Err(error) => return Err(error),
        };
        let (date, commit) = head.split_once(' ').context("git log says nothing")?;
        let changes = git(&["status", "--porcelain", "--untracked-files=no"])?;
        Ok(Self {
            date: epoch.map_or_else(|| date.parse(), Ok)?,
            commit: Some(commit.to_owned()),
            dirty: !changes.is_empty(),
        })
    }
}

/// Returns the date, such as `2026-11-21`, of seconds since 1970.
pub fn date_text(seconds: i64) -> String {
    let date = time::OffsetDateTime::from_unix_timestamp(seconds)
        .unwrap_or(time::OffsetDateTime::UNIX_EPOCH)
        .date();
    format!("{}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day())
}
