//! Attacks by whoever controls the host, and publishers that went backwards:
//! what the check tells of them.

use super::*;

/// Asserts that the check finds this change of a signed descriptor on a site
/// whose index agrees with it.
#[track_caller]
fn is_found(project: &Project, change: impl FnOnce(&mut Value), expected: &str) {
    let sound = project.read(&format!("dist/site/{DESCRIPTOR}"));
    let mut descriptor: Value = serde_json::from_str(&sound).unwrap();
    change(&mut descriptor);
    publish(project, DESCRIPTOR, Some(descriptor.to_string().as_bytes()));
    let shown = problems(project, &[]);
    assert!(shown.contains(&format!("{DESCRIPTOR}: ")) && shown.contains(expected), "{shown}");
    publish(project, DESCRIPTOR, Some(sound.as_bytes()));
}

/// Returns what is signed of a descriptor.
fn payload(descriptor: &Value) -> Value {
    serde_json::from_slice(&decode(&descriptor["payload"])).unwrap()
}

#[test]
fn a18_a_descriptor_of_another_channel_or_target_is_found() {
    let project = signed();
    let site = project.path("dist/site");
    let sound = fs::read(site.join(DESCRIPTOR)).unwrap();
    for other in ["ota/testing/esp32c3.json", "ota/stable/esp32s3.json"] {
        publish(&project, DESCRIPTOR, Some(&fs::read(site.join(other)).unwrap()));
        assert!(!problems_of(&site).is_empty(), "{other}");
    }
    publish(&project, DESCRIPTOR, Some(&sound));
    assert_eq!(problems_of(&site), []);
}

#[test]
fn a19_outer_fields_that_differ_from_the_signed_ones_are_found() {
    let project = signed();
    let differs = "differs from the signed one";
    is_found(&project, |d| d["version"] = "1.0.1".into(), differs);
    is_found(&project, |d| d["path"] = "https://localhost/x.bin".into(), differs);
}

#[test]
fn a20_unknown_keys_wrong_types_and_missing_signatures_are_found() {
    let project = signed();
    let lacks = "lacks the 1 signature(s) by keys of role `*` that root 1 asks for";
    is_found(&project, |d| d["signatures"][0]["keyid"] = "0123456789abcdef".into(), lacks);
    is_found(&project, |d| d["signatures"] = serde_json::json!([]), lacks);
    let root = "application/vnd.towline.root+json";
    is_found(&project, |d| d["payloadType"] = root.into(), "`payloadType` has no valid value");
    let other_payload = |d: &mut Value| {
        let mut payload = payload(d);
        payload["seq"] = u64::MAX.into();
        d["payload"] = encode(payload.to_string().as_bytes()).into();
    };
    is_found(&project, other_payload, lacks);
    is_found(&project, |d| *d = payload(d), "is not signed");
}

#[test]
fn a20_one_key_does_not_meet_a_threshold_of_two() {
    let project = signed();
    project.done(&["keys", "add", "--threshold", "2"]);
    project.done(&["site"]);
    project.done(&["check"]);
    let twice = |d: &mut Value| d["signatures"][1] = d["signatures"][0].clone();
    is_found(&project, twice, "lacks the 2 signature(s)");
}

#[test]
fn a21_signatures_that_are_not_strictly_sound_are_found() {
    let project = signed();
    let lacks = "lacks the 1 signature(s)";
    let s_not_below_l = |d: &mut Value| {
        let mut signature = decode(&d["signatures"][0]["sig"]);
        add_order(&mut signature[32..]);
        d["signatures"][0]["sig"] = encode(&signature).into();
    };
    is_found(&project, s_not_below_l, lacks);
    is_found(&project, |d| d["signatures"][0]["sig"] = encode(&[0; 64]).into(), lacks);
}

#[test]
fn a22_roots_that_skip_one_or_lack_a_side_are_found() {
    let project = signed();
    let other = signed();
    project.done(&["keys", "rotate"]);
    project.done(&["keys", "rotate"]);
    project.done(&["site"]);
    let site = project.path("dist/site");
    let whole = tree(&site);
    let restore = || copy_over(&site, &whole);
    let two = fs::read(site.join("root/2.json")).unwrap();
    let three = fs::read(site.join("root/3.json")).unwrap();
    let foreign = fs::read(other.path("root/1.json")).unwrap();

    // Root N+2 in the place of N+1.
    publish(&project, "root/2.json", Some(&three));
    assert!(problems(&project, &[]).contains("root/2.json: is root 3, not 2"));
    restore();
    // Signed by one side only.
    other.done(&["keys", "rotate"]);
    let one_side = fs::read(other.path("root/2.json")).unwrap();
    publish(&project, "root/2.json", Some(&one_side));
    let shown = problems(&project, &[]);
    assert!(shown.contains("root/2.json: lacks 1 signature(s) by root keys of root 1"), "{shown}");
    restore();
    // A gap, and a chain that ends too early.
    publish(&project, "root/2.json", None);
    assert!(problems(&project, &[]).contains("root/3.json: belongs to no chain of roots"));
    restore();
    publish(&project, "root/3.json", None);
    assert!(problems(&project, &[]).contains("by keys of role `*` that root 2 asks for"));
    restore();
    // Another first root.
    publish(&project, "root/1.json", Some(&foreign));
    let shown = problems(&project, &[]);
    assert!(shown.contains("root/2.json: lacks 1 signature(s) by root keys of root 1"), "{shown}");
    restore();
    assert_eq!(problems_of(&site), []);
    assert_ne!(two, three);
}

fn copy_over(site: &Path, files: &[(PathBuf, Vec<u8>)]) {
    for (path, bytes) in files {
        fs::write(site.join(path), bytes).unwrap();
    }
}

#[test]
fn what_went_backwards_shows_against_the_published_site() {
    let project = signed();
    let site = project.path("dist/site");
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    copy(&site, old.path());
    project.done(&["keys", "rotate", "--root"]);
    project.done(&["site", "--refresh"]);
    copy(&site, new.path());
    let [old, new] = [&old, &new].map(|dir| dir.path().to_str().unwrap());
    project.done(&["check", "--against", new]);
    project.done(&["check", "--against", old]);
    // a15: an older site in the place of a newer one.
    let shown = problems(&project, &[old, "--against", new]);
    assert!(shown.contains(&format!("{DESCRIPTOR}: has seq")), "{shown}");
    assert!(shown.contains("devices would refuse it"), "{shown}");
    assert!(shown.contains("root/2.json: is published, and would be gone"), "{shown}");
    // Signed became unsigned.
    let unsigned = Project::new(&CHIPS);
    unsigned.build(&CHIPS, "1.0.0").done(&["release"]);
    let shown = problems(&unsigned, &["--against", new]);
    assert!(shown.contains(&format!("{DESCRIPTOR}: is published with a signature")), "{shown}");
    // Other roots under the same numbers.
    let other = signed();
    let shown = problems(&other, &["--against", new]);
    assert!(shown.contains("root/1.json: is published with other content"), "{shown}");
    let shown = problems(&project, &["--against", "/nowhere"]);
    assert!(shown.contains("of the published site: missing"), "{shown}");
}

/// A thief signs with the highest number there is, or far ahead of the time.
#[test]
fn a17_what_a_stolen_key_signed_is_forgotten_with_the_key() {
    let first: u64 = NOW.parse().unwrap();
    let far = 4_000_000_000_u64;
    for (seq_of_thief, issued, expected) in [
        (u64::MAX, first, "far above the time"),
        (u64::MAX, far, "is dated 2096-10-02, which is still to come"),
    ] {
        let project = signed();
        let sound = fs::read(project.path("dist/site").join(DESCRIPTOR)).unwrap();
        let forged = forged(&channel_key(&project), &sound, |payload| {
            payload["seq"] = seq_of_thief.into();
            payload["issued"] = issued.into();
            payload["expires"] = (issued + 30 * 86_400).into();
        });
        publish(&project, DESCRIPTOR, Some(&forged));
        let shown = problems(&project, &[]);
        assert!(shown.contains(&format!("{DESCRIPTOR}: ")) && shown.contains(expected), "{shown}");
        let error = project.fails(&["site"]);
        assert!(error.contains("`cargo xtask keys rotate`"), "{error}");
        let published = tempfile::tempdir().unwrap();
        copy(&project.path("dist/site"), published.path());
        project.done(&["keys", "rotate"]);
        project.done(&["site"]);
        assert_eq!(seq(&project), first);
        project.done(&["check", "--against", published.path().to_str().unwrap()]);
        project.done(&["site", "--refresh"]);
        assert_eq!(seq(&project), first + 1);
        project.done(&["check"]);
    }
}

#[test]
fn what_an_older_commit_takes_back_is_found() {
    let project = signed();
    let first = tempfile::tempdir().unwrap();
    copy(&project.path("dist/site"), first.path());
    project.build(&CHIPS, "1.1.0").done(&["release"]);
    project.done(&["yank", "1.0.0", "--reason", "It smokes."]);
    project.done(&["rollout", "stable", "--pause"]);
    project.done(&["site"]);
    let newest = tempfile::tempdir().unwrap();
    copy(&project.path("dist/site"), newest.path());
    let [first, newest] = [&first, &newest].map(|dir| dir.path().to_str().unwrap());
    project.done(&["check", "--against", newest]);
    project.done(&["check", "--against", first]);
    // Without what channels.toml says now.
    fs::remove_file(project.path("channels.toml")).unwrap();
    project.done(&["site"]);
    let shown = problems(&project, &["--against", newest]);
    let yank = "firmware/lamp/1.0.0/: is yanked, and would not be any more";
    let pause = "ota/stable/: is paused, and would not be any more";
    assert!(shown.contains(yank) && shown.contains(pause), "{shown}");
    assert!(shown.contains("2 problems"), "{shown}");
    let allowed = ["--allow", "unyanked:firmware/lamp/1.0.0/=mended", "--allow", "unpaused=go"];
    project.done(&[&["check", "--against", newest], &allowed[..]].concat());
    // Without the release of now, and without a channel.
    let config = project.read("towline.toml");
    project.write("towline.toml", config.replace("[defaults]", "[channels.stable]\n[defaults]"));
    fs::remove_file(project.path("dist/store/releases/1.1.0.json")).unwrap();
    project.done(&["site"]);
    let shown = problems(&project, &["--against", newest]);
    for gone in ["firmware/lamp/1.1.0/", "ota/testing/"] {
        assert!(shown.contains(&format!("{gone}: is published, and would be gone")), "{shown}");
    }
}

#[test]
fn any_changed_byte_of_a_signed_site_is_a_problem() {
    let project = signed();
    let site = project.path("dist/site");
    let mut tried = 0;
    for (path, bytes) in tree(&site) {
        let is_signature = path.extension().is_some_and(|e| e == "minisig" || e == "pub");
        if !(path.starts_with("root") || path.starts_with("ota") || is_signature) {
            continue;
        }
        // Whoever controls the host writes a sound index.
        let name = path.to_str().unwrap();
        for at in (0..bytes.len()).step_by((bytes.len() / 3).max(1)) {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            publish(&project, name, Some(&changed));
            // Outside of what is signed: the comment for people.
            let is_comment = bytes.starts_with(b"untrusted comment: signature") && at < 80;
            let is_space = path.starts_with("root") && bytes[at].is_ascii_whitespace();
            let found = !problems_of(&site).is_empty();
            assert!(found || is_comment || is_space, "{name} byte {at}");
            tried += 1;
        }
        publish(&project, name, Some(&bytes));
    }
    assert!(tried > 40, "{tried}");
    assert_eq!(problems_of(&site), []);
}

/// Adds the order of the group to a little-endian number.
fn add_order(number: &mut [u8]) {
    const L: [u8; 16] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14,
    ];
    let mut carry = 0;
    for (at, byte) in number.iter_mut().enumerate() {
        let order = L.get(at).copied().unwrap_or(if at == 31 { 0x10 } else { 0 });
        let sum = u16::from(*byte) + u16::from(order) + carry;
        (*byte, carry) = (sum as u8, sum >> 8);
    }
}

fn decode(text: &Value) -> Vec<u8> {
    BASE64_STANDARD.decode(text.as_str().unwrap()).unwrap()
}

fn encode(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}
