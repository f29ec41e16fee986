//! The release of this repository's own firmware: what esptool says of it, and
//! what its bootloader and its app do on an emulated ESP32-C3.
//!
//! `cargo xtask ci` makes the release in `target/ci/site` before it runs the
//! tests.

use super::{
    Oracles, Published,
    board::{
        Board, CHIP, FOLLOWING, Records, SELECTED, STARTED, emulator, head, target, with_version,
    },
    hex, images, not_run, schema,
};
use crate::support::{Project, repository, text, tree};
use std::env;
use towline::{
    OtaData, Slot,
    image::{HEAD_LEN, Head},
    otadata::{Boot, Label, Record, Stage, State},
};
use towline_descriptor::Chip;
use xtask::{site::INDEX, toolchain};

/// Versions that the client installs, one after the other.
const NEXT: [&str; 2] = ["98.7.6-next.5", "99.0.0"];

/// Finds the release; `None` where it is missing and may be.
fn release() -> Option<Published> {
    let site = repository().join("target/ci/site");
    if site.join(INDEX).is_file() {
        return Some(Published::open(site));
    }
    not_run("there is no release in target/ci/site; make it with `cargo xtask ci --only release`");
    None
}

#[test]
fn esptool_calls_the_firmware_valid_and_merges_the_same_factory_images() {
    let (Some(oracles), Some(site)) = (Oracles::find(), release()) else { return };
    for chip in [Chip::Esp32c3, Chip::Esp32c6] {
        target(&site.index.releases[0], chip);
    }
    images::assert_images_are_valid(&oracles, &site);
    images::assert_factory_images_are_merged_parts(&oracles, &site, "testing");
}

#[test]
fn esp_idf_defs_reads_the_same_of_the_firmware() {
    let (Some(oracles), Some(site)) = (Oracles::find(), release()) else { return };
    let apps = site.index.releases[0].targets.iter().map(|target| site.read(&target.app));
    let heads: Vec<[u8; HEAD_LEN]> = apps.map(|app| *app.first_chunk().unwrap()).collect();
    let question: Vec<_> = heads.iter().map(|head| hex(head)).collect();
    let theirs: Vec<serde_json::Value> = oracles.ask("heads.py", &question);
    let ours: Vec<_> = heads.iter().map(|head| images::told(&Head::parse(head).unwrap())).collect();
    assert_eq!(ours, theirs);
}

#[test]
fn the_index_of_the_firmware_is_valid() {
    let (Some(oracles), Some(site)) = (Oracles::find(), release()) else { return };
    schema::assert_valid(&oracles, &[serde_json::to_value(&site.index).unwrap()]);
}

#[test]
fn no_published_file_tells_of_this_machine() {
    let Some(site) = release() else { return };
    let mut folders = vec![
        repository().to_owned(),
        toolchain::cargo_home().unwrap(),
        toolchain::sysroot(repository()).unwrap(),
    ];
    folders.extend(env::home_dir());
    // The root folder is nobody's.
    folders.retain(|folder| folder.components().count() > 1);
    let files = tree(&site.root);
    assert!(files.iter().any(|(path, _)| path.extension().is_some_and(|e| e == "bin")));
    for folder in folders {
        let needle = format!("{}/", folder.display());
        for (path, bytes) in &files {
            let found = bytes.windows(needle.len()).any(|window| window == needle.as_bytes());
            assert!(!found, "{} has {needle}", path.display());
        }
    }
}

#[test]
fn the_factory_image_boots_and_says_what_it_is() {
    let (Some(oracles), Some(site)) = (Oracles::find(), release()) else { return };
    let release = &site.index.releases[0];
    let factory = target(release, CHIP).factory.as_ref().unwrap();
    let output = oracles
        .python(&emulator().join("esp32c3.py"))
        .arg(site.path(factory))
        .args(["--until", FOLLOWING])
        .output()
        .unwrap();
    let printed = text(&output.stdout);
    assert!(output.status.success(), "{printed}\n{}", text(&output.stderr));
    let name = format!("{} {}", site.index.project, release.version);
    for line in [
        &format!("{name} on {CHIP}"),
        "running: ota_0",
        "selected: ota_0, valid",
        &format!("ota_0: {name}"),
    ] {
        assert!(printed.lines().any(|printed| printed.ends_with(line)), "{line}: {printed}");
    }
}

#[test]
fn the_shipped_bootloader_boots_what_the_client_installed() {
    let (Some(oracles), Some(site)) = (Oracles::find(), release()) else { return };
    let board = Board::flash(&site);
    let project = head(&board.app).app.project_name;
    // The first boot records what it boots, and the board keeps that.
    let first = board.boot(&oracles, FOLLOWING, &[vec![]]).remove(0);
    assert_eq!(first.slot(&board.layout), 0);
    board.put(&board.with_records(first.records()));

    for (slot, version) in [1, 0].into_iter().zip(NEXT) {
        let image = with_version(&board.app, version);
        board.install(&image, 1 - slot);
        let ran = board.boot(&oracles, FOLLOWING, &[vec![]]).remove(0);
        for line in [
            "boot: first boot, on trial",
            &format!("running: ota_{slot}"),
            &format!("selected: ota_{slot}, pending-verify"),
            &format!("ota_{slot}: {project} {version}"),
        ] {
            assert!(ran.says(line), "{line}: {}", ran.output);
        }
        assert_eq!(ran.slot(&board.layout), slot);
        let ran = board.boot(&oracles, STARTED, &[vec![]]).remove(0);
        assert_eq!(board.simulate(&vec![]), (slot, ran.records()));
    }
}

/// Most bytes of an image of this repository.
const MOST: u32 = 920 * 1024;

#[test]
fn the_images_of_all_chips_keep_to_their_limit() {
    let Some(site) = release() else { return };
    for target in &site.index.releases[0].targets {
        assert!(target.app.size <= MOST, "{}: {} bytes", target.target, target.app.size);
    }
}

/// Most bytes of an image that verifies signatures.
const MOST_SIGNED: u64 = 956 * 1024;

#[test]
fn firmware_that_verifies_signatures_keeps_to_its_own_limit() {
    if release().is_none() {
        return;
    }
    let esp = repository().join("firmware/esp");
    let esp = esp.to_str().unwrap();
    let project = Project::new(&[]);
    // The largest of the chips, built in a folder of its own.
    project.write(
        "towline.toml",
        format!(
            "project = \"towline-device\"\nbase-url = \"https://towline-fw.github.io/towline/\"\n\
             [channels.stable]\n[channels.testing]\n\
             [defaults]\npartition-table = \"{esp}/partitions.csv\"\nflash-size = \"4MB\"\n\
             [targets.esp32c6-signed]\nchip = \"esp32c6\"\n\
             build = {{ cargo = \"{esp}\", features = [\"esp32c6\"] }}\n"
        ),
    );
    project.done(&["keys", "init"]);
    project.done(&["build"]);
    let size = project.path("dist/build/esp32c6-signed-app.bin").metadata().unwrap().len();
    assert!(size <= MOST_SIGNED, "{size} bytes");
}

/// Returns a board that runs from `ota_0` and is to boot its update in `ota_1`
/// next.
fn updated(site: &Published) -> Board {
    let board = Board::flash(site);
    board.put(&board.with_records([Record::new(1, State::Valid).to_bytes(), [0xFF; 32]]));
    board.install(&with_version(&board.app, NEXT[0]), 0);
    board
}

#[test]
fn a_change_that_is_cut_at_any_byte_boots_the_old_image() {
    let (Some(oracles), Some(site)) = (Oracles::find(), release()) else { return };
    let board = updated(&site);
    let [old, new] = board.otadata();
    let label = Label::new(Stage::Activated, Some(Slot::Ota(0)));
    assert_eq!(new, Record::new(2, State::New).labelled(label).to_bytes());
    // The record is programmed from its first byte to its last.
    let variants: Vec<_> = (0..=new.len())
        .map(|len| {
            let mut cut = [0xFF; 32];
            cut[..len].copy_from_slice(&new[..len]);
            board.with_records([old, cut])
        })
        .collect();
    let runs = board.boot(&oracles, SELECTED, &variants);
    for (len, ran) in runs.iter().enumerate() {
        let expected = usize::from(len == new.len());
        assert_eq!(ran.slot(&board.layout), expected, "cut after {len} bytes: {}", ran.output);
        let state = if expected == 1 {
            "selected: ota_1, pending-verify"
        } else {
            "selected: ota_0, valid"
        };
        assert!(ran.says(state), "cut after {len} bytes: {}", ran.output);
    }
}

#[test]
fn a_damaged_image_is_passed_over() {
    let (Some(oracles), Some(site)) = (Oracles::find(), release()) else { return };
    let board = updated(&site);
    let [first, second] = board.otadata();
    let len = board.app.len();
    let mut variants = Vec::new();
    // Magic, segment count, chip, length of a segment, data, checksum, hash.
    for at in [0, 1, 12, 28, 5000, len - 33, len - 1] {
        // The selected slot; the one that boots by default; the other one.
        for (damaged, records, expected) in
            [(1, [first, second], 0), (0, [[0xFF; 32]; 2], 1), (0, [first, second], 1)]
        {
            let mut variant = board.with_damage(damaged, at);
            variant.extend(board.with_records(records));
            variants.push((variant, expected));
        }
    }
    let (variants, expected): (Vec<_>, Vec<_>) = variants.into_iter().unzip();
    let runs = board.boot(&oracles, STARTED, &variants);
    for ((variant, expected), ran) in variants.iter().zip(expected).zip(runs) {
        assert_eq!(ran.slot(&board.layout), expected, "{variant:x?}: {}", ran.output);
        assert_eq!(board.simulate(variant), (expected, ran.records()), "{variant:x?}");
    }
}

/// Returns records that differ in what they mean to the choice.
fn records() -> Vec<[u8; 32]> {
    let record = |seq, state| Record::new(seq, state).to_bytes();
    let with_bad_crc = |seq, state| {
        let mut bytes = record(seq, state);
        bytes[28] ^= 1;
        bytes
    };
    vec![
        [0xFF; 32],
        [0; 32],
        with_bad_crc(6, State::Valid),
        with_bad_crc(7, State::Aborted),
        record(0, State::Valid),
        record(1, State::Undefined),
        record(2, State::New),
        record(3, State::PendingVerify),
        record(4, State::Valid),
        record(4, State::Invalid),
        record(5, State::Aborted),
        record(5, State::Other(77)),
        record(u32::MAX - 1, State::New),
    ]
}

/// Returns every pair of [`records`], as they are put into flash.
fn pairs() -> Vec<Records> {
    let records = records();
    records.iter().flat_map(|a| records.iter().map(|b| [*a, *b])).collect()
}

fn shown(pair: &Records) -> [String; 2] {
    pair.each_ref().map(|record| hex(record))
}

#[test]
fn the_shipped_bootloader_chooses_as_client_and_simulator_do() {
    let (Some(oracles), Some(site)) = (Oracles::find(), release()) else { return };
    let board = updated(&site);
    let pairs = pairs();
    let variants: Vec<_> = pairs.iter().map(|pair| board.with_records(*pair)).collect();
    let runs = board.boot(&oracles, STARTED, &variants);
    for ((pair, variant), ran) in pairs.iter().zip(&variants).zip(runs) {
        let otadata = OtaData { records: pair.each_ref().map(Record::parse) };
        let expected = match otadata.boot(board.layout.slots().len()) {
            Boot::Slot { slot, .. } => slot,
            Boot::Default => 0,
        };
        assert_eq!(ran.slot(&board.layout), expected, "{:?}: {}", shown(pair), ran.output);
        assert_eq!(board.simulate(variant).0, expected, "{:?}", shown(pair));
    }
}

#[test]
fn the_simulator_records_its_choice_where_the_shipped_bootloader_does() {
    let (Some(oracles), Some(site)) = (Oracles::find(), release()) else { return };
    let board = updated(&site);
    let pairs = pairs();
    let variants: Vec<_> = pairs.iter().map(|pair| board.with_records(*pair)).collect();
    let runs = board.boot(&oracles, STARTED, &variants);
    for ((pair, variant), ran) in pairs.iter().zip(&variants).zip(runs) {
        let simulated = board.simulate(variant).1;
        assert_eq!(shown(&simulated), shown(&ran.records()), "{:?}", shown(pair));
    }
}

/// A factory app and three slots, in an order of their own.
const FACTORY_AND_THREE: &str = "\
otadata, data, ota, 0xd000, 0x2000
factory, app, factory, 0x10000, 0xF0000
ota_2, app, ota_2, 0x100000, 0xF0000
ota_0, app, ota_0, 0x1F0000, 0xF0000
ota_1, app, ota_1, 0x2E0000, 0xF0000
";

#[test]
fn three_slots_and_a_factory_app_are_counted_as_the_shipped_bootloader_does() {
    let (Some(oracles), Some(site)) = (Oracles::find(), release()) else { return };
    let board = Board::flash_everywhere(&site, FACTORY_AND_THREE);
    let factory = board.layout.factory.unwrap();
    let slots = board.layout.slots();
    assert_eq!(slots.len(), 3);
    let records = records();
    let last = [u32::MAX - 1, 300, 7, 6].map(|seq| Record::new(seq, State::New).to_bytes());
    let pairs = records.iter().flat_map(|a| last.map(|b| [*a, b]));
    let pairs: Vec<_> = pairs.chain(records.iter().map(|a| [*a, [0xFF; 32]])).collect();
    let variants: Vec<_> = pairs.iter().map(|pair| board.with_records(*pair)).collect();
    for (pair, ran) in pairs.iter().zip(board.boot(&oracles, STARTED, &variants)) {
        let otadata = OtaData { records: pair.each_ref().map(Record::parse) };
        let expected = match otadata.boot(slots.len()) {
            Boot::Slot { slot, .. } => slots[slot],
            Boot::Default => factory,
        };
        assert_eq!(ran.offset(), expected.offset, "{:?}: {}", shown(pair), ran.output);
    }
}
