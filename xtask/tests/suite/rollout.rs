//! Releases that are rolled out in steps and held back: what devices, scripts
//! and people read of it.

use crate::support::{Project, text};
use towline_descriptor::{Chip, Descriptor};

const CHIPS: [Chip; 1] = [Chip::Esp32c3];

/// A project that has released 1.0.0.
fn released() -> Project {
    let project = Project::new(&CHIPS);
    project.build(&CHIPS, "1.0.0").done(&["release"]);
    project
}

/// Releases a version that installs over `min_from` and newer.
fn release(project: &Project, version: &str, min_from: &str) -> String {
    let output = project.build(&CHIPS, version).xtask(&["release", "--min-from", min_from]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stderr)
}

fn descriptor(project: &Project, channel: &str) -> serde_json::Value {
    serde_json::from_str(&project.read(&format!("dist/site/ota/{channel}/esp32c3.json"))).unwrap()
}

#[test]
fn a_rollout_reaches_devices_scripts_and_people() {
    let project = released();
    let shown = project.done(&["rollout", "stable", "--percent", "12.5", "--pause"]);
    assert!(shown.contains("+ percent = 12.5\n+ paused = true\n"), "{shown}");
    project.done(&["site"]);
    assert_eq!(
        descriptor(&project, "stable")["rollout"],
        serde_json::json!({ "percent": 12.5, "paused": true })
    );
    assert_eq!(descriptor(&project, "testing").get("rollout"), None);
    let index: serde_json::Value =
        serde_json::from_str(&project.read("dist/site/releases.json")).unwrap();
    assert_eq!(
        index["channels"][0]["rollout"],
        serde_json::json!({ "percent": 12.5, "paused": true })
    );
    let page = project.read("dist/site/index.html");
    assert!(
        page.contains("Paused: offered to no device for now, and to 12.5 % of all devices"),
        "{page}"
    );
    assert_eq!(project.done(&["check", "--json"]), "{\"problems\":[]}\n");

    project.done(&["rollout", "stable", "--resume"]);
    assert_eq!(
        project.done(&["rollout", "stable", "--json"]),
        "{\"channel\":\"stable\",\"percent\":12.5,\"paused\":false,\"serves\":[\"1.0.0\"]}\n"
    );
    project.done(&["rollout", "stable", "--percent", "100"]);
    assert_eq!(project.read("channels.toml"), "");
    project.done(&["site"]);
    assert!(!project.read("dist/site/index.html").contains("class=\"terms"));
}

#[test]
fn a_new_release_starts_as_far_as_the_channel_is() {
    let project = released();
    project.done(&["rollout", "stable", "--percent", "25", "--pause"]);
    project.build(&CHIPS, "1.1.0").done(&["release"]);
    let descriptor = descriptor(&project, "stable");
    assert_eq!(descriptor["version"], "1.1.0");
    assert_eq!(descriptor["rollout"], serde_json::json!({ "percent": 25, "paused": true }));
}

#[test]
fn a_first_flash_is_not_held_back() {
    let project = released();
    let manifest = project.read("dist/site/manifests/stable.json");
    project.done(&["rollout", "stable", "--percent", "0", "--pause"]);
    project.done(&["policy", "stable", "--approval", "--group", "beta"]);
    project.done(&["site"]);
    assert_eq!(project.read("dist/site/manifests/stable.json"), manifest);
}

#[test]
fn devices_that_are_too_old_are_led_over_releases_between() {
    let project = released();
    release(&project, "2.0.0", "1.0.0");
    let said = release(&project, "3.0.0", "2.0.0");
    assert!(!said.contains("no release leads"), "{said}");
    let text = project.read("dist/site/ota/stable/esp32c3.json");
    let mut bytes = text.clone().into_bytes();
    let descriptor = Descriptor::parse(&mut bytes).unwrap();
    assert_eq!(descriptor.min_from.as_ref().unwrap().as_str(), "2.0.0");
    let steps: Vec<_> = descriptor.steps.iter().map(|step| step.version.as_str()).collect();
    assert_eq!(steps, ["2.0.0", "1.0.0"]);
    insta::assert_snapshot!("descriptor_with_a_step", text);
    assert_eq!(project.done(&["check", "--json"]), "{\"problems\":[]}\n");

    // Without the step there is no way, and it is said.
    project.done(&["yank", "2.0.0"]);
    let said = crate::support::text(&project.xtask(&["site"]).stderr);
    assert!(
        said.contains("warning: channel stable: no release leads from 1.0.0 up to 3.0.0"),
        "{said}"
    );
}

#[test]
fn what_descriptor_and_index_say_differently_is_a_problem() {
    let project = released();
    project.done(&["rollout", "stable", "--percent", "25"]);
    project.done(&["policy", "stable", "--window", "02:00-04:30"]);
    release(&project, "2.0.0", "1.0.0");
    release(&project, "3.0.0", "2.0.0");
    let index = project.read("dist/site/releases.json");
    for (from, to, expected) in [
        ("\"percent\": 25", "\"percent\": 26", "rollout is not that of the channel"),
        ("\"end\": 270", "\"end\": 271", "policy is not that of the channel"),
        ("\"min_from\": \"2.0.0\"", "\"min_from\": \"1.0.0\"", "min_from is not that"),
        ("\"min_from\": \"1.0.0\"", "\"min_from\": null", "step 2.0.0: min_from is not that"),
    ] {
        assert!(index.contains(from), "{from}");
        project.write("dist/site/releases.json", index.replacen(from, to, 1));
        let shown = text(&project.xtask(&["check"]).stdout);
        assert!(shown.contains(expected), "{from} -> {to}: {shown}");
    }
}

#[test]
fn what_stops_a_bad_release_is_told_together() {
    let project = Project::new(&CHIPS);
    for (command, other) in [("rollout", "cargo xtask yank"), ("yank", "--pause")] {
        let help = project.done(&[command, "--help"]).replace('\n', " ");
        assert!(help.contains(other), "{help}");
    }
    let help =
        project.done(&["rollout", "--help"]).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.contains("a new release starts at the same percentage"), "{help}");
}

#[test]
fn a_rollout_is_seen_before_it_is_published() {
    let project = released();
    project.build(&CHIPS, "1.1.0").done(&["release"]);
    let before = project.read("dist/site/releases.json");
    let arguments = [
        "sim",
        "rollout",
        "stable",
        "--target",
        "esp32c3",
        "--stage",
        "0h=5%",
        "--stage",
        "24h=25%",
        "--stage",
        "72h=100%",
        "--offline",
        "10",
        "--seed",
        "7",
    ];
    let shown = project.done(&[&arguments[..], &["--svg", "rollout.svg"]].concat());
    assert!(shown.starts_with("lamp 1.1.0 on stable for esp32c3: 1000 devices"), "{shown}");
    assert!(shown.contains("<- 25 %") && shown.contains("switched off"), "{shown}");
    assert!(project.read("rollout.svg").starts_with("<svg xmlns="));
    let course: serde_json::Value =
        serde_json::from_str(&project.done(&[&arguments[..], &["--json"]].concat())).unwrap();
    assert_eq!((&course["release"], &course["devices"]), (&"1.1.0".into(), &1000.into()));
    let last = course["samples"].as_array().unwrap().last().unwrap();
    let off = last["waiting"]["switched off"].as_u64().unwrap();
    assert_eq!(last["versions"]["1.1.0"].as_u64().unwrap() + off, 1000);
    assert_eq!(project.read("dist/site/releases.json"), before);
    assert!(!project.path("channels.toml").exists());
}

#[test]
fn a_rollout_that_cannot_be_is_not_drawn() {
    let project = released();
    let sim = |more: &[&str]| {
        let base = ["sim", "rollout", "stable", "--target", "esp32c3"];
        project.fails(&[&base[..], more].concat())
    };
    assert!(sim(&[]).contains("hint: say what the fleet runs: `--from 0.9.0=100%`"));
    assert!(sim(&["--from", "0.9.0=60%", "--from", "0.8.0=50%"]).contains("more than 100 %"));
    assert!(sim(&["--from", "0.9.0=100%", "--period", "5s"]).contains("--period"));
    let error = project.fails(&["sim", "rollout", "stable", "--target", "desk"]);
    assert!(error.contains("towline.toml has no target `desk`"), "{error}");
}
