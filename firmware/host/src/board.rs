//! What the firmware of a device adds to its slots: settings and network.

use embassy_sync::{blocking_mutex::raw::NoopRawMutex, mutex::Mutex, signal::Signal};
use embedded_io_async::{ErrorType, Read, Write};
use std::{
    cell::RefCell,
    fmt::{self, Debug},
};
use towline::{
    Buffers, Connect, Identity, LastPoll, Limits, Outcome, Trust, UpdateError as ClientError,
    Updater, schedule::Jitter,
};
use towline_app::{
    rest::{self, ChannelError, Groups, MAX_CHANNELS, Name, Offered, Token, Updated},
    slots::Slots,
};
use towline_sim::{Flash, FlashError, Net, NetError};

use crate::TokioClock;

/// A channel that a device may follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// Its name.
    pub name: Name,
    /// URL of its descriptor for this device.
    pub url: String,
}

/// The settings of a device. They outlive restarts.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// What a request has to show to change something.
    pub token: Option<Token>,
    /// The channels, the default one first.
    pub channels: Vec<Channel>,
    /// Index of the selected channel.
    pub selected: usize,
    /// Board variant.
    pub target: Option<String>,
    /// Groups that the device is in.
    pub groups: Groups,
    /// What tells the device from all others.
    pub id: Vec<u8>,
    /// Minutes that local time is ahead of UTC.
    pub utc_offset: i16,
    /// What it was built to trust; without it, it trusts its host.
    pub root: Option<EmbeddedRoot>,
}

/// The root in the firmware of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbeddedRoot {
    /// Its payload.
    pub payload: Vec<u8>,
    /// URL under which later ones are; it ends in `/`.
    pub roots: String,
}

/// Why the device could not do what its network asks of it.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// There is no channel.
    #[error("the device follows no channel; start it with one")]
    NoChannel,
    /// The client failed.
    #[error("{0}; what runs stays as it is, try again later")]
    Client(ClientError<FlashError, NetError>),
}

/// The running device.
pub struct Board<'d> {
    slots: Slots<&'d mut Flash>,
    net: Mutex<NoopRawMutex, Polite<'d>>,
    settings: RefCell<&'d mut Settings>,
    clock: TokioClock,
    restarted: Signal<NoopRawMutex, ()>,
    offered: RefCell<Option<Offered>>,
}

impl<'d> Board<'d> {
    /// Puts a device together.
    pub fn new(
        slots: Slots<&'d mut Flash>,
        net: &'d mut Net,
        settings: &'d mut Settings,
        clock: TokioClock,
    ) -> Self {
        Self {
            slots,
            net: Mutex::new(Polite(net)),
            settings: RefCell::new(settings),
            clock,
            restarted: Signal::new(),
            offered: RefCell::default(),
        }
    }

    /// Waits until the device is to be reset.
    pub async fn restarted(&self) {
        self.restarted.wait().await;
    }

    /// Runs the client over the selected channel.
    async fn with_client<T>(
        &self,
        by_user: bool,
        job: impl AsyncFnOnce(
            &mut Updater<'_, &'d mut Flash, Polite<'d>, TokioClock>,
            &str,
        ) -> Result<T, ClientError<FlashError, NetError>>,
    ) -> Result<T, rest::UpdateError<Fault>> {
        // Not borrowed meanwhile: settings may change.
        let settings = self.settings.borrow().clone();
        let channel = settings.channels.get(settings.selected);
        let channel = channel.ok_or(rest::UpdateError::Fetch(Fault::NoChannel))?;
        let groups = rest::names(&settings.groups);
        let mut ota = self.slots.claim().await;
        let mut net = self.net.lock().await;
        let mut updater = Updater {
            ota: &mut *ota,
            net: &mut *net,
            clock: &self.clock,
            device: Identity {
                target: settings.target.as_deref(),
                channel: Some(&channel.name),
                id: &settings.id,
                groups: &groups,
                utc_offset: settings.utc_offset,
            },
            trust: settings.root.as_ref().map(|root| Trust {
                root: &root.payload,
                roots: &root.roots,
                verify: towline::ed25519,
            }),
            by_user,
            limits: Limits::DEFAULT,
            jitter: &mut Jitter::new(std::process::id()),
            last: &mut LastPoll::default(),
            // Each connection that is answered has room for this.
            buffers: &mut Box::new(Buffers::new()),
        };
        job(&mut updater, &channel.url).await.map_err(|error| match error.into() {
            rest::UpdateError::Fetch(error) => rest::UpdateError::Fetch(Fault::Client(error)),
            rest::UpdateError::Install(error) => rest::UpdateError::Install(Fault::Client(error)),
        })
    }
}

impl<'d> rest::Device for Board<'d> {
    type Flash = &'d mut Flash;
    type Fault = Fault;

    const HOW_TO_SET_A_TOKEN: &'static str =
        "Start the simulated device with the environment variable TOWLINE_TOKEN.";

    fn slots(&self) -> &Slots<Self::Flash> {
        &self.slots
    }

    fn token(&self) -> Option<Token> {
        self.settings.borrow().token
    }

    fn answers_to(&self, _host: &str) -> bool {
        false
    }

    fn channels(&self) -> heapless::Vec<Name, MAX_CHANNELS, u8> {
        let settings = self.settings.borrow();
        settings.channels.iter().take(MAX_CHANNELS).map(|channel| channel.name.clone()).collect()
    }

    fn channel(&self) -> Name {
        let settings = self.settings.borrow();
        settings.channels.get(settings.selected).map_or(Name::new(), |c| c.name.clone())
    }

    async fn set_channel(&self, name: &str) -> Result<(), ChannelError<Fault>> {
        let mut settings = self.settings.borrow_mut();
        let index = settings.channels.iter().position(|channel| channel.name == name);
        settings.selected = index.ok_or(ChannelError::Unknown)?;
        self.offered.take();
        Ok(())
    }

    fn groups(&self) -> Groups {
        self.settings.borrow().groups.clone()
    }

    async fn set_groups(&self, groups: &str) -> Result<(), Fault> {
        self.settings.borrow_mut().groups = Groups::try_from(groups).unwrap_or_default();
        self.offered.take();
        Ok(())
    }

    fn offered(&self) -> Option<Offered> {
        self.offered.borrow().clone()
    }

    async fn check(&self) -> Result<Offered, Fault> {
        let check = self.with_client(false, async |client, url| {
            let check = client.check(url).await?;
            Ok(Offered::new(&check, client.notes()))
        });
        match check.await {
            Ok(offered) => {
                self.offered.replace(Some(offered.clone()));
                Ok(offered)
            }
            Err(rest::UpdateError::Fetch(fault) | rest::UpdateError::Install(fault)) => Err(fault),
        }
    }

    async fn update(
        &self,
        progress: &dyn Fn(u32, u32),
    ) -> Result<Updated, rest::UpdateError<Fault>> {
        let report = |now: towline::Progress| progress(now.received, now.size);
        let update = self.with_client(true, async |client, url| client.update(url, report).await);
        Ok(match update.await? {
            Outcome::Stay(reason) => Updated::Nothing(reason),
            Outcome::Installed { .. } => Updated::Installed,
        })
    }

    fn restart(&self) {
        self.restarted.signal(());
    }
}

impl Debug for Board<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Board").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// A network whose connections block, which lets others have their turn before
/// each read.
struct Polite<'n>(&'n mut Net);

impl Connect for Polite<'_> {
    type Connection<'c>
        = PoliteConnection<<Net as Connect>::Connection<'c>>
    where
        Self: 'c;
    type Error = NetError;

    async fn connect(&mut self, host: &str, port: u16) -> Result<Self::Connection<'_>, NetError> {
        self.0.connect(host, port).await.map(PoliteConnection)
    }
}

struct PoliteConnection<C>(C);

impl<C: ErrorType> ErrorType for PoliteConnection<C> {
    type Error = C::Error;
}

impl<C: Read> Read for PoliteConnection<C> {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, C::Error> {
        tokio::task::yield_now().await;
        self.0.read(buffer).await
    }
}

impl<C: Write> Write for PoliteConnection<C> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, C::Error> {
        self.0.write(bytes).await
    }

    async fn flush(&mut self) -> Result<(), C::Error> {
        self.0.flush().await
    }
}
