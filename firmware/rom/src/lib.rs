//! A board on the host, as a flashing tool sees it over USB.
//!
//! ```text
//! DTR, RTS --> reset and strap --> Reset | Download (ROM, then stub) | Firmware
//! bytes    --> SLIP --> commands --> flash (NOR rules), registers, eFuses
//!          <-- SLIP <-- replies
//! ```
//!
//! [`Board`] is a pure state machine: it is given bytes, control lines and
//! time, and hands out bytes. A front carries them; [`Pty`] does so for tools
//! that want a serial port, others can be written for a browser or a socket.
//! [`Line`] is for fronts on which bytes are to take the time they take on a
//! wire, [`Firmware`] for what the chip runs when it starts from its flash.
//!
//! The code that a tool uploads as its stub is not run: once it was uploaded
//! and started correctly, the board answers as the stub does.
//!
//! Source of the protocol: esptool's documentation, "Serial Protocol".

mod board;
mod faults;
mod firmware;
mod flash;
mod line;
mod loader;
#[cfg(target_os = "linux")]
mod pty;
mod silicon;
mod slip;

pub use board::{Board, Lines, Options, State, UnknownSilicon, Wiring};
pub use faults::Faults;
pub use firmware::Firmware;
pub use flash::{Flash, FlashError, SECTOR};
pub use line::Line;
#[cfg(target_os = "linux")]
pub use pty::Pty;
