//! Releases whose targets were built apart.

use crate::support::{NOW, Project, app_image, assert_tree, text, tree};
use std::{
    fs,
    process::{Child, Command, Stdio},
};
use towline_descriptor::Chip;

const CHIPS: [Chip; 2] = [Chip::Esp32c3, Chip::Esp32s3];

const PARTS: [&str; 2] = ["parts/esp32s3", "parts/esp32c3"];

/// Builds a version in two parts, and returns their folders below `parts`.
fn build(project: &Project, version: &str) {
    project.build(&CHIPS, version);
    let _ = fs::remove_dir_all(project.path("parts"));
    for part in PARTS {
        let target = part.strip_prefix("parts/").unwrap();
        project.done(&["release", "--no-site", "--targets", target, "--store", part]);
    }
}

fn project() -> Project {
    let project = Project::new(&CHIPS);
    build(&project, "1.0.0");
    project
}

#[test]
fn parts_make_the_release_that_one_run_makes() {
    let project = project();
    let shown = project.done(&["merge", PARTS[0], PARTS[1]]);
    assert!(shown.contains("esp32c3  1.0.0") && shown.contains("stable, testing"), "{shown}");
    project.done(&["release", "--no-site", "--store", "whole"]);
    let whole = tree(&project.path("whole"));
    assert_tree(&project.path("dist/store"), &whole);
    // Again, from one store to another, and mending what was damaged.
    let record = project.done(&["merge", "dist/store", "--store", "other", "--json"]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&record).unwrap()["version"], "1.0.0");
    let artifact =
        project.path("dist/store/artifacts").read_dir().unwrap().next().unwrap().unwrap();
    fs::write(artifact.path(), "damaged").unwrap();
    let output = project.xtask(&["merge", PARTS[0], PARTS[1]]);
    assert!(text(&output.stderr).contains("recorded already"), "{}", text(&output.stderr));
    assert_tree(&project.path("dist/store"), &whole);
    project.done(&["site"]);
    project.done(&["check"]);
}

#[test]
fn a_release_without_all_targets_leaves_no_trace() {
    let project = project();
    let error = project.fails(&["merge", PARTS[0]]);
    assert!(error.contains("no part has esp32c3") && error.contains("--drop-target"), "{error}");
    assert!(!project.path("dist").exists());
    project.done(&["merge", PARTS[0], "--drop-target", "esp32c3"]);
    // What the release before had is not lost by accident either.
    build(&project, "1.1.0");
    project.done(&["merge", PARTS[0], PARTS[1]]);
    let before = tree(&project.path("dist"));
    let config = project.read("towline.toml");
    project.write("towline.toml", config.split("[targets.esp32s3]").next().unwrap());
    project.build(&CHIPS[..1], "1.2.0");
    project.done(&["release", "--no-site", "--store", "parts/next"]);
    let error = project.fails(&["merge", "parts/next"]);
    assert!(error.contains("release 1.1.0 had targets that this one lacks: esp32s3"), "{error}");
    assert_tree(&project.path("dist"), &before);
}

#[test]
fn other_bytes_and_other_versions_are_refused() {
    let project = project();
    project.done(&["merge", PARTS[0], PARTS[1]]);
    let before = tree(&project.path("dist"));
    project.write("images/esp32c3.bin", app_image(Chip::Esp32c3, "lamp", "1.0.0", 39_000));
    fs::remove_dir_all(project.path(PARTS[1])).unwrap();
    project.done(&["release", "--no-site", "--targets", "esp32c3", "--store", PARTS[1]]);
    let error = project.fails(&["merge", PARTS[0], PARTS[1]]);
    assert!(error.contains("release 1.0.0 already exists with other bytes"), "{error}");
    project.write("images/esp32c3.bin", app_image(Chip::Esp32c3, "lamp", "1.0.1", 39_000));
    fs::remove_dir_all(project.path(PARTS[1])).unwrap();
    project.done(&["release", "--no-site", "--targets", "esp32c3", "--store", PARTS[1]]);
    let error = project.fails(&["merge", PARTS[0], PARTS[1]]);
    assert!(error.contains("the version differs: parts/esp32s3 has 1.0.0"), "{error}");
    let error = project.fails(&["merge", "parts/none", PARTS[1]]);
    assert!(error.contains("parts/none: 0 releases"), "{error}");
    assert_tree(&project.path("dist"), &before);
}

#[test]
fn merges_at_once_wait_for_each_other() {
    let project = project();
    fs::rename(project.path("parts"), project.path("first")).unwrap();
    build(&project, "1.1.0");
    let merge = |parts: [&str; 2]| -> Child {
        Command::new(env!("CARGO_BIN_EXE_xtask"))
            .args(["merge", parts[0], parts[1]])
            .current_dir(project.path("."))
            .env("SOURCE_DATE_EPOCH", NOW)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let first = ["first/esp32s3", "first/esp32c3"];
    let runs = [merge(first), merge(PARTS), merge(first), merge(PARTS)];
    for run in runs {
        let output = run.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    project.build(&CHIPS, "1.0.0").done(&["release", "--no-site", "--store", "whole"]);
    project.build(&CHIPS, "1.1.0").done(&["release", "--no-site", "--store", "whole"]);
    assert_tree(&project.path("dist/store"), &tree(&project.path("whole")));
    project.done(&["site"]);
    project.done(&["check"]);
}

#[test]
fn a_key_in_an_image_is_not_merged() {
    let project = Project::new(&CHIPS[..1]);
    let kind = "PRIVATE KEY";
    let key = format!(
        "-----BEGIN {kind}-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END {kind}-----\n"
    );
    project.build(&CHIPS[..1], "1.0.0");
    let check = "[check]\nnot-secret = [\"firmware/lamp\"]\n";
    let config = project.read("towline.toml");
    let mut image = fs::read(project.path("images/esp32c3.bin")).unwrap();
    image[2000..][..key.len()].copy_from_slice(key.as_bytes());
    project.write("images/esp32c3.bin", towline_sim::sample::seal(image));
    project.write("towline.toml", format!("{config}{check}"));
    project.done(&["release", "--no-site", "--store", "part"]);
    project.write("towline.toml", config);
    let error = project.fails(&["merge", "part"]);
    assert!(error.contains("the release has secrets"), "{error}");
    assert!(!project.path("dist").exists());
}
