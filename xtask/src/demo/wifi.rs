//! The Wi-Fi of an emulated device, and the serial line to its Improv service.

use embedded_io_async::{ErrorType, Read, Write};
use std::{
    collections::VecDeque,
    convert::Infallible,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::Duration,
};
use towline_app::improv::{
    BadHostname, CannotConnect, DeviceInfo, MAX_NETWORKS, Network, Provision, Text,
};
use towline_descriptor::Chip;

/// The networks in reach: name, strength in dBm, whether it has a password.
const NETWORKS: [(&str, i8, bool); 4] = [
    ("Towline", -48, true),
    ("Kitchen & garden", -61, true),
    ("Guests", -70, false),
    ("Attic", -84, true),
];

/// The password that no network takes.
const WRONG: &str = "wrong";

/// How long it takes to connect, and to be refused.
const CONNECT: Duration = Duration::from_millis(1000);

/// How long a scan takes.
const SCAN: Duration = Duration::from_millis(600);

/// What the service and the firmware around it share. Neither waits for the
/// other: whoever polls the service sees to the rest.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Time since the start.
    pub(super) now: Duration,
    pub(super) input: VecDeque<u8>,
    pub(super) output: Vec<u8>,
    /// A network that took the password; it is joined next.
    pub(super) joining: Option<String>,
    /// The network that the device is in.
    pub(super) network: Option<String>,
    /// Where the page of the device is.
    pub(super) url: Option<String>,
}

pub(super) fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The device as Improv sees it.
pub(super) struct Wifi {
    chip: Chip,
    project: String,
    version: String,
    hostname: Text,
    name: Text,
    shared: Arc<Mutex<Shared>>,
}

impl Wifi {
    pub(super) fn new(
        chip: Chip,
        project: &str,
        version: &str,
        shared: Arc<Mutex<Shared>>,
    ) -> Self {
        let text = |text: &str| Text::try_from(text).unwrap_or_default();
        Self {
            chip,
            project: project.to_owned(),
            version: version.to_owned(),
            hostname: text(&project.replace('_', "-")),
            name: text(project),
            shared,
        }
    }

    /// Waits until the firmware sees that something is so.
    async fn until<T>(&self, is_so: impl Fn(&Shared) -> Option<T>) -> T {
        poll_fn(|_| match is_so(&lock(&self.shared)) {
            Some(value) => Poll::Ready(value),
            // The firmware polls whenever time goes by.
            None => Poll::Pending,
        })
        .await
    }

    async fn wait(&self, time: Duration) {
        let end = lock(&self.shared).now + time;
        self.until(|shared| (shared.now >= end).then_some(())).await;
    }
}

impl Provision for Wifi {
    fn info(&self) -> DeviceInfo<'_> {
        DeviceInfo { firmware: &self.project, version: &self.version, chip: self.chip.family() }
    }

    fn is_connected(&self) -> bool {
        lock(&self.shared).network.is_some()
    }

    fn url(&self) -> Option<Text> {
        let url = lock(&self.shared).url.clone()?;
        Text::try_from(url.as_str()).ok()
    }

    async fn connect(&mut self, ssid: &str, password: &str) -> Result<(), CannotConnect> {
        self.wait(CONNECT).await;
        let known = NETWORKS.iter().find(|(name, ..)| *name == ssid);
        let is_missing = known.is_some_and(|(.., secured)| *secured) && password.is_empty();
        if password == WRONG || is_missing {
            return Err(CannotConnect);
        }
        {
            let mut shared = lock(&self.shared);
            shared.network = None;
            shared.joining = Some(ssid.to_owned());
        }
        self.until(|shared| shared.network.as_ref().map(|_| ())).await;
        Ok(())
    }

    async fn scan(&mut self) -> heapless::Vec<Network, MAX_NETWORKS> {
        self.wait(SCAN).await;
        let network = |(ssid, rssi, secured): (&str, i8, bool)| {
            Some(Network { ssid: ssid.try_into().ok()?, rssi, secured })
        };
        NETWORKS.into_iter().filter_map(network).collect()
    }

    fn hostname(&self) -> Text {
        self.hostname.clone()
    }

    async fn set_hostname(&mut self, name: &str) -> Result<(), BadHostname> {
        self.hostname = Text::try_from(name).map_err(|_| BadHostname)?;
        Ok(())
    }

    fn name(&self) -> Text {
        self.name.clone()
    }

    async fn set_name(&mut self, name: &str) -> Result<(), BadHostname> {
        self.name = Text::try_from(name).map_err(|_| BadHostname)?;
        Ok(())
    }
}

/// The device's end of the serial line.
pub(super) struct Line(pub(super) Arc<Mutex<Shared>>);

impl ErrorType for Line {
    type Error = Infallible;
}

impl Read for Line {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Infallible> {
        poll_fn(|_| {
            let mut shared = lock(&self.0);
            let count = shared.input.len().min(buffer.len());
            if count == 0 {
                return Poll::Pending;
            }
            for (slot, byte) in buffer.iter_mut().zip(shared.input.drain(..count)) {
                *slot = byte;
            }
            Poll::Ready(Ok(count))
        })
        .await
    }
}

impl Write for Line {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        lock(&self.0).output.extend(bytes);
        Ok(bytes.len())
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}
