//! Wire types of Towline channels, shared by publisher and device.
//!
//! ```text
//!  publisher --Serialize--> ota/<channel>/<target>.json --Document::parse--> device
//! ```
//!
//! A descriptor is plain, or an [`Envelope`] around its signed bytes; the keys
//! that may sign stand in the chain of [roots](root).
//!
//! The parser needs no allocator: it decodes in the buffer that holds the
//! download and hands out slices of it. Invariants:
//!
//! - nothing in a document is used before the whole of it has been read and
//!   found well-formed;
//! - a field that appears twice, a NUL, or a number that does not fit is an
//!   error, never a guess;
//! - fields that this version does not know are skipped, a format number
//!   (`fmt`) that it does not know is refused.
#![no_std]

#[cfg(test)]
extern crate std;

mod base64;
mod chip;
mod descriptor;
mod digest;
mod document;
pub mod envelope;
mod hex;
pub mod json;
pub mod policy;
pub mod root;
mod url;
mod version;

pub use chip::{Chip, UnknownChip};
pub use descriptor::{Descriptor, Document, MAX_NOTES, MAX_PATCHES, Patch, SignedDescriptor};
pub use digest::{InvalidDigest, Sha256};
pub use document::{DocumentError, FORMAT, MAX_DOCUMENT};
pub use envelope::{Envelope, Key, KeyId, Role, Signature, Verify};
pub use policy::{DeviceHash, Policy, Priority, Rollout, Share, Step, Window};
pub use root::Root;
pub use url::{Url, UrlError};
pub use version::{InvalidVersion, MAX_VERSION, Version};
