//! Findings in the Static Analysis Results Interchange Format, SARIF 2.1.0.

use super::Report;
use crate::{
    check::{Code, Finding},
    store::sha256,
    ui::{named, program},
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Writes a log with one run.
pub(super) fn write(report: &Report<'_>) -> String {
    let findings = &report.findings.all;
    let codes: BTreeSet<_> = findings.iter().map(|finding| finding.code).collect();
    let codes: Vec<_> = codes.into_iter().collect();
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "Towline",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": codes.iter().map(|code| rule(*code)).collect::<Vec<_>>(),
            } },
            "results": findings.iter().map(|finding| result(finding, &codes)).collect::<Vec<_>>(),
        }],
    });
    format!("{log:#}\n")
}

/// Describes a kind of finding.
fn rule(code: Code) -> Value {
    let page = named(code.page());
    json!({
        "id": code,
        "shortDescription": { "text": format!("{}.", code.title()) },
        "fullDescription": { "text": named(&code.what_happens()) },
        "help": {
            "text": format!("{}\n`{} check --explain {code}`", named(&code.how_to_mend_it()), program()),
            "markdown": page,
        },
        "defaultConfiguration": { "level": code.severity() },
    })
}

/// Describes a finding; `codes` are the rules in their order.
fn result(finding: &Finding, codes: &[Code]) -> Value {
    // GitHub wants a line of every file.
    let mut region = json!({ "startLine": 1 });
    if let Some(offset) = finding.place.offset {
        region["byteOffset"] = offset.into();
    }
    let place = json!({
        "artifactLocation": { "uri": uri(&finding.place.file) },
        "region": region,
    });
    let suppression =
        |reason| json!({ "kind": "external", "status": "accepted", "justification": reason });
    let identity = format!("{}:{}:{}", finding.code, finding.place, finding.message);
    json!({
        "ruleId": finding.code,
        "ruleIndex": codes.iter().position(|code| *code == finding.code),
        "level": finding.code.severity(),
        "message": { "text": named(&finding.message) },
        "locations": [{ "physicalLocation": place }],
        // What is found again is known by it, although no line tells.
        "partialFingerprints": {
            "primaryLocationLineHash": sha256(identity.as_bytes()).to_string(),
        },
        "suppressions": finding.allowed.iter().map(suppression).collect::<Vec<_>>(),
    })
}

/// Writes a path as a URI reference.
fn uri(path: &str) -> String {
    // What lies on another host is named by its URL.
    if path.starts_with("https://") {
        return path.to_owned();
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/@!$&'()*+,;=".contains(&byte);
    let text = |byte: u8| match is_plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    path.bytes().map(text).collect()
}
