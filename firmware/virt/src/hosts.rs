//! Names that no name server knows.

use core::net::{IpAddr, Ipv4Addr};
use embassy_net::dns::{DnsSocket, Error};
use embedded_nal_async::{AddrType, Dns};

/// One name with a fixed address, and a resolver for all others.
pub(crate) struct Hosts<'a> {
    fixed: Option<(&'a str, Ipv4Addr)>,
    dns: DnsSocket<'a>,
}

impl<'a> Hosts<'a> {
    /// Takes a line `NAME=ADDRESS`.
    pub(crate) fn new(line: Option<&'a str>, dns: DnsSocket<'a>) -> Self {
        let fixed = line.and_then(|line| {
            let (name, address) = line.trim().split_once('=')?;
            Some((name, address.parse().ok()?))
        });
        Self { fixed, dns }
    }
}

impl Dns for Hosts<'_> {
    type Error = Error;

    async fn get_host_by_name(&self, host: &str, kind: AddrType) -> Result<IpAddr, Error> {
        match self.fixed {
            Some((name, address)) if name.eq_ignore_ascii_case(host) => Ok(address.into()),
            _ => self.dns.get_host_by_name(host, kind).await,
        }
    }

    async fn get_host_by_address(&self, address: IpAddr, name: &mut [u8]) -> Result<usize, Error> {
        self.dns.get_host_by_address(address, name).await
    }
}
