//! Firmware that does nothing, in images that are sound, and a place for it.

use sha2::{Digest, Sha256 as Hasher};
use towline::descriptor::Chip;

/// Returns an app image as `esptool elf2image` lays it out, with `len` bytes
/// of content. It is sound in every respect but that its code does nothing.
/// Images of two versions have nothing in common.
///
/// # Panics
/// If a text is longer than its field, or `len` than an image can be.
pub fn app_image(chip: Chip, project: &str, version: &str, len: usize) -> Vec<u8> {
    let seed = version.bytes().chain(chip.name().bytes()).fold(7_u8, |a, b| a.wrapping_mul(31) ^ b);
    let content = (0..len).map(|at| (at as u8).wrapping_mul(seed | 1) ^ (at >> 8) as u8);
    image_of(chip, project, version, content)
}

/// As [`app_image`], but the images of two versions are as much alike as those
/// of a program to which something was added: a line here and there, which moves
/// what follows.
///
/// # Panics
/// As [`app_image`].
pub fn program_image(chip: Chip, project: &str, version: &str, len: usize) -> Vec<u8> {
    let mut random = 1_u32;
    let mut word = || {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // Some words are more frequent than others.
        (random >> 24 & random >> 16 & 0xFF).wrapping_mul(0x9E37_79B1).to_le_bytes()
    };
    let mut content = Vec::new();
    while content.len() < len {
        if content.len() % 3000 < 4 {
            let lines = 1 + usize::from(version.bytes().fold(0, u8::wrapping_add) % 5);
            content.extend(version.repeat(lines).as_bytes());
            content.resize(content.len().next_multiple_of(4), 0);
        }
        content.extend(word());
    }
    content.truncate(len);
    image_of(chip, project, version, content)
}

fn image_of(
    chip: Chip,
    project: &str,
    version: &str,
    content: impl IntoIterator<Item = u8>,
) -> Vec<u8> {
    let mut descriptor = vec![0; 256];
    descriptor[..4].copy_from_slice(&0xABCD_5432_u32.to_le_bytes());
    descriptor[0x10..0x30][..version.len()].copy_from_slice(version.as_bytes());
    descriptor[0x30..0x50][..project.len()].copy_from_slice(project.as_bytes());
    descriptor[0xA4 + 0x10] = 16;
    let mut data = descriptor;
    data.extend(content);
    data.resize(data.len().next_multiple_of(4), 0);

    let mut image = vec![0xE9, 1, 2, 0x20];
    image.extend(0x4038_0000_u32.to_le_bytes());
    image.resize(24, 0);
    image[8] = 0xEE;
    image[12..14].copy_from_slice(&chip.id().to_le_bytes());
    image[23] = 1;
    image.extend(0x3C00_0020_u32.to_le_bytes());
    image.extend(u32::try_from(data.len()).expect("an image is small").to_le_bytes());
    let sum = data.iter().fold(0xEF, |sum, byte| sum ^ byte);
    image.extend(data);
    image.resize(image.len() / 16 * 16 + 15, 0);
    image.push(sum);
    let hash = Hasher::digest(&image);
    image.extend(hash);
    image
}

/// Returns the image with this `secure_version`, and its checks made anew.
///
/// # Panics
/// If the image is not one of [`app_image`].
#[must_use]
pub fn with_secure_version(mut image: Vec<u8>, secure_version: u32) -> Vec<u8> {
    image[36..40].copy_from_slice(&secure_version.to_le_bytes());
    seal(image)
}

/// Returns the image with checksum and hash made anew.
///
/// # Panics
/// If the image is not one of [`app_image`].
#[must_use]
pub fn seal(mut image: Vec<u8>) -> Vec<u8> {
    let end = image.len() - 32;
    let len: [u8; 4] = image[28..32].try_into().expect("4 bytes");
    let data = &image[32..][..u32::from_le_bytes(len) as usize];
    image[end - 1] = data.iter().fold(0xEF, |sum, byte| sum ^ byte);
    let hash = Hasher::digest(&image[..end]);
    image[end..].copy_from_slice(&hash);
    image
}

/// A partition table: `towline` at 0x9000, `otadata` at 0xd000, and app
/// partitions.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Number of slots, the first one at 0x10000.
    pub slots: usize,
    /// Size in bytes of each, a multiple of 0x10000.
    pub slot_size: u32,
    /// Whether a factory app follows them.
    pub factory: bool,
}

impl Table {
    /// Flash offset in bytes of `otadata`.
    pub const OTADATA: u32 = 0xd000;

    /// Flash offset in bytes of `towline`, what the device trusts.
    pub const TRUSTED: u32 = 0x9000;

    /// Returns the flash offset of a slot; that of the factory app behind them.
    pub fn offset(&self, slot: usize) -> u32 {
        0x10000 + slot as u32 * self.slot_size
    }

    /// Returns the size in bytes of a flash that has room for it.
    pub fn flash_size(&self) -> usize {
        self.offset(self.slots + usize::from(self.factory)) as usize
    }

    /// Returns the table's bytes, which belong at 0x8000.
    pub fn to_bytes(&self) -> Vec<u8> {
        let named = |name: &str, kind: u8, subtype: u8, offset: u32, size: u32| {
            let mut entry = vec![0xAA, 0x50, kind, subtype];
            entry.extend(offset.to_le_bytes());
            entry.extend(size.to_le_bytes());
            entry.extend(name.as_bytes());
            entry.resize(32, 0);
            entry
        };
        let entry = |kind, subtype, offset, size| named("", kind, subtype, offset, size);
        let mut table = entry(1, 0, Self::OTADATA, 0x2000);
        for slot in 0..self.slots {
            table.extend(entry(0, 0x10 + slot as u8, self.offset(slot), self.slot_size));
        }
        if self.factory {
            table.extend(entry(0, 0, self.offset(self.slots), self.slot_size));
        }
        table.extend(named("towline", 1, 6, Self::TRUSTED, 0x2000));
        table
    }
}
