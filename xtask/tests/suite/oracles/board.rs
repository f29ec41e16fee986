//! An ESP32-C3 with the release of this repository: updated by the client that
//! devices run, booted by the bootloader that is shipped, on an emulated CPU.

use super::{Oracles, Published, hex, seal};
use crate::support::repository;
use esp_idf_part::{PartitionTable, Type};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256 as Hasher};
use std::{
    fs,
    io::{Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};
use tempfile::TempDir;
use towline::{
    Expected, Layout, Ota, Reset, Slot, image::Head, layout::PARTITION_TABLE_OFFSET,
    otadata::SECTOR,
};
use towline_descriptor::{Chip, Sha256, Version};
use towline_sim::{Device, Flash, Kind};
use xtask::{
    release::Role,
    site::{IndexRelease, IndexTarget},
};

/// The chip that can be emulated.
pub(super) const CHIP: Chip = Chip::Esp32c3;

/// What the app prints first, before its guard looks at boot selection.
pub(super) const STARTED: &str = " on esp32c3";

/// What the app prints when its guard has looked at boot selection.
pub(super) const SELECTED: &str = "selected:";

/// What the app prints last before it starts the radio.
pub(super) const FOLLOWING: &str = "following:";

/// Bytes that are in flash before a boot, by their offset.
pub(super) type Variant = Vec<(u32, Vec<u8>)>;

/// The bytes of both records of otadata.
pub(super) type Records = [[u8; 32]; 2];

/// The board: its flash is a file.
pub(super) struct Board {
    folder: TempDir,
    pub(super) layout: Layout,
    /// The app image that was flashed.
    pub(super) app: Vec<u8>,
}

/// How a variant booted on the emulated chip.
#[derive(Deserialize)]
pub(super) struct Ran {
    reached: bool,
    pub(super) output: String,
    /// The records afterwards, as hexadecimal digits.
    otadata: [String; 2],
}

impl Ran {
    /// Returns whether a line of the output ends like this.
    pub(super) fn says(&self, line: &str) -> bool {
        self.output.lines().any(|printed| printed.ends_with(line))
    }

    /// Returns the slot whose image the bootloader loaded.
    pub(super) fn slot(&self, layout: &Layout) -> usize {
        let offset = self.offset();
        layout.slots().iter().position(|slot| slot.offset == offset).unwrap()
    }

    /// Returns the flash offset of the image that the bootloader loaded.
    pub(super) fn offset(&self) -> u32 {
        assert!(self.reached, "{}", self.output);
        let (_, rest) = self.output.rsplit_once("Loaded app from partition at offset 0x").unwrap();
        u32::from_str_radix(rest.lines().next().unwrap(), 16).unwrap()
    }

    /// Returns the records afterwards.
    pub(super) fn records(&self) -> Records {
        let byte = |digits: &str| u8::from_str_radix(digits, 16).unwrap();
        self.otadata.each_ref().map(|hex| std::array::from_fn(|at| byte(&hex[2 * at..][..2])))
    }
}

pub(super) fn emulator() -> PathBuf {
    repository().join("xtask/tests/emulator")
}

/// Returns what a release has for a chip.
pub(super) fn target(release: &IndexRelease, chip: Chip) -> &IndexTarget {
    release.targets.iter().find(|target| target.chip == chip).unwrap()
}

/// Returns what an image says of itself.
pub(super) fn head(image: &[u8]) -> Head {
    Head::parse(image.first_chunk().unwrap()).unwrap()
}

/// Returns an image with another version in its app descriptor.
pub(super) fn with_version(image: &[u8], version: &str) -> Vec<u8> {
    let mut image = image.to_vec();
    image[0x30..0x50].fill(0);
    image[0x30..][..version.len()].copy_from_slice(version.as_bytes());
    seal(&mut image);
    image
}

impl Board {
    /// Flashes the parts of the newest release onto blank flash.
    pub(super) fn flash(site: &Published) -> Self {
        let target = target(&site.index.releases[0], CHIP);
        let parts = target.parts.iter().map(|part| (part.offset, site.read(&part.file)));
        Self::provision(site, &parts.collect::<Vec<_>>())
    }

    /// Flashes the bootloader of the newest release with another partition
    /// table, and the app into each of its app partitions.
    pub(super) fn flash_everywhere(site: &Published, csv: &str) -> Self {
        let target = target(&site.index.releases[0], CHIP);
        let bootloader = target.parts.iter().find(|part| part.role == Role::Bootloader).unwrap();
        let table = PartitionTable::try_from(csv.as_bytes().to_vec()).unwrap();
        let mut parts = vec![
            (bootloader.offset, site.read(&bootloader.file)),
            (PARTITION_TABLE_OFFSET, table.to_bin().unwrap()),
        ];
        let apps = table.partitions().iter().filter(|partition| partition.ty() == Type::App);
        parts.extend(apps.map(|partition| (partition.offset(), site.read(&target.app))));
        Self::provision(site, &parts)
    }

    fn provision(site: &Published, parts: &[(u32, Vec<u8>)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("flash.bin");
        let target = target(&site.index.releases[0], CHIP);
        let parts = parts.iter().map(|(offset, bytes)| (*offset, bytes.as_slice()));
        Device::provision(&path, target.flash_size, parts).unwrap();
        let layout =
            Layout::read(&mut Flash::open(&path).unwrap(), PARTITION_TABLE_OFFSET).unwrap();
        Self { folder, layout, app: site.read(&target.app) }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("flash.bin")
    }

    /// Installs `image` as a device does that runs from `slot`, and has
    /// accepted what runs, when its channel offers the image.
    pub(super) fn install(&self, image: &[u8], slot: usize) {
        let offered = head(image);
        let mut flash = Flash::open(&self.path()).unwrap();
        let mut ota = Ota::open(&mut flash, self.layout.slots()[slot].offset).unwrap();
        let _ = ota.guard(Reset::Power).unwrap();
        ota.accept().unwrap();
        let expected = Expected {
            size: Some(image.len().try_into().unwrap()),
            sha256: Some(Sha256(Hasher::digest(image).into())),
            version: Some(Version::parse(offered.app.version.as_str()).unwrap()),
        };
        let mut writer = ota.begin(expected).unwrap();
        for piece in image.chunks(1000) {
            writer.write(piece).unwrap();
        }
        let verified = writer.finish().unwrap();
        assert_eq!(verified.slot(), Slot::Ota(self.layout.spare(Slot::Ota(slot))));
        verified.activate().unwrap();
    }

    /// Puts bytes into the flash, past all rules of flash.
    pub(super) fn put(&self, variant: &Variant) {
        put(&self.path(), variant);
    }

    /// Returns the records that are in the flash.
    pub(super) fn otadata(&self) -> Records {
        self.records_in(&self.path())
    }

    /// Returns the variant that has these records.
    pub(super) fn with_records(&self, records: Records) -> Variant {
        self.record_offsets().into_iter().zip(records.map(Vec::from)).collect()
    }

    /// Returns the variant in which a byte of the image in `slot` has another
    /// bit.
    pub(super) fn with_damage(&self, slot: usize, at: usize) -> Variant {
        let at = self.layout.slots()[slot].offset + u32::try_from(at).unwrap();
        let flash = fs::read(self.path()).unwrap();
        vec![(at, vec![flash[at as usize] ^ 0x20])]
    }

    /// Boots each variant on the emulated chip until it prints `until`. The
    /// flash stays as it is.
    pub(super) fn boot(&self, oracles: &Oracles, until: &str, variants: &[Variant]) -> Vec<Ran> {
        let digits = |variant: &Variant| -> Vec<_> {
            variant.iter().map(|(at, bytes)| (*at, hex(bytes))).collect()
        };
        let variants: Vec<_> = variants.iter().map(digits).collect();
        let question = json!({
            "emulator": emulator(), "flash": self.path(), "until": until,
            "otadata": self.record_offsets(), "variants": variants,
        });
        let ran: Vec<Ran> = oracles.ask("boots.py", &question);
        assert_eq!(ran.len(), variants.len());
        ran
    }

    /// Boots a variant in the simulator, and returns the slot and the records
    /// afterwards. The flash stays as it is.
    pub(super) fn simulate(&self, variant: &Variant) -> (usize, Records) {
        let path = self.folder.path().join("simulated.bin");
        fs::copy(self.path(), &path).unwrap();
        put(&path, variant);
        let booted = towline_sim::boot(&mut Flash::open(&path).unwrap(), Kind::Stock).unwrap();
        let Slot::Ota(slot) = booted.slot else { panic!("the factory app runs") };
        (slot, self.records_in(&path))
    }

    fn record_offsets(&self) -> [u32; 2] {
        let start = self.layout.otadata.offset;
        [start, start + SECTOR]
    }

    fn records_in(&self, path: &Path) -> Records {
        let flash = fs::read(path).unwrap();
        self.record_offsets().map(|at| *flash[at as usize..].first_chunk().unwrap())
    }
}

fn put(path: &Path, variant: &Variant) {
    let mut file = fs::OpenOptions::new().write(true).open(path).unwrap();
    for (offset, bytes) in variant {
        file.seek(SeekFrom::Start((*offset).into())).unwrap();
        file.write_all(bytes).unwrap();
    }
}
