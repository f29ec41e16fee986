//! Fetching: a document into memory, an image into its slot.

use crate::{
    clock::Clock,
    descriptor::{MAX_DOCUMENT, Url, UrlError},
    http::{self, Etag, HttpError, Request, Status},
    journal::Validator,
    pace::{Limits, Pace},
    patch::FileWriter,
    schedule::{self, Jitter},
    transport::Connect,
    update::{Progress, UpdateError},
};
use embassy_futures::yield_now;
use embedded_storage::nor_flash::NorFlash;

/// The longest URL in bytes that a redirect may lead to, or of a root.
pub(crate) const MAX_LOCATION: usize = 256;

/// The download of one file, an image or what makes one.
pub(super) struct Download<'d, N> {
    pub(super) net: &'d mut N,
    pub(super) head: &'d mut [u8; http::HEAD],
    pub(super) limits: &'d Limits,
    pub(super) url: &'d str,
    /// Bytes of the file that were fetched.
    pub(super) fetched: u32,
}

impl<N: Connect> Download<'_, N> {
    /// Fetches what the image lacks, in as many attempts as that takes.
    pub(super) async fn run<F: NorFlash, C: Clock>(
        &mut self,
        pace: &mut Pace<'_, C>,
        file: &mut FileWriter<'_, '_, F>,
        jitter: &mut Jitter,
        progress: &mut impl FnMut(Progress),
    ) -> Result<(), UpdateError<F::Error, N::Error>> {
        let mut failures = 0;
        while !file.is_whole() {
            let before = file.from();
            let result = self.attempt(pace, file, progress).await;
            let Err(error) = result else { continue };
            failures = if file.from() > before { 1 } else { failures + 1 };
            let is_passing = matches!(&error, UpdateError::ImageFetch(lost) if lost.is_passing());
            if !is_passing || failures >= self.limits.attempts {
                return Err(error);
            }
            let pause = schedule::backoff(failures, jitter.draw());
            if pace.rest(pause).await.is_err() {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Fetches what the writer lacks, over one connection.
    async fn attempt<F: NorFlash, C: Clock>(
        &mut self,
        pace: &mut Pace<'_, C>,
        file: &mut FileWriter<'_, '_, F>,
        progress: &mut impl FnMut(Progress),
    ) -> Result<(), UpdateError<F::Error, N::Error>> {
        let mut location = Location::new(self.url);
        loop {
            pace.begin();
            let url = Url::parse(location.as_str()).map_err(UpdateError::Url)?;
            let request = Request { url, if_none_match: None, from: file.from() };
            let mut response = http::get(&mut *self.net, pace, &request, self.head)
                .await
                .map_err(UpdateError::ImageFetch)?;
            let validator = Validator::of(response.etag.as_deref());
            match response.status {
                Status::Elsewhere => {
                    let next = response.location(self.head);
                    location =
                        location.follow(next, self.limits).map_err(UpdateError::ImageFetch)?;
                    continue;
                }
                Status::Rest { size } if size != file.size() => return Err(UpdateError::Length),
                Status::Rest { .. } if validator == file.validator() => {}
                // Another file, or nothing: from the start, over a new
                // connection.
                Status::Rest { .. } | Status::NoSuchRange => {
                    file.restart(validator);
                    continue;
                }
                Status::Whole if response.length() != file.size() => {
                    return Err(UpdateError::Length);
                }
                Status::Whole => file.restart(validator),
                Status::NotModified => {
                    return Err(UpdateError::ImageFetch(HttpError::Status(304)));
                }
            }
            let mut piece = response.take_early();
            loop {
                self.fetched += piece.len() as u32;
                loop {
                    let taken = pace.aside(|| file.write(&self.head[piece.clone()]));
                    piece.start += taken.map_err(UpdateError::Ota)?;
                    progress(file.progress());
                    if piece.is_empty() && !file.is_busy() {
                        break;
                    }
                    // Few bytes can make many: others have their turn.
                    yield_now().await;
                }
                let count =
                    response.read(pace, self.head).await.map_err(UpdateError::ImageFetch)?;
                if count == 0 {
                    return Ok(());
                }
                piece = 0..count;
            }
        }
    }
}

/// Why a document was not fetched.
pub(super) enum FetchError<E> {
    Url(UrlError),
    Http(HttpError<E>),
    TooLarge,
}

/// Fetches the document at `url` into `document`, and returns its length and
/// ETag; `None` if it still has the ETag `known`.
pub(super) async fn fetch<N: Connect, C: Clock>(
    net: &mut N,
    pace: &mut Pace<'_, C>,
    limits: &Limits,
    url: &str,
    known: Option<&str>,
    head: &mut [u8; http::HEAD],
    document: &mut [u8; MAX_DOCUMENT],
) -> Result<Option<(usize, Option<Etag>)>, FetchError<N::Error>> {
    let mut location = Location::new(url);
    loop {
        pace.begin();
        let url = Url::parse(location.as_str()).map_err(FetchError::Url)?;
        let request = Request { url, if_none_match: known, from: 0 };
        let mut response = http::get(&mut *net, pace, &request, head).await?;
        match response.status {
            Status::NotModified => return Ok(None),
            Status::Elsewhere => location = location.follow(response.location(head), limits)?,
            _ => {
                let etag = response.etag.take();
                let body = response.read_all(pace, head, document).await?;
                return Ok(Some((body.ok_or(FetchError::TooLarge)?.len(), etag)));
            }
        }
    }
}

impl<E> From<HttpError<E>> for FetchError<E> {
    fn from(error: HttpError<E>) -> Self {
        Self::Http(error)
    }
}

/// Where a request goes, after some redirects.
struct Location<'u> {
    first: &'u str,
    moved: Option<heapless::String<MAX_LOCATION>>,
    redirects: u8,
}

impl<'u> Location<'u> {
    fn new(first: &'u str) -> Self {
        Self { first, moved: None, redirects: 0 }
    }

    fn as_str(&self) -> &str {
        self.moved.as_deref().unwrap_or(self.first)
    }

    /// Returns where `location`, an absolute URL or path, leads from here.
    fn follow<E>(&self, location: Option<&str>, limits: &Limits) -> Result<Self, HttpError<E>> {
        let here = Url::parse(self.as_str()).map_err(|_| HttpError::Redirect)?;
        let location = location.ok_or(HttpError::Redirect)?;
        let mut moved = heapless::String::new();
        if location.starts_with('/') {
            let authority = here.as_str().strip_suffix(here.path()).unwrap_or_default();
            moved.push_str(authority).map_err(|_| HttpError::Redirect)?;
        }
        moved.push_str(location).map_err(|_| HttpError::Redirect)?;
        let there = Url::parse(&moved).map_err(|_| HttpError::Redirect)?;
        let same = here.host().eq_ignore_ascii_case(there.host()) && here.port() == there.port();
        if self.redirects >= limits.redirects || !(same || limits.other_hosts) {
            return Err(HttpError::Redirect);
        }
        Ok(Self { first: self.first, moved: Some(moved), redirects: self.redirects + 1 })
    }
}
