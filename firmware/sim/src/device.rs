//! The host device: boots, polls its channel, boots again.

use crate::{
    bootloader::{BootError, Booted, Kind, boot},
    clock::HostClock,
    flash::{Flash, FlashError},
    net::{Net, NetError},
};
use embassy_futures::block_on;
use std::path::Path;
use towline::{
    Buffers, Guard, Identity, LastPoll, Limits, OpenError, Ota, OtaError, Outcome, Progress, Reset,
    Trust, UpdateError, Updater, schedule::Jitter,
};

/// Most resets in a row that a device can need: into the new image, and back.
const MOST_BOOTS: usize = 4;

/// A device whose flash is a file.
#[derive(Debug)]
pub struct Device {
    flash: Flash,
    /// How its bootloader was built.
    pub bootloader: Kind,
    /// Whether new firmware finds that it works.
    pub self_test: SelfTest,
}

/// How the self-test of new firmware ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SelfTest {
    /// It works, and accepts itself.
    #[default]
    Passes,
    /// It does not work, and rolls itself back.
    Fails,
    /// It hangs until the watchdog resets the device.
    Hangs,
}

/// Why the device failed.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// Nothing boots.
    #[error("the device does not boot: {0}")]
    Boot(#[from] BootError<FlashError>),
    /// The flash failed.
    #[error(transparent)]
    Flash(#[from] FlashError),
    /// The image that runs cannot find itself in flash.
    #[error("{0}")]
    Open(#[from] OpenError<FlashError>),
    /// The slots could not be changed.
    #[error("{0}")]
    Ota(#[from] OtaError<FlashError>),
    /// The update failed; what ran still runs.
    #[error("{0}")]
    Update(UpdateError<FlashError, NetError>),
    /// The device is reset again and again.
    #[error("the device is reset again and again")]
    Loop,
}

/// What a device polls.
#[derive(Clone, Copy, Debug, Default)]
pub struct Poll<'a> {
    /// URL of the descriptor.
    pub url: &'a str,
    /// What the device is to its channel.
    pub device: Identity<'a>,
    /// What the firmware trusts; `None` if it trusts its host.
    pub trust: Option<Trust<'a>>,
    /// Whether a user asks for the update.
    pub by_user: bool,
}

/// A running device.
#[derive(Debug)]
pub struct Started<'d> {
    /// What was booted.
    pub booted: Booted,
    /// What the boot guard found in each boot; the last one is that of what
    /// runs.
    pub guards: Vec<Guard>,
    /// Its slots.
    pub ota: Ota<&'d mut Flash>,
}

impl Device {
    /// Opens the device whose flash is in `path`.
    ///
    /// # Errors
    /// If the file is missing or no flash.
    pub fn open(path: &Path) -> Result<Self, DeviceError> {
        Ok(Self::with_flash(Flash::open(path)?))
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
        Ok(Self::with_flash(flash))
    }

    fn with_flash(flash: Flash) -> Self {
        Self { flash, bootloader: Kind::default(), self_test: SelfTest::default() }
    }

    /// Resets the device and lets the firmware start: the bootloader chooses a
    /// slot, the guard watches, new firmware tests itself. Resets that follow
    /// from it take place.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn start(&mut self) -> Result<Started<'_>, DeviceError> {
        let mut guards = Vec::new();
        while guards.len() < MOST_BOOTS {
            let booted = boot(&mut self.flash, self.bootloader)?;
            let mut ota = Ota::open(&mut self.flash, booted.offset())?;
            let reset = if guards.is_empty() { Reset::Power } else { Reset::Other };
            let guard = ota.guard(reset)?;
            guards.push(guard);
            match (guard, self.self_test) {
                (Guard::RolledBack { .. }, _) => continue,
                (Guard::Trial, SelfTest::Hangs) => continue,
                (Guard::Trial, SelfTest::Fails) => {
                    ota.rollback()?;
                    continue;
                }
                (Guard::Trial | Guard::Stranded, _) => ota.accept()?,
                (Guard::Settled | Guard::DidNotBoot { .. }, _) => {}
            }
            // The borrow of an `ota` that is returned would last for the loop.
            let ota = Ota::open(&mut self.flash, booted.offset())?;
            return Ok(Started { booted, guards, ota });
        }
        Err(DeviceError::Loop)
    }

    /// Starts the device and polls its channel, with the client that devices
    /// run.
    ///
    /// # Errors
    /// [`DeviceError`]; an update that failed leaves the device as it was.
    pub fn update(
        &mut self,
        net: &mut Net,
        poll: Poll<'_>,
        progress: impl FnMut(Progress),
    ) -> Result<Outcome, DeviceError> {
        let mut started = self.start()?;
        let mut updater = Updater {
            ota: &mut started.ota,
            net,
            clock: &HostClock::new(),
            device: poll.device,
            trust: poll.trust,
            by_user: poll.by_user,
            limits: Limits::DEFAULT,
            jitter: &mut Jitter::new(std::process::id()),
            last: &mut LastPoll::default(),
            buffers: &mut Buffers::new(),
        };
        block_on(updater.update(poll.url, progress)).map_err(DeviceError::Update)
    }
}
