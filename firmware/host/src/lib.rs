//! A device on the host that answers on the network as a real one does.
//!
//! ```text
//! TCP on this machine -> towline_app::rest::Server -> Board -> Slots -> flash.bin
//!                                                      |                   |
//!                                  channels (Net, TLS) +      bootloader, boot guard
//! ```
//!
//! What answers is the code that runs on a chip. A restart boots the flash file
//! again, self-test and rollback included.

mod board;

pub use board::{Board, Channel, EmbeddedRoot, Fault, Settings};

use embassy_futures::{
    join::join_array,
    select::{Either3, select3},
};
use embedded_io_adapters::tokio_1::FromTokio;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
};
use towline::Clock;
use towline_app::{
    rest::{Buffers, Server},
    slots::Slots,
};
use towline_sim::{Device, DeviceError, Net, Started};

/// Connections that are answered at a time, as on a chip with that many
/// sockets.
const CONNECTIONS: usize = 4;

/// The time of a tokio runtime.
#[derive(Clone, Copy, Debug)]
pub struct TokioClock {
    start: Instant,
    /// How many times faster it runs than real time.
    speed: u32,
}

impl TokioClock {
    /// Starts at zero.
    pub fn new() -> Self {
        Self::hurried(1)
    }

    /// Starts at zero, and runs `speed` times as fast as real time: for tests
    /// of what takes long.
    pub fn hurried(speed: u32) -> Self {
        Self { start: Instant::now(), speed }
    }
}

impl Default for TokioClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for TokioClock {
    fn uptime(&self) -> Duration {
        self.start.elapsed() * self.speed
    }

    fn unix_time(&self) -> Option<u64> {
        SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|time| time.as_secs())
    }

    async fn wait(&self, time: Duration) {
        tokio::time::sleep(time / self.speed).await;
    }
}

/// Lets a device answer on `listener` for ever, through all its restarts.
/// `booted` is told what runs after each.
///
/// # Errors
/// If the device does not boot.
pub async fn run(
    device: &mut Device,
    net: &mut Net,
    settings: &mut Settings,
    clock: TokioClock,
    listener: &TcpListener,
    mut booted: impl FnMut(&Started<'_>),
) -> Result<std::convert::Infallible, DeviceError> {
    loop {
        let started = device.start()?;
        booted(&started);
        let board = Board::new(Slots::new(started.ota)?, net, settings, clock);
        let server = Server::new(board, clock);
        let workers = join_array([(); CONNECTIONS].map(|()| async {
            let mut buffers = Buffers::new();
            loop {
                match listener.accept().await {
                    Ok((socket, _)) => answer(&server, socket, &mut buffers).await,
                    // Too many open files, or the peer is gone already.
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        }));
        let restarted = server.device().restarted();
        match select3(workers, server.restarts(), restarted).await {
            Either3::Third(()) => {}
            Either3::First(_) | Either3::Second(_) => unreachable!("both run for ever"),
        }
    }
}

async fn answer(server: &Server<Board<'_>, TokioClock>, socket: TcpStream, buffers: &mut Buffers) {
    let mut socket = FromTokio::new(socket);
    server.serve(&mut socket, buffers).await;
    // A peer that is gone does not matter.
    let _ = socket.into_inner().shutdown().await;
}
