//! What tells chips apart: registers, eFuses and ids.
//!
//! Sources: the technical reference manuals ("eFuse Controller", "SPI
//! Controller", "UART Controller") and the chip tables of espflash and esptool.

use crate::board::{Options, Wiring};
use towline_descriptor::Chip;

/// Where a chip has what a flashing tool reads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Silicon {
    pub(crate) chip: Chip,
    /// The word at [`MAGIC`].
    pub(crate) magic: u32,
    /// Registers of the SPI controller of the flash.
    pub(crate) spi: Spi,
    /// Low word of the MAC address in eFuse; the high one follows.
    pub(crate) mac: u32,
    /// Register that tells the clock divider of UART0.
    pub(crate) uart_clkdiv: u32,
    /// Word in which the ROM says by which port it talks, and what it is when
    /// that is the chip's own USB peripheral.
    pub(crate) port: Option<(u32, u32)>,
    /// Words in eFuse and registers with bits that are set, beside the MAC's.
    pub(crate) words: &'static [(u32, u32)],
}

/// The SPI controller of the flash, by addresses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spi {
    pub(crate) cmd: u32,
    pub(crate) usr2: u32,
    pub(crate) w0: u32,
}

/// A word in ROM that differs from chip to chip.
pub(crate) const MAGIC: u32 = 0x4000_1000;

/// Frequency in Hz of the crystal.
pub(crate) const CRYSTAL: u32 = 40_000_000;

const SPI_60002000: Spi = Spi { cmd: 0x6000_2000, usr2: 0x6000_2020, w0: 0x6000_2058 };

const ALL: [Silicon; 5] = [
    // Revision 3.0; words 0x10 and 0x3FF5F06C are the calibration from which
    // the crystal is told.
    Silicon {
        chip: Chip::Esp32,
        magic: 0x00F0_1D83,
        spi: Spi { cmd: 0x3FF4_2000, usr2: 0x3FF4_2024, w0: 0x3FF4_2080 },
        mac: 0x3FF5_A004,
        uart_clkdiv: 0x3FF4_0014,
        port: None,
        words: &[
            (0x3FF5_A00C, 1 << 15),
            (0x3FF5_A014, 1 << 20),
            (0x3FF6_607C, 1 << 31),
            (0x3FF5_A010, 40),
            (0x3FF5_F06C, 2560 << 7),
        ],
    },
    // Revision 1.0.
    Silicon {
        chip: Chip::Esp32c2,
        magic: 0x6F51_306F,
        spi: SPI_60002000,
        mac: 0x6000_8840,
        uart_clkdiv: 0x6000_0014,
        port: None,
        words: &[(0x6000_8844, 1 << 20)],
    },
    // Revision 0.4.
    Silicon {
        chip: Chip::Esp32c3,
        magic: 0x1B31_506F,
        spi: SPI_60002000,
        mac: 0x6000_8844,
        uart_clkdiv: 0x6000_0014,
        port: Some((0x3FCD_F07C, 3)),
        words: &[(0x6000_8850, 4 << 18)],
    },
    // Revision 0.1.
    Silicon {
        chip: Chip::Esp32c6,
        magic: 0x2CE0_806F,
        spi: Spi { cmd: 0x6000_3000, usr2: 0x6000_3020, w0: 0x6000_3058 },
        mac: 0x600B_0844,
        uart_clkdiv: 0x6000_0014,
        port: Some((0x4087_F580, 3)),
        words: &[(0x600B_0850, 1 << 18)],
    },
    // Revision 0.2.
    Silicon {
        chip: Chip::Esp32s3,
        magic: 0x0000_0009,
        spi: SPI_60002000,
        mac: 0x6000_7044,
        uart_clkdiv: 0x6000_0014,
        port: Some((0x3FCE_F14C, 4)),
        words: &[(0x6000_7050, 2 << 18)],
    },
];

impl Silicon {
    /// Returns what is known of a chip.
    pub(crate) fn of(chip: Chip) -> Option<Self> {
        ALL.into_iter().find(|silicon| silicon.chip == chip)
    }

    /// Returns the word at an address that nothing has written to.
    pub(crate) fn word(&self, address: u32, options: &Options, baud: u32) -> u32 {
        let [a, b, low @ ..] = options.mac;
        let own = match address {
            MAGIC => self.magic,
            address if address == self.mac => u32::from_be_bytes(low),
            address if address == self.mac + 4 => u16::from_be_bytes([a, b]).into(),
            address if address == self.uart_clkdiv => CRYSTAL / baud.max(1),
            address => match self.port {
                Some((at, usb)) if at == address && options.wiring == Wiring::UsbSerialJtag => usb,
                _ => 0,
            },
        };
        let own = own | psram(self.chip, address, options.psram);
        let fused = self.words.iter().filter(|(at, _)| *at == address);
        fused.fold(own, |word, (_, bits)| word | bits)
    }
}

/// Returns the bits of the PSRAM in the package in an eFuse word.
fn psram(chip: Chip, address: u32, size: u32) -> u32 {
    const MIB: u32 = 1 << 20;
    /// Block 1, words 4 and 5: capacity, its third bit, and vendor.
    const S3_CAP: u32 = 0x6000_7054;
    const S3_CAP_HIGH: u32 = 0x6000_7058;
    const AP_3V3: u32 = 1 << 7;
    /// Block 0, word 3: the package, here ESP32-PICO-V3-02.
    const PACKAGE: u32 = 0x3FF5_A00C;
    match (chip, address, size / MIB) {
        (Chip::Esp32s3, S3_CAP, 8) => 1 << 3 | AP_3V3,
        (Chip::Esp32s3, S3_CAP, 2) => 2 << 3 | AP_3V3,
        (Chip::Esp32s3, S3_CAP, 16) => 3 << 3 | AP_3V3,
        (Chip::Esp32s3, S3_CAP, 4) => AP_3V3,
        (Chip::Esp32s3, S3_CAP_HIGH, 4) => 1 << 19,
        (Chip::Esp32, PACKAGE, 2) => 6 << 9,
        _ => 0,
    }
}
