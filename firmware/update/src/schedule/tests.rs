use super::*;
use crate::{
    Decision, OtaError, Running, decide,
    descriptor::{Chip, Descriptor, UrlError},
    http::HttpError,
    image::ImageError,
    pace::Late,
};
use std::{format, vec::Vec};

/// Midnight in UTC.
const MIDNIGHT: u64 = 1_799_971_200;
const HOUR: u64 = 3600;

#[test]
fn backoff_doubles_from_30_to_480_seconds() {
    let longest = [30, 30, 60, 120, 240, 480, 480].map(Duration::from_secs);
    for (failures, longest) in (0..).zip(longest) {
        assert_eq!(backoff(failures, u32::MAX), longest);
        assert_eq!(backoff(failures, 0), longest / 2);
    }
    assert_eq!(backoff(u32::MAX, u32::MAX), Duration::from_secs(480));
}

#[test]
fn polls_are_spread_over_a_fifth_of_the_period() {
    let period = Duration::from_secs(1000);
    assert_eq!(next_poll(period, 0), Duration::from_secs(900));
    assert_eq!(next_poll(period, u32::MAX), Duration::from_secs(1100));
    assert_eq!(first_poll(u32::MAX), FIRST_POLL);
}

#[test]
fn devices_with_different_seeds_do_not_come_in_step() {
    let mut times: Vec<_> = (0..1000).map(|seed| backoff(5, Jitter::new(seed).draw())).collect();
    times.sort();
    let quarters = [times[250], times[500], times[750]].map(|time| time.as_secs());
    assert!((290..310).contains(&quarters[0]), "{quarters:?}");
    assert!((350..370).contains(&quarters[1]), "{quarters:?}");
    assert!((410..430).contains(&quarters[2]), "{quarters:?}");
}

/// A device whose only fault is that it has to wait for its time.
fn running(utc_offset: i16) -> Running<'static> {
    Running {
        project: "lamp",
        version: "1.0.0".parse().ok(),
        chip: Chip::Esp32c3,
        target: None,
        channel: None,
        id: b"1",
        groups: &[],
        now: None,
        utc_offset,
        by_user: false,
        switched: false,
        secure_version: 0,
        slot_size: u32::MAX,
    }
}

/// Returns the seconds from `start` until a device with a daily period installs
/// a release with this policy.
fn installs_after(policy: &str, start: u64, utc_offset: i16, seed: u32) -> u64 {
    let mut text = format!(
        "{{\"version\":\"1.1.0\",\"path\":\"https://a.example/b\",\"size\":1,\
         \"sha256\":\"{}\",\"policy\":{policy}}}",
        "00".repeat(32)
    )
    .into_bytes();
    let offer = Descriptor::parse(&mut text).unwrap();
    let times = Times::of(&offer.policy);
    let mut device = running(utc_offset);
    let mut jitter = Jitter::new(seed);
    let mut now = start + first_poll(jitter.draw()).as_secs();
    for _ in 0..20 {
        device.now = Some(now);
        match decide(&device, &offer) {
            Decision::Install(_) => return now - start,
            Decision::Stay(reason) => {
                let (period, random) = (DEFAULT_PERIOD, jitter.draw());
                let wait = after_stay(reason, &times, Some(now), utc_offset, period, random);
                assert!(wait <= next_poll(period, random), "later than without a window");
                now += wait.as_secs();
            }
        }
    }
    panic!("{policy}: not installed, from {start}, {utc_offset} min ahead of UTC");
}

#[test]
fn a_device_that_asks_daily_installs_in_the_next_window_whenever_it_starts() {
    // One hour, one that crosses midnight, one minute, urgent, all day.
    for (policy, most) in [
        (r#"{"window":{"start":120,"end":179}}"#, 24 * HOUR),
        (r#"{"window":{"start":1410,"end":29}}"#, 24 * HOUR),
        (r#"{"window":{"start":120,"end":120}}"#, 24 * HOUR),
        (r#"{"window":{"start":120,"end":179},"priority":"urgent"}"#, 60),
        (r#"{"window":{"start":120,"end":119}}"#, 60),
        (r#"{"window":{"start":0,"end":1439}}"#, 60),
    ] {
        for half in 0..48 {
            for utc_offset in [-720, -210, 0, 60, 345, 840] {
                let start = MIDNIGHT + half * HOUR / 2 + 17;
                let seed = (half as u32) << 16 | utc_offset as u16 as u32;
                let after = installs_after(policy, start, utc_offset, seed);
                // The second poll may come before the window: then a third.
                assert!(after <= most + 60, "{policy}: {after} s from {half}/2 h, {utc_offset}");
            }
        }
    }
}

#[test]
fn a_release_that_waits_for_a_date_is_installed_soon_after() {
    for hours in [1, 30, 100] {
        let from = MIDNIGHT + hours * HOUR;
        let after = |more: &str| {
            let policy = format!("{{\"not_before\":{from}{more}}}");
            installs_after(&policy, MIDNIGHT, 0, 7) - hours * HOUR
        };
        assert!(after("") < HOUR);
        // The window that is open then counts with what is left of it, and no
        // device comes after the end.
        assert!(after(",\"window\":{\"start\":0,\"end\":1439}") < 24 * HOUR);
        assert!(after(&format!(",\"not_after\":{}", from + 90)) <= 90);
    }
    let closed = format!(r#"{{"not_before":{MIDNIGHT},"window":{{"start":120,"end":179}}}}"#);
    let after = installs_after(&closed, MIDNIGHT - HOUR, 0, 3);
    assert!((3 * HOUR..4 * HOUR).contains(&after), "{after}");
}

#[test]
fn a_fleet_that_waits_for_its_window_comes_all_over_it() {
    let times = Times { window: Some(Window { start: 120, end: 179 }), ..Times::default() };
    let noon = MIDNIGHT - 12 * HOUR;
    let mut waits: Vec<_> = (0..1000)
        .map(|seed| {
            let random = Jitter::new(seed).draw();
            after_stay(Reason::OutsideWindow, &times, Some(noon), 0, DEFAULT_PERIOD, random)
        })
        .map(|wait| wait.as_secs() - 14 * HOUR)
        .collect();
    waits.sort();
    for (place, minutes) in [(0, 0..1), (250, 12..15), (500, 25..29), (750, 39..42), (999, 53..54)]
    {
        assert!(minutes.contains(&(waits[place] / 60)), "{place}: {}", waits[place]);
    }
}

#[test]
fn what_does_not_wait_for_its_time_is_asked_for_as_ever() {
    let times = Times { window: Some(Window { start: 120, end: 179 }), ..Times::default() };
    let wait = |reason, now| after_stay(reason, &times, now, 0, DEFAULT_PERIOD, 9);
    let usual = next_poll(DEFAULT_PERIOD, 9);
    for reason in [
        Reason::UpToDate,
        Reason::NotInRollout,
        Reason::Paused,
        Reason::NeedsApproval,
        Reason::Ended,
        Reason::RolledBack,
    ] {
        assert_eq!(wait(reason, Some(MIDNIGHT)), usual, "{reason}");
    }
    assert_eq!(wait(Reason::OutsideWindow, None), usual);
    // Dates at the end of all time, too.
    let never = Times { not_before: Some(u64::MAX), ..times };
    let period = Duration::from_secs(HOUR);
    for times in [never, Times { window: None, ..never }] {
        let wait = after_stay(Reason::NotYet, &times, Some(MIDNIGHT), 840, period, u32::MAX);
        assert_eq!(wait, next_poll(period, u32::MAX));
    }
}

#[test]
fn what_another_try_does_not_mend_is_tried_once_in_a_period() {
    type Fault = UpdateError<(), ()>;
    let wait = |error: Fault, failures| after_failure(&error, failures, DEFAULT_PERIOD, 5);
    for error in [
        OtaError::Digest,
        OtaError::ReadBack,
        OtaError::Size,
        OtaError::TooLarge,
        OtaError::OtherVersion,
        OtaError::Image(ImageError::NotAnImage),
        OtaError::Flash(()),
    ] {
        assert_eq!(wait(Fault::Ota(error), 1), next_poll(DEFAULT_PERIOD, 5), "{error}");
    }
    for error in [
        Fault::Length,
        Fault::Url(UrlError::NotHttps),
        Fault::Trust(TrustError::Signatures),
        Fault::Trust(TrustError::Replayed),
    ] {
        assert_eq!(wait(error, 1), next_poll(DEFAULT_PERIOD, 5), "{error}");
    }
    for error in [
        Fault::DescriptorFetch(HttpError::Transport(())),
        Fault::DescriptorFetch(HttpError::Status(503)),
        Fault::RootFetch(HttpError::Late(Late::Silent)),
        Fault::Trust(TrustError::MoreRoots),
    ] {
        for failures in [1, 3, 100] {
            assert_eq!(wait(error, failures), backoff(failures, 5), "{error}");
        }
    }
}

#[test]
fn a_host_cannot_have_an_image_written_again_and_again() {
    for error in [HttpError::Truncated, HttpError::Range, HttpError::Transport(())] {
        let error = UpdateError::<(), ()>::ImageFetch(error);
        let (mut time, mut failures) = (Duration::ZERO, 0);
        while time < DEFAULT_PERIOD * 30 {
            failures += 1;
            // The shortest that it may be.
            time += after_failure(&error, failures, DEFAULT_PERIOD, 0);
        }
        assert!(failures < 75, "{failures} downloads in a month");
    }
    // A host that is mended soon is asked soon.
    let missing = UpdateError::<(), ()>::DescriptorFetch(HttpError::Status(404));
    assert_eq!(after_failure(&missing, 3, DEFAULT_PERIOD, 1), backoff(3, 1));
}
