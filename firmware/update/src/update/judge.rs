//! Judging a descriptor: in functions that return before anything is waited
//! for, so that its size is no part of a future.

use super::{Check, Kept, KeptPatch, MEMORY, UpdateError};
use crate::{
    decide::{Decision, Offer, Reason, Running, choose, lightest, memory_of},
    descriptor::{Descriptor, KeyId, Sha256, SignedDescriptor, Url, UrlError, Version},
    error::OtaError,
    ota::Ota,
    schedule::Times,
    trust::{Failed, NameHash, Newest, Refusal, TrustError, admit},
};
use core::cmp::Ordering;
use embedded_storage::nor_flash::NorFlash;

/// Returns what the slots have against an offer, and what is known of releases
/// that failed.
pub(super) fn objection<F: NorFlash>(
    ota: &mut Ota<F>,
    offer: &Offer,
    failed: &mut Option<Failed>,
) -> Result<Option<Reason>, OtaError<F::Error>> {
    let running = NameHash::of(ota.app().version.as_str());
    // Another release was accepted since.
    if failed.is_some_and(|failed| failed.running != running) && !ota.is_on_trial()? {
        *failed = None;
    }
    if failed.is_some_and(|failed| failed.release == offer.sha256) {
        return Ok(Some(Reason::RolledBack));
    }
    if ota.was_rolled_back(offer.size, &offer.sha256)? {
        *failed = Some(Failed { release: offer.sha256, running });
        return Ok(Some(Reason::RolledBack));
    }
    if ota.awaits_reset(offer.size, &offer.sha256)? {
        return Ok(Some(Reason::AwaitingReset));
    }
    Ok(None)
}

/// What a descriptor says, without the descriptor.
pub(super) struct Judged {
    pub(super) check: Check,
    pub(super) expires: Option<u64>,
    pub(super) arrived: bool,
    pub(super) newest: Option<Newest>,
    pub(super) kept: Kept,
}

pub(super) enum Refused {
    Url(UrlError),
    Refusal(Refusal),
}

/// Judges a descriptor whose host is trusted.
#[inline(never)]
pub(super) fn plain(
    running: &Running<'_>,
    image: impl FnOnce() -> Option<Sha256>,
    document: &mut [u8],
    start: usize,
) -> Result<Judged, Refused> {
    // Large: it stays where it is.
    let mut descriptor = Descriptor::empty();
    descriptor.read_into(document).map_err(Refusal::Document)?;
    weigh(running, image, &descriptor, None, start)
}

/// Judges a descriptor whose signatures were verified: `signer` is one of those
/// who made them.
#[inline(never)]
pub(super) fn signed(
    running: &Running<'_>,
    image: impl FnOnce() -> Option<Sha256>,
    signed: SignedDescriptor<'_>,
    mut newest: Newest,
    signer: KeyId,
    is_over: impl FnOnce(Option<u64>) -> bool,
    start: usize,
) -> Result<Judged, Refused> {
    let mut descriptor = Descriptor::empty();
    signed.read_into(&mut descriptor).map_err(Refusal::Document)?;
    admit(running, &descriptor, &mut newest, signer).map_err(Refusal::Trust)?;
    if is_over(descriptor.expires) {
        return Err(TrustError::Expired.into());
    }
    weigh(running, image, &descriptor, Some(newest), start)
}

/// Decides, and finds where the texts stand that are needed later. `image` is
/// asked for the SHA-256 of the running image.
fn weigh(
    running: &Running<'_>,
    image: impl FnOnce() -> Option<Sha256>,
    descriptor: &Descriptor<'_>,
    newest: Option<Newest>,
    start: usize,
) -> Result<Judged, Refused> {
    Url::parse(descriptor.path).map_err(Refused::Url)?;
    let (decision, path, patch) = match choose(running, descriptor) {
        Ok((offer, path)) => {
            let path = Url::parse(path).map_err(Refused::Url)?.as_str();
            let patch = lightest(descriptor, &offer, MEMORY as u32, image);
            (Decision::Install(offer), Some(path), patch)
        }
        Err(reason) => (Decision::Stay(reason), None, None),
    };
    let is_below = |version: &Version| descriptor.version.precedence(version) == Ordering::Less;
    let place = |text: &str| {
        let at = text.as_ptr().addr() - start;
        at..at + text.len()
    };
    Ok(Judged {
        check: Check {
            version: descriptor.version.clone(),
            decision,
            times: Times::of(&descriptor.policy),
        },
        expires: descriptor.expires.filter(|_| newest.is_some()),
        arrived: !running.version.as_ref().is_some_and(is_below),
        newest,
        kept: Kept {
            path: path.map_or(0..0, place),
            patch: patch.map(|(form, patch)| KeptPatch {
                form,
                path: place(patch.path),
                size: patch.size,
                sha256: patch.sha256,
                memory: memory_of(patch.alg).unwrap_or(0),
            }),
            metadata: descriptor.policy.metadata.map(place),
            notes: descriptor.notes.map(place),
        },
    })
}

impl<F, N> From<Refused> for UpdateError<F, N> {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Url(error) => Self::Url(error),
            Refused::Refusal(refusal) => refusal.into(),
        }
    }
}

impl From<TrustError> for Refused {
    fn from(error: TrustError) -> Self {
        Self::Refusal(error.into())
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self::Refusal(refusal)
    }
}
