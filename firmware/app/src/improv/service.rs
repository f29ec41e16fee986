//! The device's side of the conversation.

use super::packet::{Command, CommandError, Error, Frame, Parser, Results, State};
use core::fmt::Write as _;
use embedded_io_async::{Read, Write};

/// Most networks that a scan tells of.
pub const MAX_NETWORKS: usize = 16;

/// Longest name in bytes.
const MAX_NAME: usize = 64;

/// A name or URL.
pub type Text = heapless::String<MAX_NAME, u8>;

/// What runs on what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceInfo<'a> {
    /// Name of the firmware: the project.
    pub firmware: &'a str,
    /// Its version.
    pub version: &'a str,
    /// Chip or board, such as `ESP32-C3`.
    pub chip: &'a str,
}

/// A Wi-Fi network in reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Name of the network.
    pub ssid: heapless::String<32, u8>,
    /// Strength of its signal in dBm.
    pub rssi: i8,
    /// Whether it needs a password.
    pub secured: bool,
}

/// The network cannot be reached with these settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CannotConnect;

/// The device cannot have this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadHostname;

/// A device that can be given its Wi-Fi network.
#[expect(async_fn_in_trait, reason = "one executor runs everything on a device")]
pub trait Provision {
    /// Returns what runs on what.
    fn info(&self) -> DeviceInfo<'_>;

    /// Returns whether the device is connected.
    fn is_connected(&self) -> bool;

    /// Returns the URL of the page of the device, once it is connected.
    fn url(&self) -> Option<Text>;

    /// Connects to a network, and keeps the settings if that succeeds. An empty
    /// password means an open network. It has a time limit of its own, below
    /// the 30 s that clients wait.
    async fn connect(&mut self, ssid: &str, password: &str) -> Result<(), CannotConnect>;

    /// Looks for networks, strongest first, each name once.
    async fn scan(&mut self) -> heapless::Vec<Network, MAX_NETWORKS>;

    /// Returns the name of the host.
    fn hostname(&self) -> Text;

    /// Changes the name of the host, which [`is_hostname`] has approved.
    async fn set_hostname(&mut self, name: &str) -> Result<(), BadHostname>;

    /// Returns the name of the device, for people.
    fn name(&self) -> Text;

    /// Changes the name of the device.
    async fn set_name(&mut self, name: &str) -> Result<(), BadHostname>;
}

/// Returns whether a text can name a host: letters, digits and hyphens, none of
/// these at an end, up to 63 (RFC 1123).
pub fn is_hostname(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    matches!(name.len(), 1..=63)
        && name.bytes().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// Answers a client on a serial line.
#[derive(Debug)]
pub struct Service<P> {
    device: P,
    parser: Parser,
    error: Error,
}

impl<P: Provision> Service<P> {
    /// Starts to answer for a device.
    pub const fn new(device: P) -> Self {
        Self { device, parser: Parser::new(), error: Error::None }
    }

    /// Returns the device.
    pub fn device(&mut self) -> &mut P {
        &mut self.device
    }

    /// Reads from a serial line and answers, until the line ends.
    ///
    /// # Errors
    /// Of the line.
    pub async fn run<S: Read + Write>(&mut self, line: &mut S) -> Result<(), S::Error> {
        let mut bytes = [0; 64];
        loop {
            match line.read(&mut bytes).await? {
                0 => return Ok(()),
                count => self.receive(&bytes[..count], line).await?,
            }
        }
    }

    /// Takes bytes from the line, and answers what they ask.
    ///
    /// # Errors
    /// Of the line.
    pub async fn receive<W: Write>(&mut self, bytes: &[u8], line: &mut W) -> Result<(), W::Error> {
        for byte in bytes {
            self.parser.push(*byte);
            let Self { device, parser, error } = self;
            while let Some(packet) = parser.packet() {
                if let Some(command) = packet.command() {
                    Answer { device, error, line }.to(command).await?;
                }
            }
        }
        Ok(())
    }

    /// Tells the client that the device came to be connected, or ceased to be.
    ///
    /// # Errors
    /// Of the line.
    pub async fn connection_changed<W: Write>(&mut self, line: &mut W) -> Result<(), W::Error> {
        let Self { device, error, .. } = self;
        Answer { device, error, line }.state().await
    }
}

/// The answer to one command.
struct Answer<'s, P, W> {
    device: &'s mut P,
    error: &'s mut Error,
    line: &'s mut W,
}

impl<P: Provision, W: Write> Answer<'_, P, W> {
    async fn to(&mut self, command: Result<Command<'_>, CommandError>) -> Result<(), W::Error> {
        let command = match command {
            Ok(command) => command,
            Err(CommandError::Invalid) => return self.fail(Error::InvalidRpc).await,
            Err(CommandError::Unknown) => return self.fail(Error::UnknownRpc).await,
        };
        if *self.error != Error::None {
            self.fail(Error::None).await?;
        }
        let result = Results::of(command.id());
        match command {
            Command::WifiSettings { ssid, password } => {
                self.send(&Frame::state(State::Provisioning)).await?;
                if self.device.connect(ssid, password).await.is_err() {
                    self.fail(Error::UnableToConnect).await?;
                    return self.state().await;
                }
                self.state().await?;
                self.send_url(result).await
            }
            Command::CurrentState => {
                self.state().await?;
                if self.device.is_connected() { self.send_url(result).await } else { Ok(()) }
            }
            Command::DeviceInfo => {
                let DeviceInfo { firmware, version, chip } = self.device.info();
                let result = result.with(firmware).with(version).with(chip);
                let result = result.with(&self.device.name());
                self.send(&result.frame()).await
            }
            Command::Networks => {
                for Network { ssid, rssi, secured } in self.device.scan().await {
                    let mut strength = heapless::String::<4>::new();
                    // All values of the type have at most four characters.
                    let _ = write!(strength, "{rssi}");
                    let network = Results::of(command.id()).with(&ssid).with(&strength);
                    let network = network.with(if secured { "YES" } else { "NO" });
                    self.send(&network.frame()).await?;
                }
                self.send(&result.frame()).await
            }
            Command::Hostname(name) => {
                if let Some(name) = name
                    && (!is_hostname(name) || self.device.set_hostname(name).await.is_err())
                {
                    return self.fail(Error::BadHostname).await;
                }
                let name = self.device.hostname();
                self.send(&result.with(&name).frame()).await
            }
            Command::DeviceName(name) => {
                if let Some(name) = name
                    && self.device.set_name(name).await.is_err()
                {
                    return self.fail(Error::BadHostname).await;
                }
                let name = self.device.name();
                self.send(&result.with(&name).frame()).await
            }
            Command::NetworkState => {
                const ONLINE: &str = "3";
                const WIFI_ONLY: &str = "2";
                let online = self.device.is_connected();
                let result = result.with(if online { ONLINE } else { WIFI_ONLY });
                if online { self.send_url(result).await } else { self.send(&result.frame()).await }
            }
        }
    }

    /// Sends a result, with the URL of the device if it has one.
    async fn send_url(&mut self, result: Results) -> Result<(), W::Error> {
        let result = match self.device.url() {
            Some(url) => result.with(&url),
            None => result,
        };
        self.send(&result.frame()).await
    }

    async fn state(&mut self) -> Result<(), W::Error> {
        let connected = self.device.is_connected();
        let state = if connected { State::Provisioned } else { State::Ready };
        self.send(&Frame::state(state)).await
    }

    async fn fail(&mut self, error: Error) -> Result<(), W::Error> {
        *self.error = error;
        self.send(&Frame::error(error)).await
    }

    async fn send(&mut self, frame: &Frame) -> Result<(), W::Error> {
        self.line.write_all(frame.as_bytes()).await?;
        self.line.flush().await
    }
}
