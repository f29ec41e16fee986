//! Rules on what is in flash after it was written: images, partition table, and what
//! was there before.

use super::{
    documents::{chip_in, chip_name, chip_of_family, own_version},
    rollback, settings, table,
};
use crate::{
    check::{
        Code, Fault, Finding,
        discover::{Document, Manifest, Says},
        facts::{Facts, Image, Marks, Table, What},
        foreign::Site,
        target::{check_room, image_fault, unmappable},
    },
    placement::{first_app, is_otadata, smallest_slot},
};
use esp_idf_part::Partition;
use semver::Version;
use std::{collections::BTreeSet, ops::Range};
use towline::{OtaData, image::ImageError, otadata::Boot};
use towline_descriptor::Chip;

/// Partitions begin behind the table.
const FIRST_PARTITION: u64 = 0x9000;

/// Apps are mapped by so many bytes.
const APP_ALIGNMENT: u64 = 0x1_0000;

/// A file that is written to flash.
pub(super) struct Written<'a> {
    pub path: &'a str,
    pub at: u64,
    pub facts: &'a Facts,
}

impl Written<'_> {
    pub(super) fn range(&self) -> Range<u64> {
        self.at..self.at + self.facts.size as u64
    }
}

/// Something in flash.
#[derive(Clone, Copy)]
pub(super) struct Lying<'a, T> {
    path: &'a str,
    /// Where in the file, in bytes.
    in_file: u64,
    at: u64,
    pub what: &'a T,
}

impl<T> Lying<'_, T> {
    fn of(&self, fault: Fault) -> Finding {
        let fault = if self.in_file > 0 { fault.at_byte(self.in_file) } else { fault };
        fault.of(self.path)
    }
}

/// What is in flash once all of a build is written.
pub(super) struct Flash<'a> {
    pub files: Vec<Written<'a>>,
    pub images: Vec<Lying<'a, Image>>,
    tables: Vec<Lying<'a, Result<Table, Fault>>>,
    pub otadata: Vec<Lying<'a, OtaData>>,
    chip: Option<Chip>,
    /// Whether devices are offered updates.
    is_updated: bool,
}

/// Checks every build of every manifest, and the images that none names.
pub(super) fn check(site: &Site<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    let updated = updated(site);
    for document in &site.documents {
        let Says::Manifest(manifest) = &document.says else { continue };
        for build in &manifest.builds {
            // Those of other makers are another format.
            let Some(chip) = chip_of_family(&build.family) else { continue };
            let written = build.parts.iter().map(|part| {
                let (path, facts) = site.facts_of(document, &part.path)?;
                Some(Written { path, at: part.offset.into(), facts })
            });
            // What is elsewhere cannot be judged.
            let Some(files) = written.collect::<Option<Vec<_>>>() else { continue };
            seen.extend(files.iter().map(|file| file.path));
            let flash = Flash::of(files, Some(chip), &updated);
            found.extend(flash.check());
            let is_asked = flash.files.iter().any(|file| file.facts.marks.perhaps_improv);
            let erases = !(manifest.asks_to_erase() || is_asked && manifest.asks_firmware());
            found.extend(flash.starts(document, erases));
            found.extend(flash.version(document, manifest));
            found.extend(settings::check(&flash, document, manifest));
        }
    }
    for (path, facts) in &site.facts {
        if let (false, Ok(facts)) = (seen.contains(path.as_str()), facts) {
            let alone = Written { path, at: 0, facts };
            found.extend(Flash::of(vec![alone], chip_in(path), &updated).check());
        }
    }
    found
}

/// Returns the chips and projects that updates are offered for.
fn updated<'s>(site: &'s Site<'_>) -> BTreeSet<(u16, &'s str)> {
    let links = |document| Document::updates(document).map(move |link| (document, link));
    let apps = site.documents.iter().flat_map(links).filter_map(|(document, link)| {
        let (_, facts) = site.facts_of(document, link)?;
        facts.app_alone()
    });
    apps.filter_map(chip_and_project).collect()
}

fn chip_and_project(app: &Image) -> Option<(u16, &str)> {
    // What a framework says of itself is said of all that is made with it.
    own_version(app).map(|(project, _)| (app.header.chip_id, project))
}

impl<'a> Flash<'a> {
    fn of(files: Vec<Written<'a>>, chip: Option<Chip>, updated: &BTreeSet<(u16, &str)>) -> Self {
        let (mut images, mut tables, mut otadata) = (Vec::new(), Vec::new(), Vec::new());
        for Written { path, at, facts } in &files {
            for element in &facts.elements {
                let (in_file, at) = (element.at, at + element.at);
                match &element.what {
                    What::Image(what) => images.push(Lying { path, in_file, at, what: &**what }),
                    What::Table(what) => tables.push(Lying { path, in_file, at, what }),
                    What::Otadata(what) => otadata.push(Lying { path, in_file, at, what }),
                }
            }
        }
        let mut apps = images.iter().filter_map(|image| chip_and_project(image.what));
        let is_updated = apps.any(|app| updated.contains(&app));
        Self { files, images, tables, otadata, chip, is_updated }
    }

    /// Returns the partitions of its tables.
    pub(super) fn partitions(&self) -> impl Iterator<Item = &'a Partition> {
        let sound = self.tables.iter().filter_map(|table| table.what.as_ref().ok());
        sound.flat_map(|table| table.parsed.partitions())
    }

    /// Returns what the texts of its apps give away.
    fn marks(&self) -> Marks {
        let marks = self.files.iter().map(|file| file.facts.marks);
        marks.reduce(Marks::or).unwrap_or_default()
    }

    fn bootloader(&self) -> Option<&Lying<'a, Image>> {
        self.images.iter().find(|image| image.what.head.is_none())
    }

    /// Checks each image, and the table with what lies in its partitions.
    fn check(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        for image in &self.images {
            // The ROM boots a bootloader with a stale hash.
            if let (Err(error), false) = (&image.what.whole, image.what.is_patched) {
                found.push(image.of(image_fault(*error)));
            }
            if let Some(at) = image.what.unmappable {
                found.push(unmappable(image.in_file + at as u64).of(image.path));
            }
            found.extend(self.is_for_chip(image).err().map(|fault| image.of(fault)));
        }
        for file in &self.files {
            // What follows an image that is alone in its file.
            if let (Some(app), Err(error @ ImageError::TrailingBytes)) =
                (file.facts.app_alone(), file.facts.image)
                && app.whole.is_ok()
                && !file.facts.ends_well
            {
                found.push(image_fault(error).of(file.path));
            }
        }
        for table in &self.tables {
            match table.what {
                Err(fault) => found.push(table.of(fault.clone())),
                Ok(parsed) => found.extend(self.check_table(table, parsed)),
            }
        }
        found
    }

    fn is_for_chip(&self, image: &Lying<'_, Image>) -> Result<(), Fault> {
        let id = image.what.header.chip_id;
        if let Some(chip) = self.chip.filter(|chip| chip.id() != id) {
            let message =
                format!("an image for {} is in the place of one for {chip}", chip_name(id));
            return Err(Code::ChipMismatch.fault(message));
        }
        match self.bootloader() {
            Some(boot) if boot.what.header.chip_id != id => {
                let message = format!(
                    "is for {}, its bootloader for {}",
                    chip_name(id),
                    chip_name(boot.what.header.chip_id)
                );
                Err(Code::ChipMismatch.fault(message))
            }
            _ => Ok(()),
        }
    }

    fn check_table(
        &self,
        table: &Lying<'_, Result<Table, Fault>>,
        Table { parsed, has_md5 }: &Table,
    ) -> Vec<Finding> {
        let partitions = parsed.partitions();
        let mut faults = table::faults(partitions);
        if !has_md5 {
            faults.push(Code::PartitionTableUnhashed.fault("has no row with its MD5"));
        }
        let slots = table::slots(partitions).len();
        // A table alone has nothing in its partitions.
        if self.images.is_empty() {
            return faults.into_iter().map(|fault| table.of(fault)).collect();
        }
        faults.extend(table::lies_free(table.at, partitions).err());
        if self.is_updated && slots < 2 {
            let message = format!("has {slots} slots for updates, and updates are offered");
            faults.push(Code::SingleSlot.fault(message));
        }
        let mut found = Vec::new();
        match self.bootloader() {
            None => faults.push(Code::PartMissing.fault("no bootloader is written with it")),
            Some(boot) => {
                found.extend(check_bootloader(boot, partitions));
                if self.images.iter().any(|image| image.what.head.is_some()) {
                    let is_updated = self.is_updated && slots > 1;
                    let check = if is_updated { rollback::missing } else { rollback::half };
                    let result = check(boot.what.rolls_back, self.marks());
                    found.extend(result.err().map(|fault| boot.of(fault)));
                }
            }
        }
        found.extend(faults.into_iter().map(|fault| table.of(fault)));
        // What is in one file with a misplaced bootloader lies wrong with it.
        if found.iter().any(|fault| fault.code == Code::BootloaderOffset) {
            return found;
        }
        match self.selected(partitions) {
            Ok(selected) => found.extend(self.check_app(table, partitions, selected)),
            Err(faulty) => found.push(faulty),
        }
        found
    }

    /// Returns the slot that is selected by the otadata that is written, if one is.
    fn selected<'p>(&self, partitions: &'p [Partition]) -> Result<Option<&'p Partition>, Finding> {
        let place = partitions.iter().find(|p| is_otadata(p)).map(|p| u64::from(p.offset()));
        let Some(otadata) = self.otadata.iter().find(|otadata| Some(otadata.at) == place) else {
            return Ok(None);
        };
        let is_broken = otadata.what.records.iter().any(|r| !r.is_invalid() && !r.is_valid());
        if is_broken {
            let message = "a record has a wrong checksum: the bootloader ignores it";
            return Err(otadata.of(Code::OtadataBroken.fault(message)));
        }
        let slots = table::slots(partitions);
        let selected = match otadata.what.boot(slots.len().max(1)) {
            Boot::Slot { slot, .. } => slots.get(slot).copied(),
            Boot::Default => None,
        };
        let is_filled =
            |slot: &Partition| self.images.iter().any(|image| image.at == u64::from(slot.offset()));
        match selected.filter(|slot| !is_filled(slot)) {
            Some(empty) => {
                let message = format!("selects {}, and no app is written there", empty.name());
                Err(otadata.of(Code::OtadataNotBlank.fault(message)))
            }
            None => Ok(selected),
        }
    }

    /// Checks that an app is where it is booted, and fits.
    fn check_app(
        &self,
        table: &Lying<'_, Result<Table, Fault>>,
        partitions: &[Partition],
        selected: Option<&Partition>,
    ) -> Option<Finding> {
        let place = selected.or_else(|| first_app(partitions))?;
        let start = u64::from(place.offset());
        let Some(app) = self.images.iter().find(|image| image.at == start) else {
            let message = format!("no app lies at {start:#x}, where {} is booted", place.name());
            return Some(table.of(Code::PartMisplaced.fault(message)));
        };
        let (size, _) = app.what.whole.ok()?;
        let slot = match self.is_updated {
            true => smallest_slot(partitions)?.min(place.size()),
            false => place.size(),
        };
        let slot = u64::from(slot);
        check_room(size, slot).err().map(|fault| app.of(fault))
    }

    /// Compares the version of a manifest with that of its app, where both are versions.
    fn version(&self, document: &Document, manifest: &Manifest) -> Option<Finding> {
        let parse = |text: &str| Version::parse(text.trim_start_matches('v')).ok();
        // ESPHome's apps have the version of ESPHome.
        let said = manifest.version.as_deref().filter(|_| !self.marks().esphome)?;
        let (_, own) = self.images.iter().find_map(|image| own_version(image.what))?;
        let message = format!("says version {said}, its app is {own}");
        (parse(said)? != parse(own)?).then(|| Code::VersionNotInImage.of(&document.path, message))
    }

    /// Checks that a blank chip would start what a build writes.
    fn starts(&self, document: &Document, erases: bool) -> Vec<Finding> {
        let mut found = Vec::new();
        for file in self.files.iter().filter(|file| file.facts.size == 0) {
            found.push(Code::ImageMalformed.of(file.path, "is empty"));
        }
        let is_nothing = self.images.is_empty() && self.tables.is_empty();
        if is_nothing && self.otadata.is_empty() && found.is_empty() {
            let message = format!(
                "writes no bootloader, table or app that is known for {}; what is encrypted cannot be judged",
                self.chip.map_or("its chip", Chip::family)
            );
            found.push(Code::NotChecked.of(&document.path, message));
        }
        if let [app] = self.images.as_slice()
            && self.tables.is_empty()
            && app.what.head.is_some()
        {
            let is_place = app.at >= FIRST_PARTITION && app.at.is_multiple_of(APP_ALIGNMENT);
            if !is_place && Some(app.at) != self.chip.map(|c| c.bootloader_offset().into()) {
                let message = format!("an app is written to {:#x}, where none is started", app.at);
                found.push(app.of(Code::PartMisplaced.fault(message)));
            } else if is_place && erases {
                let message = "writes an app alone, and the installer erases what starts it";
                found.push(Code::PartMissing.of(&document.path, message));
            }
        }
        let place = self.chip.map(|chip| u64::from(chip.bootloader_offset()));
        let is_app = |image: &&Lying<'_, Image>| image.what.head.is_some();
        for app in self.images.iter().filter(is_app).filter(|app| Some(app.at) == place) {
            let message =
                format!("an app is written to {:#x}, the place of the bootloader", app.at);
            found.push(app.of(Code::PartMisplaced.fault(message)));
        }
        if self.bootloader().is_some() && self.tables.is_empty() {
            let message = "writes a bootloader, and no partition table";
            found.push(Code::PartMissing.of(&document.path, message));
        }
        found
    }
}

fn check_bootloader(boot: &Lying<'_, Image>, partitions: &[Partition]) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Some(chip) = boot.what.header.chip()
        && u64::from(chip.bootloader_offset()) != boot.at
    {
        let (at, expected) = (boot.at, chip.bootloader_offset());
        let message =
            format!("the bootloader is at {at:#x}, an {chip} looks for it at {expected:#x}");
        found.push(boot.of(Code::BootloaderOffset.fault(message)));
    }
    let end = partitions.iter().map(|p| u64::from(p.offset()) + u64::from(p.size())).max();
    let believed = (1_u64 << 20) << boot.what.header.flash_size.min(7);
    if let Some(end) = end.filter(|end| *end > believed) {
        let message = format!(
            "the bootloader believes in {} MB of flash, and the partitions end at {end:#x}",
            believed >> 20
        );
        found.push(boot.of(Code::BeyondFlash.fault(message)));
    }
    found
}
