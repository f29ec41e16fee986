//! Rules on the parts of a build: what they are written over.

use super::flash::{Flash, Written};
use crate::{
    check::{
        Code, Finding,
        discover::{Document, Manifest},
        facts::SECTOR,
    },
    placement::{is_otadata, place_of, touches},
};
use esp_idf_part::{DataType, Partition, SubType, Type};

/// From this type on, partitions are the application's own.
const FIRST_OWN: u8 = 0x40;

/// Checks the parts of a build against each other, and against what a board has.
pub(super) fn check(flash: &Flash<'_>, document: &Document, manifest: &Manifest) -> Vec<Finding> {
    let mut found = parts(flash, document);
    let has_improv = flash.files.iter().any(|file| file.facts.marks.improv);
    if manifest.asks_to_erase() || has_improv && manifest.asks_firmware() {
        found.extend(overwritten(flash, document));
        found.extend(otadata_kept(flash, document));
    }
    found
}

fn parts(flash: &Flash<'_>, document: &Document) -> Vec<Finding> {
    let mut found = Vec::new();
    for (number, file) in flash.files.iter().enumerate() {
        if !file.at.is_multiple_of(SECTOR) {
            let message = format!("writes {} to {:#x}, inside of a sector", file.path, file.at);
            found.push(Code::PartUnaligned.of(&document.path, message));
        }
        let is_under = |other: &&Written<'_>| touches(&file.range(), &other.range());
        if let Some(other) = flash.files[..number].iter().find(is_under) {
            let message = format!("writes {} over {}", file.path, other.path);
            found.push(Code::PartsOverlap.of(&document.path, message));
        }
    }
    found
}

/// What a partition holds that a user would miss.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Held {
    Settings,
    Data,
}

fn held(partition: &Partition) -> Option<Held> {
    match (partition.ty(), partition.subtype()) {
        (_, SubType::Data(DataType::Nvs | DataType::NvsKeys)) => Some(Held::Settings),
        (_, SubType::Data(DataType::Fat | DataType::Spiffs | DataType::Littlefs)) => {
            Some(Held::Data)
        }
        (Type::Custom(FIRST_OWN..), _) => Some(Held::Data),
        _ => None,
    }
}

/// Finds parts that are written over what somebody means to keep.
fn overwritten(flash: &Flash<'_>, document: &Document) -> Vec<Finding> {
    let mut found = Vec::new();
    for partition in flash.partitions() {
        let (Some(held), place) = (held(partition), place_of(partition)) else { continue };
        for file in flash.files.iter().filter(|file| touches(&file.range(), &place)) {
            let start = place.start.max(file.at) - file.at;
            let end = place.end.min(file.range().end) - file.at;
            let is_blank =
                file.facts.erased.iter().any(|range| range.start <= start && end <= range.end);
            // Who writes the content of a partition means it.
            let is_meant = !is_blank && (file.at == place.start || held == Held::Data);
            let (code, what) = match held {
                Held::Settings => (Code::SettingsOverwritten, "settings"),
                Held::Data => (Code::DataOverwritten, "data"),
            };
            if !is_meant {
                let message = format!(
                    "writes {} over partition {}, which holds {what}",
                    file.path,
                    partition.name()
                );
                found.push(code.of(&document.path, message));
            }
        }
    }
    found
}

/// Finds a build that leaves otadata as it is: after an update, it may select a slot
/// that the build does not write.
fn otadata_kept(flash: &Flash<'_>, document: &Document) -> Option<Finding> {
    let otadata = flash.partitions().find(|p| is_otadata(p))?;
    // One in the wrong place is another fault.
    if !flash.otadata.is_empty() {
        return None;
    }
    let has_app = flash.images.iter().any(|image| image.what.head.is_some());
    let is_written = flash.files.iter().any(|file| touches(&file.range(), &place_of(otadata)));
    let message =
        "writes an app and leaves otadata as it is: a board that was updated keeps its app";
    (has_app && !is_written).then(|| Code::OtadataKept.of(&document.path, message))
}
