//! When a release goes and to whom: the commands, and what is published of it.

use crate::support::Project;
use towline_descriptor::{Chip, Descriptor, Priority};

const CHIPS: [Chip; 1] = [Chip::Esp32c3];

fn released() -> Project {
    let project = Project::new(&CHIPS);
    project.build(&CHIPS, "1.0.0").done(&["release"]);
    project
}

const ALL: [&str; 22] = [
    "policy",
    "stable",
    "--window",
    "23:00-04:30",
    "--from",
    "2026-12-01",
    "--until",
    "2026-12-24T18:00:00+01:00",
    "--approval",
    "--priority",
    "urgent",
    "--group",
    "beta,staff",
    "--device",
    "84:f7:03:00:00:01",
    "--device",
    "84-F7-03-00-00-01",
    "--device-hash",
    "0123456789abcdef",
    "--downgrade",
    "--metadata",
    "{\"url\": \"https://example.org/\", \"sizes\": [1, 2]}",
];

#[test]
fn a_policy_is_what_devices_read() {
    let project = released();
    project.done(&ALL);
    insta::assert_snapshot!("channels", project.read("channels.toml"));
    project.done(&["site"]);
    let mut text = project.read("dist/site/ota/stable/esp32c3.json").into_bytes();
    let policy = Descriptor::parse(&mut text).unwrap().policy;
    assert_eq!((policy.not_before, policy.not_after), (Some(1_796_083_200), Some(1_798_131_600)));
    assert_eq!(policy.window.unwrap().to_string(), "23:00-04:30");
    assert!(policy.approval && policy.downgrade && policy.priority == Priority::Urgent);
    assert_eq!(policy.groups, ["beta", "staff"]);
    let devices: Vec<_> = policy.devices.iter().map(ToString::to_string).collect();
    assert_eq!(devices, ["ac12c60603ecb1f7", "0123456789abcdef"]);
    let metadata: serde_json::Value = serde_json::from_str(policy.metadata.unwrap()).unwrap();
    assert_eq!(metadata, serde_json::json!({ "url": "https://example.org/", "sizes": [1, 2] }));
    assert_eq!(project.done(&["check", "--json"]), "{\"problems\":[]}\n");
    insta::assert_snapshot!("policy", project.done(&["policy", "stable"]));

    let page = project.read("dist/site/index.html");
    for words in [
        "Only for devices of the groups beta and staff, and for 2 devices that are listed.",
        "Installed from 2026-12-01 00:00 UTC until 2026-12-24 17:00 UTC.",
        "Waits on each device until its user agrees.",
        "Urgent: waits for no time of day.",
    ] {
        assert!(page.contains(words), "{words}");
    }
}

#[test]
fn what_is_not_named_stays() {
    let project = released();
    project.write("channels.toml", "# Ours.\n[channels.stable] # careful\nfollow = \"^1\"\n");
    project.done(&ALL);
    let full = project.read("channels.toml");
    assert!(full.starts_with("# Ours.\n[channels.stable] # careful\nfollow = \"^1\"\n"), "{full}");
    let before = project.done(&["policy", "stable", "--json"]);
    let dry = project.done(&["policy", "stable", "--everyone", "--dry-run"]);
    assert!(dry.contains("- groups = [\"beta\", \"staff\"]\n"), "{dry}");
    assert_eq!(project.done(&["policy", "stable", "--json"]), before);
    project.done(&["policy", "stable", "--everyone", "--group", "us"]);
    project.done(&["policy", "stable", "--approval=false", "--no-window", "--always"]);
    let policy: serde_json::Value =
        serde_json::from_str(&project.done(&["policy", "stable", "--json"])).unwrap();
    assert_eq!(
        policy["policy"],
        serde_json::json!({
            "priority": "urgent", "groups": ["us"], "downgrade": true,
            "metadata": { "url": "https://example.org/", "sizes": [1, 2] },
        })
    );
    project.done(&[
        "policy",
        "stable",
        "--everyone",
        "--no-metadata",
        "--priority",
        "normal",
        "--downgrade=false",
    ]);
    let left = project.read("channels.toml");
    assert_eq!(left, "# Ours.\n[channels.stable] # careful\nfollow = \"^1\"\n");
}

#[test]
fn a_policy_that_hardly_anybody_can_meet_is_told() {
    let project = released();
    let told = |arguments: &[&str]| {
        let arguments = [&["policy", "stable", "--dry-run"], arguments].concat();
        String::from_utf8(project.xtask(&arguments).stderr).unwrap()
    };
    assert!(told(&["--until", "2020-01-01"]).contains("warning: --until 2020-01-01 23:59:59 UTC"));
    assert!(told(&["--window", "02:00-02:00"]).contains("02:00-02:00 has 1 minute(s) of a day"));
    assert!(told(&["--window", "23:40-00:20"]).contains("has 41 minute(s)"));
    let fine = told(&["--window", "23:30-00:30", "--until", "2027-01-01"]);
    assert!(!fine.contains("warning"), "{fine}");
}

#[test]
fn faults_of_policies_are_refused_before_they_are_written() {
    let project = released();
    for (arguments, expected) in [
        (&["--from", "2027-01-01", "--until", "2026-01-01"][..], "ends before not-before"),
        (&["--metadata", "{\"a\": null}"], "--metadata.a: null cannot be written as TOML"),
        (&["--group", "a,b,c,d,e,f,g,h,i"], "a descriptor has room for 8 groups"),
    ] {
        let error = project.fails(&[&["policy", "stable"], arguments].concat());
        assert!(error.contains(expected), "{error}");
    }
    let error = project.fails(&["policy", "beta"]);
    assert!(error.contains("hint: it has stable, testing"), "{error}");
    for arguments in [
        &["--window", "2:00-4:00"][..],
        &["--from", "tomorrow"],
        &["--metadata", "[]"],
        &["--group", "a b"],
        &["--window", "02:00-04:00", "--no-window"],
        &["--approval", "--json"],
        &["--device", "84:f7:03:00:00"],
    ] {
        let output = project.xtask(&[&["policy", "stable"], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
    assert!(!project.path("channels.toml").exists());
}
