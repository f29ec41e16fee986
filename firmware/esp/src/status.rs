//! What the device runs and what its slots hold, for the log.

use log::{info, warn};
use towline::otadata::State;
use towline_app::slots::Contents;

/// Logs the running slot, what boots next, and what each slot holds.
pub(crate) fn log(contents: &Contents) {
    let Contents { running, next_boot, slots } = contents;
    let state_of = |slot| {
        slots.iter().find(|info| info.slot == slot).map_or(State::Undefined, |info| info.state)
    };
    info!("running: {running}");
    info!("selected: {next_boot}, {}", state_of(*next_boot));
    for info in slots {
        match &info.app {
            Ok(app) => info!("{}: {} {}", info.slot, app.project_name, app.version),
            Err(error) => info!("{}: {error}", info.slot),
        }
    }
    if running != next_boot {
        warn!("the next reset boots {next_boot}");
    }
}
