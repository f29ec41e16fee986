//! The site on this machine, as a static host serves it.
//!
//! HTTPS uses a certificate authority that is made when the server starts; its
//! key never leaves memory, its certificate is handed out for clients to
//! trust.

use crate::demo::Demo;
use http_body_util::{Either, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    header::{
        ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, ETAG, HeaderValue, IF_NONE_MATCH,
        X_CONTENT_TYPE_OPTIONS,
    },
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
};
use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::UNIX_EPOCH,
};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;
use tower_http::services::{ServeDir, fs::ServeFileSystemResponseBody};

/// A server that is bound to its address and not running yet.
pub struct Server {
    listener: std::net::TcpListener,
    site: Mounted,
    tls: Option<TlsAcceptor>,
}

/// A folder, and the path of its URL.
struct Mounted {
    root: PathBuf,
    /// With a slash at its start and none at its end; empty for the top.
    prefix: String,
    /// Emulated boards behind the page.
    demo: Option<Demo>,
}

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is taken, or the folder is none.
    #[error("{0}: {1}")]
    Io(String, io::Error),
    /// No certificate could be made.
    #[error("no certificate could be made: {0}")]
    Certificate(#[from] rcgen::Error),
    /// TLS refuses the certificate.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

/// What a server needs for HTTPS, and what its clients have to trust.
pub struct Identity {
    acceptor: TlsAcceptor,
    /// Certificate of the authority, as PEM.
    pub authority: String,
}

impl Identity {
    /// Makes an authority and a certificate for these host names and
    /// addresses.
    ///
    /// # Errors
    /// If a name is none.
    pub fn new(names: &[String]) -> Result<Self, ServeError> {
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        authority.distinguished_name.push(DnType::CommonName, "Towline loopback authority");
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(names)?.signed_by(&key, &authority)?;
        Self::with_chain(vec![certificate.der().clone()], &key, authority.pem())
    }

    /// Makes an identity of a chain of certificates, the host's first, the key
    /// of the host, and the authority that clients are to trust.
    ///
    /// # Errors
    /// If the key is not that of the first certificate.
    pub fn with_chain(
        chain: Vec<CertificateDer<'static>>,
        key: &KeyPair,
        authority: String,
    ) -> Result<Self, ServeError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, PrivatePkcs8KeyDer::from(key.serialize_der()).into())?;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), authority })
    }
}

impl Server {
    /// Binds to `address` to serve the folder `root`, over TLS if there is an
    /// identity. It is found at the top and below `prefix`, the path of the URL
    /// that it will be published at.
    ///
    /// # Errors
    /// If the address is taken or the folder missing.
    pub fn bind(
        address: SocketAddr,
        root: &Path,
        prefix: &str,
        identity: Option<&Identity>,
    ) -> Result<Self, ServeError> {
        let named = |what: &dyn ToString, error| ServeError::Io(what.to_string(), error);
        root.read_dir().map_err(|error| named(&root.display(), error))?;
        let listener =
            std::net::TcpListener::bind(address).map_err(|error| named(&address, error))?;
        listener.set_nonblocking(true).map_err(|error| named(&address, error))?;
        let tls = identity.map(|identity| identity.acceptor.clone());
        let prefix = prefix.trim_end_matches('/').to_owned();
        Ok(Self { listener, site: Mounted { root: root.to_owned(), prefix, demo: None }, tls })
    }

    /// Puts emulated boards behind the page.
    #[must_use]
    pub fn with_demo(mut self, demo: Demo) -> Self {
        self.site.demo = Some(demo);
        self
    }

    /// Returns the address that the server is bound to.
    ///
    /// # Errors
    /// If the system does not know it.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until the process ends. `log` is given a line for each request.
    ///
    /// # Errors
    /// If the runtime cannot start.
    pub fn run(self, log: impl Fn(&str) + Send + Sync + 'static) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (log, site) = (Arc::new(log), Arc::new(self.site));
        runtime.block_on(async {
            let listener = TcpListener::from_std(self.listener)?;
            loop {
                let Ok((tcp, _)) = listener.accept().await else { continue };
                // A page and its board talk in short messages.
                let _ = tcp.set_nodelay(true);
                let (tls, site, log) = (self.tls.clone(), site.clone(), log.clone());
                tokio::spawn(async move {
                    let service =
                        service_fn(move |request| answer(site.clone(), request, log.clone()));
                    let http = hyper::server::conn::http1::Builder::new();
                    // A client that breaks off is no concern of the server.
                    match tls {
                        None => drop(
                            http.serve_connection(TokioIo::new(tcp), service).with_upgrades().await,
                        ),
                        Some(tls) => {
                            if let Ok(tls) = tls.accept(tcp).await {
                                let connection = http.serve_connection(TokioIo::new(tls), service);
                                drop(connection.with_upgrades().await);
                            }
                        }
                    }
                });
            }
        })
    }
}

type Answer = Response<Either<ServeFileSystemResponseBody, Full<Bytes>>>;

/// Answers one request as common static hosts do: with an `ETag`, ten
/// minutes of cache, and open to other origins.
async fn answer(
    site: Arc<Mounted>,
    mut request: Request<Incoming>,
    log: Arc<impl Fn(&str)>,
) -> Result<Answer, Infallible> {
    let line = format!("{} {}", request.method(), request.uri().path());
    let path = request.uri().path();
    let path = match path.strip_prefix(&site.prefix) {
        Some(rest) if rest.starts_with('/') => rest,
        _ => path,
    };
    let path = path.to_owned();
    if let Some(demo) = &site.demo
        && let Some(response) = demo.answer(&mut request, &path, &site.root)
    {
        log(&format!("{} {line}", response.status().as_u16()));
        return Ok(response.map(Either::Right));
    }
    let tag = etag(&site.root, &path);
    if let Ok(uri) = path.parse() {
        *request.uri_mut() = uri;
    }
    let known = request.headers().get(IF_NONE_MATCH).cloned();
    let Ok(mut response) = ServeDir::new(&site.root).oneshot(request).await;
    if let (true, Some(tag)) = (response.status().is_success(), tag) {
        if known.is_some_and(|known| known == tag) {
            response = Response::default();
            *response.status_mut() = hyper::StatusCode::NOT_MODIFIED;
        }
        response.headers_mut().insert(ETAG, tag);
    }
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=600"));
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    log(&format!("{} {line}", response.status().as_u16()));
    Ok(response.map(Either::Left))
}

/// Returns a tag that changes with a file: its time and size.
fn etag(root: &Path, path: &str) -> Option<HeaderValue> {
    let file = root.join(path.trim_start_matches('/')).metadata().ok()?;
    let modified = file.modified().ok()?.duration_since(UNIX_EPOCH).ok()?.as_nanos();
    HeaderValue::from_str(&format!("\"{modified:x}-{:x}\"", file.len())).ok()
}
