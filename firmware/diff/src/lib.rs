//! Makes patches of ESP32 firmware images.
//!
//! ```text
//! old --mask--> index --.
//! new --mask------------+--> stretches --> gaps --> tokens --> encoder --> patch
//!                            (scan)        (paths)                          |
//!                                           new == applied <---------------'
//! ```
//!
//! The format and its decoder are `towline-patch`; this crate is for hosts. It is a crate
//! of its own, so that unoptimised builds of its users make patches as fast.
//!
//! Invariants:
//! - the same images give the same patch on every machine, with any number of threads:
//!   no floating point, no order of hash tables, no choice by what ended first;
//! - a patch is returned only after it was applied and gave the new image.
#![forbid(unsafe_code)]

mod apply;
mod encode;
mod error;
mod gaps;
mod index;
mod make;
mod mask;
mod parse;
mod price;
mod scan;
mod token;

pub use apply::{apply, header};
pub use error::DiffError;
pub use make::{VERSION, make};
pub use towline_patch::{Header, Isa};
