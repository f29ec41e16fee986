//! One fault a site, made in a sound one whose index, descriptors and sums agree with
//! it: exactly its code is found.

use super::{nvs, released};
use crate::support::{NOW, Project, app_image, tree};
use serde_json::{Value, json};
use std::{collections::BTreeSet, fs};
use towline_descriptor::Chip;
use towline_sim::sample::seal;
use xtask::{
    check::{Code, Finding, Folder, Terms, inspect, secrets::Secrets},
    keys::SecretKey,
    site::IndexArtifact,
    store::artifact_of,
};

const INDEX: &str = "releases.json";
const DESCRIPTOR: &str = "ota/stable/esp32c3.json";
const MANIFEST: &str = "manifests/stable.json";

/// A published site, to be broken.
pub(super) struct Site(pub(super) Project);

impl Site {
    fn read(&self, path: &str) -> Vec<u8> {
        fs::read(self.0.path("dist/site").join(path)).unwrap()
    }

    fn json(&self, path: &str) -> Value {
        serde_json::from_slice(&self.read(path)).unwrap()
    }

    fn write(&self, path: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.0.path("dist/site").join(path), bytes).unwrap();
    }

    /// Changes a document, and what the index says of it.
    pub(super) fn edit(&self, path: &str, change: impl FnOnce(&mut Value)) {
        let mut document = self.json(path);
        change(&mut document);
        self.write(path, document.to_string());
        self.list_anew();
    }

    /// Returns the path of the file with this role.
    fn file(&self, role: &str) -> String {
        let target = &self.json(INDEX)["releases"][0]["targets"][0];
        let part = |role: &str| {
            target["parts"].as_array().unwrap().iter().find(|part| part["role"] == role).cloned()
        };
        part(role).unwrap_or_else(|| target[role].clone())["path"].as_str().unwrap().into()
    }

    /// Changes an artifact, and all that is said of it: nobody could tell by hashes.
    pub(super) fn replace(&self, role: &str, change: impl FnOnce(&mut Vec<u8>)) {
        self.replace_alone(role, change);
        if role != "factory" {
            let mut whole = Vec::new();
            let target = &self.json(INDEX)["releases"][0]["targets"][0];
            for part in target["parts"].as_array().unwrap() {
                whole.resize(part["offset"].as_u64().unwrap() as usize, 0xFF);
                whole.extend(self.read(part["path"].as_str().unwrap()));
            }
            self.replace_alone("factory", |factory| *factory = whole);
        }
    }

    fn replace_alone(&self, role: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let path = self.file(role);
        let mut bytes = self.read(&path);
        let old = artifact_of(&bytes).unwrap().sha256.to_string();
        change(&mut bytes);
        self.write(&path, &bytes);
        let new = artifact_of(&bytes).unwrap();
        for (path, text) in tree(&self.0.path("dist/site")) {
            let path = path.to_str().unwrap();
            if path.ends_with(".json") {
                let mut document: Value = serde_json::from_slice(&text).unwrap();
                describe(&mut document, &old, &new.sha256.to_string(), new.size);
                self.write(path, document.to_string());
            } else if path.ends_with("SHA256SUMS") {
                let text = String::from_utf8(text).unwrap();
                self.write(path, text.replace(&old, &new.sha256.to_string()));
            }
        }
        self.list_anew();
    }

    /// Lets the index list its files as they are.
    fn list_anew(&self) {
        let mut index = self.json(INDEX);
        for (path, listed) in index["files"].as_object_mut().unwrap() {
            let artifact = artifact_of(&self.read(path)).unwrap();
            let (size, sha256) = (artifact.size, artifact.sha256);
            *listed = serde_json::to_value(IndexArtifact { path: None, size, sha256 }).unwrap();
        }
        self.write(INDEX, index.to_string());
    }
}

/// Gives every object that has this hash another, and its size.
fn describe(value: &mut Value, old: &str, new: &str, size: u32) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(|value| describe(value, old, new, size)),
        Value::Object(object) => {
            if object.get("sha256").is_some_and(|sha256| sha256 == old) {
                object.insert("sha256".into(), new.into());
                object.insert("size".into(), size.into());
            }
            // They lead to the image that was there.
            object.remove("patches");
            object.values_mut().for_each(|value| describe(value, old, new, size));
        }
        _ => {}
    }
}

/// Moves a part in the index, and in the manifests.
fn move_part(site: &Site, role: &str, offset: u32) {
    let path = site.file(role);
    for manifest in ["manifests/stable.json", "manifests/testing.json"] {
        site.edit(manifest, |manifest| {
            for part in manifest["builds"][0]["parts"].as_array_mut().unwrap() {
                if part["path"].as_str().unwrap().ends_with(&path) {
                    part["offset"] = offset.into();
                }
            }
        });
    }
    site.edit(INDEX, |index| {
        let parts = index["releases"][0]["targets"][0]["parts"].as_array_mut().unwrap();
        for part in parts {
            if part["role"] == role {
                part["offset"] = offset.into();
            }
        }
    });
}

/// Changes the one target of the one release in the index.
fn target(site: &Site, change: impl FnOnce(&mut Value)) {
    site.edit(INDEX, |index| change(&mut index["releases"][0]["targets"][0]));
}

/// Puts another app image in the place of the released one.
pub(super) fn app(site: &Site, image: Vec<u8>) {
    site.replace("app", |app| *app = image);
}

pub(super) fn sealed(change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut image = app_image(Chip::Esp32c3, "lamp", "1.0.0", 40_000);
    change(&mut image);
    seal(image)
}

type Break = fn(&Site);

const RULES: &[(Code, Break)] = &[
    (Code::IndexInvalid, |s| s.write(INDEX, "[]")),
    (Code::IndexInvalid, |s| s.edit(INDEX, |index| index["fmt"] = 2.into())),
    (Code::FileMissing, |s| fs::remove_file(s.0.path("dist/site/404.html")).unwrap()),
    (Code::FileUnreadable, |s| {
        fs::remove_file(s.0.path("dist/site/404.html")).unwrap();
        fs::create_dir(s.0.path("dist/site/404.html")).unwrap();
    }),
    (Code::FileTooLarge, |s| {
        let file = fs::File::create(s.0.path("dist/site/404.html")).unwrap();
        file.set_len(65 << 20).unwrap();
    }),
    (Code::PathOutside, |s| {
        let mut index = s.json(INDEX);
        index["files"]["../404.html"] = index["files"]["404.html"].clone();
        s.write(INDEX, index.to_string());
    }),
    (Code::IndexFieldUnknown, |s| s.edit(INDEX, |index| index["comment"] = "new".into())),
    (Code::PageMissing, |s| {
        s.edit(INDEX, |i| drop(i["files"].as_object_mut().unwrap().remove("404.html")));
    }),
    (Code::LicenceMissing, |s| {
        let mut page = String::from_utf8(s.read("index.html")).unwrap();
        let link = page.rfind("<a href").unwrap();
        page.replace_range(link..link + page[link..].find('>').unwrap(), "<a");
        s.write("index.html", page);
        s.list_anew();
    }),
    (Code::SizeDiffers, |s| s.write("404.html", "short")),
    (Code::HashDiffers, |s| {
        let page = String::from_utf8(s.read("404.html")).unwrap();
        s.write("404.html", page.replacen("html", "htmk", 1));
    }),
    (Code::NotListed, |s| {
        s.edit(INDEX, |i| drop(i["files"].as_object_mut().unwrap().remove(MANIFEST)));
    }),
    (Code::StrayFile, |s| {
        fs::copy(s.0.path("dist/site").join(MANIFEST), s.0.path("dist/site/manifests/old.json"))
            .unwrap();
        s.edit(INDEX, |index| index["files"]["manifests/old.json"] = Value::Null);
    }),
    (Code::DescriptorInvalid, |s| s.edit(DESCRIPTOR, |d| d["version"] = "1".into())),
    (Code::DescriptorVersion, |s| s.edit(DESCRIPTOR, |d| d["version"] = "1.0.1".into())),
    (Code::DescriptorPath, |s| s.edit(DESCRIPTOR, |d| d["path"] = "https://a.b/c".into())),
    (Code::DescriptorImage, |s| s.edit(DESCRIPTOR, |d| d["size"] = 5.into())),
    (Code::ReleaseUnknown, |s| {
        s.edit(DESCRIPTOR, |d| d["version"] = "1.0.1".into());
        s.edit(INDEX, |i| i["channels"][0]["targets"][0]["version"] = "1.0.1".into());
    }),
    (Code::StepInvalid, |s| {
        s.edit(INDEX, |index| index["releases"][0]["min_from"] = "0.9.0".into());
        s.edit(DESCRIPTOR, |d| {
            let step = json!({
                "version": "0.9.0",
                "path": d["path"],
                "size": d["size"],
                "sha256": d["sha256"],
            });
            d["min_from"] = "0.9.0".into();
            d["steps"] = json!([step]);
        });
    }),
    (Code::YankedServed, |s| {
        s.edit(INDEX, |index| index["releases"][0]["yanked"] = "it smokes".into());
    }),
    (Code::TermsDiffer, |s| s.edit(INDEX, |i| i["channels"][0]["rollout"]["percent"] = 5.into())),
    (Code::UpdateRefused, |s| s.edit(DESCRIPTOR, |d| d["project"] = "fan".into())),
    (Code::ManifestInvalid, |s| s.edit(MANIFEST, |manifest| *manifest = 5.into())),
    (Code::ManifestVersion, |s| s.edit(MANIFEST, |m| m["version"] = "1.0.1".into())),
    (Code::ManifestParts, |s| {
        s.edit(MANIFEST, |m| m["builds"][0]["parts"][0]["offset"] = 1.into());
    }),
    (Code::ImageMalformed, |s| s.replace("app", |app| app[0] = 0)),
    (Code::ImageTruncated, |s| s.replace("app", |app| app.truncate(20_000))),
    (Code::ImageChecksum, |s| s.replace("app", |app| app[20_000] ^= 1)),
    (Code::ImageHash, |s| s.replace("app", |app| *app.last_mut().unwrap() ^= 1)),
    (Code::AppDescriptor, |s| app(s, sealed(|image| image[32] ^= 1))),
    (Code::ChipMismatch, |s| app(s, sealed(|image| image[12] = 9))),
    (Code::ChipMismatch, |s| {
        s.replace("bootloader", |boot| {
            boot[12] = 9;
            let end = boot.len() - 32;
            let hash = artifact_of(&boot[..end]).unwrap().sha256;
            boot[end..].copy_from_slice(&hash.0);
        });
    }),
    (Code::ProjectMismatch, |s| app(s, app_image(Chip::Esp32c3, "fan", "1.0.0", 40_000))),
    (Code::VersionMismatch, |s| app(s, app_image(Chip::Esp32c3, "lamp", "1.0.1", 40_000))),
    (Code::SecureVersionMismatch, |s| app(s, sealed(|image| image[36] = 3))),
    (Code::SlotTooSmall, |s| app(s, app_image(Chip::Esp32c3, "lamp", "1.0.0", 1_910_000))),
    (Code::SlotSizeDiffers, |s| target(s, |target| target["slot_size"] = 0x20_0000.into())),
    (Code::PartitionTableInvalid, |s| s.replace("partition-table", |table| table[0] = 0)),
    (Code::PartitionTooSmall, |s| s.replace("otadata", |otadata| otadata.resize(0x2800, 0xFF))),
    (Code::OtadataNotBlank, |s| s.replace("otadata", |otadata| otadata[0x1004] = 1)),
    (Code::FactoryDiffers, |s| s.replace("factory", |factory| factory[0x8FFF] = 0)),
    (Code::BeyondFlash, |s| target(s, |target| target["flash_size"] = 0x18_0000.into())),
    (Code::RecordedSecretKey, |s| {
        app(
            s,
            sealed(|image| {
                let key = SecretKey::generate().unwrap().to_pem();
                image[1000..][..key.len()].copy_from_slice(key.as_bytes());
            }),
        );
    }),
];

#[test]
fn each_fault_of_a_sound_site_is_found_by_its_code_and_nothing_else() {
    for (code, break_it) in RULES {
        let site = Site(released());
        break_it(&site);
        let found = found(&site);
        let codes: BTreeSet<_> = found.iter().map(|finding| finding.code).collect();
        assert_eq!(codes, BTreeSet::from([*code]), "{found:#?}");
    }
}

/// Returns all that is found.
pub(super) fn found(site: &Site) -> Vec<Finding> {
    let (secrets, known) = (Secrets::default(), BTreeSet::new());
    let now = NOW.parse().unwrap();
    let terms =
        Terms { now, project: None, secrets: &secrets, known: &known, min_left: None, start: None };
    inspect(&Folder::new(&site.0.path("dist/site")), &terms).all
}

/// Parts that are moved cannot be moved without leaving the factory image behind, and
/// what they lie on.
#[test]
fn a_part_in_the_wrong_place_is_found_by_what_it_does_there() {
    for (role, offset, expected) in [
        ("bootloader", 0x1000, Code::BootloaderOffset),
        ("bootloader", 0x7000, Code::PartsOverlap),
        ("app", 0x9000, Code::SettingsOverwritten),
        ("app", 0xF000, Code::PartitionOverlap),
        ("app", 0x2_0000, Code::PartMisplaced),
        ("otadata", 0xE000, Code::PartMisplaced),
    ] {
        let site = Site(released());
        move_part(&site, role, offset);
        let found = found(&site);
        assert!(found.iter().any(|finding| finding.code == expected), "{found:#?}");
        // Otadata is as blank as what is around it.
        let differs = found.iter().any(|finding| finding.code == Code::FactoryDiffers);
        assert_eq!(differs, role != "otadata", "{found:#?}");
    }
}

/// Nobody makes such a factory image of the parts, but a board that was set up.
#[test]
fn the_network_in_a_factory_image_is_told_beside_what_differs() {
    let site = Site(released());
    let settings = nvs::of_network("home", "correct horse", 0b10);
    site.replace("factory", |flash| flash[0x9000..][..settings.len()].copy_from_slice(&settings));
    let found = found(&site);
    let codes: BTreeSet<_> = found.iter().map(|finding| finding.code).collect();
    assert_eq!(codes, BTreeSet::from([Code::FactoryDiffers, Code::WifiCredentials]), "{found:#?}");
}
