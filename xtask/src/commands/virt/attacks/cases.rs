//! The cases.

use super::{
    super::signer::{Signer, envelope, signature},
    Case, Expected, Factory, Poll, ROOT, SECOND, STABLE, STRANGER, Stage, Tamper, published, role,
    root, roots, signed,
};
use serde_json::{Value, json};
use towline_descriptor::{
    Key,
    envelope::{DESCRIPTOR_TYPE, ROOT_TYPE},
};

/// The order of the group of Ed25519, the lowest byte first.
const ORDER: [u8; 32] = [
    0xED, 0xD3, 0xF5, 0x5C, 0x1A, 0x63, 0x12, 0x58, 0xD6, 0x9C, 0xF7, 0xA2, 0xDE, 0xF9, 0xDE, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// A case of a single poll.
pub(super) fn one(name: &'static str, descriptor: String, expected: Expected) -> Case {
    Case {
        name,
        factory: Factory::First,
        polls: vec![Poll { descriptor, expected, ..Poll::default() }],
    }
}

/// Signs any bytes as if they were those of a descriptor.
fn wrapped(stage: &Stage, payload: &str) -> String {
    let honest = stage.payload(100);
    envelope(DESCRIPTOR_TYPE, payload.as_bytes(), &[&Signer::new(STABLE)])
        .with("version", honest["version"].clone())
        .with("path", honest["path"].clone())
        .to_string()
}

/// Returns the honest descriptor with one field changed before it is signed.
fn changed(stage: &Stage, field: &str, value: impl Into<Value>) -> String {
    let mut payload = stage.payload(100);
    payload[field] = value.into();
    signed(&payload, &[STABLE])
}

/// Returns all cases.
pub(super) fn all(stage: &Stage) -> Vec<Case> {
    let mut cases = vec![one(
        "none: a descriptor that the channel signed",
        signed(&stage.payload(100), &[STABLE]),
        Expected::Installs,
    )];
    cases.extend(documents(stage));
    cases.extend(order(stage));
    cases.extend(identity(stage));
    cases.extend(signatures(stage));
    cases.extend(roots::all(stage));
    cases.extend(versions(stage));
    cases.extend(images(stage));
    cases
}

/// 13, 14, 19: documents that are none, or say two things.
fn documents(stage: &Stage) -> Vec<Case> {
    use Expected::Refuses;
    let honest = stage.payload(100);
    let text = honest.to_string();
    let open = text.trim_end_matches('}');
    let deep = format!("{open},\"x\":{}1{}}}", "[".repeat(60), "]".repeat(60));
    let mut large = signed(&honest, &[STABLE]);
    large.push_str(&" ".repeat(4097 - large.len()));
    let outer = |field: &str, value: &str| {
        envelope(DESCRIPTOR_TYPE, text.as_bytes(), &[&Signer::new(STABLE)])
            .with("version", honest["version"].clone())
            .with("path", honest["path"].clone())
            .with(field, value)
            .to_string()
    };
    vec![
        one(
            "13 malformed JSON, signed",
            wrapped(stage, &text[..text.len() - 1]),
            Refuses("descriptor refused: not a JSON object"),
        ),
        one(
            "13 deeply nested JSON, signed",
            wrapped(stage, &deep),
            Refuses("descriptor refused: nested deeper"),
        ),
        one(
            "13 a key twice, signed",
            wrapped(stage, &format!("{open},\"seq\":1}}")),
            Refuses("descriptor refused: field `seq` appears twice"),
        ),
        one(
            "13 NUL in a name, signed",
            wrapped(stage, &text.replace("\"virt\"", "\"virt\\u0000\"")),
            Refuses("descriptor refused: not a JSON object"),
        ),
        one("14 a descriptor of 4097 bytes", large, Refuses("descriptor refused: larger than")),
        one(
            "19 another version outside than inside",
            outer("version", "1.0.9"),
            Refuses("descriptor refused: "),
        ),
        one(
            "19 another path outside than inside",
            outer("path", "https://site.towline.test/evil.bin"),
            Refuses("descriptor refused: "),
        ),
        one("20 no signature at all", text, Refuses("not trusted: the descriptor is not signed")),
    ]
}

/// 15 to 17: old descriptors, and numbers that leave no room.
fn order(stage: &Stage) -> Vec<Case> {
    let poll = |descriptor, expected| Poll { descriptor, expected, ..Poll::default() };
    let replayed = "not trusted: the descriptor is older than one that was seen before";
    let mut frozen = stage.payload(100);
    frozen["expires"] = (stage.now - 1).into();
    let renewed = root(2, role(1, &[ROOT]), role(1, &[SECOND]));
    vec![
        Case {
            name: "15 a signed descriptor that is replayed",
            factory: Factory::First,
            polls: vec![
                poll(signed(&stage.current(200), &[STABLE]), Expected::Stays("up to date")),
                poll(signed(&stage.payload(199), &[STABLE]), Expected::Refuses(replayed)),
            ],
        },
        one(
            "16 a signed descriptor that is frozen",
            signed(&frozen, &[STABLE]),
            Expected::Refuses("not trusted: the descriptor has expired"),
        ),
        Case {
            name: "17 the highest number, by a stolen key; then its recovery",
            factory: Factory::First,
            polls: vec![
                poll(signed(&stage.current(u64::MAX), &[STABLE]), Expected::Stays("up to date")),
                poll(signed(&stage.payload(300), &[STABLE]), Expected::Refuses(replayed)),
                Poll {
                    descriptor: signed(&stage.payload(300), &[SECOND]),
                    roots: vec![(2, published(&renewed, &[ROOT]))],
                    ..Poll::default()
                },
            ],
        },
    ]
}

/// 18: descriptors of others, rightly signed.
fn identity(stage: &Stage) -> Vec<Case> {
    let of = |name, field, value: Value, why| {
        one(name, changed(stage, field, value), Expected::Refuses(why))
    };
    let others = "not trusted: the descriptor was signed for others";
    vec![
        of("18 a descriptor of another channel", "channel", json!("testing"), others),
        of("18 a descriptor of another target", "target", json!("desk"), others),
        of("18 a descriptor of another chip", "chip_id", json!(5), others),
        of("18 a descriptor of another project", "project", json!("lamp"), others),
    ]
}

/// 20, 21: signatures that are none, or not enough.
fn signatures(stage: &Stage) -> Vec<Case> {
    let few = Expected::Refuses("not trusted: too few keys of the channel signed");
    let payload = stage.payload(100);
    let text = payload.to_string();
    let with = |signatures: Vec<Value>, payload_type: &str| {
        envelope(payload_type, text.as_bytes(), &[])
            .with("version", payload["version"].clone())
            .with("path", payload["path"].clone())
            .with("signatures", signatures)
            .to_string()
    };
    let (first, second) = (Signer::new(STABLE), Signer::new(SECOND));
    let own = first.sign(DESCRIPTOR_TYPE, text.as_bytes()).0;
    // Two keys have to sign: said by a root that the device goes on to.
    let both = root(2, role(1, &[ROOT]), role(2, &[STABLE, SECOND]));
    let both = vec![(2, published(&both, &[ROOT]))];
    let twice = vec![
        signature(&first.key(), &own),
        signature(&first.key(), &own),
        signature(&second.key(), &own),
    ];
    let mut wrapped = own;
    let mut carry = 0;
    for (byte, add) in wrapped[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        (*byte, carry) = (sum as u8, sum >> 8);
    }
    // The neutral element: with it as R and S = 0, it would sign anything.
    let mut weak = Key([0; 32]);
    weak.0[0] = 1;
    let mut forged = [0; 64];
    forged[0] = 1;
    // A sound one beside it, that the device knows from this root alone.
    let mut careless = root(2, role(1, &[ROOT]), role(1, &[SECOND]));
    careless["roles"]["stable"]["keys"] = json!([weak.to_string(), second.key().to_string()]);
    let careless = vec![(2, published(&careless, &[ROOT]))];
    vec![
        one("20 a key that nobody named", signed(&payload, &[STRANGER]), few.clone()),
        one(
            "20 the key of the channel, under another's name",
            with(vec![signature(&Signer::new(STRANGER).key(), &own)], DESCRIPTOR_TYPE),
            few.clone(),
        ),
        one(
            "20 the type of another document",
            with(
                vec![signature(&first.key(), &first.sign(ROOT_TYPE, text.as_bytes()).0)],
                ROOT_TYPE,
            ),
            Expected::Refuses("descriptor refused: "),
        ),
        Case {
            name: "20 one signature, counted twice",
            factory: Factory::First,
            polls: vec![Poll {
                descriptor: with(twice, DESCRIPTOR_TYPE),
                roots: both.clone(),
                expected: few.clone(),
                ..Poll::default()
            }],
        },
        Case {
            name: "20 none: two signatures of two keys",
            factory: Factory::First,
            polls: vec![Poll {
                descriptor: signed(&payload, &[STABLE, SECOND]),
                roots: both,
                ..Poll::default()
            }],
        },
        one(
            "21 S beyond the order of the group",
            with(vec![signature(&first.key(), &wrapped)], DESCRIPTOR_TYPE),
            few.clone(),
        ),
        Case {
            name: "21 a key of small order",
            factory: Factory::First,
            polls: vec![Poll {
                descriptor: with(vec![signature(&weak, &forged)], DESCRIPTOR_TYPE),
                roots: careless.clone(),
                expected: few,
                ..Poll::default()
            }],
        },
        Case {
            name: "21 none: a sound key beside one of small order",
            factory: Factory::First,
            polls: vec![Poll {
                descriptor: signed(&payload, &[SECOND]),
                roots: careless,
                ..Poll::default()
            }],
        },
    ]
}

/// 24 to 26: versions that look newer.
fn versions(stage: &Stage) -> Vec<Case> {
    let of = |name, version: &str, expected| {
        let mut payload = stage.payload(100);
        payload["version"] = version.into();
        one(name, signed(&payload, &[STABLE]), expected)
    };
    let mut other = stage.current(100);
    other["sha256"] = stage.releases[1]["sha256"].clone();
    other["path"] = stage.releases[1]["path"].clone();
    let stays = Expected::Stays;
    vec![
        of("24 build metadata", "1.0.0+build.7", stays("up to date")),
        of("25 a candidate of what runs", "1.0.0-rc.10", stays("the channel offers an older")),
        of("25 a version with a `v`", "v1.0.0", stays("up to date")),
        of("25 leading zeros", "1.01.0", Expected::Refuses("descriptor refused: ")),
        of(
            "25 a version of 32 bytes",
            "1.1.0-aaaaaaaaaaaaaaaaaaaaaaaaaa",
            Expected::Refuses("descriptor refused: "),
        ),
        of("26 a downgrade", "0.9.0", stays("the channel offers an older version")),
        one(
            "26 the running version with another hash",
            signed(&other, &[STABLE]),
            stays("up to date"),
        ),
    ]
}

/// 30, 35, and who decides.
fn images(stage: &Stage) -> Vec<Case> {
    let honest = || signed(&stage.payload(100), &[STABLE]);
    let secured = |name, descriptor, expected| Case {
        factory: Factory::Secured,
        ..one(name, descriptor, expected)
    };
    vec![
        secured(
            "30 a lower secure version",
            honest(),
            Expected::Stays("the offered image is barred by anti-rollback"),
        ),
        secured(
            "30 a lower secure version, and a descriptor that lies about it",
            changed(stage, "secure_version", 1),
            Expected::Refuses("image refused: "),
        ),
        Case {
            name: "35 bytes that change at the host after they were signed",
            factory: Factory::First,
            polls: vec![Poll {
                descriptor: honest(),
                tamper: Some(Tamper::Host),
                expected: Expected::Refuses("image refused: "),
                ..Poll::default()
            }],
        },
        Case {
            name: "35 bytes that change in flash between verification and boot",
            factory: Factory::First,
            polls: vec![
                Poll { descriptor: honest(), ..Poll::default() },
                Poll {
                    // Nothing else is offered meanwhile.
                    descriptor: signed(&stage.current(101), &[STABLE]),
                    tamper: Some(Tamper::Slot),
                    expected: Expected::BootsOld,
                    ..Poll::default()
                },
            ],
        },
        Case {
            name: "none: a release that waits for its user, who then asks",
            factory: Factory::First,
            polls: {
                let descriptor = changed(stage, "policy", json!({ "approval": true }));
                vec![
                    Poll {
                        descriptor: descriptor.clone(),
                        expected: Expected::Stays("the release waits for a user to agree"),
                        ..Poll::default()
                    },
                    Poll { descriptor, settings: "user=asks\n", ..Poll::default() },
                ]
            },
        },
    ]
}
