//! What the tasks share. They run on one executor: nothing is borrowed across
//! an `await`.

use crate::config::Project;
use crate::flash::SharedFlash;
use crate::settings::Settings;
use alloc::string::String;
use core::cell::{Cell, RefCell, RefMut};
use esp_storage::FlashStorage;
use towline_app::slots::Slots;

/// The flash of the chip.
pub(crate) type Flash = SharedFlash<FlashStorage<'static>>;

/// What the tasks share.
pub(crate) struct Shared {
    /// The project that runs.
    pub(crate) project: Project,
    /// The slots.
    pub(crate) slots: Slots<Flash>,
    /// Whether what runs still has to prove itself.
    pub(crate) on_trial: Cell<bool>,
    /// Name of the device in its network, from this start on.
    pub(crate) hostname: String,
    settings: RefCell<Settings<Flash>>,
}

impl Shared {
    pub(crate) fn new(
        project: Project,
        slots: Slots<Flash>,
        on_trial: bool,
        hostname: String,
        settings: Settings<Flash>,
    ) -> Self {
        let on_trial = Cell::new(on_trial);
        Self { project, slots, on_trial, hostname, settings: RefCell::new(settings) }
    }

    /// Borrows the settings.
    pub(crate) fn settings(&self) -> RefMut<'_, Settings<Flash>> {
        self.settings.borrow_mut()
    }
}
