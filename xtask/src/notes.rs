//! Release notes, from what a project writes anyway.
//!
//! ```text
//! CHANGELOG.md -> section of the version --+
//!                                          +-> tidy -> notes, plain text
//! Git, since the last tag -> by kind ------+
//! ```
//!
//! The result has no control characters and is of a size that people read. What
//! matters most comes first: devices are shown the beginning.

use crate::config::TagPrefix;
use towline_descriptor::Version;

mod changelog;
mod commits;

pub use changelog::section;
pub(crate) use commits::LOG_FORMAT;
pub use commits::{Commit, from_commits, parse_log};

/// The longest notes in bytes; a release on GitHub holds 125,000 characters.
const MAX_NOTES: usize = 64 * 1024;

/// The longest line of notes that come from commits, in characters.
const MAX_SUBJECT: usize = 200;

/// What stands where something was cut off.
const CUT: char = '\u{2026}';

/// Makes a text harmless and tidy: without control characters and others that
/// are not seen, without empty lines at either end or two in a row, and not
/// longer than a release can hold. `None` if nothing is left.
pub fn tidy(text: &str) -> Option<String> {
    let mut tidied = String::new();
    let mut is_after_gap = false;
    for line in text.lines() {
        let line: String = line.chars().filter(|c| is_seen(*c)).collect();
        let line = line.trim_end();
        if line.is_empty() {
            is_after_gap = !tidied.is_empty();
            continue;
        }
        if !tidied.is_empty() {
            tidied.push_str(if is_after_gap { "\n\n" } else { "\n" });
        }
        is_after_gap = false;
        tidied.push_str(line);
        if tidied.len() > MAX_NOTES {
            tidied.truncate(tidied.floor_char_boundary(MAX_NOTES - CUT.len_utf8()));
            tidied.push(CUT);
            break;
        }
    }
    (!tidied.is_empty()).then_some(tidied)
}

/// Returns the tag of the release that a version follows, among those that lead to
/// it: the highest that is lower. A release follows on releases, not on its own
/// prereleases.
pub fn tag_before<'t>(
    tags: impl Iterator<Item = &'t str>,
    prefix: &TagPrefix,
    version: &Version,
) -> Option<&'t str> {
    let before = tags.filter_map(|tag| Some((tag, prefix.version(tag)?))).filter(|(_, tagged)| {
        tagged.precedence(version).is_lt() && (version.is_prerelease() || !tagged.is_prerelease())
    });
    before.max_by(|(_, a), (_, b)| a.precedence(b)).map(|(tag, _)| tag)
}

/// Returns whether a character is one that people see. Those that turn the
/// direction of what follows make a text say something else than it holds.
fn is_seen(c: char) -> bool {
    let turns =
        matches!(c, '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
    c == '\t' || !(c.is_control() || turns || c == '\u{FEFF}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn notes_are_tidied() {
        assert_eq!(tidy("\r\n\na\u{7}b \u{1b}[31m\n\n\n\nc\n\n").as_deref(), Some("ab [31m\n\nc"));
        assert_eq!(tidy("a\u{202e}b\u{0}"), Some("ab".into()));
        assert_eq!(tidy(" \n\u{1}\n"), None);
        let long = tidy(&"word \u{1f4a1}\n".repeat(20_000)).unwrap();
        assert!(long.len() <= MAX_NOTES && long.ends_with(CUT), "{}", long.len());
    }

    #[test]
    fn a_version_follows_on_the_release_before() {
        let tags = [
            "v1.0.0",
            "v1.1.0-rc.1",
            "v1.10.0",
            "v1.9.0",
            "v2.0.0-rc.1",
            "v2.0.0",
            "lamp-1.9.5",
            "latest",
        ];
        for (version, expected) in [
            ("1.9.0", Some("v1.0.0")),
            ("v2.0.0", Some("v1.10.0")),
            ("2.0.0-rc.2", Some("v2.0.0-rc.1")),
            ("1.1.0", Some("v1.0.0")),
            ("1.0.0", None),
            ("3.0.0", Some("v2.0.0")),
        ] {
            let version = version.parse().unwrap();
            assert_eq!(tag_before(tags.into_iter(), &TagPrefix::default(), &version), expected);
        }
    }

    proptest! {
        #[test]
        fn tidying_never_panics_and_leaves_nothing_hidden(text in any::<String>()) {
            let text = tidy(&text).unwrap_or_default();
            prop_assert!(text.chars().all(|c| c == '\n' || is_seen(c)));
            prop_assert!(!text.contains("\n\n\n") && text.len() <= MAX_NOTES);
            prop_assert_eq!(tidy(&text).unwrap_or_default(), text);
        }
    }
}
