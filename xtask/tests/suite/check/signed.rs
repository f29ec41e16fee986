//! One fault a site, made in a sound one that is signed: exactly its code is found.

use crate::{
    signing::{channel_key, copy, forged, publish, signed},
    support::{NOW, Project, text, tree},
};
use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::Value;
use std::{collections::BTreeSet, fs};
use tempfile::TempDir;
use towline_descriptor::Chip;
use xtask::keys::SecretKey;

const DESCRIPTOR: &str = "ota/stable/esp32c3.json";
const DAY: u64 = 86_400;

/// Returns the codes of all that is found, so many days later.
fn codes(project: &Project, days: u64, arguments: &[&str]) -> BTreeSet<String> {
    let now = (NOW.parse::<u64>().unwrap() + days * DAY).to_string();
    let arguments = [&["check", "--json"], arguments].concat();
    let output = project.xtask_with(&arguments, &[("SOURCE_DATE_EPOCH", &now)]);
    let json: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)));
    let rows = ["problems", "warnings", "notes"].map(|list| json[list].clone());
    let rows = rows.iter().flat_map(|rows| rows.as_array().into_iter().flatten());
    rows.map(|row| row["code"].as_str().unwrap().to_owned()).collect()
}

fn read(project: &Project, path: &str) -> Vec<u8> {
    fs::read(project.path("dist/site").join(path)).unwrap()
}

/// Changes a file of the site, and what the index says of it.
fn change(project: &Project, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = read(project, path);
    change(&mut bytes);
    publish(project, path, Some(&bytes));
}

/// Signs the descriptor anew, with the right key.
fn sign(project: &Project, change: impl FnOnce(&mut Value)) {
    let bytes = forged(&channel_key(project), &read(project, DESCRIPTOR), change);
    publish(project, DESCRIPTOR, Some(&bytes));
}

/// Returns the paths of the site's files that end so.
fn ending(project: &Project, end: &str) -> Vec<String> {
    let files = tree(&project.path("dist/site")).into_iter();
    let paths = files.map(|(path, _)| path.to_str().unwrap().to_owned());
    paths.filter(|path| path.ends_with(end)).collect()
}

fn now() -> u64 {
    NOW.parse().unwrap()
}

type Break = fn(&Project);

const RULES: &[(&str, Break)] = &[
    ("root-invalid", |p| change(p, "root/1.json", |root| root.truncate(100))),
    ("root-missing", |p| {
        for path in ending(p, ".json").iter().filter(|path| path.starts_with("root/")) {
            publish(p, path, None);
        }
        for path in ending(p, ".pub") {
            publish(p, &path, None);
        }
    }),
    ("key-file-differs", |p| {
        let key = &ending(p, ".pub")[0];
        change(p, key, |text| text.push(b'\n'));
    }),
    ("stray-file", |p| publish(p, "root/other.pub", Some(b"a key of nobody"))),
    ("descriptor-unsigned", |p| {
        let sealed: Value = serde_json::from_slice(&read(p, DESCRIPTOR)).unwrap();
        let payload = sealed["payload"].as_str().unwrap();
        let plain = BASE64_STANDARD.decode(payload).unwrap();
        publish(p, DESCRIPTOR, Some(&plain));
    }),
    ("signature-invalid", |p| {
        change(p, DESCRIPTOR, |text| {
            let mut sealed: Value = serde_json::from_slice(text).unwrap();
            let other = forged(&channel_key(p), text, |payload| payload["seq"] = 5.into());
            let other: Value = serde_json::from_slice(&other).unwrap();
            sealed["signatures"] = other["signatures"].clone();
            *text = sealed.to_string().into_bytes();
        });
    }),
    ("dated-ahead", |p| sign(p, |payload| payload["issued"] = (now() + 2 * DAY).into())),
    ("dated-ahead", |p| sign(p, |payload| payload["seq"] = (now() + 2 * DAY).into())),
    ("expired", |p| sign(p, |payload| payload["expires"] = (now() - 1).into())),
    ("expires-soon", |p| {
        sign(p, |payload| {
            payload["issued"] = (now() - 29 * DAY).into();
            payload["expires"] = (now() + DAY).into();
        });
    }),
    ("artifact-signature", |p| {
        let app = ending(p, ".bin.minisig").into_iter().find(|path| path.contains("-app-"));
        let file = p.path("dist/site").join(app.unwrap());
        fs::write(&file, fs::read_to_string(&file).unwrap().replace("1.0.0", "1.0.1")).unwrap();
    }),
    ("sums-differ", |p| {
        let sums = &ending(p, "SHA256SUMS")[0];
        change(p, sums, |sums| sums.extend_from_within(..));
    }),
    ("not-listed", |p| {
        let sums = &ending(p, "SHA256SUMS")[0];
        publish(p, sums, None);
    }),
    ("own-secret-key", |p| {
        let pem = fs::read(channel_key(p)).unwrap();
        fs::write(p.path("dist/site/key.pem"), pem).unwrap();
    }),
    ("secret-key", |p| {
        let other = SecretKey::generate().unwrap().to_pem();
        fs::write(p.path("dist/site/key.pem"), other.as_bytes()).unwrap();
    }),
];

/// Changes that only the published site has: ours goes back behind them.
const STEPS_BACK: &[(&str, Break)] = &[
    ("published-unreadable", |p| p.write("dist/site/releases.json", "[]")),
    ("published-unreadable", |p| index(p, |index| index["project"] = "fan".into())),
    ("gone", |p| {
        index(p, |index| {
            let mut newer = index["releases"][0].clone();
            newer["version"] = "1.1.0".into();
            index["releases"].as_array_mut().unwrap().insert(0, newer);
        });
    }),
    ("gone", |p| {
        index(p, |index| {
            let mut other = index["channels"][0].clone();
            other["name"] = "nightly".into();
            index["channels"].as_array_mut().unwrap().push(other);
        });
    }),
    ("unyanked", |p| index(p, |index| index["releases"][0]["yanked"] = "it smokes".into())),
    ("unpaused", |p| index(p, |index| index["channels"][0]["rollout"]["paused"] = true.into())),
    ("sequence-backwards", |p| sign(p, |payload| payload["seq"] = (now() + 1).into())),
    ("sequence-backwards", |p| sign(p, |payload| payload["expires"] = (now() + DAY).into())),
];

fn index(project: &Project, change: impl FnOnce(&mut Value)) {
    let mut index = serde_json::from_slice(&read(project, "releases.json")).unwrap();
    change(&mut index);
    project.write("dist/site/releases.json", index.to_string());
}

/// Makes a sound site, and calls `then` for each of the rules with what it is after a
/// change; puts it back afterwards.
fn each(rules: &[(&str, Break)], then: impl Fn(&Project, &TempDir) -> BTreeSet<String>) {
    let project = signed();
    let (site, sound) = (project.path("dist/site"), tempfile::tempdir().unwrap());
    copy(&site, sound.path());
    assert_eq!(codes(&project, 0, &[]), BTreeSet::new());
    for (code, break_it) in rules {
        break_it(&project);
        assert_eq!(then(&project, &sound), BTreeSet::from([(*code).to_owned()]));
        fs::remove_dir_all(&site).unwrap();
        copy(sound.path(), &site);
    }
}

#[test]
fn each_fault_of_a_sound_signed_site_is_found_by_its_code_and_nothing_else() {
    each(RULES, |project, _| codes(project, 0, &[]));
}

#[test]
fn each_step_back_is_found_by_its_code_and_nothing_else() {
    each(STEPS_BACK, |project, sound| {
        let published = project.path("published");
        fs::rename(project.path("dist/site"), &published).unwrap();
        copy(sound.path(), &project.path("dist/site"));
        let found = codes(project, 0, &["--against", "published"]);
        fs::remove_dir_all(published).unwrap();
        found
    });
}

#[test]
fn a_channel_that_no_key_may_sign_for_is_found_by_its_code() {
    let project = Project::new(&[Chip::Esp32c3]);
    let config = project.read("towline.toml");
    project.write("towline.toml", config.replace("[defaults]", "[channels.stable]\n[defaults]"));
    project.done(&["keys", "init", "--channel", "stable"]);
    project.build(&[Chip::Esp32c3], "1.0.0").done(&["release"]);
    index(&project, |index| {
        let mut other = index["channels"][0].clone();
        other["name"] = "testing".into();
        index["channels"].as_array_mut().unwrap().push(other);
    });
    assert_eq!(codes(&project, 0, &[]), BTreeSet::from(["role-missing".to_owned()]));
}

#[test]
fn a_site_that_is_no_longer_signed_is_found_by_its_code() {
    let (published, project) = (signed(), Project::new(&[Chip::Esp32c3, Chip::Esp32s3]));
    project.build(&[Chip::Esp32c3, Chip::Esp32s3], "1.0.0").done(&["release"]);
    let published = published.path("dist/site");
    let found = codes(&project, 0, &["--against", published.to_str().unwrap()]);
    // With the signatures went what they are verified by.
    let expected = ["root-missing", "signature-gone"].map(str::to_owned);
    assert_eq!(found, BTreeSet::from(expected));
}

#[test]
fn keys_that_lie_in_the_repository_are_found_by_their_code() {
    let project = signed();
    fs::create_dir(project.path("keys")).unwrap();
    let keys = project.path("keys");
    let output =
        project.xtask_with(&["check", "--json"], &[("TOWLINE_KEYS", keys.to_str().unwrap())]);
    let shown = text(&output.stdout);
    let json: Value = serde_json::from_str(&shown).unwrap();
    let found: Vec<_> = json["problems"].as_array().unwrap().iter().map(|p| &p["code"]).collect();
    assert_eq!(found, ["keys-in-repository"], "{shown}{}", text(&output.stderr));
}

#[test]
fn what_time_and_the_repository_make_of_a_signed_site_is_found_by_its_code() {
    let project = signed();
    let found = |days| codes(&project, days, &[]).into_iter().collect::<Vec<_>>();
    assert_eq!(found(25), ["expires-soon"]);
    assert_eq!(found(31), ["expired"]);
    let key = fs::read(channel_key(&project)).unwrap();
    project.write("key.pem", key);
    assert_eq!(found(0), ["own-secret-key"]);
    fs::remove_file(project.path("key.pem")).unwrap();
    // A root of now, and a site of before.
    project.done(&["keys", "rotate"]);
    assert_eq!(found(0), ["root-missing"]);
    fs::rename(project.path("root"), project.path("gone")).unwrap();
    assert_eq!(found(0), ["root-differs"]);
    project.done(&["keys", "init", "--channel", "testing"]);
    assert_eq!(found(0), ["root-differs"]);
}
