//! TCP without TLS, to the host of the emulator and nowhere else. It is there to
//! measure what TLS costs, in builds that are never published.

use core::net::{Ipv4Addr, SocketAddr};
use embedded_nal_async::{Dns, TcpConnect};
use towline::Connect;

/// The host, as the emulated network has it: the only peer there is.
const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

/// Opens TCP connections.
pub(crate) struct Connector<'a, T> {
    tcp: &'a T,
}

impl<'a, T> Connector<'a, T> {
    pub(crate) fn new(tcp: &'a T, _: &impl Dns) -> Self {
        Self { tcp }
    }
}

impl<T: TcpConnect> Connect for Connector<'_, T> {
    type Connection<'c>
        = T::Connection<'c>
    where
        Self: 'c;
    type Error = T::Error;

    async fn connect(&mut self, _: &str, port: u16) -> Result<T::Connection<'_>, T::Error> {
        self.tcp.connect(SocketAddr::new(HOST.into(), port)).await
    }
}
