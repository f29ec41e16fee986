//! Signed sites: what is published, what stands, and what each attack leaves of
//! it. Commands only, as people and CI run them.

use crate::support::{NOW, Project, assert_tree, text, tree};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use towline::ed25519;
use towline_descriptor::{Chip, Descriptor, Document, Role, Root};
use xtask::{
    check::{Folder, Problem, Terms, inspect, secrets::Secrets},
    site::{Index, IndexArtifact},
    store::artifact_of,
};

const CHIPS: [Chip; 2] = [Chip::Esp32c3, Chip::Esp32s3];
const DESCRIPTOR: &str = "ota/stable/esp32c3.json";

/// A project with keys that has released 1.0.0.
fn signed() -> Project {
    let project = Project::new(&CHIPS);
    project.done(&["keys", "init"]);
    project.build(&CHIPS, "1.0.0").done(&["release"]);
    project
}

/// Returns what a device with the exported root reads in a descriptor, or `None`
/// if it is not signed for it. `read` is given the sequence number, the time and
/// the version.
fn opened(project: &Project, path: &str) -> Option<(u64, u64, String)> {
    project.done(&["keys", "export", "--out", "exported"]);
    let mut root = project.read("exported").into_bytes();
    let role: Role = Root::parse(&mut root, "stable").unwrap().channel.unwrap();
    let mut document = project.read(&format!("dist/site/{path}")).into_bytes();
    let Document::Signed(signed) = Document::parse(&mut document).unwrap() else { return None };
    signed.envelope().signed_by(&role, ed25519)?;
    let Descriptor { seq, issued, version, .. } = signed.read().unwrap();
    Some((seq?, issued?, version.to_string()))
}

fn seq(project: &Project) -> u64 {
    opened(project, DESCRIPTOR).expect("it is signed").0
}

/// Runs a command at a time so many seconds later, which has to succeed.
fn later(project: &Project, seconds: u64, arguments: &[&str]) -> String {
    let now = (NOW.parse::<u64>().unwrap() + seconds).to_string();
    let output = project.xtask_with(arguments, &[("SOURCE_DATE_EPOCH", &now)]);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// Returns the problems of the site, as the command tells them.
fn problems(project: &Project, arguments: &[&str]) -> String {
    text(&project.xtask(&[&["check"], arguments].concat()).stdout)
}

/// Returns the problems of a site at the time of the tests.
fn problems_of(site: &Path) -> Vec<Problem> {
    let now = NOW.parse().unwrap();
    let (secrets, known) = (Secrets::default(), BTreeSet::new());
    inspect(&Folder::new(site), &Terms { now, project: None, secrets: &secrets, known: &known })
        .problems
}

/// Puts a file onto the site, and into its index, as whoever controls the host
/// can.
fn publish(project: &Project, path: &str, bytes: Option<&[u8]>) {
    let index = project.read("dist/site/releases.json");
    let mut index: Index = serde_json::from_str(&index).unwrap();
    let file = project.path("dist/site").join(path);
    match bytes {
        Some(bytes) => {
            let artifact = artifact_of(bytes).unwrap();
            let listed = IndexArtifact { path: None, size: artifact.size, sha256: artifact.sha256 };
            index.files.insert(path.into(), listed);
            fs::write(file, bytes).unwrap();
        }
        None => {
            index.files.remove(path);
            fs::remove_file(file).unwrap();
        }
    }
    project.write("dist/site/releases.json", serde_json::to_vec(&index).unwrap());
}

fn copy(from: &Path, to: &Path) {
    for (path, bytes) in tree(from) {
        let to = to.join(path);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, bytes).unwrap();
    }
}

fn channel_key(project: &Project) -> PathBuf {
    let mut files: Vec<_> =
        project.keys(".").read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| {
        path.to_string_lossy().contains("channel-") && path.extension().unwrap() == "pem"
    });
    assert_eq!(files.len(), 1);
    files.remove(0)
}

#[test]
fn what_channels_serve_is_signed_for_devices_with_the_exported_root() {
    let project = signed();
    let now = NOW.parse().unwrap();
    for target in ["esp32c3", "esp32s3"] {
        let found = opened(&project, &format!("ota/stable/{target}.json"));
        assert_eq!(found, Some((now, now, "1.0.0".into())));
    }
    let plain: Value =
        serde_json::from_str(&project.read("dist/site").as_str()).unwrap_or_default();
    assert_eq!(plain, Value::Null);
    let descriptor: Value =
        serde_json::from_str(&project.read(&format!("dist/site/{DESCRIPTOR}"))).unwrap();
    // Readers that know no more than these two find them.
    assert_eq!(descriptor["version"], "1.0.0");
    assert!(descriptor["path"].as_str().unwrap().starts_with("https://localhost/firmware/lamp/"));
    let report: Value = serde_json::from_str(&project.done(&["check", "--json"])).unwrap();
    assert_eq!(report["problems"], serde_json::json!([]));
    assert_eq!(report["expires"], now + 30 * 86_400);
    let shown = project.done(&["check"]);
    assert!(
        shown.contains("signed; the first descriptor expires on 2026-10-21, in 30 days"),
        "{shown}"
    );
}

#[test]
fn a_project_without_keys_is_told_so_each_time() {
    let project = Project::new(&CHIPS);
    project.build(&CHIPS, "1.0.0");
    for arguments in [&["release"][..], &["release", "--json"], &["site"]] {
        let output = project.xtask(arguments);
        let told = text(&output.stderr);
        let lines: Vec<_> = told.lines().filter(|line| line.starts_with("warning: ")).collect();
        assert_eq!(lines.len(), 1, "{told}");
        assert!(lines[0].contains("`cargo xtask keys init`"), "{told}");
    }
    assert_eq!(project.done(&["check", "--json"]), "{\"problems\":[]}\n");
}

#[test]
fn an_unchanged_run_changes_nothing_and_needs_no_key() {
    let project = signed();
    let before = tree(&project.path("dist"));
    project.done(&["release"]);
    assert_tree(&project.path("dist"), &before);
    later(&project, 10 * 86_400, &["site"]);
    assert_tree(&project.path("dist"), &before);
    fs::remove_file(channel_key(&project)).unwrap();
    later(&project, 10 * 86_400, &["site"]);
    assert_tree(&project.path("dist"), &before);
    let output = project.xtask(&["site", "--refresh"]);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(error.contains("TOWLINE_CHANNEL_KEY") && error.contains("keys rotate"), "{error}");
    assert_tree(&project.path("dist"), &before);
}

#[test]
fn a_refresh_and_the_second_half_of_a_life_sign_anew() {
    let project = signed();
    let first = seq(&project);
    project.done(&["site", "--refresh"]);
    assert_eq!(seq(&project), first + 1);
    later(&project, 16 * 86_400, &["site"]);
    assert_eq!(seq(&project), first + 16 * 86_400);
    let error = project.fails(&["site"]);
    assert!(error.contains("unset SOURCE_DATE_EPOCH"), "{error}");
    // The time that they count for is the project's to say.
    let config = project.read("towline.toml");
    project.write(
        "towline.toml",
        config.replace("[defaults]", "[signing]\nvalid-days = 7\n[defaults]"),
    );
    later(&project, 16 * 86_400, &["site"]);
    let report = later(&project, 16 * 86_400, &["check", "--json"]);
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["expires"], NOW.parse::<u64>().unwrap() + 23 * 86_400);
}

#[test]
fn a16_an_expired_descriptor_is_a_problem() {
    let project = signed();
    let now = (NOW.parse::<u64>().unwrap() + 31 * 86_400).to_string();
    let output = project.xtask_with(&["check"], &[("SOURCE_DATE_EPOCH", &now)]);
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1));
    assert!(shown.contains("ota/stable/esp32c3.json: expired on 2026-10-21"), "{shown}");
    assert!(shown.contains("`cargo xtask site --refresh`"), "{shown}");
    later(&project, 31 * 86_400, &["site"]);
    later(&project, 31 * 86_400, &["check"]);
}

#[test]
fn the_key_of_ci_is_a_variable() {
    let project = signed();
    let file = channel_key(&project);
    let pem = fs::read_to_string(&file).unwrap();
    fs::remove_file(&file).unwrap();
    let first = seq(&project);
    for (variable, works) in [(pem.as_str(), true), ("", false), ("nonsense", false)] {
        let variables = [("TOWLINE_CHANNEL_KEY", variable)];
        let output = project.xtask_with(&["site", "--refresh"], &variables);
        assert_eq!(output.status.success(), works, "{}", text(&output.stderr));
        assert!(!text(&output.stderr).contains(pem.lines().nth(1).unwrap()));
    }
    assert_eq!(seq(&project), first + 1);
    let variables = [("TOWLINE_CHANNEL_KEY", pem.as_str())];
    let list = text(&project.xtask_with(&["keys", "list"], &variables).stdout);
    assert!(list.contains("TOWLINE_CHANNEL_KEY"), "{list}");
}

#[test]
fn a_signed_site_does_not_become_unsigned() {
    let project = signed();
    let before = tree(&project.path("dist/site"));
    fs::rename(project.path("root"), project.path("gone")).unwrap();
    for command in ["site", "release"] {
        let error = project.fails(&[command]);
        assert!(error.contains("bring back the folder root/"), "{error}");
    }
    assert_tree(&project.path("dist/site"), &before);
    let shown = problems(&project, &[]);
    assert!(shown.contains("root/1.json: the repository does not have it"), "{shown}");
    // Nor does it get other keys unseen.
    project.done(&["keys", "init", "--channel", "stable,testing"]);
    let error = project.fails(&["site"]);
    assert!(error.contains("root/1.json of the site that stands"), "{error}");
    let shown = problems(&project, &[]);
    assert!(shown.contains("root/1.json: is not that of the repository"), "{shown}");
}

/// Rotation, as the tutorial has it: a new key, a new root, the site signed anew.
#[test]
fn a_rotated_channel_key_takes_over() {
    let project = signed();
    let published = tempfile::tempdir().unwrap();
    copy(&project.path("dist/site"), published.path());
    let (old_key, first) = (channel_key(&project), seq(&project));
    project.done(&["keys", "rotate"]);
    assert_eq!(opened(&project, DESCRIPTOR), None, "the old key still counts");
    // CI has the old key still: it is told, and the site stands.
    let before = tree(&project.path("dist/site"));
    let new_key =
        project.keys(".").read_dir().unwrap().map(|entry| entry.unwrap().path()).find(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            name.starts_with("channel-") && name.ends_with(".pem") && *path != old_key
        });
    let new_key = new_key.unwrap();
    let hidden = project.keys("hidden");
    fs::rename(&new_key, &hidden).unwrap();
    let error = project.fails(&["site"]);
    assert!(error.contains("needs 1 signature(s) by"), "{error}");
    assert_tree(&project.path("dist/site"), &before);
    fs::rename(&hidden, &new_key).unwrap();

    project.done(&["site"]);
    assert!(seq(&project) > first);
    assert!(project.path("dist/site/root/2.json").exists());
    let against = published.path().to_str().unwrap();
    project.done(&["check", "--against", against]);
    project.build(&CHIPS, "1.1.0").done(&["release"]);
    assert_eq!(opened(&project, DESCRIPTOR).unwrap().2, "1.1.0");
    project.done(&["check", "--against", against]);
}

/// The key of CI is gone: nothing but the root key is needed.
#[test]
fn a_lost_channel_key_is_replaced_with_the_root_key_alone() {
    let project = signed();
    let first = seq(&project);
    for (path, _) in tree(&project.keys(".")) {
        if path.to_string_lossy().starts_with("channel-") {
            fs::remove_file(project.keys(path)).unwrap();
        }
    }
    // Nor are the signatures that the store keeps.
    fs::remove_dir_all(project.path("dist/store/signatures")).unwrap();
    project.fails(&["site"]);
    project.done(&["keys", "rotate"]);
    project.done(&["site"]);
    assert!(seq(&project) > first);
    project.done(&["check"]);
}

#[test]
fn what_a_revoked_key_signed_is_signed_anew() {
    let project = signed();
    let first = seq(&project);
    project.done(&["keys", "add"]);
    let list: Value = serde_json::from_str(&project.done(&["keys", "list", "--json"])).unwrap();
    let stolen = list["roles"]["*"]["keys"][0]["keyid"].as_str().unwrap().to_owned();
    project.done(&["keys", "revoke", &stolen]);
    project.done(&["site"]);
    assert!(seq(&project) > first);
    assert!(!project.path(format!("dist/site/root/{stolen}.pub")).exists());
    for (path, bytes) in tree(&project.path("dist/site")) {
        let is_root = path.starts_with("root");
        assert!(is_root || !text(&bytes).contains(&stolen), "{}", path.display());
    }
    project.done(&["check"]);
}

#[test]
fn a_rotated_root_key_makes_a_chain_that_holds() {
    let project = signed();
    let first = channel_key(&project);
    for _ in 0..3 {
        project.done(&["keys", "rotate", "--root"]);
    }
    project.done(&["site"]);
    project.done(&["check"]);
    assert_eq!(channel_key(&project), first);
    for number in 1..=4 {
        let path = format!("root/{number}.json");
        assert_eq!(project.read(&path), project.read(&format!("dist/site/{path}")));
    }
    // The keys of roots that are over sign nothing any more.
    let list: Value = serde_json::from_str(&project.done(&["keys", "list", "--json"])).unwrap();
    let newest = list["roles"]["root"]["keys"][0]["keyid"].as_str().unwrap().to_owned();
    fs::remove_file(project.keys(format!("root-{newest}.pem"))).unwrap();
    let shown = project.done(&["keys", "rotate"]);
    assert!(shown.contains(&format!("root keys of root 4: {newest}")), "{shown}");
}

/// Attacks by whoever controls the host, who can write a sound index.
#[test]
fn attacks_on_a_signed_site_are_problems() {
    let project = signed();
    let site = project.path("dist/site");
    let sound = fs::read(site.join(DESCRIPTOR)).unwrap();
    let edit = |change: &dyn Fn(&mut Value)| {
        let mut descriptor: Value = serde_json::from_slice(&sound).unwrap();
        change(&mut descriptor);
        serde_json::to_vec(&descriptor).unwrap()
    };
    let decode = |value: &Value| base64(value.as_str().unwrap());
    let plain = |descriptor: &Value| {
        let payload = decode(&descriptor["payload"]);
        serde_json::from_slice::<Value>(&payload).unwrap()
    };
    let signature = |descriptor: &Value| decode(&descriptor["signatures"][0]["sig"]);
    let attacks: [(&str, Vec<u8>, &str); 8] = [
        (
            "a19 outer fields",
            edit(&|d| d["version"] = "1.0.1".into()),
            "differs from the signed one",
        ),
        (
            "a20 unknown key",
            edit(&|d| d["signatures"][0]["keyid"] = "0123456789abcdef".into()),
            "lacks the 1 signature(s)",
        ),
        (
            "a20 wrong type",
            edit(&|d| d["payloadType"] = "application/vnd.towline.root+json".into()),
            "`payloadType` has no valid value",
        ),
        ("a20 no signature", edit(&|d| d["signatures"] = serde_json::json!([])), "lacks the 1"),
        (
            "a21 S >= L",
            edit(&|d| {
                let mut sig = signature(d);
                add_order(&mut sig[32..]);
                d["signatures"][0]["sig"] = to_base64(&sig).into();
            }),
            "lacks the 1 signature(s)",
        ),
        (
            "a21 small order",
            edit(&|d| d["signatures"][0]["sig"] = to_base64(&[0; 64]).into()),
            "lacks the 1 signature(s)",
        ),
        (
            "another payload",
            edit(&|d| {
                let mut payload = plain(d);
                payload["seq"] = u64::MAX.into();
                d["payload"] = to_base64(&serde_json::to_vec(&payload).unwrap()).into();
            }),
            "lacks the 1 signature(s)",
        ),
        ("no signatures at all", edit(&|d| *d = plain(d)), "is not signed"),
    ];
    for (name, bytes, expected) in attacks {
        publish(&project, DESCRIPTOR, Some(&bytes));
        let shown = problems(&project, &[]);
        assert!(
            shown.contains(&format!("{DESCRIPTOR}: ")) && shown.contains(expected),
            "{name}: {shown}"
        );
    }
    // a18: that of another channel or target.
    for other in ["ota/testing/esp32c3.json", "ota/stable/esp32s3.json"] {
        publish(&project, DESCRIPTOR, Some(&fs::read(site.join(other)).unwrap()));
        assert!(!problems_of(&site).is_empty(), "{other}");
    }
    publish(&project, DESCRIPTOR, Some(&sound));
    assert_eq!(problems_of(&site), []);
}

#[test]
fn attacks_on_roots_are_problems() {
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

    // a22: root N+2 in the place of N+1.
    publish(&project, "root/2.json", Some(&three));
    assert!(problems(&project, &[]).contains("root/2.json: is root 3, not 2"));
    restore();
    // a22: signed by one side only.
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

#[test]
fn minisign_and_sha256sum_verify_what_is_published() {
    let project = signed();
    let folder = project.path("dist/site/firmware/lamp/1.0.0");
    let keys = project.path("dist/site/root");
    let key = keys
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|extension| extension == "pub"));
    let key = key.unwrap();
    let mut verified = 0;
    for (name, _) in tree(&folder) {
        if name.extension().is_some_and(|extension| extension == "minisig") {
            continue;
        }
        let minisign = |quiet: &str| {
            Command::new("minisign")
                .args([quiet, "-V", "-p"])
                .arg(&key)
                .arg("-m")
                .arg(folder.join(&name))
                .output()
                .expect("minisign is installed: `cargo xtask doctor --ci --fix`")
        };
        let output = minisign("-Q");
        assert!(output.status.success(), "{}: {}", name.display(), text(&output.stderr));
        // What the trusted comment says.
        let comment = format!("file:{} version:1.0.0 project:lamp", name.display());
        assert_eq!(text(&output.stdout).trim(), comment);
        let file = folder.join(&name);
        let bytes = fs::read(&file).unwrap();
        fs::write(&file, [&bytes[..], b"x"].concat()).unwrap();
        assert!(!minisign("-q").status.success());
        fs::write(&file, bytes).unwrap();
        verified += 1;
    }
    assert_eq!(verified, 2 * 5 + 1);
    let sums = |arguments: &[&str]| {
        Command::new("sha256sum").args(arguments).current_dir(&folder).output().unwrap()
    };
    let output = sums(&["--check", "--strict", "SHA256SUMS"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout).lines().count(), 2 * 5);
}

#[test]
fn releases_without_keys_have_sums_too() {
    let project = Project::new(&CHIPS);
    project.build(&CHIPS, "1.0.0").done(&["release"]);
    let folder = project.path("dist/site/firmware/lamp/1.0.0");
    let output = Command::new("sha256sum")
        .args(["--check", "--strict", "SHA256SUMS"])
        .current_dir(&folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(!tree(&folder).iter().any(|(path, _)| path.to_string_lossy().contains("minisig")));
    publish(&project, "firmware/lamp/1.0.0/SHA256SUMS", Some(b"0  a\n"));
    let shown = problems(&project, &[]);
    assert!(shown.contains("SHA256SUMS: is not what the release consists of"), "{shown}");
}

#[test]
fn signatures_of_artifacts_are_made_once() {
    let project = signed();
    let cache = project.path("dist/store/signatures");
    let stamp = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
    let files: Vec<_> = tree(&cache).into_iter().map(|(path, _)| cache.join(path)).collect();
    assert_eq!(files.len(), 1);
    let before = stamp(&files[0]);
    project.build(&CHIPS, "1.1.0").done(&["release"]);
    assert_eq!(stamp(&files[0]), before);
    assert_eq!(tree(&cache).len(), 2);
    // What is wrong there does not get published.
    let text = fs::read_to_string(&files[0]).unwrap();
    fs::write(&files[0], text.replace("version:1.0.0", "version:6.6.6")).unwrap();
    let error = project.fails(&["site"]);
    assert!(error.contains("minisig: speaks of"), "{error}");
    fs::remove_file(&files[0]).unwrap();
    project.done(&["site"]);
    project.done(&["check"]);
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

#[test]
fn secret_keys_are_found_on_the_site_and_in_the_repository() {
    let project = signed();
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).current_dir(project.path(".")).output();
        assert!(output.unwrap().status.success());
    };
    git(&["init", "--quiet"]);
    project.write(".gitignore", "/dist/\n/ignored.pem\n");
    project.done(&["check"]);
    let pem = fs::read(channel_key(&project)).unwrap();
    // What Git ignores is nobody else's.
    project.write("ignored.pem", &pem);
    project.done(&["check"]);
    for path in ["key.pem", "images/note.txt", "dist/site/assets/unlisted.txt"] {
        project.write(path, &pem);
        let shown = problems(&project, &[]);
        let path_on_site = path.trim_start_matches("dist/site/");
        assert!(shown.contains(&format!("{path_on_site}: has the secret key channel-")), "{shown}");
        fs::remove_file(project.path(path)).unwrap();
    }
    // Another key, encrypted and tracked.
    let sealed = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIGjMF8GCSqGSIb3DQEFDTBSMDEGCSqGSIb3DQEFDDAkBBDQ0wSDpZ7ON0ZwSJQ2\n-----END ENCRYPTED PRIVATE KEY-----\n";
    project.write("theirs.pem", sealed);
    git(&["add", "theirs.pem"]);
    let shown = problems(&project, &[]);
    assert!(shown.contains("theirs.pem: has a secret key (ENCRYPTED PRIVATE KEY)"), "{shown}");
    fs::remove_file(project.path("theirs.pem")).unwrap();
    project.done(&["check"]);
}

#[test]
fn no_secret_is_in_what_the_commands_leave() {
    let project = signed();
    project.done(&["keys", "rotate"]);
    project.done(&["site"]);
    let pem = text(
        &fs::read(
            project.keys(
                tree(&project.keys("."))
                    .iter()
                    .map(|(path, _)| path.clone())
                    .find(|path| path.to_string_lossy().starts_with("channel-"))
                    .unwrap(),
            ),
        )
        .unwrap(),
    );
    let line = pem.lines().nth(1).unwrap();
    let secrets = Secrets::default();
    for (path, bytes) in tree(&project.path(".")) {
        assert!(!text(&bytes).contains(line), "{}", path.display());
        assert_eq!(secrets.find(&bytes), None, "{}", path.display());
    }
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

fn base64(text: &str) -> Vec<u8> {
    use ::base64::{Engine, prelude::BASE64_STANDARD};
    BASE64_STANDARD.decode(text).unwrap()
}

fn to_base64(bytes: &[u8]) -> String {
    use ::base64::{Engine, prelude::BASE64_STANDARD};
    BASE64_STANDARD.encode(bytes)
}
