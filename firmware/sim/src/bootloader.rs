//! The second-stage bootloader as espflash bundles it: no rollback built in.
//!
//! It reads the partition table and otadata, boots the selected slot, and
//! falls back to another one if the image there is not sound. Where nothing is
//! selected it boots `ota_0` and records that.

use crate::flash::{Flash, FlashError};
use embedded_storage::nor_flash::ReadNorFlash;
use towline::{
    Layout, OtaData, Region,
    image::{HEAD_LEN, Head, ImageCheck, ImageError},
    layout::{LayoutError, PARTITION_TABLE_OFFSET},
    otadata::{Boot, State},
};

/// What was booted.
#[derive(Clone, Debug)]
pub struct Booted {
    /// Where things are in flash.
    pub layout: Layout,
    /// Index of the slot.
    pub slot: usize,
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
        Boot::Slot { slot, state, .. } => (slot, state),
        Boot::Default => (0, State::Undefined),
    };
    let candidates = (0..=selected).rev().chain(selected + 1..count);
    let mut fault = ImageError::NotAnImage;
    for slot in candidates {
        match load(flash, layout.slots()[slot])? {
            Ok(head) => {
                if otadata.active().is_none()
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

/// Checks the image in a slot as the bootloader does before it jumps there.
fn load(flash: &mut Flash, slot: Region) -> Result<Result<Head, ImageError>, FlashError> {
    let mut head = [0; HEAD_LEN];
    flash.read(slot.offset, &mut head)?;
    let mut check = ImageCheck::new();
    let mut sector = [0; 4096];
    for offset in (slot.offset..slot.offset + slot.size).step_by(sector.len()) {
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
