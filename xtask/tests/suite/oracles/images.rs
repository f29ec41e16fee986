//! Images, partition tables and chips, against esptool and esp-idf-defs.

use super::{Oracles, Published, cases, flashable_chips, hex, seal};
use crate::support::{PARTITIONS, Project, app_image};
use proptest::{prelude::*, sample::select};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};
use towline::{
    Layout, Region,
    image::{self, HEAD_LEN, Head},
    layout::PARTITION_TABLE_OFFSET,
};
use towline_descriptor::Chip;
use towline_sim::Flash;
use xtask::release::Role;

/// A chip as esptool knows it.
#[derive(Debug, PartialEq, Deserialize)]
struct ChipFacts {
    family: String,
    id: u16,
    bootloader_offset: u32,
    mapped: u32,
}

#[test]
fn the_chip_table_is_that_of_esptool() {
    let Some(oracles) = Oracles::find() else { return };
    let theirs: BTreeMap<String, ChipFacts> = oracles.ask("chips.py", &());
    let ours: BTreeMap<String, ChipFacts> = Chip::ALL
        .iter()
        .map(|chip| {
            let facts = ChipFacts {
                family: chip.family().into(),
                id: chip.id(),
                bootloader_offset: chip.bootloader_offset(),
                // This is not ours to know.
                mapped: theirs.get(chip.name()).map_or(0, |facts| facts.mapped),
            };
            (chip.name().into(), facts)
        })
        .collect();
    for (name, facts) in &ours {
        assert_eq!(theirs.get(name), Some(facts), "{name}");
    }
    let names = |chips: &BTreeMap<String, ChipFacts>| chips.keys().cloned().collect();
    let (ours, theirs): (BTreeSet<_>, BTreeSet<_>) = (names(&ours), names(&theirs));
    // When esptool learns another chip, it belongs into the table.
    assert_eq!(theirs.difference(&ours).collect::<Vec<_>>(), ["esp32e22"]);
}

/// What a command line of esptool did.
#[derive(Deserialize)]
struct Ran {
    failed: bool,
    output: String,
}

impl Ran {
    /// Returns the value of a line `Name: value`.
    fn field(&self, name: &str) -> Option<&str> {
        let mut lines = self.output.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// Returns whether esptool found checksum and hash, and calls both valid.
    fn is_valid(&self) -> bool {
        let is_valid = |name| self.field(name).is_some_and(|text| text.ends_with(" (valid)"));
        !self.failed && is_valid("Checksum") && is_valid("Validation hash")
    }
}

fn esptool(oracles: &Oracles, command_lines: &[Vec<String>]) -> Vec<Ran> {
    let ran: Vec<Ran> = oracles.ask("command_lines.py", &command_lines);
    assert_eq!(ran.len(), command_lines.len());
    ran
}

fn image_info(path: &Path) -> Vec<String> {
    vec!["image-info".into(), path.display().to_string()]
}

/// Proves that esptool calls every app and bootloader image of a site valid,
/// and reads from it what the index says.
pub(super) fn assert_images_are_valid(oracles: &Oracles, site: &Published) {
    let mut images = Vec::new();
    for release in &site.index.releases {
        for target in &release.targets {
            images.push((release, target, Role::App, site.path(&target.app)));
            for part in target.parts.iter().filter(|part| part.role == Role::Bootloader) {
                images.push((release, target, part.role, site.path(&part.file)));
            }
        }
    }
    let command_lines: Vec<_> = images.iter().map(|(.., path)| image_info(path)).collect();
    for ((release, target, role, path), ran) in images.iter().zip(esptool(oracles, &command_lines))
    {
        let (path, output) = (path.display(), &ran.output);
        assert!(ran.is_valid(), "{path}: {output}");
        let family = target.chip.family();
        assert_eq!(ran.field("Detected image type"), Some(family), "{path}: {output}");
        let id = format!("{} ({family})", target.chip.id());
        assert_eq!(ran.field("Chip ID"), Some(id.as_str()), "{path}: {output}");
        if *role == Role::App {
            assert_eq!(ran.field("Project name"), Some(site.index.project.as_str()), "{output}");
            assert_eq!(ran.field("App version"), Some(release.version.as_str()), "{output}");
            let secure_version = target.secure_version.to_string();
            assert_eq!(ran.field("Secure version"), Some(secure_version.as_str()), "{output}");
        } else {
            assert_eq!(ran.field("Project name"), None, "{output}");
        }
    }
    assert!(!images.is_empty());
}

/// Proves that every factory image of the release that a channel serves is
/// what esptool makes of the parts in the channel's manifest.
pub(super) fn assert_factory_images_are_merged_parts(
    oracles: &Oracles,
    site: &Published,
    channel: &str,
) {
    let manifest = site.root.join(format!("manifests/{channel}.json"));
    let manifest: Value = serde_json::from_slice(&fs::read(manifest).unwrap()).unwrap();
    let release = &site.index.releases[0];
    assert_eq!(manifest["version"], release.version.as_str());
    let builds = manifest["builds"].as_array().unwrap();
    assert_eq!(builds.len(), release.targets.len());

    let merged = tempfile::tempdir().unwrap();
    let mut command_lines = Vec::new();
    for target in &release.targets {
        let build =
            builds.iter().find(|build| build["chipFamily"] == target.chip.family()).unwrap();
        let listed: Vec<_> = target
            .parts
            .iter()
            .map(|part| {
                let path = format!("../{}", part.file.path.as_ref().unwrap());
                json!({ "path": path, "offset": part.offset })
            })
            .collect();
        assert_eq!(build["parts"].as_array(), Some(&listed));
        let output = merged.path().join(target.target.as_str());
        let mut command_line = vec![
            format!("--chip={}", target.chip),
            "merge-bin".into(),
            // Nothing is patched, and the file is for offset 0.
            "--flash-mode=keep".into(),
            "--flash-freq=keep".into(),
            "--flash-size=keep".into(),
            "--target-offset=0".into(),
            format!("--output={}", output.display()),
        ];
        for part in listed {
            command_line.push(part["offset"].to_string());
            let path = site.root.join("manifests").join(part["path"].as_str().unwrap());
            command_line.push(path.display().to_string());
        }
        command_lines.push(command_line);
    }
    for (target, ran) in release.targets.iter().zip(esptool(oracles, &command_lines)) {
        assert!(!ran.failed, "{}: {}", target.target, ran.output);
        let theirs = fs::read(merged.path().join(target.target.as_str())).unwrap();
        let ours = site.read(target.factory.as_ref().unwrap());
        assert!(ours == theirs, "{}: the factory image is another", target.target);
    }
}

/// Releases a version for all chips that a first flash can be made for.
fn publish(oracles: &Oracles) -> (Project, Published) {
    let facts: BTreeMap<String, ChipFacts> = oracles.ask("chips.py", &());
    let chips = flashable_chips();
    let project = Project::new(&chips);
    for chip in &chips {
        let mut image = app_image(*chip, "lamp", "1.2.3-rc.4", 40_000);
        // esptool looks for the app descriptor where flash is mapped.
        let address = facts[chip.name()].mapped + 0x20;
        image[24..28].copy_from_slice(&address.to_le_bytes());
        seal(&mut image);
        project.write(&format!("images/{chip}.bin"), image);
    }
    project.done(&["release"]);
    let site = Published::open(project.path("dist/site"));
    assert_eq!(site.index.releases[0].targets.len(), chips.len());
    (project, site)
}

#[test]
fn esptool_calls_every_published_image_valid() {
    let Some(oracles) = Oracles::find() else { return };
    let (_project, site) = publish(&oracles);
    assert_images_are_valid(&oracles, &site);
}

#[test]
fn bootloaders_carry_the_flash_settings_of_their_target() {
    let Some(oracles) = Oracles::find() else { return };
    let chips = flashable_chips();
    let project = Project::new(&chips);
    let settings = "[defaults]\nflash-size = \"16MB\"\nflash-mode = \"dout\"\n";
    let config = project.read("towline.toml").replace("[defaults]\n", settings);
    project.write("towline.toml", config);
    project.build(&chips, "1.0.0").done(&["release"]);
    let site = Published::open(project.path("dist/site"));
    let targets = &site.index.releases[0].targets;
    let bootloaders = targets.iter().map(|target| {
        let part = target.parts.iter().find(|part| part.role == Role::Bootloader).unwrap();
        image_info(&site.path(&part.file))
    });
    let bootloaders: Vec<_> = bootloaders.collect();
    for (target, ran) in targets.iter().zip(esptool(&oracles, &bootloaders)) {
        assert_eq!(target.flash_size, 16 << 20);
        assert_eq!(ran.field("Flash size"), Some("16MB"), "{}: {}", target.target, ran.output);
        assert_eq!(ran.field("Flash mode"), Some("DOUT"), "{}: {}", target.target, ran.output);
        // They are within what is hashed.
        assert!(ran.is_valid(), "{}: {}", target.target, ran.output);
    }
}

#[test]
fn factory_images_are_what_esptool_merges() {
    let Some(oracles) = Oracles::find() else { return };
    let (_project, site) = publish(&oracles);
    assert_factory_images_are_merged_parts(&oracles, &site, "testing");
}

#[test]
fn esptool_and_we_find_the_same_images_damaged() {
    let Some(oracles) = Oracles::find() else { return };
    let folder = tempfile::tempdir().unwrap();
    let sound = app_image(Chip::Esp32c3, "lamp", "1.0.0", 1000);
    let checksum = sound.len() - 33;
    // App descriptor, other data, padding, checksum, hash.
    let places = [40, 300, 1000, checksum - 1, checksum, checksum + 1, sound.len() - 1];
    let mut images = vec![(true, sound.clone())];
    images.extend(places.map(|at| {
        let mut image = sound.clone();
        image[at] ^= 1;
        (false, image)
    }));
    let command_lines: Vec<_> = images
        .iter()
        .enumerate()
        .map(|(index, (_, image))| {
            let path = folder.path().join(format!("{index}.bin"));
            fs::write(&path, image).unwrap();
            image_info(&path)
        })
        .collect();
    for ((is_sound, image), ran) in images.iter().zip(esptool(&oracles, &command_lines)) {
        assert_eq!(ran.is_valid(), *is_sound, "{}", ran.output);
        assert_eq!(image::check(image).is_ok(), *is_sound);
    }
}

/// Partition tables as projects write them, with the app slots and the factory
/// app in them. None has slots for updates where `Layout` refuses.
const TABLES: [&str; 4] = [
    PARTITIONS,
    // Offsets left to the tool, sizes with units, flags.
    "# Name, Type, SubType, Offset, Size, Flags\n\
     nvs, data, nvs, , 24K,\n\
     keys, data, nvs_keys, , 0x1000, encrypted\n\
     otadata, data, ota, , 8K,\n\
     app0, app, ota_0, , 1M,\n\
     app1, app, ota_1, , 1M,\n\
     storage, data, spiffs, , 0xF0000,\n",
    // A factory app, three slots, a gap, numbers for names.
    "nvs, data, nvs, 0x9000, 0x4000\n\
     otadata, data, ota, 0xd000, 0x2000\n\
     factory, app, factory, 0x10000, 0x80000\n\
     ota_0, app, ota_0, 0x90000, 0x80000\n\
     ota_1, app, 0x11, 0x110000, 0x80000\n\
     ota_2, app, ota_2, 0x200000, 0x80000\n\
     own, 0x40, 0x07, 0x300000, 0x10000\n",
    // Slots in another order than their numbers, and of different sizes.
    "nvs, data, nvs, 0x9000, 0x6000\n\
     ota_1, app, ota_1, 0x10000, 0x100000\n\
     ota_0, app, ota_0, 0x110000, 0x180000\n\
     otadata, data, ota, 0x3f0000, 0x2000\n",
];

/// An entry of a partition table: label, type, subtype, offset, size.
type Entry = (String, u8, u8, u32, u32);

#[derive(Deserialize)]
struct TableVerdict {
    csv: String,
    binary: Vec<Entry>,
}

#[test]
fn partition_tables_are_those_of_esp_idf() {
    let Some(oracles) = Oracles::find() else { return };
    let tables = TABLES.map(|csv| {
        let project = Project::new(&[Chip::Esp32s3]);
        project.write("partitions.csv", csv);
        project.build(&[Chip::Esp32s3], "1.0.0").done(&["release"]);
        let site = Published::open(project.path("dist/site"));
        let parts = &site.index.releases[0].targets[0].parts;
        let table = parts.iter().find(|part| part.role == Role::PartitionTable).unwrap();
        assert_eq!(table.offset, PARTITION_TABLE_OFFSET);
        site.read(&table.file)
    });
    let question: Vec<_> = TABLES
        .iter()
        .zip(&tables)
        .map(|(csv, binary)| json!({ "csv": csv, "binary": hex(binary) }))
        .collect();
    let verdicts: Vec<TableVerdict> = oracles.ask("partition_tables.py", &question);
    assert_eq!(verdicts.len(), tables.len());
    for ((csv, binary), verdict) in TABLES.iter().zip(&tables).zip(verdicts) {
        assert_eq!(hex(binary), verdict.csv, "{csv}");
        assert_eq!(layout_of(binary), layout_by(&verdict.binary), "{csv}");
    }
}

/// Otadata, factory app and slots.
type Places = (Region, Option<Region>, Vec<Region>);

/// Returns the places as the device's own code finds them in flash.
fn layout_of(table: &[u8]) -> Places {
    let folder = tempfile::tempdir().unwrap();
    let mut flash = Flash::create(&folder.path().join("flash.bin"), 1 << 24).unwrap();
    flash.burn(PARTITION_TABLE_OFFSET, table).unwrap();
    let layout = Layout::read(&mut flash, PARTITION_TABLE_OFFSET).unwrap();
    (layout.otadata, layout.factory, layout.slots().to_vec())
}

/// Returns the places that the entries of a table name.
fn layout_by(entries: &[Entry]) -> Places {
    let find = |kind: u8, subtype: u8| {
        let entry = entries.iter().find(|entry| (entry.1, entry.2) == (kind, subtype))?;
        Some(Region { offset: entry.3, size: entry.4 })
    };
    let slots = (0x10..0x20).map_while(|subtype| find(0, subtype)).collect();
    (find(1, 0).unwrap(), find(0, 0), slots)
}

/// What the head of an image says, in the words of `heads.py`.
pub(super) fn told(head: &Head) -> Value {
    let Head { header, app } = head;
    json!({
        "segments": header.segments,
        "spi_mode": header.spi_mode,
        "spi_speed": header.spi_speed,
        "flash_size": header.flash_size,
        "entry": header.entry,
        "chip_id": header.chip_id,
        "hash_appended": header.hash_appended,
        "secure_version": app.secure_version,
        "version": app.version.as_str(),
        "project_name": app.project_name.as_str(),
        "time": app.time.as_str(),
        "date": app.date.as_str(),
        "idf_version": app.idf_version.as_str(),
        "elf_sha256": app.elf_sha256.to_string(),
    })
}

/// The head of an image with any content in the fields that we read, of chips
/// and settings that esp-idf-defs has names for. One in ten is damaged in a
/// byte.
fn any_head() -> impl Strategy<Value = [u8; HEAD_LEN]> {
    let header = (
        1_u8..=16,
        0_u8..=5,
        select(vec![0_u8, 1, 2, 0xF]),
        0_u8..=7,
        any::<u32>(),
        select(vec![0_u16, 2, 5, 9, 12, 13, 16, 18, 23]),
        any::<bool>(),
    );
    // Up to the last byte, in which a text ends without a NUL.
    let text = |len| proptest::string::string_regex(&format!("[!-~äß°]{{0,{len}}}")).unwrap();
    let app = (any::<u32>(), text(32), text(32), text(16), text(16), text(32), any::<[u8; 32]>());
    let damage = prop::option::weighted(0.1, (0..HEAD_LEN, any::<u8>()));
    (header, app, damage).prop_map(|(header, app, damage)| {
        let (segments, mode, speed, size, entry, chip, hash) = header;
        let mut head = [0; HEAD_LEN];
        head[..4].copy_from_slice(&[0xE9, segments, mode, size << 4 | speed]);
        head[4..8].copy_from_slice(&entry.to_le_bytes());
        head[12..14].copy_from_slice(&chip.to_le_bytes());
        head[23] = hash.into();
        let (secure_version, version, project, time, date, idf_version, elf) = app;
        head[0x20..0x24].copy_from_slice(&0xABCD_5432_u32.to_le_bytes());
        head[0x24..0x28].copy_from_slice(&secure_version.to_le_bytes());
        let texts = [
            (0x30, 32, version),
            (0x50, 32, project),
            (0x70, 16, time),
            (0x80, 16, date),
            (0x90, 32, idf_version),
        ];
        for (at, len, text) in texts {
            // Cut where the field ends, be it within a character.
            let text = &text.as_bytes()[..text.len().min(len)];
            head[at..][..text.len()].copy_from_slice(text);
        }
        head[0xB0..0xD0].copy_from_slice(&elf);
        if let Some((at, byte)) = damage {
            head[at] = byte;
        }
        head
    })
}

#[test]
fn app_descriptors_say_what_esp_idf_defs_reads() {
    let Some(oracles) = Oracles::find() else { return };
    let heads = cases(&any_head(), 3000);
    let question: Vec<_> = heads.iter().map(|head| hex(head)).collect();
    let answer: Vec<Option<Value>> = oracles.ask("heads.py", &question);
    assert_eq!(answer.len(), heads.len());
    let mut refused = 0;
    for (head, theirs) in heads.iter().zip(answer) {
        let ours = Head::parse(head).ok();
        // It refuses settings and chips that it has no name for.
        let unnamed = ours.as_ref().is_some_and(|Head { header, .. }| {
            header.spi_mode > 5
                || !matches!(header.spi_speed, 0..=2 | 0xF)
                || header.flash_size > 7
                || ![0, 2, 5, 9, 12, 13, 16, 18, 23].contains(&header.chip_id)
        });
        if unnamed {
            assert_eq!(theirs, None);
            continue;
        }
        assert_eq!(ours.as_ref().map(told), theirs, "{}", hex(head));
        refused += usize::from(ours.is_none());
    }
    assert!((50..2000).contains(&refused), "{refused}");
}
