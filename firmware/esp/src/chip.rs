//! The chip: all that differs from one ESP32 to the next.

use core::panic::PanicInfo;
use core::time::Duration;
use esp_bootloader_esp_idf::partitions::{
    self, DataPartitionSubType, PARTITION_TABLE_MAX_LEN, PartitionType,
};
use esp_hal::clock::CpuClock;
use esp_hal::gpio::{AnyPin, Pin};
#[cfg(feature = "usb")]
use esp_hal::peripherals::USB_DEVICE;
use esp_hal::peripherals::{FLASH, FROM_CPU_INTR0, Peripherals, RTC_TIMER, TIMG0, UART0, WIFI};
use esp_hal::ram;
use esp_hal::rtc_cntl::{Rtc, RwdtStage};
use esp_hal::timer::timg::TimerGroup;
use esp_storage::FlashStorage;
use log::{LevelFilter, error};
use towline::{Region, Reset};

/// Heap in bytes that the bootloader leaves behind once it is done.
const HEAP_RECLAIMED: usize = 64 * 1024;

/// Heap in bytes beside it.
///
/// Wi-Fi takes about 50 KB: the stacks of its tasks, receive buffers of 1.6 KB
/// each, and what is under way. A TLS session takes 55 KB at its peak: two
/// record buffers, which have to hold records of 16 KiB, and the certificates
/// of the handshake. The rest is for the strings of settings and for scans.
/// What remains of RAM is the stack; `.cargo/config.toml` sets its minimum.
const HEAP_BESIDE: usize = if cfg!(feature = "esp32c2") { 47 * 1024 } else { 112 * 1024 };

/// Starts log, clocks and heap, stops the bootloader's watchdog and returns all
/// peripherals.
///
/// # Panics
/// If called twice.
pub fn init() -> Peripherals {
    esp_println::logger::init_logger(LevelFilter::Info);
    let peripherals = esp_hal::init(esp_hal::Config::default().with_cpu_clock(CpuClock::max()));
    esp_alloc::heap_allocator!(#[ram(reclaimed)] size: HEAP_RECLAIMED);
    esp_alloc::heap_allocator!(size: HEAP_BESIDE);
    peripherals
}

/// The peripherals that the device takes.
#[expect(missing_docs, reason = "named as in `Peripherals`")]
pub struct Parts {
    pub flash: FLASH<'static>,
    pub rtc_timer: RTC_TIMER<'static>,
    pub radio: Radio,
    pub console: Console,
}

/// Takes the [`Parts`] out of the peripherals, of which the rest stays with who
/// calls it. A macro, for a function could only take them all.
#[doc(hidden)]
#[macro_export]
macro_rules! __take {
    ($peripherals:ident) => {
        $crate::chip::Parts {
            flash: $peripherals.FLASH,
            rtc_timer: $peripherals.RTC_TIMER,
            radio: $crate::chip::Radio {
                wifi: $peripherals.WIFI,
                timer: $peripherals.TIMG0,
                interrupt: $peripherals.FROM_CPU_INTR0,
            },
            console: $crate::__console!($peripherals),
        }
    };
}

/// A started chip.
pub(crate) struct Chip {
    /// The whole flash, from offset 0.
    pub(crate) flash: FlashStorage<'static>,
    /// What resets the chip when the firmware hangs.
    pub(crate) watchdog: Watchdog,
    /// What the scheduler and the radio need.
    pub(crate) radio: Radio,
    /// Where the log goes.
    pub(crate) console: Console,
}

/// The UART that the ROM and the bootloader print to, its pins, and the USB
/// port of the chip.
pub struct Console {
    pub(crate) uart: UART0<'static>,
    pub(crate) rx: AnyPin<'static>,
    pub(crate) tx: AnyPin<'static>,
    #[cfg(feature = "usb")]
    pub(crate) usb: USB_DEVICE<'static>,
}

impl Console {
    /// Names the parts of the console.
    pub fn new(
        uart: UART0<'static>,
        rx: impl Pin + 'static,
        tx: impl Pin + 'static,
        #[cfg(feature = "usb")] usb: USB_DEVICE<'static>,
    ) -> Self {
        Self {
            uart,
            rx: rx.degrade(),
            tx: tx.degrade(),
            #[cfg(feature = "usb")]
            usb,
        }
    }
}

/// Takes the [`Console`]: the UART has other pins on each chip.
#[cfg(feature = "esp32")]
#[doc(hidden)]
#[macro_export]
macro_rules! __console {
    ($peripherals:ident) => {
        $crate::chip::Console::new($peripherals.UART0, $peripherals.GPIO3, $peripherals.GPIO1)
    };
}

#[cfg(feature = "esp32c2")]
#[doc(hidden)]
#[macro_export]
macro_rules! __console {
    ($peripherals:ident) => {
        $crate::chip::Console::new($peripherals.UART0, $peripherals.GPIO19, $peripherals.GPIO20)
    };
}

#[cfg(feature = "esp32c3")]
#[doc(hidden)]
#[macro_export]
macro_rules! __console {
    ($peripherals:ident) => {
        $crate::chip::Console::new(
            $peripherals.UART0,
            $peripherals.GPIO20,
            $peripherals.GPIO21,
            $peripherals.USB_DEVICE,
        )
    };
}

#[cfg(feature = "esp32c6")]
#[doc(hidden)]
#[macro_export]
macro_rules! __console {
    ($peripherals:ident) => {
        $crate::chip::Console::new(
            $peripherals.UART0,
            $peripherals.GPIO17,
            $peripherals.GPIO16,
            $peripherals.USB_DEVICE,
        )
    };
}

#[cfg(feature = "esp32s2")]
#[doc(hidden)]
#[macro_export]
macro_rules! __console {
    ($peripherals:ident) => {
        $crate::chip::Console::new($peripherals.UART0, $peripherals.GPIO44, $peripherals.GPIO43)
    };
}

#[cfg(feature = "esp32s3")]
#[doc(hidden)]
#[macro_export]
macro_rules! __console {
    ($peripherals:ident) => {
        $crate::chip::Console::new(
            $peripherals.UART0,
            $peripherals.GPIO44,
            $peripherals.GPIO43,
            $peripherals.USB_DEVICE,
        )
    };
}

/// The peripherals of scheduler and radio.
#[expect(missing_docs, reason = "named as in `Peripherals`")]
pub struct Radio {
    pub wifi: WIFI<'static>,
    pub timer: TIMG0<'static>,
    pub interrupt: FROM_CPU_INTR0<'static>,
}

impl Radio {
    /// Starts the scheduler, which Wi-Fi needs, and returns the Wi-Fi
    /// peripheral.
    pub(crate) fn start_scheduler(self) -> WIFI<'static> {
        esp_rtos::start(TimerGroup::new(self.timer).timer0, self.interrupt);
        self.wifi
    }
}

impl Chip {
    /// Takes the flash and the watchdog.
    pub(crate) fn new(parts: Parts) -> Self {
        let flash = FlashStorage::new(parts.flash);
        // Code runs from flash on the other core too.
        #[cfg(any(feature = "esp32", feature = "esp32s3"))]
        let flash = flash.multicore_auto_park();
        Self {
            flash,
            watchdog: Watchdog(Rtc::new(parts.rtc_timer)),
            radio: parts.radio,
            console: parts.console,
        }
    }

    /// Returns the flash offset of the partition that the running code is
    /// mapped from, by the MMU: boot selection only says what the bootloader
    /// was to try first.
    pub(crate) fn running_offset(&mut self) -> Option<u32> {
        let mut table = [0; PARTITION_TABLE_MAX_LEN];
        let table = partitions::read_partition_table(&mut self.flash, &mut table).ok()?;
        Some(table.booted_partition().ok()??.offset())
    }

    /// Returns the first partition of subtype `nvs`.
    pub(crate) fn nvs(&mut self) -> Option<Region> {
        let mut table = [0; PARTITION_TABLE_MAX_LEN];
        let table = partitions::read_partition_table(&mut self.flash, &mut table).ok()?;
        let kind = PartitionType::Data(DataPartitionSubType::Nvs);
        let nvs = table.find_partition(kind).ok()??;
        Some(Region { offset: nvs.offset(), size: nvs.len() })
    }
}

/// The watchdog of the RTC domain: it counts while the CPU hangs with
/// interrupts off, and resets everything.
pub(crate) struct Watchdog(Rtc<'static>);

impl Watchdog {
    /// Resets the chip after `limit` without [`Self::feed`].
    pub(crate) fn arm(&mut self, limit: Duration) {
        let limit = esp_hal::time::Duration::from_millis(limit.as_millis() as u64);
        self.0.rwdt.set_timeout(RwdtStage::Stage0, limit);
        self.0.rwdt.enable();
        self.0.rwdt.feed();
    }

    /// Starts the time limit anew.
    pub(crate) fn feed(&mut self) {
        self.0.rwdt.feed();
    }
}

/// Returns why the chip started.
pub(crate) fn reset_cause() -> Reset {
    use esp_hal::rtc_cntl::SocResetReason::{ChipPowerOn, SysBrownOut};
    match esp_hal::system::reset_reason() {
        Some(ChipPowerOn | SysBrownOut) => Reset::Power,
        _ => Reset::Other,
    }
}

/// Resets the chip.
pub(crate) fn reset() -> ! {
    esp_hal::system::software_reset()
}

/// Logs where it happened and resets, so that the bootloader and boot
/// selection have their say. A backtrace would need frame pointers, which take
/// flash in every function.
#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    error!("{info}");
    reset()
}
