//! Sends an image to a device on the network, and waits until it runs there.
//!
//! ```text
//! status -> upload -> (the device restarts) -> status ... -> verdict
//! ```
//!
//! It speaks the API of `towline_app::rest`. The device checks the image
//! itself; killing an upload leaves the device as it was.

use http_body_util::{BodyExt, Empty, Limited, combinators::BoxBody};
use hyper::{
    Request, StatusCode,
    body::{Body, Bytes, Frame, SizeHint},
    header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue},
};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use std::{
    convert::Infallible,
    fmt, io,
    pin::{Pin, pin},
    str::FromStr,
    task::{Context, Poll},
    time::{Duration, Instant},
};
use tokio::{net::TcpStream, time::timeout};

const API: &str = "/api/v1/firmware";

/// Time for a connection, and for each short answer.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// Time for an upload.
const UPLOAD_TIME: Duration = Duration::from_secs(15 * 60);

/// Time between two questions whether the device is back.
const PAUSE: Duration = Duration::from_millis(500);

/// Bytes that are sent at a time.
const PIECE: usize = 16 * 1024;

/// Longest answer in bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// Where a device answers: a host name or address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(String);

/// A text is not the address of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Devices speak HTTP.
    #[error("devices do not speak https; use http:// or only the name")]
    Https,
    /// It is something else.
    #[error("not the name or address of a device, such as `lamp.local` or `192.168.1.7:80`")]
    Invalid,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.starts_with("https://") {
            return Err(AddressError::Https);
        }
        let authority = text.strip_prefix("http://").unwrap_or(text);
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse::<u16>().map_err(|_| AddressError::Invalid)?)
            }
            _ => (authority, 80),
        };
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && host.bytes().all(is_plain),
        };
        if is_host { Ok(Self(format!("{host}:{port}"))) } else { Err(AddressError::Invalid) }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.strip_suffix(":80").unwrap_or(&self.0))
    }
}

/// The token of a device. It is not shown.
#[derive(Clone)]
pub struct Token(HeaderValue);

impl Token {
    /// Takes a token, as it stands in a file: white space around it is not
    /// part of it. `None` if there is none, or if it cannot stand in a header.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let mut value = HeaderValue::from_str(&format!("Bearer {text}")).ok()?;
        value.set_sensitive(true);
        (!text.is_empty()).then_some(Self(value))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// What a device says of its slots.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Status {
    /// The partition that runs.
    pub running: String,
    /// Every app partition.
    pub slots: Vec<Slot>,
}

/// What a device says of one slot.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Slot {
    /// The partition.
    pub partition: String,
    /// State of its image.
    pub state: String,
    /// Project of its image, if it holds one.
    pub project: Option<String>,
    /// Version of its image.
    pub version: Option<String>,
}

impl Status {
    /// Returns the slot that runs.
    pub fn running_slot(&self) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.partition == self.running)
    }

    /// Returns the version that runs; `?` if the image does not tell.
    pub fn version(&self) -> &str {
        self.running_slot().and_then(|slot| slot.version.as_deref()).unwrap_or("?")
    }
}

#[derive(Deserialize)]
struct Progress {
    activity: String,
}

/// How a push ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
pub enum Outcome {
    /// The image runs and is accepted.
    Runs {
        /// Version that runs.
        version: String,
        /// Its partition.
        slot: String,
    },
    /// The image runs, and did not accept itself in time.
    OnTrial {
        /// Version that runs.
        version: String,
        /// Its partition.
        slot: String,
    },
    /// The device is back with what ran before.
    RolledBack {
        /// Version that runs.
        version: String,
        /// Its partition.
        slot: String,
    },
    /// The device did not answer in time.
    NotBack,
}

/// Why an image did not get to the device.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// Nobody answers.
    #[error("cannot reach {0}")]
    Connect(Address, #[source] io::Error),
    /// The connection ended, or took too long.
    #[error("the connection to {0} was lost: {1}")]
    Lost(Address, String),
    /// The device refuses.
    #[error("{address} answers {status}: {message}")]
    Refused {
        /// The device.
        address: Address,
        /// Status.
        status: StatusCode,
        /// What the device says, and what it says to do.
        message: String,
    },
    /// Something else answers.
    #[error("{0} does not answer as a device does: {1}")]
    NotADevice(Address, String),
}

impl PushError {
    /// Returns what to do next.
    pub fn hint(&self) -> &'static str {
        let Self::Refused { status, .. } = self else {
            return match self {
                Self::Connect(..) => {
                    "check the address, and that the device is on this network; its page is at /"
                }
                Self::Lost(..) => "the device keeps the firmware it has; push again",
                _ => "check the address; the firmware needs the REST API of towline-app",
            };
        };
        match status.as_u16() {
            401 => {
                "set TOWLINE_TOKEN to the token of this device, or name a file that holds it with --token-file"
            }
            403 => "set a token on the device, and push to its own name or address",
            404 | 405 => "check the address; the firmware needs the REST API of towline-app",
            409 => "wait until the device is done, then push again",
            413 => {
                "build a smaller image, or change the partition table, which needs a full flash over USB"
            }
            521 => "look at the log of the device; if its flash is worn, it needs another",
            522 => "move the device closer to its access point, then push again",
            523 => {
                "push an app image that was built for this device: name its target with --target"
            }
            _ => "look at the log of the device",
        }
    }
}

/// A device that an image is pushed to.
#[derive(Clone, Debug)]
pub struct Device {
    /// Where it answers.
    pub address: Address,
    /// Its token.
    pub token: Token,
}

impl Device {
    /// Asks what runs.
    ///
    /// # Errors
    /// If it does not tell.
    pub async fn status(&self) -> Result<Status, PushError> {
        self.get(API).await
    }

    /// Sends an image; the device verifies it and is about to restart then.
    /// `progress` is told how many bytes were sent.
    ///
    /// # Errors
    /// If the device refuses it; it keeps the firmware it has.
    pub async fn upload(
        &self,
        image: Vec<u8>,
        progress: impl Fn(u64) + Send + Sync + 'static,
    ) -> Result<(), PushError> {
        let body = Image { bytes: image.into(), sent: 0, progress };
        let request = Request::post(format!("{API}/upload"))
            .header(AUTHORIZATION, self.token.0.clone())
            .header(CONTENT_TYPE, "application/octet-stream");
        self.exchange(request, BoxBody::new(body), UPLOAD_TIME).await.map(drop)
    }

    /// Waits until the device is back with what it keeps, for `longest`. A new
    /// image has to accept itself until then.
    pub async fn wait(&self, before: &Status, longest: Duration, said: impl Fn(&str)) -> Outcome {
        let end = Instant::now() + longest;
        let mut last = Outcome::NotBack;
        let mut on_trial = false;
        loop {
            // It does not answer while it restarts.
            if let Ok(Progress { activity }) = self.get(&format!("{API}/progress")).await
                && activity != "restart"
                && let Ok(now) = self.status().await
            {
                match verdict(before, &now) {
                    Outcome::OnTrial { version, slot } => {
                        if !on_trial {
                            said(&format!("{version} runs on trial in {slot}"));
                        }
                        on_trial = true;
                        last = Outcome::OnTrial { version, slot };
                    }
                    outcome => return outcome,
                }
            }
            if Instant::now() + PAUSE > end {
                return last;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn get<T: for<'de> Deserialize<'de>>(&self, path: &str) -> Result<T, PushError> {
        let body =
            self.exchange(Request::get(path), BoxBody::new(Empty::new()), ANSWER_TIME).await?;
        serde_json::from_slice(&body)
            .map_err(|error| PushError::NotADevice(self.address.clone(), error.to_string()))
    }

    async fn exchange(
        &self,
        request: hyper::http::request::Builder,
        body: BoxBody<Bytes, Infallible>,
        longest: Duration,
    ) -> Result<Bytes, PushError> {
        let lost = |why: String| PushError::Lost(self.address.clone(), why);
        let foreign = |why: String| PushError::NotADevice(self.address.clone(), why);
        let request = request.header(HOST, self.address.to_string()).body(body);
        let request = request.map_err(|error| foreign(error.to_string()))?;
        let tcp = timeout(ANSWER_TIME, TcpStream::connect(&self.address.0)).await;
        let tcp = tcp
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|error| PushError::Connect(self.address.clone(), error))?;
        let exchange = async {
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await?;
            let answer = async {
                let response = sender.send_request(request).await?;
                let (head, body) = response.into_parts();
                let body = Limited::new(body, MAX_ANSWER).collect().await;
                Ok((head.status, body.map(http_body_util::Collected::to_bytes)))
            };
            let mut answer = pin!(answer);
            match embassy_futures::select::select(&mut answer, connection).await {
                embassy_futures::select::Either::First(answer) => answer,
                embassy_futures::select::Either::Second(_) => answer.await,
            }
        };
        let (status, body) = timeout(longest, exchange)
            .await
            .map_err(|_| lost(format!("no answer within {} s", longest.as_secs())))?
            .map_err(|error: hyper::Error| {
                if error.is_parse() { foreign(error.to_string()) } else { lost(error.to_string()) }
            })?;
        let body = body.map_err(|error| foreign(error.to_string()))?;
        if status == StatusCode::OK {
            return Ok(body);
        }
        let message = printable(&String::from_utf8_lossy(&body));
        Err(PushError::Refused { address: self.address.clone(), status, message })
    }
}

/// Returns text of a device without what could control a terminal.
fn printable(text: &str) -> String {
    let text = text.trim().chars().take(500);
    text.map(|char| if char.is_control() { ' ' } else { char }).collect()
}

/// Decides what became of the image, from what ran before and what runs now.
fn verdict(before: &Status, now: &Status) -> Outcome {
    let (version, slot) = (printable(now.version()), printable(&now.running));
    if now.running == before.running {
        return Outcome::RolledBack { version, slot };
    }
    match now.running_slot().map(|slot| slot.state.as_str()) {
        Some("new" | "testing") => Outcome::OnTrial { version, slot },
        _ => Outcome::Runs { version, slot },
    }
}

/// An image that tells how much of it was sent.
struct Image<P> {
    bytes: Bytes,
    sent: u64,
    progress: P,
}

impl<P: Fn(u64)> Body for Image<P> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let image = self.get_mut();
        (image.progress)(image.sent);
        if image.bytes.is_empty() {
            return Poll::Ready(None);
        }
        let piece = image.bytes.split_to(image.bytes.len().min(PIECE));
        image.sent += piece.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.len() as u64)
    }
}

impl<P> Unpin for Image<P> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_names_or_numbers_with_or_without_scheme_and_port() {
        for (text, authority) in [
            ("lamp.local", "lamp.local:80"),
            ("http://lamp.local/", "lamp.local:80"),
            ("192.168.1.7:8080", "192.168.1.7:8080"),
            ("[::1]:8080", "[::1]:8080"),
            ("[::1]", "[::1]:80"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().0, authority);
        }
        assert_eq!("https://lamp".parse::<Address>(), Err(AddressError::Https));
        for text in [
            "",
            "http://",
            "lamp/x",
            "a b",
            "me@lamp",
            "lamp:x",
            "lamp:70000",
            "lamp:",
            "::1",
            "[x]",
        ] {
            assert_eq!(text.parse::<Address>(), Err(AddressError::Invalid), "{text}");
        }
    }

    #[test]
    fn a_token_is_not_shown_and_needs_a_character() {
        let token = Token::new(" secret-secret-secret\n").unwrap();
        assert_eq!(token.0, "Bearer secret-secret-secret");
        let shown = format!("{token:?} {:?}", token.0);
        assert!(!shown.contains("secret"), "{shown}");
        assert!(Token::new(" \n").is_none());
        assert!(Token::new("a\nb").is_none());
    }

    fn status(running: &str, state: &str) -> Status {
        let slot = |partition: &str, version: &str| Slot {
            partition: partition.into(),
            state: if partition == running { state.into() } else { "valid".into() },
            project: Some("lamp".into()),
            version: Some(version.into()),
        };
        Status {
            running: running.into(),
            slots: vec![slot("ota_0", "1.0.0"), slot("ota_1", "1.1.0")],
        }
    }

    #[test]
    fn the_slot_tells_what_became_of_the_image() {
        let before = status("ota_0", "valid");
        let named = |name: &str, version: &str, slot: &str| serde_json::json!({ "outcome": name, "version": version, "slot": slot });
        for (running, state, expected) in [
            ("ota_1", "valid", named("runs", "1.1.0", "ota_1")),
            ("ota_1", "undefined", named("runs", "1.1.0", "ota_1")),
            ("ota_1", "testing", named("on-trial", "1.1.0", "ota_1")),
            ("ota_1", "new", named("on-trial", "1.1.0", "ota_1")),
            ("ota_0", "valid", named("rolled-back", "1.0.0", "ota_0")),
        ] {
            let outcome = verdict(&before, &status(running, state));
            assert_eq!(serde_json::to_value(outcome).unwrap(), expected);
        }
    }

    #[test]
    fn what_a_device_says_cannot_control_the_terminal() {
        assert_eq!(printable("\x1b[2Jall gone\n"), " [2Jall gone");
    }
}
