//! Notes from the commits since the last release.

use super::{CUT, MAX_SUBJECT, is_seen, tidy};

/// What a commit says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its first line.
    pub subject: String,
    /// The rest.
    pub body: String,
}

/// How `git log` is to write commits for [`parse_log`]. A message cannot hold a
/// NUL.
pub(crate) const LOG_FORMAT: &str = "--format=%s%x00%b%x00";

/// Reads what `git log` wrote in the format that [`parse_log`] wants.
pub fn parse_log(log: &str) -> Vec<Commit> {
    let mut fields = log.split('\0').map(str::trim);
    let mut commits = Vec::new();
    while let (Some(subject), Some(body)) = (fields.next(), fields.next()) {
        commits.push(Commit { subject: subject.to_owned(), body: body.to_owned() });
    }
    commits
}

/// What a change is to users, in the order in which they read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Breaking,
    Feature,
    Fix,
    Performance,
    /// Something for the developers alone.
    Other,
}

impl Kind {
    const SHOWN: [(Self, &str); 4] = [
        (Self::Breaking, "Breaking changes"),
        (Self::Feature, "New"),
        (Self::Fix, "Fixed"),
        (Self::Performance, "Faster"),
    ];
}

/// Makes notes of commits, newest first.
///
/// Conventional commits are grouped by what they are to users; those that are
/// for developers alone are left out, and so is what follows no convention. If no
/// commit follows it, the subjects of all are the notes.
pub fn from_commits(commits: &[Commit]) -> Option<String> {
    let mut changes: Vec<_> = commits.iter().filter_map(conventional).collect();
    if changes.is_empty() {
        let subjects = commits.iter().filter_map(|commit| item(None, &commit.subject));
        return tidy(&subjects.collect::<String>());
    }
    changes.sort_by_key(|(kind, _)| *kind);
    let mut text = String::new();
    for (kind, title) in Kind::SHOWN {
        let items: String = changes.iter().filter(|c| c.0 == kind).map(|c| c.1.as_str()).collect();
        if !items.is_empty() {
            text += &format!("{title}\n{items}\n");
        }
    }
    tidy(&text)
}

/// Reads a commit such as `feat(wifi)!: remember networks`: its kind, and its
/// item of the notes.
fn conventional(commit: &Commit) -> Option<(Kind, String)> {
    let (head, description) = commit.subject.split_once(": ")?;
    let (head, is_marked) = match head.strip_suffix('!') {
        Some(head) => (head, true),
        None => (head, false),
    };
    let (kind, scope) = match head.split_once('(') {
        Some((kind, scope)) => (kind, Some(scope.strip_suffix(')')?)),
        None => (head, None),
    };
    if kind.is_empty() || !kind.bytes().all(|b| b.is_ascii_alphabetic()) {
        return None;
    }
    let is_known = KNOWN.iter().any(|known| kind.eq_ignore_ascii_case(known));
    let footer = footer(&commit.body);
    let kind = match kind.to_ascii_lowercase().as_str() {
        _ if is_marked || (is_known && footer.is_some()) => Kind::Breaking,
        "feat" => Kind::Feature,
        "fix" => Kind::Fix,
        "perf" => Kind::Performance,
        _ if is_known => Kind::Other,
        // A word and a colon, such as `Merge: …` or `esp32: …`, is no type.
        _ => return None,
    };
    let text = footer.filter(|_| kind == Kind::Breaking).unwrap_or(description);
    Some((kind, item(scope, text)?))
}

/// The types of the convention.
const KNOWN: [&str; 11] =
    ["feat", "fix", "perf", "build", "chore", "ci", "docs", "refactor", "revert", "style", "test"];

/// Returns what a commit says of the break that it is.
fn footer(body: &str) -> Option<&str> {
    let marks = ["BREAKING CHANGE: ", "BREAKING-CHANGE: "];
    body.lines().find_map(|line| marks.iter().find_map(|mark| line.strip_prefix(mark)))
}

/// Writes a line of the notes; `None` if there is nothing to be seen.
fn item(scope: Option<&str>, text: &str) -> Option<String> {
    let seen = |text: &str| {
        let text = text.replace('\t', " ");
        text.chars().filter(|c| is_seen(*c)).collect::<String>().trim().to_owned()
    };
    let text = seen(text);
    if text.is_empty() {
        return None;
    }
    let text = match scope.map(seen) {
        Some(scope) if !scope.is_empty() => format!("{scope}: {text}"),
        _ => text,
    };
    let cut = text.char_indices().nth(MAX_SUBJECT).map(|(at, _)| at);
    Some(match cut {
        Some(at) => format!("- {}{CUT}\n", text[..at].trim_end()),
        None => format!("- {text}\n"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn notes(subjects: &[&str]) -> Option<String> {
        let commit = |subject: &&str| match subject.split_once('\n') {
            Some((subject, body)) => Commit { subject: subject.into(), body: body.into() },
            None => Commit { subject: (*subject).into(), body: String::new() },
        };
        from_commits(&subjects.iter().map(commit).collect::<Vec<_>>())
    }

    #[test]
    fn changes_are_grouped_by_what_they_are_to_users() {
        let text = notes(&[
            "docs: say it",
            "fix(wifi): reconnect",
            "Feat: a second lamp",
            "perf: half the start",
            "feat(api)!: rename colour",
            "chore: go on\n\nText.\nBREAKING CHANGE: settings are gone",
            "refactor!: another layout",
            "no convention",
        ]);
        let expected = "Breaking changes\n- api: rename colour\n- settings are gone\n- another layout\n\n\
                        New\n- a second lamp\n\nFixed\n- wifi: reconnect\n\nFaster\n- half the start";
        assert_eq!(text.as_deref(), Some(expected));
    }

    #[test]
    fn what_is_for_developers_alone_makes_no_notes() {
        let inner = ["chore: a", "ci: b", "docs: c", "style: d", "test: e", "build(deps): f"];
        assert_eq!(notes(&inner), None);
        assert_eq!(notes(&[]), None);
    }

    #[test]
    fn without_the_convention_all_subjects_are_the_notes() {
        let text =
            notes(&["Make it brighter", "esp32: a word and a colon", "a(b: c", "fix (x): y"]);
        let expected = "- Make it brighter\n- esp32: a word and a colon\n- a(b: c\n- fix (x): y";
        assert_eq!(text.as_deref(), Some(expected));
    }

    #[test]
    fn hostile_subjects_are_harmless() {
        let long = format!("feat: {}", "\u{e4}".repeat(5000));
        let text = notes(&[&long, "fix: a\u{1b}[2J\u{0}\rb\u{202e}c", "fix: \u{7}"]).unwrap();
        assert!(text.lines().all(|line| line.chars().count() <= MAX_SUBJECT + 3), "{text}");
        assert!(text.ends_with("Fixed\n- a[2Jbc"), "{text}");
    }

    #[test]
    fn the_log_of_git_is_read() {
        let commits = parse_log("feat: a\0body\nmore\0\nfix: b\0\0\n");
        let expected = [("feat: a", "body\nmore"), ("fix: b", "")];
        let expected =
            expected.map(|(subject, body)| Commit { subject: subject.into(), body: body.into() });
        assert_eq!(commits, expected);
        assert_eq!(parse_log(""), []);
    }

    proptest! {
        #[test]
        fn no_log_makes_it_panic(log in "(feat|fix|[(!):] ?|\\PC|\0|\n){0,100}") {
            let notes = from_commits(&parse_log(&log));
            prop_assert!(notes.is_none_or(|notes| !notes.contains('\0')));
        }
    }
}
