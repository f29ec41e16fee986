//! Rules on what happens when an update does not start.

use crate::check::{Code, Fault, facts::Marks};

/// Checks a bootloader, of which is known whether it rolls back, against the app
/// beside it.
pub(in crate::check) fn half(rolls_back: Option<bool>, app: Marks) -> Result<(), Fault> {
    let is_half = rolls_back == Some(false) && app.awaits_rollback && !app.rolls_back;
    let message = "the bootloader does not roll back, and the app counts on it";
    Code::RollbackHalf.unless(!is_half, message)
}

/// Checks a bootloader of boards that are updated over the air: it or the app beside
/// it has to go back to the app before.
pub(super) fn missing(rolls_back: Option<bool>, app: Marks) -> Result<(), Fault> {
    half(rolls_back, app)?;
    let is_missing = rolls_back == Some(false) && !app.rolls_back;
    let message = "the bootloader does not roll back, and devices are updated over the air";
    Code::RollbackMissing.unless(!is_missing, message)
}
