use super::*;
use crate::keys::root::Change;

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32])
}

fn project() -> ProjectName {
    "lamp".parse().unwrap()
}

fn first(threshold: u8, roots: &[u8]) -> Root {
    let keys = |seeds: &[u8]| seeds.iter().map(|seed| key(*seed).public()).collect();
    let roles = [
        ("root".to_owned(), Role { threshold, keys: keys(roots) }),
        ("*".to_owned(), Role { threshold: 1, keys: keys(&[9]) }),
    ];
    Root::first(project(), 100, roles.into())
}

fn signed(root: Root, by: &[u8]) -> Signed {
    let mut signed = Signed::new(root).unwrap();
    by.iter().for_each(|seed| signed.sign(&key(*seed)));
    signed
}

fn verify_all(links: &[&Signed]) -> Result<Chain, ChainError> {
    let texts: Vec<_> = links.iter().map(|link| (String::new(), link.to_file())).collect();
    Chain::verify(&texts, &project())
}

fn replaced(root: &Root, old: u8, new: u8) -> Root {
    let (old, new) = (key(old).public().id(), key(new).public());
    root.next(&[Change::Replace { role: "root".into(), old, new }], 200).unwrap()
}

#[test]
fn a22_a_root_counts_only_if_both_sides_signed_it() {
    let one = signed(first(1, &[1]), &[1]);
    let next = replaced(&one.root, 1, 2);
    for (by, holds) in [(&[1, 2][..], true), (&[1], false), (&[2], false), (&[3], false)] {
        let two = signed(next.clone(), by);
        assert_eq!(verify_all(&[&one, &two]).is_ok(), holds, "{by:?}");
    }
    // Nor does the first root without its own key.
    assert!(verify_all(&[&signed(one.root.clone(), &[2])]).is_err());
}

#[test]
fn a22_a_root_that_skips_one_is_refused() {
    let one = signed(first(1, &[1]), &[1]);
    let two = signed(replaced(&one.root, 1, 2), &[1, 2]);
    let three = signed(replaced(&two.root, 2, 1), &[1, 2]);
    assert!(verify_all(&[&one, &two, &three]).is_ok());
    assert!(verify_all(&[&one, &three]).unwrap_err().to_string().contains("is root 3, not 2"));
    let dir = tempfile::tempdir().unwrap();
    for (name, link) in [("1.json", &one), ("3.json", &three)] {
        fs::write(dir.path().join(name), link.to_file()).unwrap();
    }
    let error = Chain::read(dir.path(), &project()).unwrap_err().to_string();
    assert!(error.ends_with("3.json: there is no root 2 before it"), "{error}");
}

#[test]
fn a20_a_key_counts_once_for_a_threshold() {
    let mut one = signed(first(2, &[1, 2]), &[1]);
    let twice = one.sealed.signatures[0].clone();
    one.sealed.signatures.push(twice.clone());
    let renamed = SealedBy { keyid: key(2).public().id().to_string(), ..twice };
    one.sealed.signatures.push(renamed);
    assert!(verify_all(&[&one]).is_err());
    one.sign(&key(2));
    assert!(verify_all(&[&one]).is_ok());
}

#[test]
fn a_root_that_was_edited_by_hand_does_not_count() {
    let one = signed(first(1, &[1]), &[1]);
    let text = String::from_utf8(one.to_file()).unwrap();
    let mut stolen = one.root.clone();
    stolen.roles.get_mut("*").unwrap().keys[0] = key(6).public();
    let payload = BASE64_STANDARD.encode(serde_json::to_vec(&stolen).unwrap());
    let edited = text.replace(&one.sealed.payload, &payload);
    assert_ne!(edited, text);
    let roots = [("root/1.json".to_owned(), edited.into_bytes())];
    let error = Chain::verify(&roots, &project()).unwrap_err().to_string();
    assert!(error.starts_with("root/1.json: lacks 1 signature"), "{error}");
    // And one of another project counts nowhere.
    let roots = [(String::new(), one.to_file())];
    assert!(Chain::verify(&roots, &"fan".parse().unwrap()).is_err());
}

#[test]
fn what_is_said_in_another_way_than_it_is_shown_is_refused() {
    let one = signed(first(1, &[1]), &[1]);
    let sealed = |payload: &str| {
        let sealed = Sealed { payload: BASE64_STANDARD.encode(payload), ..one.sealed.clone() };
        serde_json::to_vec(&sealed).unwrap()
    };
    let payload = String::from_utf8(one.payload.clone()).unwrap();
    Signed::parse(&sealed(&payload), "").unwrap();
    let role = serde_json::to_string(&one.root.roles["*"]).unwrap();
    for (from, to) in [
        ("{\"fmt\"", "{ \"fmt\"".to_owned()),
        ("{\"fmt\"", "{\"\\u001b[2K\":1,\"fmt\"".to_owned()),
        ("\"roles\":{", format!("\"roles\":{{\"beta\\u001b[1A\":{role},")),
        ("\"roles\":{", format!("\"roles\":{{\"beta\":{role},\"beta\":{role},")),
    ] {
        let other = payload.replacen(from, &to, 1);
        assert_ne!(other, payload);
        let error = Signed::parse(&sealed(&other), "").unwrap_err().to_string();
        assert!(!error.contains(char::is_control), "{error:?}");
    }
}

#[cfg(unix)]
#[test]
fn two_runs_do_not_change_the_keys_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let held = lock(dir.path()).unwrap();
    assert!(matches!(lock(dir.path()), Err(ChainError::Busy(_))));
    drop(held);
    lock(dir.path()).unwrap();
    // Nor does one take the place of a root that stands.
    let [one, other] = [&[1, 3][..], &[1]].map(|keys| signed(first(1, keys), &[1]));
    add(dir.path(), &one, None, &Disk::default()).unwrap();
    assert!(add(dir.path(), &other, None, &Disk::default()).is_err());
    assert_eq!(fs::read(dir.path().join("1.json")).unwrap(), one.to_file());
}

#[test]
fn a_partial_root_of_another_change_stays() {
    let dir = tempfile::tempdir().unwrap();
    let [one, other] = [&[1, 3][..], &[1]].map(|keys| signed(first(1, keys), &[1]));
    let (partial, disk) = (partial_path(dir.path(), 1), Disk::default());
    fs::write(&partial, other.to_file()).unwrap();
    assert_eq!(remove_partial(dir.path(), &one, &disk).unwrap(), Some(partial.clone()));
    assert_eq!(remove_partial(dir.path(), &other, &disk).unwrap(), None);
    assert!(!partial.exists());
}

#[test]
fn signatures_are_collected_until_they_are_enough() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::default();
    let mut one = Signed::new(first(2, &[1, 2, 3])).unwrap();
    one.sign(&key(1));
    let Added::Partial(path, lacking) = add(dir.path(), &one, None, &disk).unwrap() else {
        panic!("one signature is not two")
    };
    assert_eq!((lacking[0].of, lacking[0].count, lacking[0].keys.len()), (1, 1, 2));
    assert!(Chain::read(dir.path(), &project()).unwrap().is_none());
    let mut elsewhere = waiting(dir.path(), 0).unwrap().unwrap();
    elsewhere.sign(&key(3));
    let added = add(dir.path(), &elsewhere, None, &disk).unwrap();
    assert_eq!(added, Added::Complete(dir.path().join("1.json")));
    assert!(!path.exists());
    assert_eq!(Chain::read(dir.path(), &project()).unwrap().unwrap().links().len(), 1);
}
