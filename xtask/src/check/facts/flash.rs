//! What lies in flash: the images and the partition table that a file holds, whether it
//! is one of them or all of them put together.

use super::{MAX_TABLE, TABLE_MAGIC};
use crate::placement::parse_table;
use esp_idf_part::{PartitionTable, Type};
use towline::image::{Head, Header, ImageCheck, ImageError};
use towline_descriptor::Sha256;

/// Where chips look for their bootloader, in bytes.
const BOOTLOADERS: [u64; 3] = [0, 0x1000, 0x2000];

/// Where a partition table is, unless somebody moved it; then it is at one of the next
/// sectors.
const TABLES: std::ops::Range<u64> = 0x8000..0x2_0000;

/// Something that a file holds.
#[derive(Debug)]
pub(in crate::check) struct Element {
    /// Where it is in the file, in bytes.
    pub at: u64,
    /// What it is.
    pub what: What,
}

/// What a file can hold.
#[derive(Debug)]
pub(in crate::check) enum What {
    /// An image of an app, or of a bootloader.
    Image(Box<Image>),
    /// A partition table.
    Table(Result<PartitionTable, String>),
}

/// An image.
#[derive(Debug)]
pub(in crate::check) struct Image {
    pub header: Header,
    /// What it says of itself, if it is an app.
    pub head: Option<Head>,
    /// Size and SHA-256 up to its end, if it is sound that far.
    pub whole: Result<(u64, Sha256), ImageError>,
}

/// Finds what is in a file whose first byte goes to `base` in flash.
pub(in crate::check) fn elements(bytes: &[u8], base: u64) -> Vec<Element> {
    let image_at = |place: u64| {
        let at = place.checked_sub(base)?;
        Some(Element {
            at,
            what: What::Image(Box::new(image(bytes.get(usize::try_from(at).ok()?..)?)?)),
        })
    };
    if let Some(alone) = alone(bytes) {
        return vec![Element { at: 0, what: alone }];
    }
    let table = TABLES.step_by(MAX_TABLE).find_map(|place| {
        let at = place.checked_sub(base)?;
        let rows = bytes.get(usize::try_from(at).ok()?..)?;
        let what = What::Table(table(rows)?);
        Some(Element { at, what })
    });
    let Some(table) = table else {
        // A bootloader, or nothing that we know.
        return image_at(base).into_iter().collect();
    };
    let apps: Vec<u64> = match &table.what {
        What::Table(Ok(table)) => {
            let apps = table.partitions().iter().filter(|p| p.ty() == Type::App);
            apps.map(|partition| partition.offset().into()).collect()
        }
        _ => Vec::new(),
    };
    let bootloader = BOOTLOADERS.into_iter().find_map(image_at);
    let apps = apps.into_iter().filter_map(image_at);
    bootloader.into_iter().chain([table]).chain(apps).collect()
}

/// Returns what a file is that is one thing alone.
fn alone(bytes: &[u8]) -> Option<What> {
    let is_app = bytes.first_chunk().is_some_and(|head| Head::parse(head).is_ok());
    if is_app { Some(What::Image(Box::new(image(bytes)?))) } else { table(bytes).map(What::Table) }
}

fn table(bytes: &[u8]) -> Option<Result<PartitionTable, String>> {
    let rows = &bytes[..bytes.len().min(MAX_TABLE)];
    // Rows end with one that is erased.
    let end = rows.chunks(32).position(|row| row.iter().all(|byte| *byte == super::ERASED));
    let rows = &rows[..end.map_or(rows.len(), |end| (end + 1) * 32).min(rows.len())];
    rows.starts_with(&TABLE_MAGIC).then(|| parse_table(rows.to_vec()))
}

/// Reads an image, if it is for a chip that we know: those of an ESP8266 start alike,
/// and are another format.
fn image(bytes: &[u8]) -> Option<Image> {
    let header = Header::parse(bytes.first_chunk()?).ok().filter(|h| h.chip().is_some())?;
    let mut check = ImageCheck::new();
    let whole = check
        .update_to_end(bytes)
        .and_then(|_| check.finish())
        .map(|checked| (checked.size.into(), checked.sha256));
    let head = bytes.first_chunk().and_then(|head| Head::parse(head).ok());
    Some(Image { header, head, whole })
}
