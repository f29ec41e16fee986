//! What runs on a chip that starts from its flash.

use crate::Flash;
use std::time::Duration;

/// What runs on a chip when its ROM has found a bootloader in flash: bytes in,
/// bytes out, and time.
///
/// The board keeps one and starts it at every reset. What it prints goes to
/// the end of `out`, at 115200 baud.
pub trait Firmware: Send {
    /// Starts anew from what is in flash; nothing of the last run is left but
    /// the flash.
    fn start(&mut self, flash: &mut Flash, out: &mut Vec<u8>);

    /// Takes bytes from the serial line.
    fn receive(&mut self, bytes: &[u8], out: &mut Vec<u8>);

    /// Lets time go by.
    fn advance(&mut self, time: Duration, flash: &mut Flash, out: &mut Vec<u8>);
}
