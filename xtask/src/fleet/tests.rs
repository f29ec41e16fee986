use super::*;
use crate::{
    channel::tests::parse, config::Config, patch::cache::Patches, release::tests::record,
    rollout::phases as render,
};
use std::path::Path;

const CONFIG: &str = "project = \"lamp\"\nbase-url = \"https://octo.github.io/lamp/\"\n[targets.esp32c3]\nbuild.prebuilt = \"a.bin\"\n";

/// 1000 devices that ask every six hours, for a day, of a host without limits.
fn world() -> World {
    World {
        fleet: Fleet {
            devices: 1000,
            period: Duration::from_seconds(6 * 3600),
            span: Duration::from_days(1),
            start: 1_796_083_200,
            runs: vec!["1.0.0=100%".parse().unwrap()],
            offline: "0".parse().unwrap(),
            agree_after: Duration::from_seconds(3600),
            seed: 1,
        },
        most_requests: None,
        bandwidth: None,
        device_rate: 100_000,
        patch_memory: 4096,
        images: Vec::new(),
        host_down: Vec::new(),
        power_cuts: Vec::new(),
        broken: "0".parse().unwrap(),
        bad: "0".parse().unwrap(),
        daily_off: "0".parse().unwrap(),
    }
}

const VERSIONS: [&str; 2] = ["1.0.0", "1.1.0"];

const IMAGES: [Sha256; 2] = [Sha256([1; 32]), Sha256([2; 32])];

/// Bytes of the image.
const SIZE: u32 = 1_000_000;

fn live_on<T>(
    world: &World,
    terms: &str,
    with: impl FnOnce(&Course, &Load, &Board<'_>, &[Phase]) -> T,
) -> T {
    let config = Config::parse(Path::new("towline.toml"), CONFIG).unwrap();
    let channels = parse(terms).unwrap();
    let mut number = 0;
    let releases = VERSIONS.map(|version| {
        let mut record = record(version, &["esp32c3"]);
        for target in record.targets.values_mut() {
            (target.app.size, target.app.sha256) = (SIZE, IMAGES[number]);
        }
        number += 1;
        record
    });
    let (channel, target) = ("stable".parse().unwrap(), "esp32c3".parse().unwrap());
    let patches = Patches::with([(IMAGES[0], IMAGES[1])]);
    let phases = render(&config, &channels, &releases, &channel, &target, &[], &patches);
    let phases = phases.unwrap().unwrap();
    let board = Board::of("lamp", &channel, &target, &releases[1]);
    let (course, load) = simulate(world, &board, &phases, |_| {});
    with(&course, &load, &board, &phases)
}

fn live(world: &World) -> (Course, Load) {
    live_on(world, "", |course, load, _, _| (course.clone(), load.clone()))
}

/// Returns how many images were sent, as whole ones.
fn images(load: &Load) -> f64 {
    load.image_bytes() as f64 / f64::from(SIZE)
}

fn done(course: &Course) -> u32 {
    *course.done().last().unwrap()
}

#[test]
fn without_trouble_each_device_downloads_once_and_all_update_within_a_period() {
    let (course, load) = live(&world());
    assert_eq!((done(&course), load.downloads, load.broken_off), (1000, 1000, 0));
    assert!(course.reached(100).unwrap() <= 6 * 3600 + 600);
    assert!((999.9..1000.1).contains(&images(&load)), "{}", images(&load));
    // Four polls a day, and two more requests of each update.
    let requests = load.all_requests();
    assert!((5_500..6_300).contains(&requests), "{requests}");
}

#[test]
fn one_seed_gives_one_course_and_another_seed_another() {
    let mut troubled = world();
    troubled.broken = "10".parse().unwrap();
    troubled.bandwidth = Some(200_000);
    troubled.daily_off = "30".parse().unwrap();
    let json = |world: &World| {
        let (course, load) = live(world);
        serde_json::to_string(&Report::of(&course, &load, world)).unwrap()
    };
    let first = json(&troubled);
    assert_eq!(json(&troubled), first);
    troubled.fleet.seed = 2;
    assert_ne!(json(&troubled), first);
}

/// What a fleet asks for is spread as by chance, not in bursts: of 100,000 devices
/// at a period of six hours, 10 requests in one of a hundred seconds.
#[test]
fn a_fleet_that_only_polls_asks_evenly() {
    let mut idle = world();
    idle.fleet.devices = 100_000;
    idle.fleet.runs = vec!["1.1.0=100%".parse().unwrap()];
    let (_, load) = live(&idle);
    let mean = load.all_requests() as f64 / load.requests.len() as f64;
    assert!((4.4..4.9).contains(&mean), "{mean}");
    assert!(f64::from(load.percentile(0.99)) <= 3.0 * mean, "{}", load.percentile(0.99));
    assert_eq!(load.image_bytes(), 0);
}

#[test]
fn a_narrow_line_is_shared_and_never_exceeded() {
    let mut narrow = world();
    narrow.bandwidth = Some(25_000);
    let (course, load) = live(&narrow);
    // A day of it is enough for two thousand images; but who is served too slowly
    // gives up after half an hour, and goes on later.
    assert!(done(&course) > 990, "{}", done(&course));
    assert!(load.broken_off == 0 && load.most_at_once > 10);
    for (span, bytes) in course.times.windows(2).zip(load.bytes.iter().skip(1)) {
        assert!(*bytes <= (span[1] - span[0]) * 25_000);
    }
    // Nothing is sent twice.
    assert!(images(&load) < 1001.0);
}

#[test]
fn devices_fetch_a_patch_from_what_they_run_if_they_can() {
    let mut patched = world();
    patched.images =
        VERSIONS.map(|version| version.parse().unwrap()).into_iter().zip(IMAGES).collect();
    let (course, load) = live(&patched);
    // That of the fixture has 40,000 bytes.
    assert_eq!((done(&course), load.saved), (1000, 1000 * u64::from(SIZE - 40_000)));
    assert!((39.9..40.1).contains(&images(&load)), "{}", images(&load));
    patched.patch_memory = 0;
    let (_, load) = live(&patched);
    assert_eq!(load.saved, 0);
    assert!((999.9..1000.1).contains(&images(&load)), "{}", images(&load));
}

#[test]
fn broken_downloads_go_on_where_they_were() {
    let mut lossy = world();
    lossy.broken = "40".parse().unwrap();
    let (course, load) = live(&lossy);
    assert_eq!(done(&course), 1000);
    assert!((500..900).contains(&load.broken_off), "{}", load.broken_off);
    assert!(images(&load) < 1000.1);
}

#[test]
fn a_host_that_refuses_is_asked_again_later_and_nobody_goes_back_for_that() {
    let mut busy = world();
    busy.fleet.devices = 20_000;
    busy.most_requests = Some(3);
    let (course, load) = live(&busy);
    assert!(load.refused > 1000, "{}", load.refused);
    assert_eq!((load.failed_trial, load.failed_self_test), (0, 0));
    assert!(done(&course) > 19_900, "{}", done(&course));
}

#[test]
fn bad_firmware_goes_back_and_is_not_tried_again() {
    let mut bad = world();
    bad.bad = "100".parse().unwrap();
    let (course, load) = live(&bad);
    assert_eq!((done(&course), load.failed_self_test, load.downloads), (0, 1000, 1000));
    let back = course.waits.iter().find(|(wait, _)| wait.label() == "went back from it").unwrap();
    assert_eq!(back.1.last(), Some(&1000));
}

#[test]
fn after_a_blackout_all_come_back_and_what_was_loaded_is_kept() {
    let mut cut = world();
    cut.power_cuts = vec!["1h=30m".parse().unwrap()];
    cut.bandwidth = Some(50_000);
    let (course, load) = live(&cut);
    let dark = |requests: &[u32]| requests.iter().all(|count| *count == 0);
    assert!(dark(&load.requests[3601..5400]));
    let (second, most) = load.busiest();
    assert!((5400..5520).contains(&second) && most > 5, "{most} at {second}");
    assert!(done(&course) > 990 && images(&load) < 1001.0);
}

#[test]
fn a_host_that_is_down_costs_no_device_its_update() {
    let mut down = world();
    down.host_down = vec!["2h=90m".parse().unwrap()];
    let (course, load) = live(&down);
    assert!(load.unanswered > 100);
    let went_back = load.failed_trial;
    assert_eq!(done(&course) + went_back, 1000);
    assert!(went_back < 10, "{went_back}");
}

#[test]
fn devices_that_are_off_do_not_ask() {
    let mut off = world();
    off.fleet.offline = "25".parse().unwrap();
    off.daily_off = "100".parse().unwrap();
    let (course, load) = live(&off);
    assert!((700..800).contains(&done(&course)), "{}", done(&course));
    assert_eq!(load.downloads, u64::from(done(&course)));
}

#[test]
fn the_load_is_told_beside_the_limits_of_the_host() {
    let mut large = world();
    large.most_requests = Some(50);
    live_on(&large, "", |course, load, board, phases| {
        insta::assert_snapshot!(table(course, load, &large, "https://octo.github.io/lamp/"));
        let drawn = svg(course, load, &large, board, phases);
        assert!(drawn.starts_with("<svg") && drawn.ends_with("</svg>\n"));
        assert!(drawn.contains("Requests a second") && drawn.contains("prefers-color-scheme:dark"));
    });
}

#[test]
fn outages_are_read() {
    let outage: Outage = "6h=30m".parse().unwrap();
    assert_eq!((outage.at.seconds(), outage.lasts.seconds()), (21_600, 1800));
    assert_eq!(outage.until(21_600_000), Some(23_400_000));
    assert_eq!((outage.until(21_599_999), outage.until(23_400_000)), (None, None));
    for text in ["", "6h", "6h=", "=30m", "6=30", "6h=-1m"] {
        assert_eq!(text.parse::<Outage>(), Err(InvalidOutage), "{text}");
    }
}
