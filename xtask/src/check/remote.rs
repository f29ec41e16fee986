//! A site at a URL, fetched as devices fetch it.

use super::{Code, Fault, Files, files::too_large};
use embassy_futures::block_on;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};
use towline::{
    Limits, Pace,
    http::{self, HttpError, Request, Status},
};
use towline_descriptor::{Url, UrlError};
use towline_sim::{HostClock, Net, NetError, Scheme};

/// A site at a URL.
pub struct Remote {
    scheme: Scheme,
    /// The URL with a slash at its end, as https whatever its scheme is.
    base: String,
    trust: Option<PathBuf>,
    rehearsal: Option<SocketAddr>,
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
        let (scheme, rest) = match url.strip_prefix("http://") {
            Some(rest) => (Scheme::LoopbackHttp, format!("https://{rest}")),
            None => (Scheme::Https, url.to_owned()),
        };
        let port = if scheme == Scheme::LoopbackHttp && !rest["https://".len()..].contains(':') {
            ":80"
        } else {
            ""
        };
        let (authority, path) = match rest.get("https://".len()..).and_then(|r| r.find('/')) {
            Some(slash) => rest.split_at("https://".len() + slash),
            None => (rest.as_str(), "/"),
        };
        let slash = if path.ends_with('/') { "" } else { "/" };
        let base = format!("{authority}{port}{path}{slash}");
        Url::parse(&base).map_err(|source| RemoteError::Url { url: url.to_owned(), source })?;
        Net::new(scheme, trust)?;
        Ok(Self { scheme, base, trust: trust.map(Path::to_owned), rehearsal: None })
    }

    /// Connects to `address` whatever the host is, as [`Net::rehearsed_at`].
    #[must_use]
    pub fn rehearsed_at(mut self, address: Option<SocketAddr>) -> Self {
        self.rehearsal = address;
        self
    }

    async fn fetch(&self, path: &str) -> Result<Vec<u8>, Fault> {
        let url = format!("{}{path}", self.base);
        let url = Url::parse(&url).map_err(|e| Code::FileUnreadable.fault(e.to_string()))?;
        let net = Net::new(self.scheme, self.trust.as_deref())
            .map_err(|e| Code::HostUnreachable.fault(e.to_string()))?;
        let mut net = net.rehearsed_at(self.rehearsal);
        let mut head = [0; http::HEAD];
        let clock = HostClock::new();
        let mut pace = Pace::new(&clock, Limits::DEFAULT);
        let fault = |error: HttpError<NetError>| {
            let code = match error {
                HttpError::Status(403 | 404 | 410) => Code::FileMissing,
                HttpError::Redirect => Code::Redirect,
                HttpError::Transport(_) | HttpError::Late(_) => Code::HostUnreachable,
                _ => Code::FileUnreadable,
            };
            code.fault(error.to_string())
        };
        let response =
            http::get(&mut net, &mut pace, &Request::whole(url), &mut head).await.map_err(fault)?;
        if response.status != Status::Whole {
            return Err(Code::Redirect.fault("the host redirects; many devices follow no redirect"));
        }
        too_large(response.length().into())?;
        let mut body = vec![0; response.length() as usize];
        response.read_all(&mut pace, &head, &mut body).await.map_err(fault)?;
        Ok(body)
    }
}

impl Files for Remote {
    fn read(&self, path: &str) -> Result<Vec<u8>, Fault> {
        block_on(self.fetch(path))
    }

    fn absence(&self, path: &str) -> Option<Result<(), String>> {
        Some(match block_on(self.fetch(path)) {
            Err(fault) if fault.code() == Code::FileMissing => Ok(()),
            Err(fault) => Err(fault.to_string()),
            Ok(bytes) => Err(format!("the host answers with {} bytes", bytes.len())),
        })
    }
}
