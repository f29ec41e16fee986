//! A device on loopback, and a client that can be as wrong as it likes.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::PathBuf,
    sync::mpsc::{Receiver, channel},
    thread::JoinHandle,
    time::Duration,
};
use tokio::{net::TcpListener, runtime, sync::oneshot};
use towline::{Slot, descriptor::Chip};
use towline_app::rest::{Name, Token};
use towline_host::{Channel, Settings, TokioClock};
use towline_sim::{
    Device, Net, Scheme, SelfTest,
    sample::{Table, app_image},
};

/// The token of the device.
pub(crate) const TOKEN: &str = "correct horse battery staple";

/// Its partition table.
pub(crate) const TABLE: Table = Table { slots: 2, slot_size: 0x6_0000, factory: false };

/// How many times faster than real time it lives.
const SPEED: u32 = 20;

/// Longest time that anything takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// What to make of the device.
pub(crate) struct Setup {
    pub(crate) token: Option<&'static str>,
    pub(crate) channels: Vec<(&'static str, String)>,
    pub(crate) self_test: SelfTest,
    pub(crate) running: Vec<u8>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            token: Some(TOKEN),
            channels: vec![("stable", "https://127.0.0.1:9/stable.json".into())],
            self_test: SelfTest::Passes,
            running: image("1.0.0"),
        }
    }
}

/// An image that the device takes.
pub(crate) fn image(version: &str) -> Vec<u8> {
    app_image(Chip::Esp32c3, "lamp", version, 100_000)
}

/// A running device.
pub(crate) struct Rig {
    dir: tempfile::TempDir,
    pub(crate) address: SocketAddr,
    boots: Receiver<(String, Slot)>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with(Setup::default())
    }

    pub(crate) fn with(setup: Setup) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("flash.bin");
        let table = TABLE.to_bytes();
        let parts = [(0x8000, &table[..]), (TABLE.offset(0), &setup.running)];
        let mut device = Device::provision(&path, 1 << 20, parts).unwrap();
        device.self_test = setup.self_test;
        let mut settings = Settings {
            token: setup.token.map(|token| Token::new(token).unwrap()),
            channels: setup
                .channels
                .iter()
                .map(|(name, url)| Channel {
                    name: Name::try_from(*name).unwrap(),
                    url: url.clone(),
                })
                .collect(),
            ..Settings::default()
        };
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let (boot, boots) = channel();
        let thread = std::thread::spawn(move || {
            let mut net = Net::new(Scheme::LoopbackHttp, None).unwrap();
            let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                let clock = TokioClock::hurried(SPEED);
                let booted = |started: &towline_sim::Started<'_>| {
                    let version = started.booted.head.app.version.as_str().to_owned();
                    // Nobody listens at the end of a test.
                    let _ = boot.send((version, started.booted.slot));
                };
                let life = towline_host::run(
                    &mut device,
                    &mut net,
                    &mut settings,
                    clock,
                    &listener,
                    booted,
                );
                tokio::select! {
                    _ = stopped => {}
                    end = life => panic!("{:?}", end.err()),
                }
            });
        });
        let rig = Self { dir, address, boots, stop: Some(stop), thread: Some(thread) };
        assert_eq!(rig.booted().1, Slot::Ota(0));
        rig
    }

    /// Waits for the next boot; returns what runs and where.
    pub(crate) fn booted(&self) -> (String, Slot) {
        self.boots.recv_timeout(PATIENCE).expect("the device boots")
    }

    /// Returns whether the device booted since last asked.
    pub(crate) fn has_booted(&self) -> bool {
        self.boots.try_recv().is_ok()
    }

    /// Returns all bytes of its flash.
    pub(crate) fn flash(&self) -> Vec<u8> {
        std::fs::read(self.path()).unwrap()
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("flash.bin")
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(self.address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }

    /// Sends bytes and returns the answer.
    pub(crate) fn send(&self, bytes: &[u8]) -> Answer {
        let mut socket = self.connect();
        // The device may have answered and closed already.
        let _ = socket.write_all(bytes);
        answer(&mut socket)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address).as_bytes())
    }

    pub(crate) fn json(&self, path: &str) -> serde_json::Value {
        let answer = self.get(path);
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
        serde_json::from_slice(&answer.body).unwrap()
    }

    /// Posts with the token.
    pub(crate) fn post(&self, path: &str, content_type: &str, body: &[u8]) -> Answer {
        self.send(&[self.head(path, content_type, body.len()).as_bytes(), body].concat())
    }

    /// The head of a post that is admitted.
    pub(crate) fn head(&self, path: &str, content_type: &str, length: usize) -> String {
        format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {TOKEN}\r\n\
             Content-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n",
            self.address
        )
    }

    pub(crate) fn upload(&self, image: &[u8]) -> Answer {
        self.post("/api/v1/firmware/upload", OCTETS, image)
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stop.take().map(|stop| stop.send(()));
        if let Some(thread) = self.thread.take() {
            assert!(thread.join().is_ok() || std::thread::panicking(), "the device panicked");
        }
    }
}

pub(crate) const OCTETS: &str = "application/octet-stream";

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) reason: String,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// Reads an answer to its stated length, and that nothing follows.
pub(crate) fn answer(socket: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    let (head, body) = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break (String::from_utf8(bytes[..end].to_vec()).unwrap(), end + 4);
        }
        let count = socket.read(&mut piece).expect("an answer");
        assert!(count > 0, "the connection ended in {bytes:?}");
        bytes.extend(&piece[..count]);
    };
    let mut body = bytes.split_off(body);
    let (line, _) = head.split_once("\r\n").unwrap_or((&head, ""));
    let mut words = line.splitn(3, ' ');
    assert_eq!(words.next(), Some("HTTP/1.1"));
    let status = words.next().unwrap().parse().unwrap();
    let reason = words.next().unwrap().to_owned();
    let mut answer = Answer { status, reason, head, body: Vec::new() };
    let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
    while body.len() < length {
        let count = socket.read(&mut piece).expect("the whole answer");
        assert!(count > 0, "the connection ended in the body");
        body.extend(&piece[..count]);
    }
    assert_eq!(body.len(), length);
    answer.body = body;
    answer
}
