//! The firmware that Towline releases.
//!
//! ```text
//! boot guard -> watchdog -> status -> settings -> Wi-Fi -> time -> channel
//!                                                  ^                 |
//!                                       Improv ----/                 v
//!                                   REST API, status page        self-test
//! ```
//!
//! `chip` and `serial` are the adapters of the chip; `wifi` and `time` those of
//! its radio and network.
#![no_std]
#![no_main]

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

mod backoff;
mod chip;
mod config;
mod flash;
mod serial;
mod settings;
mod shared;
mod status;
mod time;
mod wifi;

use chip::Chip;
use core::cell::RefCell;
use core::time::Duration;
use embassy_executor::Spawner;
use embassy_net::{DhcpConfig, Runner, StackResources};
use esp_hal::rng::Rng;
use esp_radio::wifi::{ControllerConfig, CountryInfo, Interface, WifiController};
use esp_rtos::embassy::Executor;
use flash::SharedFlash;
use log::{LevelFilter, error, info};
use settings::Settings;
use shared::Shared;
use static_cell::StaticCell;

/// Time beyond the trial after which the watchdog ends what hangs.
const MARGIN: Duration = Duration::from_secs(30);

/// Sockets at a time: DHCP, DNS, time, the channel, and two of the REST API.
const SOCKETS: usize = 6;

esp_bootloader_esp_idf::esp_app_desc!();

#[esp_hal::main]
fn main() -> ! {
    esp_println::logger::init_logger(LevelFilter::Info);
    let mut chip = Chip::start();
    let running = chip.running_offset();
    chip.watchdog.arm(config::TRIAL + MARGIN);
    info!(
        "{} {} on {}",
        env!("CARGO_PKG_NAME"),
        env!("CARGO_PKG_VERSION"),
        esp_hal::chip!()
    );
    if let Err(err) = status::log(&mut chip.flash, running) {
        error!("{err}");
    }
    let nvs = chip.nvs();
    static FLASH: StaticCell<RefCell<esp_storage::FlashStorage<'static>>> = StaticCell::new();
    let flash = SharedFlash::new(FLASH.init(RefCell::new(chip.flash)));
    let mut settings = Settings::open(flash, nvs);
    info!("following: {} of {}{}", settings.channel(), config::BASE_URL, config::TARGET);
    static SHARED: StaticCell<Shared> = StaticCell::new();
    let shared = SHARED.init(Shared::new(settings));

    let wifi = chip.radio.start_scheduler();
    static EXECUTOR: StaticCell<Executor> = StaticCell::new();
    EXECUTOR.init(Executor::new()).run(|spawner| start(spawner, wifi, shared))
}

/// Starts the radio, the network and all tasks.
fn start(
    spawner: Spawner,
    wifi: esp_hal::peripherals::WIFI<'static>,
    shared: &'static Shared,
) {
    let controller = ControllerConfig::default().with_country_info(CountryInfo::from(*b"01"));
    let controller = match WifiController::new(wifi, controller) {
        Ok(controller) => controller,
        Err(error) => panic!("the radio does not start: {error:?}"),
    };
    let interface = Interface::station();
    let mac = interface.mac_address();
    let fallback = alloc::format!("towline-{:02x}{:02x}{:02x}", mac[3], mac[4], mac[5]);
    let hostname = shared.settings().hostname(&fallback);
    info!("wifi: host name {hostname}");
    let mut dhcp = DhcpConfig::default();
    dhcp.hostname = hostname.as_str().try_into().ok();
    let random = Rng::new();
    let seed = u64::from(random.random()) << 32 | u64::from(random.random());
    static RESOURCES: StaticCell<StackResources<SOCKETS>> = StaticCell::new();
    let (stack, runner) = embassy_net::new(
        interface,
        embassy_net::Config::dhcpv4(dhcp),
        RESOURCES.init(StackResources::new()),
        seed,
    );
    spawner.spawn(network(runner).expect("one task"));
    spawner.spawn(wifi::run(controller, stack, shared).expect("one task"));
    spawner.spawn(time::run(stack).expect("one task"));
}

#[embassy_executor::task]
async fn network(mut runner: Runner<'static, Interface>) -> ! {
    runner.run().await
}
