//! What time it is: SNTP after the address came, and daily.
//!
//! The dates of certificates need the time. SNTP is not authenticated: the time
//! is as true as the network, except that none is believed that comes before
//! this firmware was built.

use crate::backoff::Backoff;
use crate::config;
use core::net::{IpAddr, SocketAddr};
use embassy_net::dns::DnsQueryType;
use embassy_net::udp::{PacketMetadata, UdpSocket};
use embassy_net::{IpAddress, Stack};
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use embassy_sync::signal::Signal;
use embassy_time::{Duration, Instant, Timer, with_timeout};
use esp_hal::rng::Rng;
use log::{info, warn};
use sntpc::{NtpContext, NtpTimestampGenerator};
use sntpc_net_embassy::UdpSocketWrapper;
use towline_tls::clock;

const NTP_PORT: u16 = 123;
const PACKET: usize = 64;
const ANSWER: Duration = Duration::from_secs(5);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Raised when the time becomes known.
static KNOWN: Signal<CriticalSectionRawMutex, ()> = Signal::new();

/// Waits until the time is known; for one task.
pub(crate) async fn wait_known() {
    while clock::now().is_none() {
        KNOWN.wait().await;
    }
}

/// The time since the start, as the update client asks for it.
pub(crate) struct Uptime;

impl towline::Clock for Uptime {
    fn uptime(&self) -> core::time::Duration {
        core::time::Duration::from_micros(Instant::now().as_micros())
    }

    async fn wait(&self, time: core::time::Duration) {
        Timer::after_micros(u64::try_from(time.as_micros()).unwrap_or(u64::MAX)).await;
    }

    fn unix_time(&self) -> Option<u64> {
        clock::now()
    }
}

/// Why the time was not set.
#[derive(Clone, Copy, Debug)]
enum TimeError {
    /// The name of the time server has no address.
    Name,
    /// The server did not answer, or not as SNTP has it.
    Answer,
    /// The time comes before the firmware was built, or after 2106.
    Implausible,
}

/// Keeps the time.
#[embassy_executor::task]
pub(crate) async fn run(stack: Stack<'static>) -> ! {
    let mut backoff = Backoff::new(Duration::from_secs(4), Duration::from_secs(480));
    loop {
        stack.wait_config_up().await;
        match with_timeout(ANSWER * 2, ask(stack)).await.unwrap_or(Err(TimeError::Answer)) {
            Ok(seconds) => {
                info!("time: {seconds} s since 1970, from {}", config::NTP_HOST);
                KNOWN.signal(());
                backoff.reset();
                Timer::after(DAY).await;
            }
            Err(error) => {
                let wait = backoff.next();
                warn!(
                    "time: {} from {}; next attempt in {} s",
                    match error {
                        TimeError::Name => "no address",
                        TimeError::Answer => "no answer",
                        TimeError::Implausible => "an impossible time",
                    },
                    config::NTP_HOST,
                    wait.as_secs()
                );
                Timer::after(wait).await;
            }
        }
    }
}

/// Asks the time server, sets the clock and returns the time in seconds since
/// 1970.
async fn ask(stack: Stack<'_>) -> Result<u64, TimeError> {
    let addresses =
        stack.dns_query(config::NTP_HOST, DnsQueryType::A).await.map_err(|_| TimeError::Name)?;
    let IpAddress::Ipv4(address) = *addresses.first().ok_or(TimeError::Name)?;
    let (mut rx_meta, mut tx_meta) = ([PacketMetadata::EMPTY; 2], [PacketMetadata::EMPTY; 2]);
    let (mut rx, mut tx) = ([0; 2 * PACKET], [0; PACKET]);
    let mut socket = UdpSocket::new(stack, &mut rx_meta, &mut rx, &mut tx_meta, &mut tx);
    // Any free port: an answer has to be aimed at it.
    socket.bind(0).map_err(|_| TimeError::Answer)?;
    let socket = UdpSocketWrapper::new(socket);
    let server = SocketAddr::new(IpAddr::V4(address), NTP_PORT);
    let answer = sntpc::get_time(server, &socket, NtpContext::new(Rough::new()));
    let answer = with_timeout(ANSWER, answer)
        .await
        .map_err(|_| TimeError::Answer)?
        .map_err(|_| TimeError::Answer)?;
    clock::set(answer.sec()).map_err(|_| TimeError::Implausible)?;
    Ok(answer.sec())
}

/// The clock that an exchange is measured with: about now, because a timestamp
/// names no era, and off by a random time, because only the server that was
/// asked can repeat it.
#[derive(Clone, Copy)]
struct Rough {
    offset: u64,
    micros: u64,
}

impl Rough {
    fn new() -> Self {
        let about = clock::now().unwrap_or(config::BUILT) * 1_000_000;
        Self { offset: about + u64::from(Rng::new().random()), micros: 0 }
    }
}

impl NtpTimestampGenerator for Rough {
    fn init(&mut self) {
        self.micros = self.offset + Instant::now().as_micros();
    }

    fn timestamp_sec(&self) -> u64 {
        self.micros / 1_000_000
    }

    fn timestamp_subsec_micros(&self) -> u32 {
        (self.micros % 1_000_000) as u32
    }
}
