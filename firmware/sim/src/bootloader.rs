//! The second-stage bootloader of ESP-IDF: which slot boots, and what it does
//! to boot selection before.
//!
//! ```text
//! otadata -> [rollback: PENDING becomes ABORTED] -> selected slot
//!   -> [rollback: NEW becomes PENDING] -> load it, or else
//!      downwards to the factory app, then upwards
//! ```
//!
//! Sources: ESP-IDF, `bootloader_utility.c`; runs of the bootloader that
//! espflash bundles, which is of the first [`Kind`].

use embedded_storage::nor_flash::NorFlash;
use std::fmt::{self, Debug};
use towline::{
    Layout, OtaData, Region, Slot,
    image::{HEAD_LEN, Head, ImageError},
    layout::{LayoutError, PARTITION_TABLE_OFFSET},
    ota::check_slot,
    otadata::{Boot, Record, SECTOR, State},
};

/// How a bootloader was built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// As espflash bundles it: without rollback.
    #[default]
    Stock,
    /// `CONFIG_BOOTLOADER_APP_ROLLBACK_ENABLE`.
    Rollback,
    /// With `CONFIG_BOOTLOADER_APP_ANTI_ROLLBACK` too: images of a lower
    /// `secure_version` than that of the eFuses do not boot.
    AntiRollback {
        /// What the eFuses say.
        secure_version: u32,
    },
}

/// What was booted.
#[derive(Clone, Debug)]
pub struct Booted {
    /// Where things are in flash.
    pub layout: Layout,
    /// The slot that runs.
    pub slot: Slot,
    /// What otadata says of the image; [`State::Undefined`] where the slot was
    /// not selected by a record.
    pub state: State,
    /// What the image says of itself.
    pub head: Head,
}

/// Why nothing boots.
#[derive(Debug, thiserror::Error)]
pub enum BootError<E: Debug> {
    /// The flash failed.
    #[error("the flash failed: {0:?}")]
    Flash(E),
    /// The partition table is missing or cannot hold updates.
    #[error("{0}")]
    Layout(LayoutError<E>),
    /// No slot holds a sound image.
    #[error("no slot holds a sound image: {0}")]
    NothingBootable(Unsound),
}

/// Why an image does not boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsound {
    /// It is not sound.
    Image(ImageError),
    /// The eFuses bar it.
    SecureVersion,
}

impl Booted {
    /// Returns where the running image is in flash.
    ///
    /// # Panics
    /// If the slot is not one of the layout.
    pub fn offset(&self) -> u32 {
        self.layout.region(self.slot).expect("a slot that booted is there").offset
    }
}

/// Boots: returns the slot that would run, and records what the bootloader
/// records.
///
/// # Errors
/// [`BootError`]: the device would be bricked.
pub fn boot<F: NorFlash>(flash: &mut F, kind: Kind) -> Result<Booted, BootError<F::Error>> {
    let layout = Layout::read(flash, PARTITION_TABLE_OFFSET).map_err(BootError::Layout)?;
    let count = layout.slots().len();
    let mut otadata = OtaData::read(flash, layout.otadata).map_err(BootError::Flash)?;
    let has_rollback = kind != Kind::Stock;
    if has_rollback {
        for sector in 0..2 {
            if otadata.records[sector].state == State::PendingVerify {
                otadata.records[sector].state = State::Aborted;
                rewrite(flash, &layout, sector, &otadata.records[sector])?;
            }
        }
    }
    if let Kind::AntiRollback { secure_version } = kind {
        selectable(flash, &layout, &mut otadata, secure_version)?;
    }
    let (selected, mut state) = match otadata.boot(count) {
        Boot::Slot { slot, state, .. } => (Slot::Ota(slot), state),
        Boot::Default if layout.factory.is_some() => (Slot::Factory, State::Undefined),
        Boot::Default => (Slot::Ota(0), State::Undefined),
    };
    if let (true, Some(sector), State::New) = (has_rollback, otadata.active(), state) {
        state = State::PendingVerify;
        otadata.records[sector].state = state;
        rewrite(flash, &layout, sector, &otadata.records[sector])?;
    }
    let mut fault = Unsound::Image(ImageError::NotAnImage);
    for slot in order(&layout, selected) {
        let Some(region) = layout.region(slot) else { continue };
        match load(flash, region, kind)? {
            Ok(head) => {
                if let Slot::Ota(index) = slot
                    && starts_anew(&layout, &otadata)
                {
                    let record = Record::new(index as u32 + 1, State::Valid);
                    rewrite(flash, &layout, 0, &record)?;
                }
                let state = if slot == selected { state } else { State::Undefined };
                return Ok(Booted { layout, slot, state, head });
            }
            Err(error) => fault = error,
        }
    }
    Err(BootError::NothingBootable(fault))
}

/// Returns the slots in the order in which they are tried.
fn order(layout: &Layout, selected: Slot) -> impl Iterator<Item = Slot> + use<> {
    let (below, above) = match selected {
        Slot::Factory => (0, 0),
        Slot::Ota(index) => (index + 1, index + 1),
    };
    let downwards = (0..below).rev().map(Slot::Ota).chain([Slot::Factory]);
    downwards.chain((above..layout.slots().len()).map(Slot::Ota))
}

/// Returns whether the bootloader records what it boots: there is no factory
/// app, and both records are blank, or rejected and crc-bad.
fn starts_anew(layout: &Layout, otadata: &OtaData) -> bool {
    let is_free =
        |record: &Record| record.is_blank() || (record.is_invalid() && !record.has_right_crc());
    layout.factory.is_none() && otadata.records.iter().all(is_free)
}

/// Takes the records out of the choice whose images the eFuses bar.
fn selectable<F: NorFlash>(
    flash: &mut F,
    layout: &Layout,
    otadata: &mut OtaData,
    secure_version: u32,
) -> Result<(), BootError<F::Error>> {
    for record in otadata.records.iter_mut().filter(|record| record.is_valid()) {
        let slot = layout.slots()[record.slot(layout.slots().len())];
        let mut head = [0; HEAD_LEN];
        flash.read(slot.offset, &mut head).map_err(BootError::Flash)?;
        if Head::parse(&head).is_ok_and(|head| head.app.secure_version < secure_version) {
            record.state = State::Invalid;
        }
    }
    Ok(())
}

/// Erases a sector of otadata and programs the record in one piece, as the
/// bootloader does.
fn rewrite<F: NorFlash>(
    flash: &mut F,
    layout: &Layout,
    sector: usize,
    record: &Record,
) -> Result<(), BootError<F::Error>> {
    let start = layout.otadata.offset + sector as u32 * SECTOR;
    flash.erase(start, start + SECTOR).map_err(BootError::Flash)?;
    flash.write(start, &record.to_bytes()).map_err(BootError::Flash)
}

/// Checks the image in a slot as the bootloader does before it jumps there.
fn load<F: NorFlash>(
    flash: &mut F,
    slot: Region,
    kind: Kind,
) -> Result<Result<Head, Unsound>, BootError<F::Error>> {
    let mut head = [0; HEAD_LEN];
    flash.read(slot.offset, &mut head).map_err(BootError::Flash)?;
    if let Err(error) = check_slot(flash, slot).map_err(BootError::Flash)? {
        return Ok(Err(Unsound::Image(error)));
    }
    let head = match Head::parse(&head) {
        Ok(head) => head,
        Err(error) => return Ok(Err(Unsound::Image(error))),
    };
    match kind {
        Kind::AntiRollback { secure_version } if head.app.secure_version < secure_version => {
            Ok(Err(Unsound::SecureVersion))
        }
        _ => Ok(Ok(head)),
    }
}

impl fmt::Display for Unsound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(error) => fmt::Display::fmt(error, f),
            Self::SecureVersion => f.write_str("barred by anti-rollback"),
        }
    }
}
