//! Following the channel, and the trial of a new image.
//!
//! ```text
//! trial:  address -> time -> channel answers -> accept
//!           \---------- time limit ----------> roll back, reset
//! then:   poll once after the start, then daily
//! ```

use crate::shared::{Flash, Shared};
use crate::time::{self, Uptime};
use crate::{chip, config};
use embassy_net::Stack;
use embassy_net::dns::DnsSocket;
use embassy_net::tcp::client::TcpClient;
use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_sync::mutex::Mutex;
use embassy_time::{Duration, Instant, Timer, with_deadline};
use embedded_storage::nor_flash::NorFlashErrorKind;
use log::{info, warn};
use towline::descriptor::Version;
use towline::schedule::{self, Jitter};
use towline::{Buffers, Identity, LastPoll, Limits, Ota, Outcome, Updater};
use towline_tls::{Connector, TlsError};

/// Connections to the host at a time.
pub(crate) const CONNECTIONS: usize = 1;

/// Bytes of a connection that wait to be sent: requests are short.
pub(crate) const SEND: usize = 1024;

/// Bytes of a connection that wait to be read: with more, fewer pauses of the
/// sender, at two segments the rate is about what flash takes.
pub(crate) const RECEIVE: usize = 4096;

/// Time between attempts to reach the channel while on trial.
const TRIAL_PAUSE: Duration = Duration::from_secs(10);

/// Time between an update and the reset, for the log to be read.
const RESET_PAUSE: Duration = Duration::from_secs(3);

type Tcp = TcpClient<'static, CONNECTIONS, SEND, RECEIVE>;
type Net = Connector<'static, Tcp, DnsSocket<'static>>;

/// Why the channel was not followed.
pub(crate) type Fault = towline::UpdateError<NorFlashErrorKind, TlsError>;

/// The client of the channel. Who wants it claims the slots first.
pub(crate) struct Client {
    inner: Mutex<NoopRawMutex, Inner>,
}

struct Inner {
    net: Net,
    jitter: Jitter,
    last: LastPoll,
    buffers: Buffers,
}

impl Inner {
    fn updater<'a>(
        &'a mut self,
        ota: &'a mut Ota<Flash>,
        channel: &'a str,
    ) -> Updater<'a, Flash, Net, Uptime> {
        Updater {
            ota,
            net: &mut self.net,
            clock: &Uptime,
            device: Identity {
                target: Some(config::TARGET),
                channel: Some(channel),
                ..Identity::default()
            },
            trust: None,
            by_user: false,
            limits: Limits::DEFAULT,
            jitter: &mut self.jitter,
            last: &mut self.last,
            buffers: &mut self.buffers,
        }
    }
}

impl Client {
    pub(crate) fn new(net: Net, seed: u32) -> Self {
        let inner = Inner {
            net,
            jitter: Jitter::new(seed),
            last: LastPoll::default(),
            buffers: Buffers::new(),
        };
        Self { inner: Mutex::new(inner) }
    }

    /// Asks the selected channel what it offers.
    ///
    /// # Errors
    /// [`Fault`].
    pub(crate) async fn check(&self, shared: &Shared) -> Result<Version, Fault> {
        let channel = shared.settings().channel();
        let mut slots = shared.slots.claim().await;
        let mut inner = self.inner.lock().await;
        let url = config::descriptor_url(channel);
        let check = inner.updater(&mut slots, channel).check(&url).await?;
        info!("channel {channel}: offers {}", check.version);
        Ok(check.version)
    }

    /// Installs what the selected channel offers, if that is an update.
    ///
    /// # Errors
    /// [`Fault`]
    pub(crate) async fn update(
        &self,
        shared: &Shared,
        // Not generic: a second copy of all this is 10 KB.
        progress: &dyn Fn(u32, u32),
    ) -> Result<Outcome, Fault> {
        let channel = shared.settings().channel();
        let mut slots = shared.slots.claim().await;
        let mut inner = self.inner.lock().await;
        let mut tenths = 0;
        let outcome = inner
            .updater(&mut slots, channel)
            .update(&config::descriptor_url(channel), |now| {
                progress(now.received, now.size);
                let reached = u64::from(now.received) * 10 / u64::from(now.size.max(1));
                if reached > tenths {
                    tenths = reached;
                    info!("update: {}0 % of {} bytes", reached, now.size);
                }
            })
            .await?;
        match &outcome {
            Outcome::Stay(reason) => info!("channel {channel}: {reason}"),
            Outcome::Installed { version, slot } => {
                info!("update: {version} is in {slot} and boots next");
            }
        }
        Ok(outcome)
    }

    async fn random(&self) -> u32 {
        self.inner.lock().await.jitter.draw()
    }
}

/// Lets a new image prove itself, then follows the channel.
#[embassy_executor::task]
pub(crate) async fn run(
    client: &'static Client,
    stack: Stack<'static>,
    shared: &'static Shared,
) -> ! {
    if shared.on_trial.get() {
        trial(client, stack, shared).await;
        shared.on_trial.set(false);
    } else {
        stack.wait_config_up().await;
        time::wait_known().await;
        wait(schedule::first_poll(client.random().await)).await;
    }
    let mut failures = 0;
    loop {
        stack.wait_config_up().await;
        time::wait_known().await;
        let pause = match client.update(shared, &|_, _| {}).await {
            Ok(Outcome::Installed { .. }) => {
                info!("resetting");
                Timer::after(RESET_PAUSE).await;
                chip::reset()
            }
            Ok(Outcome::Stay(_)) => {
                failures = 0;
                schedule::next_poll(schedule::DEFAULT_PERIOD, client.random().await)
            }
            Err(error) => {
                failures += 1;
                warn!("update: {error}");
                schedule::backoff(failures, client.random().await)
            }
        };
        info!("next poll in {} s", pause.as_secs());
        wait(pause).await;
    }
}

async fn wait(time: core::time::Duration) {
    towline::Clock::wait(&Uptime, time).await;
}

/// Returns once what runs was accepted, or when there is nothing to go back to.
async fn trial(client: &Client, stack: Stack<'_>, shared: &Shared) {
    let limit = Instant::MIN + Duration::from_millis(config::TRIAL.as_millis() as u64);
    info!("trial: {} s to reach the channel", config::TRIAL.as_secs());
    let proof = async {
        stack.wait_config_up().await;
        time::wait_known().await;
        while let Err(error) = client.check(shared).await {
            warn!("trial: {error}; again in {} s", TRIAL_PAUSE.as_secs());
            Timer::after(TRIAL_PAUSE).await;
        }
    };
    let proven = with_deadline(limit, proof).await.is_ok();
    let mut slots = shared.slots.claim().await;
    // Somebody may have decided over the REST API.
    match slots.is_on_trial() {
        Ok(false) => return,
        Ok(true) => {}
        Err(error) => warn!("trial: {error}"),
    }
    let verdict = if proven { slots.accept() } else { slots.rollback().map(|_| ()) };
    match verdict {
        Ok(()) if proven => info!("trial: passed, accepted"),
        Ok(()) => {
            warn!("trial: the channel was not reached; going back to {}", slots.spare());
            chip::reset()
        }
        Err(error) => warn!("trial: {error}; carrying on"),
    }
}
