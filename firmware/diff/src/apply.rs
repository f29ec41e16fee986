//! Applying a patch as devices do.

use crate::DiffError;
use sha2::{Digest, Sha256};
use std::convert::Infallible;
use towline_patch::{Applier, Header, Image, Images, Limits, Progress};

/// The old image, and what was put of the new one.
struct Files<'a> {
    old: &'a [u8],
    new: Vec<u8>,
}

impl Images for Files<'_> {
    type Error = Infallible;

    fn old(&mut self, at: u32, buf: &mut [u8]) -> Result<(), Infallible> {
        buf.copy_from_slice(&self.old[at as usize..][..buf.len()]);
        Ok(())
    }

    fn back(&mut self, at: u32, buf: &mut [u8]) -> Result<(), Infallible> {
        buf.copy_from_slice(&self.new[at as usize..][..buf.len()]);
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Infallible> {
        self.new.extend_from_slice(bytes);
        Ok(())
    }
}

/// Reads the header of a patch.
///
/// # Errors
/// [`DiffError::Short`], [`DiffError::Header`].
pub fn header(patch: &[u8]) -> Result<Header, DiffError> {
    let header = patch.first_chunk().ok_or(DiffError::Short(patch.len()))?;
    Header::parse(header).map_err(DiffError::Header)
}

/// Applies a patch to the image that it was made from, or to nothing, and returns the new
/// image.
///
/// # Errors
/// [`DiffError`].
pub fn apply(old: &[u8], patch: &[u8]) -> Result<Vec<u8>, DiffError> {
    let header = header(patch)?;
    // The header alone says what it makes; a device knows it of the descriptor.
    let mut sha256 = [0; 32];
    sha256[..header.new_sha256.len()].copy_from_slice(&header.new_sha256);
    let limits = Limits {
        old: Image { size: old.len() as u32, sha256: Sha256::digest(old).into() },
        new: Image { size: header.new_size, sha256 },
        size: patch.len() as u32,
        slot: header.new_size,
        memory: header.params.memory(),
    };
    let mut files = Files { old, new: Vec::new() };
    let mut work = vec![0; header.params.memory() as usize / 2];
    let mut applier = Applier::begin(&header, &limits, &mut work, &mut files)
        .map_err(|error| DiffError::of(error, 0))?;
    let mut rest = &patch[Header::LEN..];
    loop {
        match applier.push(&mut rest, &mut files) {
            Ok(Progress::Busy) => {}
            Ok(Progress::Done) => break,
            Ok(Progress::Hungry) => return Err(DiffError::Damaged { at: files.new.len() }),
            Err(error) => return Err(DiffError::of(error, files.new.len())),
        }
    }
    if Sha256::digest(&files.new).starts_with(&header.new_sha256) {
        Ok(files.new)
    } else {
        Err(DiffError::Damaged { at: files.new.len() })
    }
}
