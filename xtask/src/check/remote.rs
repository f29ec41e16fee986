//! A site at a URL.

use super::{
    Code, Fault, Files, files,
    http::{Answer, Answers, Cache, Client, Hop, Reply, refusal, url},
};
use http::{
    HeaderMap, HeaderValue,
    header::{CONTENT_ENCODING, ETAG, IF_NONE_MATCH, LOCATION, ORIGIN, RANGE},
};
use indicatif::ProgressBar;
use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::Path,
    sync::{Mutex, PoisonError},
};
use towline::http::HttpError;
use towline_descriptor::{Url, UrlError};
use towline_sim::NetError;

/// The most answers one after the other that lead elsewhere.
const MAX_REDIRECTS: usize = 5;

/// A site at a URL, fetched as devices fetch it; and what it leads to.
pub struct Remote {
    /// The URL with a slash at its end.
    base: String,
    client: Client,
    cache: Option<Cache>,
    is_offline: bool,
    /// What the answers are kept by, beside the URL.
    rehearsal: Option<SocketAddr>,
    bar: ProgressBar,
    answers: Mutex<Answers>,
}

/// How far it is gone along where a host sends its clients.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Follows {
    /// Nowhere, as the devices of Towline.
    Nowhere,
    /// On the same host, as the page of a site and what it loads need.
    OnHost,
    /// To every host that encrypts.
    Anywhere,
}

impl Follows {
    /// Says why a redirect is not followed.
    fn refusal(self) -> &'static str {
        match self {
            Self::Nowhere => "the host redirects; many devices follow no redirect",
            Self::OnHost => "the host redirects too often, or to another host",
            Self::Anywhere => "the host redirects too often, or to something other than https",
        }
    }
}

/// Why a URL cannot be checked.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The URL is not one that devices could use.
    #[error("{url}: {source}")]
    Url {
        /// The URL.
        url: String,
        /// What is wrong.
        source: UrlError,
    },
    /// The certificates to trust cannot be read.
    #[error(transparent)]
    Net(#[from] NetError),
}

impl Remote {
    /// Takes the site at `url`: https, or plain http on this machine. The
    /// certificates in the PEM file `trust` are trusted beside the public
    /// ones.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub fn new(url: &str, trust: Option<&Path>) -> Result<Self, RemoteError> {
        let slash = if url.ends_with('/') { "" } else { "/" };
        let base = format!("{url}{slash}");
        Url::parse(&as_https(&base))
            .map_err(|source| RemoteError::Url { url: url.to_owned(), source })?;
        Ok(Self {
            base,
            client: Client::new(trust)?,
            cache: None,
            is_offline: false,
            rehearsal: None,
            bar: ProgressBar::hidden(),
            answers: Mutex::default(),
        })
    }

    /// Connects to `address` whatever the host is, as [`towline_sim::Net::rehearsed_at`].
    #[must_use]
    pub fn rehearsed_at(mut self, address: Option<SocketAddr>) -> Self {
        self.client.rehearsed_at(address);
        self.rehearsal = address;
        self
    }

    /// Keeps what it fetches in `folder`, and asks a host only for what has changed
    /// since.
    #[must_use]
    pub fn cached_in(mut self, folder: Option<&Path>) -> Self {
        self.cache = folder.map(Cache::open);
        self
    }

    /// Opens no connection, and goes by what is kept alone.
    #[must_use]
    pub fn offline(mut self, is_offline: bool) -> Self {
        self.is_offline = is_offline;
        self
    }

    /// Shows on this bar what is fetched.
    #[must_use]
    pub fn shown_by(mut self, bar: ProgressBar) -> Self {
        self.bar = bar;
        self
    }

    /// Takes what was answered so far.
    pub(super) fn take_answers(&self) -> Answers {
        std::mem::take(&mut *self.answers.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the URL that a file was found at.
    pub(super) fn end_of(&self, file: &str) -> Option<String> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        Some(answers.get(file)?.hops.last()?.url.clone())
    }

    /// Returns the hosts whose certificates are about to expire.
    pub(super) fn expiring(&self) -> BTreeSet<String> {
        self.client.expiring()
    }

    /// Asks for the bytes of a file from one on, if that can be asked.
    pub(super) fn rest(&self, file: &str, from: usize) -> Option<Reply> {
        let url = url::join(&self.base, file);
        let mut headers = self.headers(&url);
        headers.insert(RANGE, HeaderValue::try_from(format!("bytes={from}-")).ok()?);
        (!self.is_offline).then(|| self.client.get(&url, &headers, 206).ok())?
    }

    /// Returns the headers of a request: a page says where it is from, if it asks
    /// another host.
    fn headers(&self, url: &str) -> HeaderMap {
        let from = url::origin(&self.base);
        let is_elsewhere = url::origin(url) != from;
        let from = HeaderValue::try_from(from).ok().filter(|_| is_elsewhere);
        from.map(|from| (ORIGIN, from)).into_iter().collect()
    }

    /// Asks for `url`, if it has changed since the last time.
    fn get(&self, url: &str) -> Result<Reply, Fault> {
        let key = match self.rehearsal {
            Some(address) => format!("{address} {url}"),
            None => url.to_owned(),
        };
        let kept = self.cache.as_ref().and_then(|cache| cache.get(&key));
        if self.is_offline {
            let message = "is not in the cache, and nothing is fetched with --offline";
            return kept.ok_or_else(|| Code::HostUnreachable.fault(message));
        }
        let mut headers = self.headers(url);
        let tag = kept.as_ref().filter(|kept| kept.status == 200);
        if let Some(tag) = tag.and_then(|kept| kept.headers.get(ETAG)) {
            headers.insert(IF_NONE_MATCH, tag.clone());
        }
        let reply = self.client.get(url, &headers, 200)?;
        self.bar.inc(1);
        self.bar.set_message(format!("{} files, {url}", self.bar.position()));
        match kept {
            // What stands above the body now counts; its length is that of the body.
            Some(mut kept) if reply.status == 304 => {
                for (name, value) in &reply.headers {
                    if name != "content-length" {
                        kept.headers.insert(name, value.clone());
                    }
                }
                Ok(kept)
            }
            _ => {
                if let Some(cache) = &self.cache {
                    cache.put(&key, &reply);
                }
                Ok(reply)
            }
        }
    }

    /// Fetches a file of the site, by its path: as devices do, unless none fetches it.
    fn fetch_own(&self, path: &str) -> Result<Vec<u8>, Fault> {
        // As the host reads it.
        files::inside(&url::decoded(path))?;
        let is_path = !path.contains(['?', '#']) && !path.contains("://");
        Code::PathOutside.unless(is_path, "is no path of a file")?;
        let is_of_page = path.ends_with(".html") || path.starts_with("assets/");
        self.fetch(path, if is_of_page { Follows::OnHost } else { Follows::Nowhere })
    }

    /// Fetches a file, by its path or URL.
    fn fetch(&self, file: &str, follows: Follows) -> Result<Vec<u8>, Fault> {
        let mut url = url::join(&self.base, file);
        let mut hops = Vec::new();
        let reply = loop {
            let reply = self.get(&url)?;
            let asked_from = self.headers(&url).remove(ORIGIN);
            hops.push(Hop { url: url.clone(), asked_from, headers: reply.headers.clone() });
            let status = reply.status;
            let fault = |code: Code| code.fault(format!("the host answered with status {status}"));
            match status {
                200 => break reply,
                301 | 302 | 303 | 307 | 308 => {
                    let to = reply.header(LOCATION.as_str()).map(|to| url::join(&url, to));
                    let is_followed = |to: &String| match follows {
                        Follows::Nowhere => false,
                        Follows::Anywhere if to.starts_with("https://") => true,
                        _ => url::origin(to) == url::origin(&url),
                    };
                    url = to
                        .filter(is_followed)
                        .filter(|_| hops.len() <= MAX_REDIRECTS)
                        .ok_or_else(|| Code::Redirect.fault(follows.refusal()))?;
                }
                // Hosts elsewhere may only shut out programs.
                403 if !url.starts_with(&self.base) => return Err(fault(Code::HostUnreachable)),
                403 | 404 | 410 => return Err(fault(Code::FileMissing)),
                _ => return Err(fault(Code::FileUnreadable)),
            }
        };
        let encoding = reply.header(CONTENT_ENCODING.as_str()).filter(|name| *name != "identity");
        if let Some(encoding) = encoding {
            let message = format!("the host sends it in {encoding}, which nobody asked for");
            return Err(Code::ContentEncoded.fault(message));
        }
        if follows == Follows::Nowhere {
            let url = as_https(&url);
            let url = Url::parse(&url).map_err(|e| Code::FileUnreadable.fault(e.to_string()))?;
            refusal(url, &reply).map_or(Ok(()), |error| {
                let is_length = error == HttpError::NoLength;
                let code = if is_length { Code::LengthMissing } else { Code::FileUnreadable };
                Err(code.fault(error.to_string()))
            })?;
        }
        let answer = Answer::of(hops, &reply.body);
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.insert(file.to_owned(), answer);
        Ok(reply.body)
    }
}

/// Returns a URL as the https one that devices would have.
fn as_https(url: &str) -> String {
    let Some(rest) = url.strip_prefix("http://") else { return url.to_owned() };
    let host = url::origin(url);
    let port = if host["http://".len()..].contains(':') { "" } else { ":80" };
    format!("https://{}{port}{}", &host["http://".len()..], &rest[host.len() - "http://".len()..])
}

impl Files for Remote {
    fn read(&self, path: &str) -> Result<Vec<u8>, Fault> {
        self.fetch_own(path)
    }

    fn follow(&self, file: &str) -> Option<Result<Vec<u8>, Fault>> {
        let url = url::join(&self.base, file);
        // What is rehearsed on this machine says nothing of other hosts.
        let is_open = |url: &str| url.starts_with("https://");
        let is_here = url::origin(&url) == url::origin(&self.base);
        let is_followed = is_here || (is_open(&self.base) && is_open(&url));
        is_followed.then(|| self.fetch(file, Follows::Anywhere))
    }

    fn remote(&self) -> Option<&Remote> {
        Some(self)
    }

    fn absence(&self, path: &str) -> Option<Result<(), String>> {
        Some(match self.fetch_own(path) {
            Err(fault) if fault.code() == Code::FileMissing => Ok(()),
            Err(fault) => Err(fault.to_string()),
            Ok(bytes) => Err(format!("the host answers with {} bytes", bytes.len())),
        })
    }
}
