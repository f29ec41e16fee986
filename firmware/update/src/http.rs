//! The part of HTTP/1.1 that a static host needs: one GET a connection.
//!
//! Strict on purpose: the length has to be stated and nothing is chunked. What
//! is accepted here is what the small readers in the field accept too.

use crate::{
    clock::Clock,
    pace::{Late, Pace},
    transport::Connect,
};
use core::{
    fmt::{self, Debug, Display, Write as _},
    ops::Range,
};
use embedded_io_async::{Read, Write};
use towline_descriptor::Url;

/// Size in bytes of the buffer for the head of a response. Common static hosts
/// send 0.6 to 1.2 KiB.
pub const HEAD: usize = 2048;

/// The longest ETag that is kept, in bytes. A host with longer ones is asked
/// unconditionally.
pub const MAX_ETAG: usize = 72;

const MAX_HEADERS: usize = 48;

/// An ETag as the host wrote it.
pub type Etag = heapless::String<MAX_ETAG>;

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpError<E> {
    /// Connecting, reading or writing failed.
    Transport(E),
    /// It took too long, or came too slowly.
    Late(Late),
    /// The answer is not HTTP/1.1, or its head is larger than [`HEAD`].
    Malformed,
    /// The host answered with this status, which is no answer to the request.
    Status(u16),
    /// The host redirects too often, to another host, or not to a plain https
    /// URL.
    Redirect,
    /// The host stated no `Content-Length`, or sends the body in chunks.
    NoLength,
    /// The host sent another range than the one it was asked for.
    Range,
    /// The connection ended before the body did.
    Truncated,
    /// The URL is too long for a request.
    Url,
}

impl<E> HttpError<E> {
    /// Returns whether the same request may succeed later.
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Transport(_)
                | Self::Truncated
                | Self::Late(Late::Silent | Late::Slow)
                | Self::Status(408 | 425 | 429 | 500 | 502..=504)
        )
    }
}

/// What to ask for.
#[derive(Clone, Copy, Debug)]
pub struct Request<'r> {
    /// What to get.
    pub url: Url<'r>,
    /// Not if it still has this ETag.
    pub if_none_match: Option<&'r str>,
    /// Without this many bytes at its start.
    pub from: u32,
}

impl<'r> Request<'r> {
    /// Asks for all of it.
    pub fn whole(url: Url<'r>) -> Self {
        Self { url, if_none_match: None, from: 0 }
    }
}

/// What the host answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// 200: the whole file follows.
    Whole,
    /// 206: the rest of the file follows, from the byte that was asked for.
    Rest {
        /// Size of the whole file in bytes.
        size: u32,
    },
    /// 304: it still has that ETag.
    NotModified,
    /// 416: there are no such bytes.
    NoSuchRange,
    /// 301, 302, 303, 307 or 308: it is elsewhere.
    Elsewhere,
}

/// A response whose body is still to be read.
#[derive(Debug)]
pub struct Response<C> {
    connection: C,
    /// What the host answered.
    pub status: Status,
    /// The ETag, if there is one and it is not longer than [`MAX_ETAG`].
    pub etag: Option<Etag>,
    /// Where `Location` stands in the head.
    location: Range<usize>,
    /// Where body bytes stand that came with the head.
    early: Range<usize>,
    left: u32,
    length: u32,
}

/// Sends a GET request and reads the head of the response into `head`.
///
/// # Errors
/// [`HttpError`], for a status that is not a [`Status`] too.
pub async fn get<'n, N: Connect, C: Clock>(
    net: &'n mut N,
    pace: &mut Pace<'_, C>,
    request: &Request<'_>,
    head: &mut [u8; HEAD],
) -> Result<Response<N::Connection<'n>>, HttpError<N::Error>> {
    let (host, port) = (request.url.host(), request.url.port());
    let connected = pace.within(net.connect(host, port)).await.map_err(HttpError::Late)?;
    let mut connection = connected.map_err(HttpError::Transport)?;
    let len = write_request(head, request).ok_or(HttpError::Url)?;
    let sent = async {
        connection.write_all(&head[..len]).await?;
        connection.flush().await
    };
    pace.within(sent).await.map_err(HttpError::Late)?.map_err(HttpError::Transport)?;

    let mut filled = 0;
    loop {
        let read = pace.within(connection.read(&mut head[filled..])).await;
        let count = read.map_err(HttpError::Late)?.map_err(HttpError::Transport)?;
        filled += count;
        pace.took(count).map_err(HttpError::Late)?;
        match parse_head(&head[..filled], request)? {
            Some(parsed) => {
                let end = parsed.body + (filled - parsed.body).min(parsed.length as usize);
                return Ok(Response {
                    connection,
                    status: parsed.status,
                    etag: parsed.etag,
                    location: parsed.location,
                    early: parsed.body..end,
                    left: parsed.length,
                    length: parsed.length,
                });
            }
            None if filled == HEAD => return Err(HttpError::Malformed),
            None if count == 0 => return Err(HttpError::Truncated),
            None => {}
        }
    }
}

/// Writes a request into the buffer: in one piece, so that it travels in one
/// record. Returns its length, `None` if it does not fit.
fn write_request(buffer: &mut [u8; HEAD], request: &Request<'_>) -> Option<usize> {
    let url = request.url;
    let mut text = Cursor { buffer, len: 0 };
    write!(text, "GET {} HTTP/1.1\r\nHost: {}", url.path(), url.host()).ok()?;
    if url.port() != 443 {
        write!(text, ":{}", url.port()).ok()?;
    }
    let agent = concat!("towline/", env!("CARGO_PKG_VERSION"));
    write!(text, "\r\nUser-Agent: {agent}\r\nConnection: close\r\n").ok()?;
    if let Some(etag) = request.if_none_match {
        write!(text, "If-None-Match: {etag}\r\n").ok()?;
    }
    if request.from > 0 {
        write!(text, "Range: bytes={}-\r\n", request.from).ok()?;
    }
    text.write_str("\r\n").ok()?;
    Some(text.len)
}

/// Writes text into a buffer, if it fits.
struct Cursor<'b> {
    buffer: &'b mut [u8],
    len: usize,
}

impl fmt::Write for Cursor<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.len + text.len();
        self.buffer.get_mut(self.len..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

/// What the head of a response says.
struct Parsed {
    status: Status,
    /// Where the body starts.
    body: usize,
    length: u32,
    etag: Option<Etag>,
    location: Range<usize>,
}

/// Parses the head of a response, once it is whole.
fn parse_head<E>(head: &[u8], request: &Request<'_>) -> Result<Option<Parsed>, HttpError<E>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let body = match response.parse(head) {
        Ok(httparse::Status::Complete(body)) => body,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(HttpError::Malformed),
    };
    let mut chunked = false;
    let mut length = None;
    let mut range = None;
    let mut etag = None;
    let mut location = 0..0;
    for header in response.headers.iter() {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        if is("transfer-encoding") {
            chunked = true;
        } else if is("content-length") {
            let stated = parse_number(header.value).ok_or(HttpError::NoLength)?;
            if length.is_some_and(|length| length != stated) {
                return Err(HttpError::NoLength);
            }
            length = Some(stated);
        } else if is("content-range") {
            range = Some(header.value);
        } else if is("etag") {
            etag = parse_etag(header.value);
        } else if is("location") {
            let start = header.value.as_ptr().addr() - head.as_ptr().addr();
            location = start..start + header.value.len();
        }
    }
    let status = match response.code.ok_or(HttpError::Malformed)? {
        200 => Status::Whole,
        206 if request.from > 0 => {
            let (first, last, size) = range.and_then(parse_range).ok_or(HttpError::Range)?;
            let is_rest = first == request.from && last.checked_add(1) == Some(size);
            // A range may end before it starts.
            let rest = size.checked_sub(first).filter(|rest| is_rest && *rest > 0);
            let rest = rest.ok_or(HttpError::Range)?;
            if length.is_some_and(|length| length != rest) {
                return Err(HttpError::Range);
            }
            Status::Rest { size }
        }
        304 if request.if_none_match.is_some() => Status::NotModified,
        416 if request.from > 0 => Status::NoSuchRange,
        301 | 302 | 303 | 307 | 308 => Status::Elsewhere,
        code => return Err(HttpError::Status(code)),
    };
    let length = match status {
        Status::Whole | Status::Rest { .. } if chunked => return Err(HttpError::NoLength),
        Status::Whole | Status::Rest { .. } => length.ok_or(HttpError::NoLength)?,
        // Their bodies, if any, are of no interest.
        _ => 0,
    };
    Ok(Some(Parsed { status, body, length, etag, location }))
}

fn parse_number(value: &[u8]) -> Option<u32> {
    let text = core::str::from_utf8(value).ok()?;
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Parses `bytes first-last/size`.
fn parse_range(value: &[u8]) -> Option<(u32, u32, u32)> {
    let text = core::str::from_utf8(value).ok()?.strip_prefix("bytes ")?;
    let (range, size) = text.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let number = |text: &str| parse_number(text.as_bytes());
    Some((number(first)?, number(last)?, number(size)?))
}

/// Returns the ETag if it can be sent back.
fn parse_etag(value: &[u8]) -> Option<Etag> {
    let text = core::str::from_utf8(value).ok()?;
    let is_quoted = text.strip_prefix("W/").unwrap_or(text).starts_with('"') && text.ends_with('"');
    (is_quoted && text.bytes().all(|b| b.is_ascii_graphic())).then(|| Etag::try_from(text).ok())?
}

impl<C: Read> Response<C> {
    /// Returns the length of the body in bytes.
    pub fn length(&self) -> u32 {
        self.length
    }

    /// Takes the bytes of the body that came with the head; they stand in this
    /// range of it.
    pub fn take_early(&mut self) -> Range<usize> {
        let early = core::mem::take(&mut self.early);
        self.left -= early.len() as u32;
        early
    }

    /// Reads the next bytes of the body; 0 at its end. Bytes after the stated
    /// length are never read. Those that came with the head have to be taken
    /// first, by [`Response::take_early`].
    ///
    /// # Errors
    /// [`HttpError::Transport`], [`HttpError::Late`], and
    /// [`HttpError::Truncated`] if the body ends before its stated length.
    pub async fn read<K: Clock>(
        &mut self,
        pace: &mut Pace<'_, K>,
        buffer: &mut [u8],
    ) -> Result<usize, HttpError<C::Error>> {
        let limit = buffer.len().min(self.left as usize);
        if limit == 0 {
            return Ok(0);
        }
        let read = pace.within(self.connection.read(&mut buffer[..limit])).await;
        let count = read.map_err(HttpError::Late)?.map_err(HttpError::Transport)?;
        if count == 0 {
            return Err(HttpError::Truncated);
        }
        pace.took(count).map_err(HttpError::Late)?;
        self.left -= count as u32;
        Ok(count)
    }

    /// Reads the whole body into the front of `buffer`; `None` if it does not
    /// fit. `head` is what the head was read into.
    ///
    /// # Errors
    /// As [`Response::read`].
    pub async fn read_all<'b, K: Clock>(
        mut self,
        pace: &mut Pace<'_, K>,
        head: &[u8; HEAD],
        buffer: &'b mut [u8],
    ) -> Result<Option<&'b mut [u8]>, HttpError<C::Error>> {
        let Some(body) = buffer.get_mut(..self.length as usize) else {
            return Ok(None);
        };
        let early = &head[self.take_early()];
        body[..early.len()].copy_from_slice(early);
        let mut filled = early.len();
        while filled < body.len() {
            filled += self.read(pace, &mut body[filled..]).await?;
        }
        Ok(Some(body))
    }

    /// Returns the `Location` of a redirect, as it stands in `head`.
    pub fn location<'h>(&self, head: &'h [u8; HEAD]) -> Option<&'h str> {
        core::str::from_utf8(&head[self.location.clone()]).ok()
    }
}

impl<E: Debug> fmt::Display for HttpError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transport(error) => write!(f, "the connection failed: {error:?}"),
            Self::Malformed => f.write_str("the answer is not HTTP/1.1 or its head too large"),
            Self::Late(late) => Display::fmt(late, f),
            Self::Status(status) => write!(f, "the host answered with status {status}"),
            Self::Redirect => f.write_str(
                "the host redirects too often, elsewhere, or to something other than https",
            ),
            Self::NoLength => f.write_str("the host states no Content-Length"),
            Self::Range => f.write_str("the host sent another range than it was asked for"),
            Self::Truncated => f.write_str("the connection ended too early"),
            Self::Url => f.write_str("the URL is too long"),
        }
    }
}

impl<E: Debug> core::error::Error for HttpError<E> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pace::Limits;
    use core::{convert::Infallible, time::Duration};
    use embassy_futures::block_on;
    use embedded_io_async::ErrorType;
    use proptest::prelude::*;
    use std::{format, string::String, vec::Vec};

    /// A host that answers with fixed bytes, a few at a time.
    struct Canned {
        answer: &'static [u8],
        request: Vec<u8>,
    }

    struct Connection<'c>(&'c mut Canned);

    impl ErrorType for Connection<'_> {
        type Error = Infallible;
    }

    impl Read for Connection<'_> {
        async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Infallible> {
            let count = buffer.len().min(7).min(self.0.answer.len());
            let (bytes, rest) = self.0.answer.split_at(count);
            buffer[..count].copy_from_slice(bytes);
            self.0.answer = rest;
            Ok(count)
        }
    }

    impl Write for Connection<'_> {
        async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
            self.0.request.extend(bytes);
            Ok(bytes.len())
        }

        async fn flush(&mut self) -> Result<(), Infallible> {
            Ok(())
        }
    }

    impl Connect for Canned {
        type Connection<'c> = Connection<'c>;
        type Error = Infallible;

        async fn connect(&mut self, _: &str, _: u16) -> Result<Connection<'_>, Infallible> {
            Ok(Connection(self))
        }
    }

    /// Time stands still.
    struct Still;

    impl Clock for Still {
        fn uptime(&self) -> Duration {
            Duration::ZERO
        }

        async fn wait(&self, _: Duration) {
            core::future::pending::<()>().await;
        }
    }

    fn url() -> Url<'static> {
        Url::parse("https://example.org/a").unwrap()
    }

    fn fetch(answer: &'static str) -> Result<String, HttpError<Infallible>> {
        fetch_as(answer, Request::whole(url())).map(|(_, body)| body)
    }

    fn fetch_as(
        answer: &'static str,
        request: Request<'_>,
    ) -> Result<(Status, String), HttpError<Infallible>> {
        let mut host = Canned { answer: answer.as_bytes(), request: Vec::new() };
        let mut head = [0; HEAD];
        let mut body = [0; 64];
        let mut pace = Pace::new(&Still, Limits::DEFAULT);
        block_on(async {
            let response = get(&mut host, &mut pace, &request, &mut head).await?;
            let status = response.status;
            let body = response.read_all(&mut pace, &head, &mut body).await?.expect("fits");
            Ok((status, String::from_utf8(body.to_vec()).unwrap()))
        })
    }

    #[test]
    fn a_body_of_stated_length_is_read() {
        assert_eq!(fetch("HTTP/1.1 200 OK\r\ncontent-LENGTH: 5\r\n\r\nhello"), Ok("hello".into()));
    }

    #[test]
    fn bytes_after_the_stated_length_are_not_read() {
        assert_eq!(fetch("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhello"), Ok("he".into()));
    }

    #[test]
    fn the_largest_length_leaves_the_early_bytes_in_the_head() {
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 4294967295\r\n\r\nhello";
        let mut host = Canned { answer: answer.as_bytes(), request: Vec::new() };
        let (mut head, mut pace) = ([0; HEAD], Pace::new(&Still, Limits::DEFAULT));
        let request = Request::whole(url());
        let mut response = block_on(get(&mut host, &mut pace, &request, &mut head)).unwrap();
        let early = response.take_early();
        assert!(b"hello".starts_with(&head[early]));
    }

    #[test]
    fn an_answer_without_a_sound_length_is_refused() {
        for headers in [
            "",
            "Transfer-Encoding: chunked\r\n",
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            "Content-Length: +5\r\n",
            "Content-Length: -5\r\n",
            "Content-Length: 4294967296\r\n",
        ] {
            let answer = format!("HTTP/1.1 200 OK\r\n{headers}\r\nhello").leak();
            assert_eq!(fetch(answer), Err(HttpError::NoLength), "{headers}");
        }
    }

    #[test]
    fn a_truncated_answer_is_an_error() {
        for answer in [
            "",
            "HTTP/1.1 200 OK\r\nContent-Le",
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
        ] {
            assert_eq!(fetch(answer), Err(HttpError::Truncated), "{answer}");
        }
    }

    #[test]
    fn other_statuses_are_errors() {
        for status in [201, 206, 300, 304, 404, 416, 429, 500] {
            let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
            assert_eq!(fetch(answer.leak()), Err(HttpError::Status(status)));
        }
    }

    #[test]
    fn only_the_rest_that_was_asked_for_is_taken() {
        let rest = Request { from: 4, ..Request::whole(url()) };
        let ask = |range: &str| {
            let answer =
                format!("HTTP/1.1 206 X\r\nContent-Range: {range}\r\nContent-Length: 2\r\n\r\nef");
            fetch_as(answer.leak(), rest)
        };
        assert_eq!(ask("bytes 4-5/6"), Ok((Status::Rest { size: 6 }, "ef".into())));
        for range in [
            "bytes 3-4/6",
            "bytes 4-5/7",
            "bytes 4-5/*",
            "bytes 4-6/7",
            "bytes */6",
            "4-5/6",
            "bytes 4-4294967295/0",
            "bytes 4-2/3",
            "bytes 4-3/4",
        ] {
            assert_eq!(ask(range), Err(HttpError::Range), "{range}");
        }
    }

    #[test]
    fn an_unchanged_file_has_no_body() {
        let request = Request { if_none_match: Some("\"a\""), ..Request::whole(url()) };
        let answer = "HTTP/1.1 304 X\r\nETag: \"a\"\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(fetch_as(answer, request), Ok((Status::NotModified, String::new())));
    }

    #[test]
    fn an_endless_head_is_refused() {
        let answer = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(HEAD)).leak();
        assert_eq!(fetch(answer), Err(HttpError::Malformed));
        assert_eq!(fetch("SSH-2.0-x\r\n\r\n"), Err(HttpError::Malformed));
    }

    #[test]
    fn the_request_is_one_get_with_the_host() {
        let mut host = Canned { answer: b"", request: Vec::new() };
        let mut pace = Pace::new(&Still, Limits::DEFAULT);
        let request = Request { if_none_match: Some("W/\"x\""), from: 7, url: url() };
        let _ = block_on(get(&mut host, &mut pace, &request, &mut [0; HEAD]));
        let request = String::from_utf8(host.request).unwrap();
        let agent = env!("CARGO_PKG_VERSION");
        assert_eq!(
            request,
            format!(
                "GET /a HTTP/1.1\r\nHost: example.org\r\nUser-Agent: towline/{agent}\r\n\
                 Connection: close\r\nIf-None-Match: W/\"x\"\r\nRange: bytes=7-\r\n\r\n"
            )
        );
    }

    proptest! {
        #[test]
        fn any_head_never_panics_and_states_where_things_are(
            lines in proptest::collection::vec(
                prop_oneof![
                    "Content-Length: [0-9]{0,10}",
                    "Content-Range: bytes [0-9]{0,2}-[0-9]{0,2}/[0-9*]{0,2}",
                    "ETag: (W/)?\"?[ -~]{0,80}\"?",
                    "Location: [ -~]{0,40}",
                    "[A-Za-z-]{0,9}:?[ -~]{0,30}",
                ],
                0..8,
            ),
            status in prop_oneof![Just(200_u16), Just(206), Just(304), Just(416), 0..1000_u16],
            from in 0_u32..3, conditional in any::<bool>(), cut in 0_usize..400,
        ) {
            let text = format!("HTTP/1.1 {status:03} X\r\n{}\r\n\r\nbody", lines.join("\r\n"));
            let head = &text.as_bytes()[..text.len().min(cut)];
            let if_none_match = conditional.then_some("\"a\"");
            let request = Request { url: url(), if_none_match, from };
            if let Ok(Some(parsed)) = parse_head::<Infallible>(head, &request) {
                prop_assert!(parsed.body <= head.len());
                prop_assert!(head.get(parsed.location).is_some());
            }
        }
    }
}
