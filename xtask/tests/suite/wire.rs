//! What a poll costs on the wire, besides TLS.

use crate::support::Project;
use embassy_futures::block_on;
use embedded_io_async::{ErrorType, Read, Write};
use std::{cell::Cell, fs, thread};
use towline::{
    Buffers, Connect, LastPoll, Limits, Ota, Outcome, Reason, Updater, schedule::Jitter,
};
use towline_descriptor::Chip;
use towline_sim::{
    Counted, Memory, Net, Scheme,
    sample::{Table, app_image},
};
use xtask::serve::{Identity, Server};

/// The most bytes of request and response that a poll with nothing new costs.
const BUDGET: usize = 600;

/// Counts what goes over the connections of a network.
struct Meter<N> {
    net: N,
    bytes: Cell<usize>,
}

struct Metered<'m, C> {
    connection: C,
    bytes: &'m Cell<usize>,
}

impl<N: Connect> Connect for Meter<N> {
    type Connection<'c>
        = Metered<'c, N::Connection<'c>>
    where
        Self: 'c;
    type Error = N::Error;

    async fn connect(&mut self, host: &str, port: u16) -> Result<Self::Connection<'_>, N::Error> {
        Ok(Metered { connection: self.net.connect(host, port).await?, bytes: &self.bytes })
    }
}

impl<C: ErrorType> ErrorType for Metered<'_, C> {
    type Error = C::Error;
}

impl<C: Read> Read for Metered<'_, C> {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, C::Error> {
        let count = self.connection.read(buffer).await?;
        self.bytes.update(|bytes| bytes + count);
        Ok(count)
    }
}

impl<C: Write> Write for Metered<'_, C> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, C::Error> {
        let count = self.connection.write(bytes).await?;
        self.bytes.update(|bytes| bytes + count);
        Ok(count)
    }

    async fn flush(&mut self) -> Result<(), C::Error> {
        self.connection.flush().await
    }
}

/// A host that sends what it is given, whatever it is asked.
struct Canned {
    answers: Vec<&'static [u8]>,
}

impl Connect for Canned {
    type Connection<'c> = CannedConnection;
    type Error = std::convert::Infallible;

    async fn connect(&mut self, _: &str, _: u16) -> Result<CannedConnection, Self::Error> {
        Ok(CannedConnection(self.answers.remove(0)))
    }
}

struct CannedConnection(&'static [u8]);

impl ErrorType for CannedConnection {
    type Error = std::convert::Infallible;
}

impl Read for CannedConnection {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Self::Error> {
        let count = buffer.len().min(self.0.len());
        let (bytes, rest) = self.0.split_at(count);
        buffer[..count].copy_from_slice(bytes);
        self.0 = rest;
        Ok(count)
    }
}

impl Write for CannedConnection {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Self::Error> {
        Ok(bytes.len())
    }

    async fn flush(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// A device that runs the release that the channel offers.
struct Device {
    flash: Memory,
    last: LastPoll,
}

impl Device {
    fn running(version: &str) -> Self {
        let table = Table { slots: 2, slot_size: 0x20000, factory: false };
        let mut flash = Memory::new(table.flash_size());
        flash.burn(0x8000, &table.to_bytes());
        flash.burn(table.offset(0), &app_image(Chip::Esp32c3, "lamp", version, 9_000));
        Self { flash, last: LastPoll::default() }
    }

    /// Polls a channel that offers nothing new. Returns the bytes that this
    /// cost.
    fn poll<N: Connect>(&mut self, meter: &mut Meter<N>, url: &str) -> usize {
        meter.bytes.set(0);
        let outcome = block_on(
            Updater {
                ota: &mut Ota::open(&mut self.flash, 0x10000).unwrap(),
                net: meter,
                clock: &Counted::default(),
                device: towline::Identity {
                    target: Some("esp32c3"),
                    channel: Some("stable"),
                    ..Default::default()
                },
                trust: None,
                by_user: false,
                limits: Limits::DEFAULT,
                jitter: &mut Jitter::new(1),
                last: &mut self.last,
                buffers: &mut Buffers::new(),
            }
            .update(url, |_| {}),
        );
        assert!(matches!(outcome, Ok(Outcome::Stay(Reason::UpToDate))), "{outcome:?}");
        meter.bytes.get()
    }
}

#[test]
fn a_poll_with_nothing_new_costs_at_most_600_bytes() {
    let project = Project::new(&[Chip::Esp32c3]);
    project.build(&[Chip::Esp32c3], "1.0.0").done(&["release"]);
    let identity = Identity::new(&["localhost".into()]).unwrap();
    let ca = project.path("ca.pem");
    fs::write(&ca, &identity.authority).unwrap();
    let any = "127.0.0.1:0".parse().unwrap();
    let server = Server::bind(any, &project.path("dist/site"), "/", Some(&identity)).unwrap();
    let url =
        format!("https://localhost:{}/ota/stable/esp32c3.json", server.address().unwrap().port());
    thread::spawn(move || server.run(|_| {}));

    let net = Net::new(Scheme::Https, Some(&ca)).unwrap();
    let mut meter = Meter { net, bytes: Cell::new(0) };
    let mut device = Device::running("1.0.0");
    let first = device.poll(&mut meter, &url);
    let next = device.poll(&mut meter, &url);
    println!("the first poll costs {first} bytes, each one after it {next}");
    assert!(first > next, "the descriptor was sent again: {first}, {next}");
    assert!(next <= BUDGET, "{next} bytes");
}

/// The answer is modelled on those of GitHub Pages and the network before it:
/// the fields that a 304 carries there, each as long as it usually is. It was
/// written down, not recorded.
#[test]
fn a_poll_of_github_pages_with_nothing_new_costs_at_most_600_bytes() {
    let descriptor = concat!(
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 39\r\n",
        "Content-Type: application/json; charset=utf-8\r\n",
        "ETag: \"6740a1f3-27\"\r\n\r\n",
        "{\"version\":\"1.0.0\",\"path\":\"https://a/\"}",
    );
    let not_modified = concat!(
        "HTTP/1.1 304 Not Modified\r\n",
        "Connection: close\r\n",
        "Date: Sat, 21 Nov 2026 14:30:00 GMT\r\n",
        "Via: 1.1 varnish\r\n",
        "Cache-Control: max-age=600\r\n",
        "ETag: \"6740a1f3-27\"\r\n",
        "Expires: Sat, 21 Nov 2026 14:40:00 GMT\r\n",
        "Age: 212\r\n",
        "X-Served-By: cache-fra-eddf8230031-FRA\r\n",
        "X-Cache: HIT\r\n",
        "X-Cache-Hits: 1\r\n",
        "X-Timer: S1795271400.123456,VS0,VE1\r\n",
        "Vary: Accept-Encoding\r\n",
        "X-Fastly-Request-ID: 0123456789abcdef0123456789abcdef01234567\r\n",
        "\r\n",
    );
    let answers = vec![descriptor.as_bytes(), not_modified.as_bytes()];
    let mut meter = Meter { net: Canned { answers }, bytes: Cell::new(0) };
    let mut device = Device::running("1.0.0");
    let url = "https://lamp-makers.github.io/lamp/ota/stable/esp32c3.json";
    device.poll(&mut meter, url);
    let next = device.poll(&mut meter, url);
    println!("{next} bytes, {} of them the answer", not_modified.len());
    assert!(next <= BUDGET, "{next} bytes, {} of them the answer", not_modified.len());
}
