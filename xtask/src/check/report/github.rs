//! Findings as annotations of a workflow run.

use super::{Report, text::printable};
use crate::check::{Finding, Severity};

/// Writes a workflow command for each finding, and the summary. The worst come first:
/// a step has ten of each kind at most.
pub(super) fn write(report: &Report<'_>) -> String {
    let mut text = String::new();
    let mut findings: Vec<_> = report.findings.all.iter().collect();
    findings.sort_by_key(|finding| finding.severity().map_or(3, |severity| severity as u8));
    for finding in findings {
        let command = match finding.severity() {
            Some(Severity::Error) => "error",
            Some(Severity::Warning) => "warning",
            Some(Severity::Note) | None => "notice",
        };
        let (file, title) = (property(&finding.place.file), property(finding.code.as_str()));
        text += &format!("::{command} file={file},title={title}::{}\n", data(&message(finding)));
    }
    text + report.summary().as_str()
}

fn message(finding: &Finding) -> String {
    let code = finding.code;
    let finding = printable(&finding.to_string());
    format!("{finding}\nWhat happens: {}\nMend it: {}", code.what_happens(), code.how_to_mend_it())
}

/// Escapes the text of a workflow command: it is one line.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Escapes a property of a workflow command: more ends it.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
