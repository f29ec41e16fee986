//! What the API needs of the device it runs on.

use super::Token;
use crate::slots::Slots;
use core::fmt;
use embedded_storage::nor_flash::NorFlash;

/// Most channels of a device.
pub const MAX_CHANNELS: usize = 3;

/// Longest name of a channel in bytes, and longest version.
pub const MAX_NAME: usize = 32;

/// A name of a channel, or a version.
pub type Name = heapless::String<MAX_NAME, u8>;

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
    /// There was nothing to do.
    Nothing,
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

    /// Asks the selected channel; returns the version that it offers. The slots
    /// are there to be claimed.
    async fn check(&self) -> Result<Name, Self::Fault>;

    /// Installs what the selected channel offers, if that is to be installed.
    /// Tells `progress` how many bytes of how many there are.
    async fn update(
        &self,
        progress: &dyn Fn(u32, u32),
    ) -> Result<Updated, UpdateError<Self::Fault>>;

    /// Resets the device. On a chip it does not return.
    fn restart(&self);
}

impl<F, N> From<towline::UpdateError<F, N>> for UpdateError<towline::UpdateError<F, N>> {
    /// Sorts errors of the client by whether the descriptor was understood.
    fn from(error: towline::UpdateError<F, N>) -> Self {
        match error {
            towline::UpdateError::Url(_)
            | towline::UpdateError::DescriptorFetch(_)
            | towline::UpdateError::Descriptor(_) => Self::Fetch(error),
            _ => Self::Install(error),
        }
    }
}
