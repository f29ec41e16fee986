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
mod clock;
mod device;
mod flash;
mod memory;
mod net;
mod origin;
pub mod patch;
pub mod powercut;
pub mod sample;
pub mod signing;

pub use bootloader::{BootError, Booted, Kind, Unsound, boot};
pub use clock::{Counted, HostClock};
pub use device::{Device, DeviceError, Poll, SelfTest, Started};
pub use flash::{Flash, FlashError, SECTOR};
pub use memory::{Cut, Memory, MemoryError, Torn};
pub use net::{Connection, Net, NetError, Scheme, roots};
pub use origin::{Origin, OriginConnection};
