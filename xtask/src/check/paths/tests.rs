use super::*;
use crate::store;
use serde_json::{Value, json};

/// 2026-11-22.
const NOW: u64 = 1_795_305_600;

/// Returns the index of a site with these releases, the highest version first: its
/// channels serve what `served` says.
fn index(releases: &[(&str, &[&str])], served: &[(&str, &str, &str)]) -> Value {
    let target = |version: &str, target: &&str| {
        json!({
            "target": target, "chip": "esp32c3", "chip_family": "ESP32-C3",
            "flash_size": 4_194_304, "psram": null, "slot_size": 1_000_000, "secure_version": 0,
            "app": { "path": format!("{version}.bin"), "size": 600_000, "sha256": hash(version) },
            "parts": [], "factory": null,
        })
    };
    let releases = releases.iter().map(|(version, targets)| {
        json!({
            "version": version, "prerelease": false, "yanked": null, "released": "2026-11-22",
            "notes": null, "min_from": null, "commit": null,
            "targets": targets.iter().map(|name| target(version, name)).collect::<Vec<_>>(),
        })
    });
    let mut channels: Vec<Value> = Vec::new();
    for (channel, target, version) in served {
        let descriptor = format!("ota/{channel}/{target}.json");
        let target = json!({ "target": target, "version": version, "descriptor": descriptor });
        match channels.iter_mut().find(|known| known["name"] == *channel) {
            Some(known) => known["targets"].as_array_mut().unwrap().push(target),
            None => channels.push(json!({
                "name": channel, "description": null, "manifest": "", "targets": [target],
            })),
        }
    }
    json!({
        "fmt": 1, "project": "lamp", "title": "Lamp", "base_url": "https://example.org/",
        "channels": channels, "releases": releases.collect::<Vec<_>>(), "files": {},
    })
}

fn hash(version: &str) -> String {
    crate::store::sha256(version.as_bytes()).to_string()
}

/// Returns a descriptor of this release, with these fields too.
fn descriptor(version: &str, more: &Value) -> Value {
    let mut descriptor = json!({
        "version": version, "path": format!("https://example.org/{version}.bin"), "fmt": 1,
        "project": "lamp", "chip": "esp32c3", "size": 600_000, "sha256": hash(version),
    });
    let fields = more.as_object().unwrap().clone();
    descriptor.as_object_mut().unwrap().extend(fields);
    descriptor
}

fn of(index: Value, descriptor: impl Fn(&str) -> Value) -> Vec<UpdatePath> {
    let index = serde_json::from_value(index).unwrap();
    paths(&index, |path| Some(descriptor(path).to_string().into_bytes()), NOW)
}

/// Returns each path as one line.
fn lines(paths: &[UpdatePath]) -> Vec<String> {
    let line = |path: &UpdatePath| {
        let legs: String = path.legs.iter().map(|leg| format!(" > {}", leg.version)).collect();
        format!("{}{legs}: {}", path.from, path.end)
    };
    paths.iter().map(line).collect()
}

const BOTH: &[&str] = &["esp32c3"];

#[test]
fn each_release_goes_to_what_is_served_or_stays_ahead() {
    let site = index(
        &[("2.0.0-rc.1", BOTH), ("1.1.0", BOTH), ("1.0.0", BOTH)],
        &[("stable", "esp32c3", "1.1.0")],
    );
    let paths = of(site, |_| descriptor("1.1.0", &json!({})));
    assert_eq!(
        lines(&paths),
        ["2.0.0-rc.1: stays ahead", "1.1.0: up to date", "1.0.0 > 1.1.0: up to date"]
    );
    assert_eq!(paths[2].bytes(), 600_000);
    assert!(paths.iter().all(|path| path.held.is_none() && !path.is_fault()));
}

#[test]
fn old_releases_go_over_steps_and_those_without_one_are_stuck() {
    let site = index(
        &[("2.0.0", BOTH), ("1.1.0", BOTH), ("1.0.0", BOTH), ("0.9.0", BOTH)],
        &[("stable", "esp32c3", "2.0.0")],
    );
    let step = json!({
        "version": "1.1.0", "path": "https://example.org/1.1.0.bin", "size": 600_000,
        "sha256": hash("1.1.0"), "min_from": "1.0.0",
    });
    let paths = of(site, |_| descriptor("2.0.0", &json!({ "min_from": "1.1.0", "steps": [step] })));
    assert_eq!(
        lines(&paths)[1..],
        [
            "1.1.0 > 2.0.0: up to date",
            "1.0.0 > 1.1.0 > 2.0.0: up to date",
            "0.9.0: never gets there: what runs is too old for the release, and no release leads there",
        ]
    );
    assert!(paths[3].is_fault());
}

#[test]
fn what_is_dropped_from_the_site_still_runs_on_devices() {
    let mut site = index(&[("1.1.0", BOTH)], &[("stable", "esp32c3", "1.1.0")]);
    site["dropped"] = json!(["0.8.0", "0.9.0"]);
    let paths = of(site, |_| descriptor("1.1.0", &json!({})));
    let expected = ["1.1.0: up to date", "0.9.0 > 1.1.0: up to date", "0.8.0 > 1.1.0: up to date"];
    assert_eq!(lines(&paths), expected);
}

/// A testing descriptor whose image is the stable one reached devices of a real
/// project.
#[test]
fn a_descriptor_of_another_image_is_installed_again_and_again() {
    let site = index(&[("1.1.0", BOTH), ("1.0.0", BOTH)], &[("testing", "esp32c3", "1.1.0")]);
    let index = serde_json::from_value(site.clone()).unwrap();
    let paths = of(site, |_| descriptor("1.1.0", &json!({ "sha256": hash("1.0.0") })));
    let codes: Vec<_> = find(&index, &paths).into_iter().map(|finding| finding.code).collect();
    assert_eq!(codes, [Code::UpdateLoop]);
    assert_eq!(lines(&paths)[1], "1.0.0 > 1.1.0: installs it again and again");
    assert!(paths[1].is_fault());
}

#[test]
fn an_image_that_outgrew_the_slots_of_old_devices_is_a_dead_end() {
    let mut site = index(&[("1.1.0", BOTH), ("1.0.0", BOTH)], &[("stable", "esp32c3", "1.1.0")]);
    site["releases"][1]["targets"][0]["slot_size"] = json!(500_000);
    let paths = of(site, |_| descriptor("1.1.0", &json!({})));
    assert!(matches!(paths[1].end, End::DeadEnd(_)), "{:?}", paths[1]);
}

#[test]
fn what_holds_devices_back_is_told_and_is_no_fault() {
    let site = index(&[("1.1.0", BOTH), ("1.0.0", BOTH)], &[("stable", "esp32c3", "1.1.0")]);
    let paths = of(site, |_| descriptor("1.1.0", &json!({ "rollout": { "paused": true } })));
    assert_eq!(paths[1].end, End::Served);
    assert!(paths[1].held.as_deref().unwrap().contains("paused"), "{:?}", paths[1].held);
}

#[test]
fn releases_and_targets_that_fare_alike_are_one_row() {
    let two: &[&str] = &["esp32c3", "esp32c3-lite"];
    let mut site = index(
        &[("1.2.0", two), ("1.1.0", two), ("1.0.0", BOTH), ("0.9.0", two)],
        &[("stable", "esp32c3", "1.2.0"), ("stable", "esp32c3-lite", "1.2.0")],
    );
    site["releases"][3]["targets"][1]["slot_size"] = json!(500_000);
    let paths = of(site, |_| descriptor("1.2.0", &json!({})));
    insta::assert_snapshot!(table(&paths));
    let drawn = svg("lamp", &paths);
    assert!(drawn.contains("One kind of device never reaches"), "{drawn}");
    assert_eq!(drawn.matches("class=\"way\"").count(), 3, "{drawn}");
}

#[test]
fn a_device_fetches_the_shortest_form_that_it_can_use() {
    let patch = |from: Value, size: u32, name: &str| {
        let from_sha256 = from.as_str().map_or(store::sha256(b"").to_string(), hash);
        json!({
            "from": from, "from_sha256": from_sha256, "alg": "twp1-small",
            "path": format!("{name}.twp"), "size": size, "sha256": hash(name),
        })
    };
    let patches = [
        patch(Value::Null, 300_000, "whole"),
        patch("1.1.0".into(), 40_000, "part"),
        patch("1.0.0".into(), 50_000, "left out of the descriptor"),
    ];
    let releases = [("1.2.0", &["esp32c3"][..]), ("1.1.0", &["esp32c3"]), ("1.0.0", &["esp32c3"])];
    let mut index = index(&releases, &[("stable", "esp32c3", "1.2.0")]);
    index["releases"][0]["targets"][0]["patches"] = patches.clone().into();
    let named = json!({ "patches": patches[..2] });
    let paths = of(index, |_| descriptor("1.2.0", &named));
    let bytes: Vec<_> = paths.iter().map(|path| (path.from.as_str(), path.bytes())).collect();
    assert_eq!(bytes, [("1.2.0", 0), ("1.1.0", 40_000), ("1.0.0", 300_000)]);
}
