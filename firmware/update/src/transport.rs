//! What the client needs from the network.

use core::fmt;
use embedded_io_async::{Read, Write};

/// Opens connections that are encrypted and whose peer was authenticated.
///
/// An implementation checks the certificate chain, the host name and, once the
/// clock is set, the dates. The client relies on it: it never asks for a
/// connection that it would not trust.
#[expect(async_fn_in_trait, reason = "one executor, one thread: no Send needed on a chip")]
pub trait Connect {
    /// An open connection; dropping it closes it.
    type Connection<'c>: Read<Error = Self::Error> + Write
    where
        Self: 'c;
    /// Why connecting, reading or writing failed.
    type Error: fmt::Debug;

    /// Connects to `port` of `host`.
    ///
    /// # Errors
    /// If there is no such host, no connection, or no trust in its
    /// certificate.
    async fn connect(&mut self, host: &str, port: u16)
    -> Result<Self::Connection<'_>, Self::Error>;
}
