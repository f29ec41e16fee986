//! What devices on each release would do now.

use crate::support::{Project, text, xtask};
use serde_json::Value;
use std::{
    fs,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};
use towline_descriptor::Chip;

const CHIP: [Chip; 1] = [Chip::Esp32c3];

fn release(project: &Project, version: &str, options: &[&str]) {
    project.build(&CHIP, version).done(&[&["release"], options].concat());
}

#[test]
fn a_check_shows_the_way_of_each_release_and_draws_it() {
    let project = Project::new(&CHIP);
    release(&project, "1.0.0", &[]);
    release(&project, "1.1.0", &[]);
    release(&project, "2.0.0", &["--min-from", "1.1.0"]);
    let shown = project.done(&["check", "--paths", "--svg", "paths.svg"]);
    let row = |from: &str, installs: &str| {
        let row = shown.lines().find(|line| {
            let mut words = line.split_whitespace();
            words.next() == Some("stable") && words.next() == Some(from)
        });
        assert!(row.is_some_and(|row| row.contains(installs)), "{from}: {shown}");
    };
    row("2.0.0", "up to date");
    row("1.1.0", "  2.0.0  ");
    row("1.0.0", "1.1.0, then 2.0.0");
    let drawn = project.read("paths.svg");
    assert!(drawn.contains("Every device reaches what its channel serves"), "{drawn}");

    let shown: Value =
        serde_json::from_str(&project.done(&["check", "--paths", "--json"])).unwrap();
    let oldest = shown["paths"].as_array().unwrap().iter().find(|path| path["from"] == "1.0.0");
    let oldest = oldest.unwrap();
    let installed: Vec<_> =
        oldest["legs"].as_array().unwrap().iter().map(|leg| leg["version"].clone()).collect();
    assert_eq!(installed, ["1.1.0", "2.0.0"]);
    assert_eq!(oldest["end"]["at"], "served");
}

/// Simulated devices go by the true time, and so does all of this.
#[test]
fn simulated_devices_take_the_ways_that_were_told() {
    let project = Project::new(&CHIP);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().to_string();
    let run = |arguments: &[&str]| {
        let output = project.xtask_with(arguments, &[("SOURCE_DATE_EPOCH", &now)]);
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    };
    assert!(run(&["keys", "init"]).0);
    for (version, options) in
        [("1.0.0", &[][..]), ("1.1.0", &[]), ("2.0.0", &["--min-from", "1.1.0"])]
    {
        project.build(&CHIP, version);
        assert!(run(&[&["release"], options].concat()).0);
    }
    let (is_sound, shown, told) = run(&["check", "--simulate"]);
    assert!(is_sound, "{shown}");
    assert!(told.contains("simulated 6 of 6 devices"), "{told}");

    // An image was exchanged after the index was written.
    let image = |version: &str| {
        let folder = project.path(format!("dist/site/firmware/lamp/{version}"));
        let mut files = folder.read_dir().unwrap().map(|entry| entry.unwrap().path());
        let is_app = |path: &PathBuf| {
            let name = path.to_string_lossy();
            name.contains("esp32c3-app") && name.ends_with(".bin")
        };
        files.find(is_app).unwrap()
    };
    fs::copy(image("1.0.0"), image("1.1.0")).unwrap();
    let (is_sound, shown, _) = run(&["check", "--simulate", "--quiet"]);
    assert!(!is_sound);
    let told = "error[simulation-differs] ota/stable/esp32c3.json: a device on 1.0.0";
    assert!(shown.contains(told), "{shown}");
}

#[test]
fn devices_that_nothing_leads_on_and_those_on_a_yanked_release_are_told() {
    let project = Project::new(&CHIP);
    release(&project, "1.0.0", &[]);
    release(&project, "2.0.0", &["--min-from", "1.5.0"]);
    let shown = project.done(&["check", "--quiet"]);
    let told = "warning[dead-end] ota/stable/esp32c3.json: a device on 1.0.0 never gets there: ";
    assert!(shown.contains(told), "{shown}");

    release(&project, "2.1.0", &[]);
    project.done(&["yank", "2.1.0", "--reason", "hot"]);
    project.done(&["site"]);
    let shown = project.done(&["check", "--quiet"]);
    let told = "note[yanked-ahead] ota/stable/esp32c3.json: a device on 2.1.0 stays there";
    assert!(shown.contains(told), "{shown}");
}

#[test]
fn what_only_an_index_tells_is_not_made_up_for_sites_of_others() {
    let site = tempfile::tempdir().unwrap();
    let descriptor = r#"{"version":"1.0.0","path":"https://a.example/lamp-1.0.0.bin"}"#;
    fs::write(site.path().join("lamp.json"), descriptor).unwrap();
    for option in [&["--paths"][..], &["--simulate"], &["--svg", "a.svg"], &["--against", "."]] {
        let output = xtask(site.path(), &[&["check", "."], option].concat());
        assert_eq!(output.status.code(), Some(2), "{option:?}");
        assert!(text(&output.stderr).contains("has no releases.json"), "{output:?}");
    }
}
