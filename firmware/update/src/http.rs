//! The part of HTTP/1.1 that a static host needs: one GET a connection.
//!
//! Strict on purpose: the length has to be stated, nothing is redirected,
//! nothing is chunked. What is accepted here is what the small readers in the
//! field accept too.

use crate::transport::Connect;
use core::fmt::{self, Debug, Write as _};
use embedded_io_async::{Read, Write};

/// Size in bytes of the buffer for the head of a response. Common static hosts
/// send 0.6 to 1.2 KiB.
pub const HEAD: usize = 2048;

const MAX_HEADERS: usize = 48;

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpError<E> {
    /// Connecting, reading or writing failed.
    Transport(E),
    /// The answer is not HTTP/1.1, or its head is larger than [`HEAD`].
    Malformed,
    /// The host answered with this status; 200 was expected.
    Status(u16),
    /// The host stated no `Content-Length`, or sends the body in chunks.
    NoLength,
    /// The connection ended before the body did.
    Truncated,
    /// The URL is too long for a request.
    Url,
}

/// A response whose body is still to be read.
pub struct Response<'b, C> {
    connection: C,
    /// Body bytes that came with the head.
    early: &'b [u8],
    left: u32,
    length: u32,
}

/// Sends a GET request and reads the head of the response into `head`.
///
/// # Errors
/// [`HttpError`], for any status other than 200 too.
pub async fn get<'b, 'n, N: Connect>(
    net: &'n mut N,
    host: &str,
    port: u16,
    path: &str,
    head: &'b mut [u8; HEAD],
) -> Result<Response<'b, N::Connection<'n>>, HttpError<N::Error>> {
    let mut connection = net.connect(host, port).await.map_err(HttpError::Transport)?;
    let request = write_request(head, host, port, path).ok_or(HttpError::Url)?;
    connection.write_all(request).await.map_err(HttpError::Transport)?;
    connection.flush().await.map_err(HttpError::Transport)?;

    let mut filled = 0;
    loop {
        let count = connection.read(&mut head[filled..]).await.map_err(HttpError::Transport)?;
        filled += count;
        match parse_head(&head[..filled])? {
            Some((body, length)) => {
                let early = filled - body;
                let early = early.min(length as usize);
                return Ok(Response {
                    connection,
                    early: &head[body..body + early],
                    left: length,
                    length,
                });
            }
            None if count == 0 => {
                return Err(if filled == HEAD {
                    HttpError::Malformed
                } else {
                    HttpError::Truncated
                });
            }
            None => {}
        }
    }
}

/// Writes a request into the buffer: in one piece, so that it travels in one
/// record. `None` if it does not fit.
fn write_request<'b>(
    buffer: &'b mut [u8; HEAD],
    host: &str,
    port: u16,
    path: &str,
) -> Option<&'b [u8]> {
    let mut request = Cursor { buffer, len: 0 };
    write!(request, "GET {path} HTTP/1.1\r\nHost: {host}").ok()?;
    if port != 443 {
        write!(request, ":{port}").ok()?;
    }
    let agent = concat!("towline/", env!("CARGO_PKG_VERSION"));
    write!(request, "\r\nUser-Agent: {agent}\r\nAccept: */*\r\nConnection: close\r\n\r\n").ok()?;
    Some(&request.buffer[..request.len])
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

/// Returns where the body starts and how long it is, once the head is whole.
fn parse_head<E>(head: &[u8]) -> Result<Option<(usize, u32)>, HttpError<E>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let body = match response.parse(head) {
        Ok(httparse::Status::Complete(body)) => body,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(HttpError::Malformed),
    };
    match response.code {
        Some(200) => {}
        Some(status) => return Err(HttpError::Status(status)),
        None => return Err(HttpError::Malformed),
    }
    let mut length = None;
    for header in response.headers.iter() {
        if header.name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(HttpError::NoLength);
        }
        if header.name.eq_ignore_ascii_case("content-length") {
            let stated = parse_length(header.value).ok_or(HttpError::NoLength)?;
            if length.is_some_and(|length| length != stated) {
                return Err(HttpError::NoLength);
            }
            length = Some(stated);
        }
    }
    Ok(Some((body, length.ok_or(HttpError::NoLength)?)))
}

fn parse_length(value: &[u8]) -> Option<u32> {
    let text = core::str::from_utf8(value).ok()?;
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

impl<C: Read> Response<'_, C> {
    /// Returns the length of the body in bytes.
    pub fn length(&self) -> u32 {
        self.length
    }

    /// Reads the next bytes of the body; 0 at its end. Bytes after the stated
    /// length are never read.
    ///
    /// # Errors
    /// [`HttpError::Transport`], and [`HttpError::Truncated`] if the body ends
    /// before its stated length.
    pub async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, HttpError<C::Error>> {
        let limit = buffer.len().min(self.left as usize);
        let buffer = &mut buffer[..limit];
        if buffer.is_empty() {
            return Ok(0);
        }
        let count = if self.early.is_empty() {
            self.connection.read(buffer).await.map_err(HttpError::Transport)?
        } else {
            let (bytes, rest) = self.early.split_at(self.early.len().min(limit));
            buffer[..bytes.len()].copy_from_slice(bytes);
            self.early = rest;
            bytes.len()
        };
        if count == 0 {
            return Err(HttpError::Truncated);
        }
        self.left -= count as u32;
        Ok(count)
    }

    /// Reads the whole body into the front of `buffer`; `None` if it does not
    /// fit.
    ///
    /// # Errors
    /// As [`Response::read`].
    pub async fn read_all(
        mut self,
        buffer: &mut [u8],
    ) -> Result<Option<&mut [u8]>, HttpError<C::Error>> {
        let Some(body) = buffer.get_mut(..self.length as usize) else {
            return Ok(None);
        };
        let mut filled = 0;
        while filled < body.len() {
            filled += self.read(&mut body[filled..]).await?;
        }
        Ok(Some(body))
    }
}

impl<E: Debug> fmt::Display for HttpError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transport(error) => write!(f, "the connection failed: {error:?}"),
            Self::Malformed => f.write_str("the answer is not HTTP/1.1 or its head too large"),
            Self::Status(status @ 300..400) => {
                write!(f, "the host redirects (status {status}); devices follow no redirect")
            }
            Self::Status(status) => write!(f, "the host answered with status {status}"),
            Self::NoLength => f.write_str("the host states no Content-Length"),
            Self::Truncated => f.write_str("the connection ended too early"),
            Self::Url => f.write_str("the URL is too long"),
        }
    }
}

impl<E: Debug> core::error::Error for HttpError<E> {}

#[cfg(test)]
mod tests {
    use super::*;
    use core::convert::Infallible;
    use embassy_futures::block_on;
    use embedded_io_async::ErrorType;
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

    fn fetch(answer: &'static str) -> Result<String, HttpError<Infallible>> {
        let mut host = Canned { answer: answer.as_bytes(), request: Vec::new() };
        let mut head = [0; HEAD];
        let mut body = [0; 64];
        block_on(async {
            let response = get(&mut host, "example.org", 443, "/a", &mut head).await?;
            let body = response.read_all(&mut body).await?.expect("fits");
            Ok(String::from_utf8(body.to_vec()).unwrap())
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
    fn redirects_and_errors_are_reported_with_their_status() {
        for status in [206, 301, 302, 304, 404, 429, 500] {
            let answer =
                format!("HTTP/1.1 {status} X\r\nLocation: http://x/\r\nContent-Length: 0\r\n\r\n");
            assert_eq!(fetch(answer.leak()), Err(HttpError::Status(status)));
        }
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
        let _ = block_on(get(&mut host, "example.org", 443, "/a/b.json", &mut [0; HEAD]));
        let request = String::from_utf8(host.request).unwrap();
        assert!(
            request.starts_with("GET /a/b.json HTTP/1.1\r\nHost: example.org\r\n"),
            "{request}"
        );
        assert!(request.ends_with("Connection: close\r\n\r\n"));
    }
}
