//! Sites that Towline did not make: a sound one, broken in one way for each rule, and
//! one of the field as it is published.

use super::released;
use crate::support::{Project, app_image, command, repository, text, xtask};
use serde_json::{Value, json};
use std::{collections::BTreeSet, fs, path::Path, thread};
use towline::Guard;
use towline_descriptor::Chip;
use towline_sim::sample::seal;
use xtask::{serve::Server, store::artifact_of};

pub(crate) const MANIFEST: &str = "web/manifest.json";
pub(crate) const DESCRIPTOR: &str = "ota/stable/esp32c3.json";
pub(crate) const APP: &str = "ota/stable/lamp-1.0.0.bin";

/// A folder with a manifest, a descriptor and images.
pub(crate) struct Site {
    pub(crate) dir: tempfile::TempDir,
    /// Where the images come from.
    project: Project,
}

impl Site {
    /// Makes a sound one: parts with their offsets, and an app for updates.
    pub(crate) fn new() -> Self {
        let project = released();
        let built = project.path("images/esp32c3.bin");
        fs::write(built, lamp("1.0.0", 40_000)).unwrap();
        project.done(&["build", "--out", "parts"]);
        let site = Self { dir: tempfile::tempdir().unwrap(), project };
        let mut parts = Vec::new();
        for (role, offset) in
            [("bootloader", 0), ("partition-table", 0x8000), ("otadata", 0xD000), ("app", 0x1_0000)]
        {
            site.write(&format!("web/{role}.bin"), site.part(role));
            parts.push(json!({ "path": format!("{role}.bin"), "offset": offset }));
        }
        site.write(APP, site.part("app"));
        let manifest = json!({
            "name": "lamp",
            "version": "1.0.0",
            "new_install_prompt_erase": true,
            "builds": [{ "chipFamily": "ESP32-C3", "parts": parts }],
        });
        site.write(MANIFEST, manifest.to_string());
        site.write(DESCRIPTOR, site.descriptor().to_string());
        site
    }

    pub(crate) fn descriptor(&self) -> Value {
        let sha256 = artifact_of(&self.part("app")).unwrap().sha256;
        let path = format!("https://a.example/lamp/{APP}");
        json!({ "version": "1.0.0", "path": path, "sha256": sha256 })
    }

    /// Returns what was built for the chip.
    pub(crate) fn part(&self, role: &str) -> Vec<u8> {
        fs::read(self.project.path(format!("parts/esp32c3-{role}.bin"))).unwrap()
    }

    pub(crate) fn path(&self, path: &str) -> std::path::PathBuf {
        self.dir.path().join(path)
    }

    pub(crate) fn write(&self, path: &str, bytes: impl AsRef<[u8]>) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), bytes).unwrap();
        // The descriptor has the hash of the app, whatever that is.
        if path == APP && self.path(DESCRIPTOR).exists() {
            let sha256 = artifact_of(&fs::read(self.path(APP)).unwrap()).unwrap().sha256;
            self.edit(DESCRIPTOR, |descriptor| descriptor["sha256"] = sha256.to_string().into());
        }
    }

    pub(crate) fn edit(&self, path: &str, change: impl FnOnce(&mut Value)) {
        let mut document = serde_json::from_slice(&fs::read(self.path(path)).unwrap()).unwrap();
        change(&mut document);
        self.write(path, document.to_string());
    }

    pub(crate) fn replace(&self, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = fs::read(self.path(path)).unwrap();
        change(&mut bytes);
        self.write(path, bytes);
    }

    /// Changes the app wherever it is.
    pub(crate) fn app(&self, change: impl Fn(&mut Vec<u8>)) {
        self.replace(APP, &change);
        self.replace("web/app.bin", &change);
    }

    /// Lets the one build consist of these parts.
    pub(crate) fn parts(&self, parts: Value) {
        self.edit(MANIFEST, |manifest| manifest["builds"][0]["parts"] = parts);
    }

    /// Publishes one file for all parts.
    pub(crate) fn merge(&self) {
        self.write("web/factory.bin", self.part("factory"));
        self.edit(MANIFEST, |manifest| {
            manifest["builds"][0]["parts"] = json!([{ "path": "factory.bin", "offset": 0 }]);
        });
    }
}

/// Returns an app of this version and size that goes back to the one before itself, as
/// the bootloader does not.
pub(crate) fn lamp(version: &str, len: usize) -> Vec<u8> {
    let mut app = app_image(Chip::Esp32c3, "lamp", version, len);
    let text = Guard::Stranded.to_string();
    app[1000..][..text.len()].copy_from_slice(text.as_bytes());
    seal(app)
}

/// Returns the codes of what is found, with the places.
pub(crate) fn found(dir: &Path, arguments: &[&str]) -> Vec<(String, String)> {
    let output = xtask(dir, &[&["check", "--json"], arguments].concat());
    let json: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)));
    let lists = ["problems", "warnings", "notes"].map(|list| json[list].clone());
    let rows = lists.iter().flat_map(|list| list.as_array().into_iter().flatten());
    let field = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
    rows.map(|row| (field(row, "code"), field(row, "path"))).collect()
}

type Break = fn(&Site);

const RULES: &[(&str, Break)] = &[
    ("manifest-invalid", |s| s.edit(MANIFEST, |m| m["builds"][0]["parts"] = json!([]))),
    ("manifest-invalid", |s| s.edit(MANIFEST, |m| m["version"] = Value::Null)),
    ("chip-family-unknown", |s| {
        s.edit(MANIFEST, |m| m["builds"][0]["chipFamily"] = "ESP32C3".into());
    }),
    ("chip-mismatch", |s| s.edit(MANIFEST, |m| m["builds"][0]["chipFamily"] = "ESP32-S3".into())),
    ("chip-mismatch", |s| {
        fs::rename(s.path(DESCRIPTOR), s.path("ota/stable/esp32s3.json")).unwrap();
    }),
    ("part-unaligned", |s| {
        s.edit(MANIFEST, |m| m["builds"][0]["parts"][2]["offset"] = 0xD010.into());
    }),
    ("parts-overlap", |s| {
        s.edit(MANIFEST, |m| m["builds"][0]["parts"][2]["offset"] = 0x1_1000.into());
    }),
    ("part-misplaced", |s| {
        s.edit(MANIFEST, |m| m["builds"][0]["parts"][3]["offset"] = 0x2_0000.into());
    }),
    ("bootloader-offset", |s| {
        s.edit(MANIFEST, |m| m["builds"][0]["parts"][0]["offset"] = 0x1000.into());
    }),
    ("part-missing", |s| {
        s.edit(MANIFEST, |m| drop(m["builds"][0]["parts"].as_array_mut().unwrap().remove(0)));
    }),
    ("part-missing", |s| {
        s.edit(MANIFEST, |m| drop(m["builds"][0]["parts"].as_array_mut().unwrap().remove(1)));
    }),
    ("part-misplaced", |s| {
        s.edit(MANIFEST, |m| {
            m["builds"][0]["parts"] = json!([{ "path": "app.bin", "offset": 0 }]);
        });
    }),
    ("link-broken", |s| fs::remove_file(s.path("web/app.bin")).unwrap()),
    ("link-insecure", |s| {
        s.edit(DESCRIPTOR, |d| d["path"] = format!("http://a.example/lamp/{APP}").into());
    }),
    ("link-insecure", |s| {
        s.edit(DESCRIPTOR, |d| d["path"] = format!("HTTP://a.example/lamp/{APP}").into());
    }),
    #[cfg(unix)]
    ("file-missing", |s| {
        std::os::unix::fs::symlink("nowhere", s.path("other.bin")).unwrap();
    }),
    ("settings-overwritten", Site::merge),
    ("partition-table-invalid", |s| s.replace("web/partition-table.bin", |table| table[40] ^= 1)),
    ("image-checksum", |s| s.replace("web/app.bin", |app| app[20_000] ^= 1)),
    ("image-truncated", |s| s.replace(APP, |app| app.truncate(20_000))),
    ("version-mismatch", |s| {
        s.app(|app| *app = lamp("1.0.1", 40_000));
        s.edit(MANIFEST, |m| m["version"] = "1.0.1".into());
    }),
    ("app-differs", |s| s.write(APP, lamp("1.0.0", 40_016))),
    ("slot-too-small", |s| {
        s.app(|app| *app = lamp("1.0.0", 1_910_000));
    }),
    ("slot-nearly-full", |s| {
        s.app(|app| *app = lamp("1.0.0", 1_890_000));
    }),
    ("descriptor-invalid", |s| s.edit(DESCRIPTOR, |d| d["version"] = 1.into())),
    ("path-relative", |s| s.edit(DESCRIPTOR, |d| d["path"] = "lamp-1.0.0.bin".into())),
    ("version-not-semver", |s| {
        s.edit(DESCRIPTOR, |d| d["version"] = "v1.0.0".into());
        s.app(|app| *app = lamp("v1.0.0", 40_000));
    }),
    ("unauthenticated", |s| {
        s.edit(DESCRIPTOR, |d| drop(d.as_object_mut().unwrap().remove("sha256")));
    }),
    ("mutable-name", |s| {
        fs::rename(s.path(APP), s.path("ota/stable/lamp.bin")).unwrap();
        s.edit(DESCRIPTOR, |d| d["path"] = "https://a.example/lamp/ota/stable/lamp.bin".into());
    }),
    ("not-an-app", |s| s.write(APP, s.part("factory"))),
    ("image-shared", |s| {
        s.write("ota/testing/lamp.json", s.descriptor().to_string());
        s.edit("ota/testing/lamp.json", |d| d["version"] = "1.1.0".into());
    }),
    ("not-checked", |s| {
        s.edit(DESCRIPTOR, |d| d["path"] = "https://b.example/lamp-1.0.0.bin".into());
    }),
    ("md5-differs", |s| {
        s.edit(MANIFEST, |m| {
            let ota = json!({ "path": "app.bin", "md5": "d41d8cd98f00b204e9800998ecf8427e" });
            m["builds"][0]["ota"] = ota;
        });
    }),
];

#[test]
fn each_fault_of_a_sound_site_of_others_is_found_by_its_code() {
    let site = Site::new();
    assert_eq!(found(site.dir.path(), &["."]), []);
    for (code, break_it) in RULES {
        let site = Site::new();
        break_it(&site);
        let found = found(site.dir.path(), &["."]);
        let codes: BTreeSet<_> = found.iter().map(|(code, _)| code.as_str()).collect();
        let mut expected = BTreeSet::from([*code]);
        // The other version is neither in the image nor in its name.
        if *code == "image-shared" {
            expected.extend(["mutable-name", "version-mismatch"]);
        }
        assert_eq!(codes, expected, "{found:?}");
    }
}

#[test]
fn documents_of_other_tools_are_left_alone() {
    let site = Site::new();
    let of_host = json!({ "version": 2, "builds": [{ "src": "*", "use": "@vercel/static" }] });
    site.write("vercel.json", of_host.to_string());
    site.write("lock.json", json!({ "version": 3, "path": "node_modules" }).to_string());
    assert_eq!(found(site.dir.path(), &["."]), []);
    let named = found(site.dir.path(), &["vercel.json"]);
    assert_eq!(named.len(), 1, "{named:?}");
    assert_eq!(named[0].0, "manifest-invalid");
}

#[test]
fn one_relative_path_in_two_folders_means_two_files() {
    let site = Site::new();
    for (version, folder) in [("1.0.0", "a"), ("1.1.0", "b")] {
        site.write(&format!("{folder}/lamp.bin"), lamp(version, 40_000));
        let descriptor = json!({ "version": version, "path": "lamp.bin" });
        site.write(&format!("{folder}/lamp.json"), descriptor.to_string());
    }
    let found = found(site.dir.path(), &["."]);
    assert!(!found.iter().any(|(code, _)| code == "image-shared"), "{found:?}");
}

#[test]
fn one_document_is_checked_alone() {
    let site = Site::new();
    site.replace(APP, |app| app.truncate(20_000));
    assert_eq!(found(site.dir.path(), &[MANIFEST]), []);
    assert_eq!(found(&site.path("web"), &["./manifest.json"]), []);
    assert_eq!(found(&site.path("ota"), &["../web/manifest.json"]), []);
    // What is no file of the site is not opened.
    for (part, code) in [("/dev/zero", "not-checked"), ("../../../../../dev/zero", "link-broken")] {
        let whole = fs::read(site.path(MANIFEST)).unwrap();
        site.edit(MANIFEST, |m| m["builds"][0]["parts"][3]["path"] = part.into());
        let codes: Vec<_> = found(site.dir.path(), &[MANIFEST]).into_iter().map(|f| f.0).collect();
        assert_eq!(codes, [code], "{part}");
        site.write(MANIFEST, whole);
    }
    site.edit(MANIFEST, |manifest| manifest["builds"][0]["chipFamily"] = "ESP32-S3".into());
    let path = site.path(MANIFEST);
    let codes = |found: Vec<(String, String)>| found.into_iter().map(|(code, _)| code).collect();
    let codes: BTreeSet<String> = codes(found(site.dir.path(), &[path.to_str().unwrap()]));
    assert_eq!(codes, BTreeSet::from(["chip-mismatch".to_owned()]));
}

#[test]
fn a_document_at_a_url_is_followed_on_its_host() {
    let site = Site::new();
    let any = "127.0.0.1:0".parse().unwrap();
    let server = Server::bind(any, site.dir.path(), "/", None).unwrap();
    let address = server.address().unwrap();
    thread::spawn(move || server.run(|_| {}));
    let url = format!("http://{address}/{MANIFEST}");
    assert_eq!(found(site.dir.path(), &[&url]), []);
    site.merge();
    fs::rename(site.path("web/factory.bin"), site.path("factory.bin")).unwrap();
    let part = "../factory.bin";
    site.edit(MANIFEST, |manifest| manifest["builds"][0]["parts"][0]["path"] = part.into());
    assert_eq!(found(site.dir.path(), &[&url]), [("settings-overwritten".into(), MANIFEST.into())]);
    fs::remove_file(site.path("factory.bin")).unwrap();
    assert_eq!(found(site.dir.path(), &[&url]), [("link-broken".into(), MANIFEST.into())]);
    // The host does not tell what it has.
    fs::remove_file(site.path(DESCRIPTOR)).unwrap();
    let cache = tempfile::tempdir().unwrap();
    let mut check = command(site.dir.path(), &["check", &format!("http://{address}/")]);
    let output = check.env("XDG_CACHE_HOME", cache.path()).output().unwrap();
    let shown = text(&output.stdout);
    assert!(shown.contains(&format!("such as http://{address}/manifest.json")), "{shown}");
    // What this machine answers is not kept.
    assert_eq!(cache.path().read_dir().unwrap().count(), 0);
}

#[test]
fn an_image_in_a_folder_of_its_own_is_checked_too() {
    let site = Site::new();
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("factory.bin"), site.part("factory")).unwrap();
    fs::write(dir.path().join("esp32c3.bin"), site.part("app")).unwrap();
    assert_eq!(found(dir.path(), &["."]), []);
    fs::rename(dir.path().join("esp32c3.bin"), dir.path().join("esp32s3.bin")).unwrap();
    assert_eq!(found(dir.path(), &["."]), [("chip-mismatch".into(), "esp32s3.bin".into())]);
    let empty = tempfile::tempdir().unwrap();
    assert_eq!(found(empty.path(), &["."]), [("file-missing".into(), "releases.json".into())]);
}

#[test]
fn a_site_of_ours_without_its_index_is_no_site_of_others() {
    for is_signed in [false, true] {
        let project = released();
        if is_signed {
            project.done(&["keys", "init"]);
            project.done(&["site"]);
        }
        fs::remove_file(project.path("dist/site/releases.json")).unwrap();
        let found = found(&project.path("dist"), &["site"]);
        assert_eq!(found, [("file-missing".into(), "releases.json".into())]);
    }
}

#[test]
fn a_manifest_for_chips_of_other_makers_is_left_alone() {
    let site = Site::new();
    site.edit(MANIFEST, |m| {
        let part = json!({ "path": "esp8266.bin", "offset": 0 });
        let build = json!({ "chipFamily": "ESP8266", "parts": [part] });
        m["builds"].as_array_mut().unwrap().push(build);
    });
    let header = [0xE9, 1, 2, 0x40, 4, 0, 0x10, 0x40, 0, 0, 0x10, 0x40, 0x68, 5, 0, 0];
    site.write("web/esp8266.bin", [&header[..], &[0; 4096]].concat());
    assert_eq!(found(site.dir.path(), &["."]), []);
}

/// The files of esp32-evse as they are published, laid out as they are served.
#[test]
fn a_real_site_of_the_field_is_blamed_for_what_is_wrong_alone() {
    let data = repository().join("../shared/data/esp32-evse");
    if !data.join("manifest.json").exists() {
        eprintln!("not run: {} is not there", data.display());
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for folder in ["ota/stable", "web-installer"] {
        fs::create_dir_all(dir.path().join(folder)).unwrap();
    }
    for (from, to) in [
        ("esp32-v2.1.1.json", "ota/stable/esp32.json"),
        ("esp32-v2.1.1.ota.bin", "ota/stable/esp32-evse.ota.bin"),
        ("esp32-v2.1.1.factory.bin", "web-installer/esp32-evse.factory.bin"),
        ("manifest.json", "web-installer/manifest.json"),
    ] {
        fs::copy(data.join(from), dir.path().join(to)).unwrap();
    }
    let (manifest, descriptor) = ("web-installer/manifest.json", "ota/stable/esp32.json");
    let expected = [
        ("settings-overwritten", manifest),
        ("rollback-missing", "web-installer/esp32-evse.factory.bin"),
        ("mutable-name", descriptor),
        ("version-not-semver", descriptor),
        ("unauthenticated", descriptor),
        ("not-checked", manifest),
    ];
    let expected = expected.map(|(code, path)| (code.to_owned(), path.to_owned()));
    let found: BTreeSet<_> = found(dir.path(), &["."]).into_iter().collect();
    assert_eq!(found, BTreeSet::from(expected));
}
