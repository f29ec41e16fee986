//! What the device runs and what its slots hold, on any flash that can be read.

use embedded_storage::nor_flash::ReadNorFlash;
use log::{info, warn};
use towline::image::{HEAD_LEN, Head};
use towline::layout::{Layout, LayoutError, PARTITION_TABLE_OFFSET};
use towline::otadata::{Boot, OtaData};

/// Logs the running slot, boot selection and what each slot holds. `running` is
/// the flash offset that the running image was booted from, if it is known.
///
/// # Errors
/// [`LayoutError`]: a device with such a table cannot be updated.
pub(crate) fn log<F: ReadNorFlash>(
    flash: &mut F,
    running: Option<u32>,
) -> Result<(), LayoutError<F::Error>> {
    let layout = Layout::read(flash, PARTITION_TABLE_OFFSET)?;
    let slots = layout.slots();
    match slots.iter().position(|slot| Some(slot.offset) == running) {
        Some(slot) => info!("running: ota_{slot}"),
        None => warn!("running: no app slot of the partition table"),
    }
    match OtaData::read(flash, layout.otadata).map_err(LayoutError::Flash)?.boot(slots.len()) {
        Boot::Slot { slot, state, .. } => info!("selected: ota_{slot}, {state}"),
        Boot::Default => info!("selected: none"),
    }
    for (slot, region) in slots.iter().enumerate() {
        let mut head = [0; HEAD_LEN];
        flash.read(region.offset, &mut head).map_err(LayoutError::Flash)?;
        match Head::parse(&head) {
            Ok(Head { app, .. }) => info!("ota_{slot}: {} {}", app.project_name, app.version),
            Err(err) => info!("ota_{slot}: {err}"),
        }
    }
    Ok(())
}
