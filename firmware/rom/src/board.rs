//! The board: chip, flash, reset lines and boot button.

use crate::{
    faults::{Counts, Faults},
    firmware::Firmware,
    flash::Flash,
    loader::{Loader, Parts, Then},
    silicon::Silicon,
};
use std::{fmt, time::Duration};
use towline_descriptor::Chip;

/// A resistor charges a capacitor: EN reaches the chip's threshold this long
/// after the reset is released, and the strapping pin is sampled then.
const EN_RISE: Duration = Duration::from_millis(25);

const BOOTLOADER_MAGIC: u8 = 0xE9;

/// Baud rate at which ROM and firmware print.
const LOG_BAUD: u32 = 115_200;

/// A ROM that finds nothing to start is reset by its watchdog, and tries again
/// this often.
const RETRY: Duration = Duration::from_millis(500);

/// What a board is made of.
#[derive(Clone, Debug)]
pub struct Options {
    /// The chip.
    pub chip: Chip,
    /// Size of the flash in bytes, a power of two.
    pub flash_size: u32,
    /// Size of the PSRAM in bytes. Only what is in the chip's package is in its
    /// eFuses: 2, 4, 8 or 16 MiB in an ESP32-S3, 2 MiB in an ESP32. Other PSRAM
    /// cannot be told from none.
    pub psram: u32,
    /// MAC address in eFuse.
    pub mac: [u8; 6],
    /// How DTR and RTS reach the chip.
    pub wiring: Wiring,
    /// Secure download mode is burned: most commands are gone. An ESP32 has no
    /// such mode.
    pub secure_download: bool,
    /// Secure boot is burned.
    pub secure_boot: bool,
    /// Flash encryption is burned.
    pub flash_encryption: bool,
    /// What goes wrong.
    pub faults: Faults,
}

impl Options {
    /// Returns a sound board with 4 MiB of flash.
    pub fn new(chip: Chip) -> Self {
        Self {
            chip,
            flash_size: 4 << 20,
            psram: 0,
            mac: [0x7C, 0xDF, 0xA1, 0x00, 0x12, 0x34],
            wiring: Wiring::Bridge,
            secure_download: false,
            secure_boot: false,
            flash_encryption: false,
            faults: Faults::default(),
        }
    }
}

/// How DTR and RTS reach the chip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wiring {
    /// A USB bridge and two transistors: one line alone pulls EN or GPIO0
    /// low, both together none.
    Bridge,
    /// The chip's own USB peripheral: DTR alone sets the flag that the next
    /// reset enters download mode, RTS alone resets.
    UsbSerialJtag,
}

/// The control lines of a serial port, as the host asserts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// Data terminal ready.
    pub dtr: bool,
    /// Request to send.
    pub rts: bool,
}

/// What a chip does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is held in reset, or EN is still rising.
    Reset,
    /// The ROM loader waits for commands.
    Rom,
    /// The stub that was uploaded waits for commands.
    Stub,
    /// It runs what is in flash.
    Firmware,
}

/// The chip is none of those that are modelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownSilicon(pub Chip);

impl fmt::Display for UnknownSilicon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the registers of {} are not known here", self.0)
    }
}

impl std::error::Error for UnknownSilicon {}

enum Chipside {
    Reset {
        en_high_for: Duration,
    },
    Loader(Box<Loader>),
    /// It runs what is in flash, or would if there were something.
    Firmware,
    /// There is nothing to start; the time since the ROM last looked.
    Stuck {
        since: Duration,
    },
}

/// A board on a cable.
pub struct Board {
    options: Options,
    silicon: Silicon,
    flash: Flash,
    chip: Chipside,
    firmware: Option<Box<dyn Firmware>>,
    lines: Lines,
    host_baud: Option<u32>,
    /// The boot button is held.
    held: bool,
    /// The chip's own USB peripheral was told to enter download mode.
    flagged: bool,
    /// The strapping pin as it was at the last reset.
    strapped: bool,
    /// The cable is pulled.
    pulled: bool,
    received: u64,
    counts: Counts,
    out: Vec<u8>,
}

impl Board {
    /// Makes a board that has just been powered; it starts as time goes by.
    ///
    /// # Errors
    /// If the chip is not modelled.
    pub fn new(options: Options) -> Result<Self, UnknownSilicon> {
        let silicon = Silicon::of(options.chip).ok_or(UnknownSilicon(options.chip))?;
        Ok(Self {
            flash: Flash::erased(options.flash_size),
            silicon,
            options,
            chip: Chipside::Reset { en_high_for: Duration::ZERO },
            firmware: None,
            lines: Lines::default(),
            host_baud: None,
            held: false,
            flagged: false,
            strapped: false,
            pulled: false,
            received: 0,
            counts: Counts::default(),
            out: Vec::new(),
        })
    }

    /// Gives the board something that runs when the chip starts from its flash.
    /// Without it the chip says that it has entered it, and nothing more.
    #[must_use]
    pub fn with_firmware(mut self, firmware: Box<dyn Firmware>) -> Self {
        self.firmware = Some(firmware);
        self
    }

    /// Resets the board by hand with the boot button held, and the cable in: it
    /// waits for a download then, whatever the lines can do.
    #[must_use]
    pub fn in_download_mode(mut self) -> Self {
        self.pulled = false;
        self.held = true;
        self.reset();
        self.advance(EN_RISE);
        self.held = false;
        self
    }

    /// Holds or releases the boot button.
    pub fn hold_boot(&mut self, held: bool) {
        self.held = held;
    }

    /// Presses the reset button for a moment.
    pub fn reset(&mut self) {
        self.chip = Chipside::Reset { en_high_for: Duration::ZERO };
    }

    /// Plugs the cable in again, and changes what goes wrong from now on.
    pub fn mend(&mut self, faults: Faults) {
        self.options.faults = faults;
        self.pulled = false;
        self.received = 0;
        self.counts = Counts::default();
    }

    /// Pulls the cable, and with it the power.
    pub fn unplug(&mut self) {
        self.pulled = true;
        self.out.clear();
    }

    /// Plugs the cable in again: the chip has power and starts. A cable that
    /// was to be pulled after some bytes stays in now.
    pub fn plug(&mut self) {
        let faults = Faults { unplugged_after: None, ..self.options.faults };
        self.mend(faults);
        self.set_lines(Lines::default());
        self.reset();
    }

    /// Returns what the board is made of.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Returns what the chip does.
    pub fn state(&self) -> State {
        match &self.chip {
            Chipside::Reset { .. } => State::Reset,
            Chipside::Loader(loader) if loader.is_stub() => State::Stub,
            Chipside::Loader(_) => State::Rom,
            Chipside::Firmware | Chipside::Stuck { .. } => State::Firmware,
        }
    }

    /// Returns the flash.
    pub fn flash(&self) -> &Flash {
        &self.flash
    }

    /// Returns the flash, to put something into it.
    pub fn flash_mut(&mut self) -> &mut Flash {
        &mut self.flash
    }

    /// Returns whether the cable is pulled.
    pub fn is_unplugged(&self) -> bool {
        self.pulled
    }

    /// Sets the baud rate that the host uses. While none is set, every rate is
    /// understood.
    pub fn set_host_baud(&mut self, baud: Option<u32>) {
        self.host_baud = baud;
    }

    /// Sets the control lines.
    pub fn set_lines(&mut self, lines: Lines) {
        if self.options.faults.no_reset {
            return;
        }
        self.lines = lines;
        if self.options.wiring == Wiring::UsbSerialJtag && !lines.rts {
            self.flagged = lines.dtr || (self.flagged && self.state() == State::Reset);
        }
        if self.is_held_in_reset() {
            self.reset();
        }
    }

    /// Lets time go by.
    pub fn advance(&mut self, time: Duration) {
        if self.is_held_in_reset() || self.pulled {
            return;
        }
        match &mut self.chip {
            Chipside::Reset { en_high_for } => {
                *en_high_for += time;
                if *en_high_for >= EN_RISE {
                    self.strapped = self.held || self.is_boot_line_low();
                    self.flagged = false;
                    self.boot();
                }
            }
            Chipside::Stuck { since } => {
                *since += time;
                if *since >= RETRY {
                    self.boot();
                }
            }
            Chipside::Firmware => self.print(|board, out| {
                if let Some(firmware) = &mut board.firmware {
                    firmware.advance(time, &mut board.flash, out);
                }
            }),
            Chipside::Loader(_) => {}
        }
    }

    /// Takes bytes from the host.
    pub fn receive(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if self.pulled {
                return;
            }
            self.received += 1;
            self.receive_byte(*byte);
            let last = self.options.faults.unplugged_after;
            if last.is_some_and(|last| self.received >= last) {
                self.unplug();
            }
        }
    }

    fn receive_byte(&mut self, byte: u8) {
        if !self.is_understood() {
            return;
        }
        match &mut self.chip {
            Chipside::Loader(loader) => {
                let mut out = Vec::new();
                let parts = Parts {
                    silicon: &self.silicon,
                    options: &self.options,
                    flash: &mut self.flash,
                    counts: &mut self.counts,
                    out: &mut out,
                };
                let then = loader.receive(byte, self.host_baud, parts);
                // What it answers was understood, so the answer is.
                self.send(&out);
                match then {
                    Then::Stay => {}
                    Then::Run => self.start_firmware(),
                    // Software cannot change what was strapped.
                    Then::Reset => self.boot(),
                }
            }
            Chipside::Firmware => self.print(|board, out| {
                if let Some(firmware) = &mut board.firmware {
                    firmware.receive(&[byte], out);
                }
            }),
            Chipside::Reset { .. } | Chipside::Stuck { .. } => {}
        }
    }

    /// Returns the bytes for the host since the last call.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    fn is_held_in_reset(&self) -> bool {
        self.lines.rts && !self.lines.dtr
    }

    fn is_boot_line_low(&self) -> bool {
        match self.options.wiring {
            Wiring::Bridge => self.lines.dtr && !self.lines.rts,
            Wiring::UsbSerialJtag => self.flagged,
        }
    }

    /// Returns whether the chip understands the host: both use the same baud
    /// rate, and the line carries it.
    fn is_understood(&self) -> bool {
        let Some(host) = self.host_baud.filter(|_| !self.is_usb()) else { return true };
        self.is_carried()
            && match &self.chip {
                Chipside::Loader(loader) => loader.hears(host),
                _ => is_close(host, LOG_BAUD),
            }
    }

    /// Returns whether the line carries the baud rate of the host.
    fn is_carried(&self) -> bool {
        let max = self.options.faults.max_baud;
        self.is_usb() || max.is_none_or(|max| self.host_baud.is_none_or(|host| host <= max))
    }

    /// The chip's own USB has no baud rate.
    fn is_usb(&self) -> bool {
        self.options.wiring == Wiring::UsbSerialJtag
    }

    /// Starts the ROM, which says on its serial line what it does.
    fn boot(&mut self) {
        let chip = self.options.chip;
        let mode = if self.strapped { "0x4 (DOWNLOAD)" } else { "0xc (SPI_FAST_FLASH_BOOT)" };
        self.log(&format!("ESP-ROM:{chip}\r\nrst:0x1 (POWERON),boot:{mode}\r\n"));
        if self.strapped {
            self.log("waiting for download\r\n");
            self.chip = Chipside::Loader(Box::new(Loader::new()));
        } else {
            self.start_firmware();
        }
    }

    fn start_firmware(&mut self) {
        let header = self.flash.read(self.options.chip.bootloader_offset(), 4);
        if let Ok([BOOTLOADER_MAGIC, ..]) = header {
            self.chip = Chipside::Firmware;
            self.log("entry\r\n");
            self.print(|board, out| {
                if let Some(firmware) = &mut board.firmware {
                    firmware.start(&mut board.flash, out);
                }
            });
        } else {
            let word = header.ok().and_then(<[u8]>::first_chunk).copied().unwrap_or_default();
            let word = u32::from_le_bytes(word);
            self.chip = Chipside::Stuck { since: Duration::ZERO };
            self.log(&format!("invalid header: {word:#010x}\r\n"));
        }
    }

    fn log(&mut self, text: &str) {
        self.print(|_, out| out.extend(text.as_bytes()));
    }

    /// Sends what `writes` puts out at the baud rate of logs; a host at another
    /// one receives garbage.
    fn print(&mut self, writes: impl FnOnce(&mut Self, &mut Vec<u8>)) {
        let mut out = Vec::new();
        writes(self, &mut out);
        let is_carried = self.is_carried()
            && self.host_baud.is_none_or(|host| self.is_usb() || is_close(host, LOG_BAUD));
        if !is_carried {
            // Never the delimiter of frames, which is even.
            out.iter_mut().for_each(|byte| *byte = byte.rotate_left(3) | 1);
        }
        self.send(&out);
    }

    fn send(&mut self, bytes: &[u8]) {
        if !self.options.faults.silent {
            self.out.extend(bytes);
        }
    }
}

/// Returns whether a receiver at one baud rate understands a sender at another.
pub(crate) fn is_close(one: u32, other: u32) -> bool {
    one.abs_diff(other) <= one / 30
}

impl fmt::Debug for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Board")
            .field("options", &self.options)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}
