//! A client that shows what a host answers: one request after the other on a connection,
//! each thread on its own.

use super::url::origin;
use crate::check::{Code, Fault, files::too_large};
use http::{
    HeaderMap, HeaderValue, Request, Response, Uri,
    header::{CONTENT_LENGTH, HOST, USER_AGENT},
    uri::Authority,
};
use http_body_util::{BodyExt, Empty};
use hyper::{
    body::{Bytes, Incoming},
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use rustls::{
    AlertDescription, CertificateError, ClientConfig,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use std::{
    collections::BTreeSet,
    io,
    net::{SocketAddr, ToSocketAddrs},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{net::TcpStream, runtime, time::timeout};
use tokio_rustls::TlsConnector;
use towline_sim::{NetError, roots};

/// The longest time in which nothing comes.
const SILENCE: Duration = Duration::from_secs(30);

/// The longest time that a file may take.
const DEADLINE: Duration = Duration::from_secs(30 * 60);

/// The most bytes of a body that nobody asked for which are read to keep the connection.
const MAX_UNWANTED: u64 = 16 << 10;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Certificates that count for less than this expire soon.
const SOON: Duration = Duration::from_secs(14 * DAY.as_secs());

/// Those that are younger are not late to be renewed.
const YOUNG: Duration = Duration::from_secs(30 * DAY.as_secs());

/// What a host answers to a request.
#[derive(Clone, Debug, Default)]
pub(in crate::check) struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Reply {
    /// Returns a header, if it is text.
    pub(in crate::check) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Keeps connections for the next request to their host.
pub(in crate::check) struct Client {
    tls: TlsConnector,
    verifier: Arc<WebPkiServerVerifier>,
    /// Where to connect whatever the host is.
    rehearsal: Option<SocketAddr>,
    idle: Mutex<Vec<Session>>,
    expiring: Mutex<BTreeSet<String>>,
}

/// A connection that is open.
struct Session {
    origin: String,
    runtime: runtime::Runtime,
    sender: SendRequest<Empty<Bytes>>,
}

impl Client {
    /// Makes a client that trusts the public certificate authorities, as devices do, and
    /// those in the PEM file `trust`.
    pub(in crate::check) fn new(trust: Option<&Path>) -> Result<Self, NetError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let roots = Arc::new(roots(trust)?);
        let verifier = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider.clone())
            .build()
            .map_err(|error| io::Error::other(error.to_string()))?;
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            tls: Arc::new(config).into(),
            verifier,
            rehearsal: None,
            idle: Mutex::default(),
            expiring: Mutex::default(),
        })
    }

    /// Connects to `address` whatever the host is.
    pub(in crate::check) fn rehearsed_at(&mut self, address: Option<SocketAddr>) {
        self.rehearsal = address;
    }

    /// Returns the hosts whose certificates are about to expire.
    pub(in crate::check) fn expiring(&self) -> BTreeSet<String> {
        self.expiring.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks for `url`. The body is read if the answer has the status `wanted`.
    pub(in crate::check) fn get(
        &self,
        url: &str,
        headers: &HeaderMap,
        wanted: u16,
    ) -> Result<Reply, Fault> {
        let unfit = || Code::FileUnreadable.fault(format!("{url} is no URL to ask for"));
        let uri: Uri = url.parse().map_err(|_| unfit())?;
        let authority = uri.authority().map(Authority::as_str);
        let authority = authority.filter(|host| !host.contains('@')).ok_or_else(unfit)?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::get(path).body(Empty::new()).map_err(|_| unfit())?;
        *request.headers_mut() = headers.clone();
        let agent = concat!("towline/", env!("CARGO_PKG_VERSION"));
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(agent));
        let host = HeaderValue::from_str(authority).map_err(|_| unfit())?;
        request.headers_mut().insert(HOST, host);
        let kept = self.idle_to(origin(url));
        // The host may have closed it.
        match kept.and_then(|session| self.ask(session, request.clone(), wanted).ok()) {
            Some(received) => received,
            None => self.ask(self.connect(url, &uri)?, request, wanted)?,
        }
    }

    fn idle_to(&self, origin: &str) -> Option<Session> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let at = idle.iter().position(|session| session.origin == origin)?;
        Some(idle.swap_remove(at))
    }

    fn connect(&self, url: &str, uri: &Uri) -> Result<Session, Fault> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(unreachable)?;
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let is_tls = uri.scheme_str() != Some("http");
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let addresses: Vec<_> = match self.rehearsal {
            Some(address) => vec![address],
            None => (host.as_str(), port).to_socket_addrs().map_err(unreachable)?.collect(),
        };
        if !is_tls && !addresses.iter().all(|address| address.ip().is_loopback()) {
            return Err(unreachable(NetError::NotLoopback(host)));
        }
        let sender = runtime.block_on(async {
            let tcp = within(TcpStream::connect(&addresses[..])).await?.map_err(unreachable)?;
            tcp.set_nodelay(true).map_err(unreachable)?;
            if !is_tls {
                return opened(TokioIo::new(tcp)).await;
            }
            let name = ServerName::try_from(host.clone())
                .map_err(|_| unreachable(NetError::Host(host.clone())))?;
            let tls = within(self.tls.connect(name.clone(), tcp)).await?.map_err(refused)?;
            let chain = tls.get_ref().1.peer_certificates().unwrap_or_default();
            if self.expires_soon(chain, &name) {
                self.expiring.lock().unwrap_or_else(PoisonError::into_inner).insert(host);
            }
            opened(TokioIo::new(tls)).await
        })?;
        Ok(Session { origin: origin(url).to_owned(), runtime, sender })
    }

    /// Returns whether a chain that counts now will not soon, although it is old enough
    /// to have been renewed.
    fn expires_soon(&self, chain: &[CertificateDer<'_>], name: &ServerName<'_>) -> bool {
        let Some((host, others)) = chain.split_first() else { return false };
        let now = Duration::from_secs(UnixTime::now().as_secs());
        let counts = |at| {
            let at = UnixTime::since_unix_epoch(at);
            self.verifier.verify_server_cert(host, others, name, &[], at).is_ok()
        };
        !counts(now + SOON) && counts(now.saturating_sub(YOUNG))
    }

    /// Asks on a connection, and returns what came of the answer; a fault of its own means
    /// that none began.
    fn ask(
        &self,
        mut session: Session,
        request: Request<Empty<Bytes>>,
        wanted: u16,
    ) -> Result<Result<Reply, Fault>, Fault> {
        let Session { runtime, sender, .. } = &mut session;
        let received = runtime.block_on(async {
            within(sender.ready()).await?.map_err(broken)?;
            let answer = within(sender.send_request(request)).await?.map_err(broken)?;
            let received = timeout(DEADLINE, receive(answer, wanted)).await;
            Ok::<_, Fault>(received.unwrap_or_else(|_| Err(unreachable("it comes too slowly"))))
        })?;
        Ok(received.map(|(reply, is_whole)| {
            if is_whole && !session.sender.is_closed() {
                self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(session);
            }
            reply
        }))
    }
}

/// Returns an answer, and whether the connection can serve again.
async fn receive(answer: Response<Incoming>, wanted: u16) -> Result<(Reply, bool), Fault> {
    let status = answer.status().as_u16();
    let mut reply = Reply { status, headers: answer.headers().clone(), body: Vec::new() };
    let length = reply.header(CONTENT_LENGTH.as_str()).and_then(|text| text.parse().ok());
    let mut is_whole = true;
    if status == wanted {
        let length = length.unwrap_or_default();
        too_large(length)?;
        reply.body.reserve_exact(length as usize);
        read_all(answer.into_body(), &mut reply.body).await?;
    } else {
        is_whole = length.is_some_and(|length| length <= MAX_UNWANTED)
            && read_all(answer.into_body(), &mut Vec::new()).await.is_ok();
    }
    Ok((reply, is_whole))
}

async fn opened<T>(stream: TokioIo<T>) -> Result<SendRequest<Empty<Bytes>>, Fault>
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = handshake(stream).await.map_err(broken)?;
    // It runs as long as somebody waits for an answer.
    tokio::spawn(connection);
    Ok(sender)
}

async fn read_all(mut from: Incoming, body: &mut Vec<u8>) -> Result<(), Fault> {
    while let Some(frame) = within(from.frame()).await? {
        let ended = |_| Code::FileUnreadable.fault("the connection ended too early");
        if let Ok(data) = frame.map_err(ended)?.into_data() {
            body.extend_from_slice(&data);
            too_large(body.len() as u64)?;
        }
    }
    Ok(())
}

async fn within<F: Future>(future: F) -> Result<F::Output, Fault> {
    let late = |_| unreachable(format!("nothing came for {} seconds", SILENCE.as_secs()));
    timeout(SILENCE, future).await.map_err(late)
}

fn unreachable(error: impl ToString) -> Fault {
    Code::HostUnreachable.fault(error.to_string())
}

fn broken(error: hyper::Error) -> Fault {
    let is_answer = error.is_parse() || error.is_incomplete_message();
    let code = if is_answer { Code::FileUnreadable } else { Code::HostUnreachable };
    code.fault(format!("the host does not answer in HTTP/1.1: {error}"))
}

/// Says why a handshake failed.
fn refused(error: io::Error) -> Fault {
    use rustls::{
        Error::{AlertReceived, InvalidCertificate, PeerIncompatible},
        PeerIncompatible::{ServerDoesNotSupportTls12Or13, ServerTlsVersionIsDisabledByOurConfig},
    };
    let tls = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    let (code, message) = match tls {
        Some(InvalidCertificate(why)) => match why {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                (Code::CertificateExpired, "the certificate does not count any more")
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                (Code::CertificateName, "the certificate is for another host")
            }
            CertificateError::UnknownIssuer => (
                Code::CertificateUntrusted,
                "what the host sends leads to no public root: an intermediate certificate is missing, or the root is not public; --ca trusts one of your own",
            ),
            _ => (Code::CertificateUntrusted, "the certificate is refused"),
        },
        Some(
            AlertReceived(AlertDescription::ProtocolVersion)
            | PeerIncompatible(ServerDoesNotSupportTls12Or13 | ServerTlsVersionIsDisabledByOurConfig),
        ) => (Code::TlsTooOld, "the host speaks neither TLS 1.2 nor 1.3"),
        _ => return unreachable(error),
    };
    code.fault(format!("{message} ({error})"))
}
