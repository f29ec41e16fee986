//! How far a download came, kept so that a power cut costs little.
//!
//! It stands in the sector of otadata whose record does not decide, which is
//! blank while a slot is being written:
//!
//! ```text
//! 0        32       64       128                                      4096
//! | record | unused | header | mark | mark | ...                       |
//!   blank                      one for each 32 KiB that flash holds
//! ```
//!
//! Encrypted flash reads as noise where it is erased, so that every mark counts:
//! there a download that was cut starts over.
//!
//! A mark is programmed once, after the bytes that it stands for. Any bit of it
//! that is 0 proves that, so that a torn mark counts. Nothing here is trusted:
//! what flash holds is hashed again when the download goes on, and once more at
//! its end.

use crate::{
    layout::Region,
    otadata::{SECTOR, sector_offset},
};
use embedded_storage::nor_flash::NorFlash;
use sha2::{Digest, Sha256 as Hasher};
use towline_descriptor::Sha256;

/// Bytes of the image for which a mark stands.
pub(crate) const STEP: u32 = 32 * 1024;

const HEADER: u32 = 64;
const HEADER_LEN: usize = 64;
const MARKS: u32 = HEADER + HEADER_LEN as u32;
const MAGIC: [u8; 4] = *b"TWJ1";
const LARGEST_MARK: usize = 32;

/// What is being downloaded, and to which slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Download {
    pub(crate) size: u32,
    pub(crate) sha256: Sha256,
    pub(crate) slot: u8,
    pub(crate) validator: Validator,
}

/// The ETag of an image, shortened: to tell that a host serves other bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validator([u8; 8]);

impl Validator {
    /// Shortens an ETag; without one, the validator of nothing.
    pub fn of(etag: Option<&str>) -> Self {
        let mut short = [0; 8];
        if let Some(etag) = etag {
            short.copy_from_slice(&Hasher::digest(etag.as_bytes())[..8]);
        }
        Self(short)
    }
}

/// The journal in one sector of otadata.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Journal {
    start: u32,
}

impl Journal {
    pub(crate) fn at(otadata: Region, sector: usize) -> Self {
        Self { start: sector_offset(otadata, sector) }
    }

    /// Returns what was being downloaded, and how many bytes of it flash holds.
    pub(crate) fn read<F: NorFlash>(
        self,
        flash: &mut F,
    ) -> Result<Option<(Download, u32)>, F::Error> {
        let mut header = [0; HEADER_LEN];
        flash.read(self.start + HEADER, &mut header)?;
        let Some(download) = parse(&header) else { return Ok(None) };
        let mut marks = 0;
        while self.is_marked(flash, marks)? {
            marks += 1;
        }
        Ok(Some((download, marks * STEP)))
    }

    /// Begins a journal in the erased sector.
    pub(crate) fn begin<F: NorFlash>(
        self,
        flash: &mut F,
        download: &Download,
    ) -> Result<(), F::Error> {
        flash.write(self.start + HEADER, &to_bytes(download))
    }

    /// Notes that flash holds the first `held` bytes, a multiple of [`STEP`].
    pub(crate) fn mark<F: NorFlash>(self, flash: &mut F, held: u32) -> Result<(), F::Error> {
        let index = held / STEP - 1;
        match mark_offset::<F>(index) {
            // A very large image: the rest of it is not noted.
            None => Ok(()),
            Some(offset) => flash.write(self.start + offset, &[0; LARGEST_MARK][..mark_len::<F>()]),
        }
    }

    fn is_marked<F: NorFlash>(self, flash: &mut F, index: u32) -> Result<bool, F::Error> {
        let Some(offset) = mark_offset::<F>(index) else { return Ok(false) };
        let mut mark = [0xFF; LARGEST_MARK];
        let mark = &mut mark[..mark_len::<F>()];
        flash.read(self.start + offset, mark)?;
        Ok(mark.iter().any(|byte| *byte != 0xFF))
    }
}

fn mark_len<F: NorFlash>() -> usize {
    const {
        assert!(F::WRITE_SIZE <= LARGEST_MARK && LARGEST_MARK.is_multiple_of(F::WRITE_SIZE));
        assert!(HEADER_LEN.is_multiple_of(F::READ_SIZE) && F::READ_SIZE <= 4);
    }
    F::WRITE_SIZE.max(4)
}

fn mark_offset<F: NorFlash>(index: u32) -> Option<u32> {
    let offset = MARKS + index.checked_mul(mark_len::<F>() as u32)?;
    (offset + mark_len::<F>() as u32 <= SECTOR).then_some(offset)
}

fn to_bytes(download: &Download) -> [u8; HEADER_LEN] {
    let mut bytes = [0xFF; HEADER_LEN];
    bytes[..4].copy_from_slice(&MAGIC);
    bytes[4..8].copy_from_slice(&download.size.to_le_bytes());
    bytes[8] = download.slot;
    bytes[16..24].copy_from_slice(&download.validator.0);
    bytes[24..56].copy_from_slice(&download.sha256.0);
    let sum = checksum(&bytes);
    bytes[56..].copy_from_slice(&sum);
    bytes
}

fn parse(bytes: &[u8; HEADER_LEN]) -> Option<Download> {
    let (magic, rest) = bytes.split_first_chunk()?;
    let (size, _) = rest.split_first_chunk()?;
    (*magic == MAGIC && bytes[56..] == checksum(bytes)).then_some(())?;
    Some(Download {
        size: u32::from_le_bytes(*size),
        slot: bytes[8],
        validator: Validator(bytes[16..24].try_into().ok()?),
        sha256: Sha256(bytes[24..56].try_into().ok()?),
    })
}

fn checksum(bytes: &[u8; HEADER_LEN]) -> [u8; 8] {
    let mut short = [0; 8];
    short.copy_from_slice(&Hasher::digest(&bytes[..56])[..8]);
    short
}
