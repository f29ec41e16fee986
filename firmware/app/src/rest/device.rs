//! What the API needs of the device it runs on.

use super::Token;
use crate::slots::Slots;
use core::fmt;
use embedded_storage::nor_flash::NorFlash;
use towline::{Check, Decision, Reason};

/// Most channels of a device.
pub const MAX_CHANNELS: usize = 3;

/// Longest name of a channel in bytes, and longest version.
pub const MAX_NAME: usize = 32;

/// A name of a channel, or a version.
pub type Name = heapless::String<MAX_NAME, u8>;

/// Most groups that a device is in.
pub const MAX_GROUPS: usize = 16;

/// Names of groups, separated by commas: 96 bytes of text at most.
pub type Groups = heapless::String<96, u8>;

/// Returns whether this is a list of groups: at most [`MAX_GROUPS`] names of
/// letters, digits, `-`, `_` and `.`, separated by commas. The empty list is
/// none.
pub fn is_groups(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_name = |name: &str| !name.is_empty() && name.bytes().all(is_part);
    let is_list = || text.split(',').all(is_name) && text.split(',').count() <= MAX_GROUPS;
    text.is_empty() || (Groups::try_from(text).is_ok() && is_list())
}

/// Takes a list of groups apart.
pub fn names(groups: &str) -> heapless::Vec<&str, MAX_GROUPS, u8> {
    groups.split(',').filter(|name| !name.is_empty()).take(MAX_GROUPS).collect()
}

/// Most bytes of release notes that a device shows.
pub const MAX_NOTES: usize = 256;

/// Release notes.
pub type Notes = heapless::String<MAX_NOTES, u16>;

/// What a channel offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offered {
    /// The version.
    pub version: Name,
    /// Why it is not installed without being asked for; `None` if it is.
    pub reason: Option<Reason>,
    /// The start of the release notes, as far as they are known.
    pub notes: Notes,
}

impl Offered {
    /// Puts together what a check found. Notes that are too long are cut.
    pub fn new(check: &Check, notes: Option<&str>) -> Self {
        // A name has room for the longest version.
        let version = Name::try_from(check.version.as_str()).unwrap_or_default();
        let reason = match check.decision {
            Decision::Install(_) => None,
            Decision::Stay(reason) => Some(reason),
        };
        let notes = notes.unwrap_or_default();
        let notes = &notes[..notes.floor_char_boundary(MAX_NOTES)];
        Self { version, reason, notes: Notes::try_from(notes).unwrap_or_default() }
    }

    /// Returns whether there is nothing that a person would want to know.
    pub(crate) fn is_old(&self) -> bool {
        self.reason == Some(Reason::UpToDate)
    }

    /// Returns whether it is installed when a user asks for it.
    pub(crate) fn is_for_user(&self) -> bool {
        let yields = |reason| matches!(reason, Reason::NeedsApproval | Reason::OutsideWindow);
        self.reason.is_none_or(yields)
    }
}

/// Why the channel was not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelError<F> {
    /// The device has no such channel.
    Unknown,
    /// The choice could not be kept.
    Storage(F),
}

/// What an update came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Updated {
    /// Nothing was installed, and why.
    Nothing(Reason),
    /// An image was installed and boots at the next reset.
    Installed,
}

/// Why an update failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateError<F> {
    /// What the channel offers is not known.
    Fetch(F),
    /// The offered image was not installed.
    Install(F),
}

/// A device that can be updated.
///
/// Requests are answered side by side, so every method takes `&self`. Of those
/// that are async, at most one runs at a time, which
/// [`Server`](super::Server) sees to; their futures may be dropped at any await,
/// when the connection of their request is given up.
#[expect(async_fn_in_trait, reason = "one executor runs everything on a device")]
pub trait Device {
    /// The flash.
    type Flash: NorFlash;

    /// What went wrong, for a person: a sentence without its full stop.
    type Fault: fmt::Display;

    /// How a token is set on this device, a sentence for a person. It follows
    /// the message that changes are refused for want of one.
    const HOW_TO_SET_A_TOKEN: &'static str;

    /// Returns the slots.
    fn slots(&self) -> &Slots<Self::Flash>;

    /// Returns what a request has to show to change something; `None` refuses
    /// all changes.
    fn token(&self) -> Option<Token>;

    /// Returns whether this is a name of the device, such as `lamp.local`.
    /// Addresses and `localhost` always are.
    fn answers_to(&self, host: &str) -> bool;

    /// Returns the names of the channels, the default one first.
    fn channels(&self) -> heapless::Vec<Name, MAX_CHANNELS, u8>;

    /// Returns the selected channel.
    fn channel(&self) -> Name;

    /// Selects a channel, and keeps the choice.
    async fn set_channel(&self, name: &str) -> Result<(), ChannelError<Self::Fault>>;

    /// Returns the groups that the device is in.
    fn groups(&self) -> Groups;

    /// Puts the device into groups, which [`is_groups`], and keeps them.
    async fn set_groups(&self, groups: &str) -> Result<(), Self::Fault>;

    /// Returns what the selected channel offered when it was last asked.
    fn offered(&self) -> Option<Offered>;

    /// Asks the selected channel what it offers. The slots are there to be
    /// claimed.
    async fn check(&self) -> Result<Offered, Self::Fault>;

    /// Installs what the selected channel offers, if that is to be installed: a
    /// user asks for it, so that it waits for nobody's approval. Tells `progress` how many bytes of how many there are.
    async fn update(
        &self,
        progress: &dyn Fn(u32, u32),
    ) -> Result<Updated, UpdateError<Self::Fault>>;

    /// Resets the device. On a chip it does not return.
    fn restart(&self);
}

impl<F, N> From<towline::UpdateError<F, N>> for UpdateError<towline::UpdateError<F, N>> {
    /// Sorts errors of the client by whether the descriptor was understood and
    /// believed.
    fn from(error: towline::UpdateError<F, N>) -> Self {
        match error {
            towline::UpdateError::Url(_)
            | towline::UpdateError::DescriptorFetch(_)
            | towline::UpdateError::Descriptor(_)
            | towline::UpdateError::Trust(_)
            | towline::UpdateError::RootFetch(_) => Self::Fetch(error),
            _ => Self::Install(error),
        }
    }
}
