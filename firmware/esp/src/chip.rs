//! The chip: all that differs from one ESP32 to the next.

use core::panic::PanicInfo;
use esp_backtrace::Backtrace;
use esp_bootloader_esp_idf::partitions::{self, PARTITION_TABLE_MAX_LEN};
use esp_hal::delay::Delay;
use esp_hal::time::{Duration, Instant};
use esp_storage::FlashStorage;
use log::error;

/// A started chip.
pub(crate) struct Chip {
    /// The whole flash, from offset 0.
    pub(crate) flash: FlashStorage<'static>,
}

impl Chip {
    /// Starts the clocks, stops the bootloader's watchdog and takes the flash.
    ///
    /// # Panics
    /// If called twice.
    pub(crate) fn start() -> Self {
        let peripherals = esp_hal::init(esp_hal::Config::default());
        Self { flash: FlashStorage::new(peripherals.FLASH) }
    }

    /// Returns the flash offset of the partition that the running code is
    /// mapped from, by the MMU: boot selection only says what the bootloader
    /// was to try first.
    pub(crate) fn running_offset(&mut self) -> Option<u32> {
        let mut table = [0; PARTITION_TABLE_MAX_LEN];
        let table = partitions::read_partition_table(&mut self.flash, &mut table).ok()?;
        Some(table.booted_partition().ok()??.offset())
    }

    /// Returns the time since the start.
    pub(crate) fn uptime(&self) -> Duration {
        Instant::now().duration_since_epoch()
    }

    /// Waits, and does nothing else.
    pub(crate) fn wait(&self, time: Duration) {
        Delay::new().delay(time);
    }
}

/// Logs where it happened and resets, so that the bootloader and boot
/// selection have their say.
#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    error!("{info}");
    for frame in Backtrace::capture().frames() {
        error!("  at {:#010x}", frame.program_counter());
    }
    esp_hal::system::software_reset()
}
