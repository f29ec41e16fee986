//! Update client for ESP32 firmware that follows a channel.
//!
//! ```text
//! descriptor -> decide -> download -> patch -> verify + slot -> read back -> otadata -> reset
//!  (http)      (pure)     (http)     (if any)  (image, slot)     (slot)      (otadata)
//! ```
//!
//! The crate is `no_std`, allocates nothing, and knows a chip only as
//! [`embedded_storage::nor_flash::NorFlash`] (the flash) and
//! [`transport::Connect`] (a connection whose certificate was checked). It is
//! the same code on the chip, on the host and in the publisher, which checks
//! sites with it.
//!
//! Invariants:
//!
//! - the running slot is never written: [`slot::SlotWriter`] is made for the
//!   spare one only;
//! - a slot becomes bootable only through [`slot::Verified`], which exists only
//!   after the whole image was checked and read back from flash. The way back
//!   leads to sound images only, and one that never ran boots on trial;
//! - boot selection changes last, by writing the record of otadata that does
//!   not decide at present: whatever is cut short, the running firmware stays
//!   bootable;
//! - firmware that carries a root installs only what the project signed
//!   ([`trust`]; `security` has what that is worth).
#![no_std]

#[cfg(test)]
extern crate std;

pub mod clock;
pub mod decide;
pub mod error;
pub mod guard;
pub mod http;
pub mod image;
mod journal;
pub mod layout;
pub mod ota;
pub mod otadata;
pub mod pace;
pub mod patch;
pub mod place;
pub mod schedule;
#[cfg(doc)]
#[doc = include_str!("../docs/security.md")]
pub mod security {}
mod signature;
pub mod slot;
pub mod transport;
pub mod trust;
pub mod update;

pub use clock::Clock;
pub use decide::{Decision, Form, Reason, Running, decide};
pub use error::OtaError;
pub use guard::{Guard, Reset};
pub use journal::Validator;
pub use layout::{Layout, Region, Slot};
pub use ota::{Info, OpenError, Ota, SlotInfo};
pub use otadata::OtaData;
pub use pace::{Limits, Pace};
pub use patch::PatchError;
pub use signature::ed25519;
pub use slot::{Expected, SlotWriter, Verified};
pub use towline_descriptor as descriptor;
pub use transport::Connect;
pub use trust::{Trust, TrustError, Trusting};
pub use update::{Buffers, Check, Identity, LastPoll, Outcome, Progress, UpdateError, Updater};
