//! The source that is built, as Git knows it.

use crate::toolchain::capture;
use std::path::Path;

/// 1980-01-01, the oldest time that archive formats can hold: stands in where
/// there is neither Git nor `SOURCE_DATE_EPOCH`.
const NO_DATE: i64 = 315_532_800;

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
    pub fn of(root: &Path) -> Self {
        let git = |arguments: &[&str]| capture("git", arguments, root).ok();
        let epoch = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.parse().ok());
        let head = git(&["log", "-1", "--format=%ct %H"]);
        let head = head.as_deref().and_then(|head| head.split_once(' '));
        let changes = || git(&["status", "--porcelain", "--untracked-files=no"]);
        Self {
            date: epoch.or_else(|| head?.0.parse().ok()).unwrap_or(NO_DATE),
            commit: head.map(|(_, commit)| commit.to_owned()),
            dirty: head.is_some() && changes().is_some_and(|changes| !changes.is_empty()),
        }
    }
}

/// Returns the date, such as `2026-11-21`, of seconds since 1970.
pub fn date_text(seconds: i64) -> String {
    let date = time::OffsetDateTime::from_unix_timestamp(seconds)
        .unwrap_or(time::OffsetDateTime::UNIX_EPOCH)
        .date();
    format!("{}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day())
}
