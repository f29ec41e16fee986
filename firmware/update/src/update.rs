//! One poll of a channel, from the descriptor to the changed boot selection.

use crate::{
    decide::{Decision, Offer, Reason, Running, decide},
    descriptor::{Descriptor, DescriptorError, MAX_DESCRIPTOR, Url, UrlError, Version},
    http::{self, HttpError},
    layout::Layout,
    otadata::{Boot, OtaData, State},
    slot::{self, SlotError, SlotWriter},
    transport::Connect,
};
use core::fmt::{self, Debug};
use embedded_storage::nor_flash::NorFlash;

/// Bytes that are read from the network at a time.
const PIECE: usize = 1024;

/// Follows one channel.
pub struct Updater<'a, F, N> {
    /// The flash of the device.
    pub flash: &'a mut F,
    /// The network.
    pub net: &'a mut N,
    /// Where the slots are.
    pub layout: &'a Layout,
    /// Index of the slot that runs; `None` for the factory app.
    pub running_slot: Option<usize>,
    /// What runs.
    pub running: Running<'a>,
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
        /// Index of its slot.
        slot: usize,
    },
}

/// How far a download is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes received.
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
    Descriptor(DescriptorError),
    /// Fetching the image failed.
    ImageFetch(HttpError<N>),
    /// The host's `Content-Length` is not the size that the descriptor states.
    Length,
    /// The image was refused or could not be written.
    Slot(SlotError<F>),
}

impl<F: NorFlash, N: Connect> Updater<'_, F, N> {
    /// Polls the channel whose descriptor is at `url`, and installs what it
    /// offers if that is an update. `progress` is called for each piece of the
    /// image.
    ///
    /// # Errors
    /// [`UpdateError`].
    pub async fn update(
        &mut self,
        url: &str,
        mut progress: impl FnMut(Progress),
    ) -> Result<Outcome, UpdateError<F::Error, N::Error>> {
        let mut head = [0; http::HEAD];
        let mut document = [0; MAX_DESCRIPTOR];
        let descriptor = fetch_descriptor(self.net, url, &mut head, &mut document).await?;
        let offer = match decide(&self.running, &descriptor) {
            Decision::Stay(reason) => return Ok(Outcome::Stay(reason)),
            Decision::Install(offer) => offer,
        };
        if self.awaits_reset(&offer).map_err(|error| UpdateError::Slot(SlotError::Flash(error)))? {
            return Ok(Outcome::Stay(Reason::AwaitingReset));
        }
        let path = Url::parse(descriptor.path).map_err(UpdateError::Url)?;
        let mut response = http::get(self.net, path.host(), path.port(), path.path(), &mut head)
            .await
            .map_err(UpdateError::ImageFetch)?;
        if response.length() != offer.size {
            return Err(UpdateError::Length);
        }
        let mut writer =
            SlotWriter::begin(self.flash, self.layout, self.running_slot, &self.running, &offer)
                .map_err(UpdateError::Slot)?;
        let mut piece = [0; PIECE];
        loop {
            let count = response.read(&mut piece).await.map_err(UpdateError::ImageFetch)?;
            if count == 0 {
                break;
            }
            writer.write(&piece[..count]).map_err(UpdateError::Slot)?;
            progress(Progress { received: writer.received(), size: offer.size });
        }
        let verified = writer.finish().map_err(UpdateError::Slot)?;
        let slot = verified.slot();
        verified.activate(self.flash, self.layout).map_err(UpdateError::Slot)?;
        Ok(Outcome::Installed { version: offer.version, slot })
    }
}

impl<F: NorFlash, N> Updater<'_, F, N> {
    /// Returns whether the offered image is installed already and boots next.
    fn awaits_reset(&mut self, offer: &Offer) -> Result<bool, F::Error> {
        let spare = self.layout.spare(self.running_slot);
        let otadata = OtaData::read(self.flash, self.layout.otadata)?;
        match otadata.boot(self.layout.slots().len()) {
            Boot::Slot { slot, state: State::New, .. } if slot == spare => {
                slot::holds(self.flash, self.layout.slots()[spare], offer)
            }
            _ => Ok(false),
        }
    }
}

/// Fetches and parses the descriptor at `url`.
///
/// # Errors
/// The first three of [`UpdateError`].
pub async fn fetch_descriptor<'d, F, N: Connect>(
    net: &mut N,
    url: &str,
    head: &mut [u8; http::HEAD],
    document: &'d mut [u8; MAX_DESCRIPTOR],
) -> Result<Descriptor<'d>, UpdateError<F, N::Error>> {
    let url = Url::parse(url).map_err(UpdateError::Url)?;
    let response = http::get(net, url.host(), url.port(), url.path(), head)
        .await
        .map_err(UpdateError::DescriptorFetch)?;
    let document = response
        .read_all(document)
        .await
        .map_err(UpdateError::DescriptorFetch)?
        .ok_or(UpdateError::Descriptor(DescriptorError::TooLarge))?;
    Descriptor::parse(document).map_err(UpdateError::Descriptor)
}

impl<F: Debug, N: Debug> fmt::Display for UpdateError<F, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(error) => write!(f, "URL refused: {error}"),
            Self::DescriptorFetch(error) => write!(f, "descriptor: {error}"),
            Self::Descriptor(error) => write!(f, "descriptor refused: {error}"),
            Self::ImageFetch(error) => write!(f, "image: {error}"),
            Self::Length => f.write_str("the host's length of the image is not the stated size"),
            Self::Slot(error) => write!(f, "image refused: {error}"),
        }
    }
}

impl<F: Debug, N: Debug> core::error::Error for UpdateError<F, N> {}
