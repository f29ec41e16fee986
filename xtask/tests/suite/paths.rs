//! What devices on each release would do now.

use crate::support::Project;
use serde_json::Value;
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

    let shown: Value = serde_json::from_str(&project.done(&["check", "--paths", "--json"])).unwrap();
    let oldest = shown["paths"].as_array().unwrap().iter().find(|path| path["from"] == "1.0.0");
    let oldest = oldest.unwrap();
    let installed: Vec<_> =
        oldest["legs"].as_array().unwrap().iter().map(|leg| leg["version"].clone()).collect();
    assert_eq!(installed, ["1.1.0", "2.0.0"]);
    assert_eq!(oldest["end"]["at"], "served");
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
