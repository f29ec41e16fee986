//! Releases that are held back, and what they bring for the application.

use crate::{
    device::{DESCRIPTOR, IMAGE, NEW, NEXT, image},
    project::{NOW, device, host, offer, offer_of, stable_key},
};
use sha2::{Digest, Sha256};
use towline::{
    Decision, Outcome, Reason, UpdateError,
    http::HttpError,
    schedule::{self, DEFAULT_PERIOD, Jitter},
};
use towline_sim::{Counted, Origin, signing::Signer};

#[test]
fn what_depends_on_time_or_a_user_is_asked_for_anew_each_time() {
    for (policy, reason) in [
        ("{\"approval\":true}", Reason::NeedsApproval),
        ("{\"not_before\":1900000000}", Reason::NotYet),
        ("{\"not_after\":1700000000}", Reason::Ended),
        ("{\"window\":{\"start\":0,\"end\":1}}", Reason::OutsideWindow),
    ] {
        let mut device = device();
        let mut host = host(offer(1).with("policy", policy).signed(&[&stable_key()]));
        device.poll(&mut host).unwrap();
        let sent = host.sent;
        assert_eq!(device.stays(&mut host), reason);
        assert_eq!(host.sent, 2 * sent, "{reason}");
        device.by_user = true;
        let installs = matches!(device.poll(&mut host), Ok(Outcome::Installed { .. }));
        let is_for_users = matches!(reason, Reason::NeedsApproval | Reason::OutsideWindow);
        assert_eq!(installs, is_for_users, "{reason}");
    }
    // What lasts costs a header.
    let mut device = device();
    let mut host = host(offer(1).with("rollout", "{\"paused\":true}").signed(&[&stable_key()]));
    device.poll(&mut host).unwrap();
    let sent = host.sent;
    assert_eq!(device.stays(&mut host), Reason::Paused);
    assert_eq!(host.sent, sent);
}

#[test]
fn a_device_that_becomes_another_one_is_not_answered_for_the_one_it_was() {
    let mut device = device();
    let groups = offer(1).with("policy", "{\"groups\":[\"beta\"]}").signed(&[&stable_key()]);
    let mut host = host(groups);
    device.poll(&mut host).unwrap();
    assert_eq!(device.stays(&mut host), Reason::NotForThisDevice);
    device.identity.groups = &["beta"];
    assert!(matches!(device.poll(&mut host), Ok(Outcome::Installed { .. })));
}

#[test]
fn a_window_opens_while_the_device_runs() {
    // 08:00 UTC.
    let policy = "{\"window\":{\"start\":485,\"end\":490}}";
    let mut host = host(offer(1).with("policy", policy).signed(&[&stable_key()]));
    let mut device = device();
    assert!(matches!(device.poll(&mut host), Ok(Outcome::Stay(Reason::OutsideWindow))));
    let later = Counted::at(Some(NOW + 6 * 60));
    assert!(matches!(device.poll_by(&mut host, &later), Ok(Outcome::Installed { .. })));
}

#[test]
fn a_device_that_asks_daily_installs_in_the_window_whenever_it_was_started() {
    let day = DEFAULT_PERIOD.as_secs();
    // From two to three o'clock.
    let policy = "{\"window\":{\"start\":120,\"end\":179}}";
    let descriptor = offer(1).with("policy", policy).signed(&[&stable_key()]);
    for start in (NOW..NOW + day).step_by(5 * 3600) {
        for utc_offset in [-480, 0, 330] {
            let mut host = host(descriptor.clone());
            let mut device = device();
            device.identity.utc_offset = utc_offset;
            let mut jitter = Jitter::new(start as u32 ^ utc_offset as u32);
            let mut now = start;
            loop {
                let check = device.checks(&mut host, &Counted::at(Some(now))).unwrap();
                let Decision::Stay(reason) = check.decision else { break };
                assert_eq!(reason, Reason::OutsideWindow);
                let (times, random) = (check.times, jitter.draw());
                let wait = schedule::after_stay(
                    reason,
                    &times,
                    Some(now),
                    utc_offset,
                    DEFAULT_PERIOD,
                    random,
                );
                now += wait.as_secs();
                assert!(now < start + 2 * day, "not installed from {start}, {utc_offset}");
            }
            let outcome = device.poll_by(&mut host, &Counted::at(Some(now)));
            assert!(matches!(outcome, Ok(Outcome::Installed { .. })), "{outcome:?}");
        }
    }
}

#[test]
fn a_device_that_is_too_old_goes_by_way_of_an_earlier_release() {
    let (step, last) = (image(NEW, 20_000), image(NEXT, 30_000));
    let hash: String = Sha256::digest(&step).iter().map(|b| format!("{b:02x}")).collect();
    let steps = format!(
        "[{{\"version\":\"{NEW}\",\"path\":\"https://updates.example/step.bin\",\"size\":{},\
         \"sha256\":\"{hash}\"}}]",
        step.len()
    );
    let offer =
        offer_of(NEXT, &last, 1).with("min_from", format!("\"{NEW}\"")).with("steps", steps);
    let mut host = Origin::default();
    host.serve(DESCRIPTOR, offer.signed(&[&stable_key()]));
    host.serve(IMAGE, last);
    host.serve("/step.bin", step);
    let mut device = device();
    device.goes_to(&mut host, NEW);
    device.follows(&mut host, NEXT);
    assert_eq!(host.asked.iter().filter(|path| *path == "/step.bin").count(), 1);
}

#[test]
fn the_application_gets_notes_and_metadata_whatever_is_decided() {
    let texts = |policy: &str| {
        let offer = offer(1).with("policy", policy).with("notes", "\"Brighter.\\nFaster.\"");
        let mut host = host(offer.signed(&[&stable_key()]));
        device().reads(&mut host)
    };
    let notes = Some("Brighter.\nFaster.".to_owned());
    let metadata = "{\"kiosk\":{\"text\":\"\\u00e4 \\\"b\\\"\"}}";
    for approval in ["true", "false"] {
        let policy = format!("{{\"metadata\":{metadata},\"approval\":{approval}}}");
        assert_eq!(texts(&policy), (Some(metadata.to_owned()), notes.clone()));
    }
    assert_eq!(texts("{}"), (None, notes));
    // After the image was fetched, too, and not after an error.
    let mut device = device();
    let offer = offer(1).with("policy", format!("{{\"metadata\":{metadata}}}"));
    let mut host = host(offer.signed(&[&stable_key()]));
    device.follows(&mut host, NEW);
    let sent = host.sent;
    assert_eq!(device.reads(&mut host).0.as_deref(), Some(metadata));
    assert_eq!(host.sent, sent, "not asked with the ETag");
}

#[test]
fn a01_what_came_of_a_broken_descriptor_is_never_read_as_the_one_before() {
    let sound = "{\"text\":\"from the project\"}";
    let with = |seq, text: &str| {
        let policy = format!("{{\"metadata\":{text}}}");
        offer(seq).with("rollout", "{\"percent\":0}").with("policy", policy)
    };
    let mut good = host(with(1, sound).signed(&[&stable_key()]));
    let mut device = device();
    assert_eq!(device.reads(&mut good).0.as_deref(), Some(sound));
    // As long, unsigned, and cut off before its end.
    let forged = with(1, &sound.replace("project", "evilone")).signed(&[&Signer::new(99)]);
    let mut bad = host(forged.clone());
    for most in [forged.len() - 1, forged.len() / 2] {
        bad.loses_after = Some(most);
        let error = device.refuses(&mut bad);
        assert_eq!(error, UpdateError::DescriptorFetch(HttpError::Truncated));
        let sent = good.sent;
        assert_eq!(device.reads(&mut good).0.as_deref(), Some(sound));
        assert!(good.sent > sent, "the descriptor was not fetched anew");
    }
}
