//! Signed sites: what is published, and what stands. Commands only, as people
//! and CI run them.

mod attacks;
mod devices;
mod people;
mod secrets;

use crate::support::{NOW, Project, assert_tree, text, tree, xtask};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};
use towline::ed25519;
use towline_descriptor::{Chip, Descriptor, Document, Role, Root, envelope::DESCRIPTOR_TYPE};
use xtask::{
    check::{Finding, Folder, Terms, inspect, secrets::Secrets},
    keys::{
        Held,
        chain::{message, signature},
    },
    site::{Index, IndexArtifact},
    store::artifact_of,
};

const CHIPS: [Chip; 2] = [Chip::Esp32c3, Chip::Esp32s3];
const DESCRIPTOR: &str = "ota/stable/esp32c3.json";

/// A project with keys that has released 1.0.0.
pub(crate) fn signed() -> Project {
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
fn problems_of(site: &Path) -> Vec<Finding> {
    let now = NOW.parse().unwrap();
    let (secrets, known) = (Secrets::default(), BTreeSet::new());
    let terms =
        Terms { now, project: None, secrets: &secrets, known: &known, min_left: None, start: None };
    inspect(&Folder::new(site), &terms).take_errors()
}

/// Puts a file onto the site, and into its index, as whoever controls the host
/// can.
pub(crate) fn publish(project: &Project, path: &str, bytes: Option<&[u8]>) {
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

/// Signs a changed descriptor, as a thief can who has the key in the file `key`.
pub(crate) fn forged(key: &Path, descriptor: &[u8], change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let pem = fs::read_to_string(key).unwrap();
    let key = Held::all_in(&pem, "").unwrap().remove(0).read("").unwrap();
    let mut sealed: Value = serde_json::from_slice(descriptor).unwrap();
    let payload = BASE64_STANDARD.decode(sealed["payload"].as_str().unwrap()).unwrap();
    let mut payload: Value = serde_json::from_slice(&payload).unwrap();
    change(&mut payload);
    let text = payload.to_string();
    for outer in ["version", "path"] {
        sealed[outer] = payload[outer].clone();
    }
    sealed["payload"] = BASE64_STANDARD.encode(&text).into();
    let by = signature(&key, &message(DESCRIPTOR_TYPE, text.as_bytes()));
    sealed["signatures"] = serde_json::json!([by]);
    sealed.to_string().into_bytes()
}

pub(crate) fn copy(from: &Path, to: &Path) {
    for (path, bytes) in tree(from) {
        let to = to.join(path);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, bytes).unwrap();
    }
}

pub(crate) fn channel_key(project: &Project) -> PathBuf {
    let mut files: Vec<_> =
        project.keys("").read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
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
    // Later it stays too, and whoever runs it is told, however quiet it is.
    let late = (NOW.parse::<u64>().unwrap() + 16 * 86_400).to_string();
    let output = project.xtask_with(&["site", "--quiet"], &[("SOURCE_DATE_EPOCH", &late)]);
    let told = text(&output.stderr);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("warning: channel stable: its key is not at hand"), "{told}");
    assert!(told.contains("expires on 2026-10-21"), "{told}");
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
    // Whatever a reproducible build takes for the time.
    assert_eq!(xtask(&project.path("."), &["check"]).status.code(), Some(1));
}

#[test]
fn what_expires_soon_is_a_problem() {
    let project = signed();
    later(&project, 22 * 86_400, &["check"]);
    let now = (NOW.parse::<u64>().unwrap() + 23 * 86_400).to_string();
    let check = |days: &[&str]| {
        let arguments = [&["check"], days].concat();
        let output = project.xtask_with(&arguments, &[("SOURCE_DATE_EPOCH", &now)]);
        (output.status.code(), text(&output.stdout))
    };
    let (code, shown) = check(&[]);
    assert_eq!(code, Some(1));
    assert!(shown.contains("expires on 2026-10-21, in 7 days; `cargo xtask site"), "{shown}");
    assert_eq!(check(&["--min-days", "7"]).0, Some(0));
    assert_eq!(check(&["--min-days", "8"]).0, Some(1));
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

#[test]
fn keys_without_their_roots_do_not_publish_unsigned() {
    let project = signed();
    let pem = fs::read_to_string(channel_key(&project)).unwrap();
    // A fresh clone, into which root/ was never committed.
    fs::remove_dir_all(project.path("root")).unwrap();
    fs::remove_dir_all(project.path("dist/site")).unwrap();
    for command in ["site", "release"] {
        let error = project.fails(&[command]);
        assert!(error.contains("root/1.json is missing: nothing would be signed"), "{error}");
    }
    fs::remove_file(channel_key(&project)).unwrap();
    let output = project.xtask_with(&["site"], &[("TOWLINE_CHANNEL_KEY", &pem)]);
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert!(error.contains("TOWLINE_CHANNEL_KEY holds a channel key"), "{error}");
    assert!(!project.path("dist/site").exists());
    // Without any key there is nothing to mix up.
    project.done(&["site"]);
}

#[test]
fn a_site_that_lacks_the_newest_root_is_a_problem() {
    let project = signed();
    project.done(&["keys", "rotate"]);
    let shown = problems(&project, &[]);
    let expected = "root/2.json: missing: the repository has root 2, the site only root 1";
    assert!(shown.contains(expected), "{shown}");
    project.done(&["site"]);
    project.done(&["check"]);
    fs::remove_file(project.path("root/2.json")).unwrap();
    let shown = problems(&project, &[]);
    assert!(shown.contains("root/2.json: the repository does not have it"), "{shown}");
}

/// The build needs no key, and what it runs is told none.
#[test]
fn a_release_is_built_without_keys_and_signed_afterwards() {
    let project = Project::new(&[Chip::Esp32c3]);
    let config = project.read("towline.toml").replace(
        "build.prebuilt = \"images/esp32c3.bin\"",
        "build = { command = [\"sh\", \"-c\", \"env > told\"], output = \"images/esp32c3.bin\" }",
    );
    project.write("towline.toml", config);
    project.done(&["keys", "init"]);
    project.build(&[Chip::Esp32c3], "1.0.0");
    let pem = fs::read_to_string(channel_key(&project)).unwrap();
    project.done(&["release"]);
    let variables = [("TOWLINE_CHANNEL_KEY", pem.as_str()), ("TOLD", "all else")];
    project.build(&[Chip::Esp32c3], "1.1.0");
    assert!(project.xtask_with(&["release"], &variables).status.success());
    let told = project.read("told");
    assert!(told.contains("TOLD=all else"), "{told}");
    for secret in ["TOWLINE_CHANNEL_KEY", "TOWLINE_ROOT_PASSPHRASE", "TOWLINE_KEYS"] {
        assert!(!told.contains(secret), "{secret}");
    }
    // No key at hand: said before the build, and how to go on.
    fs::remove_file(channel_key(&project)).unwrap();
    fs::remove_file(project.path("told")).unwrap();
    project.build(&[Chip::Esp32c3], "1.2.0");
    let error = project.fails(&["release"]);
    assert!(error.contains("release --no-site"), "{error}");
    assert!(!project.path("told").exists());
    let before = tree(&project.path("dist/site"));
    project.done(&["release", "--no-site"]);
    assert!(project.path("dist/store/releases/1.2.0.json").exists());
    assert_tree(&project.path("dist/site"), &before);
    project.fails(&["site"]);
    let output = project.xtask_with(&["site"], &variables);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(opened(&project, DESCRIPTOR).unwrap().2, "1.2.0");
    // A key of before is named as such.
    project.done(&["keys", "rotate"]);
    fs::remove_file(channel_key(&project)).unwrap();
    let output = project.xtask_with(&["site"], &variables);
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    assert!(told.contains("warning: TOWLINE_CHANNEL_KEY holds the key "), "{told}");
    assert!(told.contains("which root 2 names for no channel"), "{told}");
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
        project.keys("").read_dir().unwrap().map(|entry| entry.unwrap().path()).find(|path| {
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
    for (path, _) in tree(&project.keys("")) {
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
