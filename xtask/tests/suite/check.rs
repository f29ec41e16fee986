//! The command `check`: what it says in each format, what is allowed, and how it
//! ends.

mod content;
mod flash;
pub(crate) mod foreign;
mod host;
mod http;
mod limits;
mod mutations;
mod nvs;
mod patches;
mod rules;
mod signed;

use crate::support::{Project, text};
use serde_json::Value;
use std::fs;
use towline_descriptor::Chip;

const CHIPS: [Chip; 1] = [Chip::Esp32c3];

/// A project that has released 1.0.0.
fn released() -> Project {
    let project = Project::new(&CHIPS);
    project.build(&CHIPS, "1.0.0").done(&["release"]);
    project
}

/// Returns the exit code, what is on stdout and what is on stderr.
fn check(project: &Project, arguments: &[&str]) -> (i32, String, String) {
    let output = project.xtask(&[&["check"], arguments].concat());
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_fault_is_told_in_every_format_with_its_code_and_place() {
    let project = released();
    fs::remove_file(project.path("dist/site/404.html")).unwrap();
    let (code, shown, _) = check(&project, &[]);
    assert_eq!(code, 1);
    assert!(
        shown.starts_with("error[file-missing] 404.html: missing\n  what happens: "),
        "{shown}"
    );
    assert!(shown.contains("\n  mend it: Publish all files of the site"), "{shown}");
    assert!(shown.ends_with("dist/site: 1 problem\n"), "{shown}");
    let (_, short, _) = check(&project, &["--quiet", "dist/site"]);
    assert_eq!(short, "error[file-missing] 404.html: missing\ndist/site: 1 problem\n");
    let (_, json, _) = check(&project, &["--format", "json"]);
    assert_eq!(json, check(&project, &["--json"]).1);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["problems"][0]["code"], "file-missing");
    let (code, sarif, _) = check(&project, &["--format", "sarif"]);
    let sarif: Value = serde_json::from_str(&sarif).unwrap();
    assert_eq!((code, &sarif["runs"][0]["results"][0]["ruleId"]), (1, &"file-missing".into()));
    let (_, github, _) = check(&project, &["--format", "github"]);
    assert!(github.starts_with("::error file=404.html,title=file-missing::404.html: missing%0A"));
    assert_eq!(github.lines().count(), 2, "{github}");
}

#[test]
fn what_is_meant_passes_with_its_reason_on_the_command_line_and_in_the_configuration() {
    let project = released();
    fs::remove_file(project.path("dist/site/404.html")).unwrap();
    let allowed = ["--allow", "file-missing:404.html=the host has its own"];
    let (code, shown, _) = check(&project, &allowed);
    assert_eq!(code, 0, "{shown}");
    let told = "allowed[file-missing] 404.html: missing (allowed: the host has its own)\n";
    assert!(shown.starts_with(told) && shown.ends_with(": 1 allowed\n"), "{shown}");
    let (code, sarif, _) =
        check(&project, &[&allowed[..], &["--format", "sarif", "--hide-allowed"]].concat());
    let sarif: Value = serde_json::from_str(&sarif).unwrap();
    assert_eq!((code, &sarif["runs"][0]["results"]), (0, &Value::Array(Vec::new())));
    // Elsewhere it is as wrong as ever, and there is nothing to allow.
    let (code, shown, _) = check(&project, &["--allow", "file-missing:index.html=no page"]);
    assert_eq!(code, 1);
    assert!(shown.contains("note[allow-unused] --allow: nothing of file-missing:index.html"));
    let config = project.read("towline.toml");
    let allow = "[check.allow]\n\"file-missing\" = \"the host has its own\"\n[defaults]";
    project.write("towline.toml", config.replace("[defaults]", allow));
    let (code, json, _) = check(&project, &["--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &json["allowed"][0]["reason"]), (0, &"the host has its own".into()));
    for (allow, expected) in [
        ("\"file-missin\" = \"x\"", "did you mean `file-missing`?"),
        ("\"file-missing\" = \" \"", "says no reason"),
    ] {
        let allow = format!("[check.allow]\n{allow}\n[defaults]");
        project.write("towline.toml", config.replace("[defaults]", &allow));
        let (code, _, error) = check(&project, &[]);
        assert!(code == 2 && error.contains(expected) && error.contains("towline.toml"), "{error}");
    }
}

#[test]
fn what_cannot_be_checked_ends_with_2() {
    let project = released();
    for (arguments, expected) in [
        (&["nowhere"][..], "nowhere is not there"),
        (&["http://127.0.0.1:9/"], "cannot be reached"),
        (&["http://127.0.0.1:9/manifest.json"], "cannot be reached"),
        (&["--allow", "gone"], "says no reason"),
        (&["--allow", "gonne=x"], "did you mean `gone`?"),
        (&["--format", "xml"], "invalid value"),
        (&["--explain", "chip"], "is no code of a finding"),
        (&["ftp://localhost/"], "ftp"),
    ] {
        let (code, shown, error) = check(&project, arguments);
        assert!(code == 2 && error.contains(expected), "{arguments:?}: {code} {shown} {error}");
    }
    assert_eq!(check(&project, &[]).0, 0);
}

#[test]
fn codes_are_explained_without_a_site() {
    let project = Project::new(&CHIPS);
    let (code, page, _) = check(&project, &["--explain", "chip-mismatch"]);
    assert_eq!((code, page.lines().next()), (0, Some("# An image is for another chip")));
    let (code, all, _) = check(&project, &["--explain"]);
    assert!(code == 0 && all.contains("| [`chip-mismatch`](check/chip-mismatch.md) | error |"));
}
