//! Findings for people.

use super::{Report, Style};
use crate::check::{Code, Finding, Severity, paths};
use std::collections::BTreeSet;

/// What a terminal takes for bold, and for the end of any style.
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

/// Writes the errors, what is less, and what is allowed. What happens and how to
/// mend it is said at the first of its kind.
pub(super) fn write(report: &Report<'_>, style: Style) -> String {
    let mut text = String::new();
    let mut explained = BTreeSet::new();
    for severity in [Severity::Error, Severity::Warning, Severity::Note] {
        for finding in report.findings.of(severity) {
            text += &head(severity.as_str(), colour(severity), finding, style);
            if !style.short && explained.insert(finding.code) {
                text += &explanation(finding.code);
            }
        }
    }
    for (finding, _) in report.findings.allowed() {
        text += &head("allowed", "\x1b[2m", finding, style);
    }
    if !text.is_empty() && !style.short {
        text += "\n";
    }
    if report.with_paths {
        text += &format!("{}\n\n", paths::table(&report.findings.paths));
    }
    text + report.summary().as_str()
}

fn head(word: &str, colour: &str, finding: &Finding, style: Style) -> String {
    let (place, code) = (finding.place.to_string(), finding.code);
    let all = finding.to_string();
    let said = printable(all.strip_prefix(&place).unwrap_or(&all));
    let place = printable(&place);
    if style.colour {
        format!("{colour}{word}[{code}]{PLAIN} {BOLD}{place}{PLAIN}{said}\n")
    } else {
        format!("{word}[{code}] {place}{said}\n")
    }
}

/// Takes from a text what would steer a terminal: files of others have a say in it.
pub(super) fn printable(text: &str) -> String {
    // Those that turn the direction of writing hide what stands behind them.
    let turns = |char: char| matches!(char, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
    let plain = |char: char| match char.is_control() || turns(char) {
        true => char.escape_default().to_string(),
        false => char.to_string(),
    };
    text.chars().map(plain).collect()
}

fn explanation(code: Code) -> String {
    format!("  what happens: {}\n  mend it: {}\n", code.what_happens(), code.how_to_mend_it())
}

const fn colour(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "\x1b[1;31m",
        Severity::Warning => "\x1b[1;33m",
        Severity::Note => "\x1b[1;36m",
    }
}
