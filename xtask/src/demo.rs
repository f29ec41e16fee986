//! The installer with emulated boards behind it, so that it can be tried
//! without hardware.
//!
//! ```text
//! page -- demo.js in place of navigator.serial
//!           | WebSocket demo/board: bytes of the line, JSON for all else
//!           v
//!         Session (pure) -- towline_rom::Board -- Firmware: boot log, Improv
//! ```
//!
//! Each connection has a board of its own, which is gone when it ends. Nothing
//! of it is published: the script is inserted when the page is served.
//!
//! Boards cost memory, and a page of any origin can open a WebSocket to this
//! machine: only pages that this server served itself reach them.

mod carry;
mod device;
mod firmware;
mod session;
#[cfg(test)]
mod session_tests;
mod wifi;

use crate::installer::File;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{
        CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN,
        SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
    },
};
use hyper_util::rt::TokioIo;
use session::Session;
use std::{
    net::IpAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{handshake::derive_accept_key, protocol::Role},
};

/// Most boards at a time. Each has its flash in memory.
const MAX_BOARDS: usize = 32;

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// What a server needs to put emulated boards behind the page.
#[derive(Debug)]
pub struct Demo {
    script: Bytes,
    name: String,
    boards: Arc<AtomicUsize>,
}

/// A board that is connected; it counts as long as it exists.
struct Seat(Arc<AtomicUsize>);

impl Demo {
    /// Takes the script that replaces `navigator.serial`.
    pub fn new(script: File) -> Self {
        Self { script: script.bytes.into(), name: script.name, boards: Arc::default() }
    }

    /// Answers what belongs to the demo; `None` is for the site. `path` is that
    /// within the site, whose folder is `root`.
    pub(crate) fn answer(
        &self,
        request: &mut Request<Incoming>,
        path: &str,
        root: &Path,
    ) -> Option<Response<Full<Bytes>>> {
        match path {
            _ if request.method() != Method::GET => None,
            "/demo/board" => Some(self.connect(request)),
            "/" | "/index.html" => {
                let page = std::fs::read_to_string(root.join("index.html")).ok()?;
                let answer = with_script(&page, &format!("assets/{}", self.name));
                Some(answer.map_or_else(
                    || refuse(StatusCode::INTERNAL_SERVER_ERROR, "index.html has no <head>"),
                    |page| respond(StatusCode::OK, HTML, page),
                ))
            }
            _ if path.strip_prefix("/assets/") == Some(&self.name) => {
                Some(respond(StatusCode::OK, SCRIPT, self.script.clone()))
            }
            _ => None,
        }
    }

    /// Connects a page to a board.
    fn connect(&self, request: &mut Request<Incoming>) -> Response<Full<Bytes>> {
        let headers = request.headers();
        if !is_of_own_page(headers) {
            return refuse(StatusCode::FORBIDDEN, "boards are for the page of this server");
        }
        let Some(key) = websocket_key(headers) else {
            return refuse(StatusCode::UPGRADE_REQUIRED, "this speaks WebSocket");
        };
        let accept = derive_accept_key(key.as_bytes());
        let session = match Session::new(request.uri().query().unwrap_or_default()) {
            Ok(session) => session,
            Err(error) => return refuse(StatusCode::BAD_REQUEST, error),
        };
        let Some(seat) = self.seat() else {
            return refuse(StatusCode::SERVICE_UNAVAILABLE, "too many boards at a time");
        };

        let upgrade = hyper::upgrade::on(request);
        tokio::spawn(async move {
            let _seat = seat;
            let Ok(upgraded) = upgrade.await else { return };
            let io = TokioIo::new(upgraded);
            let socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
            // A page that is gone takes its board with it.
            let _ = carry::carry(socket, session).await;
        });
        let mut response = respond(StatusCode::SWITCHING_PROTOCOLS, TEXT, Bytes::new());
        let headers = response.headers_mut();
        headers.remove(CONTENT_TYPE);
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        if let Ok(accept) = HeaderValue::from_str(&accept) {
            headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
        }
        response
    }

    fn seat(&self) -> Option<Seat> {
        let seat = Seat(self.boards.clone());
        (seat.0.fetch_add(1, Ordering::Relaxed) < MAX_BOARDS).then_some(seat)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Returns the page with a script before everything else in its head.
fn with_script(page: &str, src: &str) -> Option<String> {
    let (before, after) = page.split_once("<head>")?;
    Some(format!("{before}<head>\n    <script src=\"{src}\"></script>{after}"))
}

/// Returns whether a request comes from a page of this server, or from no page
/// at all.
///
/// The host has to be this machine by a name that nobody else can give out:
/// otherwise a page could have its own name resolve to this machine.
fn is_of_own_page(headers: &HeaderMap) -> bool {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let host = text(HOST).unwrap_or_default();
    let origin = text(ORIGIN);
    let origin = origin.map(|origin| origin.split_once("://").map_or("", |(_, host)| host));
    is_loopback(host) && origin.is_none_or(|origin| origin.eq_ignore_ascii_case(host))
}

fn is_loopback(authority: &str) -> bool {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || bare.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// Returns the key of a request that asks for WebSocket.
fn websocket_key(headers: &HeaderMap) -> Option<&HeaderValue> {
    let says = |name, wanted: &str| {
        let value = headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        value.is_some_and(|value| {
            value.split(',').any(|token| token.trim().eq_ignore_ascii_case(wanted))
        })
    };
    let is_asked = says(CONNECTION, "upgrade")
        && says(UPGRADE, "websocket")
        && says(SEC_WEBSOCKET_VERSION, "13");
    headers.get(SEC_WEBSOCKET_KEY).filter(|_| is_asked)
}

fn refuse(status: StatusCode, reason: impl Into<String>) -> Response<Full<Bytes>> {
    respond(status, TEXT, reason.into())
}

fn respond(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    // The next run without a demo must not find this in a cache.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_comes_before_everything_else_in_the_head() {
        let page = "<!doctype html><html><head><meta charset=\"utf-8\"><script src=\"a.js\">";
        let with = with_script(page, "assets/demo-1.js").unwrap();
        let script = with.find("<script src=\"assets/demo-1.js\"></script>").unwrap();
        assert!(script < with.find("<meta").unwrap() && script < with.find("a.js").unwrap());
        assert_eq!(with.replace("\n    <script src=\"assets/demo-1.js\"></script>", ""), page);
        assert_eq!(with_script("<html>", "x.js"), None);
    }

    #[test]
    fn only_pages_of_this_server_reach_a_board() {
        let is_own = |host: &str, origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_str(host).unwrap());
            if let Some(origin) = origin {
                headers.insert(ORIGIN, HeaderValue::from_str(origin).unwrap());
            }
            is_of_own_page(&headers)
        };
        for own in ["localhost:8080", "127.0.0.1:8080", "[::1]:8080", "localhost", "127.0.0.2"] {
            assert!(is_own(own, Some(&format!("http://{own}"))), "{own}");
            assert!(is_own(own, Some(&format!("https://{own}"))), "{own}");
            assert!(is_own(own, None), "{own}");
        }
        for foreign in ["https://evil.example", "null", "http://localhost:9090", "http://localhost"]
        {
            assert!(!is_own("localhost:8080", Some(foreign)), "{foreign}");
        }
        // A name that somebody made resolve to this machine.
        assert!(!is_own("evil.example:8080", Some("http://evil.example:8080")));
        assert!(!is_own("192.168.1.7:8080", Some("http://192.168.1.7:8080")));
        assert!(!is_own("", None));
        assert!(!is_of_own_page(&HeaderMap::new()));
    }

    #[test]
    fn a_seat_is_free_again_when_its_board_is_gone() {
        let demo = Demo::new(File { name: "demo.js".into(), bytes: Vec::new() });
        let seats: Vec<_> = (0..MAX_BOARDS).map(|_| demo.seat().unwrap()).collect();
        assert!(demo.seat().is_none());
        drop(seats);
        assert!(demo.seat().is_some());
    }
}
