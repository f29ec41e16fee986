//! Rules on what is in flash after it was written: images, partition table, and what
//! was there before.

use super::documents::{chip_in, chip_of_family, own_version};
use crate::{
    check::{
        Code, Fault, Finding,
        discover::{Document, Manifest, Says},
        facts::{Facts, Image, What},
        foreign::Site,
        target::image_fault,
    },
    placement::{first_app, is_slot, smallest_slot, touches},
};
use esp_idf_part::{DataType, Partition, PartitionTable, SubType};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};
use towline::image::ImageError;
use towline_descriptor::Chip;

/// Flash is erased by so many bytes.
const SECTOR: u64 = 0x1000;

/// From so many hundredths of a slot on, the next release may not fit.
const NEARLY_FULL: u64 = 98;

/// A file that is written to flash.
struct Written<'a> {
    path: &'a str,
    at: u64,
    facts: &'a Facts,
}

impl Written<'_> {
    fn range(&self) -> Range<u64> {
        self.at..self.at + self.facts.size as u64
    }
}

/// Something in flash.
#[derive(Clone, Copy)]
struct Lying<'a, T> {
    path: &'a str,
    /// Where in the file, in bytes.
    in_file: u64,
    at: u64,
    what: &'a T,
}

impl<T> Lying<'_, T> {
    fn of(&self, fault: Fault) -> Finding {
        let fault = if self.in_file > 0 { fault.at_byte(self.in_file) } else { fault };
        fault.of(self.path)
    }
}

/// What is in flash once all of a build is written.
struct Flash<'a> {
    files: Vec<Written<'a>>,
    images: Vec<Lying<'a, Image>>,
    tables: Vec<Lying<'a, Result<PartitionTable, String>>>,
    chip: Option<Chip>,
}

/// Checks every build of every manifest, and the images that none names.
pub(super) fn check(site: &Site<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
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
            let flash = Flash::of(files, Some(chip));
            found.extend(flash.check());
            found.extend(flash.starts(document));
            found.extend(flash.parts(document));
            found.extend(flash.settings(document, manifest));
        }
    }
    for (path, facts) in &site.facts {
        if let (false, Ok(facts)) = (seen.contains(path.as_str()), facts) {
            let alone = Written { path, at: 0, facts };
            found.extend(Flash::of(vec![alone], chip_in(path)).check());
        }
    }
    found.extend(differing(site));
    found
}

impl<'a> Flash<'a> {
    fn of(files: Vec<Written<'a>>, chip: Option<Chip>) -> Self {
        let (mut images, mut tables) = (Vec::new(), Vec::new());
        for Written { path, at, facts } in &files {
            for element in &facts.elements {
                let (in_file, at) = (element.at, at + element.at);
                match &element.what {
                    What::Image(what) => images.push(Lying { path, in_file, at, what: &**what }),
                    What::Table(what) => tables.push(Lying { path, in_file, at, what }),
                }
            }
        }
        Self { files, images, tables, chip }
    }

    fn bootloader(&self) -> Option<&Lying<'a, Image>> {
        self.images.iter().find(|image| image.what.head.is_none())
    }

    /// Checks each image, and the table with what lies in its partitions.
    fn check(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        for image in &self.images {
            // The ROM boots a bootloader with a stale hash.
            let is_stale = image.what.head.is_none() && image.what.whole == Err(ImageError::Hash);
            if let (Err(error), false) = (&image.what.whole, is_stale) {
                found.push(image.of(image_fault(*error)));
            }
            found.extend(self.is_for_chip(image).err().map(|fault| image.of(fault)));
        }
        for file in &self.files {
            // What follows an image that is alone in its file.
            if let (Some(app), Err(error @ ImageError::TrailingBytes)) =
                (file.facts.app_alone(), file.facts.image)
                && app.whole.is_ok()
            {
                found.push(image_fault(error).of(file.path));
            }
        }
        for table in &self.tables {
            match table.what {
                Err(error) => {
                    found.push(table.of(Code::PartitionTableInvalid.fault(error.clone())));
                }
                Ok(parsed) => found.extend(self.check_table(table, parsed)),
            }
        }
        found
    }

    fn is_for_chip(&self, image: &Lying<'_, Image>) -> Result<(), Fault> {
        let id = image.what.header.chip_id;
        let name =
            |id| Chip::from_id(id).map_or_else(|| format!("chip id {id}"), |c| c.to_string());
        if let Some(chip) = self.chip.filter(|chip| chip.id() != id) {
            let message = format!("an image for {} is in the place of one for {chip}", name(id));
            return Err(Code::ChipMismatch.fault(message));
        }
        match self.bootloader() {
            Some(boot) if boot.what.header.chip_id != id => {
                let message = format!(
                    "is for {}, its bootloader for {}",
                    name(id),
                    name(boot.what.header.chip_id)
                );
                Err(Code::ChipMismatch.fault(message))
            }
            _ => Ok(()),
        }
    }

    fn check_table(
        &self,
        table: &Lying<'_, Result<PartitionTable, String>>,
        parsed: &PartitionTable,
    ) -> Vec<Finding> {
        let partitions = parsed.partitions();
        let mut found = Vec::new();
        let mut report = |code: Code, message: String| found.push(table.of(code.fault(message)));
        let slots: Vec<_> = partitions.iter().filter(|p| is_slot(p)).collect();
        if slots.iter().any(|slot| slot.size() != slots[0].size()) {
            report(Code::SlotsUnequal, "its slots for updates are not of one size".into());
        }
        let has_otadata = partitions.iter().any(|p| p.subtype() == SubType::Data(DataType::Ota));
        if slots.len() > 1 && !has_otadata {
            report(Code::OtadataMissing, "has slots for updates and no otadata".into());
        }
        // A table alone has nothing in its partitions.
        if self.images.is_empty() {
            return found;
        }
        match self.bootloader() {
            None => report(Code::PartMissing, "no bootloader is written with it".into()),
            Some(boot) => found.extend(check_bootloader(boot, partitions)),
        }
        found.extend(self.check_app(table, partitions));
        found
    }

    /// Checks that an app is where it is booted, and fits.
    fn check_app(
        &self,
        table: &Lying<'_, Result<PartitionTable, String>>,
        partitions: &[Partition],
    ) -> Vec<Finding> {
        let Some(place) = first_app(partitions) else { return Vec::new() };
        let start = u64::from(place.offset());
        let Some(app) = self.images.iter().find(|image| image.at == start) else {
            let message = format!("no app lies at {start:#x}, where {} is booted", place.name());
            return vec![table.of(Code::PartMisplaced.fault(message))];
        };
        let (Ok((size, _)), Some(slot)) = (app.what.whole, smallest_slot(partitions)) else {
            return Vec::new();
        };
        let slot = u64::from(slot.min(place.size()));
        let fault = if size > slot {
            Code::SlotTooSmall.fault(format!("has {size} bytes, and the smallest slot {slot}"))
        } else if size * 100 >= slot * NEARLY_FULL {
            let percent = size * 100 / slot;
            Code::SlotNearlyFull.fault(format!("fills {percent} % of the smallest slot"))
        } else {
            return Vec::new();
        };
        vec![app.of(fault)]
    }

    /// Checks that a blank chip would start what a build writes.
    fn starts(&self, document: &Document) -> Vec<Finding> {
        let mut found = Vec::new();
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

    /// Checks the parts of a build against each other.
    fn parts(&self, document: &Document) -> Vec<Finding> {
        let mut found = Vec::new();
        for (number, file) in self.files.iter().enumerate() {
            if !file.at.is_multiple_of(SECTOR) {
                let message = format!("writes {} to {:#x}, inside of a sector", file.path, file.at);
                found.push(Code::PartUnaligned.of(&document.path, message));
            }
            for other in &self.files[..number] {
                if touches(&file.range(), &other.range()) {
                    let message = format!("writes {} over {}", file.path, other.path);
                    found.push(Code::PartsOverlap.of(&document.path, message));
                }
            }
        }
        found
    }

    /// Finds parts that are written over settings, where somebody means to keep them.
    fn settings(&self, document: &Document, manifest: &Manifest) -> Vec<Finding> {
        let keeps = manifest.new_install_prompt_erase || self.files.iter().any(|f| f.facts.improv);
        let tables = self.tables.iter().filter_map(|table| table.what.as_ref().ok());
        let partitions = tables.flat_map(PartitionTable::partitions);
        let settings = partitions.filter(|p| p.subtype() == SubType::Data(DataType::Nvs) && keeps);
        let over = settings.flat_map(|partition| {
            let start = u64::from(partition.offset());
            let range = start..start + u64::from(partition.size());
            let files = self.files.iter().filter(move |file| touches(&file.range(), &range));
            files.map(move |file| {
                let message = format!(
                    "writes {} over partition {}, which holds settings",
                    file.path,
                    partition.name()
                );
                Code::SettingsOverwritten.of(&document.path, message)
            })
        });
        over.collect()
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

/// Finds apps that installers write, and that no update of the same project, version
/// and chip is.
fn differing(site: &Site<'_>) -> Vec<Finding> {
    let key = |image: &Image| {
        let (project, version) = own_version(image)?;
        Some((project.to_owned(), version.to_owned(), image.header.chip_id))
    };
    let mut offered: BTreeMap<_, Vec<(&str, _)>> = BTreeMap::new();
    for document in &site.documents {
        for link in document.updates() {
            let Some((path, facts)) = site.facts_of(document, link) else { continue };
            let Some(image) = facts.app_alone() else { continue };
            if let (Some(key), Ok((_, sha256))) = (key(image), &image.whole) {
                offered.entry(key).or_default().push((path, sha256));
            }
        }
    }
    let mut found = BTreeSet::new();
    for document in &site.documents {
        let written = document.parts().filter_map(|part| site.facts_of(document, &part.path));
        for (path, facts) in written {
            for element in &facts.elements {
                let What::Image(image) = &element.what else { continue };
                let (Some(key), Ok((_, sha256))) = (key(image), &image.whole) else { continue };
                let updates = offered.get(&key).map_or(&[][..], Vec::as_slice);
                if let Some((other, _)) = updates.first()
                    && updates.iter().all(|(_, theirs)| theirs != &sha256)
                {
                    let (project, version, _) = key;
                    let message = format!("has {project} {version} with other bytes than {other}");
                    let fault = Code::AppDiffers.fault(message);
                    let fault = if element.at > 0 { fault.at_byte(element.at) } else { fault };
                    found.insert(fault.of(path));
                }
            }
        }
    }
    found.into_iter().collect()
}
