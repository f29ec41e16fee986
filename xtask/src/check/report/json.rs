//! Findings for scripts.

use super::Report;
use crate::check::{Code, Finding, Severity, UpdatePath};
use serde::Serialize;

/// All of it. Lists that are empty are left out, but for that of problems.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<u64>,
    problems: Vec<Row<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<Row<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<Row<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    allowed: Vec<Row<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    paths: Option<&'a [UpdatePath]>,
}

#[derive(Serialize)]
struct Row<'a> {
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    code: Code,
    severity: Severity,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

impl<'a> From<&'a Finding> for Row<'a> {
    fn from(finding: &'a Finding) -> Self {
        Self {
            path: &finding.place.file,
            offset: finding.place.offset,
            code: finding.code,
            severity: finding.code.severity(),
            message: &finding.message,
            reason: finding.allowed.as_deref(),
        }
    }
}

/// Writes one line.
pub(super) fn write(report: &Report<'_>) -> String {
    let of = |severity| report.findings.of(severity).map(Row::from).collect();
    let document = Document {
        expires: report.findings.expires,
        problems: of(Severity::Error),
        warnings: of(Severity::Warning),
        notes: of(Severity::Note),
        allowed: report.findings.allowed().map(|(finding, _)| finding.into()).collect(),
        paths: report.with_paths.then_some(&report.findings.paths),
    };
    serde_json::to_string(&document).expect("plain data") + "\n"
}
