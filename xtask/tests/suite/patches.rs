//! Patches: a site has them for the releases that devices run, and says what they cost.

use crate::support::{Project, text, tree};
use serde_json::Value;
use std::fs;
use towline_descriptor::{Chip, Descriptor};
use xtask::site::Index;

const CHIP: [Chip; 1] = [Chip::Esp32c3];

/// Publishes these releases, one after the other.
fn released(versions: &[&str]) -> Project {
    let project = Project::new(&CHIP);
    for version in versions {
        project.build_alike(&CHIP, version).done(&["release"]);
    }
    project
}

/// Renders the site, and returns what is said of it.
fn render(project: &Project, arguments: &[&str]) -> String {
    let output = project.xtask(&[&["site"], arguments].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stderr)
}

/// Adds options to the configuration.
fn configure(project: &Project, options: &str) {
    let config = project.read("towline.toml");
    project.write("towline.toml", format!("{config}\n{options}\n"));
}

/// Returns from which versions patches of the newest release start, in their order.
fn patched_from(project: &Project) -> Vec<String> {
    let index: Index = serde_json::from_str(&project.read("dist/site/releases.json")).unwrap();
    let patches = &index.releases[0].targets[0].patches;
    let from = |version: &Option<_>| version.as_ref().map_or("nothing".into(), ToString::to_string);
    patches.iter().map(|patch| from(&patch.from)).collect()
}

#[test]
fn a_release_says_what_its_updates_cost_and_devices_are_told_where_they_are() {
    let project = released(&["1.0.0"]);
    let shown = project.build_alike(&CHIP, "1.1.0").done(&["release"]);
    let table: Vec<_> = shown.lines().skip_while(|line| !line.contains("FETCHES")).collect();
    assert!(table[0].starts_with("TARGET   RUNS     FETCHES"), "{shown}");
    assert!(table[1].starts_with("esp32c3  1.0.0 "), "{shown}");
    assert!(table[2].starts_with("esp32c3  another "), "{shown}");

    let report: Value = serde_json::from_str(&project.done(&["release", "--json"])).unwrap();
    let (updates, size) = (&report["updates"], &report["targets"]["esp32c3"]["app"]["size"]);
    assert_eq!((&updates[0]["from"], &updates[0]["full"]), (&"1.0.0".into(), size));
    assert_eq!(updates[1]["from"], Value::Null);

    let index: Index = serde_json::from_str(&project.read("dist/site/releases.json")).unwrap();
    let [new, old] = [0, 1].map(|release| &index.releases[release].targets[0]);
    let read = |path: &str| fs::read(project.path("dist/site").join(path)).unwrap();
    let image = |path: &Option<String>| read(path.as_ref().unwrap());
    let mut document = read("ota/stable/esp32c3.json");
    let descriptor = Descriptor::parse(&mut document).unwrap();
    let bases = [Vec::new(), image(&old.app.path)];
    assert_eq!((descriptor.patches.len(), old.patches.len()), (2, 0));
    for ((named, listed), base) in descriptor.patches.iter().zip(&new.patches).zip(bases) {
        let path = named.path.strip_prefix("https://localhost/").unwrap();
        assert_eq!(listed.file.path.as_deref(), Some(path));
        assert!(path.starts_with("firmware/lamp/1.1.0/esp32c3-"), "{path}");
        let made = xtask::patch::apply(&base, &read(path)).unwrap();
        assert!(made == image(&new.app.path), "{path}");
    }
    let page = project.read("dist/site/index.html");
    assert!(page.contains("Size of an update") && page.contains("any other"), "{page}");
}

#[test]
fn patches_are_made_once_and_are_the_same_wherever_they_are_made() {
    let project = released(&["1.0.0", "1.1.0"]);
    let site = tree(&project.path("dist/site"));
    assert!(!render(&project, &[]).contains("to make"));
    fs::remove_dir_all(project.path("dist/store/patches")).unwrap();
    assert!(render(&project, &[]).contains("patches to make: 2\n"));
    assert!(tree(&project.path("dist/site")) == site);
}

#[test]
fn towline_toml_says_which_patches_there_are() {
    let project = released(&["1.0.0", "1.1.0-rc.1", "1.1.0", "1.2.0"]);
    assert_eq!(patched_from(&project), ["nothing", "1.1.0", "1.1.0-rc.1", "1.0.0"]);
    configure(&project, "[patches]\nfrom = 1\ncompressed = false\nprofile = \"large\"");
    render(&project, &[]);
    assert_eq!(patched_from(&project), ["1.1.0"]);
    assert!(project.read("dist/site/ota/stable/esp32c3.json").contains("\"twp1-large\""));
    // For this run.
    let told = render(&project, &["--patch-from", "1.0.0,0.9.0"]);
    assert_eq!(patched_from(&project), ["1.1.0", "1.0.0"]);
    assert!(told.contains("names 0.9.0, which was never released"), "{told}");
    let config = project.read("towline.toml").replace("from = 1", "from = 0");
    project.write("towline.toml", config);
    render(&project, &[]);
    assert_eq!(patched_from(&project), [""; 0]);
    assert!(!project.read("dist/site/index.html").contains("Size of an update"));
    assert!(tree(&project.path("dist/site")).iter().all(|(path, _)| !path.ends_with(".twp")));
}

#[test]
fn a_plan_says_from_which_releases_there_would_be_patches() {
    let project = released(&["1.0.0", "1.1.0-rc.1"]);
    let shown = project.build_alike(&CHIP, "1.2.0").done(&["release", "--dry-run"]);
    let row = |channel: &str| shown.lines().find(|line| line.starts_with(channel)).unwrap();
    assert!(row("stable").ends_with("  1.2.0  1.0.0"), "{shown}");
    assert!(row("testing").ends_with("  1.2.0  1.1.0-rc.1, 1.0.0"), "{shown}");
}

/// Devices run releases whose images the site has no place for.
#[test]
fn a_patch_may_start_from_a_release_that_the_site_does_not_hold() {
    let project = released(&["1.0.0", "1.1.0", "1.2.0"]);
    configure(&project, "[site]\nkeep = 1");
    let told = render(&project, &[]);
    assert!(told.contains("still in the store: 1.0.0, 1.1.0"), "{told}");
    assert_eq!(patched_from(&project), ["nothing", "1.1.0", "1.0.0"]);
    assert_eq!(project.xtask(&["check", "--json"]).status.code(), Some(0));

    // An image that is nowhere any more is no reason to publish nothing.
    fs::remove_dir_all(project.path("dist/store/patches")).unwrap();
    let record: Value =
        serde_json::from_str(&project.read("dist/store/releases/1.0.0.json")).unwrap();
    let hash = record["targets"]["esp32c3"]["app"]["sha256"].as_str().unwrap().to_owned();
    fs::remove_file(project.path("dist/store/artifacts").join(hash)).unwrap();
    let told = render(&project, &[]);
    assert!(told.contains("warning: no patch for esp32c3 1.0.0 to 1.2.0: "), "{told}");
    assert_eq!(patched_from(&project), ["nothing", "1.1.0"]);
}

#[test]
fn a_site_without_room_has_no_patches() {
    let project = released(&["1.0.0"]);
    configure(&project, "[patches]\ncompressed = false\n[site]\nkeep = 1");
    render(&project, &[]);
    let total: usize = tree(&project.path("dist/site")).iter().map(|(_, bytes)| bytes.len()).sum();
    let config = project.read("towline.toml").replace("compressed = false", "");
    let limit = format!("max-size = \"{}kB\"", total / 1000 + 1);
    project.write("towline.toml", format!("{config}\n{limit}\n"));
    let told = render(&project, &[]);
    assert!(told.contains("warning: no patches on the site, by its `max-size` of "), "{told}");
    assert_eq!(patched_from(&project), [""; 0]);
}

#[test]
fn patches_are_signed_with_the_descriptor_that_names_them() {
    let project = Project::new(&CHIP);
    project.done(&["keys", "init"]);
    for version in ["1.0.0", "1.1.0"] {
        project.build_alike(&CHIP, version).done(&["release"]);
    }
    let mut document = fs::read(project.path("dist/site/ota/stable/esp32c3.json")).unwrap();
    assert_eq!(Descriptor::parse(&mut document).unwrap().patches.len(), 2);
    assert_eq!(project.xtask(&["check", "--json"]).status.code(), Some(0));
    let site = tree(&project.path("dist/site"));
    render(&project, &[]);
    assert!(tree(&project.path("dist/site")) == site);
}
