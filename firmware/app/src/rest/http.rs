//! The part of HTTP/1.1 that the API needs: one request a connection.
//!
//! The head is parsed by `httparse`. The body is left on the wire until a
//! request was admitted: a refused upload is answered at once, and an admitted
//! one is received no faster than flash takes it. That is why the general
//! embedded servers, which take the body first, are not used here.

use core::{fmt, future::Future, time::Duration};
use embassy_futures::select::{Either, select};
use embedded_io_async::{ErrorKind, ErrorType, Read, Write};
use towline::Clock;

/// Size in bytes of the buffer for the head of a request. Browsers send 0.5 to
/// 1 KiB.
pub const HEAD: usize = 2048;

const MAX_HEADERS: usize = 32;

/// Time for a whole head to come.
const HEAD_TIME: Duration = Duration::from_secs(5);

/// Longest wait for the next bytes of a body.
const STALL_TIME: Duration = Duration::from_secs(10);

/// Lowest mean rate of a body in bytes a second, beyond [`STALL_TIME`].
const MIN_RATE: u32 = 2048;

/// Time for the peer to take the whole answer.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// Time for which bytes that nobody wants are taken, so that the peer reads the
/// answer before the connection is reset.
const LINGER_TIME: Duration = Duration::from_secs(2);

/// A request method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Post,
    Other,
}

/// What a request states of the length of its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    /// Nothing.
    Missing,
    /// `Transfer-Encoding`: the length is not known beforehand.
    Chunked,
    /// This many bytes.
    Stated(u32),
    /// More than 4 GiB.
    Huge,
}

/// The head of a request: what the API looks at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'b> {
    pub(crate) method: Method,
    /// Without the query.
    pub(crate) path: &'b str,
    pub(crate) host: Option<&'b str>,
    pub(crate) origin: Option<&'b str>,
    pub(crate) fetch_site: Option<&'b str>,
    pub(crate) authorization: Option<&'b str>,
    pub(crate) content_type: Option<&'b str>,
    pub(crate) length: Length,
    /// `Expect: 100-continue`.
    pub(crate) expects_continue: bool,
}

/// Why there is no request to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadError {
    /// Nothing came, or not all in time; nobody is there to be answered.
    Silent,
    /// Not HTTP/1.1, or a header that matters stands twice.
    Malformed,
    /// Larger than [`HEAD`], or more headers than are read.
    TooLarge,
    /// It began, and did not end in time.
    Slow,
}

impl<'b> Request<'b> {
    /// Reads a head; returns the bytes of the body that came with it too.
    pub(crate) async fn read<S: Read, C: Clock>(
        socket: &mut S,
        clock: &C,
        buffer: &'b mut [u8; HEAD],
    ) -> Result<(Self, &'b [u8]), HeadError> {
        let mut filled = 0;
        let reading = async {
            loop {
                let free = &mut buffer[filled..];
                if free.is_empty() {
                    return Err(HeadError::TooLarge);
                }
                match socket.read(free).await {
                    Ok(0) | Err(_) => return Err(HeadError::Silent),
                    Ok(count) => filled += count,
                }
                if let Some((_, body)) = Request::parse(&buffer[..filled])? {
                    return Ok(body);
                }
            }
        };
        let Some(result) = within(clock, HEAD_TIME, reading).await else {
            return Err(if filled == 0 { HeadError::Silent } else { HeadError::Slow });
        };
        let body = result?;
        let buffer: &'b [u8] = buffer;
        match Request::parse(&buffer[..body])? {
            Some((request, _)) => Ok((request, &buffer[body..filled])),
            None => Err(HeadError::Malformed),
        }
    }

    /// Parses a head, and returns where the body starts; `None` if it is not
    /// whole yet.
    pub(crate) fn parse(bytes: &'b [u8]) -> Result<Option<(Self, usize)>, HeadError> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut parsed = httparse::Request::new(&mut headers);
        let body = match parsed.parse(bytes) {
            Ok(httparse::Status::Complete(body)) => body,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TooLarge),
            Err(_) => return Err(HeadError::Malformed),
        };
        let path = parsed.path.ok_or(HeadError::Malformed)?;
        let mut request = Self {
            method: match parsed.method {
                Some("GET") => Method::Get,
                Some("POST") => Method::Post,
                _ => Method::Other,
            },
            path: path.split_once('?').map_or(path, |(path, _)| path),
            host: None,
            origin: None,
            fetch_site: None,
            authorization: None,
            content_type: None,
            length: Length::Missing,
            expects_continue: false,
        };
        for header in parsed.headers.iter() {
            request.take(header.name, header.value)?;
        }
        Ok(Some((request, body)))
    }

    fn take(&mut self, name: &str, value: &'b [u8]) -> Result<(), HeadError> {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        let text = || core::str::from_utf8(value).map(str::trim).map_err(|_| HeadError::Malformed);
        let field = if is("host") {
            &mut self.host
        } else if is("origin") {
            &mut self.origin
        } else if is("sec-fetch-site") {
            &mut self.fetch_site
        } else if is("authorization") {
            &mut self.authorization
        } else if is("content-type") {
            &mut self.content_type
        } else if is("transfer-encoding") {
            if self.length != Length::Missing {
                return Err(HeadError::Malformed);
            }
            self.length = Length::Chunked;
            return Ok(());
        } else if is("content-length") {
            // Twice, or beside Transfer-Encoding: readers disagree on which
            // one counts.
            if self.length != Length::Missing {
                return Err(HeadError::Malformed);
            }
            let digits = text()?;
            if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(HeadError::Malformed);
            }
            self.length = digits.parse().map_or(Length::Huge, Length::Stated);
            return Ok(());
        } else if is("expect") {
            self.expects_continue = text()?.eq_ignore_ascii_case("100-continue");
            return Ok(());
        } else {
            return Ok(());
        };
        if field.replace(text()?).is_some() {
            return Err(HeadError::Malformed);
        }
        Ok(())
    }
}

/// Why a body did not come whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiveError {
    /// The peer closed the connection, or the connection failed.
    Closed,
    /// Nothing came for 10 seconds.
    Stalled,
    /// The bytes came too slowly, less than 2 KiB a second.
    TooSlow,
}

impl fmt::Display for ReceiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "the connection ended before the body did",
            Self::Stalled => "nothing came for 10 seconds",
            Self::TooSlow => "less than 2 KiB came a second",
        })
    }
}

impl core::error::Error for ReceiveError {}

impl embedded_io_async::Error for ReceiveError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Closed => ErrorKind::ConnectionAborted,
            Self::Stalled | Self::TooSlow => ErrorKind::TimedOut,
        }
    }
}

/// The body of a request, of stated length, while it comes.
///
/// Only the time that is spent waiting for the peer counts against it: slow
/// flash is not the peer's fault.
pub(crate) struct Body<'s, S, C> {
    socket: &'s mut S,
    clock: &'s C,
    early: &'s [u8],
    left: u32,
    received: u32,
    waited: Duration,
}

impl<'s, S: Read, C: Clock> Body<'s, S, C> {
    pub(crate) fn new(socket: &'s mut S, clock: &'s C, early: &'s [u8], length: u32) -> Self {
        Self { socket, clock, early, left: length, received: 0, waited: Duration::ZERO }
    }

    /// Returns how much came.
    pub(crate) fn received(&self) -> u32 {
        self.received
    }

    async fn receive(&mut self, buffer: &mut [u8]) -> Result<usize, ReceiveError> {
        let granted = STALL_TIME + Duration::from_secs(1) * self.received / MIN_RATE;
        let left = granted.saturating_sub(self.waited);
        let started = self.clock.uptime();
        let read = within(self.clock, left.min(STALL_TIME), self.socket.read(buffer)).await;
        self.waited += self.clock.uptime().saturating_sub(started);
        match read {
            None if left < STALL_TIME => Err(ReceiveError::TooSlow),
            None => Err(ReceiveError::Stalled),
            Some(Ok(0) | Err(_)) => Err(ReceiveError::Closed),
            Some(Ok(count)) => Ok(count),
        }
    }
}

impl<S, C> ErrorType for Body<'_, S, C> {
    type Error = ReceiveError;
}

impl<S: Read, C: Clock> Read for Body<'_, S, C> {
    /// Reads the next bytes; 0 at the end of the body. Bytes after its stated
    /// length are never read.
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ReceiveError> {
        let limit = buffer.len().min(self.left as usize);
        let buffer = &mut buffer[..limit];
        if buffer.is_empty() {
            return Ok(0);
        }
        let count = if self.early.is_empty() {
            self.receive(buffer).await?
        } else {
            let (bytes, rest) = self.early.split_at(self.early.len().min(limit));
            buffer[..bytes.len()].copy_from_slice(bytes);
            self.early = rest;
            bytes.len()
        };
        self.left -= count as u32;
        self.received += count as u32;
        Ok(count)
    }
}

/// An answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer<'b> {
    pub(crate) status: u16,
    pub(crate) reason: &'static str,
    pub(crate) content_type: &'static str,
    /// Further header lines, each with its end.
    pub(crate) headers: &'static str,
    /// The body, in pieces.
    pub(crate) body: [&'b [u8]; 3],
}

impl Answer<'_> {
    /// Sends the answer, in time. A peer that is gone does not matter.
    pub(crate) async fn send<S: Write, C: Clock>(&self, socket: &mut S, clock: &C) {
        let sending = async {
            let length: usize = self.body.iter().map(|piece| piece.len()).sum();
            let mut head = heapless::String::<1024>::new();
            let fits = fmt::write(
                &mut head,
                format_args!(
                    "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {length}\r\n\
                     Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n{}\
                     Connection: close\r\n\r\n",
                    self.status, self.reason, self.content_type, self.headers,
                ),
            );
            debug_assert!(fits.is_ok(), "all parts of a head are ours and short");
            socket.write_all(head.as_bytes()).await?;
            for piece in self.body {
                socket.write_all(piece).await?;
            }
            socket.flush().await
        };
        let _ = within(clock, ANSWER_TIME, sending).await;
    }
}

/// Asks a peer that waits for permission to send its body.
pub(crate) async fn send_continue<S: Write, C: Clock>(socket: &mut S, clock: &C) {
    let sending = async {
        socket.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        socket.flush().await
    };
    let _ = within(clock, ANSWER_TIME, sending).await;
}

/// Takes what the peer still sends, until it ends or time is up.
pub(crate) async fn linger<S: Read, C: Clock>(socket: &mut S, clock: &C, scratch: &mut [u8]) {
    let draining = async { while matches!(socket.read(scratch).await, Ok(count) if count > 0) {} };
    let _ = within(clock, LINGER_TIME, draining).await;
}

/// Runs `task` for at most `limit`; `None` if it was not done by then.
async fn within<C: Clock, T>(
    clock: &C,
    limit: Duration,
    task: impl Future<Output = T>,
) -> Option<T> {
    match select(task, clock.wait(limit)).await {
        Either::First(output) => Some(output),
        Either::Second(()) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{format, vec::Vec};

    const HEADERS: [&str; 12] = [
        "Host: a\r\n",
        "HOST: b\r\n",
        "Content-Length: 5\r\n",
        "content-length: 99999999999\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Origin: null\r\n",
        "Authorization: Bearer x\r\n",
        "Content-Type: text/plain\r\n",
        "Expect: 100-continue\r\n",
        "Sec-Fetch-Site: none\r\n",
        "X: \u{FC}\r\n",
        "A:\r\n",
    ];

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Request::parse(&bytes);
        }

        #[test]
        fn no_header_that_matters_is_taken_twice(
            lines in proptest::collection::vec(proptest::sample::select(&HEADERS), 0..8),
        ) {
            let head = format!("POST /a?b HTTP/1.1\r\n{}\r\n", lines.concat());
            let names = |name: &str| {
                let is = |line: &&&str| line.to_ascii_lowercase().starts_with(name);
                lines.iter().filter(is).count()
            };
            let lengths = names("content-length") + names("transfer-encoding");
            let single = ["host", "origin", "authorization", "content-type", "sec-fetch-site"];
            let sound = lengths <= 1 && single.iter().all(|name| names(name) <= 1);
            match Request::parse(head.as_bytes()) {
                Ok(Some((request, body))) => {
                    prop_assert!(sound);
                    prop_assert_eq!((request.path, body), ("/a", head.len()));
                    prop_assert_eq!(request.host.is_some(), names("host") == 1);
                    prop_assert_eq!(request.length != Length::Missing, lengths == 1);
                    prop_assert_eq!(request.expects_continue, names("expect") > 0);
                }
                Ok(None) => prop_assert!(false, "the head is whole"),
                Err(_) => prop_assert!(!sound),
            }
        }

        #[test]
        fn a_head_that_is_cut_is_not_whole(cut in 0_usize..40) {
            let head = b"GET / HTTP/1.1\r\nHost: a\r\nOrigin: b\r\n\r\n";
            let pieces: Vec<u8> = head[..cut.min(head.len() - 1)].to_vec();
            prop_assert!(matches!(Request::parse(&pieces), Ok(None)));
        }
    }
}
