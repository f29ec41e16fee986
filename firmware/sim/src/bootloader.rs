//! The second-stage bootloader as espflash bundles it: no rollback built in.
//!
//! It reads the partition table and otadata, boots the selected slot, and
//! falls back to another app if the image there is not sound. Where nothing is
//! selected it boots the factory app, or else `ota_0` and records that.

use crate::flash::{Flash, FlashError};
use embedded_storage::nor_flash::ReadNorFlash;
use towline::{
    Layout, OtaData, Region,
    image::{HEAD_LEN, Head, ImageCheck, ImageError},
    layout::{LayoutError, PARTITION_TABLE_OFFSET},
    otadata::{Boot, Record, State},
};

/// What was booted.
#[derive(Clone, Debug)]
pub struct Booted {
    /// Where things are in flash.
    pub layout: Layout,
    /// Index of the slot; `None` for the factory app.
    pub slot: Option<usize>,
    /// What otadata says of the image; [`State::Undefined`] where the slot was
    /// not selected by a record.
    pub state: State,
    /// What the image says of itself.
    pub head: Head,
}

/// Why nothing boots.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The flash failed.
    #[error(transparent)]
    Flash(#[from] FlashError),
    /// The partition table is missing or cannot hold updates.
    #[error("{0}")]
    Layout(LayoutError<FlashError>),
    /// No slot holds a sound image.
    #[error("no slot holds a sound image: {0}")]
    NothingBootable(ImageError),
}

impl Booted {
    /// Returns the name of the partition that runs.
    pub fn partition(&self) -> String {
        self.slot.map_or("factory".into(), |slot| format!("ota_{slot}"))
    }
}

/// Boots: returns the slot that would run, and records the choice where the
/// bootloader does.
///
/// # Errors
/// [`BootError`]: the device would be bricked.
pub fn boot(flash: &mut Flash) -> Result<Booted, BootError> {
    let layout = Layout::read(flash, PARTITION_TABLE_OFFSET).map_err(BootError::Layout)?;
    let count = layout.slots().len();
    let otadata = OtaData::read(flash, layout.otadata)?;
    let (selected, selected_state) = match otadata.boot(count) {
        Boot::Slot { slot, state, .. } => (Some(slot), state),
        Boot::Default if layout.factory.is_some() => (None, State::Undefined),
        Boot::Default => (Some(0), State::Undefined),
    };
    // Downwards to the factory app, then upwards.
    let below = (0..=selected.unwrap_or(0)).rev().filter(|_| selected.is_some()).map(Some);
    let above = (selected.map_or(0, |slot| slot + 1)..count).map(Some);
    let mut fault = ImageError::NotAnImage;
    for slot in below.chain([None]).chain(above) {
        let Some(region) = slot.map_or(layout.factory, |slot| Some(layout.slots()[slot])) else {
            continue;
        };
        match load(flash, region)? {
            Ok(head) => {
                if let Some(slot) = slot
                    && starts_anew(&layout, &otadata)
                    && let Some(change) = otadata.select(slot, count, State::Valid)
                {
                    change.write(flash, layout.otadata)?;
                }
                let state = if slot == selected { selected_state } else { State::Undefined };
                return Ok(Booted { layout, slot, state, head });
            }
            Err(error) => fault = error,
        }
    }
    Err(BootError::NothingBootable(fault))
}

/// Returns whether the bootloader records what it boots: there is no factory
/// app, and both records are blank, or rejected and crc-bad.
fn starts_anew(layout: &Layout, otadata: &OtaData) -> bool {
    let is_free =
        |record: &Record| record.is_blank() || (record.is_invalid() && !record.has_right_crc());
    layout.factory.is_none() && otadata.records.iter().all(is_free)
}

/// Checks the image in a slot as the bootloader does before it jumps there.
fn load(flash: &mut Flash, slot: Region) -> Result<Result<Head, ImageError>, FlashError> {
    let mut head = [0; HEAD_LEN];
    flash.read(slot.offset, &mut head)?;
    let mut check = ImageCheck::new();
    let mut sector = [0; 4096];
    for at in (0..slot.size).step_by(sector.len()) {
        let offset = slot.offset + at;
        flash.read(offset, &mut sector)?;
        if let Err(error) = check.update_to_end(&sector) {
            return Ok(Err(error));
        }
        if check.is_complete() {
            return Ok(Head::parse(&head));
        }
    }
    Ok(Err(ImageError::Truncated))
}
