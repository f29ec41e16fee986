//! Patches of ESP32 firmware images: from the image that a device runs to the
//! next one, in a tenth of its bytes.
//!
//! ```text
//!  patch -> Applier -> Engine -> put   the new image, in order
//!                       ^    ^
//!          old (running slot) back (what was put before)
//! ```
//!
//! The format is specified in `docs/format.md`. Its decoder knows instructions:
//! it reads the old image call by call and pointer by pointer, aims each at where
//! its target went, and the patch says only where that is wrong. Encoder and
//! decoder walk through the same [`Engine`]; they differ by their [`Coder`].
//!
//! Invariants, whatever a patch contains:
//! - no byte is put beyond the size that the header says, none is read outside
//!   the old image or what was put;
//! - all memory is [`Params::memory`] bytes that the caller lends, and the size
//!   of the [`Applier`];
//! - a call of [`Applier::push`] puts at most [`MAX_PUT`] bytes.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod apply;
mod engine;
mod header;
mod io;
mod isa;
mod model;
mod range;
mod segments;
mod unit;

pub use apply::{Applier, MAX_PUT, Progress, Start};
pub use engine::{Engine, Intent, Token};
pub use header::{Header, HeaderError, Image, Isa, Limits, Params, Refused};
pub use io::{Error, Images};
pub use isa::{Kind, Registers, Site, Unit};
pub use range::{Coder, Encoder};
pub use segments::{Place, Segments};
