//! The host device: boots, polls its channel, boots again.

use crate::{
    bootloader::{BootError, Booted, boot},
    flash::{Flash, FlashError},
    net::{Net, NetError},
};
use embassy_futures::block_on;
use std::path::Path;
use towline::{
    Outcome, Progress, Running, UpdateError, Updater,
    descriptor::{Chip, Version},
};

/// A device whose flash is a file.
#[derive(Debug)]
pub struct Device {
    flash: Flash,
}

/// Why the device failed.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// Nothing boots.
    #[error("the device does not boot: {0}")]
    Boot(#[from] BootError),
    /// The flash failed.
    #[error(transparent)]
    Flash(#[from] FlashError),
    /// The image that runs is for a chip that has no name.
    #[error("the image that runs is for the unknown chip id {0}")]
    UnknownChip(u16),
    /// The update failed; what ran still runs.
    #[error("{0}")]
    Update(UpdateError<FlashError, NetError>),
}

impl Device {
    /// Opens the device whose flash is in `path`.
    ///
    /// # Errors
    /// If the file is missing or no flash.
    pub fn open(path: &Path) -> Result<Self, DeviceError> {
        Ok(Self { flash: Flash::open(path)? })
    }

    /// Makes a device with blank flash of `flash_size` bytes in `path`, and
    /// burns the factory parts, each with its offset.
    ///
    /// # Errors
    /// If the file cannot be written or a part does not fit.
    pub fn provision<'p>(
        path: &Path,
        flash_size: u32,
        parts: impl IntoIterator<Item = (u32, &'p [u8])>,
    ) -> Result<Self, DeviceError> {
        let mut flash = Flash::create(path, flash_size)?;
        for (offset, data) in parts {
            flash.burn(offset, data)?;
        }
        Ok(Self { flash })
    }

    /// Resets the device: the bootloader chooses a slot.
    ///
    /// # Errors
    /// If nothing boots.
    pub fn boot(&mut self) -> Result<Booted, DeviceError> {
        Ok(boot(&mut self.flash)?)
    }

    /// Boots and polls the channel whose descriptor is at `url`, with the
    /// client that devices run.
    ///
    /// # Errors
    /// [`DeviceError`]; an update that failed leaves the device as it was.
    pub fn update(
        &mut self,
        net: &mut Net,
        url: &str,
        progress: impl FnMut(Progress),
    ) -> Result<Outcome, DeviceError> {
        let booted = self.boot()?;
        let header = booted.head.header;
        let chip = Chip::from_id(header.chip_id).ok_or(DeviceError::UnknownChip(header.chip_id))?;
        let app = &booted.head.app;
        let spare = booted.layout.slots()[booted.layout.spare(booted.slot)];
        let mut updater = Updater {
            flash: &mut self.flash,
            net,
            layout: &booted.layout,
            running_slot: booted.slot,
            running: Running {
                project: app.project_name.as_str(),
                version: Version::parse(app.version.as_str()).ok(),
                chip,
                target: None,
                channel: None,
                secure_version: app.secure_version,
                slot_size: spare.size,
            },
        };
        block_on(updater.update(url, progress)).map_err(DeviceError::Update)
    }
}
