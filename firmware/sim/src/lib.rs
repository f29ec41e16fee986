//! A device on the host.
//!
//! ```text
//!  flash.bin <- Flash (NOR rules) <- bootloader::boot -> slot
//!                   ^                                     |
//!                   +---- Device::update (crate `towline`) <- Net (TLS)
//! ```
//!
//! The update client is the one that runs on the chip; only the flash, the
//! network and the bootloader are stand-ins. Flash is a file: stopping the
//! process is a power cut.

mod bootloader;
mod device;
mod flash;
mod net;

pub use bootloader::{BootError, Booted, boot};
pub use device::{Device, DeviceError};
pub use flash::{Flash, FlashError, SECTOR};
pub use net::{Connection, Net, NetError, Scheme};
