//! The firmware that Towline releases.
//!
//! ```text
//! watchdog -> boot guard -> status -> settings -> Wi-Fi -> time -> channel
//!                                                  ^                 |
//!                                       Improv ----/                 v
//!                                   REST API, status page        self-test
//! ```
//!
//! `chip`, `serial` and `wifi` are the adapters of the chip; the rest works
//! through traits.
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

mod api;
mod backoff;
mod chip;
mod config;
mod flash;
mod serial;
mod settings;
mod shared;
mod status;
mod time;
mod update;
mod wifi;

use alloc::{format, string::String};
use chip::{Chip, Watchdog};
use core::cell::RefCell;
use core::fmt;
use core::time::Duration;
use embassy_executor::Spawner;
use embassy_net::dns::DnsSocket;
use embassy_net::tcp::client::{TcpClient, TcpClientState};
use embassy_net::{DhcpConfig, Runner, StackResources};
use embassy_time::Timer;
use esp_hal::efuse;
use esp_hal::rng::{Rng, Trng};
use esp_radio::wifi::{ControllerConfig, CountryInfo, Interface, WifiController};
use esp_rtos::embassy::Executor;
use esp_storage::FlashStorage;
use flash::SharedFlash;
use log::{LevelFilter, error, info, warn};
use settings::Settings;
use shared::Shared;
use static_cell::{ConstStaticCell, StaticCell};
use towline::{Guard, Ota};
use towline_app::slots::Slots;
use towline_tls::{Connector, Engine};

/// Time beyond the trial after which the watchdog ends what hangs.
const MARGIN: Duration = Duration::from_secs(30);

/// Sockets at a time: DHCP, DNS, time, the channel, and those of the API.
const SOCKETS: usize = 4 + api::CONNECTIONS;

esp_bootloader_esp_idf::esp_app_desc!();

#[esp_hal::main]
fn main() -> ! {
    esp_println::logger::init_logger(LevelFilter::Info);
    let mut chip = Chip::start();
    chip.watchdog.arm(config::TRIAL + MARGIN);
    info!("{} {} on {}", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"), esp_hal::chip!());
    let running = chip.running_offset();
    let nvs = chip.nvs();
    static FLASH: StaticCell<RefCell<FlashStorage<'static>>> = StaticCell::new();
    let flash = SharedFlash::new(FLASH.init(RefCell::new(chip.flash)));
    let Some(running) = running else { halt("no app partition is what runs") };
    let mut ota = match Ota::open(flash, running) {
        Ok(ota) => ota,
        Err(error) => halt(error),
    };
    if ota.layout().trusted_is_unfit {
        warn!(
            "the partition `towline` is of no use; what is trusted is known until the next reset"
        );
    }
    let guard = ota.guard(chip::reset_cause());

    match &guard {
        Ok(guard) => info!("boot: {guard}"),
        Err(error) => error!("boot: {error}; carrying on as on trial"),
    }
    if let Ok(Guard::RolledBack { .. }) = guard {
        chip::reset();
    }
    let slots = match Slots::new(ota) {
        Ok(slots) => slots,
        Err(error) => halt(error),
    };
    status::log(&slots.contents());

    let mut settings = Settings::open(flash, nvs);
    let mac = efuse::base_mac_address();
    let own = mac.as_bytes().iter().skip(3);
    let fallback = own.fold(String::from("towline-"), |name, byte| format!("{name}{byte:02x}"));
    let hostname = settings.hostname(&fallback);
    let network = settings.network();
    info!("name: {hostname}");
    info!("network: {}", network.map_or("none is set".into(), |network| network.ssid));
    info!("following: {}", config::descriptor_url(settings.channel()));
    let on_trial = matches!(guard, Ok(Guard::Trial | Guard::Stranded) | Err(_));
    static SHARED: StaticCell<Shared> = StaticCell::new();
    let shared = SHARED.init(Shared::new(slots, on_trial, hostname, settings));

    let wifi = chip.radio.start_scheduler();
    static EXECUTOR: StaticCell<Executor> = StaticCell::new();
    EXECUTOR.init(Executor::new()).run(|spawner| {
        spawner.spawn(watch(chip.watchdog, shared).expect("one task"));
        spawner.spawn(serial::run(chip.console, shared).expect("one task"));
        start(spawner, wifi, shared);
    })
}

/// Starts the radio and all that needs the network.
fn start(spawner: Spawner, wifi: esp_hal::peripherals::WIFI<'static>, shared: &'static Shared) {
    // Buffers of 1.6 KB each: an image comes no faster than flash takes it.
    let config = ControllerConfig::default()
        .with_country_info(CountryInfo::from(*b"01"))
        .with_static_rx_buf_num(6)
        .with_dynamic_rx_buf_num(16)
        .with_dynamic_tx_buf_num(16);
    let controller = match WifiController::new(wifi, config) {
        Ok(controller) => controller,
        Err(error) => panic!("the radio does not start: {error}"),
    };
    let mut dhcp = DhcpConfig::default();
    dhcp.hostname = shared.hostname.as_str().try_into().ok();
    let random = Rng::new();
    let seed = u64::from(random.random()) << 32 | u64::from(random.random());
    static RESOURCES: StaticCell<StackResources<SOCKETS>> = StaticCell::new();
    let (stack, runner) = embassy_net::new(
        Interface::station(),
        embassy_net::Config::dhcpv4(dhcp),
        RESOURCES.init(StackResources::new()),
        seed,
    );
    spawner.spawn(network(runner).expect("one task"));
    spawner.spawn(wifi::run(controller, stack, shared).expect("one task"));
    spawner.spawn(time::run(stack).expect("one task"));

    // True random numbers: the radio runs.
    static RANDOM: StaticCell<Trng> = StaticCell::new();
    let generator = RANDOM.init(Trng::try_new().expect("the radio runs"));
    static ENGINE: StaticCell<Engine> = StaticCell::new();
    let engine = ENGINE.init(Engine::start(generator).expect("there is one engine"));
    static BUFFERS: ConstStaticCell<
        TcpClientState<{ update::CONNECTIONS }, { update::SEND }, { update::RECEIVE }>,
    > = ConstStaticCell::new(TcpClientState::new());
    static TCP: StaticCell<
        TcpClient<'static, { update::CONNECTIONS }, { update::SEND }, { update::RECEIVE }>,
    > = StaticCell::new();
    let tcp = TCP.init(TcpClient::new(stack, BUFFERS.take()));
    static DNS: StaticCell<DnsSocket<'static>> = StaticCell::new();
    let net = Connector::new(engine, tcp, DNS.init(DnsSocket::new(stack)));
    static CLIENT: StaticCell<update::Client> = StaticCell::new();
    let mac = efuse::base_mac_address();
    let id = mac.as_bytes().try_into().unwrap_or_default();
    let client = CLIENT.init(update::Client::new(net, id, random.random()));
    spawner.spawn(update::run(client, stack, shared).expect("one task"));

    static API: StaticCell<api::Api> = StaticCell::new();
    let api = API.init(api::Api::new(api::Board { shared, client }, time::Uptime));
    for _ in 0..api::CONNECTIONS {
        spawner.spawn(api::serve(api, stack).expect("as many tasks as connections"));
    }
    spawner.spawn(api::restarts(api).expect("one task"));
}

/// Feeds the watchdog, except on trial: what hangs is reset, and what has not
/// proved itself in time too, whatever became of the task that should have
/// rolled it back.
#[embassy_executor::task]
async fn watch(mut watchdog: Watchdog, shared: &'static Shared) -> ! {
    loop {
        Timer::after_secs(5).await;
        if !shared.on_trial.get() {
            watchdog.feed();
        }
    }
}

#[embassy_executor::task]
async fn network(mut runner: Runner<'static, Interface>) -> ! {
    runner.run().await
}

/// Says for ever why this device cannot do its work.
fn halt(reason: impl fmt::Display) -> ! {
    loop {
        error!("{reason}; flash the factory image over USB");
        esp_hal::delay::Delay::new().delay_millis(10_000);
    }
}
