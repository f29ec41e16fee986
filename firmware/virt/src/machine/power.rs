//! The way out: QEMU's test finisher.

use super::{read, write};
use towline::Reset;

const FINISHER: usize = 0x0010_0000;
const PASS: u32 = 0x5555;
const FAIL: u32 = 0x3333 | 1 << 16;
const RESET: u32 = 0x7777;

/// A word of memory that no program has, and what is left there: memory keeps
/// its content over a reset, and starts empty.
const MARK: usize = 0x80F0_0000;
const STARTED: u32 = 0x57A2_7ED0;

/// Returns why the machine started. It is known once.
pub fn reset_reason() -> Reset {
    let found: u32 = read(MARK);
    write(MARK, STARTED);
    if found == STARTED { Reset::Other } else { Reset::Power }
}

/// How the emulator ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With exit code 0.
    Success,
    /// With exit code 1.
    Failure,
}

/// Resets the machine, as the button of a board does.
pub fn reset() -> ! {
    write(FINISHER, RESET);
    halt()
}

/// Ends the emulator.
pub fn exit(exit: Exit) -> ! {
    write(FINISHER, if exit == Exit::Success { PASS } else { FAIL });
    halt()
}

fn halt() -> ! {
    loop {
        riscv::asm::wfi();
    }
}
