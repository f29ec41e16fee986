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
    with(&Offer::of(&config, &channels, releases, &channel, &target).unwrap())
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
