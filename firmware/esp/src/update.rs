//! Following the channel, and the trial of a new image.
//!
//! ```text
//! trial:  self-test -> address -> time -> channel answers -> accept
//!           \---- failure, time limit ----> roll back, reset
//! then:   poll once after the start, then daily, or when a release that
//!         waits for its time may be installed
//! ```

use crate::handle::Handle;
use crate::shared::{Flash, Shared};
use crate::time::{self, Uptime};
use crate::{chip, config};
use alloc::boxed::Box;
use core::cell::RefCell;
use core::pin::Pin;
use embassy_net::dns::DnsSocket;
use embassy_net::tcp::client::TcpClient;
use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_sync::mutex::Mutex;
use embassy_time::{Duration, Instant, Timer, with_deadline};
use embedded_storage::nor_flash::NorFlashErrorKind;
use log::{info, warn};
use towline::schedule::{self, DEFAULT_PERIOD, Jitter, Times};
use towline::{Buffers, Clock as _, Identity, LastPoll, Limits, Ota, Outcome, Reason, Updater};
use towline_app::rest::{Groups, Offered, names};
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
pub type Fault = towline::UpdateError<NorFlashErrorKind, TlsError>;

/// What the application says of itself on trial; an error is what failed.
pub(crate) type SelfTest = Pin<Box<dyn Future<Output = Result<(), &'static str>>>>;

/// The client of the channel. Who wants it claims the slots first.
pub(crate) struct Client {
    inner: Mutex<NoopRawMutex, Inner>,
    /// What the channel offered last.
    offered: RefCell<Option<Offered>>,
}

struct Inner {
    net: Net,
    id: [u8; 6],
    jitter: Jitter,
    last: LastPoll,
    buffers: Buffers,
}

/// What the settings say of a poll.
struct Asked {
    channel: &'static str,
    groups: Groups,
    utc_offset: i16,
    by_user: bool,
}

impl Asked {
    fn new(shared: &Shared, by_user: bool) -> Self {
        let mut settings = shared.settings();
        let (groups, utc_offset) = (settings.groups(), settings.utc_offset());
        Self { channel: settings.channel(), groups, utc_offset, by_user }
    }
}

impl Inner {
    fn updater<'a>(
        &'a mut self,
        ota: &'a mut Ota<Flash>,
        asked: &Asked,
        groups: &'a [&'a str],
    ) -> Updater<'a, Flash, Net, Uptime, config::Trusts> {
        Updater {
            ota,
            net: &mut self.net,
            clock: &Uptime,
            device: Identity {
                target: Some(config::TARGET),
                channel: Some(asked.channel),
                id: &self.id,
                groups,
                utc_offset: asked.utc_offset,
            },
            trust: config::TRUST,
            by_user: asked.by_user,
            limits: Limits::DEFAULT,
            jitter: &mut self.jitter,
            last: &mut self.last,
            buffers: &mut self.buffers,
        }
    }
}

impl Client {
    pub(crate) fn new(net: Net, id: [u8; 6], seed: u32) -> Self {
        let inner = Inner {
            net,
            id,
            jitter: Jitter::new(seed),
            last: LastPoll::default(),
            buffers: Buffers::new(),
        };
        Self { inner: Mutex::new(inner), offered: RefCell::new(None) }
    }

    /// Returns what the channel offered when it was last asked.
    pub(crate) fn offered(&self) -> Option<Offered> {
        self.offered.borrow().clone()
    }

    /// Forgets that: the device follows another channel, or is in other groups.
    pub(crate) fn forget_offer(&self) {
        self.offered.take();
    }

    /// Asks the selected channel what it offers, and when that may be installed.
    ///
    /// # Errors
    /// [`Fault`].
    pub(crate) async fn check(&self, shared: &Shared) -> Result<(Offered, Times), Fault> {
        let asked = Asked::new(shared, false);
        let mut slots = shared.slots.claim().await;
        let mut inner = self.inner.lock().await;
        let groups = names(&asked.groups);
        let mut updater = inner.updater(&mut slots, &asked, &groups);
        let check = updater.check(&config::descriptor_url(asked.channel)).await?;
        let offered = Offered::new(&check, updater.notes());
        info!("channel {}: offers {}", asked.channel, offered.version);
        self.offered.replace(Some(offered.clone()));
        Ok((offered, check.times))
    }

    /// Installs what the selected channel offers, if that is an update; a user
    /// may ask for it.
    ///
    /// # Errors
    /// [`Fault`]
    pub(crate) async fn update(
        &self,
        shared: &Shared,
        by_user: bool,
        // Not generic: a second copy of all this is 10 KB.
        progress: &dyn Fn(u32, u32),
    ) -> Result<Outcome, Fault> {
        let asked = Asked::new(shared, by_user);
        let channel = asked.channel;
        let mut slots = shared.slots.claim().await;
        let mut inner = self.inner.lock().await;
        let groups = names(&asked.groups);
        let mut tenths = 0;
        let outcome = inner
            .updater(&mut slots, &asked, &groups)
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
            Outcome::Installed { version, slot, form, fetched } => {
                info!("update: fetched {fetched} bytes ({form})");
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
pub(crate) async fn run(handle: Handle, self_test: SelfTest) -> ! {
    let Handle { client, stack, shared } = handle;
    if shared.on_trial.get() {
        let answer = trial(handle, self_test).await;
        shared.on_trial.set(false);
        // It has just asked, and the answer was that there is nothing to do.
        if let Some((Offered { reason: Some(reason), .. }, times)) = answer {
            wait(after_stay(client, shared, reason, &times).await).await;
        }
    } else {
        drop(self_test);
        stack.wait_config_up().await;
        time::wait_known().await;
        wait(schedule::first_poll(client.random().await)).await;
    }
    let mut failures = 0;
    loop {
        stack.wait_config_up().await;
        time::wait_known().await;
        let pause = match poll(client, shared).await {
            Ok((Outcome::Installed { .. }, _)) => {
                info!("resetting");
                Timer::after(RESET_PAUSE).await;
                chip::reset()
            }
            Ok((Outcome::Stay(reason), times)) => {
                failures = 0;
                after_stay(client, shared, reason, &times).await
            }
            Err(error) => {
                failures += 1;
                warn!("update: {error}");
                let random = client.random().await;
                schedule::after_failure(&error, failures, DEFAULT_PERIOD, random)
            }
        };
        info!("next poll in {} s", pause.as_secs());
        wait(pause).await;
    }
}

/// Asks the channel, and installs what is to be installed. Asked is first, so
/// that the page can tell what waits, and why.
async fn poll(client: &Client, shared: &Shared) -> Result<(Outcome, Times), Fault> {
    let (offered, times) = client.check(shared).await?;
    let outcome = match offered.reason {
        Some(reason) => {
            info!("update: {reason}");
            Outcome::Stay(reason)
        }
        None => client.update(shared, false, &|_, _| {}).await?,
    };
    Ok((outcome, times))
}

/// Returns how long to wait after a poll that installed nothing.
async fn after_stay(
    client: &Client,
    shared: &Shared,
    reason: Reason,
    times: &Times,
) -> core::time::Duration {
    let (now, utc_offset) = (Uptime.unix_time(), shared.settings().utc_offset());
    let random = client.random().await;
    schedule::after_stay(reason, times, now, utc_offset, DEFAULT_PERIOD, random)
}

async fn wait(time: core::time::Duration) {
    Uptime.wait(time).await;
}

/// Returns once what runs was accepted, or when there is nothing to go back to:
/// with what the channel offered, if it was reached.
async fn trial(handle: Handle, self_test: SelfTest) -> Option<(Offered, Times)> {
    let Handle { client, stack, shared } = handle;
    let limit = Instant::MIN + Duration::from_millis(config::TRIAL.as_millis() as u64);
    info!("trial: {} s to reach the channel", config::TRIAL.as_secs());
    let reached = async {
        stack.wait_config_up().await;
        time::wait_known().await;
        loop {
            match client.check(shared).await {
                Ok(answer) => break Some(answer),
                Err(error) if error.is_from_channel() => {
                    warn!("trial: {error}; but the channel was reached");
                    break None;
                }
                Err(error) => warn!("trial: {error}; again in {} s", TRIAL_PAUSE.as_secs()),
            }
            Timer::after(TRIAL_PAUSE).await;
        }
    };
    let tested = with_deadline(limit, self_test).await;
    let proven = match tested.unwrap_or(Err("the self-test did not end")) {
        Ok(()) => with_deadline(limit, reached).await.map_err(|_| "the channel was not reached"),
        Err(failure) => Err(failure),
    };
    let mut slots = shared.slots.claim().await;
    // Somebody may have decided over the REST API.
    match slots.is_on_trial() {
        Ok(false) => return proven.ok().flatten(),
        Ok(true) => {}
        Err(error) => warn!("trial: {error}"),
    }
    let verdict = match &proven {
        Ok(_) => slots.accept(),
        Err(_) => slots.rollback().map(|_| ()),
    };
    match (verdict, &proven) {
        (Ok(()), Ok(_)) => info!("trial: passed, accepted"),
        (Ok(()), Err(failure)) => {
            warn!("trial: {failure}; going back to {}", slots.spare());
            chip::reset()
        }
        (Err(error), _) => warn!("trial: {error}; carrying on"),
    }
    proven.ok().flatten()
}
