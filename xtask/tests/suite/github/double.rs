//! GitHub on loopback: releases and assets, with the rules that the real one
//! enforces.
//!
//! ```text
//! api       releases, assets, tags          needs the token for drafts and changes
//! uploads   POST of an asset                needs the token
//! storage   where downloads are sent to     refuses every token
//! ```
//!
//! Each is a host of its own: a port. The rules: drafts are seen by who may write,
//! and not found by their tag; a tag is published once; names of assets are made
//! plain and taken once; an upload that breaks off leaves an asset in state
//! `starter`; lists come in pages; answers have tags, and 304 for who knows them.

#![allow(dead_code, reason = "not every user of the double needs all of it")]

#[path = "double/answers.rs"]
mod answers;
#[path = "double/state.rs"]
mod state;

pub(crate) use state::Release;

use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Bytes, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use state::State;
use std::{
    collections::VecDeque,
    future::pending,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    thread,
};
use tokio::{net::TcpListener, sync::oneshot};

/// The repository that there is.
pub(crate) const REPOSITORY: &str = "octo/lamp";

/// A token that may read and write its contents.
pub(crate) const TOKEN: &str = "ghs_towlineTestTokenThatNobodyMayEverSee";

/// A token that may only read them.
pub(crate) const READER: &str = "ghs_towlineTestTokenThatOnlyReads";

/// GitHub, until it is dropped.
pub(crate) struct GitHub {
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
}

/// A request that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) host: Host,
    pub(crate) method: String,
    /// Path and query.
    pub(crate) path: String,
    pub(crate) status: u16,
    pub(crate) had_token: bool,
}

/// The hosts of GitHub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    Api,
    Uploads,
    Storage,
}

/// What a client is cut short at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Nothing of the request was carried out.
    Before,
    /// An upload has begun; else as before.
    Midway,
    /// All of it was, but the answer does not come.
    After,
}

/// An answer in place of the one that there would be.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) message: &'static str,
}

/// How it differs from github.com.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// Whether assets have a `digest`; older GitHub Enterprise has none.
    pub(crate) has_digests: bool,
    /// The most entries of a page.
    pub(crate) page: usize,
}

struct Shared {
    hosts: [SocketAddr; 3],
    /// What follows host and port: `/api/v3` on GitHub Enterprise.
    prefix: &'static str,
    state: Mutex<State>,
    rules: Mutex<Rules>,
    log: Mutex<Vec<Entry>>,
    cut: Mutex<Cut>,
    refusals: Mutex<VecDeque<Refusal>>,
}

/// At which request a client is cut short.
#[derive(Default)]
struct Cut {
    left: Option<(usize, Moment)>,
    is_reached: bool,
}

impl GitHub {
    /// Starts github.com.
    pub(crate) fn start() -> Self {
        Self::with("")
    }

    /// Starts GitHub Enterprise, a version without digests.
    pub(crate) fn enterprise() -> Self {
        let github = Self::with("/api/v3");
        lock(&github.shared.rules).has_digests = false;
        github
    }

    fn with(prefix: &'static str) -> Self {
        let listener = |_| {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.set_nonblocking(true).unwrap();
            listener
        };
        let listeners = [0; 3].map(listener);
        let hosts = [0, 1, 2].map(|host: usize| listeners[host].local_addr().unwrap());
        let shared = Arc::new(Shared {
            hosts,
            prefix,
            state: Mutex::default(),
            rules: Mutex::new(Rules { has_digests: true, page: 100 }),
            log: Mutex::default(),
            cut: Mutex::default(),
            refusals: Mutex::default(),
        });
        let (stop, stopped) = oneshot::channel();
        let of_thread = shared.clone();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                for (listener, host) in
                    listeners.into_iter().zip([Host::Api, Host::Uploads, Host::Storage])
                {
                    tokio::spawn(serve(listener, host, of_thread.clone()));
                }
                // Dropped or stopped: both are the end.
                let _ = stopped.await;
            });
        });
        Self { shared, stop: Some(stop) }
    }

    /// Returns the URL of the API, for `GITHUB_API_URL`.
    pub(crate) fn api_url(&self) -> String {
        format!("http://{}{}", self.shared.hosts[0], self.shared.prefix)
    }

    /// Returns the variables that a workflow has: API, repository and token.
    pub(crate) fn variables(&self) -> [(&'static str, String); 3] {
        [
            ("GITHUB_API_URL", self.api_url()),
            ("GITHUB_REPOSITORY", REPOSITORY.into()),
            ("GITHUB_TOKEN", TOKEN.into()),
        ]
    }

    /// Returns all releases, oldest first.
    pub(crate) fn releases(&self) -> Vec<Release> {
        lock(&self.shared.state).releases.values().cloned().collect()
    }

    /// Returns the tag of the latest release.
    pub(crate) fn latest(&self) -> Option<String> {
        let state = lock(&self.shared.state);
        state.latest.and_then(|id| Some(state.releases.get(&id)?.tag.clone()))
    }

    /// Returns the commit that a tag points at.
    pub(crate) fn tag(&self, tag: &str) -> Option<String> {
        lock(&self.shared.state).tags.get(tag).cloned()
    }

    /// Makes a tag.
    pub(crate) fn push_tag(&self, tag: &str, commit: &str) {
        lock(&self.shared.state).tags.insert(tag.into(), commit.into());
    }

    /// Makes a release as a person would, and returns its number.
    pub(crate) fn add(&self, tag: &str, draft: bool, assets: &[(&str, &[u8])]) -> u64 {
        lock(&self.shared.state).add(tag, draft, assets)
    }

    /// Changes a release as a person would.
    pub(crate) fn change(&self, tag: &str, change: impl FnOnce(&mut Release)) {
        let mut state = lock(&self.shared.state);
        change(state.releases.values_mut().find(|release| release.tag == tag).unwrap());
    }

    /// Forgets all releases, tags and requests.
    pub(crate) fn clear(&self) {
        *lock(&self.shared.state) = State::default();
        lock(&self.shared.log).clear();
        *lock(&self.shared.cut) = Cut::default();
    }

    /// Changes the rules.
    pub(crate) fn rule(&self, change: impl FnOnce(&mut Rules)) {
        change(&mut lock(&self.shared.rules));
    }

    /// Answers the next request like this.
    pub(crate) fn refuse(&self, refusal: Refusal) {
        lock(&self.shared.refusals).push_back(refusal);
    }

    /// Stops answering at the `request`-th from now, counted from 0.
    pub(crate) fn cut_at(&self, request: usize, moment: Moment) {
        *lock(&self.shared.cut) = Cut { left: Some((request, moment)), is_reached: false };
    }

    /// Answers everything again.
    pub(crate) fn uncut(&self) {
        *lock(&self.shared.cut) = Cut::default();
    }

    /// Returns whether the request has come that is not answered.
    pub(crate) fn is_cut(&self) -> bool {
        lock(&self.shared.cut).is_reached
    }

    /// Returns all requests so far.
    pub(crate) fn log(&self) -> Vec<Entry> {
        lock(&self.shared.log).clone()
    }

    /// Returns the requests since this was asked last.
    pub(crate) fn take_log(&self) -> Vec<Entry> {
        std::mem::take(&mut *lock(&self.shared.log))
    }
}

impl Drop for GitHub {
    fn drop(&mut self) {
        let _ = self.stop.take().map(|stop| stop.send(()));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

async fn serve(listener: std::net::TcpListener, host: Host, shared: Arc<Shared>) {
    let listener = TcpListener::from_std(listener).unwrap();
    loop {
        let Ok((tcp, _)) = listener.accept().await else { continue };
        let _ = tcp.set_nodelay(true);
        let shared = shared.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(shared.clone(), host, request));
            let http = hyper::server::conn::http1::Builder::new();
            // A client that breaks off is no concern of the server.
            drop(http.serve_connection(TokioIo::new(tcp), service).await);
        });
    }
}

/// Answers a request, or cuts its client short.
async fn answer(
    shared: Arc<Shared>,
    host: Host,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let mut entry = Entry {
        host,
        method: head.method.to_string(),
        path: head.uri.path_and_query().unwrap().to_string(),
        status: 0,
        had_token: head.headers.contains_key(hyper::header::AUTHORIZATION),
    };
    let moment = shared.cut();
    let refusal = lock(&shared.refusals).pop_front();
    if moment == Some(Moment::Before) || (moment == Some(Moment::Midway) && host != Host::Uploads) {
        pending::<()>().await;
    }
    let response = if let Some(refusal) = refusal {
        // Whoever is refused has sent everything.
        let _ = body.collect().await;
        answers::refused(&refusal)
    } else if host == Host::Uploads {
        match answers::begin_upload(&shared, &head) {
            Err(refused) => {
                let _ = body.collect().await;
                *refused
            }
            Ok(asset) => {
                if moment == Some(Moment::Midway) {
                    pending::<()>().await;
                }
                // A client that breaks off here leaves the asset as it is.
                let bytes = body.collect().await?.to_bytes();
                answers::end_upload(&shared, asset, bytes)
            }
        }
    } else {
        let body = body.collect().await?.to_bytes();
        answers::answer(&shared, host, &head, &body)
    };
    entry.status = response.status().as_u16();
    lock(&shared.log).push(entry);
    if moment == Some(Moment::After) {
        lock(&shared.cut).is_reached = true;
        pending::<()>().await;
    }
    Ok(response)
}

impl Shared {
    /// Counts a request. Returns what it is cut short at, if it is.
    fn cut(&self) -> Option<Moment> {
        let mut cut = lock(&self.cut);
        let (left, moment) = cut.left?;
        cut.left = left.checked_sub(1).map(|left| (left, moment));
        if left > 0 {
            return None;
        }
        cut.is_reached = moment != Moment::After;
        Some(moment)
    }
}
