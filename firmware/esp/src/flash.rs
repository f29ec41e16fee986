//! One flash for all who write to it.

use core::cell::RefCell;
use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};
use esp_nvs::platform::{Crc, software_crc32};

/// A handle of the flash. Operations are blocking, so that one has ended before
/// another begins.
///
/// The driver keeps interrupts off while the flash is busy, since code that is
/// in flash cannot run then: Wi-Fi loses what comes within an erase, some 50 ms
/// a sector, and its peers send again.
pub(crate) struct SharedFlash<F: 'static>(&'static RefCell<F>);

impl<F> SharedFlash<F> {
    pub(crate) fn new(flash: &'static RefCell<F>) -> Self {
        Self(flash)
    }
}

impl<F> Clone for SharedFlash<F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F> Copy for SharedFlash<F> {}

impl<F: ErrorType> ErrorType for SharedFlash<F> {
    type Error = NorFlashErrorKind;
}

use embedded_storage::nor_flash::NorFlashError as _;

impl<F: ReadNorFlash> ReadNorFlash for SharedFlash<F> {
    const READ_SIZE: usize = F::READ_SIZE;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        self.0.borrow_mut().read(offset, bytes).map_err(|error| error.kind())
    }

    fn capacity(&self) -> usize {
        self.0.borrow().capacity()
    }
}

impl<F: NorFlash> NorFlash for SharedFlash<F> {
    const WRITE_SIZE: usize = F::WRITE_SIZE;
    const ERASE_SIZE: usize = F::ERASE_SIZE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
        // Sector by sector: interrupts are on between them.
        for sector in (from..to).step_by(F::ERASE_SIZE) {
            let end = to.min(sector + F::ERASE_SIZE as u32);
            self.0.borrow_mut().erase(sector, end).map_err(|error| error.kind())?;
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        self.0.borrow_mut().write(offset, bytes).map_err(|error| error.kind())
    }
}

impl<F> Crc for SharedFlash<F> {
    fn crc32(init: u32, data: &[u8]) -> u32 {
        software_crc32(init, data)
    }
}
