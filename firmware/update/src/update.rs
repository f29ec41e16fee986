//! One poll of a channel, from the descriptor to the changed boot selection.
//!
//! ```text
//! descriptor -> trust -> decide -> nothing to install
//!     ^                    |
//!     +--- newer roots? <--+  -> patch -> image
//!                             \---fails---^
//! ```
//!
//! Newer roots are asked for when something is to be installed, and when the
//! descriptor is not believed. What they say counts for the descriptor as it
//! is fetched then.

mod download;
mod judge;

use crate::{
    clock::Clock,
    decide::{Decision, Form, Reason, Running},
    descriptor::{DocumentError, MAX_DOCUMENT, Sha256, UrlError, Version},
    error::OtaError,
    http::{self, Etag, HttpError},
    layout::Slot,
    ota::Ota,
    pace::{Limits, Pace},
    patch::FileWriter,
    schedule::{Jitter, Times},
    slot::Expected,
    transport::Connect,
    trust::{Failed, MAX_WALK, Newest, Refusal, Trust, TrustError, Trusted, Trusting},
};
use core::{
    fmt::{self, Debug, Write as _},
    ops::Range,
};
use download::{Download, FetchError, MAX_LOCATION, fetch};
use embedded_storage::nor_flash::NorFlash;
use judge::Judged;
use sha2::{Digest, Sha256 as Hasher};

/// Bytes of working memory for patches: with the feature `patches` those of the small
/// profile, with `large-patches` those of the large one too.
const MEMORY: usize = if cfg!(feature = "large-patches") {
    32 * 1024
} else if cfg!(feature = "patches") {
    4 * 1024
} else {
    0
};

/// The memory that a poll works in, 8.5 KiB, with the feature `patches` 12.5 KiB, with
/// `large-patches` 40.5 KiB: a `static`, or anything that lives as long as the poll.
///
/// A device without a partition `towline` keeps in it what it trusts, as long
/// as it lives.
#[derive(Clone, Debug)]
pub struct Buffers {
    head: [u8; http::HEAD],
    document: [u8; MAX_DOCUMENT],
    kept: Kept,
    trusted: Trusted,
    work: [u16; MEMORY / 2],
}

/// Where the texts stand in the document that are needed after a poll.
#[derive(Clone, Debug)]
struct Kept {
    path: Range<usize>,
    patch: Option<KeptPatch>,
    metadata: Option<Range<usize>>,
    notes: Option<Range<usize>>,
}

/// What is fetched in the place of the image.
#[derive(Clone, Debug)]
struct KeptPatch {
    form: Form,
    path: Range<usize>,
    size: u32,
    sha256: Sha256,
    /// Bytes of working memory that its format promises not to exceed.
    memory: u32,
}

impl Kept {
    const NOTHING: Self = Self { path: 0..0, patch: None, metadata: None, notes: None };
}

impl Buffers {
    /// Makes buffers; they need no initialisation at run time.
    pub const fn new() -> Self {
        Self {
            head: [0; http::HEAD],
            document: [0; MAX_DOCUMENT],
            kept: Kept::NOTHING,
            trusted: Trusted::new(),
            work: [0; MEMORY / 2],
        }
    }

    fn text(&self, range: &Range<usize>) -> Option<&str> {
        core::str::from_utf8(self.document.get(range.clone())?).ok()
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
    /// Of whom it was asked, by whom.
    id: Sha256,
    etag: Etag,
    version: Version,
    reason: Reason,
    expires: Option<u64>,
}

/// What a device is to its channel.
#[derive(Clone, Copy, Debug, Default)]
pub struct Identity<'a> {
    /// Board variant; `None` for firmware that does not know its own.
    pub target: Option<&'a str>,
    /// Channel that the device follows; `None` if it knows only a URL.
    pub channel: Option<&'a str>,
    /// What tells it from all other devices, such as its MAC address; empty if
    /// there is nothing. It never leaves the device.
    pub id: &'a [u8],
    /// Groups that it belongs to.
    pub groups: &'a [&'a str],
    /// Local time is so many minutes ahead of UTC.
    pub utc_offset: i16,
}

/// Follows one channel.
///
/// What it trusts is `Option<Trust>`, or a type that says more: firmware that
/// has `()` there is linked without the code for signatures and roots.
pub struct Updater<'a, F, N, C, T = Option<Trust<'a>>> {
    /// The slots.
    pub ota: &'a mut Ota<F>,
    /// The network.
    pub net: &'a mut N,
    /// The time.
    pub clock: &'a C,
    /// The device.
    pub device: Identity<'a>,
    /// What it trusts, if that is more than its host.
    pub trust: T,
    /// Whether a user asks for the update: it waits neither for approval nor
    /// for the time of day.
    pub by_user: bool,
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
    /// When it may be installed: what decides when to ask again, with
    /// [`schedule::after_stay`](crate::schedule::after_stay).
    pub times: Times,
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
        /// The form in which it came at last.
        form: Form,
        /// Bytes that were fetched for it in this poll, in any form.
        fetched: u32,
    },
}

/// How far a download is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the image that are there, those of an earlier attempt included.
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
    /// The descriptor is not believed, or the next root is not.
    Trust(TrustError),
    /// Fetching the next root failed.
    RootFetch(HttpError<N>),
    /// Fetching the image failed. What came is kept for the next attempt.
    ImageFetch(HttpError<N>),
    /// The host's `Content-Length` is not the size that the descriptor states.
    Length,
    /// The image was refused or could not be written.
    Ota(OtaError<F>),
}

/// What was found of a descriptor.
struct Verdict {
    check: Check,
    expires: Option<u64>,
    /// What is to be remembered of a signed one.
    note: Option<Note>,
}

struct Note {
    newest: Newest,
    /// Whether what runs needs no way down to the channel any more.
    arrived: bool,
    failed: Option<Failed>,
}

type Fault<F, N> =
    UpdateError<<F as embedded_storage::nor_flash::ErrorType>::Error, <N as Connect>::Error>;

impl<'a, F: NorFlash, N: Connect, C: Clock, T: Trusting<'a>> Updater<'a, F, N, C, T> {
    /// Asks the channel whose descriptor is at `url` what it offers.
    ///
    /// # Errors
    /// [`UpdateError`].
    pub async fn check(&mut self, url: &str) -> Result<Check, Fault<F, N>> {
        let mut pace = Pace::new(self.clock, self.limits);
        self.poll(&mut pace, url).await
    }

    /// Asks the channel whose descriptor is at `url`, and installs what it
    /// offers if that is an update. `progress` is called for each piece of the
    /// image. The caller resets the device.
    ///
    /// The image comes in the form of fewest bytes. If it cannot be made of
    /// another form, the image as it is follows at once.
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
    ) -> Result<Outcome, Fault<F, N>> {
        let mut pace = Pace::new(self.clock, self.limits);
        let check = self.poll(&mut pace, url).await?;
        let offer = match check.decision {
            Decision::Stay(reason) => return Ok(Outcome::Stay(reason)),
            Decision::Install(offer) => offer,
        };
        let expected = Expected {
            size: Some(offer.size),
            sha256: Some(offer.sha256),
            version: Some(offer.version.clone()),
        };
        let Buffers { head, document, kept, work, .. } = &mut *self.buffers;
        let text = |range: &Range<usize>| {
            core::str::from_utf8(&document[range.clone()]).unwrap_or_default()
        };
        let mut patch = kept.patch.as_ref().filter(|_| MEMORY > 0);
        let mut fetched = 0;
        let verified = loop {
            let slot = self.ota.begin(expected.clone()).map_err(UpdateError::Ota)?;
            // What was begun as it is goes on so: its patch may have failed.
            patch = patch.filter(|_| !slot.is_plain());
            let (url, mut file) = match patch {
                None => (text(&kept.path), FileWriter::image(slot)),
                Some(KeptPatch { form, path, size, sha256, memory }) => {
                    let len = work.len().min(*memory as usize / 2);
                    let work = &mut work[..len];
                    (text(path), FileWriter::patch(slot, *form, *size, sha256, work))
                }
            };
            let net = &mut *self.net;
            let mut download = Download { net, head, limits: &self.limits, url, fetched: 0 };
            let result = download.run(&mut pace, &mut file, self.jitter, &mut progress).await;
            fetched += download.fetched;
            let error = match result.and_then(|()| file.finish().map_err(UpdateError::Ota)) {
                Ok(verified) => break verified,
                Err(error) => error,
            };
            if patch.take().is_none() || !error.is_of_file() {
                return Err(error);
            }
        };
        let slot = verified.slot();
        verified.activate().map_err(UpdateError::Ota)?;
        let form = patch.map_or(Form::Plain, |patch| patch.form);
        Ok(Outcome::Installed { version: offer.version, slot, form, fetched })
    }

    /// Returns what the descriptor carries for the application, a JSON object,
    /// after [`check`](Self::check) or [`update`](Self::update).
    pub fn metadata(&self) -> Option<&str> {
        self.buffers.text(self.buffers.kept.metadata.as_ref()?)
    }

    /// Returns the notes of the release, after [`check`](Self::check) or
    /// [`update`](Self::update).
    pub fn notes(&self) -> Option<&str> {
        self.buffers.text(self.buffers.kept.notes.as_ref()?)
    }

    /// Asks the channel. Leaves the URL of the image in the buffers.
    async fn poll(&mut self, pace: &mut Pace<'_, C>, url: &str) -> Result<Check, Fault<F, N>> {
        self.open_trust()?;
        let id = self.asked(url);
        let now = self.clock.unix_time();
        let Buffers { head, document, kept, trusted, .. } = &mut *self.buffers;
        let is_known = |seen: &&Seen| seen.id == id && !trusted.is_over(now, seen.expires);
        let seen = self.last.seen.as_ref().filter(is_known);
        let etag = seen.map(|seen| seen.etag.as_str());
        let fetched = fetch(self.net, pace, &self.limits, url, etag, head, document).await;
        if let (Ok(None), Some(seen)) = (&fetched, seen) {
            let decision = Decision::Stay(seen.reason);
            // What depends on the time is never answered so.
            let times = Times::default();
            return Ok(Check { version: seen.version.clone(), decision, times });
        }
        // Whatever came stands in the document now, even if it is half of one.
        *kept = Kept::NOTHING;
        self.last.seen = None;
        let not_modified = UpdateError::DescriptorFetch(HttpError::Status(304));
        let (len, mut etag) = fetched.map_err(descriptor_fetch)?.ok_or(not_modified)?;
        let mut verdict = self.judge(len);
        if let Some(trust) = self.trust.trust()
            && is_worth_a_walk(&verdict)
        {
            match T::walk(self, pace, &trust).await {
                Ok(false) => {}
                Ok(true) => {
                    let Buffers { head, document, .. } = &mut *self.buffers;
                    let again = fetch(self.net, pace, &self.limits, url, None, head, document);
                    verdict = match again.await {
                        Ok(Some((len, newer))) => {
                            etag = newer;
                            self.judge(len)
                        }
                        Ok(None) => Err(UpdateError::DescriptorFetch(HttpError::Status(304))),
                        Err(error) => Err(descriptor_fetch(error)),
                    };
                }
                Err(error) => {
                    self.buffers.kept = Kept::NOTHING;
                    verdict = Err(error);
                }
            }
        }
        self.conclude(id, etag, verdict)
    }

    /// Gets ready to judge signatures.
    fn open_trust(&mut self) -> Result<(), Fault<F, N>> {
        let Some(trust) = self.trust.trust() else { return Ok(()) };
        let Buffers { head, trusted, .. } = &mut *self.buffers;
        let region = self.ota.layout.trusted;
        trusted.load(&mut self.ota.flash, region).map_err(flash)?;
        trusted.settle(trust.root, head).map_err(UpdateError::Trust)
    }

    /// Returns what makes the answer to a poll another one.
    fn asked(&self, url: &str) -> Sha256 {
        let Identity { target, channel, id, groups, utc_offset: _ } = self.device;
        let mut hasher = Hasher::new();
        let texts = [Some(url), target, channel].into_iter().chain(groups.iter().map(|g| Some(*g)));
        for text in texts.map(Option::unwrap_or_default) {
            hasher.update((text.len() as u32).to_le_bytes());
            hasher.update(text);
        }
        Sha256(hasher.chain_update(id).finalize().into())
    }

    /// Goes on to newer roots. Returns whether the descriptor is to be fetched
    /// once more: there were newer roots, or what was looked at for one took its
    /// place.
    pub(crate) async fn walk_roots(
        &mut self,
        pace: &mut Pace<'_, C>,
        trust: &Trust<'_>,
    ) -> Result<bool, Fault<F, N>> {
        for walked in 0..MAX_WALK {
            let Buffers { head, document, trusted, kept, .. } = &mut *self.buffers;
            let mut url = heapless::String::<MAX_LOCATION>::new();
            write!(url, "{}{}.json", trust.roots, trusted.next_root())
                .map_err(|_| UpdateError::RootFetch(HttpError::Url))?;
            let fetched = fetch(self.net, pace, &self.limits, &url, None, head, document).await;
            let len = match fetched {
                // Some hosts do not tell what is not there, and some have a page
                // for all of it, or lead to one. One that withholds a root
                // could deny it as well.
                Err(
                    FetchError::Http(
                        HttpError::Status(403 | 404 | 410)
                        | HttpError::Redirect
                        | HttpError::NoLength,
                    )
                    | FetchError::TooLarge,
                ) => return Ok(walked > 0),
                Err(FetchError::Http(error)) => return Err(UpdateError::RootFetch(error)),
                Err(FetchError::Url(error)) => return Err(UpdateError::Url(error)),
                Ok(None) => return Err(UpdateError::RootFetch(HttpError::Status(304))),
                Ok(Some((len, _))) => len,
            };
            *kept = Kept::NOTHING;
            // Nobody walks who does not know his channel.
            let channel = self.device.channel.unwrap_or_default();
            let now = self.clock.unix_time();
            if !trusted.advance(&mut document[..len], channel, now, trust.verify, head)? {
                return Ok(true);
            }
        }
        Err(TrustError::MoreRoots.into())
    }

    /// Judges the descriptor in the buffers.
    #[inline(never)]
    fn judge(&mut self, len: usize) -> Result<Verdict, Fault<F, N>> {
        let clock = self.clock.unix_time();
        let project = self.ota.app().project_name.clone();
        let mut running = Running {
            project: project.as_str(),
            version: self.ota.app().version.as_str().parse().ok(),
            chip: self.ota.chip(),
            target: self.device.target,
            channel: self.device.channel,
            id: self.device.id,
            groups: self.device.groups,
            now: clock,
            utc_offset: self.device.utc_offset,
            by_user: self.by_user,
            switched: false,
            secure_version: self.ota.secure_version(),
            slot_size: self.ota.spare_size(),
        };
        let Buffers { head, document, kept, trusted, .. } = &mut *self.buffers;
        let ota = &mut *self.ota;
        let image = || ota.image().ok().map(|image| image.sha256);
        let start = document.as_ptr().addr();
        let judged = match self.trust.trust() {
            None => judge::plain(&running, image, &mut document[..len], start),
            Some(trust) => {
                let document = &mut document[..len];
                let (signed, newest, signer) =
                    trusted.open(document, self.device.channel, trust.verify, head)?;
                running.switched = trusted.is_switched(newest.channel);
                running.now = trusted.time(clock);
                let is_over = |expires| trusted.is_over(clock, expires);
                judge::signed(&running, image, signed, newest, signer, is_over, start)
            }
        }?;
        let Judged { mut check, expires, arrived, newest, kept: texts } = judged;
        *kept = texts;
        let mut failed = trusted.state.failed.filter(|_| newest.is_some());
        if let Decision::Install(offer) = &check.decision {
            let reason =
                judge::objection(self.ota, offer, &mut failed).map_err(UpdateError::Ota)?;
            if let Some(reason) = reason {
                check.decision = Decision::Stay(reason);
            }
        }
        let note = newest.map(|newest| Note { newest, arrived, failed });
        Ok(Verdict { check, expires, note })
    }

    /// Remembers what a poll found.
    fn conclude(
        &mut self,
        id: Sha256,
        etag: Option<Etag>,
        verdict: Result<Verdict, Fault<F, N>>,
    ) -> Result<Check, Fault<F, N>> {
        let trusted = &mut self.buffers.trusted;
        if let Ok(Verdict { note: Some(Note { newest, arrived, failed }), .. }) = &verdict {
            trusted.remember(|state| {
                state.note(*newest);
                state.failed = *failed;
                if *arrived || state.followed.is_none() {
                    state.followed = Some(newest.channel);
                }
            });
        }
        if self.trust.trust().is_some() {
            let region = self.ota.layout.trusted;
            trusted.save(&mut self.ota.flash, region).map_err(UpdateError::Ota)?;
        }
        let Verdict { check, expires, .. } = verdict?;
        if let (Decision::Stay(reason), Some(etag)) = (&check.decision, etag)
            && reason.lasts_until_reset()
        {
            let (reason, version) = (*reason, check.version.clone());
            self.last.seen = Some(Seen { id, etag, version, reason, expires });
        }
        Ok(check)
    }
}

/// Returns whether newer roots could change a verdict, or have to be known
/// before it is acted on.
fn is_worth_a_walk<F, N>(verdict: &Result<Verdict, UpdateError<F, N>>) -> bool {
    match verdict {
        Ok(verdict) => matches!(verdict.check.decision, Decision::Install(_)),
        Err(UpdateError::Trust(TrustError::NoChannel)) => false,
        Err(error) => matches!(error, UpdateError::Trust(_)),
    }
}

fn flash<F, N>(error: F) -> UpdateError<F, N> {
    UpdateError::Ota(OtaError::Flash(error))
}

fn descriptor_fetch<F, N>(error: FetchError<N>) -> UpdateError<F, N> {
    match error {
        FetchError::Url(error) => UpdateError::Url(error),
        FetchError::Http(error) => UpdateError::DescriptorFetch(error),
        FetchError::TooLarge => UpdateError::Descriptor(DocumentError::TooLarge),
    }
}

impl<F, N> From<TrustError> for UpdateError<F, N> {
    fn from(error: TrustError) -> Self {
        Self::Trust(error)
    }
}

impl<F, N> From<Refusal> for UpdateError<F, N> {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Document(error) => Self::Descriptor(error),
            Refusal::Trust(error) => Self::Trust(error),
        }
    }
}

impl<F, N> UpdateError<F, N> {
    /// Returns whether the channel was reached all the same: enough of its keys
    /// signed the descriptor that is refused, or its host, whose certificate was
    /// checked, has too much to do.
    ///
    /// Firmware that got so far has proven itself. On trial, that the host was
    /// given up by its publisher for a while bars no release.
    pub fn is_from_channel(&self) -> bool {
        match self {
            Self::Trust(TrustError::Expired | TrustError::Replayed) => true,
            Self::DescriptorFetch(HttpError::Status(status)) => {
                HttpError::<()>::Status(*status).is_passing()
            }
            _ => false,
        }
    }

    /// Returns whether another file that holds the same image may do.
    fn is_of_file(&self) -> bool {
        match self {
            Self::Url(_) | Self::Length => true,
            Self::ImageFetch(HttpError::Late(_)) => false,
            Self::ImageFetch(error) => !error.is_passing(),
            Self::Ota(error) => !matches!(error, OtaError::Flash(_)),
            _ => false,
        }
    }
}

impl<F: Debug, N: Debug> fmt::Display for UpdateError<F, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(error) => write!(f, "URL refused: {error}"),
            Self::DescriptorFetch(error) => write!(f, "descriptor: {error}"),
            Self::Descriptor(error) => write!(f, "descriptor refused: {error}"),
            Self::Trust(error) => write!(f, "not trusted: {error}"),
            Self::RootFetch(error) => write!(f, "root: {error}"),
            Self::ImageFetch(error) => write!(f, "image: {error}"),
            Self::Length => f.write_str("the host's length of the image is not the stated size"),
            Self::Ota(error) => write!(f, "image refused: {error}"),
        }
    }
}

impl<F: Debug, N: Debug> core::error::Error for UpdateError<F, N> {}
