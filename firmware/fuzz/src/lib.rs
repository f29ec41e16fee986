//! What the fuzz targets share: an input that is taken apart from its front, a
//! network that answers with it, and a device.
//!
//! ```text
//! input -> Input (a few bytes that choose) -> the rest: what the parser gets
//! ```
//!
//! A seed is therefore a few bytes followed by the thing itself.

use embedded_io_async::{ErrorType, Read, Write};
use std::convert::Infallible;
use towline::{Connect, descriptor::Chip};
use towline_sim::sample::app_image;

/// An input, taken apart from its front. It never ends: zeros follow.
#[derive(Clone, Copy, Debug)]
pub struct Input<'i>(&'i [u8]);

impl<'i> Input<'i> {
    /// Starts at the front of `data`.
    pub fn new(data: &'i [u8]) -> Self {
        Self(data)
    }

    /// Takes the next byte.
    pub fn byte(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    /// Takes the next byte as an index below `count`.
    pub fn below(&mut self, count: usize) -> usize {
        usize::from(self.byte()) % count
    }

    /// Takes a little-endian word.
    pub fn word(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    /// Takes the next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        let taken = self.take(N);
        bytes[..taken.len()].copy_from_slice(taken);
        bytes
    }

    /// Takes up to `len` bytes: fewer at the end.
    pub fn take(&mut self, len: usize) -> &'i [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Returns whether all of it was taken.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns what is left.
    pub fn rest(self) -> &'i [u8] {
        self.0
    }
}

/// A host that answers with fixed bytes, some at a time.
#[derive(Debug)]
pub struct Host<'a> {
    /// What it answers.
    pub answer: &'a [u8],
    /// How many bytes a read brings at most, at least 1.
    pub piece: usize,
    /// What it was asked.
    pub request: Vec<u8>,
}

/// A connection to a [`Host`].
#[derive(Debug)]
pub struct HostConnection<'c, 'a>(&'c mut Host<'a>);

impl<'a> Connect for Host<'a> {
    type Connection<'c>
        = HostConnection<'c, 'a>
    where
        Self: 'c;
    type Error = Infallible;

    async fn connect(&mut self, _: &str, _: u16) -> Result<HostConnection<'_, 'a>, Infallible> {
        Ok(HostConnection(self))
    }
}

impl ErrorType for HostConnection<'_, '_> {
    type Error = Infallible;
}

impl Read for HostConnection<'_, '_> {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Infallible> {
        let count = buffer.len().min(self.0.piece).min(self.0.answer.len());
        let (bytes, rest) = self.0.answer.split_at(count);
        buffer[..count].copy_from_slice(bytes);
        self.0.answer = rest;
        Ok(count)
    }
}

impl Write for HostConnection<'_, '_> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        self.0.request.extend(bytes);
        Ok(bytes.len())
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// Returns a sound image of this version, about `len` bytes long.
pub fn image(version: &str, len: usize) -> Vec<u8> {
    app_image(Chip::Esp32c3, "lamp", version, len)
}
