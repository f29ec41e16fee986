//! The site of what is published on GitHub.

use super::{
    CHIPS, done,
    double::{Entry, GitHub, Host, Release},
    fails, on, recorded, run,
};
use crate::support::{Project, assert_tree, text, tree};
use std::fs;

const FROM: [&str; 3] = ["site", "--from", "github"];

/// A project with two releases on GitHub, and GitHub.
fn published() -> (GitHub, Project) {
    let (github, project) = (GitHub::start(), recorded(&CHIPS, &["1.0.0", "1.1.0"]));
    for version in ["1.0.0", "1.1.0"] {
        done(&github, &project, &["publish", version]);
    }
    github.take_log();
    (github, project)
}

/// Another machine with the same project, and nothing in its store.
fn elsewhere() -> Project {
    Project::new(&CHIPS)
}

fn downloads(log: &[Entry]) -> usize {
    log.iter().filter(|entry| entry.host == Host::Storage).count()
}

#[test]
fn the_site_of_github_is_that_of_the_store_and_is_fetched_once() {
    let (github, project) = published();
    project.done(&["site"]);
    let expected = tree(&project.path("dist/site"));
    let other = elsewhere();
    done(&github, &other, &FROM);
    assert_tree(&other.path("dist/site"), &expected);
    let log = github.take_log();
    // Of each release two app images and two factory images; what both have, once.
    let count = |folder| fs::read_dir(other.path(folder)).unwrap().count();
    // Patches are made of them.
    let distinct = count("dist/store/artifacts") - count("dist/store/patches");
    assert_eq!(downloads(&log), distinct);
    assert!(log.iter().all(|entry| entry.had_token == (entry.host == Host::Api)), "{log:?}");

    done(&github, &other, &FROM);
    let log = github.take_log();
    assert!(matches!(&log[..], [Entry { status: 304, .. }]), "{log:?}");
    assert_tree(&other.path("dist/site"), &expected);
    // Nor is anything fetched for a new folder.
    done(&github, &other, &[&FROM[..], &["--site-dir", "public"]].concat());
    assert_eq!(github.take_log().len(), 1);
    assert_tree(&other.path("public"), &expected);
    assert_eq!(other.done(&["check", "public", "--json"]), "{\"problems\":[]}\n");
}

#[test]
fn one_new_release_is_all_that_is_fetched() {
    let (github, project) = published();
    let other = elsewhere();
    done(&github, &other, &FROM);
    project.build(&CHIPS, "1.2.0").done(&["release", "--no-site"]);
    done(&github, &project, &["publish"]);
    github.take_log();
    done(&github, &other, &FROM);
    // Its record, and for two targets app and factory image.
    assert_eq!(downloads(&github.take_log()), 5);
    assert!(other.read("dist/site/ota/stable/esp32c3.json").contains("\"version\": \"1.2.0\""));
}

#[test]
fn without_a_token_or_digests_the_site_is_the_same() {
    let (github, project) = published();
    project.done(&["site"]);
    let expected = tree(&project.path("dist/site"));
    github.rule(|rules| (rules.has_digests, rules.page) = (false, 1));
    let other = elsewhere();
    for expected_downloads in [true, false] {
        let mut site = on(&github, &other, &FROM);
        let output = run(site.env_remove("GITHUB_TOKEN"));
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert_tree(&other.path("dist/site"), &expected);
        assert_eq!(downloads(&github.take_log()) > 0, expected_downloads);
    }
}

#[test]
fn what_is_no_release_of_ours_is_left_out() {
    let (github, project) = published();
    github.add("nightly", false, &[("release.json", b"not ours")]);
    github.add("v0.1.0", false, &[("firmware.bin", b"made by hand")]);
    github.add("v3.0.0", true, &[("release.json", b"a draft")]);
    // Recorded here, and not on GitHub.
    project.build(&CHIPS, "2.0.0").done(&["release", "--no-site"]);
    let output = run(&mut on(&github, &project, &FROM));
    assert!(output.status.success(), "{}", text(&output.stderr));
    let said = text(&output.stderr);
    assert!(said.contains("record or another tag: v0.1.0, nightly"), "{said}");
    assert!(!said.contains("v3.0.0"), "{said}");
    assert!(!project.read("dist/site/releases.json").contains("2.0.0"));
}

/// Changes the bytes of an asset, read as Latin 1; GitHub says the hash of the new
/// ones.
fn tamper(release: &mut Release, name: &str, change: impl Fn(&str) -> String) {
    let asset = release.assets.iter_mut().find(|asset| asset.name.contains(name)).unwrap();
    let text: String = asset.bytes.iter().copied().map(char::from).collect();
    let bytes: Vec<_> = change(&text).chars().map(|c| u8::try_from(c).unwrap()).collect();
    let hash = xtask::store::sha256(&bytes);
    (asset.bytes, asset.digest) = (bytes.into(), format!("sha256:{hash}"));
}

#[test]
fn a_tampered_asset_is_refused_and_the_site_stays() {
    let (github, project) = published();
    let other = elsewhere();
    github.change("v1.1.0", |release| release.draft = true);
    done(&github, &other, &FROM);
    let before = tree(&other.path("dist/site"));
    github.change("v1.1.0", |release| release.draft = false);
    let whole = github.releases().remove(1);
    type Change = fn(&str) -> String;
    let cases: [(&str, Change, &str); 6] = [
        ("esp32c3-app", |text| text.replace("lamp", "fan!"), "is not what its record says"),
        ("esp32c3-app", |_| "x".repeat(90_000), "is not what its record says"),
        ("release.json", |text| text.replace("\"lamp\"", "\"fan\""), "it is of project fan"),
        ("release.json", |text| text.replace("1.1.0", "1.2.0"), "it is of version 1.2.0"),
        ("release.json", |text| text.replace("\"fmt\": 1", "\"fmt\": 2"), "format 2 is not known"),
        ("release.json", |_| "{}".into(), "no record"),
    ];
    for (name, change, expected) in cases {
        github.change("v1.1.0", |release| tamper(release, name, change));
        let error = fails(&github, &other, &FROM);
        assert!(error.contains(expected), "{error}");
        assert_tree(&other.path("dist/site"), &before);
        github.change("v1.1.0", |release| *release = whole.clone());
    }
    // An artifact is missing.
    github.change("v1.1.0", |release| {
        release.assets.retain(|asset| !asset.name.contains("esp32c3-app"));
    });
    let error = fails(&github, &other, &FROM);
    assert!(error.contains("complete its release with `cargo xtask publish`"), "{error}");
    assert_tree(&other.path("dist/site"), &before);
    // GitHub's own hash is not that of the bytes.
    github.change("v1.1.0", |release| {
        let record = release.assets.iter_mut().find(|asset| asset.name == "release.json").unwrap();
        record.bytes = vec![b' '; record.bytes.len()].into();
    });
    let error = fails(&github, &elsewhere(), &FROM);
    assert!(error.contains("and GitHub says"), "{error}");
    github.change("v1.1.0", |release| {
        *release = whole.clone();
        release.assets.retain(|asset| !asset.name.contains("esp32c3-app"));
    });
    done(&github, &project, &["publish", "1.1.0"]);
    done(&github, &other, &FROM);
    assert!(other.read("dist/site/ota/stable/esp32c3.json").contains("\"version\": \"1.1.0\""));
}

#[test]
fn a_damaged_cache_is_mended() {
    let (github, _) = published();
    let other = elsewhere();
    done(&github, &other, &FROM);
    let (site, store) = (tree(&other.path("dist/site")), tree(&other.path("dist/store")));
    for (path, bytes) in &store {
        github.take_log();
        let mut damaged = bytes.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 1;
        fs::write(other.path("dist/store").join(path), damaged).unwrap();
        fs::remove_dir_all(other.path("dist/site")).unwrap();
        done(&github, &other, &FROM);
        assert_tree(&other.path("dist/site"), &site);
        assert_tree(&other.path("dist/store"), &store);
        assert!(downloads(&github.take_log()) <= 1, "{}", path.display());
    }
}

#[test]
fn without_any_release_there_is_no_site() {
    let (github, project) = (GitHub::start(), elsewhere());
    let error = fails(&github, &project, &FROM);
    assert!(
        error.contains("no release in octo/lamp") && error.contains("xtask publish"),
        "{error}"
    );
    let output = run(on(&github, &project, &FROM).env("GITHUB_REPOSITORY", "octo/other"));
    assert!(text(&output.stderr).contains("is octo/other the repository"), "a hint");
}
