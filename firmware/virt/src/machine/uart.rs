//! The console: a 16550 UART.

use super::{read, write};
use core::fmt::{self, Write};

const DATA: usize = 0x1000_0000;
const LINE_STATUS: usize = DATA + 5;
const TRANSMITTER_EMPTY: u8 = 1 << 5;

struct Uart;

impl Write for Uart {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            while read::<u8>(LINE_STATUS) & TRANSMITTER_EMPTY == 0 {}
            write(DATA, byte);
        }
        Ok(())
    }
}

/// Writes a line.
pub fn print(line: fmt::Arguments<'_>) {
    // The console never fails.
    let _ = writeln!(Uart, "{line}");
}
