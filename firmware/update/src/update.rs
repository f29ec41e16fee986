//! One poll of a channel, from the descriptor to the changed boot selection.

use crate::{
    clock::Clock,
    decide::{Decision, Offer, Reason, Running, decide},
    descriptor::{Descriptor, DocumentError, MAX_DOCUMENT, Sha256, Url, UrlError, Version},
    error::OtaError,
    http::{self, Etag, HttpError, Request, Status},
    journal::Validator,
    layout::Slot,
    ota::Ota,
    pace::{Limits, Pace},
    schedule::{self, Jitter},
    slot::{Expected, SlotWriter},
    transport::Connect,
};
use core::fmt::{self, Debug};
use embedded_storage::nor_flash::NorFlash;
use sha2::{Digest, Sha256 as Hasher};

/// The longest URL in bytes that a redirect may lead to.
const MAX_LOCATION: usize = 256;

/// The memory that a poll works in, 6 KiB: a `static`, or anything that lives
/// as long as the poll.
#[derive(Debug)]
pub struct Buffers {
    head: [u8; http::HEAD],
    document: [u8; MAX_DOCUMENT],
}

impl Buffers {
    /// Makes buffers; they need no initialisation at run time.
    pub const fn new() -> Self {
        Self { head: [0; http::HEAD], document: [0; MAX_DOCUMENT] }
    }
}

impl Default for Buffers {
    fn default() -> Self {
        Self::new()
    }
}

/// What a device remembers of its last poll, so that the next one costs little.
/// It may be lost at any time.
#[derive(Clone, Debug, Default)]
pub struct LastPoll {
    seen: Option<Seen>,
}

/// A descriptor that was nothing to install.
#[derive(Clone, Debug)]
struct Seen {
    url: Sha256,
    etag: Etag,
    version: Version,
    reason: Reason,
}

/// Follows one channel.
pub struct Updater<'a, F, N, C> {
    /// The slots.
    pub ota: &'a mut Ota<F>,
    /// The network.
    pub net: &'a mut N,
    /// The time.
    pub clock: &'a C,
    /// Board variant; `None` for firmware that does not know its own.
    pub target: Option<&'a str>,
    /// Channel that the device follows; `None` if it knows only a URL.
    pub channel: Option<&'a str>,
    /// What downloads have to keep to.
    pub limits: Limits,
    /// Spreads the times between attempts.
    pub jitter: &'a mut Jitter,
    /// What is known of the last poll.
    pub last: &'a mut LastPoll,
    /// Memory to work in.
    pub buffers: &'a mut Buffers,
}

/// What a channel offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The version that is offered.
    pub version: Version,
    /// What to do about it, and why.
    pub decision: Decision,
}

/// How an update ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing was installed.
    Stay(Reason),
    /// This version is installed and boots next.
    Installed {
        /// The version.
        version: Version,
        /// Its slot.
        slot: Slot,
    },
}

/// How far a download is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes received, those of an earlier attempt included.
    pub received: u32,
    /// Size of the image in bytes.
    pub size: u32,
}

/// Why an update failed. The running firmware is untouched in every case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateError<F, N> {
    /// The URL of the channel or the path in its descriptor is refused.
    Url(UrlError),
    /// Fetching the descriptor failed.
    DescriptorFetch(HttpError<N>),
    /// The descriptor is refused.
    Descriptor(DocumentError),
    /// Fetching the image failed. What came is kept for the next attempt.
    ImageFetch(HttpError<N>),
    /// The host's `Content-Length` is not the size that the descriptor states.
    Length,
    /// The image was refused or could not be written.
    Ota(OtaError<F>),
}

impl<F: NorFlash, N: Connect, C: Clock> Updater<'_, F, N, C> {
    /// Asks the channel whose descriptor is at `url` what it offers.
    ///
    /// # Errors
    /// [`UpdateError`].
    pub async fn check(&mut self, url: &str) -> Result<Check, UpdateError<F::Error, N::Error>> {
        let mut pace = Pace::new(self.clock, self.limits);
        self.poll(&mut pace, url).await.map(|(check, _)| check)
    }

    /// Asks the channel whose descriptor is at `url`, and installs what it
    /// offers if that is an update. `progress` is called for each piece of the
    /// image. The caller resets the device.
    ///
    /// A download that was broken off, by a lost connection or a power cut, goes
    /// on where it was.
    ///
    /// # Errors
    /// [`UpdateError`].
    pub async fn update(
        &mut self,
        url: &str,
        mut progress: impl FnMut(Progress),
    ) -> Result<Outcome, UpdateError<F::Error, N::Error>> {
        let mut pace = Pace::new(self.clock, self.limits);
        let (check, path) = self.poll(&mut pace, url).await?;
        let offer = match check.decision {
            Decision::Stay(reason) => return Ok(Outcome::Stay(reason)),
            Decision::Install(offer) => offer,
        };
        let path = core::str::from_utf8(&self.buffers.document[..path]).unwrap_or_default();
        let expected = Expected {
            size: Some(offer.size),
            sha256: Some(offer.sha256),
            version: Some(offer.version.clone()),
        };
        let mut writer = self.ota.begin(expected).map_err(UpdateError::Ota)?;
        let mut download = Download {
            net: &mut *self.net,
            head: &mut self.buffers.head,
            limits: &self.limits,
            url: path,
            size: offer.size,
        };
        let mut failures = 0;
        while writer.received() < offer.size {
            let before = writer.received();
            let result = download.attempt(&mut pace, &mut writer, &mut progress).await;
            let Err(error) = result else { continue };
            failures = if writer.received() > before { 1 } else { failures + 1 };
            let is_passing = matches!(&error, UpdateError::ImageFetch(lost) if lost.is_passing());
            if !is_passing || failures >= self.limits.attempts {
                return Err(error);
            }
            let pause = schedule::backoff(failures, self.jitter.draw());
            if pace.rest(pause).await.is_err() {
                return Err(error);
            }
        }
        let verified = writer.finish().map_err(UpdateError::Ota)?;
        let slot = verified.slot();
        verified.activate().map_err(UpdateError::Ota)?;
        Ok(Outcome::Installed { version: offer.version, slot })
    }

    /// Asks the channel. Leaves the URL of the image at the start of the
    /// document buffer, and returns its length.
    async fn poll(
        &mut self,
        pace: &mut Pace<'_, C>,
        url: &str,
    ) -> Result<(Check, usize), UpdateError<F::Error, N::Error>> {
        let id = Sha256(Hasher::digest(url.as_bytes()).into());
        let seen = self.last.seen.as_ref().filter(|seen| seen.url == id);
        let Buffers { head, document } = &mut *self.buffers;
        let etag = seen.map(|seen| seen.etag.as_str());
        let fetched = fetch(self.net, pace, &self.limits, url, etag, head, document).await?;
        let Some((len, etag)) = fetched else {
            let seen = seen.ok_or(UpdateError::DescriptorFetch(HttpError::Status(304)))?;
            let decision = Decision::Stay(seen.reason);
            return Ok((Check { version: seen.version.clone(), decision }, 0));
        };
        self.last.seen = None;
        let document = self.buffers.document.as_ptr().addr();
        let descriptor = Descriptor::parse(&mut self.buffers.document[..len])
            .map_err(UpdateError::Descriptor)?;
        let path = Url::parse(descriptor.path).map_err(UpdateError::Url)?;
        let running = Running {
            project: self.ota.app().project_name.as_str(),
            version: self.ota.app().version.as_str().parse().ok(),
            chip: self.ota.chip(),
            target: self.target,
            channel: self.channel,
            secure_version: self.ota.secure_version(),
            slot_size: self.ota.spare_size(),
        };
        let mut decision = decide(&running, &descriptor);
        let version = descriptor.version.clone();
        let path = path.as_str();
        let start = path.as_ptr().addr() - document;
        let path = start..start + path.len();
        let len = path.len();
        drop(descriptor);
        self.buffers.document.copy_within(path, 0);
        if let Decision::Install(offer) = &decision
            && let Some(reason) = self.objection(offer).map_err(UpdateError::Ota)?
        {
            decision = Decision::Stay(reason);
        }
        if let (Decision::Stay(reason), Some(etag)) = (&decision, etag)
            && reason.lasts_until_reset()
        {
            let (reason, version) = (*reason, version.clone());
            self.last.seen = Some(Seen { url: id, etag, version, reason });
        }
        Ok((Check { version, decision }, len))
    }

    /// Returns what the slots have against an offer.
    fn objection(&mut self, offer: &Offer) -> Result<Option<Reason>, OtaError<F::Error>> {
        if self.ota.was_rolled_back(offer.size, &offer.sha256)? {
            return Ok(Some(Reason::RolledBack));
        }
        if self.ota.awaits_reset(offer.size, &offer.sha256)? {
            return Ok(Some(Reason::AwaitingReset));
        }
        Ok(None)
    }
}

/// The download of one image.
struct Download<'d, N> {
    net: &'d mut N,
    head: &'d mut [u8; http::HEAD],
    limits: &'d Limits,
    url: &'d str,
    size: u32,
}

impl<N: Connect> Download<'_, N> {
    /// Fetches what the writer lacks, over one connection.
    async fn attempt<F: NorFlash, C: Clock>(
        &mut self,
        pace: &mut Pace<'_, C>,
        writer: &mut SlotWriter<'_, F>,
        progress: &mut impl FnMut(Progress),
    ) -> Result<(), UpdateError<F::Error, N::Error>> {
        let mut location = Location::new(self.url);
        loop {
            pace.begin();
            let url = Url::parse(location.as_str()).map_err(UpdateError::Url)?;
            let request = Request { url, if_none_match: None, from: writer.received() };
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
                Status::Rest { size } if size != self.size => return Err(UpdateError::Length),
                Status::Rest { .. } if validator == writer.validator() => {}
                // Another file, or nothing: from the start, over a new
                // connection.
                Status::Rest { .. } | Status::NoSuchRange => {
                    writer.restart(validator);
                    continue;
                }
                Status::Whole if response.length() != self.size => return Err(UpdateError::Length),
                Status::Whole => writer.restart(validator),
                Status::NotModified => {
                    return Err(UpdateError::ImageFetch(HttpError::Status(304)));
                }
            }
            let mut piece = response.take_early();
            loop {
                writer.write(&self.head[piece.clone()]).map_err(UpdateError::Ota)?;
                progress(Progress { received: writer.received(), size: self.size });
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

/// Fetches the descriptor at `url` into `document`, and returns its length and
/// ETag; `None` if it still has the ETag `known`.
async fn fetch<F, N: Connect, C: Clock>(
    net: &mut N,
    pace: &mut Pace<'_, C>,
    limits: &Limits,
    url: &str,
    known: Option<&str>,
    head: &mut [u8; http::HEAD],
    document: &mut [u8; MAX_DOCUMENT],
) -> Result<Option<(usize, Option<Etag>)>, UpdateError<F, N::Error>> {
    let mut location = Location::new(url);
    loop {
        pace.begin();
        let url = Url::parse(location.as_str()).map_err(UpdateError::Url)?;
        let request = Request { url, if_none_match: known, from: 0 };
        let mut response = http::get(&mut *net, pace, &request, head)
            .await
            .map_err(UpdateError::DescriptorFetch)?;
        match response.status {
            Status::NotModified => return Ok(None),
            Status::Elsewhere => {
                let next = response.location(head);
                location = location.follow(next, limits).map_err(UpdateError::DescriptorFetch)?;
            }
            _ => {
                let etag = response.etag.take();
                let body = response.read_all(pace, head, document).await;
                let body = body.map_err(UpdateError::DescriptorFetch)?;
                let body = body.ok_or(UpdateError::Descriptor(DocumentError::TooLarge))?;
                return Ok(Some((body.len(), etag)));
            }
        }
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

impl<F: Debug, N: Debug> fmt::Display for UpdateError<F, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(error) => write!(f, "URL refused: {error}"),
            Self::DescriptorFetch(error) => write!(f, "descriptor: {error}"),
            Self::Descriptor(error) => write!(f, "descriptor refused: {error}"),
            Self::ImageFetch(error) => write!(f, "image: {error}"),
            Self::Length => f.write_str("the host's length of the image is not the stated size"),
            Self::Ota(error) => write!(f, "image refused: {error}"),
        }
    }
}

impl<F: Debug, N: Debug> core::error::Error for UpdateError<F, N> {}
