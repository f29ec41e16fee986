//! From the first instruction to `main`, and what happens when all fails.

use super::power::{self, Exit};
use core::{arch::global_asm, panic::PanicInfo};

// a0 is the argument of `main`: the boot stage leaves there which flash offset
// the app comes from.
global_asm!(
    ".section .text.start, \"ax\"",
    ".global _start",
    "_start:",
    ".option push",
    ".option norelax",
    "la gp, __global_pointer$",
    ".option pop",
    "la sp, _stack_top",
    "la t0, _trap",
    "csrw mtvec, t0",
    "la t0, _bss_start",
    "la t1, _bss_end",
    "1: bgeu t0, t1, 2f",
    "sw zero, 0(t0)",
    "addi t0, t0, 4",
    "j 1b",
    // The rest of the stack is painted, so that its use can be read later.
    "2: la t0, _stack_bottom",
    "mv t1, sp",
    "li t2, {paint}",
    "3: bgeu t0, t1, 4f",
    "sw t2, 0(t0)",
    "addi t0, t0, 4",
    "j 3b",
    "4: call main",
    ".balign 4",
    "_trap:",
    "csrr a0, mcause",
    "csrr a1, mepc",
    "csrr a2, mtval",
    "la sp, _stack_top",
    "call {trap}",
    paint = const PAINT,
    trap = sym trap,
);

/// What unused stack holds.
pub(super) const PAINT: u32 = 0x5AC4_57AC;

extern "C" fn trap(cause: usize, at: usize, value: usize) -> ! {
    crate::log!("trap: cause {cause:#x} at {at:#x}, value {value:#x}");
    power::exit(Exit::Failure)
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    crate::log!("{info}");
    power::exit(Exit::Failure)
}
