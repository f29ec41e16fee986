use super::*;
use crate::{channel::tests::parse, release::tests::record};
use base64::prelude::BASE64_STANDARD;
use std::path::Path;
use towline_descriptor::{Document, SignedDescriptor, Window};

const CONFIG: &str = "project = \"lamp\"\nbase-url = \"https://lamp-makers.github.io/lamp/\"\n[targets.esp32c3]\nbuild.prebuilt = \"a.bin\"\n";

const POLICY: &str = "[channels.stable.rollout]\npercent = 25\n[channels.stable.policy]\nnot-before = 2026-12-01T00:00:00Z\nnot-after = 2027-01-31T23:59:59Z\nwindow = \"02:00-04:30\"\napproval = true\n";

/// Calls `with` with what a channel on these terms offers of these releases.
fn offer<T>(terms: &str, releases: &[Record], with: impl FnOnce(&Offer<'_>) -> T) -> T {
    let config = Config::parse(Path::new("towline.toml"), CONFIG).unwrap();
    let channels = parse(terms).unwrap();
    let (channel, target) = ("stable".parse().unwrap(), "esp32c3".parse().unwrap());
    with(&Offer::of(&config, &channels, releases, &channel, &target, &Patches::default()).unwrap())
}

fn release(version: &str, min_from: Option<&str>, notes: Option<&str>) -> Record {
    let mut record = record(version, &["esp32c3"]);
    record.min_from = min_from.map(|text| text.parse().unwrap());
    record.notes = notes.map(str::to_owned);
    record
}

/// Seals a descriptor by hand; the signatures are of nobody.
fn sealed(descriptor: &Descriptor<'_>, signatures: usize) -> String {
    let issued = 1_795_300_000;
    let stamped = Descriptor {
        seq: Some(issued),
        issued: Some(issued),
        expires: Some(issued + 30 * 86_400),
        ..descriptor.clone()
    };
    let signature = format!("{{\"keyid\":\"{:016x}\",\"sig\":\"{}==\"}}", 7, "A".repeat(86));
    format!(
        "{{\"version\":\"{}\",\"path\":\"{}\",\"payloadType\":\"{DESCRIPTOR_TYPE}\",\"payload\":\"{}\",\"signatures\":[{}]}}\n",
        descriptor.version,
        descriptor.path,
        BASE64_STANDARD.encode(payload(&stamped)),
        vec![signature; signatures].join(",")
    )
}

fn patch(from: u8, path: &str) -> Patch<'_> {
    Patch {
        from_sha256: Sha256([from; 32]),
        alg: "tamp",
        path,
        size: 48_123,
        sha256: Sha256([from + 1; 32]),
    }
}

#[test]
fn a_sealed_descriptor_with_two_patches_and_a_policy_has_at_most_1500_bytes() {
    let releases = [release("1.4.0", Some("1.2.0"), None)];
    offer(POLICY, &releases, |offer| {
        let mut descriptor = offer.make(Form::Sealed { signatures: 1 }).unwrap();
        for (from, path) in [(1, "esp32c3-0123456789ab.patch"), (3, "esp32c3-ba9876543210.patch")] {
            descriptor.patches.push(patch(from, path)).unwrap();
        }
        assert_eq!(descriptor.policy.window, Some(Window { start: 120, end: 270 }));
        assert!(descriptor.min_from.is_some() && descriptor.policy.approval);
        assert_eq!(descriptor.rollout.percent.to_string(), "25");
        let bytes = sealed(&descriptor, 1).len();
        assert!(bytes <= 1500, "{bytes} bytes");
    });
}

#[test]
fn devices_read_in_a_payload_what_was_offered() {
    let releases = [
        release("1.0.0", None, None),
        release("1.3.0", Some("1.0.0"), None),
        release("1.4.0", Some("1.2.0"), Some("\"Brighter\"\n\u{1f680}")),
    ];
    let terms =
        format!("{POLICY}metadata = {{ a = [1, \"sha256\\\":\\\"\"] }}\ngroups = [\"beta\"]\n");
    offer(&terms, &releases, |offer| {
        let mut descriptor = offer.make(Form::Sealed { signatures: 2 }).unwrap();
        descriptor.patches.push(patch(1, "a.patch")).unwrap();
        assert_eq!(descriptor.steps.len(), 2);
        let mut document = sealed(&descriptor, 2).into_bytes();
        let Ok(Document::Signed(signed)) = Document::parse(&mut document) else { panic!() };
        let read = SignedDescriptor::read(signed).unwrap();
        // The id says which chip it is.
        descriptor.chip = None;
        let Descriptor { seq, issued, expires, .. } = read;
        assert!(seq.is_some() && issued.is_some() && expires.is_some());
        assert_eq!(read, Descriptor { seq, issued, expires, ..descriptor });
    });
}

#[test]
fn notes_take_the_room_that_is_left() {
    let notes = "Brighter \u{1f4a1} \"day\"\n".repeat(200);
    let releases = [release("1.4.0", None, Some(&notes))];
    let devices: Vec<_> = (0..32).map(|i| format!("{i:016x}")).collect();
    let full =
        format!("{POLICY}devices = {devices:?}\nmetadata = {{ text = \"{}\" }}\n", "x".repeat(480));
    for (terms, form, cut) in [
        ("", Form::Plain, false),
        ("", Form::Sealed { signatures: 1 }, false),
        (&full, Form::Plain, false),
        (&full, Form::Sealed { signatures: 8 }, true),
    ] {
        offer(terms, &releases, |offer| {
            let descriptor = offer.make(form).unwrap();
            let kept = descriptor.notes.unwrap();
            assert!(notes.starts_with(kept));
            let bytes = match form {
                Form::Plain => plain(&descriptor).len(),
                Form::Sealed { signatures } => sealed(&descriptor, signatures).len(),
            };
            assert!(bytes <= MAX_DOCUMENT, "{bytes}");
            // Whole lines of 20 bytes.
            assert!(kept.ends_with("\"day\""), "{kept}");
            if cut {
                assert!(kept.len() < MAX_NOTES && bytes > MAX_DOCUMENT - 96, "{bytes}");
            } else {
                assert!(kept.len() > MAX_NOTES - 20, "{}", kept.len());
            }
        });
    }
}

#[test]
fn a_channel_that_asks_for_more_than_there_is_room_is_named() {
    let releases = [
        release("1.0.0", None, None),
        release("2.0.0", Some("1.0.0"), None),
        release("3.0.0", Some("2.0.0"), None),
        release("4.0.0", Some("3.0.0"), None),
    ];
    let devices: Vec<_> = (0..32).map(|i| format!("{i:016x}")).collect();
    let groups: Vec<_> = (0..8).map(|i| format!("{i}{}", "g".repeat(30))).collect();
    let terms = format!(
        "{POLICY}devices = {devices:?}\ngroups = {groups:?}\nmetadata = {{ text = \"{}\" }}\n",
        "x".repeat(480)
    );
    offer(&terms, &releases, |offer| {
        let error = offer.make(Form::Sealed { signatures: 8 }).unwrap_err().to_string();
        assert!(
            error.starts_with("the descriptor of channel stable for target esp32c3"),
            "{error}"
        );
        assert!(error.contains("cargo xtask policy stable"), "{error}");
    });
}

/// Calls `with` with what is offered when there are patches from `count` releases.
fn patched<T>(url: &str, notes: &str, count: usize, with: impl FnOnce(&Offer<'_>) -> T) -> T {
    let config = CONFIG.replace("https://lamp-makers.github.io/lamp/", url);
    let config = format!("{config}[patches]\nfrom = {count}\n");
    let config = Config::parse(Path::new("towline.toml"), &config).unwrap();
    let channels = parse("").unwrap();
    let mut releases: Vec<_> =
        (0..=count).map(|minor| release(&format!("1.{minor}.0"), None, Some(notes))).collect();
    for (number, release) in releases.iter_mut().enumerate() {
        release.targets[0].app.sha256 = Sha256([number as u8; 32]);
    }
    let (channel, target) = ("stable".parse().unwrap(), "esp32c3".parse().unwrap());
    let to = releases.last().unwrap();
    let wanted = plan::to_served(&config, &channels, &channel, &target, to, &releases);
    let patches = Patches::with(wanted.iter().map(Wanted::images));
    with(&Offer::of(&config, &channels, &releases, &channel, &target, &patches).unwrap())
}

#[test]
fn as_many_patches_as_are_made_by_default_fit_with_some_notes() {
    let notes = "Brighter by day and by night.\n".repeat(100);
    let from = crate::config::Patches::default().from;
    patched("https://lamp-makers.github.io/lamp/", &notes, from, |offer| {
        let descriptor = offer.make(Form::Sealed { signatures: 1 }).unwrap();
        assert_eq!(descriptor.patches.len(), from + 1);
        assert_eq!(descriptor.patches[0].from_sha256, Sha256::OF_NOTHING);
        // The newest first.
        assert_eq!(descriptor.patches[1].from_sha256, Sha256([from as u8 - 1; 32]));
        assert!(descriptor.notes.unwrap().len() >= LEAST_NOTES);
        let bytes = sealed(&descriptor, 1).len();
        assert!(bytes <= MAX_DOCUMENT && bytes > MAX_DOCUMENT - 128, "{bytes}");
        let mut document = sealed(&descriptor, 1).into_bytes();
        let Ok(Document::Signed(signed)) = Document::parse(&mut document) else { panic!() };
        assert_eq!(SignedDescriptor::read(signed).unwrap().patches, descriptor.patches);
    });
}

#[test]
fn patches_from_the_oldest_releases_are_left_out_first() {
    let url = format!("https://example.org/{}/", "long".repeat(60));
    patched(&url, "Brighter.", 7, |offer| {
        let descriptor = offer.make(Form::Sealed { signatures: 2 }).unwrap();
        let from: Vec<_> = descriptor.patches.iter().map(|p| p.from_sha256).collect();
        let older = (0..7).rev().map(|number| Sha256([number; 32]));
        let all: Vec<_> = [Sha256::OF_NOTHING].into_iter().chain(older).collect();
        assert!(from.len() > 1 && from.len() < all.len() && all.starts_with(&from), "{from:?}");
        assert_eq!(descriptor.notes, Some("Brighter."));
        assert_eq!(offer.patches_in(&descriptor).len(), from.len());
    });
}
