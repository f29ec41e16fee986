//! What stays of a file that was read: each is read once, by one of several
//! threads, and nothing is kept of it but this.
//!
//! ```text
//! file --read--> bytes --reduce--> Facts --rules--> findings
//! ```
//!
//! So the memory of a check is bounded by the largest files, one a thread, however
//! many there are.

mod bootloader;
mod build_path;
mod flash;
mod marks;
mod nvs;
mod segments;
mod texts;
mod tokens;

pub(super) use flash::{Element, Image, Table, What};
pub(super) use marks::Marks;
pub(super) use nvs::wifi;
pub(super) use texts::texts;
pub(super) use tokens::GOOGLE;

use super::{Fault, Finding, compare};
use crate::{placement::parse_table, site::IndexArtifact, store};
use esp_idf_part::PartitionTable;
use md5::{Digest, Md5};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};
use towline::image::{self, Head, Header, ImageError};
use towline_descriptor::Sha256;

/// The first bytes of a partition table in its binary form.
const TABLE_MAGIC: [u8; 2] = [0xAA, 0x50];

/// The most bytes of a partition table: a sector of flash.
const MAX_TABLE: usize = 0x1000;

/// How erased flash reads.
const ERASED: u8 = 0xFF;

/// Flash is erased by so many bytes.
pub(super) const SECTOR: u64 = 0x1000;

/// The facts of all files, or why one cannot be read.
pub(super) type AllFacts = BTreeMap<String, Result<Facts, Fault>>;

/// What is known of a file.
#[derive(Debug)]
pub(super) struct Facts {
    /// Its size in bytes.
    pub size: usize,
    /// SHA-256 of its bytes.
    pub sha256: Sha256,
    /// Whether it is a sound image.
    pub image: Result<(), ImageError>,
    /// The header of an image.
    pub header: Result<Header, ImageError>,
    /// The head of an app image.
    pub head: Result<Head, ImageError>,
    /// The partition table, if it is one.
    pub table: Result<PartitionTable, String>,
    /// The first byte that is not as in erased flash.
    pub written: Option<u64>,
    /// SHA-256 of the pieces that were asked for, `None` beyond its end; and
    /// whether all other bytes are as in erased flash.
    pub pieces: (Vec<Option<Sha256>>, bool),
    /// What rules found that need all of its bytes.
    pub found: Vec<Finding>,
    /// The images and tables that it holds, if they were looked for.
    pub elements: Vec<Element>,
    /// What the texts of its firmware give away.
    pub marks: Marks,
    /// Whether it is a bootloader that rolls back, or one that does not.
    pub rolls_back: Option<bool>,
    /// Where an app has its first segment that flash cannot be mapped to, in bytes.
    pub unmappable: Option<usize>,
    /// Its sectors that are as in erased flash, put together to ranges.
    pub erased: Vec<Range<u64>>,
    /// Which of the texts that were asked for are in it.
    pub says: BTreeSet<String>,
    /// Whether nothing but padding or a signature follows an app that is alone.
    pub ends_well: bool,
    /// MD5 of its bytes, in hex.
    pub md5: String,
}

impl Facts {
    /// Reduces a file to what is known of it. `pieces` are those whose hash is
    /// asked for, in the order of their places.
    pub(super) fn of(bytes: &[u8], pieces: &[Range<usize>]) -> Self {
        // The check of an image hashes all of it: once is enough.
        let checked = image::check(bytes);
        let header = bytes.first_chunk().ok_or(ImageError::Truncated).and_then(Header::parse);
        let head = bytes.first_chunk().ok_or(ImageError::Truncated).and_then(Head::parse);
        let chip = header.ok().and_then(|header| header.chip());
        Self {
            size: bytes.len(),
            sha256: checked.map_or_else(|_| store::sha256(bytes), |checked| checked.sha256),
            image: checked.map(|_| ()),
            header,
            marks: if head.is_ok() { Marks::of(bytes) } else { Marks::default() },
            rolls_back: chip
                .filter(|_| head.is_err() && checked.is_ok())
                .and_then(|chip| bootloader::rolls_back(bytes, chip)),
            unmappable: head.as_ref().ok().and_then(|_| segments::unmappable(bytes)),
            head,
            table: table(bytes),
            written: written(bytes).map(|at| at as u64),
            pieces: (
                pieces.iter().map(|piece| Some(store::sha256(bytes.get(piece.clone())?))).collect(),
                is_blank_between(bytes, pieces),
            ),
            found: Vec::new(),
            elements: Vec::new(),
            erased: Vec::new(),
            says: BTreeSet::new(),
            ends_well: false,
            md5: String::new(),
        }
    }

    /// Reduces a file of a site without an index to what is known of it. Its first byte
    /// goes to `base` in flash; `texts` are those to look for.
    pub(super) fn of_flash(bytes: &[u8], base: u64, texts: &BTreeSet<&str>) -> Self {
        let md5 = Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let facts = Self::of(bytes, &[]);
        let elements = flash::elements(bytes, base);
        Self {
            ends_well: flash::ends_well(bytes, &elements),
            elements,
            marks: if facts.head.is_ok() { facts.marks } else { Marks::of(bytes) },
            erased: erased(bytes),
            says: marks::found(bytes, texts),
            md5,
            ..facts
        }
    }

    /// Returns whether there is an image or a partition table in it.
    pub(super) fn is_firmware(&self) -> bool {
        self.elements.iter().any(|element| !matches!(element.what, What::Otadata(_)))
    }

    /// Returns the app if the file is an app image and nothing else.
    pub(super) fn app_alone(&self) -> Option<&Image> {
        match self.elements.as_slice() {
            [Element { at: 0, what: What::Image(image) }] if image.head.is_some() => Some(image),
            _ => None,
        }
    }

    /// Compares with what the index says.
    pub(super) fn compare(&self, listed: &IndexArtifact) -> Result<(), Fault> {
        compare(self.size, self.sha256, listed)
    }
}

fn table(bytes: &[u8]) -> Result<PartitionTable, String> {
    if !bytes.starts_with(&TABLE_MAGIC) || bytes.len() > MAX_TABLE {
        return Err("is not a partition table (magic bytes 0xAA 0x50 missing)".into());
    }
    parse_table(bytes.to_vec())
}

/// Returns where the first byte is that is not as in erased flash.
fn written(bytes: &[u8]) -> Option<usize> {
    const ROW: [u8; 64] = [ERASED; 64];
    // By rows: images have many such bytes.
    let rows = bytes.chunks(ROW.len()).take_while(|row| **row == ROW[..row.len()]).count();
    let start = rows * ROW.len();
    let rest = bytes.get(start..)?;
    Some(start + rest.iter().position(|byte| *byte != ERASED)?)
}

/// Returns the sectors that are as in erased flash, put together to ranges.
fn erased(bytes: &[u8]) -> Vec<Range<u64>> {
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for (number, sector) in bytes.chunks(SECTOR as usize).enumerate() {
        let start = number as u64 * SECTOR;
        match ranges.last_mut().filter(|last| last.end == start) {
            _ if written(sector).is_some() => {}
            Some(last) => last.end += SECTOR,
            None => ranges.push(start..start + SECTOR),
        }
    }
    ranges
}

/// Returns whether there is nothing but erased flash before and between pieces, and
/// no byte behind the last.
fn is_blank_between(bytes: &[u8], pieces: &[Range<usize>]) -> bool {
    let mut at = 0;
    for piece in pieces {
        let gap = bytes.get(at..piece.start);
        if gap.is_none_or(|gap| written(gap).is_some()) {
            return false;
        }
        at = piece.end;
    }
    at == bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_told_apart_from_what_is_between() {
        let bytes = [&[ERASED; 100][..], b"boot", &[ERASED; 96], b"app"].concat();
        let of = |pieces: &[Range<usize>]| Facts::of(&bytes, pieces).pieces;
        let (boot, app) = (Some(store::sha256(b"boot")), Some(store::sha256(b"app")));
        assert_eq!(of(&[100..104, 200..203]), (vec![boot, app], true));
        assert!(!of(&[0..100, 200..203]).1);
        assert!(!of(&[100..104, 104..200]).1);
        assert_eq!(of(&[100..104, 200..204]), (vec![boot, None], false));
        // Overlapping ones are not put together of anything.
        assert!(!of(&[100..104, 102..203]).1);
        assert_eq!(Facts::of(&bytes, &[]).written, Some(100));
        assert_eq!(Facts::of(&[ERASED; 130], &[]).written, None);
        assert_eq!(Facts::of(&[], &[]).written, None);
    }

    #[test]
    fn erased_sectors_are_put_together() {
        let sector = |byte: u8| vec![byte; SECTOR as usize];
        let bytes = [sector(ERASED), sector(ERASED), sector(0), sector(ERASED), vec![1]].concat();
        assert_eq!(erased(&bytes), [0..2 * SECTOR, 3 * SECTOR..4 * SECTOR]);
        assert_eq!(erased(&[]), []);
    }

    #[test]
    fn what_is_no_image_or_table_says_so() {
        let facts = Facts::of(b"<html>", &[]);
        assert_eq!((facts.size, facts.image), (6, Err(ImageError::NotAnImage)));
        assert_eq!(facts.sha256, store::sha256(b"<html>"));
        assert!(facts.table.is_err() && facts.header.is_err() && facts.head.is_err());
    }
}
