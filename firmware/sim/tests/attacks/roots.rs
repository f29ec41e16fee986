//! Roots: keys that are replaced, revoked and stolen, and what a device
//! remembers of them.

use crate::{
    device::{DESCRIPTOR, Device, NEW, NEXT, TABLE, image, new_image},
    project::{
        NOW, device, distrust, host, offer, offer_of, other_key, publish_root, remembered,
        root_key, root_with, roots_asked, sound_host, stable_key, trust, trusting,
    },
};
use embassy_futures::block_on;
use towline::{
    Buffers, Identity, LastPoll, Limits, Ota, Outcome, Reason, TrustError, UpdateError, Updater,
    descriptor::{DocumentError, envelope::ROOT_TYPE, root::MAX_ROOT},
    http::HttpError,
    schedule::Jitter,
    trust::MAX_WALK,
};
use towline_sim::{
    Counted, Memory, Origin,
    sample::Table,
    signing::{NamedRole, Signer, envelope, root_payload, signed_descriptor},
};

/// Returns a host whose channel is signed by `stable`, with roots 1 to `last`,
/// of which each names its own key for the channel: 10 + its number.
fn rotated(last: u32, seq: u64) -> Origin {
    let mut host = host(offer(seq).signed(&[&nth_key(last)]));
    for version in 1..=last {
        publish_root(&mut host, version, &nth_root(version), &[&root_key()]);
    }
    host
}

fn nth_key(version: u32) -> Signer {
    Signer::new(10 + version as u8)
}

fn nth_root(version: u32) -> String {
    root_with(version, &nth_key(version))
}

#[test]
fn a_device_that_was_off_for_three_rotations_catches_up() {
    let mut device = device();
    let mut host = rotated(4, 1);
    device.follows(&mut host, NEW);
    assert_eq!(remembered(&device), (Some(1), nth_root(4)));
    // 2, 3, 4 and the one that is not there.
    assert_eq!(roots_asked(&host), 4);
}

#[test]
fn nothing_but_the_descriptor_is_asked_for_while_there_is_nothing_new() {
    let mut device = trusting(NEW, &nth_root(1));
    let mut host = rotated(1, 1);
    device.poll(&mut host).unwrap();
    assert_eq!(device.stays(&mut host), Reason::UpToDate);
    assert_eq!(roots_asked(&host), 0);
}

#[test]
fn firmware_with_a_newer_root_needs_no_walk() {
    let mut device = device();
    device.follows(&mut rotated(2, 5), NEW);
    device.trust = Some(trust(&nth_root(4)));
    let image = image(NEXT, 20_000);
    let mut host = crate::device::origin(offer_of(NEXT, &image, 6).signed(&[&nth_key(4)]), &image);
    device.follows(&mut host, NEXT);
    assert_eq!(roots_asked(&host), 1);
    // Firmware with an older one does not bring it back.
    device.trust = Some(trust(&nth_root(1)));
    assert_eq!(device.stays(&mut host), Reason::UpToDate);
    assert_eq!(remembered(&device).1, nth_root(4));
}

#[test]
fn a_root_that_came_with_firmware_stays_when_that_is_rolled_back() {
    let mut device = device();
    let mut host = rotated(2, 5);
    device.follows(&mut host, NEW);
    // Nothing else is new but the root.
    let newer = root_with(4, &nth_key(2));
    device.trust = Some(trust(&newer));
    device.restart();
    assert!(matches!(device.poll(&mut host), Ok(Outcome::Stay(Reason::UpToDate))));
    assert_eq!(remembered(&device), (Some(5), newer.clone()));
    for embedded in [&newer, &nth_root(1)] {
        device.trust = Some(trust(embedded));
        device.restart();
        assert_eq!(device.stays(&mut host), Reason::UpToDate);
        assert_eq!(remembered(&device).1, newer);
    }
}

#[test]
fn a_walk_is_no_longer_than_8_roots_and_goes_on_in_the_next_poll() {
    let mut device = device();
    let mut host = rotated(12, 1);
    let error = device.refuses(&mut host);
    assert_eq!(error, UpdateError::Trust(TrustError::MoreRoots));
    assert_eq!(roots_asked(&host), MAX_WALK as usize);
    assert_eq!(remembered(&device), (None, nth_root(9)));
    device.restart();
    device.follows(&mut host, NEW);
    assert_eq!(remembered(&device), (Some(1), nth_root(12)));
}

#[test]
fn a_stolen_key_is_of_no_use_once_a_root_revoked_it() {
    // The host has the stolen key, and cannot but serve the root.
    let mut device = device();
    let mut host = host(offer(9).signed(&[&stable_key()]));
    publish_root(&mut host, 2, &root_with(2, &Signer::new(77)), &[&root_key()]);
    let error = device.refuses(&mut host);
    assert_eq!(error, UpdateError::Trust(TrustError::Signatures));
    // The root is remembered, the descriptor is not; hiding the root is late.
    assert_eq!(remembered(&device), (None, root_with(2, &Signer::new(77))));
    host.withdraw("/root/2.json");
    device.restart();
    assert_eq!(distrust(&mut device, &mut host), TrustError::Signatures);
}

#[test]
fn a17_a_number_that_cannot_be_surpassed_is_undone_by_another_key() {
    // A thief signs the highest number, of the version that runs.
    let mut device = trusting(NEW, &nth_root(1));
    let image = image(NEXT, 20_000);
    let highest = offer(u64::MAX).signed(&[&stable_key()]);
    device.poll(&mut host(highest)).unwrap();
    assert_eq!(remembered(&device).0, Some(u64::MAX));
    let sound = |key: &Signer, seq| {
        crate::device::origin(offer_of(NEXT, &image, seq).signed(&[key]), &image)
    };
    let error = distrust(&mut device, &mut sound(&stable_key(), 100));
    assert_eq!(error, TrustError::Replayed);
    // A new root alone does not help, if the key keeps its role.
    let mut same_key = sound(&stable_key(), 100);
    publish_root(&mut same_key, 2, &root_with(2, &stable_key()), &[&root_key()]);
    let error = device.clone().refuses(&mut same_key);
    assert_eq!(error, UpdateError::Trust(TrustError::Replayed));
    // A key that lost its role takes its numbers with it.
    let mut rotated = sound(&nth_key(2), 100);
    publish_root(&mut rotated, 2, &nth_root(2), &[&root_key()]);
    device.follows(&mut rotated, NEXT);
    assert_eq!(remembered(&device), (Some(100), nth_root(2)));
}

#[test]
fn a20_a_root_needs_as_many_of_its_keys_as_it_says() {
    let [a, b, c] = [31, 32, 33].map(Signer::new);
    let stable = stable_key();
    let root = |version| {
        let roles: [NamedRole<'_>; 2] = [("root", 2, &[&a, &b, &c]), ("stable", 1, &[&stable])];
        root_payload("lamp", version, &roles)
    };
    let with = |by: &[&Signer]| {
        let mut host = sound_host(NEW, &new_image(), 1);
        publish_root(&mut host, 2, &root(2), by);
        host
    };
    for by in [&[&a][..], &[&a, &a], &[&stable, &a], &[]] {
        let error = distrust(&mut trusting("1.0.0", &root(1)), &mut with(by));
        assert_eq!(error, TrustError::RootBefore);
    }
    trusting("1.0.0", &root(1)).follows(&mut with(&[&c, &a]), NEW);
}

/// Returns why the second root is refused; the device stays with the first one.
#[track_caller]
fn refused(document: Vec<u8>) -> TrustError {
    let mut device = device();
    let mut host = sound_host(NEW, &new_image(), 1);
    host.serve("/root/2.json", document);
    let error = distrust(&mut device, &mut host);
    device.follows(&mut sound_host(NEW, &new_image(), 1), NEW);
    assert_eq!(remembered(&device).1, root_with(1, &stable_key()));
    error
}

#[test]
fn a22_a_root_that_skips_one_is_refused() {
    let signed = |version| {
        towline_sim::signing::signed_root(&root_with(version, &stable_key()), &[&root_key()])
    };
    for version in [1, 3, 4, u32::MAX] {
        assert_eq!(refused(signed(version)), TrustError::RootVersion, "{version}");
    }
}

#[test]
fn a22_a_root_that_one_side_signed_is_refused() {
    let (old, new, stable) = (root_key(), Signer::new(2), stable_key());
    let payload = root_payload("lamp", 2, &[("root", 1, &[&new]), ("stable", 1, &[&stable])]);
    let by = |signers: &[&Signer]| towline_sim::signing::signed_root(&payload, signers);
    assert_eq!(refused(by(&[&old])), TrustError::RootItself);
    assert_eq!(refused(by(&[&new])), TrustError::RootBefore);
    assert_eq!(refused(by(&[&stable])), TrustError::RootBefore);
    let mut device = device();
    let mut host = sound_host(NEW, &new_image(), 1);
    host.serve("/root/2.json", by(&[&new, &old]));
    device.follows(&mut host, NEW);
    assert_eq!(remembered(&device).1, payload);
}

#[test]
fn a22_a_root_of_another_project_is_refused() {
    let (root, stable) = (root_key(), stable_key());
    let payload = root_payload("fan", 2, &[("root", 1, &[&root]), ("stable", 1, &[&stable])]);
    let document = towline_sim::signing::signed_root(&payload, &[&root]);
    assert_eq!(refused(document), TrustError::RootProject);
}

/// Returns a root as if it had been made then.
fn issued(root: &str, at: u64) -> String {
    let was = format!("\"issued\":{NOW}");
    assert!(root.contains(&was));
    root.replace(&was, &format!("\"issued\":{at}"))
}

#[test]
fn a22_a_root_of_the_past_or_of_the_future_is_refused() {
    let day = 24 * 3600;
    let document =
        |at| towline_sim::signing::signed_root(&issued(&nth_root(2), at), &[&root_key()]);
    assert_eq!(refused(document(NOW - 1)), TrustError::RootIssued);
    assert_eq!(refused(document(NOW + day + 1)), TrustError::RootIssued);
    assert_eq!(refused(document(u64::MAX)), TrustError::RootIssued);
    for (at, now) in [(NOW + day, Some(NOW)), (NOW + 9 * day, None)] {
        let mut device = device();
        device.now = now;
        let mut host = rotated(1, 1);
        host.serve(DESCRIPTOR, offer(1).signed(&[&nth_key(2)]));
        host.serve("/root/2.json", document(at));
        device.follows(&mut host, NEW);
        assert_eq!(remembered(&device).1, issued(&nth_root(2), at));
    }
}

#[test]
fn a22_a_root_that_is_of_no_use_to_the_channel_of_the_device_is_refused() {
    let (root, stable) = (root_key(), stable_key());
    let payload = root_payload("lamp", 2, &[("root", 1, &[&root]), ("stable", 2, &[&stable])]);
    let document = towline_sim::signing::signed_root(&payload, &[&root]);
    assert_eq!(refused(document), TrustError::Root(DocumentError::Invalid("roles")));
}

/// A device follows its channel, and the root that it has.
#[track_caller]
fn follows_without(mut host: Origin) {
    let mut device = device();
    device.follows(&mut host, NEW);
    assert_eq!(remembered(&device).1, root_with(1, &stable_key()));
}

#[test]
fn a22_what_is_no_root_is_none() {
    let instead = |document: &[u8]| {
        let mut host = sound_host(NEW, &new_image(), 1);
        host.serve("/root/2.json", document.to_vec());
        follows_without(host);
    };
    for document in [&b"{}"[..], b"", b"null", &[b' '; 5000]] {
        instead(document);
    }
    // A payload of a root that was signed as something else.
    let payload = nth_root(2);
    let shown = [root_key().show("application/json", payload.as_bytes())];
    instead(&envelope("", "application/json", payload.as_bytes(), &shown));
    // A descriptor.
    instead(&signed_descriptor(NEW, "p", &offer(1).json(), &[&root_key()]));
}

#[test]
fn a_host_with_a_page_for_all_that_it_does_not_have_keeps_no_update_back() {
    let page = "<!doctype html><title>Lamps</title>";
    let len = page.len();
    for answer in [
        format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n{page}"),
        format!("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{page:5000}"),
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n23\r\n{page}\r\n0\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\n\r\n{page}"),
        "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n".into(),
        "HTTP/1.1 302 Found\r\nLocation: https://elsewhere.example/\r\n\r\n".into(),
    ] {
        let mut host = sound_host(NEW, &new_image(), 1);
        host.fallback = Some(answer.into_bytes());
        follows_without(host);
    }
}

#[test]
fn a_descriptor_that_changes_while_roots_are_looked_for_is_judged_anew() {
    // The page takes the place of the descriptor, which is fetched once more.
    let mut host = Swapping(sound_host(NEW, &new_image(), 1));
    host.0.fallback = Some(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx".to_vec());
    let error = device().refuses_at_once(&mut host);
    assert_eq!(error, UpdateError::Trust(TrustError::Signatures));
}

/// A host with another descriptor from the second request on.
struct Swapping(Origin);

impl towline::Connect for Swapping {
    type Connection<'c> = towline_sim::OriginConnection<'c>;
    type Error = std::convert::Infallible;

    async fn connect(
        &mut self,
        host: &str,
        port: u16,
    ) -> Result<Self::Connection<'_>, Self::Error> {
        if self.0.asked.len() == 1 {
            self.0.serve(DESCRIPTOR, offer(2).signed(&[&Signer::new(99)]));
        }
        self.0.connect(host, port).await
    }
}

#[test]
fn a22_a_root_that_is_of_no_use_is_refused() {
    use TrustError::Root;
    for (from, to) in [
        ("\"fmt\":1", "\"fmt\":2"),
        ("\"threshold\":1", "\"threshold\":0"),
        ("\"threshold\":1", "\"threshold\":2"),
    ] {
        let payload = nth_root(2).replacen(from, to, 1);
        let document = towline_sim::signing::signed_root(&payload, &[&root_key()]);
        assert!(matches!(refused(document), Root(_)), "{to}");
    }
    let long = nth_root(2).replacen('{', &format!("{{\"x\":\"{}\",", "x".repeat(MAX_ROOT)), 1);
    let shown = [root_key().show(ROOT_TYPE, long.as_bytes())];
    let document = envelope("", ROOT_TYPE, long.as_bytes(), &shown);
    assert_eq!(refused(document), Root(DocumentError::TooLarge));
}

#[test]
fn a22_good_roots_before_a_bad_one_are_kept() {
    let mut device = device();
    let mut host = rotated(3, 1);
    publish_root(&mut host, 4, &nth_root(4), &[&Signer::new(99)]);
    assert_eq!(device.refuses(&mut host), UpdateError::Trust(TrustError::RootBefore));
    assert_eq!(remembered(&device), (None, nth_root(3)));
}

#[test]
fn a22_a_host_that_fails_to_serve_roots_is_asked_again_later() {
    struct Failing(Origin);
    impl towline::Connect for Failing {
        type Connection<'c> = towline_sim::OriginConnection<'c>;
        type Error = std::convert::Infallible;

        async fn connect(
            &mut self,
            host: &str,
            port: u16,
        ) -> Result<Self::Connection<'_>, Self::Error> {
            // The root is lost on its way.
            self.0.loses_after = (self.0.asked.len() == 1).then_some(100);
            self.0.connect(host, port).await
        }
    }
    let mut device = device();
    let mut host = Failing(rotated(2, 1));
    let error = device.refuses_at_once(&mut host);
    assert_eq!(error, UpdateError::RootFetch(HttpError::Truncated));
    host.0.loses_after = None;
    device.follows(&mut host.0, NEW);
}

#[test]
fn a_channel_without_keys_of_its_own_has_the_common_ones() {
    let mut device = device();
    device.identity.channel = Some("nightly");
    let offer = offer(1).with("channel", "\"nightly\"");
    device.follows(&mut host(offer.signed(&[&other_key()])), NEW);
    // And none without common ones.
    let (root, stable) = (root_key(), stable_key());
    let payload = root_payload("lamp", 1, &[("root", 1, &[&root]), ("stable", 1, &[&stable])]);
    let mut device = trusting("1.0.0", &payload);
    device.identity.channel = Some("nightly");
    let error = distrust(&mut device, &mut host(offer.signed(&[&other_key()])));
    assert_eq!(error, TrustError::NoRole);
    device.identity.channel = None;
    let error = distrust(&mut device, &mut host(offer.signed(&[&other_key()])));
    assert_eq!(error, TrustError::NoChannel);
}

#[test]
fn each_of_four_channels_has_its_own_number() {
    let mut device = trusting(NEW, &nth_root(1));
    let poll = |device: &mut Device, channel: &'static str, seq| {
        device.identity.channel = Some(channel);
        let offer = offer(seq).with("channel", format!("\"{channel}\""));
        device.poll(&mut host(offer.signed(&[&other_key()])))
    };
    let channels = ["a", "b", "c", "d"];
    for (seq, channel) in (10..).zip(channels) {
        assert!(poll(&mut device, channel, seq).is_ok());
    }
    device.restart();
    for (seq, channel) in (10..).zip(channels) {
        let error = poll(&mut device, channel, seq - 1);
        assert_eq!(error, Err(UpdateError::Trust(TrustError::Replayed)), "{channel}");
        assert!(poll(&mut device, channel, seq).is_ok());
    }
}

#[test]
fn a_root_in_the_firmware_that_is_none_trusts_nobody() {
    for root in ["", "{}", "x", &"x".repeat(3000)] {
        let mut device = trusting("1.0.0", root);
        let error = distrust(&mut device, &mut sound_host(NEW, &new_image(), 1));
        assert!(matches!(error, TrustError::Embedded(_)));
    }
}

#[test]
fn keys_that_were_made_anew_count_with_the_firmware_that_carries_them() {
    let mut device = device();
    device.follows(&mut sound_host(NEW, &new_image(), 9), NEW);
    // Another chain from 1, for the same project.
    let (root, stable) = (Signer::new(41), Signer::new(42));
    let roles: [NamedRole<'_>; 2] = [("root", 1, &[&root]), ("stable", 1, &[&stable])];
    device.trust = Some(trust(&root_payload("lamp", 1, &roles)));
    let image = image(NEXT, 20_000);
    let mut host = crate::device::origin(offer_of(NEXT, &image, 3).signed(&[&stable]), &image);
    device.follows(&mut host, NEXT);
}

#[test]
fn keys_that_were_made_anew_count_on_a_device_that_had_gone_on_to_other_roots() {
    // Of its own project, before the key was lost, or of who stole it.
    let mut device = device();
    device.follows(&mut rotated(3, 9), NEW);
    assert_eq!(remembered(&device).1, nth_root(3));
    let (root, stable) = (Signer::new(41), Signer::new(42));
    let roles: [NamedRole<'_>; 2] = [("root", 1, &[&root]), ("stable", 1, &[&stable])];
    let first = issued(&root_payload("lamp", 1, &roles), NOW + 1);
    device.now = Some(NOW + 1);
    device.trust = Some(trust(&first));
    // What the keys of before sign is refused, and the new root kept.
    let error = device.clone().refuses(&mut host(offer(10).signed(&[&nth_key(3)])));
    assert_eq!(error, UpdateError::Trust(TrustError::Signatures));
    let image = image(NEXT, 20_000);
    let mut host = crate::device::origin(offer_of(NEXT, &image, 3).signed(&[&stable]), &image);
    device.follows(&mut host, NEXT);
    assert_eq!(remembered(&device), (Some(3), first.clone()));
    // Firmware of before does not bring the old chain back.
    device.trust = Some(trust(&nth_root(3)));
    device.restart();
    assert_eq!(device.stays(&mut host), Reason::UpToDate);
    assert_eq!(remembered(&device).1, first);
}

#[test]
fn channels_that_are_asked_in_turn_cost_no_write() {
    let mut device = trusting(NEW, &nth_root(1));
    let offers = ["a", "b", "c"].map(|channel| {
        let version = if channel == "a" { NEW } else { "0.9.0" };
        let offer = offer_of(version, &new_image(), 7).with("channel", format!("\"{channel}\""));
        (channel, host(offer.signed(&[&other_key()])))
    });
    for round in 0..3 {
        for (channel, mut host) in offers.clone() {
            device.identity.channel = Some(channel);
            if round == 0 {
                device.poll(&mut host).unwrap();
            } else {
                device.stays(&mut host);
            }
        }
    }
}

/// Without a partition for it, a device remembers as long as it runs.
#[test]
fn a_device_without_a_place_to_remember_remembers_until_it_is_reset() {
    let mut flash = Memory::new(TABLE.flash_size());
    let mut table = TABLE.to_bytes();
    let name = table.windows(7).position(|name| name == b"towline").expect("a name");
    table[name] = b'x';
    flash.burn(0x8000, &table);
    flash.burn(TABLE.offset(0), &image("1.0.0", 9_000));
    let before = flash.bytes()[Table::TRUSTED as usize..][..0x2000].to_vec();
    let mut buffers = Buffers::new();
    let poll = |flash: &mut Memory, buffers: &mut Buffers, host: &mut Origin| {
        let mut updater = Updater {
            ota: &mut Ota::open(flash, TABLE.offset(0)).unwrap(),
            net: host,
            clock: &Counted::default(),
            device: Identity {
                target: Some("desk"),
                channel: Some("stable"),
                ..Identity::default()
            },
            trust: Some(trust(&nth_root(1))),
            by_user: false,
            limits: Limits::DEFAULT,
            jitter: &mut Jitter::new(1),
            last: &mut LastPoll::default(),
            buffers,
        };
        block_on(updater.update("https://updates.example/ota/stable/desk.json", |_| {}))
    };
    let old = || rotated(1, 4);
    let paused = offer(5).with("rollout", "{\"paused\":true}").signed(&[&nth_key(1)]);
    let outcome = poll(&mut flash, &mut buffers, &mut host(paused));
    assert_eq!(outcome, Ok(Outcome::Stay(Reason::Paused)));
    let outcome = poll(&mut flash, &mut buffers, &mut old());
    assert_eq!(outcome, Err(UpdateError::Trust(TrustError::Replayed)));
    // Roots are walked from the one of the firmware, and kept as well.
    let mut newer = rotated(3, 5);
    newer.withdraw("/app.bin");
    assert!(poll(&mut flash, &mut buffers, &mut newer).is_err());
    let outcome = poll(&mut flash, &mut buffers, &mut old());
    assert_eq!(outcome, Err(UpdateError::Trust(TrustError::Signatures)));
    // After a reset it knows what the firmware carries, and no more.
    let outcome = poll(&mut flash, &mut Buffers::new(), &mut old());
    assert!(matches!(outcome, Ok(Outcome::Installed { .. })), "{outcome:?}");
    assert!(flash.bytes()[Table::TRUSTED as usize..][..0x2000] == before[..]);
}
