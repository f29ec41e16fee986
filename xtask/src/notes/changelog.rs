//! The section of a version in a file of the format Keep a Changelog.

use super::tidy;
use towline_descriptor::Version;

/// Returns what CHANGELOG.md says of a version, without its heading; `None` if
/// there is no such section, or nothing in it.
///
/// A section goes from its heading, such as `## [1.2.0] - 2026-01-31`, to the
/// next one as high; headings in it become plain lines. `[Unreleased]` is of no
/// version. Definitions of links are left out: they stand at the end of the file
/// and belong to no section. What stands in fences of code is no heading. A
/// section that is `[YANKED]` counts: its version was released all the same.
pub fn section(changelog: &str, version: &Version) -> Option<String> {
    let mut fence = None;
    // The level of the section's heading, once it is found.
    let mut level = None;
    let mut kept = String::new();
    let mut has_text = false;
    for line in changelog.trim_start_matches('\u{FEFF}').lines() {
        let is_code = is_code(line, &mut fence);
        let heading = if is_code { None } else { heading(line) };
        let Some(level) = level else {
            level = heading.filter(|(_, title)| is_of(title, version)).map(|(depth, _)| depth);
            continue;
        };
        let text = match heading {
            Some((depth, _)) if depth <= level => break,
            Some((_, title)) => title,
            None if !is_code && is_link_definition(line) => continue,
            None => {
                has_text |= !line.trim().is_empty();
                line
            }
        };
        kept.push_str(text);
        kept.push('\n');
    }
    tidy(&kept).filter(|_| has_text)
}

/// Returns whether a line is of a fenced block of code; `fence` is what opened
/// the block that goes on.
fn is_code(line: &str, fence: &mut Option<(char, usize)>) -> bool {
    let text = line.trim_start();
    let run = |mark: char| text.chars().take_while(|c| *c == mark).count();
    match *fence {
        Some((mark, length)) => {
            if run(mark) >= length && text.trim_end().chars().all(|c| c == mark) {
                *fence = None;
            }
            true
        }
        None => {
            *fence = ['`', '~'].into_iter().map(|mark| (mark, run(mark))).find(|(_, n)| *n >= 3);
            fence.is_some()
        }
    }
}

/// Returns depth and text of a heading.
fn heading(line: &str) -> Option<(usize, &str)> {
    let depth = line.bytes().take_while(|b| *b == b'#').count();
    let text = line[depth..].trim().trim_end_matches('#').trim_end();
    let is_one = (1..=6).contains(&depth) && line[depth..].starts_with([' ', '\t']);
    is_one.then_some((depth, text))
}

/// Returns whether a heading is that of a version: its first word, maybe as a
/// link.
fn is_of(title: &str, version: &Version) -> bool {
    let title = title.strip_prefix('[').unwrap_or(title);
    let end = title.find(|c: char| c.is_whitespace() || "](".contains(c)).unwrap_or(title.len());
    let named: Result<Version, _> = title[..end].parse();
    named.is_ok_and(|named| named.without_v() == version.without_v())
}

/// Returns whether a line says where a link goes, such as `[1.2.0]: https://…`.
fn is_link_definition(line: &str) -> bool {
    let is_one = |rest: &str| {
        rest.split_once("]:").is_some_and(|(name, to)| {
            !name.is_empty()
                && !name.contains(['[', ']'])
                && to.starts_with([' ', '\t'])
                && !to.trim().is_empty()
        })
    };
    line.trim_start().strip_prefix('[').is_some_and(is_one)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CHANGELOG: &str = "\u{FEFF}# Changelog

Everything of note. ## 1.0.0 is no heading here.

## [Unreleased]

- Not there yet.

## [1.3.0-rc.1+build.5] - 2026-03-01

### Added

- A lamp that [sings](https://example.org/). See [1.2.0].

```sh
## 1.2.0 is a comment here
[x]: kept
```

## v1.2.0 - 2026-02-01 [YANKED]

- Brighter.

~~~~
```
## 1.1.0
~~~~

- Warmer.

## [1.1.0](https://example.org/1.1.0) (2026-01-31)

### Fixed

## 1.0.10

- Ten.

## 1.0.1 ##

- One.

# 1.0.0

- First.
[1.1.0]: https://example.org/1.1.0
[Unreleased]: https://example.org/compare
";

    fn of(version: &str) -> Option<String> {
        section(CHANGELOG, &version.parse().unwrap())
    }

    #[test]
    fn a_version_has_its_own_section() {
        assert_eq!(of("1.0.1").as_deref(), Some("- One."));
        assert_eq!(of("v1.0.10").as_deref(), Some("- Ten."));
        assert_eq!(of("1.0.0").as_deref(), Some("- First."));
        let code = "Added\n\n- A lamp that [sings](https://example.org/). See [1.2.0].\n\n```sh\n## 1.2.0 is a comment here\n[x]: kept\n```";
        assert_eq!(of("1.3.0-rc.1+build.5").as_deref(), Some(code));
        assert_eq!(
            of("1.2.0").as_deref(),
            Some("- Brighter.\n\n~~~~\n```\n## 1.1.0\n~~~~\n\n- Warmer.")
        );
    }

    #[test]
    fn a_section_with_nothing_but_headings_is_none() {
        assert_eq!(of("1.1.0"), None);
        assert_eq!(section("## 1.0.0\n\n", &"1.0.0".parse().unwrap()), None);
    }

    #[test]
    fn other_versions_and_unreleased_are_not_taken() {
        for version in ["1.3.0-rc.1", "1.3.0", "1.0.2", "1.2.0-rc.1", "2.0.0"] {
            assert_eq!(of(version), None, "{version}");
        }
    }

    #[test]
    fn line_ends_of_windows_make_no_difference() {
        let version = "1.2.0".parse().unwrap();
        assert_eq!(
            section(&CHANGELOG.replace('\n', "\r\n"), &version),
            section(CHANGELOG, &version)
        );
    }

    #[test]
    fn our_own_changelog_is_read() {
        let text = include_str!("../../../CHANGELOG.md")
            .replace("## [Unreleased]", "## [9.9.9] - 2030-01-01");
        let notes = section(&text, &"9.9.9".parse().unwrap()).unwrap();
        assert!(notes.starts_with("Added\n") && notes.contains("cargo xtask release"), "{notes}");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "([#\\[\\]:`~ \r\n1.0v\u{e4}]|## 1\\.0\\.0|\\PC){0,200}") {
            let _ = section(&text, &"1.0.0".parse().unwrap());
        }

        #[test]
        fn what_a_section_holds_comes_back(lines in proptest::collection::vec("[a-z][a-z #]{0,20}[a-z]", 1..5)) {
            let text = lines.join("\n");
            let changelog = format!("# C\n\n## [2.0.0]\n\nno\n\n## 1.0.0\n\n{text}\n\n## [0.9.0]\n\nno\n");
            prop_assert_eq!(section(&changelog, &"1.0.0".parse().unwrap()), Some(text));
        }
    }
}
