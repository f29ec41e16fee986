//! Which descriptors a device believes: signatures, roots, and what it
//! remembers of both.
//!
//! ```text
//! root in the firmware, or a newer one in flash -> role of the channel
//!   -> signatures -> this device's? -> not older than the last? -> not expired?
//!
//! root N -> <roots>N+1.json -> ... until there is none
//! ```
//!
//! Invariants: nothing of a descriptor is used before its signatures were
//! verified; a root is taken only after the one before it, signed by both; the
//! number of a descriptor that was believed never goes down, unless the key
//! that signed it lost its role; nothing that was refused leaves a trace.

mod state;

use crate::{
    clock::Clock,
    decide::{Reason, Running, foreign},
    descriptor::{
        Descriptor, DocumentError, Envelope, KeyId, Role, Root, SignedDescriptor, Verify,
        envelope::ROOT_TYPE, root::MAX_ROOT,
    },
    error::OtaError,
    layout::Region,
    pace::Pace,
    transport::Connect,
    update::{UpdateError, Updater},
};
use core::fmt;
use embedded_storage::nor_flash::NorFlash;

pub use state::{Failed, MAX_CHANNELS, NameHash, Newest, State};

/// Most roots that a poll goes on by.
pub const MAX_WALK: u32 = 8;

/// By how many seconds the clock of who makes a root may be ahead.
const MAX_AHEAD: u64 = 24 * 3600;

/// What firmware trusts. Without it, it trusts its host.
#[derive(Clone, Copy, Debug)]
pub struct Trust<'a> {
    /// Payload of the newest root when the firmware was built.
    pub root: &'a [u8],
    /// URL under which the roots stand as `1.json`, `2.json` and so on; it ends
    /// in `/`.
    pub roots: &'a str,
    /// Verifies signatures.
    pub verify: Verify,
}

/// What a device may trust beside its host.
#[expect(async_fn_in_trait, reason = "one executor, one thread: no Send needed on a chip")]
pub trait Trusting<'a>: Copy {
    /// Returns what it trusts; `None` if it trusts its host.
    fn trust(self) -> Option<Trust<'a>>;

    /// Goes on to newer roots; returns whether the descriptor is to be fetched
    /// once more.
    ///
    /// # Errors
    /// If there is a next root that is not believed, or it cannot be fetched.
    async fn walk<F: NorFlash, N: Connect, C: Clock>(
        updater: &mut Updater<'a, F, N, C, Self>,
        pace: &mut Pace<'_, C>,
        trust: &Trust<'_>,
    ) -> Result<bool, UpdateError<F::Error, N::Error>> {
        updater.walk_roots(pace, trust).await
    }
}

/// Only the host.
impl<'a> Trusting<'a> for () {
    fn trust(self) -> Option<Trust<'a>> {
        None
    }

    // A future keeps what it might have waited for: none, then.
    async fn walk<F: NorFlash, N: Connect, C: Clock>(
        _: &mut Updater<'a, F, N, C, Self>,
        _: &mut Pace<'_, C>,
        _: &Trust<'_>,
    ) -> Result<bool, UpdateError<F::Error, N::Error>> {
        Ok(false)
    }
}

impl<'a> Trusting<'a> for Trust<'a> {
    fn trust(self) -> Option<Self> {
        Some(self)
    }
}

impl<'a> Trusting<'a> for Option<Trust<'a>> {
    fn trust(self) -> Self {
        self
    }
}

/// Why a descriptor or a root is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustError {
    /// The root in the firmware is none.
    Embedded(DocumentError),
    /// The device does not know its channel, and so not whom to believe.
    NoChannel,
    /// The descriptor has no signatures.
    Unsigned,
    /// The root names nobody who may sign the channel.
    NoRole,
    /// Fewer keys of the channel signed the descriptor than have to.
    Signatures,
    /// The descriptor was signed for other devices.
    Foreign(Reason),
    /// The descriptor is older than one that was believed before.
    Replayed,
    /// The descriptor is past its time.
    Expired,
    /// The next root is none.
    Root(DocumentError),
    /// The next root is of another project.
    RootProject,
    /// The next root has not the number after that of the one before.
    RootVersion,
    /// The next root was made before the one before it, or more than a day from
    /// now.
    RootIssued,
    /// The next root is not signed by enough keys of the root before it.
    RootBefore,
    /// The next root is not signed by enough of its own keys.
    RootItself,
    /// More roots came than a poll takes: the next poll goes on.
    MoreRoots,
}

/// Why a descriptor is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Document(DocumentError),
    Trust(TrustError),
}

/// What a device trusts while it polls, or as long as it runs if it has no
/// place in flash for it.
#[derive(Clone, Debug)]
pub(crate) struct Trusted {
    pub(crate) state: State,
    root: [u8; MAX_ROOT],
    len: usize,
    /// Project and number of that root, and when it was made.
    project: NameHash,
    version: u32,
    issued: u64,
    /// Whether flash is to be told.
    changed: bool,
}

/// What there is to say of a root before its signatures.
struct RootHead {
    project: NameHash,
    version: u32,
    /// When it was made, in seconds since 1970; 0 if it does not say.
    issued: u64,
    /// Who signs what was asked for; `None` if nobody does.
    role: Option<Role>,
}

/// For what the role is that is looked up in a root.
#[derive(Clone, Copy)]
enum For<'a> {
    /// Of roots that a device of this channel can go by.
    Roots(&'a str),
    Channel(&'a str),
}

impl Trusted {
    pub(crate) const fn new() -> Self {
        Self {
            state: State::new(),
            root: [0; MAX_ROOT],
            len: 0,
            project: NameHash::NONE,
            version: 0,
            issued: 0,
            changed: false,
        }
    }

    /// Reads what flash holds. Without a place in flash, what is held stays.
    pub(crate) fn load<F: NorFlash>(
        &mut self,
        flash: &mut F,
        region: Option<Region>,
    ) -> Result<(), F::Error> {
        if let Some(region) = region {
            (self.state, self.len) = State::read(flash, region, &mut self.root)?;
        }
        self.changed = false;
        Ok(())
    }

    /// Writes what is to be remembered, if it changed.
    pub(crate) fn save<F: NorFlash>(
        &mut self,
        flash: &mut F,
        region: Option<Region>,
    ) -> Result<(), OtaError<F::Error>> {
        match region {
            Some(region) if self.changed => {
                self.changed = false;
                self.state.write(flash, region, &mut self.root, self.len)
            }
            _ => Ok(()),
        }
    }

    /// Takes the root of the firmware, unless the one that is held was made
    /// after it. What is held of another project is forgotten.
    ///
    /// Time decides, and then the number: a chain that was begun anew counts from
    /// 1 again.
    pub(crate) fn settle(&mut self, embedded: &[u8], scratch: &mut [u8]) -> Result<(), TrustError> {
        let own = root_head(embedded, For::Roots(""), scratch).map_err(TrustError::Embedded)?;
        let held = root_head(&self.root[..self.len], For::Roots(""), scratch).ok();
        match held.filter(|held| held.project == own.project) {
            Some(held) if (held.issued, held.version) > (own.issued, own.version) => {
                self.stand_on(&held);
                return Ok(());
            }
            // Firmware that is rolled back must not bring the older one back.
            Some(_) => self.changed |= self.root[..self.len] != *embedded,
            None => self.state.forget(),
        }
        // It was parsed, so that it fits.
        self.root[..embedded.len()].copy_from_slice(embedded);
        self.len = embedded.len();
        self.stand_on(&own);
        Ok(())
    }

    fn stand_on(&mut self, root: &RootHead) {
        (self.project, self.version, self.issued) = (root.project, root.version, root.issued);
    }

    /// Returns what a clock tells: one that is behind the root was set wrong, and
    /// nothing may be installed by it.
    pub(crate) fn time(&self, clock: Option<u64>) -> Option<u64> {
        clock.filter(|now| *now >= self.issued)
    }

    /// Returns whether a descriptor has expired. Wherever a clock was set back
    /// to, it is not before the root was made.
    pub(crate) fn is_over(&self, clock: Option<u64>, expires: Option<u64>) -> bool {
        clock.zip(expires).is_some_and(|(now, expires)| now.max(self.issued) > expires)
    }

    /// Returns the number of the root that comes next.
    pub(crate) fn next_root(&self) -> u32 {
        self.version.saturating_add(1)
    }

    /// Goes on to the next root, which is published as `document`. Returns
    /// whether it is a root at all, signed or not.
    #[inline(never)]
    pub(crate) fn advance(
        &mut self,
        document: &mut [u8],
        channel: &str,
        now: Option<u64>,
        verify: Verify,
        scratch: &mut [u8],
    ) -> Result<bool, TrustError> {
        let envelope =
            Envelope::parse(document).ok().filter(|found| found.payload_type() == ROOT_TYPE);
        let Some(envelope) = envelope else { return Ok(false) };
        let payload = envelope.payload();
        let next = root_head(payload, For::Roots(channel), scratch).map_err(TrustError::Root)?;
        if next.project != self.project {
            return Err(TrustError::RootProject);
        }
        if next.version != self.next_root() {
            return Err(TrustError::RootVersion);
        }
        // Or firmware with a later root could not get rid of it.
        let is_ahead = |now: u64| next.issued > now.saturating_add(MAX_AHEAD);
        if next.issued < self.issued || now.is_some_and(is_ahead) {
            return Err(TrustError::RootIssued);
        }
        let before =
            root_head(&self.root[..self.len], For::Roots(""), scratch).map_err(TrustError::Root)?;
        let is_signed = |role: &Option<Role>| {
            role.as_ref().is_some_and(|role| envelope.signed_by(role, verify).is_some())
        };
        if !is_signed(&before.role) {
            return Err(TrustError::RootBefore);
        }
        if !is_signed(&next.role) {
            return Err(TrustError::RootItself);
        }
        self.root[..payload.len()].copy_from_slice(payload);
        self.len = payload.len();
        self.stand_on(&next);
        self.changed = true;
        Ok(true)
    }

    /// Verifies the signatures of a descriptor. Returns what is remembered of its
    /// channel, and who signed it.
    #[inline(never)]
    pub(crate) fn open<'d>(
        &self,
        document: &'d mut [u8],
        channel: Option<&str>,
        verify: Verify,
        scratch: &mut [u8],
    ) -> Result<(SignedDescriptor<'d>, Newest, KeyId), Refusal> {
        let channel = channel.ok_or(TrustError::NoChannel)?;
        let signed = SignedDescriptor::parse(document).map_err(Refusal::Document)?;
        let signed = signed.ok_or(TrustError::Unsigned)?;
        let root = root_head(&self.root[..self.len], For::Channel(channel), scratch);
        let root = root.as_ref().map_err(|error| TrustError::Embedded(*error))?;
        let role = root.role.as_ref().ok_or(TrustError::NoRole)?;
        let keys = signed.envelope().signed_by(role, verify).ok_or(TrustError::Signatures)?;
        let signer = keys.first().ok_or(TrustError::Signatures)?.id();
        let channel = NameHash::of(channel);
        // What a key signed that may sign no more counts no more.
        let newest = match self.state.newest(channel) {
            Some(newest) if role.keys.iter().any(|key| key.id() == newest.key) => newest,
            _ => Newest { channel, key: signer, seq: 0 },
        };
        Ok((signed, newest, signer))
    }

    /// Returns whether the device comes from another channel than this one.
    pub(crate) fn is_switched(&self, channel: NameHash) -> bool {
        self.state.followed.is_some_and(|followed| followed != channel)
    }

    /// Changes what is remembered.
    pub(crate) fn remember(&mut self, change: impl FnOnce(&mut State)) {
        let before = self.state.clone();
        change(&mut self.state);
        self.changed |= self.state != before;
    }
}

/// Reads the payload of a root, of which `scratch` gets a copy.
#[inline(never)]
fn root_head(payload: &[u8], what: For<'_>, scratch: &mut [u8]) -> Result<RootHead, DocumentError> {
    let copy = scratch.get_mut(..payload.len()).ok_or(DocumentError::TooLarge)?;
    copy.copy_from_slice(payload);
    let channel = match what {
        For::Roots(channel) | For::Channel(channel) => channel,
    };
    let root = Root::parse(copy, channel)?;
    Ok(RootHead {
        project: NameHash::of(root.project),
        version: root.version,
        issued: root.issued.unwrap_or(0),
        role: match what {
            For::Roots(_) => Some(root.root),
            For::Channel(_) => root.channel,
        },
    })
}

/// Judges a descriptor that `signer` signed. `newest` is what is remembered of
/// the channel; it becomes what is to be remembered.
pub(crate) fn admit(
    running: &Running<'_>,
    descriptor: &Descriptor<'_>,
    newest: &mut Newest,
    signer: KeyId,
) -> Result<(), TrustError> {
    if let Some(reason) = foreign(running, descriptor) {
        return Err(TrustError::Foreign(reason));
    }
    // It is there, or the descriptor would not have been read.
    let seq = descriptor.seq.unwrap_or(0);
    if seq < newest.seq {
        return Err(TrustError::Replayed);
    }
    // Which of its signatures a host leaves out changes nothing.
    if seq > newest.seq {
        (newest.seq, newest.key) = (seq, signer);
    }
    Ok(())
}

impl From<TrustError> for Refusal {
    fn from(error: TrustError) -> Self {
        Self::Trust(error)
    }
}

impl fmt::Display for TrustError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded(error) => write!(f, "the root of this firmware is refused: {error}"),
            Self::NoChannel => f.write_str("the device does not know its channel"),
            Self::Unsigned => f.write_str("the descriptor is not signed"),
            Self::NoRole => f.write_str("the root names no keys for the channel"),
            Self::Signatures => f.write_str("too few keys of the channel signed the descriptor"),
            Self::Foreign(reason) => write!(f, "the descriptor was signed for others: {reason}"),
            Self::Replayed => f.write_str("the descriptor is older than one that was seen before"),
            Self::Expired => f.write_str("the descriptor has expired"),
            Self::Root(error) => write!(f, "the next root is refused: {error}"),
            Self::RootProject => f.write_str("the next root is of another project"),
            Self::RootVersion => f.write_str("the next root has another number"),
            Self::RootIssued => {
                f.write_str("the next root is older than the one before it, or of the future")
            }
            Self::RootBefore => {
                f.write_str("too few keys of the root before it signed the next root")
            }
            Self::RootItself => f.write_str("too few of its own keys signed the next root"),
            Self::MoreRoots => {
                write!(f, "more than {MAX_WALK} roots are new; the next poll goes on")
            }
        }
    }
}

impl core::error::Error for TrustError {}
