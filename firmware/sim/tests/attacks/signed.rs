//! Descriptors of signed channels, whose host, CDN or CI run is in other hands.

use crate::{
    device::{DESCRIPTOR, Device, IMAGE, NEW, NEXT, Offer, TABLE, image, new_image},
    project::{
        EXPIRES, NOW, device, distrust, distrusts, host, offer, offer_of, other_key, remembered,
        root_key, root_with, sound_host, stable_key, trusting,
    },
};
use towline::{
    Guard, OtaError, Outcome, Reason, Reset, TrustError, UpdateError,
    descriptor::{
        DocumentError, MAX_DOCUMENT,
        envelope::{DESCRIPTOR_TYPE, ROOT_TYPE},
        json::JsonError,
    },
};
use towline_sim::{
    Kind,
    sample::with_secure_version,
    signing::{Signer, envelope, root_payload, signed_descriptor},
};

const OUTER: &str = "\"version\":\"1.1.0\",\"path\":\"https://updates.example/app.bin\",";

/// Returns what a device says of a payload that the right key signed.
#[track_caller]
fn fault(payload: &str) -> DocumentError {
    let path = "https://updates.example/app.bin";
    let mut device = device();
    let mut host = host(signed_descriptor(NEW, path, payload, &[&stable_key()]));
    match device.refuses_at_once(&mut host) {
        UpdateError::Descriptor(error) => error,
        error => panic!("not of the descriptor: {error}"),
    }
}

#[test]
fn a_signed_channel_is_followed() {
    let mut device = device();
    device.follows(&mut sound_host(NEW, &new_image(), 1), NEW);
    device.follows(&mut sound_host(NEXT, &image(NEXT, 20_000), 2), NEXT);
    assert_eq!(remembered(&device).0, Some(2));
}

#[test]
fn a13_a_signed_payload_is_read_as_strictly_as_a_plain_one() {
    let sound = offer(1).json();
    assert_eq!(fault("null"), JsonError::Syntax.into());
    assert_eq!(fault(&sound[..sound.len() - 1]), JsonError::Syntax.into());
    assert_eq!(fault(&format!("{sound}\0")), JsonError::Syntax.into());
    assert_eq!(fault(&sound.replace("\"lamp\"", "\"lamp\\u0000\"")), JsonError::Syntax.into());
    assert_eq!(fault(&sound.replacen('{', "{\"seq\":1,", 1)), DocumentError::Duplicate("seq"));
    let deep = offer(1).with("new", format!("{}1{}", "[".repeat(40), "]".repeat(40))).json();
    assert_eq!(fault(&deep), JsonError::TooDeep.into());
    for field in ["project", "target", "chip_id", "channel", "size", "sha256", "seq", "expires"] {
        assert_eq!(fault(&offer(1).without(field).json()), DocumentError::Missing(field));
    }
    for (field, json) in
        [("seq", "-1"), ("seq", "1.0"), ("seq", "18446744073709551616"), ("expires", "\"never\"")]
    {
        let error = fault(&offer(1).with(field, json).json());
        assert_eq!(error, DocumentError::Invalid(field), "{json}");
    }
}

#[test]
fn a13_an_envelope_that_is_none_is_refused() {
    let sound = String::from_utf8(offer(1).signed(&[&stable_key()])).unwrap();
    for (from, to, error) in [
        ("\"payload\":\"", "\"payload\":\"!", DocumentError::Invalid("payload")),
        ("\"signatures\":[", "\"signatures\":[1,", DocumentError::Invalid("signatures")),
        ("\"signatures\"", "\"signature\"", DocumentError::Missing("signatures")),
        ("\"payload\":", "\"payload\":\"\",\"payload\":", DocumentError::Duplicate("payload")),
        (DESCRIPTOR_TYPE, "text/plain", DocumentError::Invalid("payloadType")),
    ] {
        let mut host = host(sound.replacen(from, to, 1).into_bytes());
        assert_eq!(device().refuses_at_once(&mut host), UpdateError::Descriptor(error), "{to}");
    }
}

#[test]
fn a14_an_oversize_signed_descriptor_is_refused() {
    let long = offer(1).with("notes", format!("\"{}\"", "x".repeat(3000)));
    let document = long.signed(&[&stable_key()]);
    assert!(document.len() > MAX_DOCUMENT);
    let error = device().refuses_at_once(&mut host(document));
    assert_eq!(error, UpdateError::Descriptor(DocumentError::TooLarge));
}

#[test]
fn a15_a_replayed_descriptor_is_refused_after_a_restart_too() {
    let mut device = device();
    device.follows(&mut sound_host(NEW, &new_image(), 7), NEW);
    // Newer to look at, and signed before.
    let image = image(NEXT, 20_000);
    for _ in 0..2 {
        let mut host = sound_host(NEXT, &image, 6);
        assert_eq!(distrust(&mut device, &mut host), TrustError::Replayed);
        device.restart();
    }
    device.follows(&mut sound_host(NEXT, &image, 8), NEXT);
}

#[test]
fn a15_what_was_only_offered_counts_as_seen() {
    let mut device = device();
    let paused = offer(9).with("rollout", "{\"paused\":true}").signed(&[&stable_key()]);
    assert!(matches!(device.poll(&mut host(paused)), Ok(Outcome::Stay(Reason::Paused))));
    let error = distrust(&mut device, &mut sound_host(NEW, &new_image(), 8));
    assert_eq!(error, TrustError::Replayed);
}

#[test]
fn a15_a_plain_descriptor_does_not_stand_in_for_a_signed_one() {
    assert_eq!(distrusts(offer(1).json().into_bytes()), TrustError::Unsigned);
    assert_eq!(distrusts(Offer::of(NEW, &new_image()).json().into_bytes()), TrustError::Unsigned);
}

#[test]
fn a16_an_expired_descriptor_is_refused_if_the_time_is_known() {
    let mut device = device();
    device.now = Some(EXPIRES + 1);
    let sound = || sound_host(NEW, &new_image(), 1);
    assert_eq!(distrust(&mut device, &mut sound()), TrustError::Expired);
    assert_eq!(remembered(&device).0, None);
    for now in [Some(EXPIRES), None] {
        let mut device = device.clone();
        device.now = now;
        device.follows(&mut sound(), NEW);
    }
}

#[test]
fn a16_a_host_that_says_not_modified_for_ever_is_found_out_when_the_descriptor_expires() {
    let mut device = trusting(NEW, &root_with(1, &stable_key()));
    let mut host = sound_host(NEW, &new_image(), 1);
    device.poll(&mut host).unwrap();
    let sent = host.sent;
    assert_eq!(device.stays(&mut host), Reason::UpToDate);
    assert_eq!(host.sent, sent, "not asked with the ETag");
    device.now = Some(EXPIRES + 1);
    assert_eq!(distrust(&mut device, &mut host), TrustError::Expired);
}

#[test]
fn a16_a_clock_that_was_set_back_revives_nothing_from_before_the_root() {
    for now in [NOW - 1, NOW - 400 * 24 * 3600, 0] {
        let mut device = device();
        device.now = Some(now);
        let expired = offer(1).with("expires", (NOW - 1).to_string());
        let error = distrust(&mut device, &mut host(expired.signed(&[&stable_key()])));
        assert_eq!(error, TrustError::Expired);
        // Such a clock is none for what is for a certain time.
        let not_after = format!("{{\"not_after\":{}}}", NOW - 1);
        for policy in [&not_after, "{\"window\":{\"start\":0,\"end\":1439}}"] {
            let mut host = host(offer(1).with("policy", policy).signed(&[&stable_key()]));
            let outcome = device.poll(&mut host);
            assert_eq!(outcome, Ok(Outcome::Stay(Reason::ClockUnset)), "{policy}");
        }
        // It keeps nothing else back.
        device.follows(&mut sound_host(NEW, &new_image(), 1), NEW);
    }
}

#[test]
fn a20_a_host_that_leaves_out_one_signature_or_another_wears_no_flash_out() {
    let [a, b, root] = [21, 22, 1].map(Signer::new);
    let one = root_payload("lamp", 1, &[("root", 1, &[&root]), ("stable", 1, &[&a, &b])]);
    let mut device = trusting(NEW, &one);
    device.poll(&mut host(offer(1).signed(&[&a, &b]))).unwrap();
    for by in [&[&b][..], &[&a], &[&b], &[&b, &a]] {
        assert_eq!(device.stays(&mut host(offer(1).signed(by))), Reason::UpToDate);
    }
}

#[test]
fn a17_a_number_that_cannot_be_surpassed_stops_nothing_that_was_not_signed() {
    // Whoever signs it has the key; see `roots` for the way back.
    let stranger = Signer::new(99);
    let document = offer(u64::MAX).signed(&[&stranger]);
    assert_eq!(distrusts(document), TrustError::Signatures);
}

#[test]
fn a18_a_descriptor_that_was_signed_for_others_is_refused() {
    for (field, json, reason) in [
        ("project", "\"fan\"", Reason::OtherProject),
        ("target", "\"wall\"", Reason::OtherTarget),
        ("channel", "\"testing\"", Reason::OtherChannel),
        ("chip_id", "13", Reason::OtherChip),
    ] {
        let document = offer(u64::MAX).with(field, json).signed(&[&stable_key()]);
        assert_eq!(distrusts(document), TrustError::Foreign(reason));
    }
    // As the other channel really signs.
    let document = offer(2).with("channel", "\"testing\"").signed(&[&other_key()]);
    assert_eq!(distrusts(document), TrustError::Signatures);
}

#[test]
fn a19_outer_fields_that_differ_from_the_signed_ones_are_refused() {
    let payload = offer(1).json();
    let path = "https://updates.example/app.bin";
    for (version, path, field) in [
        ("1.1.1", path, "version"),
        ("v1.1.0", path, "version"),
        (NEW, "https://updates.example/other.bin", "path"),
    ] {
        let document = signed_descriptor(version, path, &payload, &[&stable_key()]);
        let error = device().refuses_at_once(&mut host(document));
        assert_eq!(error, UpdateError::Descriptor(DocumentError::Differs(field)));
    }
}

#[test]
fn a20_keys_without_the_role_of_the_channel_are_refused() {
    for signer in [&Signer::new(99), &other_key(), &root_key()] {
        assert_eq!(distrusts(offer(1).signed(&[signer])), TrustError::Signatures);
    }
    // Nor do they become it by what they say of themselves.
    let payload = offer(1).json();
    let id = stable_key().id().to_string();
    for signer in [&Signer::new(99), &other_key(), &root_key()] {
        let (_, signature) = signer.show(DESCRIPTOR_TYPE, payload.as_bytes());
        let shown = [(id.clone(), signature)];
        let document = envelope(OUTER, DESCRIPTOR_TYPE, payload.as_bytes(), &shown);
        assert_eq!(distrusts(document), TrustError::Signatures);
    }
    assert_eq!(distrusts(offer(1).signed(&[])), TrustError::Signatures);
    // Beside a sound signature they do no harm.
    let by = [&Signer::new(99), &stable_key()];
    device().follows(&mut host(offer(1).signed(&by)), NEW);
}

#[test]
fn a20_a_signature_of_another_type_of_payload_is_refused() {
    let payload = offer(1).json();
    let shown = [stable_key().show(ROOT_TYPE, payload.as_bytes())];
    let document = envelope(OUTER, DESCRIPTOR_TYPE, payload.as_bytes(), &shown);
    assert_eq!(distrusts(document), TrustError::Signatures);
    // Nor without the encoding that names the type.
    let bare = [stable_key().show_bare(payload.as_bytes())];
    let document = envelope(OUTER, DESCRIPTOR_TYPE, payload.as_bytes(), &bare);
    assert_eq!(distrusts(document), TrustError::Signatures);
}

#[test]
fn a20_one_signature_does_not_count_twice() {
    let [a, b, root] = [21, 22, 1].map(Signer::new);
    let two = root_payload("lamp", 1, &[("root", 1, &[&root]), ("stable", 2, &[&a, &b])]);
    let payload = offer(1).json();
    let by = |signer: &Signer| signer.show(DESCRIPTOR_TYPE, payload.as_bytes());
    let lie = (b.id().to_string(), by(&a).1);
    for shown in [vec![by(&a)], vec![by(&a), by(&a)], vec![by(&a), lie.clone()], vec![lie; 8]] {
        let document = envelope(OUTER, DESCRIPTOR_TYPE, payload.as_bytes(), &shown);
        let error = distrust(&mut trusting("1.0.0", &two), &mut host(document));
        assert_eq!(error, TrustError::Signatures);
    }
    trusting("1.0.0", &two).follows(&mut host(offer(1).signed(&[&b, &a])), NEW);
}

/// The order of the group, little-endian.
const L: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

#[test]
fn a21_a_second_signature_made_from_the_first_is_refused() {
    let payload = offer(1).json();
    let (id, sound) = stable_key().show(DESCRIPTOR_TYPE, payload.as_bytes());
    let mut signature = sound.clone();
    for _ in 0..7 {
        // S + L, S + 2 L, ...
        let mut carry = 0;
        for (byte, more) in signature[32..].iter_mut().zip(L) {
            let sum = u16::from(*byte) + u16::from(more) + carry;
            (*byte, carry) = (sum as u8, sum >> 8);
        }
        let shown = [(id.clone(), signature.clone())];
        let document = envelope(OUTER, DESCRIPTOR_TYPE, payload.as_bytes(), &shown);
        assert_eq!(distrusts(document), TrustError::Signatures);
    }
    let document = envelope(
        OUTER,
        DESCRIPTOR_TYPE,
        payload.as_bytes(),
        &[(id, signature), { stable_key().show(DESCRIPTOR_TYPE, payload.as_bytes()) }],
    );
    device().follows(&mut host(document), NEW);
}

#[test]
fn a21_keys_of_small_order_sign_nothing() {
    // The neutral point, those of order 2, 4 and 8, and other encodings.
    for key in [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "0100000000000000000000000000000000000000000000000000000000000080",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ] {
        let root = root_with(1, &stable_key()).replace(&stable_key().key().to_string(), key);
        let id = key.parse::<towline::descriptor::Key>().unwrap().id().to_string();
        let payload = offer(1).json();
        // R is the key or the neutral point, and S is 0.
        let point: Vec<u8> = (0..64)
            .step_by(2)
            .map(|at| u8::from_str_radix(&key[at..at + 2], 16).unwrap())
            .collect();
        let neutral = [&[1][..], &[0; 31]].concat();
        for r in [point, neutral] {
            let shown = [(id.clone(), [&r[..], &[0; 32]].concat())];
            let document = envelope(OUTER, DESCRIPTOR_TYPE, payload.as_bytes(), &shown);
            let error = distrust(&mut trusting("1.0.0", &root), &mut host(document));
            assert_eq!(error, TrustError::Signatures, "{key}");
        }
    }
}

/// Returns why a device that runs `running` stays although it is offered this.
#[track_caller]
fn reason(running: &str, offer: &Offer) -> Reason {
    let mut device = trusting(running, &root_with(1, &stable_key()));
    let mut host = host(offer.signed(&[&stable_key()]));
    // The number is remembered; nothing else happens.
    match device.poll(&mut host) {
        Ok(Outcome::Stay(reason)) => {
            assert_eq!(host.asked, [DESCRIPTOR]);
            device.assert_unharmed();
            reason
        }
        outcome => panic!("not staying: {outcome:?}"),
    }
}

#[test]
fn a24_build_metadata_is_no_higher_version_if_it_is_signed() {
    for (running, offered) in [("1.1.0", "1.1.0+2"), ("1.1.0+9", "1.1.0"), ("v1.1.0", "1.1.0+z")] {
        let offer = offer_of(offered, &new_image(), u64::MAX);
        assert_eq!(reason(running, &offer), Reason::UpToDate, "{running} -> {offered}");
    }
}

#[test]
fn a25_signed_versions_have_one_order_too() {
    let mut device = trusting("1.0.9", &root_with(1, &stable_key()));
    let chain = ["1.1.0-rc.2", "1.1.0-rc.10", "v1.1.0"];
    for (seq, version) in (1..).zip(chain) {
        device.follows(&mut sound_host(version, &image(version, 10_000), seq), version);
    }
    assert_eq!(reason("1.1.0", &offer_of("1.1.0-rc.10", &new_image(), 9)), Reason::Downgrade);
    let offer = offer(9).with("version", "\"01.1.0\"");
    let error = trusting("1.0.9", &root_with(1, &stable_key()))
        .refuses_at_once(&mut host(offer.signed(&[&stable_key()])));
    assert_eq!(error, UpdateError::Descriptor(DocumentError::Invalid("version")));
}

#[test]
fn a26_a_signed_downgrade_is_refused() {
    for policy in ["{}", "{\"downgrade\":true}"] {
        let offer = offer(u64::MAX).with("policy", policy);
        assert_eq!(reason("1.1.1", &offer), Reason::Downgrade);
        assert_eq!(reason(NEW, &offer), Reason::UpToDate);
    }
}

#[test]
fn a26_a_device_goes_down_only_when_it_comes_from_another_channel_that_was_signed_to_allow_it() {
    let on = |channel: &'static str, version: &str, seq, policy, signer: &Signer| {
        let image = image(version, 10_000);
        let offer = offer_of(version, &image, seq)
            .with("channel", format!("\"{channel}\""))
            .with("policy", policy);
        crate::device::origin(offer.signed(&[signer]), &image)
    };
    let testing = |version, seq| on("testing", version, seq, "{}", &other_key());
    let stable = |version, seq, policy| on("stable", version, seq, policy, &stable_key());
    let allowed = "{\"downgrade\":true}";
    let mut device = device();
    device.identity.channel = Some("testing");
    device.follows(&mut testing("1.3.0-rc.1", 1), "1.3.0-rc.1");
    device.identity.channel = Some("stable");
    let outcome = device.poll(&mut stable("1.2.0", 1, "{}"));
    assert!(matches!(outcome, Ok(Outcome::Stay(Reason::Downgrade))), "{outcome:?}");
    // It waits for as long as it takes.
    device.restart();
    device.goes_down(&mut stable("1.2.0", 2, allowed), "1.2.0");
    // It has arrived, and goes down no more.
    let outcome = device.poll(&mut stable("1.1.0", 3, allowed));
    assert!(matches!(outcome, Ok(Outcome::Stay(Reason::Downgrade))), "{outcome:?}");
    // An old descriptor of a channel that it left is still an old one.
    device.identity.channel = Some("testing");
    assert_eq!(distrust(&mut device, &mut testing("1.4.0", 0)), TrustError::Replayed);
    // A host without signatures allows nothing.
    let mut plain = device.clone();
    plain.trust = None;
    let image = image("1.1.0", 10_000);
    let offer = Offer::of("1.1.0", &image).with("channel", "\"testing\"").with("policy", allowed);
    assert_eq!(plain.stays(&mut offer.origin(&image)), Reason::Downgrade);
}

#[test]
fn a30_a_lower_secure_version_is_refused_although_it_is_signed() {
    let mut device = Device::with(TABLE, &with_secure_version(image("1.0.0", 9_000), 3));
    device.trust = super::project::device().trust;
    device.now = Some(NOW);
    let lower = with_secure_version(new_image(), 2);
    let serve = |offer: Offer| crate::device::origin(offer.signed(&[&stable_key()]), &lower);
    let honest = offer_of(NEW, &lower, 1).with("secure_version", "2");
    let outcome = device.poll(&mut serve(honest));
    assert!(matches!(outcome, Ok(Outcome::Stay(Reason::SecureVersion))), "{outcome:?}");
    let lie = offer_of(NEW, &lower, 2).with("secure_version", "3");
    let error = device.refuses(&mut serve(lie));
    assert!(matches!(error, UpdateError::Ota(OtaError::SecureVersion)), "{error}");
}

#[test]
fn a35_bytes_that_are_swapped_after_the_check_do_not_boot_although_they_were_signed() {
    for kind in [Kind::Stock, Kind::Rollback] {
        let mut device = device();
        device.kind = kind;
        device.poll(&mut sound_host(NEW, &new_image(), 1)).unwrap();
        device.flash.bytes_mut()[TABLE.offset(1) as usize + 5_000] ^= 1;
        let (version, guard) = device.start(Reset::Other);
        assert_eq!(version, "1.0.0");
        assert!(matches!(guard, Guard::DidNotBoot { .. }), "{kind:?}: {guard}");
        device.follows(&mut sound_host(NEXT, &image(NEXT, 20_000), 2), NEXT);
    }
}

#[test]
fn a35_other_bytes_than_the_signed_ones_are_refused() {
    let mut origin = sound_host(NEW, &new_image(), 1);
    let mut other = new_image();
    other[70_000] ^= 1;
    origin.serve(IMAGE, towline_sim::sample::seal(other));
    let error = device().refuses(&mut origin);
    assert!(matches!(error, UpdateError::Ota(OtaError::Digest)), "{error}");
}

#[test]
fn a_release_that_failed_is_refused_after_its_slot_was_overwritten() {
    let mut device = device();
    let mut host = sound_host(NEW, &new_image(), 1);
    device.poll(&mut host).unwrap();
    assert_eq!(device.start(Reset::Other), (NEW.into(), Guard::Trial));
    assert_eq!(device.start(Reset::Other).0, "1.0.0");
    assert!(matches!(device.poll(&mut host), Ok(Outcome::Stay(Reason::RolledBack))));
    // An upload that was broken off, and a boot selection that forgot.
    device.flash.bytes_mut()[TABLE.offset(1) as usize..][..0x20000].fill(0xFF);
    device.restart();
    assert_eq!(device.stays(&mut host), Reason::RolledBack);
    // Once another release was accepted, it may be tried again: by another
    // channel that goes down to it.
    device.follows(&mut sound_host(NEXT, &image(NEXT, 20_000), 2), NEXT);
    device.identity.channel = Some("testing");
    let again = offer(1)
        .with("channel", "\"testing\"")
        .with("policy", "{\"downgrade\":true}")
        .signed(&[&other_key()]);
    device.goes_down(&mut super::project::host(again), NEW);
}

#[test]
fn a_refused_descriptor_shows_that_the_channel_was_reached_only_if_its_keys_signed_it() {
    let of = |seq, field, json: &str, signer: &Signer| {
        let mut host = host(offer(seq).with(field, json).signed(&[signer]));
        let mut device = device();
        let _ = device.poll(&mut sound_host("1.0.0", &image("1.0.0", 9_000), 10));
        device.refuses(&mut host).is_from_channel()
    };
    let past = (NOW - 1).to_string();
    assert!(of(10, "expires", &past, &stable_key()));
    assert!(of(9, "secure_version", "0", &stable_key()));
    assert!(!of(10, "expires", &past, &other_key()));
    assert!(!of(9, "secure_version", "0", &Signer::new(99)));
    assert!(!of(10, "target", "\"other\"", &stable_key()));
}
