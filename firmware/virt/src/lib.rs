//! The machine `virt` of QEMU as a device that Towline updates.
//!
//! ```text
//! reset -> boot stage (bin/boot.rs): partition table, otadata, image -> RAM
//!       -> app (main.rs): guard, network, TLS, channel, spare slot -> reset
//! ```
//!
//! The client, the TLS adapter and the network stack are those of the chips;
//! what is here are drivers for what the emulator offers in the place of a
//! chip's peripherals. The flash is a file: killing the emulator is a power
//! cut.
//!
//! App images are ESP images. Their header says ESP32-C6, whose processor has
//! the same instructions (RV32IMAC), because the format has no number for this
//! machine; their project is `towline-virt` and their segments lie where no
//! ESP32-C6 has memory, so that none would run them.
#![no_std]
#![allow(unsafe_code, reason = "drivers of an emulated machine")]

extern crate alloc;

// What mbedtls takes from a C library.
#[cfg(feature = "device")]
use tinyrlibc as _;

pub mod machine;
