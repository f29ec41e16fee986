//! What a host answers: facts that are taken while its files are fetched, and rules over
//! them.
//!
//! ```text
//! Remote --get--> Client --Reply--> Answer --rules--> findings
//!                   |                 ^
//!                 Cache             Uses: who fetches the file
//! ```

mod cache;
mod client;
mod device;
mod rules;
pub(super) mod url;

pub(super) use cache::Cache;
pub(super) use client::{Client, Reply};
pub(super) use device::refusal;

use super::{Code, Files, Finding};
use http::{HeaderMap, HeaderValue};
use std::collections::BTreeMap;

/// The bytes at the end of a file that are kept of it.
const TAIL: usize = 64;

/// What a host answered when it was asked for a file.
#[derive(Clone, Debug, Default)]
pub(super) struct Answer {
    /// The answers one after the other, where it sends its clients on.
    pub hops: Vec<Hop>,
    /// The size of the file in bytes.
    pub size: usize,
    /// Its last bytes.
    pub tail: Vec<u8>,
}

/// One answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Hop {
    /// What was asked for.
    pub url: String,
    /// The origin of the page that asked, if it was another one.
    pub asked_from: Option<HeaderValue>,
    /// What stood above the body.
    pub headers: HeaderMap,
}

impl Answer {
    /// Adds the answer that ends in these bytes.
    pub(super) fn of(hops: Vec<Hop>, body: &[u8]) -> Self {
        let tail = body[body.len().saturating_sub(TAIL)..].to_vec();
        Self { hops, size: body.len(), tail }
    }

    /// Returns a header of the last answer, if it is text.
    fn header(&self, name: &str) -> Option<&str> {
        self.hops.last()?.headers.get(name)?.to_str().ok()
    }
}

/// The answers for files, by their paths or URLs.
pub(super) type Answers = BTreeMap<String, Answer>;

/// Who fetches files, by their paths or URLs.
pub(super) type Uses = BTreeMap<String, Use>;

/// Who fetches a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Use {
    /// The origins of documents that installers come from.
    pub installers: Vec<String>,
    /// Devices, and how.
    pub devices: Option<Devices>,
    /// Whether it changes in place.
    pub changes: bool,
}

/// How devices fetch a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Devices {
    /// As those of Towline do: with its tag, and from where a download broke off.
    Towline,
    /// They go where the host sends them.
    Following,
    /// They go nowhere else.
    Staying,
}

/// Checks what the host of these files answers to those who use them.
pub(super) fn check(files: &impl Files, uses: &Uses) -> Vec<Finding> {
    let Some(remote) = files.remote() else { return Vec::new() };
    let answers = remote.take_answers();
    let mut found = rules::check(&answers, uses);
    let images = uses.iter().filter(|(_, of)| of.devices.is_some() && !of.changes);
    let images = images.filter_map(|(file, _)| answers.get_key_value(file));
    if let Some((file, answer)) = images.max_by_key(|(_, answer)| answer.size)
        && let Some(from) = rules::rest_of(answer)
        && let Some(rest) = remote.rest(file, from)
    {
        found.extend(rules::check_rest(file, answer, &rest));
    }
    let message = "the certificate counts for less than 14 days, and is older than a month";
    let expiring = remote.expiring().into_iter();
    found.extend(expiring.map(|host| Code::CertificateExpiresSoon.of(host, message)));
    found
}

/// Returns whether bytes are a page.
pub(super) fn is_page(bytes: &[u8]) -> bool {
    let start = bytes.trim_ascii_start();
    let starts =
        |text: &[u8]| start.get(..text.len()).is_some_and(|s| s.eq_ignore_ascii_case(text));
    starts(b"<!doctype html") || starts(b"<html")
}
