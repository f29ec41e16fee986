//! How far a download came, kept so that a power cut costs little.
//!
//! It stands in the sector of otadata whose record does not decide, which is
//! blank while a slot is being written:
//!
//! ```text
//! 0        32       64       192                                      4096
//! | record | unused | header | mark | mark | ...                       |
//!   blank                      one for each 32 KiB that flash holds
//! ```
//!
//! An image may come as a [patch](crate::patch). What flash holds of it says
//! nothing then of how far its file was read. So the header keeps which file it
//! is and how that begins, and each mark the block of it at which it can be
//! taken up.
//!
//! Encrypted flash reads as noise where it is erased, so that every mark counts:
//! there a download that was cut starts over.
//!
//! A mark is programmed once, after the bytes that it stands for. Any bit of it
//! that is 0 proves that, so that a torn mark counts, without its block: that of
//! the mark before serves as well. Nothing here is trusted:
//! what flash holds is hashed again when the download goes on, and once more at
//! its end.

use crate::{
    layout::Region,
    otadata::{SECTOR, sector_offset},
};
use embedded_storage::nor_flash::NorFlash;
use sha2::{Digest, Sha256 as Hasher};
use towline_descriptor::Sha256;
use towline_patch::{Header, Start};

/// Bytes of the image for which a mark stands.
pub(crate) const STEP: u32 = 32 * 1024;

const HEADER: u32 = 64;
const HEADER_LEN: usize = 128;
const SUM: usize = HEADER_LEN - 8;
const MARKS: u32 = HEADER + HEADER_LEN as u32;
const MAGIC: [u8; 4] = *b"TWJ2";
const MARK: usize = 16;
const LARGEST_MARK: usize = 32;

/// What is being downloaded, and to which slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Download {
    pub(crate) size: u32,
    pub(crate) sha256: Sha256,
    pub(crate) slot: u8,
    /// Of the file that is fetched.
    pub(crate) validator: Validator,
    /// The patch that the image comes as.
    pub(crate) patch: Option<PatchFile>,
}

/// A patch that is being fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PatchFile {
    /// The first bytes of its SHA-256; never all 0.
    pub(crate) id: [u8; 8],
    /// How the file begins.
    pub(crate) header: [u8; Header::LEN],
}

/// What a journal says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) download: Download,
    /// How many bytes of the image flash holds.
    pub(crate) held: u32,
    /// The last block of a patch that starts before that.
    pub(crate) start: Option<Start>,
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

    /// Returns what was being downloaded, and how far that came.
    pub(crate) fn read<F: NorFlash>(self, flash: &mut F) -> Result<Option<Found>, F::Error> {
        let mut header = [0; HEADER_LEN];
        flash.read(self.start + HEADER, &mut header)?;
        let Some(download) = parse(&header) else { return Ok(None) };
        let mut found = Found { download, held: 0, start: None };
        let mut index = 0;
        while let Some(mark) = self.mark_at(flash, index)? {
            index += 1;
            found.held = index * STEP;
            found.start = start_of(&mark).filter(|start| start.at <= found.held).or(found.start);
        }
        Ok(Some(found))
    }

    /// Begins a journal in the erased sector.
    pub(crate) fn begin<F: NorFlash>(
        self,
        flash: &mut F,
        download: &Download,
    ) -> Result<(), F::Error> {
        flash.write(self.start + HEADER, &to_bytes(download))
    }

    /// Notes that flash holds the first `held` bytes, a multiple of [`STEP`],
    /// and which block of a patch they go on in.
    pub(crate) fn mark<F: NorFlash>(
        self,
        flash: &mut F,
        held: u32,
        start: Option<Start>,
    ) -> Result<(), F::Error> {
        let Some(offset) = mark_offset::<F>(held / STEP - 1) else {
            // A very large image: the rest of it is not noted.
            return Ok(());
        };
        let mut mark = [0; LARGEST_MARK];
        if let Some(Start { offset, at }) = start {
            mark[..4].copy_from_slice(&offset.to_le_bytes());
            mark[4..8].copy_from_slice(&at.to_le_bytes());
            let sum = checksum(&mark[..8]);
            mark[8..MARK].copy_from_slice(&sum);
        }
        flash.write(self.start + offset, &mark[..mark_len::<F>()])
    }

    /// Returns a mark, unless it was never begun.
    fn mark_at<F: NorFlash>(
        self,
        flash: &mut F,
        index: u32,
    ) -> Result<Option<[u8; MARK]>, F::Error> {
        let Some(offset) = mark_offset::<F>(index) else { return Ok(None) };
        let mut bytes = [0xFF; LARGEST_MARK];
        let bytes = &mut bytes[..mark_len::<F>()];
        flash.read(self.start + offset, bytes)?;
        let is_begun = bytes.iter().any(|byte| *byte != 0xFF);
        Ok(bytes.first_chunk().filter(|_| is_begun).copied())
    }
}

/// Returns where the block starts that a mark names, if it names one.
fn start_of(mark: &[u8; MARK]) -> Option<Start> {
    let (words, sum) = mark.split_at(8);
    let ([offset, at], []) = words.as_chunks() else { return None };
    let start = Start { offset: u32::from_le_bytes(*offset), at: u32::from_le_bytes(*at) };
    (sum == checksum(words)).then_some(start)
}

fn mark_len<F: NorFlash>() -> usize {
    const {
        assert!(F::WRITE_SIZE <= LARGEST_MARK && LARGEST_MARK.is_multiple_of(F::WRITE_SIZE));
        assert!(HEADER_LEN.is_multiple_of(F::READ_SIZE) && F::READ_SIZE <= 4);
    }
    F::WRITE_SIZE.max(MARK)
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
    bytes[56..64].fill(0);
    if let Some(PatchFile { id, header }) = &download.patch {
        bytes[56..64].copy_from_slice(id);
        bytes[64..][..header.len()].copy_from_slice(header);
    }
    let sum = checksum(&bytes[..SUM]);
    bytes[SUM..].copy_from_slice(&sum);
    bytes
}

fn parse(bytes: &[u8; HEADER_LEN]) -> Option<Download> {
    let (magic, rest) = bytes.split_first_chunk()?;
    let (size, _) = rest.split_first_chunk()?;
    (*magic == MAGIC && bytes[SUM..] == checksum(&bytes[..SUM])).then_some(())?;
    let id: [u8; 8] = bytes[56..64].try_into().ok()?;
    Some(Download {
        size: u32::from_le_bytes(*size),
        slot: bytes[8],
        validator: Validator(bytes[16..24].try_into().ok()?),
        sha256: Sha256(bytes[24..56].try_into().ok()?),
        patch: bytes[64..]
            .first_chunk()
            .filter(|_| id != [0; 8])
            .map(|header| PatchFile { id, header: *header }),
    })
}

fn checksum(bytes: &[u8]) -> [u8; 8] {
    let mut short = [0; 8];
    short.copy_from_slice(&Hasher::digest(bytes)[..8]);
    short
}
