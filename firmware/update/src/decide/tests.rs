use super::*;
use crate::descriptor::{Rollout, policy::Share, policy::Step};
use proptest::prelude::*;

/// Noon of a day, UTC.
const NOON: u64 = 1_800_014_400;
const ID: &[u8] = b"\x84\xf7\x03\0\0\x01";

fn running(version: &str) -> Running<'static> {
    Running {
        project: "lamp",
        version: version.parse().ok(),
        chip: Chip::Esp32c3,
        target: Some("desk"),
        channel: Some("stable"),
        id: ID,
        groups: &["beta", "office"],
        now: Some(NOON),
        utc_offset: 0,
        by_user: false,
        switched: false,
        secure_version: 2,
        slot_size: 1000,
    }
}

fn offer(version: &str) -> Descriptor<'static> {
    Descriptor {
        version: version.parse().unwrap(),
        path: "https://example.org/a.bin",
        fmt: Some(1),
        project: Some("lamp"),
        target: Some("desk"),
        channel: Some("stable"),
        chip: Some("esp32c3"),
        chip_id: Some(5),
        size: Some(1000),
        sha256: Some(Sha256([1; 32])),
        secure_version: Some(2),
        seq: None,
        issued: None,
        expires: None,
        min_from: None,
        steps: Default::default(),
        rollout: Default::default(),
        policy: Default::default(),
        notes: None,
        patches: Default::default(),
    }
}

fn step(version: &str, min_from: Option<&str>) -> Step<'static> {
    Step {
        version: version.parse().unwrap(),
        path: "https://example.org/step.bin",
        size: 900,
        sha256: Sha256([2; 32]),
        secure_version: Some(2),
        min_from: min_from.map(|version| version.parse().unwrap()),
    }
}

fn installs(decision: &Decision) -> bool {
    matches!(decision, Decision::Install(_))
}

/// Returns the version that is installed, or why none is.
fn chosen(running: &Running<'_>, offered: &Descriptor<'_>) -> Result<Version, Reason> {
    match decide(running, offered) {
        Decision::Install(offer) => Ok(offer.version),
        Decision::Stay(reason) => Err(reason),
    }
}

#[test]
fn only_a_higher_version_is_installed() {
    for (own, offered, expected) in [
        ("1.0.0", "1.0.1", None),
        ("1.0.0-rc.2", "1.0.0-rc.10", None),
        ("1.0.0-rc.10", "1.0.0", None),
        ("v1.0.0", "1.0.1", None),
        ("1.0.0", "1.0.0", Some(Reason::UpToDate)),
        ("1.0.0", "v1.0.0+build.7", Some(Reason::UpToDate)),
        ("1.0.1", "1.0.0", Some(Reason::Downgrade)),
        ("1.0.0", "1.0.0-rc.1", Some(Reason::Downgrade)),
    ] {
        let decision = decide(&running(own), &offer(offered));
        match expected {
            None => assert!(installs(&decision), "{own} -> {offered}"),
            Some(reason) => assert_eq!(decision, Decision::Stay(reason), "{own} -> {offered}"),
        }
    }
}

#[test]
fn a_running_version_that_is_not_semver_is_replaced() {
    assert!(installs(&decide(&running("dirty"), &offer("0.0.1"))));
}

#[test]
fn every_refusal_has_its_reason() {
    type Change = fn(&mut Descriptor<'static>);
    let changes: [(Reason, Change); 18] = [
        (Reason::OtherProject, |d| d.project = Some("fan")),
        (Reason::OtherChip, |d| d.chip_id = Some(9)),
        (Reason::OtherChip, |d| (d.chip_id, d.chip) = (None, Some("esp99"))),
        (Reason::OtherTarget, |d| d.target = Some("wall")),
        (Reason::OtherChannel, |d| d.channel = Some("testing")),
        (Reason::UpToDate, |d| d.version = "1.0.0".parse().unwrap()),
        (Reason::Downgrade, |d| d.version = "0.9.0".parse().unwrap()),
        (Reason::SecureVersion, |d| d.secure_version = Some(1)),
        (Reason::TooLarge, |d| d.size = Some(1001)),
        (Reason::Unverifiable, |d| d.sha256 = None),
        (Reason::TooOld, |d| d.min_from = Some("1.0.1-rc.1".parse().unwrap())),
        (Reason::NotForThisDevice, |d| d.policy.groups = ["gamma"].into_iter().collect()),
        (Reason::Paused, |d| d.rollout.paused = true),
        (Reason::NotInRollout, |d| d.rollout.percent = "0".parse().unwrap()),
        (Reason::NotYet, |d| d.policy.not_before = Some(NOON + 1)),
        (Reason::Ended, |d| d.policy.not_after = Some(NOON - 1)),
        (Reason::OutsideWindow, |d| d.policy.window = Some(Window { start: 0, end: 719 })),
        (Reason::NeedsApproval, |d| d.policy.approval = true),
    ];
    for (reason, change) in &changes {
        let mut descriptor = offer("1.0.1");
        assert!(installs(&decide(&running("1.0.0"), &descriptor)));
        change(&mut descriptor);
        assert_eq!(decide(&running("1.0.0"), &descriptor), Decision::Stay(*reason));
    }
}

#[test]
fn a_release_that_depends_on_the_time_waits_for_the_clock() {
    type Change = fn(&mut Policy<'static>);
    let changes: [Change; 3] = [
        |p| p.not_before = Some(0),
        |p| p.not_after = Some(u64::MAX),
        |p| p.window = Some(Window { start: 0, end: 1439 }),
    ];
    for change in changes {
        let mut descriptor = offer("1.0.1");
        change(&mut descriptor.policy);
        let mut device = running("1.0.0");
        assert!(installs(&decide(&device, &descriptor)));
        device.now = None;
        assert_eq!(decide(&device, &descriptor), Decision::Stay(Reason::ClockUnset));
    }
}

#[test]
fn dates_include_their_ends() {
    let mut descriptor = offer("1.0.1");
    descriptor.policy.not_before = Some(NOON);
    descriptor.policy.not_after = Some(NOON);
    assert!(installs(&decide(&running("1.0.0"), &descriptor)));
}

#[test]
fn windows_are_in_local_time_and_may_cross_midnight() {
    let night = Window { start: 23 * 60, end: 4 * 60 + 30 };
    for (utc, utc_offset, inside) in [
        (23 * 60, 0, true),
        (22 * 60 + 59, 0, false),
        (4 * 60 + 30, 0, true),
        (4 * 60 + 31, 0, false),
        // India, at half past 23.
        (18 * 60, 330, true),
        (17 * 60 + 29, 330, false),
        // New York, at 23 of the day before.
        (3 * 60, -240, true),
        (2 * 60 + 59, -240, false),
        (8 * 60 + 31, -240, false),
        // Kiritimati, and the other side of the date line.
        (9 * 60, 840, true),
        (11 * 60, -720, true),
        (10 * 60 + 59, -720, false),
        // An offset that is none must not do harm.
        (23 * 60, i16::MIN, false),
    ] {
        let mut descriptor = offer("1.0.1");
        descriptor.policy.window = Some(night);
        let mut device = running("1.0.0");
        device.now = Some(NOON - 12 * 3600 + utc * 60 + 59);
        device.utc_offset = utc_offset;
        let expected = if inside { Ok(()) } else { Err(Reason::OutsideWindow) };
        assert_eq!(chosen(&device, &descriptor).map(|_| ()), expected, "{utc} {utc_offset}");
    }
}

#[test]
fn what_is_urgent_does_not_wait_for_the_time_of_day_but_for_all_else() {
    let mut descriptor = offer("1.0.1");
    descriptor.policy.window = Some(Window { start: 0, end: 1 });
    descriptor.policy.priority = Priority::Urgent;
    let mut device = running("1.0.0");
    assert!(installs(&decide(&device, &descriptor)));
    device.now = None;
    assert!(installs(&decide(&device, &descriptor)));
    descriptor.policy.approval = true;
    assert_eq!(chosen(&device, &descriptor), Err(Reason::NeedsApproval));
}

#[test]
fn a_user_agrees_and_chooses_the_time_of_day_and_nothing_else() {
    let mut descriptor = offer("1.0.1");
    descriptor.policy.window = Some(Window { start: 0, end: 1 });
    descriptor.policy.approval = true;
    let mut device = running("1.0.0");
    assert_eq!(chosen(&device, &descriptor), Err(Reason::NeedsApproval));
    device.by_user = true;
    assert!(installs(&decide(&device, &descriptor)));
    type Change = fn(&mut Descriptor<'static>);
    let changes: [(Reason, Change); 5] = [
        (Reason::Paused, |d| d.rollout.paused = true),
        (Reason::NotInRollout, |d| d.rollout.percent = "0".parse().unwrap()),
        (Reason::NotYet, |d| d.policy.not_before = Some(NOON + 1)),
        (Reason::Ended, |d| d.policy.not_after = Some(NOON - 1)),
        (Reason::NotForThisDevice, |d| d.policy.groups = ["gamma"].into_iter().collect()),
    ];
    for (reason, change) in changes {
        let mut descriptor = descriptor.clone();
        change(&mut descriptor);
        assert_eq!(chosen(&device, &descriptor), Err(reason));
    }
}

#[test]
fn groups_and_devices_are_members_together() {
    let mut descriptor = offer("1.0.1");
    descriptor.policy.groups = ["gamma", "office"].into_iter().collect();
    let mut device = running("1.0.0");
    assert!(installs(&decide(&device, &descriptor)));
    device.groups = &[];
    assert_eq!(chosen(&device, &descriptor), Err(Reason::NotForThisDevice));
    descriptor.policy.devices = [device_hash("lamp", ID)].into_iter().collect();
    assert!(installs(&decide(&device, &descriptor)));
    device.id = b"another";
    assert_eq!(chosen(&device, &descriptor), Err(Reason::NotForThisDevice));
    // A device without an id is none that is listed.
    device.id = b"";
    descriptor.policy.devices = [device_hash("lamp", b"")].into_iter().collect();
    assert_eq!(chosen(&device, &descriptor), Err(Reason::NotForThisDevice));
}

#[test]
fn a_rollout_reaches_the_places_below_its_share() {
    // The place of this device is 2540 for 1.4.0.
    for (percent, expected) in [("25.4", Err(Reason::NotInRollout)), ("25.41", Ok(()))] {
        let mut descriptor = offer("1.4.0");
        descriptor.rollout.percent = percent.parse().unwrap();
        assert_eq!(chosen(&running("1.0.0"), &descriptor).map(|_| ()), expected, "{percent}");
    }
}

#[test]
fn the_highest_release_that_a_device_may_go_to_is_chosen() {
    let mut descriptor = offer("3.0.0");
    descriptor.min_from = Some("2.5.0".parse().unwrap());
    descriptor.steps =
        [step("1.5.0", None), step("2.5.0", Some("1.5.0")), step("2.6.0", Some("2.0.0"))]
            .into_iter()
            .collect();
    for (own, expected) in [
        ("0.1.0", Ok("1.5.0")),
        ("1.5.0-rc.1", Ok("1.5.0")),
        ("1.5.0", Ok("2.5.0")),
        ("2.0.0", Ok("2.6.0")),
        ("2.5.0", Ok("3.0.0")),
        ("2.7.0", Ok("3.0.0")),
        ("3.0.0", Err(Reason::UpToDate)),
        ("dirty", Ok("1.5.0")),
    ] {
        let expected = expected.map(|version| version.parse().unwrap());
        assert_eq!(chosen(&running(own), &descriptor), expected, "{own}");
    }
    let Decision::Install(offer) = decide(&running("1.0.0"), &descriptor) else { panic!() };
    assert_eq!((offer.size, offer.sha256), (900, Sha256([2; 32])));
    descriptor.steps.remove(0);
    for own in ["0.1.0", "1.4.9", "dirty"] {
        assert_eq!(chosen(&running(own), &descriptor), Err(Reason::TooOld), "{own}");
    }
    // What holds the release back holds back the way to it.
    descriptor.rollout = Rollout { percent: Share::ALL, paused: true };
    assert_eq!(chosen(&running("1.5.0"), &descriptor), Err(Reason::Paused));
}

#[test]
fn a_device_goes_down_only_from_another_channel_and_if_the_policy_says_so() {
    for (switched, downgrade) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut device = running("1.3.0-rc.1");
        device.switched = switched;
        let mut descriptor = offer("1.2.0");
        descriptor.policy.downgrade = downgrade;
        let expected = if switched && downgrade {
            Ok("1.2.0".parse().unwrap())
        } else {
            Err(Reason::Downgrade)
        };
        assert_eq!(chosen(&device, &descriptor), expected, "{switched} {downgrade}");
        // Never to the same version, nor below what anti-rollback allows.
        device.version = "1.2.0".parse().ok();
        assert_eq!(chosen(&device, &descriptor), Err(Reason::UpToDate));
        device.version = "1.3.0".parse().ok();
        descriptor.secure_version = Some(1);
        assert!(chosen(&device, &descriptor).is_err());
    }
}

proptest! {
    #[test]
    fn raising_the_percentage_takes_no_release_away(
        id in proptest::collection::vec(any::<u8>(), 0..20),
        lower in 0..=10_000_u16,
        more in 0..=10_000_u16,
    ) {
        let decides = |hundredths: u16| {
            let mut descriptor = offer("1.4.0");
            descriptor.rollout.percent = Share::from_hundredths(hundredths.min(10_000)).unwrap();
            installs(&decide(&Running { id: &id, ..running("1.0.0") }, &descriptor))
        };
        prop_assert!(!decides(lower) || decides(lower + more));
    }
}
