//! The page of an emulated device that is connected: a real `towline_host`
//! device on a copy of the board's flash.

use embassy_futures::select::select;
use std::{
    io::{self, Write},
    net::{Ipv4Addr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};
use tempfile::NamedTempFile;
use towline_host::{Settings, TokioClock};
use towline_sim::{Net, Scheme};

/// How often the device looks whether it is still wanted.
const LOOKS: Duration = Duration::from_millis(100);

/// A device that answers on loopback until it is dropped.
pub(super) struct Device {
    url: String,
    stop: Arc<AtomicBool>,
}

impl Device {
    /// Starts a device with this flash. It has no token: it refuses changes,
    /// which would not be on the board.
    ///
    /// # Errors
    /// If there is no file or no port for it.
    pub(super) fn start(flash: &[u8]) -> io::Result<Self> {
        let mut file = NamedTempFile::new()?;
        file.write_all(flash)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let url = format!("http://{}/", listener.local_addr()?);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        // The client of a device blocks: it gets a thread of its own, with as much room
        // as the first one has. Unoptimised futures take a lot of it.
        let thread = thread::Builder::new().name("demo device".into()).stack_size(8 << 20);
        thread.spawn(move || {
            // Nobody is left to tell: the page does not answer.
            let _ = answer(file, listener, &stopped);
        })?;
        Ok(Self { url, stop })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn answer(file: NamedTempFile, listener: TcpListener, stop: &AtomicBool) -> anyhow::Result<()> {
    let mut device = towline_sim::Device::open(file.path())?;
    let mut net = Net::new(Scheme::Https, None)?;
    let mut settings = Settings::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let clock = TokioClock::new();
        let runs =
            towline_host::run(&mut device, &mut net, &mut settings, clock, &listener, |_| {});
        let stopped = async {
            while !stop.load(Ordering::Relaxed) {
                tokio::time::sleep(LOOKS).await;
            }
        };
        select(runs, stopped).await;
        Ok(())
    })
}
