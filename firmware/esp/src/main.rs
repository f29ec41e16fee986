//! The firmware that Towline releases.
//!
//! It boots, says what it is, which slot it runs from and what the slots hold,
//! and then keeps a heartbeat. It stays off the network.
//!
//! ```text
//! chip (adapter: clocks, flash, MMU, panic) -> status (portable: reads, logs)
//! ```
#![no_std]
#![no_main]

#[cfg(not(any(
    feature = "esp32",
    feature = "esp32c2",
    feature = "esp32c3",
    feature = "esp32c6",
    feature = "esp32h2",
    feature = "esp32s2",
    feature = "esp32s3",
)))]
compile_error!(
    "pick the chip to build for, such as \
     `cargo build --release --features esp32c3 --target riscv32imc-unknown-none-elf`"
);

mod chip;
mod status;

use chip::Chip;
use esp_hal::time::Duration;
use log::{LevelFilter, error, info};

const HEARTBEAT: Duration = Duration::from_secs(5);

esp_bootloader_esp_idf::esp_app_desc!();

#[esp_hal::main]
fn main() -> ! {
    esp_println::logger::init_logger(LevelFilter::Info);
    let mut chip = Chip::start();
    info!("{} {} on {}", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"), esp_hal::chip!());
    let running = chip.running_offset();
    if let Err(err) = status::log(&mut chip.flash, running) {
        error!("{err}");
    }
    loop {
        chip.wait(HEARTBEAT);
        info!("heartbeat, up {} s", chip.uptime().as_secs());
    }
}
