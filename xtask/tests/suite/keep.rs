//! A site holds what it has room for, and what devices need.

use crate::{
    device::{Host, publish_at},
    support::{Project, text, tree},
};
use std::fs;
use towline_descriptor::Chip;

const CHIP: [Chip; 1] = [Chip::Esp32c3];

/// Sets the limits of what the site holds.
fn limit(project: &Project, limits: &str) {
    let config = project.read("towline.toml");
    let config = config.split("\n[site]").next().unwrap();
    project.write("towline.toml", format!("{config}\n[site]\n{limits}\n"));
}

/// Renders the site, and returns what is said of it.
fn render(project: &Project) -> String {
    let output = project.xtask(&["site"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stderr)
}

/// Returns the versions in the index and in the folders, which are the same.
fn held(project: &Project) -> (Vec<String>, Vec<String>) {
    let index = project.read("dist/site/releases.json");
    let index: xtask::site::Index = serde_json::from_str(&index).unwrap();
    let mut folders: Vec<_> = project
        .path("dist/site/firmware/lamp")
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    folders.sort();
    let versions = index.releases.iter().rev().map(|release| release.version.to_string());
    assert_eq!(versions.collect::<Vec<_>>(), folders);
    let page = project.read("dist/site/index.html");
    assert!(folders.iter().all(|version| page.contains(version)), "{folders:?}");
    (folders, index.dropped.iter().map(ToString::to_string).collect())
}

fn total(project: &Project) -> usize {
    tree(&project.path("dist/site")).iter().map(|(_, bytes)| bytes.len()).sum()
}

#[test]
fn a_signed_site_holds_what_is_kept_and_a_device_of_a_dropped_release_is_led_on() {
    let project = Project::new(&CHIP);
    fs::create_dir_all(project.path("dist/site")).unwrap();
    let host = Host::serve(&project.path("dist/site"), project.path("ca.pem"));
    publish_at(&project, &host);
    let now = xtask::signing::clock().to_string();
    let publisher = |arguments: &[&str]| {
        let output = project.xtask_with(arguments, &[("SOURCE_DATE_EPOCH", &now)]);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stderr)
    };
    publisher(&["keys", "init"]);
    for (version, options) in
        [("1.0.0", &[][..]), ("1.1.0", &[]), ("2.0.0", &["--min-from", "1.1.0"])]
    {
        project.build(&CHIP, version);
        publisher(&[&["release"], options].concat());
        if version == "1.0.0" {
            project.done(&["sim", "flash", "--target", "esp32c3"]);
        }
    }
    let before = tree(&project.path("dist/site"));
    fs::rename(project.path("dist/site"), project.path("published")).unwrap();
    fs::create_dir_all(project.path("dist/site")).unwrap();
    limit(&project, "keep = 1");
    let told = publisher(&["site"]);
    assert!(
        told.contains(
            "warning: not on the site, by `keep` of towline.toml, and still in the store: 1.0.0"
        ),
        "{told}"
    );
    // The step to the newest is needed.
    assert_eq!(held(&project), (vec!["1.1.0".into(), "2.0.0".into()], vec!["1.0.0".into()]));
    let gone = before.iter().filter(|(path, _)| !project.path("dist/site").join(path).exists());
    assert!(gone.clone().count() > 3);
    for (path, _) in gone {
        assert!(path.starts_with("firmware/lamp/1.0.0"), "{}", path.display());
    }
    assert!(project.path("dist/store/releases/1.0.0.json").exists());
    let check = ["check", "--against", "published", "--json"];
    let output = project.xtask_with(&check, &[("SOURCE_DATE_EPOCH", &now)]);
    assert!(text(&output.stdout).starts_with("{\"expires\":"), "{}", text(&output.stdout));

    let ca = host.ca.display().to_string();
    let update = ["sim", "update", "--target", "esp32c3", "--ca", &ca, "--json"];
    for version in ["1.1.0", "2.0.0"] {
        let outcome = project.done(&update);
        assert!(outcome.contains(&format!("\"installed\":\"{version}\"")), "{outcome}");
    }

    // What the store has comes back when it is wanted again.
    limit(&project, "keep = 3");
    publisher(&["site"]);
    assert_eq!(held(&project).1, Vec::<String>::new());
}

#[test]
fn the_oldest_go_when_there_is_no_room_for_all() {
    let project = Project::new(&CHIP);
    for version in ["1.0.0", "1.1.0", "1.2.0", "2.0.0-rc.1"] {
        project.build(&CHIP, version).done(&["release"]);
    }
    let all = total(&project);
    limit(&project, &format!("max-size = \"{}kB\"", all / 1000));
    let told = render(&project);
    assert!(told.contains("and still in the store: 1.0.0\n"), "{told}");
    assert!(total(&project) <= all / 1000 * 1000);
    assert_eq!(held(&project).0, ["1.1.0", "1.2.0", "2.0.0-rc.1"]);
    // As much as there is room for, to the byte.
    limit(&project, &format!("max-size = \"{}kB\"", all / 1000 + 1));
    assert!(!render(&project).contains("not on the site"));

    let before = tree(&project.path("dist/site"));
    limit(&project, "max-size = \"200kB\"");
    let error = project.fails(&["site"]);
    assert!(error.contains("and its `max-size` is 200 kB; raise that in towline.toml"), "{error}");
    crate::support::assert_tree(&project.path("dist/site"), &before);
    assert_eq!(project.done(&["check", "--json"]), "{\"problems\":[]}\n");
}
