use super::*;
use crate::check::Code;

/// An error with a place in its file, one that would break annotations, a warning,
/// and what is allowed.
fn findings() -> Findings {
    let mut findings = Findings { expires: Some(1_790_864_000), ..Findings::default() };
    findings.add([
        Code::ChipMismatch.fault("is for chip id 13").at_byte(12).of("firmware/a b.bin"),
        Code::FileMissing.of("ota/a:b,c%.json", "missing\r\n::error::not mine"),
        Code::FileMissing.of("x", "missing"),
        Code::RecordedSecretKey.of("y", "has a secret key"),
        Code::Gone.of("ota/testing/", "would be gone"),
    ]);
    assert!(findings.allow(&["gone=it moved".parse().unwrap()]).is_empty());
    findings
}

fn written(findings: &Findings, format: Format) -> String {
    let style = Style { colour: false, short: false };
    Report { site: "dist/site", findings, now: 1_790_000_000, with_paths: false }
        .write(format, style)
}

#[test]
fn people_are_told_each_kind_once_and_the_worst_first() {
    let shown = written(&findings(), Format::Text);
    let heads: Vec<_> = shown.lines().filter(|line| line.contains("] ")).collect();
    assert_eq!(heads[0], "error[chip-mismatch] firmware/a b.bin@0xc: is for chip id 13");
    // What a file says of itself reaches no terminal as it is.
    assert!(heads[1].ends_with("missing\\r\\n::error::not mine"), "{}", heads[1]);
    assert_eq!(heads[2], "error[file-missing] x: missing");
    assert_eq!(heads[3], "warning[recorded-secret-key] y: has a secret key");
    assert_eq!(heads[4], "allowed[gone] ota/testing/: would be gone (allowed: it moved)");
    assert_eq!(shown.matches("  what happens: ").count(), 3, "{shown}");
    assert!(shown.contains("\ndist/site: 3 problems, 1 warning, 1 allowed\nsigned; "), "{shown}");
    assert!(shown.ends_with("in 10 days\n"), "{shown}");
    let style = Style { colour: true, short: true };
    let all = findings();
    let report = Report { site: "s", findings: &all, now: 0, with_paths: false };
    let shown = report.write(Format::Text, style);
    assert!(shown.contains("\x1b[1;31merror[file-missing]\x1b[0m \x1b[1mx\x1b[0m: missing\n"));
    assert!(!shown.contains("what happens"));
}

#[test]
fn a_sound_site_has_no_problems_in_any_format() {
    let sound = Findings::default();
    assert_eq!(written(&sound, Format::Text), "dist/site: no problems\n");
    assert_eq!(written(&sound, Format::Github), "dist/site: no problems\n");
    assert_eq!(written(&sound, Format::Json), "{\"problems\":[]}\n");
    let sarif: serde_json::Value = serde_json::from_str(&written(&sound, Format::Sarif)).unwrap();
    assert_eq!(sarif["runs"][0]["results"], serde_json::json!([]));
}

#[test]
fn scripts_read_codes_places_and_reasons() {
    let text = written(&findings(), Format::Json);
    assert_eq!(text.lines().count(), 1);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let first = serde_json::json!({
        "path": "firmware/a b.bin",
        "offset": 12,
        "code": "chip-mismatch",
        "severity": "error",
        "message": "is for chip id 13",
    });
    assert_eq!(json["problems"][0], first);
    assert_eq!(json["problems"].as_array().unwrap().len(), 3);
    assert_eq!(json["warnings"][0]["code"], "recorded-secret-key");
    assert_eq!(json["allowed"][0]["reason"], "it moved");
    assert_eq!(json["expires"], 1_790_864_000_u64);
}

#[test]
fn an_annotation_is_one_line_whatever_a_file_is_called() {
    let shown = written(&findings(), Format::Github);
    let commands: Vec<_> = shown.lines().filter(|line| line.starts_with("::")).collect();
    assert_eq!(commands.len(), 5);
    assert!(commands[0].starts_with(
        "::error file=firmware/a b.bin,title=chip-mismatch::firmware/a b.bin@0xc: is for"
    ));
    let hostile = commands.iter().find(|line| line.contains("a%3Ab")).unwrap();
    assert!(hostile.starts_with("::error file=ota/a%3Ab%2Cc%25.json,title=file-missing::"));
    assert!(hostile.contains("missing\\r\\n::error::not mine%0AWhat happens: "), "{hostile}");
    assert!(
        commands.iter().any(|line| line.starts_with("::notice file=ota/testing/,title=gone::"))
    );
    assert!(commands.iter().any(|line| line.starts_with("::warning file=y,")));
}

#[test]
fn sarif_names_rules_places_and_what_is_suppressed() {
    let log: serde_json::Value =
        serde_json::from_str(&written(&findings(), Format::Sarif)).unwrap();
    let run = &log["runs"][0];
    let results = run["results"].as_array().unwrap();
    assert_eq!(results.len(), 5);
    for result in results {
        let rule = &run["tool"]["driver"]["rules"][result["ruleIndex"].as_u64().unwrap() as usize];
        assert_eq!(rule["id"], result["ruleId"]);
        assert!(rule["help"]["markdown"].as_str().unwrap().contains("## How to mend it"));
    }
    let place = &results[0]["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "firmware/a%20b.bin");
    assert_eq!(place["region"]["byteOffset"], 12);
    let gone = results.iter().find(|result| result["ruleId"] == "gone").unwrap();
    assert_eq!(gone["suppressions"][0]["justification"], "it moved");
    assert_eq!(results[0]["suppressions"], serde_json::json!([]));
}
