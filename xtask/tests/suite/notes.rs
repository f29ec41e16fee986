//! Notes of releases, and where they are read.

use crate::support::{Project, text, tree};
use std::{fs, path::Path, process::Command};
use towline_descriptor::{Chip, Descriptor};

const CHIPS: [Chip; 1] = [Chip::Esp32c3];

fn git(dir: &Path, arguments: &[&str]) -> String {
    let user = ["-c", "user.name=lamp", "-c", "user.email=lamp@example.org"];
    let mut git = Command::new("git");
    git.args(user).args(arguments).current_dir(dir);
    git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    let output = git.output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// A project with these commits since v1.0.0, the oldest first.
fn project(subjects: &[&str]) -> Project {
    let project = Project::new(&CHIPS);
    project.build(&CHIPS, "1.1.0");
    let dir = project.path(".");
    git(&dir, &["init", "-q", "-b", "main", "."]);
    git(&dir, &["add", "towline.toml", "partitions.csv", "images"]);
    git(&dir, &["commit", "-qm", "feat: first"]);
    git(&dir, &["tag", "-am", "The first", "v1.0.0"]);
    for subject in subjects {
        git(&dir, &["commit", "-qm", subject, "--allow-empty"]);
    }
    project
}

#[test]
fn the_changelog_comes_before_the_commits() {
    let project = project(&["fix: reconnect", "docs: say it"]);
    assert_eq!(project.done(&["notes"]), "Fixed\n- reconnect\n");
    project.write(
        "CHANGELOG.md",
        "## [1.1.0] - 2026-01-31\r\n\r\n### Added\r\n\r\n- Light.\r\n\r\n## [1.2.0]\r\n",
    );
    assert_eq!(project.done(&["notes"]), "Added\n\n- Light.\n");
    assert_eq!(project.done(&["notes", "--from", "commits"]), "Fixed\n- reconnect\n");
    let json = project.done(&["notes", "v1.2.0", "--from", "changelog", "--json"]);
    assert_eq!(json, "{\"notes\":null,\"version\":\"v1.2.0\"}\n");
    assert_eq!(project.done(&["notes", "1.2.0"]), "Fixed\n- reconnect\n");
}

#[test]
fn the_changelog_may_be_at_the_root_of_the_repository() {
    let project = project(&[]);
    let lamp = project.path("lamp");
    fs::create_dir(&lamp).unwrap();
    for name in ["towline.toml", "partitions.csv", "images"] {
        fs::rename(project.path(name), lamp.join(name)).unwrap();
    }
    project.write("CHANGELOG.md", "# 1.1.0\n\nOf all.\n");
    let notes = || project.done(&["notes", "--manifest", "lamp/towline.toml"]);
    assert_eq!(notes(), "Of all.\n");
    fs::write(lamp.join("CHANGELOG.md"), "# 1.1.0\n\nOf the lamp.\n").unwrap();
    assert_eq!(notes(), "Of the lamp.\n");
}

#[test]
fn commits_count_since_the_release_before_or_since_what_is_named() {
    let project = project(&["feat: a", "feat: b"]);
    let dir = project.path(".");
    git(&dir, &["tag", "v1.1.0-rc.1", "HEAD~1"]);
    git(&dir, &["tag", "v1.1.0"]);
    git(&dir, &["switch", "-qc", "side", "v1.0.0"]);
    git(&dir, &["commit", "-qm", "fix: c", "--allow-empty"]);
    git(&dir, &["switch", "-q", "main"]);
    git(&dir, &["merge", "-q", "--no-ff", "-m", "feat: no change of its own", "side"]);
    assert_eq!(project.done(&["notes"]), "New\n- b\n- a\n\nFixed\n- c\n");
    assert_eq!(project.done(&["notes", "1.1.0-rc.2"]), "New\n- b\n\nFixed\n- c\n");
    assert_eq!(project.done(&["notes", "--since", "v1.1.0"]), "Fixed\n- c\n");
    for since in ["nothing", "--all", "-1"] {
        let error = project.fails(&["notes", &format!("--since={since}")]);
        assert!(error.contains(&format!("Git knows no tag or commit `{since}`")), "{error}");
    }
    // Nothing was released before 1.0.0.
    assert_eq!(project.done(&["notes", "1.0.0"]), "");
}

#[test]
fn without_all_of_the_history_there_are_no_wrong_notes() {
    let origin = project(&["feat: a", "feat: b"]);
    let url = format!("file://{}", origin.path(".").display());
    let clone = Project::new(&CHIPS);
    git(&clone.path("."), &["clone", "-q", "--depth=1", &url, "clone"]);
    let manifest = ["--manifest", "clone/towline.toml"];
    let error = clone.fails(&[&["notes"], &manifest[..]].concat());
    assert!(
        error.contains("only a part of the history") && error.contains("fetch-depth: 0"),
        "{error}"
    );
    let release = [&["release", "--no-site"], &manifest[..]].concat();
    let output = clone.xtask(&release);
    let told = text(&output.stderr);
    assert!(output.status.success() && told.contains("no notes for 1.1.0: Git has only"), "{told}");
    assert!(clone.read("clone/dist/store/releases/1.1.0.json").contains("\"notes\": null"));
}

#[test]
fn a_release_keeps_the_notes_that_it_was_recorded_with() {
    let project = project(&["feat: a"]);
    project.done(&["release"]);
    let before = tree(&project.path("dist"));
    assert!(project.read("dist/site/index.html").contains("New\n- a"));
    git(&project.path("."), &["commit", "-qm", "feat: b", "--allow-empty"]);
    let output = project.xtask(&["release"]);
    assert!(!text(&output.stderr).contains("notes stay"), "{}", text(&output.stderr));
    assert_eq!(tree(&project.path("dist")), before);
    project.write("notes.txt", "Other.\n");
    let output = project.xtask(&["release", "--notes", "notes.txt"]);
    assert!(text(&output.stderr).contains("its notes stay as they were recorded"));
    let none = ["release", "--no-notes", "--no-site", "--store", "none", "--json"];
    assert!(project.done(&none).contains("\"notes\":null"));
}

#[test]
fn a_device_is_shown_whole_lines_from_the_beginning() {
    let project = project(&[]);
    let lines: Vec<_> = (0..200).map(|n| format!("- change {n}")).collect();
    project.write("CHANGELOG.md", format!("## 1.1.0\n\n{}\n", lines.join("\n")));
    project.done(&["release"]);
    let mut descriptor = project.read("dist/site/ota/stable/esp32c3.json").into_bytes();
    let notes = Descriptor::parse(&mut descriptor).unwrap().notes.unwrap().to_string();
    // In the file a line break has two bytes.
    let notes = notes.replace("\\n", "\n");
    assert!(notes.starts_with("- change 0\n") && notes.len() > 900, "{notes}");
    let last = notes.lines().last().unwrap();
    assert!(lines.iter().any(|line| line == last), "{last}");
}
