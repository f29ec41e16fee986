//! A host that can misbehave, over TLS.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
};
use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
};
use time::{Duration, OffsetDateTime};
use xtask::store::sha256;

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    /// The host, without its port.
    pub(crate) host: String,
    pub(crate) path: String,
    /// The headers, by their names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
}

/// What is answered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<&'static str, String>,
    pub(crate) body: Vec<u8>,
    /// Whether the connection breaks instead.
    pub(crate) breaks: bool,
    /// Whether it ends after the answer, unannounced.
    pub(crate) ends: bool,
}

impl Answered {
    /// Sends clients elsewhere.
    pub(crate) fn redirect(&mut self, to: impl Into<String>) {
        *self = Self { status: 302, ..Self::default() };
        self.headers.insert("location", to.into());
    }

    /// Shows a page.
    pub(crate) fn page(&mut self) {
        self.status = 200;
        self.body = b"<!DOCTYPE html><title>Lamp</title>".to_vec();
    }
}

/// The certificates of a host.
pub(crate) struct Certificates {
    pub(crate) name: &'static str,
    /// From and to when that of the host counts, in days from now.
    pub(crate) days: [i64; 2],
    pub(crate) sends_intermediate: bool,
}

impl Default for Certificates {
    fn default() -> Self {
        Self { name: "a.example", days: [-60, 30], sends_intermediate: true }
    }
}

impl Certificates {
    /// Returns how a server uses them, and the root that its clients have to know.
    fn config(&self) -> (ServerConfig, String) {
        let authority = |name: &str| {
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.distinguished_name.push(DnType::CommonName, name);
            (params, KeyPair::generate().unwrap())
        };
        let (params, key) = authority("root");
        let root = CertifiedIssuer::self_signed(params, key).unwrap();
        let (params, key) = authority("intermediate");
        let intermediate = CertifiedIssuer::signed_by(params, key, &root).unwrap();
        let key = KeyPair::generate().unwrap();
        let names = [self.name.to_owned(), "b.example".into(), "localhost".into()];
        let mut params = CertificateParams::new(names).unwrap();
        let [from, to] = self.days.map(|days| OffsetDateTime::now_utc() + Duration::days(days));
        (params.not_before, params.not_after) = (from, to);
        let own = params.signed_by(&key, &intermediate).unwrap();
        let mut chain: Vec<CertificateDer<'static>> = vec![own.der().clone()];
        chain.extend(self.sends_intermediate.then(|| intermediate.der().clone()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, PrivatePkcs8KeyDer::from(key.serialize_der()).into())
            .unwrap();
        (config, root.pem())
    }
}

/// A host that runs.
pub(crate) struct Host {
    pub(crate) address: SocketAddr,
    /// The file of the root that its clients have to know.
    pub(crate) root: tempfile::NamedTempFile,
    /// What it answered: the status and what was asked for.
    pub(crate) log: Arc<Mutex<Vec<(u16, Asked)>>>,
}

type Change = dyn Fn(&Asked, &mut Answered) + Send + Sync;

impl Host {
    /// Serves a folder below `/lamp/` as good hosts do, and changes its answers.
    pub(crate) fn new(
        folder: &Path,
        certificates: &Certificates,
        change: impl Fn(&Asked, &mut Answered) + Send + Sync + 'static,
    ) -> Self {
        let (config, pem) = certificates.config();
        let root = tempfile::NamedTempFile::new().unwrap();
        fs::write(root.path(), pem).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = Self { address: listener.local_addr().unwrap(), root, log: Arc::default() };
        let (log, folder, config) = (host.log.clone(), folder.to_owned(), Arc::new(config));
        let change: Arc<Change> = Arc::new(change);
        thread::spawn(move || {
            for tcp in listener.incoming().flatten() {
                let session = ServerConnection::new(config.clone()).unwrap();
                let (log, folder, change) = (log.clone(), folder.clone(), change.clone());
                // A client that breaks off is no concern of the host.
                thread::spawn(move || {
                    drop(serve(StreamOwned::new(session, tcp), &folder, &log, &*change));
                });
            }
        });
        host
    }

    /// Returns what it answered since the last time.
    pub(crate) fn take_log(&self) -> Vec<(u16, Asked)> {
        std::mem::take(&mut self.log.lock().unwrap())
    }
}

fn serve(
    stream: StreamOwned<ServerConnection, TcpStream>,
    folder: &Path,
    log: &Mutex<Vec<(u16, Asked)>>,
    change: &Change,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line)? == 0 {
                return Ok(());
            }
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let path = lines[0].split(' ').nth(1).unwrap_or_default().to_owned();
        let headers: BTreeMap<_, _> = lines[1..]
            .iter()
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        let host = headers["host"].split(':').next().unwrap_or_default().to_owned();
        let asked = Asked { host, path, headers };
        let mut answered = answer(folder, &asked);
        change(&asked, &mut answered);
        log.lock().unwrap().push((answered.status, asked));
        if answered.breaks {
            return Ok(());
        }
        let Answered { status, mut headers, body, ends, .. } = answered;
        if !headers.contains_key("transfer-encoding") {
            headers.entry("content-length").or_insert_with(|| body.len().to_string());
        }
        let mut text = format!("HTTP/1.1 {status} Answer\r\n").into_bytes();
        for (name, value) in &headers {
            text.extend(format!("{name}: {value}\r\n").into_bytes());
        }
        text.extend(b"\r\n");
        if headers.contains_key("transfer-encoding") {
            text.extend(format!("{:x}\r\n", body.len()).into_bytes());
            text.extend([&body[..], b"\r\n0\r\n\r\n"].concat());
        } else {
            text.extend(body);
        }
        stream.get_mut().write_all(&text)?;
        stream.get_mut().flush()?;
        if ends {
            return Ok(());
        }
    }
}

fn answer(folder: &Path, asked: &Asked) -> Answered {
    let mut answered = Answered { status: 404, body: b"not here".to_vec(), ..Answered::default() };
    let path = asked.path.split('?').next().unwrap_or_default();
    let file = path.strip_prefix("/lamp/").map(|path| match path {
        "" => folder.join("index.html"),
        path => folder.join(path.replace("%20", " ")),
    });
    let Some(body) = file.and_then(|file: PathBuf| fs::read(file).ok()) else { return answered };
    let tag = format!("\"{}\"", sha256(&body));
    let mut header = |name, value: &str| answered.headers.insert(name, value.into());
    header("etag", &tag);
    header("cache-control", "max-age=600");
    header("access-control-allow-origin", "*");
    let from = asked
        .headers
        .get("range")
        .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    if asked.headers.get("if-none-match") == Some(&tag) {
        (answered.status, answered.body) = (304, Vec::new());
    } else if let Some(from) = from {
        let range = format!("bytes {from}-{}/{}", body.len() - 1, body.len());
        answered.headers.insert("content-range", range);
        (answered.status, answered.body) = (206, body[from..].to_vec());
    } else {
        (answered.status, answered.body) = (200, body);
    }
    answered
}
