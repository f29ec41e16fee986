//! The REST API and the page, on port 80.

use crate::chip;
use crate::config;
use crate::settings::SettingsError;
use crate::shared::{Flash, Shared};
use crate::time::Uptime;
use crate::update::{Client, Fault};
use core::fmt;
use embassy_net::Stack;
use embassy_net::tcp::TcpSocket;
use embassy_time::{Duration, Timer, with_timeout};
use log::warn;
use towline::Outcome;
use towline_app::rest::{
    Buffers, ChannelError, Device, Groups, MAX_CHANNELS, Name, Offered, Server, Token, UpdateError,
    Updated,
};
use towline_app::slots::Slots;

/// Connections that are answered at a time: a browser opens two.
pub(crate) const CONNECTIONS: usize = 2;

const PORT: u16 = 80;
const SOCKET: usize = 1536;

/// A connection without a byte for this long is given up.
const SILENCE: Duration = Duration::from_secs(30);

/// What closing a connection may take.
const CLOSE: Duration = Duration::from_secs(2);

/// The server of this device.
pub(crate) type Api = Server<Board, Uptime>;

/// The device as the API sees it.
pub(crate) struct Board {
    pub(crate) shared: &'static Shared,
    pub(crate) client: &'static Client,
}

/// Why the API could not do what was asked.
pub(crate) enum ApiFault {
    Update(Fault),
    Settings(SettingsError),
    OnTrial,
}

impl fmt::Display for ApiFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Update(error) => error.fmt(f),
            Self::Settings(error) => error.fmt(f),
            Self::OnTrial => f.write_str("what runs is on trial; try again in a minute"),
        }
    }
}

impl Board {
    /// Refuses what would keep the slots from the trial: it has to end in time.
    fn is_settled(&self) -> Result<(), ApiFault> {
        if self.shared.on_trial.get() { Err(ApiFault::OnTrial) } else { Ok(()) }
    }
}

impl Device for Board {
    type Flash = Flash;
    type Fault = ApiFault;

    const HOW_TO_SET_A_TOKEN: &'static str =
        "Write one of 16 characters or more to its NVS partition: namespace api, key token.";

    fn slots(&self) -> &Slots<Flash> {
        &self.shared.slots
    }

    fn token(&self) -> Option<Token> {
        self.shared.settings().token().and_then(|secret| Token::new(&secret).ok())
    }

    fn answers_to(&self, host: &str) -> bool {
        let name = host.strip_suffix(".local").unwrap_or(host);
        name.eq_ignore_ascii_case(&self.shared.hostname)
    }

    fn channels(&self) -> heapless::Vec<Name, MAX_CHANNELS, u8> {
        config::channels().filter_map(|name| name.try_into().ok()).take(MAX_CHANNELS).collect()
    }

    fn channel(&self) -> Name {
        self.shared.settings().channel().try_into().unwrap_or_default()
    }

    async fn set_channel(&self, name: &str) -> Result<(), ChannelError<ApiFault>> {
        self.shared.settings().set_channel(name).map_err(|error| match error {
            SettingsError::UnknownChannel => ChannelError::Unknown,
            error => ChannelError::Storage(ApiFault::Settings(error)),
        })?;
        self.client.forget_offer();
        Ok(())
    }

    fn groups(&self) -> Groups {
        self.shared.settings().groups()
    }

    async fn set_groups(&self, groups: &str) -> Result<(), ApiFault> {
        self.shared.settings().set_groups(groups).map_err(ApiFault::Settings)?;
        self.client.forget_offer();
        Ok(())
    }

    fn offered(&self) -> Option<Offered> {
        self.client.offered()
    }

    async fn check(&self) -> Result<Offered, ApiFault> {
        self.is_settled()?;
        let (offered, _) = self.client.check(self.shared).await.map_err(ApiFault::Update)?;
        Ok(offered)
    }

    async fn update(&self, progress: &dyn Fn(u32, u32)) -> Result<Updated, UpdateError<ApiFault>> {
        self.is_settled().map_err(UpdateError::Fetch)?;
        match self.client.update(self.shared, true, progress).await {
            Ok(Outcome::Stay(reason)) => Ok(Updated::Nothing(reason)),
            Ok(Outcome::Installed { .. }) => Ok(Updated::Installed),
            Err(error) => Err(match error.into() {
                UpdateError::Fetch(error) => UpdateError::Fetch(ApiFault::Update(error)),
                UpdateError::Install(error) => UpdateError::Install(ApiFault::Update(error)),
            }),
        }
    }

    fn restart(&self) {
        chip::reset()
    }
}

/// Answers one connection after the other.
#[embassy_executor::task(pool_size = CONNECTIONS)]
pub(crate) async fn serve(api: &'static Api, stack: Stack<'static>) -> ! {
    let (mut rx, mut tx) = ([0; SOCKET], [0; SOCKET]);
    let mut buffers = Buffers::new();
    loop {
        let mut socket = TcpSocket::new(stack, &mut rx, &mut tx);
        socket.set_timeout(Some(SILENCE));
        if let Err(error) = socket.accept(PORT).await {
            warn!("api: {error:?}");
            Timer::after(CLOSE).await;
            continue;
        }
        api.serve(&mut socket, &mut buffers).await;
        socket.close();
        let _ = with_timeout(CLOSE, socket.flush()).await;
        socket.abort();
        let _ = with_timeout(CLOSE, socket.flush()).await;
    }
}

/// Restarts the device when a request asks for it.
#[embassy_executor::task]
pub(crate) async fn restarts(api: &'static Api) -> ! {
    api.restarts().await
}
