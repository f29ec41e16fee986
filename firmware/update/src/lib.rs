//! Update client for ESP32 firmware that follows a channel.
//!
//! ```text
//! descriptor -> decide -> download -> verify + slot -> read back -> otadata -> reset
//!  (http)      (pure)     (http)      (image, slot)     (slot)      (otadata)
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
//!   after the whole image was checked and read back from flash;
//! - boot selection changes last, by writing the record of otadata that does
//!   not decide at present: whatever is cut short, the running firmware stays
//!   bootable.
#![no_std]

#[cfg(test)]
extern crate std;

pub mod decide;
pub mod http;
pub mod image;
pub mod layout;
pub mod otadata;
pub mod slot;
pub mod transport;
pub mod update;

pub use decide::{Decision, Reason, Running, decide};
pub use layout::{Layout, Region};
pub use otadata::OtaData;
pub use towline_descriptor as descriptor;
pub use update::{Outcome, Progress, UpdateError, Updater};
