//! Starting the device, and all that runs on it.

use crate::chip::{self, Chip, Console, Parts, Radio, Watchdog};
use crate::config::{self, Project};
use crate::flash::SharedFlash;
use crate::handle::Handle;
use crate::settings::Settings;
use crate::shared::Shared;
use crate::update::SelfTest;
use crate::{api, serial, status, time, update, wifi};
use alloc::boxed::Box;
use alloc::{format, string::String};
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
use log::{error, info, warn};
use static_cell::{ConstStaticCell, StaticCell};
use towline::{Guard, Ota};
use towline_app::slots::Slots;
use towline_tls::{Connector, Engine};

/// Time beyond the trial after which the watchdog ends what hangs.
const MARGIN: Duration = Duration::from_secs(30);

/// Sockets at a time: DHCP, DNS, time, the channel, those of the API and of the
/// application.
const SOCKETS: usize = 4 + api::CONNECTIONS + config::APP_SOCKETS;

/// A device that has started: the boot guard has looked at boot selection, and
/// the watchdog is armed.
pub struct Device {
    watchdog: Watchdog,
    console: Console,
    radio: Radio,
    shared: &'static Shared,
}

impl Device {
    /// Starts the device; [`start!`](crate::start) calls it.
    #[doc(hidden)]
    pub fn start(project: Project, parts: Parts) -> Self {
        let mut chip = Chip::new(parts);
        chip.watchdog.arm(config::TRIAL + MARGIN);
        info!("{} {} on {}", project.name, project.version, esp_hal::chip!());
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
        let shared = SHARED.init(Shared::new(project, slots, on_trial, hostname, settings));
        let Chip { watchdog, console, radio, .. } = chip;
        Self { watchdog, console, radio, shared }
    }

    /// Runs the device and the application, which `application` starts.
    ///
    /// The future that it returns is its self-test: on trial, an image is
    /// accepted only if that says `Ok` and then the channel is reached, both
    /// within the time of the trial. What it says else is logged, and the image
    /// before comes back. Not on trial, the future is never polled.
    ///
    /// # Panics
    /// If the radio does not start.
    pub fn run<T>(self, application: impl FnOnce(Spawner, Handle) -> T) -> !
    where
        T: Future<Output = Result<(), &'static str>> + 'static,
    {
        let Self { watchdog, console, radio, shared } = self;
        let wifi = radio.start_scheduler();
        static EXECUTOR: StaticCell<Executor> = StaticCell::new();
        EXECUTOR.init(Executor::new()).run(|spawner| {
            spawner.spawn(watch(watchdog, shared).expect("one task"));
            spawner.spawn(serial::run(console, shared).expect("one task"));
            let handle = start(spawner, wifi, shared);
            let self_test: SelfTest = Box::pin(application(spawner, handle));
            spawner.spawn(update::run(handle, self_test).expect("one task"));
        })
    }
}

/// Starts the radio and all that needs the network, except following the
/// channel.
fn start(
    spawner: Spawner,
    wifi: esp_hal::peripherals::WIFI<'static>,
    shared: &'static Shared,
) -> Handle {
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

    static API: StaticCell<api::Api> = StaticCell::new();
    let api = API.init(api::Api::new(api::Board { shared, client }, time::Uptime));
    for _ in 0..api::CONNECTIONS {
        spawner.spawn(api::serve(api, stack).expect("as many tasks as connections"));
    }
    spawner.spawn(api::restarts(api).expect("one task"));
    Handle { client, stack, shared }
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
