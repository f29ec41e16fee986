//! Connections that the update client may trust, on a device.
//!
//! ```text
//! towline::transport::Connect <- Connector <- mbedtls <- TcpConnect, Dns (embassy-net)
//!                                               |
//!                                 anchors, host name, clock
//! ```
//!
//! TLS 1.2 and 1.3 over any stack that implements the traits of
//! `embedded-nal-async`, IPv4. A connection exists only if
//!
//! - the chain leads to an authority that is trusted: those that static
//!   hosts use (feature `public-roots`), those in the PEM file that the environment variable
//!   `TOWLINE_CA` names at build time, and those given to
//!   [`Connector::trusting`];
//! - the certificate is for the host that was asked for;
//! - all dates of the chain are right by [`clock`]. While that is not set there
//!   is no connection at all, unless [`Connector::while_clock_is_unset`] says
//!   otherwise.
//!
//! Nothing of this can be switched off.
//!
//! # What it costs
//!
//! Of each root certificate only name and key are kept, in flash, and no memory;
//! only the one that a certificate names is ever parsed. `build.rs` lists whose
//! roots these are, and what they take. Measured by `cargo xtask virt figures`
//! on RV32IMAC: a connection takes 30 KB of heap at its peak, and 4.6 KB more
//! stack than plain TCP. Records of full size (16 KiB) are received, for hosts
//! send them.
//!
//! # What the build needs
//!
//! mbedtls is built from source, because the library that `mbedtls-rs-sys`
//! ships does not look at dates: clang, cmake, ninja and libclang (on Debian
//! `apt-get install clang cmake ninja-build libclang-dev`). A program needs a
//! heap and, outside of ESP chips, the C functions that `tinyrlibc` has.
//!
//! # The private authority
//!
//! `TOWLINE_CA` is the absolute path of a PEM file; its certificates are trusted
//! beside the public ones, or alone without the feature `public-roots`.
#![no_std]
#![allow(unsafe_code, reason = "an adapter to mbedtls, which is C")]

extern crate alloc;

mod anchor;
pub mod clock;
mod error;
mod random;
mod session;
mod verify;

/// What the build script wrote.
mod built {
    include!(concat!(env!("OUT_DIR"), "/built.rs"));
}

pub use anchor::Anchor;
pub use error::TlsError;

use core::{
    ffi::CStr,
    net::{Ipv4Addr, SocketAddr},
};
use embedded_io_async::{Error, ErrorType, Read, Write};
use embedded_nal_async::{AddrType, Dns, TcpConnect};
use rand_core::CryptoRng;
use session::Session;
use towline::transport::Connect;
use verify::Verifier;

/// The longest host name.
const MAX_HOST: usize = 253;

/// mbedtls, with a source of random numbers. There is one.
#[derive(Debug)]
pub struct Engine {
    _only: (),
}

/// There is an engine already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlreadyStarted;

impl Engine {
    /// Starts mbedtls with a generator that is fit for keys: on a chip, the
    /// true random number generator while the radio runs.
    ///
    /// # Errors
    /// [`AlreadyStarted`].
    pub fn start(generator: &'static mut (dyn CryptoRng + Send)) -> Result<Self, AlreadyStarted> {
        random::install(generator)?;
        clock::install();
        Ok(Self { _only: () })
    }
}

/// Opens TLS connections.
pub struct Connector<'a, T, D> {
    tcp: &'a T,
    dns: &'a D,
    trusted: &'a [Anchor<'a>],
    dates_need_clock: bool,
    _engine: &'a Engine,
}

impl<'a, T: TcpConnect, D: Dns> Connector<'a, T, D> {
    /// Makes a connector that trusts what the firmware was built to trust.
    pub const fn new(engine: &'a Engine, tcp: &'a T, dns: &'a D) -> Self {
        Self { tcp, dns, trusted: &[], dates_need_clock: true, _engine: engine }
    }

    /// Trusts these authorities too, such as one that the device was given with
    /// its settings.
    #[must_use]
    pub const fn trusting(mut self, anchors: &'a [Anchor<'a>]) -> Self {
        self.trusted = anchors;
        self
    }

    /// Connects while the clock is not set too, and passes over the dates of
    /// certificates then; all else is checked as ever.
    ///
    /// This is for devices that cannot have the time. A certificate that was
    /// stolen and has expired is believed.
    #[must_use]
    pub const fn while_clock_is_unset(mut self) -> Self {
        self.dates_need_clock = false;
        self
    }

    async fn address(&self, host: &str, port: u16) -> Result<SocketAddr, TlsError> {
        let address = match host.parse::<Ipv4Addr>() {
            Ok(address) => address.into(),
            Err(_) => {
                self.dns.get_host_by_name(host, AddrType::IPv4).await.map_err(|_| TlsError::Dns)?
            }
        };
        Ok(SocketAddr::new(address, port))
    }
}

impl<T: TcpConnect, D: Dns> Connect for Connector<'_, T, D> {
    type Connection<'c>
        = Connection<'c, T::Connection<'c>>
    where
        Self: 'c;
    type Error = TlsError;

    async fn connect(&mut self, host: &str, port: u16) -> Result<Self::Connection<'_>, TlsError> {
        let ignore_dates = clock::now().is_none();
        if ignore_dates && self.dates_need_clock {
            return Err(TlsError::ClockUnset);
        }
        let mut name = [0; MAX_HOST + 1];
        let name = terminated(&mut name, host).ok_or(TlsError::HostName)?;
        let address = self.address(host, port).await?;
        let stream =
            self.tcp.connect(address).await.map_err(|error| TlsError::Tcp(error.kind()))?;
        let anchors = [self.trusted, built::PRIVATE, built::PUBLIC];
        let verifier = Verifier { anchors, ignore_dates, faults: 0 };
        Ok(Connection(Session::connect(stream, name, verifier).await?))
    }
}

/// Returns a host name as C takes it.
fn terminated<'b>(buffer: &'b mut [u8; MAX_HOST + 1], host: &str) -> Option<&'b CStr> {
    if host.is_empty() || host.len() > MAX_HOST {
        return None;
    }
    buffer[..host.len()].copy_from_slice(host.as_bytes());
    CStr::from_bytes_with_nul(&buffer[..=host.len()]).ok()
}

/// A connection whose peer was authenticated; dropping it closes it.
///
/// An operation that is given up (its future dropped) leaves the connection
/// unusable: further ones are [`TlsError::Abandoned`].
pub struct Connection<'c, S>(Session<'c, S>);

impl<S> ErrorType for Connection<'_, S> {
    type Error = TlsError;
}

impl<S: Read + Write> Read for Connection<'_, S> {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, TlsError> {
        self.0.read(buffer).await
    }
}

impl<S: Read + Write> Write for Connection<'_, S> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, TlsError> {
        self.0.write(bytes).await
    }

    async fn flush(&mut self) -> Result<(), TlsError> {
        self.0.flush().await
    }
}
