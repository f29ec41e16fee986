//! Wire types of Towline channels, shared by publisher and device.
//!
//! ```text
//!  publisher --Serialize--> ota/<channel>/<target>.json --Descriptor::parse--> device
//! ```
//!
//! The parser needs no allocator: it decodes in the buffer that holds the
//! download and hands out slices of it. Invariants:
//!
//! - nothing in a descriptor is used before the whole of it has been read and
//!   found well-formed;
//! - a field that appears twice, a NUL, or a number that does not fit is an
//!   error, never a guess;
//! - fields that this version does not know are skipped, a format number
//!   (`fmt`) that it does not know is refused.
#![no_std]

#[cfg(test)]
extern crate std;

mod chip;
mod descriptor;
mod digest;
pub mod json;
mod url;
mod version;

pub use chip::{Chip, UnknownChip};
pub use descriptor::{Descriptor, DescriptorError, FORMAT, MAX_DESCRIPTOR, MAX_NOTES};
pub use digest::{InvalidDigest, Sha256};
pub use url::{Url, UrlError};
pub use version::{InvalidVersion, MAX_VERSION, Version};
