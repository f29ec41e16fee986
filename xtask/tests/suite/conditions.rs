//! Conditions of an install: what a release and a target ask of the board.

use crate::support::{Project, assert_tree, text, tree};
use serde_json::Value;
use towline_descriptor::Chip;

const CHIPS: [Chip; 2] = [Chip::Esp32c3, Chip::Esp32s3];

#[test]
fn conditions_of_an_install_reach_index_and_manifest() {
    let project = Project::new(&CHIPS);
    let config = project.read("towline.toml");
    let config = config.replace("[targets.esp32s3]", "[targets.esp32s3]\npsram = \"8MB\"");
    project.write("towline.toml", format!("{config}[installer]\nimprov = false\n"));
    project.build(&CHIPS, "1.1.0").done(&["release", "--min-from", "1.0.0"]);
    project.build(&CHIPS, "1.2.0").done(&["release"]);
    let index = || serde_json::from_str::<Value>(&project.read("dist/site/releases.json")).unwrap();
    let manifest = || project.read("dist/site/manifests/stable.json");
    assert_eq!(index()["improv"], false);
    // A later release inherits nothing.
    assert_eq!(index()["releases"][0]["min_from"], Value::Null);
    assert_eq!(index()["releases"][1]["min_from"], "1.0.0");
    let psram: Vec<_> =
        (0..2).map(|i| index()["releases"][0]["targets"][i]["psram"].clone()).collect();
    assert_eq!(psram, [Value::Null, (8 << 20).into()]);
    assert!(manifest().contains("\"new_install_improv_wait_time\": 0,"));
    // Without the setting, esp-web-tools waits for as long as it wants to.
    project.write("towline.toml", config);
    project.done(&["site"]);
    assert_eq!(index()["improv"], true);
    assert!(!manifest().contains("improv"), "{}", manifest());
}

#[test]
fn min_from_is_an_older_version_and_stays_as_it_was_recorded() {
    let project = Project::new(&CHIPS);
    project.build(&CHIPS, "1.1.0");
    let error = project.fails(&["release", "--min-from", "1.1.1"]);
    assert!(
        error.contains("--min-from 1.1.1 is higher than the release, which is 1.1.0"),
        "{error}"
    );
    assert!(!project.path("dist").exists());
    project.done(&["release", "--min-from", "v1.1.0"]);
    let before = tree(&project.path("dist"));
    let output = project.xtask(&["release", "--min-from", "1.0.0"]);
    let told = text(&output.stderr);
    assert!(output.status.success() && told.contains("stays as it was recorded: v1.1.0"), "{told}");
    project.done(&["release"]);
    assert_tree(&project.path("dist"), &before);
}

#[test]
fn the_same_bytes_for_a_board_with_other_memory_are_another_release() {
    let project = Project::new(&CHIPS);
    project.build(&CHIPS, "1.0.0").done(&["release"]);
    let config = project.read("towline.toml");
    project.write(
        "towline.toml",
        config.replace("[targets.esp32s3]", "[targets.esp32s3]\npsram = \"2MB\""),
    );
    let error = project.fails(&["release"]);
    assert!(error.contains("PSRAM None") && error.contains("PSRAM Some(2097152)"), "{error}");
}
