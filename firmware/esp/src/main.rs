//! The firmware that Towline releases: a device that follows its channel, and
//! nothing beside.
#![no_std]
#![no_main]

use core::future;

#[esp_hal::main]
fn main() -> ! {
    towline_device::start!(device, _peripherals);
    device.run(|_, _| future::ready(Ok(())))
}
