//! What the API needs of the device it runs on.

use super::{ReceiveError, Token};
use core::fmt;
use embedded_io_async::Read;
use towline::{image::AppDescriptor, layout::MAX_SLOTS, otadata::State};

/// Most channels of a device.
pub const MAX_CHANNELS: usize = 3;

/// Longest name of a channel in bytes, and longest version.
pub const MAX_NAME: usize = 32;

/// A name of a channel, or a version.
pub type Name = heapless::String<MAX_NAME, u8>;

/// An app partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Partition {
    /// `factory`.
    Factory,
    /// `ota_0` and so on.
    Ota(usize),
}

/// What is in an app partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The partition.
    pub partition: Partition,
    /// What otadata says of it.
    pub state: State,
    /// What its image says of itself; `None` without an image.
    pub app: Option<AppDescriptor>,
}

/// What runs, what will, and what is in each slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// What runs.
    pub running: Partition,
    /// What runs after the next reset.
    pub next_boot: Partition,
    /// Every app partition.
    pub slots: heapless::Vec<Slot, { MAX_SLOTS + 1 }, u8>,
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

/// Why an uploaded image was not installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadError<F> {
    /// It did not come whole.
    Receive(ReceiveError),
    /// It is no image, or none for this device.
    Invalid(F),
    /// It could not be written, or could not be made the one that boots.
    Failed(F),
}

/// Why boot selection was not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SwitchError<F> {
    /// There is nothing to accept, or to go to.
    Nothing(F),
    /// Flash failed.
    Failed(F),
}

/// A device that can be updated.
///
/// Requests are answered side by side, so every method takes `&self`; at most
/// one of those that touch slots or the network runs at a time, which
/// [`Server`](super::Server) sees to. What it only reads has to be at hand while
/// one of those runs: a device keeps a copy of its [`Info`] and renews it after
/// every change.
///
/// A future may be dropped at any await, when its peer is gone. The device has
/// to be as bootable as it was before, and its locks free.
#[expect(async_fn_in_trait, reason = "one executor runs everything on a device")]
pub trait Device {
    /// What went wrong, for a person: the fact, and what to do next.
    type Fault: fmt::Display;

    /// How a token is set on this device, a sentence for a person. It follows
    /// the message that changes are refused for want of one.
    const HOW_TO_SET_A_TOKEN: &'static str;

    /// Returns what a request has to show to change something; `None` refuses
    /// all changes.
    fn token(&self) -> Option<Token>;

    /// Returns whether this is a name of the device, such as `lamp.local`.
    /// Addresses and `localhost` always are.
    fn answers_to(&self, host: &str) -> bool;

    /// Reads what is in the slots.
    fn with_info<R>(&self, read: impl FnOnce(&Info) -> R) -> R;

    /// Returns the size in bytes of the slot that an upload goes to.
    fn slot_size(&self) -> u32;

    /// Returns the names of the channels, the default one first.
    fn channels(&self) -> heapless::Vec<Name, MAX_CHANNELS, u8>;

    /// Returns the selected channel.
    fn channel(&self) -> Name;

    /// Selects a channel, and keeps the choice.
    async fn set_channel(&self, name: &str) -> Result<(), ChannelError<Self::Fault>>;

    /// Asks the selected channel; returns the version that it offers.
    async fn check(&self) -> Result<Name, Self::Fault>;

    /// Installs what the selected channel offers, if that is to be installed.
    /// Tells `progress` how many bytes of how many there are.
    async fn update(
        &self,
        progress: &dyn Fn(u32, u32),
    ) -> Result<Updated, UpdateError<Self::Fault>>;

    /// Installs an image of `size` bytes in the slot that does not run: reads
    /// it, checks its head before anything is erased, verifies the whole, and
    /// makes it the one that boots.
    async fn upload(
        &self,
        size: u32,
        image: &mut impl Read<Error = ReceiveError>,
    ) -> Result<(), UploadError<Self::Fault>>;

    /// Keeps the image that runs on trial.
    async fn accept(&self) -> Result<(), SwitchError<Self::Fault>>;

    /// Makes the image that ran before the one that boots.
    async fn rollback(&self) -> Result<(), SwitchError<Self::Fault>>;

    /// Makes the factory app the one that boots.
    async fn factory_reset(&self) -> Result<(), SwitchError<Self::Fault>>;

    /// Resets the device. On a chip it does not return.
    fn restart(&self);
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Factory => f.write_str("factory"),
            Self::Ota(slot) => write!(f, "ota_{slot}"),
        }
    }
}

impl Info {
    /// Returns what the running image says of itself.
    pub fn running_app(&self) -> Option<&AppDescriptor> {
        self.slots.iter().find(|slot| slot.partition == self.running)?.app.as_ref()
    }
}
