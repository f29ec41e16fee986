//! The head of an answer as the devices of Towline read it.

use super::Reply;
use embassy_futures::block_on;
use embedded_io_async::{ErrorType, Read, Write};
use std::convert::Infallible;
use towline::{
    Connect, Limits, Pace,
    http::{self, HttpError, Request},
};
use towline_descriptor::Url;
use towline_sim::HostClock;

/// Says why a device would not take this answer.
pub(in crate::check) fn refusal(url: Url<'_>, reply: &Reply) -> Option<HttpError<Infallible>> {
    let mut text = format!("HTTP/1.1 {} \r\n", reply.status).into_bytes();
    for (name, value) in &reply.headers {
        text.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    text.extend(b"\r\n");
    let clock = HostClock::new();
    let mut pace = Pace::new(&clock, Limits::DEFAULT);
    let mut net = Said(&text);
    let mut head = [0; http::HEAD];
    block_on(http::get(&mut net, &mut pace, &Request::whole(url), &mut head)).err()
}

/// What a host said, to be heard again.
struct Said<'s>(&'s [u8]);

impl Connect for Said<'_> {
    type Connection<'c>
        = Said<'c>
    where
        Self: 'c;
    type Error = Infallible;

    async fn connect(&mut self, _: &str, _: u16) -> Result<Said<'_>, Infallible> {
        Ok(Said(self.0))
    }
}

impl ErrorType for Said<'_> {
    type Error = Infallible;
}

impl Read for Said<'_> {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Infallible> {
        self.0.read(buffer).await
    }
}

impl Write for Said<'_> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        Ok(bytes.len())
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}
