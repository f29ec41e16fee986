//! The Wi-Fi station.
//!
//! ```text
//! no network --(join)--> joining --(address)--> joined --(lost)--> wait --> joining
//!                           \------(refused, no answer)----------> wait
//! ```
//!
//! The waits double from 1 s to 60 s. A network that is offered while another
//! is set is kept only once it was joined.

use crate::backoff::Backoff;
use crate::settings;
use crate::shared::Shared;
use core::cell::Cell;
use core::net::Ipv4Addr;
use embassy_futures::select::{Either, select};
use embassy_net::Stack;
use embassy_sync::blocking_mutex::Mutex;
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use embassy_sync::channel::Channel;
use embassy_sync::signal::Signal;
use embassy_time::{Duration, Timer, with_timeout};
use esp_radio::wifi::scan::ScanConfig;
use esp_radio::wifi::sta::StationConfig;
use esp_radio::wifi::{
    AuthenticationMethod, AuthenticationMethodConfig, Config, ConnectionError, DisconnectReason,
    WifiController,
};
use log::{info, warn};
use towline_app::improv::{MAX_NETWORKS, Network};

/// How long joining may take, to the address.
const JOIN: Duration = Duration::from_secs(20);

/// How long leaving a network may take.
const LEAVE: Duration = Duration::from_secs(2);

/// What a scan returns.
type Found = heapless::Vec<Network, MAX_NETWORKS>;

/// Where the station stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// No network is set.
    NoNetwork,
    /// A network is set, and not joined now.
    Joining,
    /// The device has this address.
    Joined(Ipv4Addr),
}

enum Request {
    Scan,
    Join(settings::Network),
}

/// What others ask of the station.
pub(crate) struct Station {
    state: Mutex<CriticalSectionRawMutex, Cell<State>>,
    requests: Channel<CriticalSectionRawMutex, Request, 1>,
    found: Signal<CriticalSectionRawMutex, Found>,
    joined: Signal<CriticalSectionRawMutex, Option<Ipv4Addr>>,
}

/// The station of this chip; there is one radio.
pub(crate) static STATION: Station = Station {
    state: Mutex::new(Cell::new(State::NoNetwork)),
    requests: Channel::new(),
    found: Signal::new(),
    joined: Signal::new(),
};

impl Station {
    /// Returns where the station stands.
    pub(crate) fn state(&self) -> State {
        self.state.lock(Cell::get)
    }

    /// Returns the networks around, the strongest first.
    pub(crate) async fn scan(&self) -> Found {
        self.found.reset();
        self.requests.send(Request::Scan).await;
        self.found.wait().await
    }

    /// Joins a network and keeps it; `None` if that failed, and the station
    /// goes on with the network it had.
    pub(crate) async fn join(&self, network: settings::Network) -> Option<Ipv4Addr> {
        self.joined.reset();
        self.requests.send(Request::Join(network)).await;
        self.joined.wait().await
    }

    fn set(&self, state: State) {
        self.state.lock(|cell| cell.set(state));
    }
}

/// Returns what a person can do about a network that was not joined.
fn explained(reason: DisconnectReason) -> &'static str {
    match reason {
        DisconnectReason::NoAccessPointFound => "it is not in reach; check its name",
        DisconnectReason::AuthenticationExpired
        | DisconnectReason::AuthenticationFailed
        | DisconnectReason::FourWayHandshakeTimeout
        | DisconnectReason::HandshakeTimeout
        | DisconnectReason::MicFailure => "it does not take the password",
        DisconnectReason::AssociationTooMany => "it has no room for another device",
        _ => "it refused; check name and password",
    }
}

/// Runs the station.
#[embassy_executor::task]
pub(crate) async fn run(
    controller: WifiController<'static>,
    stack: Stack<'static>,
    shared: &'static Shared,
) -> ! {
    let network = shared.settings().network();
    Driver { controller, stack, shared, network }.run().await
}

struct Driver {
    controller: WifiController<'static>,
    stack: Stack<'static>,
    shared: &'static Shared,
    network: Option<settings::Network>,
}

impl Driver {
    async fn run(&mut self) -> ! {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        loop {
            let Some(network) = self.network.clone() else {
                STATION.set(State::NoNetwork);
                info!("wifi: no network is set; tell one over serial (Improv)");
                let request = STATION.requests.receive().await;
                self.serve(request).await;
                continue;
            };
            let joined = match STATION.state() {
                // The one that was offered.
                State::Joined(_) => true,
                _ => self.join(&network).await.is_some(),
            };
            let request = if joined {
                backoff.reset();
                match select(self.lost(), STATION.requests.receive()).await {
                    Either::First(()) => {
                        warn!("wifi: lost `{}`", network.ssid);
                        STATION.set(State::Joining);
                        None
                    }
                    Either::Second(request) => Some(request),
                }
            } else {
                let wait = backoff.next();
                info!("wifi: next attempt in {} s", wait.as_secs());
                match select(Timer::after(wait), STATION.requests.receive()).await {
                    Either::First(()) => None,
                    Either::Second(request) => Some(request),
                }
            };
            if let Some(request) = request {
                self.serve(request).await;
            }
        }
    }

    async fn serve(&mut self, request: Request) {
        match request {
            Request::Scan => STATION.found.signal(self.scan().await),
            Request::Join(network) => {
                let address = self.join(&network).await;
                if address.is_some() {
                    if self.shared.settings().set_network(&network).is_err() {
                        warn!("wifi: `{}` is forgotten at the next reset", network.ssid);
                    }
                    self.network = Some(network);
                }
                STATION.joined.signal(address);
            }
        }
    }

    /// Waits until the network is lost.
    async fn lost(&self) {
        // The event may be missed, and the lease may end without one.
        let gone = async {
            while self.controller.is_connected() {
                let event = self.controller.wait_for_disconnect_async();
                let _ = with_timeout(Duration::from_secs(5), event).await;
            }
        };
        select(gone, self.stack.wait_config_down()).await;
    }

    /// Leaves what is joined and joins `network`.
    async fn join(&mut self, network: &settings::Network) -> Option<Ipv4Addr> {
        STATION.set(State::Joining);
        info!("wifi: joining `{}`", network.ssid);
        if self.controller.is_connected() {
            let _ = with_timeout(LEAVE, self.controller.disconnect_async()).await;
            let _ = with_timeout(LEAVE, self.stack.wait_config_down()).await;
        }
        match with_timeout(JOIN, self.connect(network)).await {
            Ok(Ok(address)) => {
                info!("wifi: joined, address {address}");
                STATION.set(State::Joined(address));
                return Some(address);
            }
            Ok(Err(ConnectionError::Failed(info))) => {
                warn!("wifi: not joined: {}", explained(info.reason));
            }
            Ok(Err(ConnectionError::WifiError(error))) => warn!("wifi: not joined: {error}"),
            Ok(Err(_)) => warn!("wifi: not joined"),
            Err(_) => {
                warn!("wifi: not joined: no answer or no address in {} s", JOIN.as_secs());
                let _ = with_timeout(LEAVE, self.controller.disconnect_async()).await;
            }
        }
        None
    }

    async fn connect(&mut self, network: &settings::Network) -> Result<Ipv4Addr, ConnectionError> {
        let authentication = if network.password.is_empty() {
            AuthenticationMethodConfig::Open
        } else {
            // At least: WPA3 is taken where it is offered.
            AuthenticationMethodConfig::Wpa2Personal(network.password.as_str().try_into()?)
        };
        let station = StationConfig::default()
            .with_ssid(network.ssid.as_str().try_into()?)
            .with_authentication(authentication);
        self.controller.set_config(&Config::Station(station))?;
        self.controller.connect_async().await?;
        loop {
            self.stack.wait_config_up().await;
            if let Some(config) = self.stack.config_v4() {
                return Ok(config.address.address());
            }
        }
    }

    async fn scan(&mut self) -> Found {
        let mut found = Found::new();
        match with_timeout(JOIN, self.controller.scan_async(&ScanConfig::default())).await {
            Ok(Ok(points)) => {
                for point in points {
                    let ssid = point.ssid.as_str();
                    if ssid.is_empty() {
                        continue;
                    }
                    // Networks of several stations are told once.
                    let rssi = point.signal_strength;
                    if let Some(at) = found.iter().position(|known| known.ssid == ssid) {
                        if found[at].rssi >= rssi {
                            continue;
                        }
                        found.remove(at);
                    }
                    let stronger = found.iter().take_while(|known| known.rssi >= rssi).count();
                    if found.is_full() {
                        found.pop();
                    }
                    if stronger <= found.len() {
                        let ssid = ssid.try_into().unwrap_or_default();
                        let secured = point.auth_method != Some(AuthenticationMethod::None);
                        // There is room.
                        let _ = found.insert(stronger, Network { ssid, rssi, secured });
                    }
                }
            }
            Ok(Err(error)) => warn!("wifi: scan failed: {error}"),
            Err(_) => warn!("wifi: scan failed: no answer"),
        }
        info!("wifi: {} networks found", found.len());
        found
    }
}
