use super::*;
use crate::keys::{
    PublicKey,
    chain::Signed,
    root::{Change, Root},
};
use crate::source::DAY;
use towline::ed25519;
use towline_descriptor::{Chip, Sha256};

const VALID: u64 = 30 * DAY;

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32])
}

fn public(seed: u8) -> PublicKey {
    key(seed).public()
}

/// Roots by key 1; `*` is signed by the first key, `changes` by what follows.
fn chain(changes: &[Change]) -> Chain {
    let role = |seeds: &[u8]| Role {
        threshold: 1,
        keys: seeds.iter().map(|seed| public(*seed)).collect(),
    };
    let roles = [("root".to_owned(), role(&[1])), ("*".to_owned(), role(&[2]))];
    let mut roots = vec![Root::first("lamp".parse().unwrap(), 100, roles.into())];
    for change in changes {
        let next = roots.last().unwrap().next(std::slice::from_ref(change), 200).unwrap();
        roots.push(next);
    }
    let texts: Vec<_> = roots
        .into_iter()
        .map(|root| {
            let mut signed = Signed::new(root).unwrap();
            signed.sign(&key(1));
            (String::new(), signed.to_file())
        })
        .collect();
    Chain::verify(&texts, &"lamp".parse().unwrap()).unwrap()
}

fn replaced(new: u8) -> Change {
    Change::Replace { role: "*".into(), old: public(2).id(), new: public(new) }
}

fn signer(chain: Chain, seeds: &[u8], standing: &[u8], now: u64) -> Signer {
    let keys = seeds.iter().map(|seed| key(*seed)).collect();
    Signer::new(chain, keys, Standing::of(&[(PATH, standing)]), now, VALID, false).unwrap()
}

const PATH: &str = "ota/stable/esp32c3.json";

fn descriptor<'a>() -> Descriptor<'a> {
    Descriptor {
        version: "1.0.0".parse().unwrap(),
        path: "https://example.org/a.bin",
        fmt: Some(1),
        project: Some("lamp"),
        target: Some("esp32c3"),
        channel: Some("stable"),
        chip: Some("esp32c3"),
        chip_id: Some(Chip::Esp32c3.id()),
        size: Some(1000),
        sha256: Some(Sha256([0xAB; 32])),
        secure_version: Some(0),
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

fn seal(signer: &Signer, descriptor: &Descriptor<'_>) -> Result<Vec<u8>, SigningError> {
    signer.seal(PATH, &"stable".parse().unwrap(), descriptor).map(|offered| offered.text)
}

/// Returns seq and expiry of a sealed descriptor that key `seed` signed.
fn opened(text: &[u8], seed: u8) -> (u64, u64) {
    let mut document = text.to_vec();
    let Document::Signed(signed) = Document::parse(&mut document).unwrap() else {
        panic!("it is not signed")
    };
    let role = Role { threshold: 1, keys: vec![public(seed)] };
    assert!(signed.envelope().signed_by(&role.to_wire(), ed25519).is_some(), "by another key");
    let descriptor = signed.read().unwrap();
    assert_eq!(descriptor.issued.map(|issued| issued + VALID), descriptor.expires);
    (descriptor.seq.unwrap(), descriptor.expires.unwrap())
}

#[test]
fn what_stands_is_kept_until_half_of_its_life_is_over() {
    let first = seal(&signer(chain(&[]), &[2], b"", 1000), &descriptor()).unwrap();
    assert_eq!(opened(&first, 2), (1000, 1000 + VALID));
    for (now, kept) in [(1000, true), (1000 + VALID / 2, true), (1001 + VALID / 2, false)] {
        let again = seal(&signer(chain(&[]), &[2], &first, now), &descriptor()).unwrap();
        assert_eq!(again == first, kept, "at {now}");
        assert_eq!(opened(&again, 2).0, if kept { 1000 } else { now });
    }
    // No key is needed for what is kept.
    assert_eq!(seal(&signer(chain(&[]), &[], &first, 2000), &descriptor()).unwrap(), first);
    let error = seal(&signer(chain(&[]), &[], &first, 1000 + VALID), &descriptor()).unwrap_err();
    assert!(matches!(error, SigningError::NoKey { threshold: 1, at_hand: 0, .. }), "{error}");
    let refresh = Signer { refresh: true, ..signer(chain(&[]), &[2], &first, 1000) };
    assert_eq!(opened(&seal(&refresh, &descriptor()).unwrap(), 2).0, 1001);
    let shorter = Signer { valid: DAY, ..signer(chain(&[]), &[2], &first, 1000) };
    assert_ne!(seal(&shorter, &descriptor()).unwrap(), first);
}

#[test]
fn seq_only_grows_and_never_repeats_with_other_content() {
    let mut text = Vec::new();
    let mut before = 999;
    // A clock that stands still.
    for version in ["1.0.0", "1.1.0", "1.2.0"] {
        let other = Descriptor { version: version.parse().unwrap(), ..descriptor() };
        text = seal(&signer(chain(&[]), &[2], &text, 1000), &other).unwrap();
        let (seq, _) = opened(&text, 2);
        assert!(seq > before, "{seq}");
        before = seq;
    }
    // Nor one that is a little slow.
    let sealed = seal(&signer(chain(&[]), &[2], &text, 998), &descriptor()).unwrap();
    assert_eq!(opened(&sealed, 2), (before + 1, 1000 + VALID));
    let error = seal(&signer(chain(&[]), &[2], &text, 399), &descriptor()).unwrap_err();
    assert!(matches!(error, SigningError::Behind { issued: 1000, now: 399, .. }), "{error}");
}

#[test]
fn a_rotated_key_signs_anew_and_above_what_the_old_one_signed() {
    let old = seal(&signer(chain(&[]), &[2], b"", 1000), &descriptor()).unwrap();
    // The old key is lost: only the new one is at hand.
    let rotated = chain(&[replaced(3)]);
    let new = seal(&signer(rotated.clone(), &[3], &old, 1000), &descriptor()).unwrap();
    assert_eq!(opened(&new, 3).0, 1001);
    // The old key alone signs nothing any more.
    let error = seal(&signer(rotated, &[2], &old, 1000), &descriptor()).unwrap_err();
    assert!(matches!(error, SigningError::NoKey { at_hand: 0, .. }), "{error}");
}

#[test]
fn a17_a_descriptor_by_a_stranger_does_not_wear_out_the_numbers() {
    let mut forged = chain(&[]);
    let far = Descriptor {
        seq: Some(u64::MAX),
        issued: Some(1),
        expires: Some(u64::MAX),
        ..descriptor()
    };
    let role = Role { threshold: 1, keys: vec![public(9)] };
    let stranger = signer(forged.clone(), &[9], b"", 1000);
    let text = stranger.sign(PATH, &role, &far).unwrap();
    let sealed = seal(&signer(forged.clone(), &[2], &text, 1000), &descriptor()).unwrap();
    assert_eq!(opened(&sealed, 2).0, 1000);
    // By a key that counts it stands at its end; nothing wraps around.
    let role = Role { threshold: 1, keys: vec![public(2)] };
    let text = signer(forged.clone(), &[2], b"", 1000).sign(PATH, &role, &far).unwrap();
    let sealed = seal(&signer(forged, &[2], &text, 1000), &descriptor()).unwrap();
    assert_eq!(opened(&sealed, 2).0, u64::MAX);
    // By one that was replaced it is as good as forgotten, as on devices.
    forged = chain(&[replaced(3)]);
    for issued in [1, u64::MAX - VALID] {
        let far = Descriptor { issued: Some(issued), ..far.clone() };
        let text = signer(forged.clone(), &[2], b"", 1000).sign(PATH, &role, &far).unwrap();
        let sealed = seal(&signer(forged.clone(), &[3], &text, 1000), &descriptor()).unwrap();
        assert_eq!(opened(&sealed, 3).0, 1000);
        let again = seal(&signer(forged.clone(), &[3], &sealed, 1001), &descriptor()).unwrap();
        assert_eq!(again, sealed);
    }
}

#[test]
fn a_role_of_several_is_met_by_as_many_as_it_says() {
    let two = chain(&[
        Change::Add { role: "*".into(), key: public(3) },
        Change::Threshold { role: "*".into(), threshold: 2 },
    ]);
    let error = seal(&signer(two.clone(), &[2], b"", 1000), &descriptor()).unwrap_err();
    let SigningError::NoKey { threshold: 2, at_hand: 1, keys, .. } = error else { panic!() };
    assert_eq!(keys.len(), 2);
    let sealed = seal(&signer(two, &[2, 3], b"", 1000), &descriptor()).unwrap();
    assert_eq!(opened(&sealed, 2), opened(&sealed, 3));
}

#[test]
fn what_cannot_be_signed_anew_stays_as_long_as_it_holds() {
    let first = seal(&signer(chain(&[]), &[2], b"", 1000), &descriptor()).unwrap();
    let seal = |signer: &Signer, descriptor: &Descriptor<'_>| {
        signer.seal(PATH, &"stable".parse().unwrap(), descriptor)
    };
    let end = 1000 + VALID;
    let late = signer(chain(&[]), &[], &first, end - 1);
    let offered = seal(&late, &descriptor()).unwrap();
    assert_eq!(offered, Offered { text: first.clone(), overdue: Some(end) });
    // Neither other content nor an explicit wish.
    let other = Descriptor { version: "1.1.0".parse().unwrap(), ..descriptor() };
    assert!(matches!(seal(&late, &other), Err(SigningError::NoKey { .. })));
    let refresh = Signer { refresh: true, ..late };
    assert!(matches!(seal(&refresh, &descriptor()), Err(SigningError::NoKey { .. })));
    // Nor what devices would refuse.
    let rotated = signer(chain(&[replaced(3)]), &[], &first, 1000);
    assert!(matches!(seal(&rotated, &descriptor()), Err(SigningError::NoKey { .. })));
}

#[test]
fn roots_of_the_site_that_stands_are_kept() {
    let files = |chain: &Chain| -> Vec<(String, Vec<u8>)> {
        let links = chain.links().iter();
        links.map(|link| (format!("root/{}.json", link.root.version), link.to_file())).collect()
    };
    let make = |ours: Chain, theirs: &Chain| {
        let files = files(theirs);
        let files: Vec<_> =
            files.iter().map(|(path, text)| (path.as_str(), text.as_slice())).collect();
        Signer::new(ours, Vec::new(), Standing::of(&files), 1000, VALID, false)
    };
    let (one, two, other) = (chain(&[]), chain(&[replaced(3)]), chain(&[replaced(4)]));
    assert!(make(one.clone(), &one).is_ok() && make(two.clone(), &one).is_ok());
    for (ours, theirs) in [(one, &two), (other, &two)] {
        let error = make(ours, theirs).unwrap_err();
        assert!(
            matches!(&error, SigningError::OtherRoot { path, .. } if path == "root/2.json"),
            "{error}"
        );
    }
}
