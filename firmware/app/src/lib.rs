//! What a device that updates itself offers to the people around it.
//!
//! ```text
//! browser, cargo xtask push -> rest (HTTP/1.1) -> Slots (towline::Ota), Device (settings)
//! installer over USB --------> improv (serial) -> Provision -> Wi-Fi, settings
//! ```
//!
//! The crate is `no_std`, allocates nothing and knows no chip: sockets are
//! [`embedded_io_async`] streams, time is a [`towline::Clock`], and what the
//! device can do is a trait that its firmware implements. The same code answers
//! on the chip and, in tests and in `cargo xtask sim serve`, on the host.
#![no_std]

#[cfg(test)]
extern crate std;

pub mod improv;
pub mod rest;
pub mod slots;
