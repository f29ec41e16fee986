//! Images as real firmware fills them.

use sha2::{Digest, Sha256};

/// Fills an app image with so many bytes of content that does not compress.
pub(crate) fn fill(image: &mut [u8], content: usize, seed: &mut u64) {
    let end = image.len() - 33;
    for word in image[288..][..content].chunks_mut(8) {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        word.copy_from_slice(&seed.to_le_bytes()[..word.len()]);
    }
    image[end] = image[32..end].iter().fold(0xEF, |sum, byte| sum ^ byte);
    sign(image);
}

/// Renews the SHA-256 at the end of an image.
pub(crate) fn sign(image: &mut [u8]) {
    let (content, hash) = image.split_at_mut(image.len() - 32);
    hash.copy_from_slice(&Sha256::digest(content));
}
