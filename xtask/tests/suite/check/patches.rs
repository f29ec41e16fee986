//! One fault of a patch a site, and nothing else is told.

use super::rules::{Site, found};
use crate::support::Project;
use serde_json::{Value, json};
use std::{collections::BTreeSet, fs};
use towline_descriptor::Chip;
use xtask::{check::Code, store::sha256};

const INDEX: &str = "releases.json";
const DESCRIPTORS: [&str; 2] = ["ota/stable/esp32c3.json", "ota/testing/esp32c3.json"];

/// A site with a patch from the release before, and a compressed image.
fn site() -> Site {
    let project = Project::new(&[Chip::Esp32c3]);
    for version in ["1.0.0", "1.1.0"] {
        project.build_alike(&[Chip::Esp32c3], version).done(&["release"]);
    }
    Site(project)
}

fn index(site: &Site) -> Value {
    serde_json::from_str(&site.0.read(&format!("dist/site/{INDEX}"))).unwrap()
}

/// Changes what the index and the descriptors say of the patches, each by its place:
/// the compressed image comes first.
fn edit(site: &Site, at: usize, change: impl Fn(&mut Value)) {
    for path in DESCRIPTORS {
        site.edit(path, |descriptor| change(&mut descriptor["patches"][at]));
    }
    site.edit(INDEX, |i| change(&mut i["releases"][0]["targets"][0]["patches"][at]));
}

/// Changes the bytes of a patch, and all that is said of them.
fn replace(site: &Site, at: usize, change: impl FnOnce(&mut Vec<u8>)) {
    let patch = &index(site)["releases"][0]["targets"][0]["patches"][at];
    let path = site.0.path("dist/site").join(patch["path"].as_str().unwrap());
    let mut bytes = fs::read(&path).unwrap();
    change(&mut bytes);
    fs::write(path, &bytes).unwrap();
    edit(site, at, |patch| {
        patch["size"] = bytes.len().into();
        patch["sha256"] = sha256(&bytes).to_string().into();
    });
}

type Break = fn(&Site);

const RULES: &[(Code, Break)] = &[
    (Code::PatchBroken, |s| replace(s, 1, |patch| *patch.last_mut().unwrap() ^= 0x55)),
    (Code::PatchBroken, |s| replace(s, 0, |patch| patch.truncate(patch.len() - 20))),
    (Code::PatchBroken, |s| replace(s, 1, |patch| patch[0] ^= 1)),
    (Code::PatchBroken, |s| {
        // That of another image.
        let patches = index(s)["releases"][0]["targets"][0]["patches"].clone();
        let other = s.0.path("dist/site").join(patches[0]["path"].as_str().unwrap());
        replace(s, 1, |patch| *patch = fs::read(other).unwrap());
    }),
    (Code::NotChecked, |s| edit(s, 1, |patch| patch["alg"] = "twp9".into())),
    (Code::PatchBaseMissing, |s| {
        edit(s, 1, |patch| patch["from_sha256"] = "ab".repeat(32).into());
    }),
    (Code::HashDiffers, |s| {
        let patch = &index(s)["releases"][0]["targets"][0]["patches"][1];
        let path = s.0.path("dist/site").join(patch["path"].as_str().unwrap());
        let mut bytes = fs::read(&path).unwrap();
        bytes[20] ^= 1;
        fs::write(path, bytes).unwrap();
    }),
    (Code::FileMissing, |s| {
        let patch = &index(s)["releases"][0]["targets"][0]["patches"][1];
        fs::remove_file(s.0.path("dist/site").join(patch["path"].as_str().unwrap())).unwrap();
    }),
    (Code::DescriptorPatch, |s| {
        s.edit(DESCRIPTORS[0], |descriptor| descriptor["patches"][0]["size"] = 5.into());
    }),
    (Code::DescriptorPatch, |s| {
        s.edit(DESCRIPTORS[0], |descriptor| {
            descriptor["patches"][0]["path"] = "https://a.example/a.twp".into();
        });
    }),
    (Code::DescriptorPatch, |s| {
        s.edit(INDEX, |i| i["releases"][0]["targets"][0]["patches"] = json!([]));
    }),
];

#[test]
fn each_fault_of_a_patch_is_found_by_its_code_and_nothing_else() {
    for (number, (code, break_it)) in RULES.iter().enumerate() {
        let site = site();
        assert_eq!(found(&site), []);
        break_it(&site);
        let found = found(&site);
        let codes: BTreeSet<_> = found.iter().map(|finding| finding.code).collect();
        assert_eq!(codes, BTreeSet::from([*code]), "{number}: {found:#?}");
    }
}

/// Of a base that is damaged, that is told, and not what comes of it.
#[test]
fn a_patch_is_not_blamed_for_its_base() {
    let site = site();
    let app = index(&site)["releases"][1]["targets"][0]["app"]["path"].clone();
    let path = site.0.path("dist/site").join(app.as_str().unwrap());
    let mut image = fs::read(&path).unwrap();
    image[5000] ^= 1;
    fs::write(path, image).unwrap();
    let found = found(&site);
    let codes: Vec<_> = found.iter().map(|finding| finding.code).collect();
    assert_eq!(codes, [Code::HashDiffers], "{found:#?}");
}
