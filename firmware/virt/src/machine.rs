//! What the emulator offers. Addresses are those of QEMU's `hw/riscv/virt.c`.

#[cfg(feature = "device")]
pub mod entropy;
pub mod flash;
pub mod heap;
#[cfg(feature = "device")]
pub mod net;
pub mod power;
pub mod settings;
mod start;
pub mod time;
mod uart;
#[cfg(feature = "device")]
mod virtio;

#[doc(hidden)]
pub use uart::print;

/// Writes a line to the console.
#[macro_export]
macro_rules! log {
    ($($argument:tt)*) => { $crate::machine::print(format_args!($($argument)*)) };
}

/// Reads a register.
fn read<T: Copy>(address: usize) -> T {
    // SAFETY: only called with addresses of registers in this module's files;
    // the emulator has them all, and reading has no effect on memory.
    unsafe { (address as *const T).read_volatile() }
}

/// Writes a register.
fn write<T: Copy>(address: usize, value: T) {
    // SAFETY: as `read`; none of these registers makes the machine write to
    // memory that Rust knows of.
    unsafe { (address as *mut T).write_volatile(value) }
}
