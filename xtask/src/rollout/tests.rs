use super::*;
use crate::{channel::tests::parse, patch::cache::Patches, release::tests::record};
use std::path::Path;

const CONFIG: &str = "project = \"lamp\"\nbase-url = \"https://example.org/\"\n[targets.esp32c3]\nbuild.prebuilt = \"a.bin\"\n";

/// 2026-12-01.
const START: u64 = 1_796_083_200;

fn fleet(runs: &[&str]) -> Fleet {
    Fleet {
        devices: 1000,
        period: Duration::from_seconds(86_400),
        span: Duration::from_days(7),
        start: START,
        runs: runs.iter().map(|run| run.parse().unwrap()).collect(),
        offline: "0".parse().unwrap(),
        agree_after: Duration::from_seconds(6 * 3600),
        seed: 1,
    }
}

/// Calls `with` with the course of this fleet, to which the last of these
/// releases is rolled out.
fn rolled_out<T>(
    terms: &str,
    releases: &[(&str, Option<&str>)],
    stages: &[&str],
    fleet: &Fleet,
    with: impl FnOnce(&Course, &Board<'_>, &[Phase]) -> T,
) -> T {
    let config = Config::parse(Path::new("towline.toml"), CONFIG).unwrap();
    let channels = parse(terms).unwrap();
    let release = |(version, min_from): &(&str, Option<&str>)| {
        let mut record = record(version, &["esp32c3"]);
        record.min_from = min_from.map(|text| text.parse().unwrap());
        record
    };
    let releases: Vec<_> = releases.iter().map(release).collect();
    let stages: Vec<_> = stages.iter().map(|stage| stage.parse().unwrap()).collect();
    let (channel, target) = ("stable".parse().unwrap(), "esp32c3".parse().unwrap());
    let phases =
        phases(&config, &channels, &releases, &channel, &target, &stages, &Patches::default());
    let phases = phases.unwrap().unwrap();
    let record = releases.last().unwrap();
    let board = Board::of("lamp", &channel, &target, record);
    with(&simulate(fleet, &board, &phases), &board, &phases)
}

const TWO: [(&str, Option<&str>); 2] = [("1.0.0", None), ("1.1.0", None)];

fn course(terms: &str, stages: &[&str], fleet: &Fleet) -> Course {
    rolled_out(terms, &TWO, stages, fleet, |course, _, _| course.clone())
}

/// Returns how many devices run the goal at this hour.
fn done_at(course: &Course, hour: u64) -> u32 {
    course.done()[course.times.partition_point(|time| *time <= hour * 3600) - 1]
}

#[test]
fn stages_let_as_many_devices_in_as_they_say() {
    let mut fleet = fleet(&["1.0.0=100%"]);
    fleet.devices = 20_000;
    let course = course("", &["0h=5%", "48h=25%", "120h=100%"], &fleet);
    // Four standard deviations of a draw of 20,000.
    for (hour, percent, deviation) in [(47, 5.0, 130.0), (119, 25.0, 250.0), (168, 100.0, 1.0)] {
        let expected = f64::from(fleet.devices) * percent / 100.0;
        let done = f64::from(done_at(&course, hour));
        assert!((done - expected).abs() < deviation, "{hour} h: {done}, not {expected}");
    }
    assert!(course.done().is_sorted());
}

#[test]
fn every_device_is_counted_once_at_each_time() {
    let terms = "[channels.stable.policy]\nwindow = \"02:00-04:30\"\napproval = true\n";
    let mut fleet = fleet(&["1.0.0=60%", "0.9.0=30%", "2.0.0=10%"]);
    fleet.offline = "7.5".parse().unwrap();
    let course = course(terms, &["0h=50%", "24h=pause", "48h=resume", "72h=100%"], &fleet);
    for tick in 0..course.times.len() {
        let runs: u32 = course.versions.iter().map(|(_, counts)| counts[tick]).sum();
        let waits: u32 = course.waits.iter().map(|(_, counts)| counts[tick]).sum();
        assert_eq!(runs, fleet.devices);
        assert_eq!(waits + course.done()[tick], fleet.devices);
    }
    let waits: Vec<_> = course.waits.iter().map(|(wait, _)| *wait).collect();
    for wait in [
        Wait::Told(Reason::NeedsApproval),
        Wait::Told(Reason::NotInRollout),
        Wait::Told(Reason::Paused),
        Wait::Told(Reason::Downgrade),
        Wait::Unasked,
        Wait::Off,
    ] {
        assert!(waits.contains(&wait), "{wait:?} in {waits:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_course_and_another_another() {
    let mut fleet = fleet(&["1.0.0=100%"]);
    let first = course("", &["0h=50%"], &fleet);
    assert_eq!(first.done(), course("", &["0h=50%"], &fleet).done());
    fleet.seed = 2;
    assert_ne!(first.done(), course("", &["0h=50%"], &fleet).done());
}

#[test]
fn a_pause_stops_a_rollout_at_once() {
    let fleet = fleet(&["1.0.0=100%"]);
    let course = course("", &["0h=100%", "12h=pause", "96h=resume"], &fleet);
    // The last count before and the first after may lie on either side.
    let stopped = done_at(&course, 13);
    assert!((300..700).contains(&stopped), "{stopped}");
    assert_eq!(done_at(&course, 95), stopped);
    assert_eq!(done_at(&course, 168), fleet.devices);
}

#[test]
fn the_rollout_of_the_channel_holds_until_the_first_stage() {
    let terms = "[channels.stable.rollout]\npercent = 10\n";
    let fleet = fleet(&["1.0.0=100%"]);
    let course = course(terms, &["72h=100%"], &fleet);
    assert!((60..140).contains(&done_at(&course, 71)));
    assert_eq!(done_at(&course, 168), fleet.devices);
}

#[test]
fn windows_and_dates_are_kept_by_each_device() {
    // A day that begins after half of the time, and only at night.
    let terms =
        "[channels.stable.policy]\nnot-before = 2026-12-04T12:00:00Z\nwindow = \"22:00-03:59\"\n";
    let mut fleet = fleet(&["1.0.0=100%"]);
    fleet.period = Duration::from_seconds(3600);
    let course = course(terms, &[], &fleet);
    assert_eq!(done_at(&course, 84), 0);
    assert_eq!(done_at(&course, 84 + 26), fleet.devices);
    assert!(course.waits.iter().any(|(wait, _)| *wait == Wait::Told(Reason::OutsideWindow)));
    assert!(course.waits.iter().any(|(wait, _)| *wait == Wait::Told(Reason::NotYet)));
}

#[test]
fn devices_that_ask_once_a_day_meet_a_window_of_one_hour() {
    let terms = "[channels.stable.policy]\nwindow = \"02:00-02:59\"\n";
    let fleet = fleet(&["1.0.0=100%"]);
    // A day until the last of them asks, and one until its window.
    assert_eq!(done_at(&course(terms, &[], &fleet), 48), fleet.devices);
}

#[test]
fn users_who_agree_are_waited_for() {
    let terms = "[channels.stable.policy]\napproval = true\n";
    let mut fleet = fleet(&["1.0.0=100%"]);
    fleet.agree_after = Duration::from_days(36_500);
    assert!(done_at(&course(terms, &[], &fleet), 168) < 10);
    fleet.agree_after = Duration::from_seconds(600);
    assert_eq!(done_at(&course(terms, &[], &fleet), 48), fleet.devices);
}

#[test]
fn devices_that_are_too_old_go_over_a_release_between() {
    let releases = [("1.0.0", None), ("2.0.0", None), ("3.0.0", Some("2.0.0"))];
    let fleet = fleet(&["1.0.0=100%"]);
    rolled_out("", &releases, &[], &fleet, |course, _, _| {
        let versions: Vec<_> = course.versions.iter().map(|(v, _)| v.as_str()).collect();
        assert_eq!(versions, ["3.0.0", "2.0.0", "1.0.0"]);
        assert_eq!(done_at(course, 168), fleet.devices);
    });
    let yanked = "[yanked]\n\"2.0.0\" = \"bad\"\n";
    let releases = [("2.0.0", None), ("3.0.0", Some("2.0.0"))];
    rolled_out(yanked, &releases, &[], &fleet, |course, _, _| {
        assert_eq!(done_at(course, 168), 0);
        assert!(course.waits.iter().any(|(wait, _)| *wait == Wait::Told(Reason::TooOld)));
    });
}

#[test]
fn what_people_see_fits_a_terminal() {
    let fleet = fleet(&["1.0.0=90%", "0.9.0=10%"]);
    let stages = ["0h=5%", "24h=25%", "48h=pause", "60h=resume", "72h=100%"];
    rolled_out("", &TWO, &stages, &fleet, |course, board, phases| {
        let text = format!("{}\n\n{}", headline(course, &fleet, board), chart(course, phases));
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        insta::assert_snapshot!("chart", text);
    });
}

#[test]
fn the_picture_stands_by_itself() {
    let fleet = fleet(&["1.0.0=100%"]);
    rolled_out("", &TWO, &["0h=5%", "24h=100%"], &fleet, |course, board, phases| {
        let picture = svg(course, &fleet, board, phases);
        assert!(picture.contains("<title id=\"title\">Rollout of lamp 1.1.0 to 1000 devices"));
        assert!(picture.contains("Stages: 5 % at the start, 100 % after 1 d."), "{picture}");
        assert!(picture.contains("prefers-color-scheme:dark"));
        assert!(picture.contains("At the end: 1000 run 1.1.0."));
        let outside = picture.replace("http://www.w3.org/2000/svg", "");
        for word in ["http", "url(", "@import", "href"] {
            assert!(!outside.contains(word), "{word}");
        }
        // Every colour that is used has a value on light and on dark ground.
        for class in picture.split("class=\"area ").skip(1) {
            let class = class.split('"').next().unwrap();
            assert_eq!(picture.matches(&format!(".{class}{{fill:")).count(), 2, "{class}");
        }
    });
}
