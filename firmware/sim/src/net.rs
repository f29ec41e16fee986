//! Connections of the host device: TCP, and TLS whose certificate is checked.

use embedded_io_async::{ErrorType, Read, Write};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    path::Path,
    sync::Arc,
    time::Duration,
};
use towline::transport::Connect;

const TIMEOUT: Duration = Duration::from_secs(30);

/// How hosts are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// TLS, as devices do.
    Https,
    /// Without encryption, and therefore only to this machine.
    LoopbackHttp,
}

/// The network of the host device.
pub struct Net {
    scheme: Scheme,
    tls: Arc<ClientConfig>,
    rehearsal: Option<SocketAddr>,
}

/// Why a connection failed.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The socket failed; a certificate that is not trusted shows here too.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// TLS cannot be set up for this host.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    /// The host is not a valid name or address.
    #[error("`{0}` is not a host name")]
    Host(String),
    /// Plain HTTP leads off this machine.
    #[error("plain http is for this machine only, `{0}` is another")]
    NotLoopback(String),
    /// The file of certificates is not readable PEM.
    #[error("{path}: no certificates in PEM form: {reason}")]
    Certificates {
        /// The file.
        path: String,
        /// What the parser says.
        reason: String,
    },
}

impl Net {
    /// Makes a network that trusts the public certificate authorities, and
    /// those in the PEM file `extra`.
    ///
    /// # Errors
    /// If `extra` holds no certificates.
    pub fn new(scheme: Scheme, extra: Option<&Path>) -> Result<Self, NetError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots(extra)?)
            .with_no_client_auth();
        Ok(Self { scheme, tls: Arc::new(tls), rehearsal: None })
    }

    /// Connects to `address` whatever the host is, to rehearse with a site that
    /// is not published yet. The certificate still has to be that of the host.
    #[must_use]
    pub fn rehearsed_at(mut self, address: Option<SocketAddr>) -> Self {
        self.rehearsal = address;
        self
    }
}

/// Returns the public certificate authorities, and those in the PEM file `extra`.
///
/// # Errors
/// If `extra` holds no certificates.
pub fn roots(extra: Option<&Path>) -> Result<RootCertStore, NetError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = extra {
        let fault =
            |reason: String| NetError::Certificates { path: path.display().to_string(), reason };
        let certificates = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| fault(error.to_string()))?;
        if certificates.is_empty() {
            return Err(fault("the file is empty".into()));
        }
        for certificate in certificates {
            roots.add(certificate).map_err(|error| fault(error.to_string()))?;
        }
    }
    Ok(roots)
}

impl Connect for Net {
    type Connection<'c> = Connection;
    type Error = NetError;

    async fn connect(&mut self, host: &str, port: u16) -> Result<Connection, NetError> {
        let addresses: Vec<_> = match self.rehearsal {
            Some(address) => vec![address],
            None => (host, port).to_socket_addrs()?.collect(),
        };
        if self.scheme == Scheme::LoopbackHttp && !addresses.iter().all(|a| a.ip().is_loopback()) {
            return Err(NetError::NotLoopback(host.into()));
        }
        let tcp = TcpStream::connect(&addresses[..])?;
        tcp.set_read_timeout(Some(TIMEOUT))?;
        tcp.set_write_timeout(Some(TIMEOUT))?;
        tcp.set_nodelay(true)?;
        Ok(match self.scheme {
            Scheme::LoopbackHttp => Connection::Plain(tcp),
            Scheme::Https => {
                let name = ServerName::try_from(host.to_owned())
                    .map_err(|_| NetError::Host(host.into()))?;
                let session = ClientConnection::new(self.tls.clone(), name)?;
                Connection::Tls(Box::new(StreamOwned::new(session, tcp)))
            }
        })
    }
}

/// An open connection. It blocks, so its futures are always ready.
#[derive(Debug)]
pub enum Connection {
    /// TCP.
    Plain(TcpStream),
    /// TLS over TCP.
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl embedded_io_async::Error for NetError {
    fn kind(&self) -> embedded_io_async::ErrorKind {
        match self {
            Self::Io(error) => error.kind().into(),
            _ => embedded_io_async::ErrorKind::Other,
        }
    }
}

impl ErrorType for Connection {
    type Error = NetError;
}

impl Read for Connection {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, NetError> {
        Ok(match self {
            Self::Plain(tcp) => tcp.read(buffer),
            Self::Tls(tls) => tls.read(buffer),
        }?)
    }
}

impl Write for Connection {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, NetError> {
        Ok(match self {
            Self::Plain(tcp) => tcp.write(bytes),
            Self::Tls(tls) => tls.write(bytes),
        }?)
    }

    async fn flush(&mut self) -> Result<(), NetError> {
        Ok(match self {
            Self::Plain(tcp) => tcp.flush(),
            Self::Tls(tls) => tls.flush(),
        }?)
    }
}
