//! A device that follows its channel: what firmware is built on, and the
//! firmware that Towline releases.
//!
//! ```text
//! watchdog -> boot guard -> status -> settings -> Wi-Fi -> time -> channel
//!                                                  ^                 |
//!                                       Improv ----/                 v
//!                                   REST API, status page        self-test
//! ```
//!
//! An application is started by it, has the peripherals that the device leaves,
//! and says whether it works:
//!
//! ```ignore
//! #[esp_hal::main]
//! fn main() -> ! {
//!     towline_device::start!(device, peripherals);
//!     let led = Output::new(peripherals.GPIO2, Level::Low, OutputConfig::default());
//!     device.run(|spawner, handle| {
//!         spawner.spawn(blink(led, handle).expect("one task"));
//!         async { Ok(()) }
//!     })
//! }
//! ```
//!
//! Its own is the panic handler, the heap (`alloc` may be used) and the log.
//! What it is built for comes from the environment of the build; the README
//! lists the variables.
//!
//! `chip`, `serial` and `wifi` are the adapters of the chip; the rest works
//! through traits.
#![no_std]

extern crate alloc;

#[cfg(not(any(
    feature = "esp32",
    feature = "esp32c2",
    feature = "esp32c3",
    feature = "esp32c6",
    feature = "esp32s2",
    feature = "esp32s3",
)))]
compile_error!(
    "pick the chip to build for, such as \
     `cargo build --release --features esp32c3 --target riscv32imc-unknown-none-elf`"
);

mod api;
mod backoff;
#[doc(hidden)]
pub mod chip;
mod config;
mod device;
mod flash;
mod handle;
mod serial;
mod settings;
mod shared;
mod status;
mod time;
mod update;
mod wifi;

pub use config::{BASE_URL, Project, ROOT, TARGET, channels};
pub use device::Device;
pub use embassy_net;
#[doc(hidden)]
pub use esp_bootloader_esp_idf::esp_app_desc;
pub use handle::Handle;
pub use towline::Reason;
pub use towline_app::rest::Offered;
pub use update::Fault;

/// Starts the device, as the first thing in `main`: declares `$device`, a
/// [`Device`], and `$peripherals`, the peripherals of the chip. Those that the
/// device takes are moved out of them: flash, Wi-Fi, the RTC timer, `TIMG0`, a
/// software interrupt, and `UART0` with its pins and the USB port, which are the
/// console.
///
/// The package that calls this is the project: its name and version are those
/// in the image.
///
/// # Panics
/// In the compiler, if the root of [`ROOT`] is of another project.
#[macro_export]
macro_rules! start {
    ($device:ident, $peripherals:ident) => {
        let $peripherals = $crate::chip::init();
        let $device = {
            $crate::esp_app_desc!();
            const PROJECT: $crate::Project =
                $crate::Project::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
            $crate::Device::start(PROJECT, $crate::__take!($peripherals))
        };
    };
}
