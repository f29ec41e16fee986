//! What lies in flash, what an installer writes, and what channels offer: a sound site,
//! broken in one way for each rule.

use super::{
    foreign::{APP, DESCRIPTOR, MANIFEST, Site, found, lamp},
    released, rules,
};
use crate::support::{PARTITIONS, app_image};
use esp_idf_part::PartitionTable;
use md5::{Digest, Md5};
use serde_json::{Value, json};
use std::{collections::BTreeSet, fs};
use towline::otadata::{Record, State};
use towline_descriptor::Chip;
use towline_sim::sample::{seal, with_secure_version};
use xtask::{check::Code, store::artifact_of};

const TABLE: &str = "web/partition-table.bin";
const TESTING: &str = "ota/testing/esp32c3.json";

/// Makes a table from rows of the usual one, each with what takes its place.
fn table(changes: &[(&str, &str)]) -> Vec<u8> {
    let rows = changes.iter().fold(PARTITIONS.to_owned(), |rows, (row, other)| {
        let old = rows.lines().find(|line| line.starts_with(row)).unwrap().to_owned();
        rows.replace(&old, other)
    });
    PartitionTable::try_from_str(rows).unwrap().to_bin().unwrap()
}

/// Offers this app to testers, under this version.
fn testing(site: &Site, version: &str, path: &str, app: Vec<u8>) {
    let sha256 = artifact_of(&app).unwrap().sha256;
    site.write(path, app);
    site.write(TESTING, site.descriptor().to_string());
    site.edit(TESTING, |descriptor| {
        descriptor["sha256"] = sha256.to_string().into();
        descriptor["version"] = version.into();
        descriptor["path"] = format!("https://a.example/lamp/{path}").into();
    });
}

/// Puts one file over all in the place of the parts.
fn put_together(site: &Site) {
    let mut whole = Vec::new();
    for (role, at) in
        [("bootloader", 0), ("partition-table", 0x8000), ("otadata", 0xD000), ("app", 0x1_0000)]
    {
        whole.resize(at, 0xFF);
        whole.extend(fs::read(site.path(&format!("web/{role}.bin"))).unwrap());
    }
    site.merge();
    site.write("web/factory.bin", whole);
}

/// Says that updates for ESPHome are at a path.
fn offer(site: &Site, path: &str) {
    let bytes = fs::read(site.path("web/app.bin")).unwrap();
    let md5: String = Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    site.edit(MANIFEST, |m| m["builds"][0]["ota"] = json!({ "path": path, "md5": md5 }));
}

/// Writes a text into an app.
fn saying(text: &str) -> impl Fn(&mut Vec<u8>) + '_ {
    move |app| {
        app[2000..][..text.len()].copy_from_slice(text.as_bytes());
        *app = seal(app.clone());
    }
}

const AWAITS: &str = "Running app has not confirmed state (ESP_OTA_IMG_PENDING_VERIFY)";

fn unguarded(len: usize) -> Vec<u8> {
    app_image(Chip::Esp32c3, "lamp", "1.0.0", len)
}

type Break = fn(&Site);

const RULES: &[(&str, Break)] = &[
    ("image-malformed", |s| {
        s.write("web/empty.bin", "");
        s.parts(json!([{ "path": "empty.bin", "offset": 0 }]));
    }),
    ("part-misplaced", |s| s.parts(json!([{ "path": "app.bin", "offset": 0x9000 }]))),
    ("not-checked", |s| {
        s.write("web/noise.bin", "noise".repeat(20_000));
        s.parts(json!([{ "path": "noise.bin", "offset": 0 }]));
    }),
    ("part-missing", |s| {
        s.merge();
        s.replace("web/factory.bin", |factory| factory[0x8000..0x9000].fill(0xFF));
    }),
    ("version-not-in-image", |s| s.edit(MANIFEST, |m| m["version"] = "1.1.0".into())),
    ("descriptor-image", |s| s.edit(DESCRIPTOR, |d| d["sha256"] = "0".repeat(64).into())),
    ("unauthenticated", |s| s.edit(DESCRIPTOR, |d| d["sha256"] = "later".into())),
    ("manifest-invalid", |s| s.replace(MANIFEST, |text| text[10] = b',')),
    ("descriptor-invalid", |s| s.replace(DESCRIPTOR, |text| text.insert(0, b'{'))),
    ("descriptor-invalid", |s| s.edit(DESCRIPTOR, |d| d["version"] = "".into())),
    ("descriptor-invalid", |s| {
        s.edit(DESCRIPTOR, |d| d["version"] = "1.0.0-of-a-very-long-name-of-a-branch".into());
    }),
    ("rollback-missing", |s| s.app(|app| *app = unguarded(40_000))),
    ("rollback-half", |s| {
        s.app(|app| *app = unguarded(40_000));
        s.app(saying(AWAITS));
    }),
    ("slots-unequal", |s| s.write(TABLE, table(&[("ota_1", "b, app, ota_1, 0x1e0000, 0x1c0000")]))),
    ("slots-gap", |s| s.write(TABLE, table(&[("ota_1", "b, app, ota_2, 0x1e0000, 0x1d0000")]))),
    ("otadata-missing", |s| s.write(TABLE, table(&[("otadata", "")]))),
    ("single-slot", |s| s.write(TABLE, table(&[("ota_1", "")]))),
    ("partition-table-invalid", |s| {
        s.write(TABLE, table(&[("phy_init", "phy_init, data, phy, 0x8000, 0x1000")]));
    }),
    ("partition-table-unhashed", |s| {
        s.replace(TABLE, |table| {
            let at = table.chunks(32).position(|row| row.starts_with(&[0xEB, 0xEB])).unwrap();
            table[at * 32..].fill(0xFF);
        });
    }),
    // A kind to come, with its MD5.
    ("not-checked", |s| {
        s.replace(TABLE, |table| {
            let at = table.chunks(32).position(|row| row.starts_with(&[0xEB, 0xEB])).unwrap() * 32;
            table[2 * 32 + 3] = 0x70;
            let md5 = Md5::digest(&table[..at]);
            table[at + 16..][..16].copy_from_slice(&md5);
        });
    }),
    ("beyond-flash", |s| s.replace("web/bootloader.bin", |boot| boot[3] &= 0x0F)),
    ("image-malformed", |s| s.replace(APP, |app| app.extend(*b"and something so"))),
    ("image-hash", |s| s.replace("web/bootloader.bin", |boot| boot[4] ^= 4)),
    ("image-hash", |s| s.replace("web/app.bin", |app| *app.last_mut().unwrap() ^= 1)),
    ("image-segment-place", |s| {
        s.app(|app| {
            app[24] = 0x30;
            *app = seal(app.clone());
        });
    }),
    ("otadata-kept", |s| {
        s.edit(MANIFEST, |m| drop(m["builds"][0]["parts"].as_array_mut().unwrap().remove(2)));
    }),
    ("otadata-broken", |s| s.replace("web/otadata.bin", |otadata| otadata[0] = 1)),
    ("otadata-not-blank", |s| {
        let record = Record::new(2, State::Undefined).to_bytes();
        s.replace("web/otadata.bin", |otadata| otadata[..32].copy_from_slice(&record));
    }),
    ("data-overwritten", |s| {
        let moved = "store, data, fat, 0x9000, 0x4000\nnvs, data, nvs, 0x3b0000, 0x4000";
        s.write(TABLE, table(&[("nvs", moved)]));
        put_together(s);
    }),
    ("settings-overwritten", |s| {
        let moved = "keys, data, nvs_keys, 0x9000, 0x1000\nnvs, data, nvs, 0x3b0000, 0x4000";
        s.write(TABLE, table(&[("nvs", moved)]));
        put_together(s);
    }),
    ("installer-erases", |s| s.edit(MANIFEST, |m| m["new_install_prompt_erase"] = false.into())),
    ("improv-unknown", |s| {
        s.edit(MANIFEST, |m| m["name"] = "A lamp for the living room".into());
        s.app(saying("IMPROV\x01"));
    }),
    ("manifest-build-unreachable", |s| {
        s.edit(MANIFEST, |m| {
            let build = m["builds"][0].clone();
            m["builds"].as_array_mut().unwrap().push(build);
        });
    }),
    ("manifest-build-unreachable", |s| {
        s.edit(MANIFEST, |m| m["builds"][0]["serialType"] = "usb".into());
    }),
    ("manifest-deprecated", |s| {
        s.edit(MANIFEST, |m| {
            m.as_object_mut().unwrap().remove("new_install_prompt_erase");
            m["new_install_skip_erase"] = true.into();
        });
    }),
    ("manifest-invalid", |s| s.edit(MANIFEST, |m| m["new_install_prompt_erase"] = "yes".into())),
    ("manifest-invalid", |s| s.edit(MANIFEST, |m| m["name"] = Value::Null)),
    ("ota-path-odd", |s| offer(s, "../web/app.bin")),
    ("version-not-in-image", |s| {
        s.app(saying("esphome"));
        offer(s, "app.bin");
        s.edit(MANIFEST, |m| m["version"] = "2.0.0".into());
    }),
    ("channel-order", |s| testing(s, "0.9.0", "ota/testing/lamp-0.9.0.bin", lamp("0.9.0", 40_000))),
    ("channel-path", |s| testing(s, "1.1.0", "ota/stable/lamp-1.1.0.bin", lamp("1.1.0", 40_000))),
    ("app-differs", |s| testing(s, "1.0.0", "ota/testing/lamp-1.0.0.bin", lamp("1.0.0", 40_016))),
    ("project-mismatch", |s| {
        let fan = app_image(Chip::Esp32c3, "fan", "1.1.0", 40_000);
        testing(s, "1.1.0", "ota/testing/fan-1.1.0.bin", fan);
    }),
    ("image-shared", |s| {
        s.app(|app| {
            app[0x50..0x70].fill(0);
            *app = seal(app.clone());
        });
        let app = fs::read(s.path(APP)).unwrap();
        testing(s, "1.1.0", "ota/testing/lamp-1.1.0.bin", app);
    }),
    ("secure-version-falls", |s| {
        s.app(|app| *app = with_secure_version(app.clone(), 1));
        testing(s, "1.1.0", "ota/testing/lamp-1.1.0.bin", lamp("1.1.0", 40_000));
    }),
];

#[test]
fn each_fault_in_flash_and_of_channels_is_found_by_its_code() {
    for (number, (code, break_it)) in RULES.iter().enumerate() {
        let site = Site::new();
        break_it(&site);
        let found = found(site.dir.path(), &["."]);
        let codes: BTreeSet<_> = found.iter().map(|(code, _)| code.as_str()).collect();
        assert_eq!(codes, BTreeSet::from([*code]), "{number}: {found:?}");
    }
}

/// What looks like a fault and is none.
const SOUND: &[Break] = &[
    // Padding behind an app, and an index of something else.
    |s| s.replace(APP, |app| app.extend([0xFF; 16])),
    // What installers write into the header of a bootloader.
    |s| s.replace("web/bootloader.bin", |boot| boot[3] = 0x4F),
    |s| s.replace(MANIFEST, |text| drop(text.splice(..0, *b"\xEF\xBB\xBF"))),
    |s| s.write("releases.json", r#"{"releases":["1.0.0"],"latest":"1.0.0"}"#),
    // Otadata that selects what is written.
    |s| {
        let record = Record::new(1, State::Undefined).to_bytes();
        s.replace("web/otadata.bin", |otadata| otadata[..32].copy_from_slice(&record));
    },
    // Settings that somebody means to write.
    |s| {
        s.write("web/nvs.bin", [0; 0x4000]);
        s.edit(MANIFEST, |m| {
            let part = json!({ "path": "nvs.bin", "offset": 0x9000 });
            m["builds"][0]["parts"].as_array_mut().unwrap().push(part);
        });
    },
    // Builds for the two kinds of ports.
    |s| {
        s.edit(MANIFEST, |m| {
            let mut build = m["builds"][0].clone();
            build["serialType"] = "cdc".into();
            m["builds"].as_array_mut().unwrap().push(build);
        });
    },
    // Firmware that answers Improv: an update of it does not erase.
    |s| {
        s.edit(MANIFEST, |m| m["new_install_prompt_erase"] = false.into());
        s.app(saying("IMPROV\x01"));
    },
    // A folder that is another board, and no channel.
    |s| {
        let fan = app_image(Chip::Esp32c3, "fan", "1.0.0", 40_000);
        testing(s, "1.0.0", "fan/fan-1.0.0.bin", fan);
        fs::create_dir_all(s.path("ota/fan")).unwrap();
        fs::rename(s.path(TESTING), s.path("ota/fan/esp32c3.json")).unwrap();
    },
    // A board of another project that is never updated, with one slot.
    |s| {
        let fan = app_image(Chip::Esp32c3, "fan", "1.0.0", 40_000);
        for part in ["bootloader", "otadata"] {
            s.write(&format!("fan/{part}.bin"), s.part(part));
        }
        s.write("fan/partition-table.bin", table(&[("ota_1", "")]));
        s.write("fan/app.bin", fan);
        s.write("fan/manifest.json", fs::read(s.path(MANIFEST)).unwrap());
    },
    // A release for testers, and one that was promoted.
    |s| testing(s, "1.1.0", "ota/testing/lamp-1.1.0.bin", lamp("1.1.0", 40_000)),
    |s| testing(s, "1.0.0", APP, lamp("1.0.0", 40_000)),
];

#[test]
fn what_only_looks_like_a_fault_is_none() {
    for (number, change) in SOUND.iter().enumerate() {
        let site = Site::new();
        change(&site);
        assert!(site.path(DESCRIPTOR).exists());
        assert_eq!(found(site.dir.path(), &["."]), [], "{number}");
    }
}

type BreakOwn = fn(&rules::Site);

/// Rules that hold on sites of Towline too.
const OWN: &[(Code, BreakOwn)] = &[
    (Code::SlotNearlyFull, |s| rules::app(s, unguarded(1_890_000))),
    (Code::ImageSegmentPlace, |s| rules::app(s, rules::sealed(|image| image[24] = 0x30))),
    (Code::RollbackHalf, |s| {
        rules::app(
            s,
            rules::sealed(|image| image[2000..][..AWAITS.len()].copy_from_slice(AWAITS.as_bytes())),
        );
    }),
    (Code::SlotsUnequal, |s| {
        s.replace("partition-table", |bytes| {
            *bytes = table(&[("ota_1", "b, app, ota_1, 0x1e0000, 0x1e0000")]);
        });
    }),
    (Code::SlotsGap, |s| {
        s.replace("partition-table", |bytes| {
            *bytes = table(&[("ota_1", "b, app, ota_2, 0x1e0000, 0x1d0000")]);
        });
    }),
];

#[test]
fn rules_on_what_is_in_flash_hold_on_our_own_sites() {
    for (code, break_it) in OWN {
        let site = rules::Site(released());
        break_it(&site);
        let found = rules::found(&site);
        let codes: BTreeSet<_> = found.iter().map(|finding| finding.code).collect();
        assert_eq!(codes, BTreeSet::from([*code]), "{found:#?}");
    }
}
