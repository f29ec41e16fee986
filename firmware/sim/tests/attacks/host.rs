//! A host over real TLS whose behaviour a test scripts byte by byte.

use crate::device::{HOST, NEW, Offer, new_image};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
};
use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard},
    thread,
};
use tempfile::NamedTempFile;
use towline_sim::{Net, Origin, Scheme};

/// A request, and a sound host that would know the answer.
pub(crate) struct Asked {
    pub(crate) head: String,
    origin: Origin,
}

impl Asked {
    pub(crate) fn path(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// Returns what a sound host answers.
    pub(crate) fn answer(&self) -> Vec<u8> {
        self.origin.answer(&self.head)
    }

    /// Returns what a sound host answers without regard to `Range` and
    /// `If-None-Match`.
    pub(crate) fn whole(&self) -> Vec<u8> {
        self.origin.answer(&format!("GET {} HTTP/1.1\r\n\r\n", self.path()))
    }

    /// Returns the sound answer with another text in its head.
    pub(crate) fn answer_with(&self, from: &str, to: &str) -> Vec<u8> {
        replace(&self.answer(), from, to)
    }
}

/// Replaces a text in the head of an answer.
pub(crate) fn replace(answer: &[u8], from: &str, to: &str) -> Vec<u8> {
    let (head, body) = answer.split_at(body_at(answer).expect("an answer has a head"));
    let head = std::str::from_utf8(head).expect("a head is text");
    assert!(head.contains(from), "no {from:?} in {head:?}");
    [head.replace(from, to).as_bytes(), body].concat()
}

fn body_at(answer: &[u8]) -> Option<usize> {
    answer.windows(4).position(|end| end == b"\r\n\r\n").map(|at| at + 4)
}

/// What happened on one connection.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) path: String,
    pub(crate) range: Option<String>,
    pub(crate) if_none_match: Option<String>,
    /// Bytes of the body that were sent.
    pub(crate) sent: usize,
}

/// What a host does instead of answering. If it returns an error, the
/// connection ends without a farewell.
type Script = dyn FnMut(&Asked, &mut dyn Write) -> io::Result<()> + Send;

/// A host on the loopback interface.
pub(crate) struct Host {
    address: SocketAddr,
    authority: NamedTempFile,
    state: Arc<Mutex<State>>,
}

struct State {
    origin: Origin,
    attack: Option<(&'static str, Box<Script>)>,
    log: Vec<Exchange>,
}

/// The certificate of a host.
pub(crate) struct Identity {
    /// Names that it is for.
    pub(crate) names: Vec<&'static str>,
    /// Years at whose start its validity begins and ends.
    pub(crate) years: (i32, i32),
}

impl Default for Identity {
    fn default() -> Self {
        Self { names: vec![HOST], years: (2020, 2100) }
    }
}

impl Host {
    /// Starts a host that offers the new image.
    pub(crate) fn new() -> Self {
        Self::with(&Identity::default())
    }

    /// Starts a host with that certificate, of an authority that its clients
    /// trust.
    pub(crate) fn with(identity: &Identity) -> Self {
        let (config, authority) = identity.issue();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let image = new_image();
        let state =
            State { origin: Offer::of(NEW, &image).origin(&image), attack: None, log: Vec::new() };
        let state = Arc::new(Mutex::new(state));
        let shared = state.clone();
        // It ends with the process.
        thread::spawn(move || {
            for tcp in listener.incoming().flatten() {
                // Locked until the connection is served: whoever asks what
                // happened learns all of it.
                let mut state = shared.lock().expect("no script panics");
                // Clients that break off are what these tests are about.
                let _ = serve(tcp, config.clone(), &mut state);
            }
        });
        Self { address, authority, state }
    }

    /// From now on, requests for `path` meet this script.
    pub(crate) fn attack(
        &self,
        path: &'static str,
        script: impl FnMut(&Asked, &mut dyn Write) -> io::Result<()> + Send + 'static,
    ) {
        self.state().attack = Some((path, Box::new(script)));
    }

    /// From now on, requests for `path` are answered by what `answer` makes.
    pub(crate) fn answer(
        &self,
        path: &'static str,
        mut answer: impl FnMut(&Asked) -> Vec<u8> + Send + 'static,
    ) {
        self.attack(path, move |asked, wire| wire.write_all(&answer(asked)));
    }

    /// Becomes a sound host that offers the new image, and forgets what
    /// happened.
    pub(crate) fn relent(&self) {
        let mut state = self.state();
        state.attack = None;
        state.log.clear();
    }

    /// Publishes something else.
    pub(crate) fn serve(&self, path: &str, bytes: Vec<u8>) {
        self.state().origin.serve(path, bytes);
    }

    /// Returns the network of a device that trusts the authority of the host.
    pub(crate) fn net(&self) -> Net {
        let net = Net::new(Scheme::Https, Some(self.authority.path())).expect("an authority");
        net.rehearsed_at(Some(self.address))
    }

    /// Returns the network of a device that knows public authorities only.
    pub(crate) fn net_without_authority(&self) -> Net {
        Net::new(Scheme::Https, None).expect("public authorities").rehearsed_at(Some(self.address))
    }

    /// Returns and forgets what happened.
    pub(crate) fn log(&self) -> Vec<Exchange> {
        std::mem::take(&mut self.state().log)
    }

    /// Returns the bytes of bodies that were sent from `path`, and forgets what
    /// happened.
    pub(crate) fn sent(&self, path: &str) -> usize {
        self.log().iter().filter(|exchange| exchange.path == path).map(|e| e.sent).sum()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no script panics")
    }
}

impl Identity {
    /// Makes an authority, and has it issue the certificate.
    fn issue(&self) -> (Arc<ServerConfig>, NamedTempFile) {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let authority =
            CertifiedIssuer::self_signed(authority, KeyPair::generate().expect("random numbers"))
                .expect("an authority");
        let names: Vec<_> = self.names.iter().map(ToString::to_string).collect();
        let mut leaf = CertificateParams::new(names).expect("host names");
        leaf.not_before = date_time_ymd(self.years.0, 1, 1);
        leaf.not_after = date_time_ymd(self.years.1, 1, 1);
        let key = KeyPair::generate().expect("random numbers");
        let leaf: CertificateDer<'static> =
            leaf.signed_by(&key, &authority).expect("a certificate").der().clone();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|config| {
                let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
                config.with_no_client_auth().with_single_cert(vec![leaf], key)
            })
            .expect("a certificate for its key");
        let mut file = NamedTempFile::new().expect("a temporary file");
        file.write_all(authority.pem().as_bytes()).expect("a writable file");
        (Arc::new(config), file)
    }
}

/// Counts what is written, and sends every piece at once.
struct Wire<'w> {
    tls: &'w mut StreamOwned<ServerConnection, TcpStream>,
    written: Vec<u8>,
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.tls.write(bytes)?;
        self.tls.flush()?;
        self.written.extend(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tls.flush()
    }
}

/// Serves one connection, by the script if there is one.
fn serve(tcp: TcpStream, config: Arc<ServerConfig>, state: &mut State) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let session = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut tls = StreamOwned::new(session, tcp);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut piece = [0; 1024];
        match tls.read(&mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => head.extend(&piece[..count]),
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let asked = Asked { head, origin: state.origin.clone() };
    let mut wire = Wire { tls: &mut tls, written: Vec::new() };
    let result = match &mut state.attack {
        Some((path, script)) if *path == asked.path() => script(&asked, &mut wire),
        _ => wire.write_all(&asked.answer()),
    };
    let sent = body_at(&wire.written).map_or(0, |body| wire.written.len() - body);
    state.log.push(Exchange {
        path: asked.path().to_owned(),
        range: asked.header("Range").map(str::to_owned),
        if_none_match: asked.header("If-None-Match").map(str::to_owned),
        sent,
    });
    result?;
    tls.conn.send_close_notify();
    tls.flush()
}
