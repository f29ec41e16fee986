//! One request to a host of GitHub, through octocrab, and what comes back.

use super::{Token, retry::Kind};
use http::{
    HeaderMap, Method, Request, StatusCode,
    header::{ACCEPT, CONTENT_TYPE, IF_NONE_MATCH, LINK, LOCATION, USER_AGENT},
};
use http_body_util::{BodyExt, Limited};
use hyper::body::Bytes;
use octocrab::Octocrab;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::{error::Error, time::Duration};

pub(super) const JSON: &str = "application/vnd.github+json";
pub(super) const BYTES: &str = "application/octet-stream";

/// The most bytes of an answer that is not an asset.
pub(super) const MAX_ANSWER: usize = 64 << 20;

const CONNECT: Duration = Duration::from_secs(15);
const STALLED: Duration = Duration::from_secs(300);

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// No answer came.
    #[error("{what}: {reason}")]
    Broken {
        /// Method and URL.
        what: String,
        /// What went wrong.
        reason: String,
    },
    /// The answer is a refusal.
    #[error("{what}: {status}{}{message}", if message.is_empty() { "" } else { ": " })]
    Refused {
        /// Method and URL.
        what: String,
        /// The status.
        status: StatusCode,
        /// What it says.
        message: String,
        /// Whether it is for a rate limit.
        is_limit: bool,
    },
    /// The answer is not understood.
    #[error("{what}: the answer is not understood: {reason}")]
    Garbled {
        /// Method and URL.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A URL that others could read along.
    #[error("{0}: neither https nor on this machine, so nothing is sent there")]
    Exposed(String),
}

impl ApiError {
    /// Returns the status of a refusal.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(status.as_u16()),
            _ => None,
        }
    }

    /// Returns whether the request may have been carried out all the same, or
    /// another run came first: who looks again knows.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Broken { .. } => true,
            Self::Refused { status, message, .. } => {
                status.is_server_error()
                    || matches!(status.as_u16(), 404 | 408 | 409)
                    || (status.as_u16() == 422 && message.contains("already_exists"))
            }
            Self::Garbled { .. } | Self::Exposed(_) => false,
        }
    }
}

/// A request.
pub(super) struct Ask {
    pub(super) method: Method,
    pub(super) uri: String,
    pub(super) accept: &'static str,
    pub(super) etag: Option<String>,
    pub(super) body: Body,
    pub(super) kind: Kind,
    pub(super) limit: usize,
}

pub(super) enum Body {
    None,
    Json(Vec<u8>),
    Bytes(Bytes),
}

/// An answer that is no refusal.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Sends a request once.
pub(super) async fn once(client: &Octocrab, ask: &Ask) -> Result<Answer, ApiError> {
    let broken = |error: &dyn Error| broken(&ask.what(), error);
    let mut request = Request::builder()
        .method(&ask.method)
        .uri(&ask.uri)
        .header(ACCEPT, ask.accept)
        .header("x-github-api-version", "2022-11-28");
    if let Some(etag) = &ask.etag {
        request = request.header(IF_NONE_MATCH, etag);
    }
    let body = match &ask.body {
        Body::None => Bytes::new(),
        Body::Json(json) => {
            request = request.header(CONTENT_TYPE, "application/json");
            Bytes::from(json.clone())
        }
        Body::Bytes(bytes) => {
            request = request.header(CONTENT_TYPE, BYTES);
            bytes.clone()
        }
    };
    let request = request.body(body).map_err(|error| broken(&error))?;
    let response = client.execute(request).await.map_err(|error| broken(&error))?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, ask.limit.max(64 << 10)).collect().await;
    let body = body.map_err(|error| broken(error.as_ref()))?.to_bytes();
    Ok(Answer { status: head.status, headers: head.headers, body })
}

impl Ask {
    pub(super) fn get(uri: String) -> Self {
        Self {
            method: Method::GET,
            uri,
            accept: JSON,
            etag: None,
            body: Body::None,
            kind: Kind::Repeatable,
            limit: MAX_ANSWER,
        }
    }

    /// Returns method and URL for people. What follows a `?` may be a secret.
    pub(super) fn what(&self) -> String {
        format!("{} {}", self.method, without_query(&self.uri))
    }
}

pub(super) fn without_query(url: &str) -> &str {
    url.split('?').next().unwrap_or_default()
}

/// Makes a client that sends the token to `origin`, and to no other host.
pub(super) fn client(origin: &str, token: Option<&Token>) -> Result<Octocrab, octocrab::Error> {
    let builder = builder(origin)?;
    match token {
        // Without the second line octocrab would send it to github.com's host of
        // uploads too.
        Some(token) => {
            builder.personal_token(token.secret().to_owned()).upload_uri(origin)?.build()
        }
        None => builder.build(),
    }
}

type Builder = octocrab::OctocrabBuilder<
    octocrab::NoSvc,
    octocrab::DefaultOctocrabBuilderConfig,
    octocrab::NoAuth,
    octocrab::NotLayerReady,
>;

/// The base has no path: octocrab would put it before those of other hosts too.
pub(super) fn builder(origin: &str) -> Result<Builder, octocrab::Error> {
    Ok(Octocrab::builder()
        .base_uri(origin)?
        .add_header(USER_AGENT, concat!("towline/", env!("CARGO_PKG_VERSION")).to_owned())
        .set_connect_timeout(Some(CONNECT))
        .set_read_timeout(Some(STALLED))
        .set_write_timeout(Some(STALLED)))
}

pub(super) fn broken(what: &str, error: &dyn Error) -> ApiError {
    let mut causes = vec![error.to_string()];
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !causes.iter().any(|earlier| earlier.contains(&text)) {
            causes.push(text);
        }
        source = cause.source();
    }
    ApiError::Broken { what: what.to_owned(), reason: causes.join(": ") }
}

pub(super) fn parse<T: DeserializeOwned>(what: &str, body: &[u8]) -> Result<T, ApiError> {
    let fault = |error: serde_json::Error| ApiError::Garbled {
        what: what.to_owned(),
        reason: error.to_string(),
    };
    serde_json::from_slice(body).map_err(fault)
}

/// Returns what a refusal says: its message, and the codes of its errors.
pub(super) fn said(body: &[u8]) -> String {
    let Ok(body) = serde_json::from_slice::<Value>(body) else { return String::new() };
    let mut said: Vec<_> = body["message"].as_str().map(str::to_owned).into_iter().collect();
    for error in body["errors"].as_array().into_iter().flatten() {
        let words = ["resource", "field", "code", "message"].map(|key| error[key].as_str());
        let words: Vec<_> = words.into_iter().flatten().collect();
        said.push(if words.is_empty() { error.to_string() } else { words.join(" ") });
    }
    said.join("; ")
}

/// Returns the URL of the next page.
pub(super) fn next_page(headers: &HeaderMap) -> Option<String> {
    let links = headers.get(LINK)?.to_str().ok()?;
    let next = links.split(',').find(|link| link.contains("rel=\"next\""))?;
    let (_, url) = next.split_once('<')?;
    Some(url.split_once('>')?.0.to_owned())
}

pub(super) fn location(headers: &HeaderMap) -> Option<String> {
    Some(headers.get(LOCATION)?.to_str().ok()?.to_owned())
}

/// Encodes what stands for itself in no part of a URL; slashes stay.
pub(super) fn encoded(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
    let byte = |b: u8| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") };
    text.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_tells_what_it_says() {
        let body = br#"{"message":"Validation Failed","errors":[{"resource":"ReleaseAsset","code":"already_exists","field":"name"}]}"#;
        assert_eq!(said(body), "Validation Failed; ReleaseAsset name already_exists");
        assert_eq!(said(b"<html>"), "");
    }

    #[test]
    fn the_next_page_is_found_among_links() {
        let mut headers = HeaderMap::new();
        assert_eq!(next_page(&headers), None);
        let links = r#"<https://a/?page=1>; rel="prev", <https://a/?page=3>; rel="next""#;
        headers.insert(LINK, links.parse().unwrap());
        assert_eq!(next_page(&headers).as_deref(), Some("https://a/?page=3"));
    }

    #[test]
    fn a_tag_stays_one_part_of_a_url() {
        assert_eq!(encoded("lamp/v1.0.0+3 #"), "lamp/v1.0.0%2B3%20%23");
    }
}
