//! What the tasks share. They run on one executor: nothing is borrowed across
//! an `await`.

use crate::flash::SharedFlash;
use crate::settings::Settings;
use core::cell::{RefCell, RefMut};
use esp_storage::FlashStorage;

/// The flash of the chip.
pub(crate) type Flash = SharedFlash<FlashStorage<'static>>;

/// What the tasks share.
pub(crate) struct Shared {
    settings: RefCell<Settings<Flash>>,
}

impl Shared {
    pub(crate) fn new(settings: Settings<Flash>) -> Self {
        Self { settings: RefCell::new(settings) }
    }

    /// Borrows the settings.
    pub(crate) fn settings(&self) -> RefMut<'_, Settings<Flash>> {
        self.settings.borrow_mut()
    }
}
