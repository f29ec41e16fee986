//! A static host in memory, for what is about storage and not about networks.

use embedded_io_async::{ErrorType, Read, Write};
use sha2::{Digest, Sha256 as Hasher};
use std::{collections::BTreeMap, convert::Infallible, sync::Arc};
use towline::transport::Connect;

/// Serves files as a static host does: `Content-Length`, `ETag`, `Range` and
/// `If-None-Match`, one request a connection.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    files: BTreeMap<String, File>,
    /// Bytes of bodies that were fetched from it, since it was made.
    pub sent: usize,
    /// Paths that it was asked for, since it was made.
    pub asked: Vec<String>,
    /// After how many bytes of a body it loses each connection.
    pub loses_after: Option<usize>,
    /// Whether it serves all of a file whatever it is asked for.
    pub ignores_ranges: bool,
    /// What it answers for a path that it does not have: the whole answer, if
    /// that is not 404.
    pub fallback: Option<Vec<u8>>,
}

#[derive(Clone, Debug)]
struct File {
    bytes: Arc<[u8]>,
    etag: Arc<str>,
}

/// A connection to an [`Origin`].
#[derive(Debug)]
pub struct OriginConnection<'o> {
    origin: &'o mut Origin,
    request: Vec<u8>,
    answer: Vec<u8>,
    at: usize,
    /// Where the body starts in the answer.
    body: usize,
}

impl Connect for Origin {
    type Connection<'o> = OriginConnection<'o>;
    type Error = Infallible;

    async fn connect(&mut self, _: &str, _: u16) -> Result<OriginConnection<'_>, Infallible> {
        let (request, answer) = (Vec::new(), Vec::new());
        Ok(OriginConnection { origin: self, request, answer, at: 0, body: 0 })
    }
}

impl ErrorType for OriginConnection<'_> {
    type Error = Infallible;
}

impl Write for OriginConnection<'_> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        self.request.extend(bytes);
        if self.request.ends_with(b"\r\n\r\n") {
            let request = String::from_utf8_lossy(&self.request).into_owned();
            self.origin.asked.extend(request.split(' ').nth(1).map(str::to_owned));
            let mut answer = self.origin.answer(&request);
            self.body = answer.windows(4).position(|end| end == b"\r\n\r\n").unwrap_or(0) + 4;
            if let Some(most) = self.origin.loses_after {
                answer.truncate(self.body + most);
            }
            self.answer = answer;
        }
        Ok(bytes.len())
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

impl Read for OriginConnection<'_> {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Infallible> {
        let left = &self.answer[self.at..];
        let count = left.len().min(buffer.len());
        buffer[..count].copy_from_slice(&left[..count]);
        let before = self.at.max(self.body);
        self.at += count;
        self.origin.sent += self.at.saturating_sub(before);
        Ok(count)
    }
}

impl Origin {
    /// Serves `bytes` under `path` from now on.
    pub fn serve(&mut self, path: &str, bytes: Vec<u8>) {
        let etag = format!("\"{:016x}\"", short(&bytes));
        let file = File { bytes: bytes.into(), etag: etag.into() };
        self.files.insert(path.to_owned(), file);
    }

    /// Serves nothing under `path` any more.
    pub fn withdraw(&mut self, path: &str) {
        self.files.remove(path);
    }

    /// Returns the whole answer to a request, whose head this is.
    pub fn answer(&self, request: &str) -> Vec<u8> {
        let path = request.split(' ').nth(1).unwrap_or_default();
        let header = |name: &str| {
            request.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        };
        let Some(File { bytes: file, etag }) = self.files.get(path) else {
            if let Some(answer) = &self.fallback {
                return answer.clone();
            }
            return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec();
        };
        if header("If-None-Match") == Some(etag) {
            return format!("HTTP/1.1 304 Not Modified\r\nETag: {etag}\r\n\r\n").into_bytes();
        }
        let range = header("Range").filter(|_| !self.ignores_ranges);
        let from = range.and_then(|range| {
            range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok()
        });
        let status = match from {
            Some(from) if from >= file.len() => "416 Range Not Satisfiable\r\n".to_owned(),
            Some(from) => {
                let (last, size) = (file.len() - 1, file.len());
                format!("206 Partial Content\r\nContent-Range: bytes {from}-{last}/{size}\r\n")
            }
            None => "200 OK\r\n".to_owned(),
        };
        let body = &file[from.unwrap_or(0).min(file.len())..];
        let mut answer =
            format!("HTTP/1.1 {status}ETag: {etag}\r\nContent-Length: {}\r\n\r\n", body.len())
                .into_bytes();
        answer.extend(body);
        answer
    }
}

/// Returns the first 8 bytes of the SHA-256.
fn short(bytes: &[u8]) -> u64 {
    Hasher::digest(bytes)[..8].iter().fold(0, |short, byte| short << 8 | u64::from(*byte))
}
