//! What lies in flash: the images, the partition table and the otadata that a file
//! holds, whether it is one of them or all of them put together.

use super::{ERASED, MAX_TABLE, SECTOR, TABLE_MAGIC, bootloader, segments};
use crate::{
    check::{Code, Fault},
    placement::{is_otadata, parse_table},
    store::sha256,
    unpanicked::NOT_UNDERSTOOD,
};
use esp_idf_part::{Partition, PartitionTable, Type};
use md5::{Digest, Md5};
use towline::{
    OtaData,
    image::{Head, Header, ImageCheck, ImageError},
    otadata::Record,
};
use towline_descriptor::Sha256;

/// Where chips look for their bootloader, in bytes.
const BOOTLOADERS: [u64; 3] = [0, 0x1000, 0x2000];

/// Where a partition table is, unless somebody moved it; then it is at one of the next
/// sectors.
const TABLES: std::ops::Range<u64> = 0x8000..0x2_0000;

/// Bytes of a row of a partition table.
const ROW: usize = 32;

/// How the row of a partition table begins that has its hash.
const MD5_MAGIC: [u8; 2] = [0xEB, 0xEB];

/// Where an app is, unless a partition table says otherwise.
const FIRST_APP: u64 = 0x1_0000;

/// A signature of secure boot V1 in bytes, its version before it.
const SIGNATURE_V1: usize = 68;

/// Where the header of an image says how flash is read, with speed and size behind it,
/// and the highest number of a mode.
const MODE: usize = 2;
const MAX_MODE: u8 = 5;

/// Bytes of SHA-256.
const HASH: usize = 32;

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
    /// A partition table, or why it is not sound or not known.
    Table(Result<Table, Fault>),
    /// What selects a slot, or may do so: that depends on where it lies.
    Otadata(OtaData),
}

/// A partition table.
#[derive(Debug)]
pub(in crate::check) struct Table {
    pub parsed: PartitionTable,
    /// Whether its bytes are protected by a hash.
    pub has_md5: bool,
}

/// An image.
#[derive(Debug)]
pub(in crate::check) struct Image {
    pub header: Header,
    /// What it says of itself, if it is an app.
    pub head: Option<Head>,
    /// Size and SHA-256 up to its end, if it is sound that far.
    pub whole: Result<(u64, Sha256), ImageError>,
    /// Whether only what installers write into its header is other than its hash says.
    pub is_patched: bool,
    /// Whether it is a bootloader that rolls back, or one that does not.
    pub rolls_back: Option<bool>,
    /// Where its first segment is that flash cannot be mapped to, in bytes.
    pub unmappable: Option<usize>,
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
        // All in one, for another place than this.
        if let Some(Element { what: What::Image(boot), .. }) = image_at(base)
            && let Some(place) = boot.header.chip().map(|chip| chip.bootloader_offset().into())
            && place != base
            && bytes.get((TABLES.start - place) as usize..).is_some_and(is_table)
        {
            return elements(bytes, place);
        }
        // A bootloader, an app behind it, otadata, or nothing that we know.
        let is_short = bytes.len() as u64 <= 2 * SECTOR;
        let otadata = || otadata(bytes).filter(|_| is_short).map(|what| Element { at: 0, what });
        let bootloader = BOOTLOADERS.into_iter().find_map(image_at);
        let images: Vec<_> = bootloader.into_iter().chain(image_at(FIRST_APP)).collect();
        return if images.is_empty() { otadata().into_iter().collect() } else { images };
    };
    let partitions = match &table.what {
        What::Table(Ok(table)) => table.parsed.partitions().clone(),
        _ => Vec::new(),
    };
    let bootloader = BOOTLOADERS.into_iter().find_map(image_at);
    let places = |is: &dyn Fn(&Partition) -> bool| -> Vec<u64> {
        partitions.iter().filter(|p| is(p)).map(|p| p.offset().into()).collect()
    };
    let apps = places(&|partition| partition.ty() == Type::App).into_iter().filter_map(image_at);
    let otadata = places(&is_otadata).into_iter().filter_map(|place| {
        let at = place.checked_sub(base)?;
        Some(Element { at, what: otadata(bytes.get(usize::try_from(at).ok()?..)?)? })
    });
    bootloader.into_iter().chain([table]).chain(otadata).chain(apps).collect()
}

/// Returns whether nothing but padding or a signature follows the first image.
pub(in crate::check) fn ends_well(bytes: &[u8], elements: &[Element]) -> bool {
    let Some(Element { at: 0, what: What::Image(image) }) = elements.first() else { return false };
    let Ok((size, _)) = image.whole else { return false };
    let rest = bytes.get(size as usize..).unwrap_or_default();
    let is_all = |value: u8| rest.iter().all(|byte| *byte == value);
    is_all(ERASED) || is_all(0) || (rest.len() == SIGNATURE_V1 && rest.starts_with(&[0; 4]))
}

/// Reads a record at the start of each sector, where there are both.
fn otadata(bytes: &[u8]) -> Option<What> {
    let record = |at: u64| Some(Record::parse(bytes.get(at as usize..)?.first_chunk()?));
    Some(What::Otadata(OtaData { records: [record(0)?, record(SECTOR)?] }))
}

/// Returns what a file is that is one thing alone.
fn alone(bytes: &[u8]) -> Option<What> {
    let is_app = bytes.first_chunk().is_some_and(|head| Head::parse(head).is_ok());
    if is_app { Some(What::Image(Box::new(image(bytes)?))) } else { table(bytes).map(What::Table) }
}

fn is_table(bytes: &[u8]) -> bool {
    bytes.starts_with(&TABLE_MAGIC)
}

fn table(bytes: &[u8]) -> Option<Result<Table, Fault>> {
    let rows = &bytes[..bytes.len().min(MAX_TABLE)];
    // Rows end with one that is erased.
    let end = rows.chunks(ROW).position(|row| row.iter().all(|byte| *byte == ERASED));
    let rows = &rows[..end.map_or(rows.len(), |end| (end + 1) * ROW).min(rows.len())];
    let md5 = rows.chunks_exact(ROW).position(|row| row.starts_with(&MD5_MAGIC));
    let fault = |reason: String| {
        let is_md5 = |at: usize| Md5::digest(&rows[..at])[..] == rows[at..][16..ROW];
        // Partitions of kinds to come, and of the application's own, are legal.
        match reason.starts_with(NOT_UNDERSTOOD) && md5.is_some_and(|row| is_md5(row * ROW)) {
            true => Code::NotChecked.fault("has partitions of unknown kinds: not looked at"),
            false => Code::PartitionTableInvalid.fault(reason),
        }
    };
    let parse = || parse_table(rows.to_vec()).map_err(fault);
    let has_md5 = md5.is_some();
    is_table(rows).then(|| parse().map(|parsed| Table { parsed, has_md5 }))
}

/// Returns whether an image has the hash of one with another mode, speed or size of flash:
/// installers write these into the header, and not all of them make the hash anew.
fn is_patched(bytes: &[u8]) -> bool {
    let segments = segments::segments(bytes).unwrap_or_default();
    let Some(end) = segments.last().map(|segment| segment.at + segment.data.len()) else {
        return false;
    };
    // The checksum is the last byte of a row of 16.
    let end = (end / 16 + 1) * 16;
    let (Some(image), Some(hash)) = (bytes.get(..end), bytes.get(end..end + HASH)) else {
        return false;
    };
    let mut image = image.to_vec();
    let modes = 0..=MAX_MODE;
    modes.flat_map(|mode| (0..=u8::MAX).map(move |size| [mode, size])).any(|flash| {
        image[MODE..][..2].copy_from_slice(&flash);
        sha256(&image).0 == hash
    })
}

/// Reads an image, if it is for a chip that we know: those of an ESP8266 start alike,
/// and are another format.
fn image(bytes: &[u8]) -> Option<Image> {
    let header = Header::parse(bytes.first_chunk()?).ok()?;
    let chip = header.chip()?;
    let mut check = ImageCheck::new();
    let whole = check
        .update_to_end(bytes)
        .and_then(|_| check.finish())
        .map(|checked| (checked.size.into(), checked.sha256));
    let head = bytes.first_chunk().and_then(|head| Head::parse(head).ok());
    let is_sound_app = head.is_some() && whole.is_ok();
    Some(Image {
        is_patched: head.is_none() && whole == Err(ImageError::Hash) && is_patched(bytes),
        rolls_back: if head.is_some() { None } else { bootloader::rolls_back(bytes, chip) },
        unmappable: if is_sound_app { segments::unmappable(bytes) } else { None },
        header,
        head,
        whole,
    })
}
