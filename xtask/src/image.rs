//! From what a build leaves to the bytes that are published.
//!
//! ```text
//! ELF --espflash--> app image --verify--> parts (bootloader, partition table, app) --> factory image
//! .bin -----------------^
//! ```

use crate::{
    check::Fault,
    config::Target,
    name::ProjectName,
    placement::{Placed, faults, first_app, parse_table, smallest_slot},
    release::Role,
    unpanicked::unpanicked,
};
use esp_idf_part::{DataType, Partition, PartitionTable, SubType, Type};
use espflash::{
    flasher::{FlashData, FlashSettings},
    image_format::{
        Metadata,
        idf::{IdfBootloaderFormat, check_idf_bootloader},
    },
    target::Chip as EspflashChip,
};
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};
use towline::image::{self, Head, ImageError};
use towline_descriptor::{Chip, InvalidVersion, Sha256, Version};

/// What a target publishes.
#[derive(Clone, Debug)]
pub struct Images {
    /// What the app image says of itself.
    pub head: Head,
    /// Version of the app image.
    pub version: Version,
    /// The app image.
    pub app: Vec<u8>,
    /// SHA-256 of the app image.
    pub app_sha256: Sha256,
    /// The parts of a first flash in the order of their offsets; empty without
    /// a partition table.
    pub parts: Vec<ImagePart>,
    /// Size of the smallest app slot in bytes.
    pub slot_size: Option<u32>,
}

/// A part of a first flash.
#[derive(Clone, Debug)]
pub struct ImagePart {
    /// What it is.
    pub role: Role,
    /// Where it goes in flash, in bytes.
    pub offset: u32,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// Why a build cannot be published.
#[derive(Debug, thiserror::Error)]
pub enum ImagesError {
    /// A file could not be read.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The ELF file is not one of an ESP application.
    #[error("{path}: {reason}")]
    Elf {
        /// The file.
        path: PathBuf,
        /// What espflash says.
        reason: String,
    },
    /// The app image is not sound.
    #[error("{path}: {source}")]
    App {
        /// The file that it comes from.
        path: PathBuf,
        /// What is wrong.
        source: ImageError,
    },
    /// The image is of another project.
    #[error(
        "{path}: the image is of project `{found}`, towline.toml says `{expected}`; change one of them"
    )]
    Project {
        /// The file.
        path: PathBuf,
        /// What the image says.
        found: String,
        /// What is configured.
        expected: ProjectName,
    },
    /// The image is for another chip.
    #[error("{path}: the image is for chip id {found}, the target is an {expected} (id {})", expected.id())]
    Chip {
        /// The file.
        path: PathBuf,
        /// What the image says.
        found: u16,
        /// What is configured.
        expected: Chip,
    },
    /// The image's version is none.
    #[error("{path}: the image has version `{found}`: {source}")]
    Version {
        /// The file.
        path: PathBuf,
        /// What the image says.
        found: String,
        /// What is wrong.
        source: InvalidVersion,
    },
    /// The partition table is not sound or has no app slot.
    #[error("{path}: {reason}")]
    PartitionTable {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The bootloader is not sound, or there is none.
    #[error("bootloader of {chip}: {reason}")]
    Bootloader {
        /// The chip.
        chip: Chip,
        /// What is wrong.
        reason: String,
    },
    /// The app image is larger than the smallest slot.
    #[error("the app image of {size} bytes does not fit the smallest slot of {slot} bytes")]
    TooLarge {
        /// Size of the image.
        size: usize,
        /// Size of the slot.
        slot: u32,
    },
    /// A part would be written where it may not be.
    #[error("the {} {}", .0.as_str(), .1)]
    Place(Role, Fault),
}

/// An ELF32 header and nothing else. espflash hands out the bundled bootloader
/// only together with an ELF file.
const EMPTY_ELF: [u8; 52] = {
    let mut elf = [0; 52];
    elf[0] = 0x7F;
    elf[1] = b'E';
    elf[2] = b'L';
    elf[3] = b'F';
    (elf[4], elf[5], elf[6]) = (1, 1, 1);
    (elf[16], elf[18], elf[20]) = (2, 243, 1);
    (elf[40], elf[42], elf[46]) = (52, 32, 40);
    elf
};

/// Makes and verifies the images of a target from the ELF file or app image at
/// `output`.
///
/// # Errors
/// [`ImagesError`]; nothing is returned that could not be flashed and run.
pub fn make(
    project: &ProjectName,
    target: &Target,
    output: &Path,
    tables: &Tables,
) -> Result<Images, ImagesError> {
    let input = read(output)?;
    let table = target.partition_table.as_deref().map(|path| tables.get(path)).transpose()?;
    let (bootloader, app) = match (input.starts_with(b"\x7FELF"), &table) {
        (true, _) => {
            let (bootloader, app) = bundle(Some(&input), target, output)?;
            (Some(bootloader), app)
        }
        (false, Some(_)) => (Some(bundle(None, target, output)?.0), input),
        (false, None) => (None, input),
    };

    let fault = |source| ImagesError::App { path: output.to_owned(), source };
    let app_sha256 = image::check(&app).map_err(fault)?.sha256;
    let head =
        app.first_chunk().ok_or(ImageError::Truncated).and_then(Head::parse).map_err(fault)?;
    if head.app.project_name.as_str() != project.as_str() {
        let found = head.app.project_name.as_str().to_owned();
        return Err(ImagesError::Project {
            path: output.to_owned(),
            found,
            expected: project.clone(),
        });
    }
    if head.header.chip_id != target.chip.id() {
        let found = head.header.chip_id;
        return Err(ImagesError::Chip { path: output.to_owned(), found, expected: target.chip });
    }
    let found = head.app.version.as_str();
    let version = Version::parse(found).map_err(|source| ImagesError::Version {
        path: output.to_owned(),
        found: found.to_owned(),
        source,
    })?;

    let mut parts = Vec::new();
    let mut slot_size = None;
    if let (Some(table), Some(bootloader)) = (&table, bootloader) {
        let slot = table.smallest_slot;
        slot_size = Some(slot);
        if app.len() > slot as usize {
            return Err(ImagesError::TooLarge { size: app.len(), slot });
        }
        check_bootloader(&bootloader, target.chip)?;
        let part = |role, offset, bytes| ImagePart { role, offset, bytes };
        parts = vec![
            part(Role::Bootloader, target.chip.bootloader_offset(), bootloader),
            part(Role::PartitionTable, target.partition_table_offset, table.binary.clone()),
            part(Role::App, table.app_offset, app.clone()),
        ];
        if let Some(otadata) = &table.otadata {
            let blank = vec![0xFF; otadata.size() as usize];
            parts.push(part(Role::Otadata, otadata.offset(), blank));
        }
        parts.sort_by_key(|part| part.offset);
        let placed = |part: &ImagePart| {
            Placed::new(part.role, part.role.as_str(), part.offset, part.bytes.len())
        };
        let placed: Vec<_> = parts.iter().map(placed).collect();
        let faults =
            faults(target.chip, target.flash_size.size(), &placed, table.partitions.partitions());
        if let Some((index, fault)) = faults.into_iter().next() {
            return Err(ImagesError::Place(parts[index].role, fault));
        }
    }
    Ok(Images { head, version, app, app_sha256, parts, slot_size })
}

impl Images {
    /// Returns all parts in one file that starts at flash offset 0, the gaps
    /// filled as erased flash is; `None` without parts.
    pub fn factory(&self) -> Option<Vec<u8>> {
        let last = self.parts.last()?;
        let mut factory = Vec::with_capacity(last.offset as usize + last.bytes.len());
        for part in &self.parts {
            factory.resize(part.offset as usize, 0xFF);
            factory.extend_from_slice(&part.bytes);
        }
        Some(factory)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ImagesError> {
    std::fs::read(path).map_err(|source| ImagesError::Io { path: path.to_owned(), source })
}

/// Lets espflash make the bootloader with the flash settings of the target,
/// and the app image if there is an ELF file.
fn bundle(
    elf: Option<&[u8]>,
    target: &Target,
    output: &Path,
) -> Result<(Vec<u8>, Vec<u8>), ImagesError> {
    let no_bootloader = |reason: String| ImagesError::Bootloader { chip: target.chip, reason };
    let chip = match (espflash_chip(target.chip), &target.bootloader) {
        (Some(chip), _) => chip,
        (None, Some(path)) if elf.is_none() => {
            let bootloader = read(path)?;
            check_bootloader(&bootloader, target.chip)?;
            return Ok((bootloader, Vec::new()));
        }
        (None, _) => return Err(no_bootloader("espflash does not know this chip yet".into())),
    };
    let elf_fault = |reason: String| ImagesError::Elf { path: output.to_owned(), reason };
    if let Some(elf) = elf {
        unpanicked(|| check_idf_bootloader(&elf.to_vec()).map_err(|error| error.to_string()))
            .map_err(elf_fault)?;
        // espflash writes the chip that it is told into the image; the ELF
        // file knows better.
        let metadata = Metadata::from_bytes(Some(elf));
        if let Some(built_for) = metadata.chip_name()
            && built_for != target.chip.name()
        {
            return Err(elf_fault(format!(
                "built for {built_for}, the target is an {}",
                target.chip
            )));
        }
    }
    if let Some(path) = &target.bootloader {
        // espflash takes it apart unchecked.
        check_bootloader(&read(path)?, target.chip)?;
    }
    let settings =
        FlashSettings::new(target.flash_mode, Some(target.flash_size), target.flash_freq);
    let data = FlashData::new(settings, 0, None, chip, chip.default_xtal_frequency());
    let format = unpanicked(|| {
        // Without a partition table: it would only be parsed once more, and
        // what espflash checks of it is checked here for every kind of image.
        IdfBootloaderFormat::new(
            elf.unwrap_or(&EMPTY_ELF),
            &data,
            None,
            target.bootloader.as_deref(),
            Some(target.partition_table_offset),
            None,
        )
        .map_err(|error| error.to_string())
    });
    let format = format.map_err(|reason| match elf {
        Some(_) => elf_fault(reason),
        None => no_bootloader(reason),
    })?;
    let mut segments = format.flash_segments().map(|segment| segment.data.into_owned());
    let bootloader = segments.next().unwrap_or_default();
    let app = segments.nth(1).unwrap_or_default();
    Ok((bootloader, app))
}

/// Returns the bootloader that espflash has for chips of this revision and later.
#[cfg(test)]
pub(crate) fn bundled_bootloader(chip: Chip, revision: u16) -> Option<Vec<u8>> {
    let chip = espflash_chip(chip)?;
    let settings = FlashSettings::new(None, None, None);
    let data = FlashData::new(settings, revision, None, chip, chip.default_xtal_frequency());
    let format = IdfBootloaderFormat::new(&EMPTY_ELF, &data, None, None, None, None).ok()?;
    format.flash_segments().next().map(|segment| segment.data.into_owned())
}

/// Returns espflash's name of a chip, if it knows the chip.
pub fn espflash_chip(chip: Chip) -> Option<EspflashChip> {
    serde_json::from_value(chip.name().into()).ok()
}

fn check_bootloader(bootloader: &[u8], chip: Chip) -> Result<(), ImagesError> {
    let fault = |reason: String| Err(ImagesError::Bootloader { chip, reason });
    if let Err(error) = image::check(bootloader) {
        return fault(error.to_string());
    }
    let header = bootloader.first_chunk().map(image::Header::parse);
    match header {
        Some(Ok(header)) if header.chip_id == chip.id() => Ok(()),
        _ => fault("it is for another chip".into()),
    }
}

/// The partition tables of a project; targets often share one.
#[derive(Debug, Default)]
pub struct Tables(Mutex<BTreeMap<PathBuf, Arc<Table>>>);

impl Tables {
    fn get(&self, path: &Path) -> Result<Arc<Table>, ImagesError> {
        let mut tables = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = tables.get(path) {
            return Ok(table.clone());
        }
        let table = Arc::new(Table::read(path)?);
        tables.insert(path.to_owned(), table.clone());
        Ok(table)
    }
}

/// A partition table.
#[derive(Debug)]
struct Table {
    binary: Vec<u8>,
    partitions: PartitionTable,
    smallest_slot: u32,
    /// Where the app of a first flash goes.
    app_offset: u32,
    otadata: Option<Partition>,
}

impl Table {
    fn read(path: &Path) -> Result<Self, ImagesError> {
        let fault = |reason: String| ImagesError::PartitionTable { path: path.to_owned(), reason };
        let partitions = parse_table(read(path)?).map_err(fault)?;
        let binary = unpanicked(|| partitions.to_bin().map_err(|error| error.to_string()));
        let binary = binary.map_err(fault)?;
        let no_app = || fault("it has no app partition".into());
        let smallest_slot = smallest_slot(partitions.partitions()).ok_or_else(no_app)?;
        let first = first_app(partitions.partitions()).ok_or_else(no_app)?;
        Ok(Self {
            binary,
            smallest_slot,
            app_offset: first.offset(),
            otadata: partitions.find_by_subtype(Type::Data, SubType::Data(DataType::Ota)).cloned(),
            partitions,
        })
    }
}
