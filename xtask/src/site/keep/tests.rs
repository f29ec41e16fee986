use super::*;
use crate::release::tests::record;
use proptest::prelude::*;
use std::path::Path;

fn config(limits: &str) -> Config {
    let text = format!(
        "project = \"lamp\"\nbase-url = \"https://example.org/\"\n{limits}\n[targets.esp32c3]\nbuild.prebuilt = \"a.bin\"\n"
    );
    Config::parse(Path::new("towline.toml"), &text).unwrap()
}

fn channels(config: &Config, text: &str) -> Channels {
    Channels::parse(Path::new("channels.toml"), text, config).unwrap()
}

/// Returns the versions that a site has, if it has room for so many beside those
/// that are needed.
fn versions(keep: &Keep<'_>, spare: usize) -> Vec<String> {
    keep.with(spare).releases.iter().map(|record| record.version.to_string()).collect()
}

/// Returns the versions that a site keeps.
fn kept(limits: &str, state: &str, releases: &[Record]) -> String {
    let config = config(limits);
    let channels = channels(&config, state);
    let keep = Keep::of(&config, &channels, releases);
    versions(&keep, keep.most(config.site.max_size)).join(" ")
}

fn releases(list: &[&str]) -> Vec<Record> {
    list.iter().map(|version| record(version, &["esp32c3"])).collect()
}

/// Returns the size of a release of [`releases`].
fn size_of_one() -> u64 {
    files(&releases(&["1.0.0"])[0]).values().map(|artifact| u64::from(artifact.size)).sum()
}

#[test]
fn without_limits_everything_is_kept() {
    let releases = releases(&["0.9.0", "1.0.0", "2.0.0-rc.1"]);
    assert_eq!(kept("", "", &releases), "0.9.0 1.0.0 2.0.0-rc.1");
    assert_eq!(kept("", "[yanked]\n\"1.0.0\" = \"bad\"", &releases), "0.9.0 1.0.0 2.0.0-rc.1");
}

#[test]
fn each_channel_keeps_the_newest_that_it_takes() {
    let list = ["0.9.0", "1.0.0", "1.1.0", "2.0.0-rc.1", "2.0.0-rc.2", "2.0.0-rc.3"];
    let releases = releases(&list);
    let two = "[site]\nkeep = 2";
    assert_eq!(kept(two, "", &releases), "1.0.0 1.1.0 2.0.0-rc.2 2.0.0-rc.3");
    let three = format!("{two}\n[channels.stable]\nkeep = 3\n[channels.testing]\n");
    assert_eq!(kept(&three, "", &releases), "0.9.0 1.0.0 1.1.0 2.0.0-rc.2 2.0.0-rc.3");
    // Only prereleases are testing's alone.
    let testing = "[channels.stable]\n[channels.testing]\nkeep = 1\n";
    assert_eq!(kept(testing, "", &releases), "0.9.0 1.0.0 1.1.0 2.0.0-rc.3");
    let yanked = "[yanked]\n\"1.1.0\" = \"bad\"";
    assert_eq!(kept(two, yanked, &releases), "0.9.0 1.0.0 2.0.0-rc.2 2.0.0-rc.3");
}

#[test]
fn what_is_pinned_and_what_another_target_still_gets_is_kept() {
    let one = "[site]\nkeep = 1";
    let list = releases(&["1.0.0", "1.1.0", "1.2.0"]);
    assert_eq!(kept(one, "[channels.stable]\npin = \"1.0.0\"", &list), "1.0.0 1.2.0");
    let mut list = list;
    list[0] = record("1.0.0", &["esp32c3", "esp32c6"]);
    assert_eq!(kept(one, "", &list), "1.0.0 1.2.0");
}

#[test]
fn steps_for_devices_of_versions_that_are_gone_are_kept() {
    let mut list = releases(&["0.9.0", "1.0.0", "1.1.0", "2.0.0", "2.1.0", "3.0.0"]);
    list[3].min_from = Some("1.1.0".parse().unwrap());
    list[4].min_from = Some("1.1.0".parse().unwrap());
    list[5].min_from = Some("2.0.0".parse().unwrap());
    assert_eq!(kept("[site]\nkeep = 1", "", &list), "1.1.0 2.1.0 3.0.0");
}

#[test]
fn what_is_furthest_from_the_newest_goes_when_there_is_no_room() {
    let list = releases(&["0.9.0", "1.0.0", "1.1.0", "2.0.0-rc.1", "2.0.0-rc.2"]);
    let room =
        |count: u64| format!("[site]\nmax-size = \"{}kB\"", (size_of_one() * count) / 1000 + 1);
    assert_eq!(kept(&room(5), "", &list), "0.9.0 1.0.0 1.1.0 2.0.0-rc.1 2.0.0-rc.2");
    assert_eq!(kept(&room(4), "", &list), "1.0.0 1.1.0 2.0.0-rc.1 2.0.0-rc.2");
    assert_eq!(kept(&room(3), "", &list), "1.1.0 2.0.0-rc.1 2.0.0-rc.2");
    for count in [2, 1] {
        assert_eq!(kept(&room(count), "", &list), "1.1.0 2.0.0-rc.2");
    }
    // What no channel takes goes before all others.
    let yanked = "[yanked]\n\"2.0.0-rc.1\" = \"bad\"";
    assert_eq!(kept(&room(4), yanked, &list), "0.9.0 1.0.0 1.1.0 2.0.0-rc.2");
}

#[test]
fn what_is_not_kept_is_told_with_the_reason() {
    let list = releases(&["0.8.0", "0.9.0", "1.0.0", "1.1.0"]);
    let config = config("[site]\nkeep = 3");
    let channels = channels(&config, "");
    let keep = Keep::of(&config, &channels, &list);
    let kept = keep.with(1);
    assert_eq!(
        kept.warnings(Size(2_000_000)),
        [
            "not on the site, by `keep` of towline.toml, and still in the store: 0.8.0",
            "not on the site, by its `max-size` of 2 MB, and still in the store: 0.9.0",
        ]
    );
    assert_eq!(keep.with(2).warnings(Size(2_000_000)).len(), 1);
}

/// Releases of up to three targets, some of which follow on no older one.
fn any_releases() -> impl Strategy<Value = Vec<Record>> {
    let release = (1u8..8, proptest::option::of(0u8..3));
    proptest::collection::btree_map((0u8..3, 0u8..4, any::<bool>()), release, 1..16).prop_map(
        |all| {
            let make = |((major, minor, is_final), (targets, from)): (
                (u8, u8, bool),
                (u8, Option<u8>),
            )| {
                let pre = if is_final { "" } else { "-rc.1" };
                let names = ["esp32", "esp32c3", "esp32c6"];
                let of = (0..3).filter(|bit| targets & (1 << bit) != 0).map(|bit| names[bit]);
                let mut record =
                    record(&format!("{major}.{minor}.0{pre}"), &of.collect::<Vec<_>>());
                let from = from.filter(|from| *from < major);
                record.min_from = from.map(|from| format!("{from}.0.0").parse().unwrap());
                record
            };
            let mut records: Vec<_> = all.into_iter().map(make).collect();
            records.sort_by(|a, b| a.version.precedence(&b.version));
            records
        },
    )
}

fn any_state() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just(""),
        Just("[channels.stable]\nfollow = \"<2\""),
        Just("[channels.stable]\npin = \"1.0.0\""),
        Just("[yanked]\n\"1.0.0\" = \"bad\"\n\"2.1.0\" = \"worse\""),
    ]
}

fn site(keep: usize, of_testing: usize) -> String {
    format!("[site]\nkeep = {keep}\n[channels.stable]\n[channels.testing]\nkeep = {of_testing}\n")
}

proptest! {
    #[test]
    fn what_is_served_and_what_leads_there_is_never_dropped(
        releases in any_releases(), state in any_state(),
        keep in 1usize..5, of_testing in 1usize..5, spare in 0usize..4,
    ) {
        let config = config(&site(keep, of_testing));
        let channels = channels(&config, state);
        let keep = Keep::of(&config, &channels, &releases);
        let kept = keep.with(spare);
        for channel in config.channels.keys() {
            let before = served_targets(channel, &channels, &releases);
            prop_assert_eq!(&before, &served_targets(channel, &channels, &kept.releases));
            for (target, served) in before {
                let way = |releases| steps::way(&channels, channel, target, served, releases).steps;
                let (all, held) = (way(&releases), way(&kept.releases));
                prop_assert_eq!(all, held);
            }
        }
        // Each release is somewhere, once.
        let held = kept.releases.iter().map(|record| &record.version);
        let mut all: Vec<_> = held.chain(kept.dropped()).collect();
        all.sort_by(|a, b| a.precedence(b));
        prop_assert_eq!(all, releases.iter().map(|record| &record.version).collect::<Vec<_>>());
        prop_assert_eq!(kept, Keep::of(&config, &channels, &releases).with(spare));
    }

    #[test]
    fn who_keeps_more_holds_what_others_hold_and_more(
        releases in any_releases(), state in any_state(),
        keep in 1usize..5, of_testing in 1usize..5, more in 0usize..3, room in 0u64..12,
    ) {
        let held = |keep: usize, of_testing: usize, room: u64| {
            let config = config(&site(keep, of_testing));
            let channels = channels(&config, state);
            let keep = Keep::of(&config, &channels, &releases);
            versions(&keep, keep.most(Size(size_of_one() * room)))
        };
        let is_part = |less: Vec<String>, more: Vec<String>| less.iter().all(|v| more.contains(v));
        let all = 100;
        prop_assert!(is_part(held(keep, of_testing, all), held(keep + more, of_testing, all)));
        prop_assert!(is_part(held(keep, of_testing, all), held(keep, of_testing + more, all)));
        prop_assert!(is_part(held(keep, of_testing, room), held(keep, of_testing, room + 1)));
        // One limit for all channels, in whatever room there is.
        prop_assert!(is_part(held(keep, keep, room), held(keep + more, keep + more, room)));
    }
}
