//! Firmware that does nothing, in images that are sound.

use sha2::{Digest, Sha256};
use towline_descriptor::Chip;

/// The partition table of the demo firmware: two slots of 1856 KiB.
#[allow(dead_code, reason = "not every test needs a table")]
pub(crate) const PARTITIONS: &str = "\
nvs,       data, nvs,   0x9000,   0x4000
otadata,   data, ota,   0xd000,   0x2000
phy_init,  data, phy,   0xf000,   0x1000
ota_0,     app,  ota_0, 0x10000,  0x1d0000
ota_1,     app,  ota_1, 0x1e0000, 0x1d0000
";

/// Returns an app image as `esptool elf2image` lays it out, with `len` bytes
/// of content. It is sound in every respect but that its code does nothing.
pub(crate) fn app_image(chip: Chip, project: &str, version: &str, len: usize) -> Vec<u8> {
    let mut descriptor = vec![0; 256];
    descriptor[..4].copy_from_slice(&0xABCD_5432_u32.to_le_bytes());
    descriptor[0x10..][..version.len()].copy_from_slice(version.as_bytes());
    descriptor[0x30..][..project.len()].copy_from_slice(project.as_bytes());
    descriptor[0xA4 + 0x10] = 16;
    let mut data = descriptor;
    let seed = version.bytes().chain(chip.name().bytes()).fold(7_u8, |a, b| a.wrapping_mul(31) ^ b);
    data.extend((0..len).map(|at| (at as u8).wrapping_mul(seed | 1) ^ (at >> 8) as u8));
    data.resize(data.len().next_multiple_of(4), 0);

    let mut image = vec![0xE9, 1, 2, 0x20];
    image.extend(0x4038_0000_u32.to_le_bytes());
    image.resize(24, 0);
    image[8] = 0xEE;
    image[12..14].copy_from_slice(&chip.id().to_le_bytes());
    image[23] = 1;
    image.extend(0x3C00_0020_u32.to_le_bytes());
    image.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
    let sum = data.iter().fold(0xEF, |sum, byte| sum ^ byte);
    image.extend(data);
    image.resize(image.len() / 16 * 16 + 15, 0);
    image.push(sum);
    let hash = Sha256::digest(&image);
    image.extend(hash);
    image
}
