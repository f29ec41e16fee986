//! A board on a serial port, by espflash.

use super::{FlashError, FlashPart, Found, Locks, port};
use crate::{placement::parse_table, unpanicked::unpanicked};
use esp_idf_part::Partition;
use espflash::{
    command::Command,
    connection::{Connection, ResetAfterOperation, ResetBeforeOperation},
    flasher::Flasher,
    image_format::Segment,
    target::{Chip as EspflashChip, ProgressCallbacks},
};
use md5::{Digest, Md5};
use std::error::Error;
use towline_descriptor::Chip;

/// Baud rate at which ROM loaders are met.
const FIRST_BAUD: u32 = 115_200;
const FLASH_SECTOR: u32 = 0x1000;
/// Size in bytes of a partition table in flash, without its padding.
const TABLE_LEN: u32 = 0xC00;
/// eFuse words of the ESP32 with its locks; it has no command that tells them.
const ESP32_FLASH_CRYPT: u32 = 0x3FF5_A000;
const ESP32_ABS_DONE: u32 = 0x3FF5_A018;

/// A board whose chip waits for commands.
#[derive(Debug)]
pub struct Board {
    flasher: Flasher,
    port: String,
    has_lines: bool,
}

impl Board {
    /// Connects to the board on a port: resets it into its loader, uploads
    /// espflash's stub to RAM, and goes to `baud`. Flash is not touched.
    ///
    /// # Errors
    /// If the port cannot be used, no chip answers, or it allows nothing.
    pub fn connect(port: &port::Candidate, baud: u32) -> Result<Self, FlashError> {
        let name = port.path.clone();
        let (serial, has_lines) = port::open(&name, FIRST_BAUD)?;
        let before = if has_lines {
            ResetBeforeOperation::DefaultReset
        } else {
            ResetBeforeOperation::NoReset
        };
        let after = ResetAfterOperation::NoResetNoStub;
        let connection = Connection::new(serial, port.usb.clone(), after, before, FIRST_BAUD);
        let connected =
            unpanicked(|| Ok(Flasher::connect(connection, true, false, false, None, Some(baud))));
        let flasher = match connected {
            Ok(Ok(flasher)) => flasher,
            Ok(Err(source)) => {
                return Err(FlashError::NoAnswer { port: name, has_lines, source });
            }
            Err(reason) => return Err(failed("connecting", &name, reason)),
        };
        let mut board = Self { flasher, port: name, has_lines };
        if board.flasher.secure_download_mode() {
            board.restart();
            return Err(FlashError::SecureDownload);
        }
        Ok(board)
    }

    /// Finds out what the board is.
    ///
    /// # Errors
    /// If the connection fails, or the chip is not known.
    pub fn look(&mut self) -> Result<Found, FlashError> {
        let info = self.try_to("reading the chip", Flasher::device_info)?;
        let name = info.chip.to_string();
        let chip: Chip = name.parse().map_err(|_| FlashError::UnknownChip(name))?;
        let locks = self.try_to("reading the locks of the chip", |flasher| {
            if flasher.chip() == EspflashChip::Esp32 {
                let connection = flasher.connection();
                let count = connection.read_reg(ESP32_FLASH_CRYPT)? >> 20 & 0x7F;
                let secure_boot = connection.read_reg(ESP32_ABS_DONE)? & 0x30 != 0;
                return Ok(Locks { secure_boot, flash_encryption: is_odd(count) });
            }
            let info = flasher.security_info()?;
            let flash_encryption = is_odd(info.flash_crypt_cnt.into());
            Ok(Locks { secure_boot: info.flags & 1 != 0, flash_encryption })
        })?;
        Ok(Found {
            chip,
            revision: info.revision,
            mac: info.mac_address,
            flash_size: info.flash_size.size(),
            locks,
        })
    }

    /// Reads the partitions that the board has now; none without a table at
    /// `offset` that can be read.
    ///
    /// # Errors
    /// If the connection fails.
    pub fn partitions(&mut self, offset: u32) -> Result<Vec<Partition>, FlashError> {
        let bytes = self.try_to("reading the partition table", |flasher| {
            read(flasher.connection(), offset, TABLE_LEN)
        })?;
        Ok(parse_table(bytes).map(|table| table.partitions().to_vec()).unwrap_or_default())
    }

    /// Returns whether a range of flash is erased.
    ///
    /// # Errors
    /// If the connection fails.
    pub fn is_blank(&mut self, offset: u32, len: u32) -> Result<bool, FlashError> {
        let blank = digest(&vec![0xFF; len as usize]);
        let found = self.try_to("reading flash", |flasher| flasher.checksum_md5(offset, len))?;
        Ok(found == blank)
    }

    /// Erases the whole flash, settings too.
    ///
    /// # Errors
    /// If the board or the connection fails.
    pub fn erase(&mut self) -> Result<(), FlashError> {
        self.try_to("erasing flash", Flasher::erase_flash)
    }

    /// Writes a part. `progress` is told the bytes that are written.
    ///
    /// # Errors
    /// If the board or the connection fails.
    pub fn write(
        &mut self,
        part: &FlashPart,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), FlashError> {
        let doing = format!("writing the {}", part.role.as_str());
        let segments = [Segment::new(part.offset, &part.bytes)];
        let len = part.bytes.len() as u64;
        let mut progress = Progress { len, blocks: 1, progress };
        self.try_to(&doing, |flasher| flasher.write_bins_to_flash(&segments, &mut progress))
    }

    /// Lets the chip hash a part in flash, and compares.
    ///
    /// # Errors
    /// If flash has other bytes, or the connection fails.
    pub fn verify(&mut self, part: &FlashPart) -> Result<(), FlashError> {
        let (name, offset) = (part.role.as_str(), part.offset);
        let len = part.bytes.len() as u32;
        let doing = format!("verifying the {name}");
        let found = self.try_to(&doing, |flasher| flasher.checksum_md5(offset, len))?;
        if found == digest(&part.bytes) {
            Ok(())
        } else {
            Err(FlashError::Verify { part: name, offset })
        }
    }

    /// Resets the board, so that it runs what is in flash. Returns whether the
    /// port could: otherwise the chip is back in its ROM, and somebody has to
    /// press the button.
    pub fn restart(&mut self) -> bool {
        let connection = self.flasher.connection();
        if self.has_lines {
            return connection.reset().is_ok();
        }
        // The stub resets on the end of an empty download. A chip that does
        // not is reset by hand all the same.
        let (size, blocks, block_size, offset) = (0, 0, FLASH_SECTOR, 0);
        let supports_encryption = false;
        let begin = Command::FlashBegin { size, blocks, block_size, offset, supports_encryption };
        let _ = connection
            .command(begin)
            .and_then(|_| connection.command(Command::FlashEnd { reboot: true }));
        false
    }

    fn try_to<T>(
        &mut self,
        doing: &str,
        act: impl FnOnce(&mut Flasher) -> Result<T, espflash::Error>,
    ) -> Result<T, FlashError> {
        // espflash panics on some answers that no sound loader gives.
        match unpanicked(|| Ok(act(&mut self.flasher))) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(failed(doing, &self.port, error)),
            Err(reason) => Err(failed(doing, &self.port, reason)),
        }
    }
}

/// Reads flash. espflash's own function has to have a file.
fn read(connection: &mut Connection, offset: u32, size: u32) -> Result<Vec<u8>, espflash::Error> {
    let block_size = FLASH_SECTOR;
    connection.command(Command::ReadFlash { offset, size, block_size, max_in_flight: 1 })?;
    let frame = |connection: &mut Connection| -> Result<Vec<u8>, espflash::Error> {
        let response = connection.read_flash_response()?;
        response.ok_or(espflash::Error::IncorrectResponse)?.value.try_into()
    };
    let mut bytes = Vec::new();
    while bytes.len() < size as usize {
        bytes.extend(frame(connection)?);
        connection.write_raw(bytes.len() as u32)?;
    }
    let found = frame(connection)?;
    let expected = Md5::digest(&bytes).to_vec();
    if found == expected {
        Ok(bytes)
    } else {
        Err(espflash::Error::DigestMismatch(expected, found))
    }
}

fn failed(doing: &str, port: &str, source: impl Into<Box<dyn Error + Send + Sync>>) -> FlashError {
    FlashError::Board { doing: doing.into(), port: port.into(), source: source.into() }
}

fn is_odd(count: u32) -> bool {
    count.count_ones() % 2 == 1
}

fn digest(bytes: &[u8]) -> u128 {
    u128::from_be_bytes(Md5::digest(bytes).into())
}

/// espflash counts blocks of compressed data; people count bytes.
struct Progress<'a> {
    len: u64,
    blocks: usize,
    progress: &'a mut dyn FnMut(u64),
}

impl ProgressCallbacks for Progress<'_> {
    fn init(&mut self, _: u32, blocks: usize) {
        self.blocks = blocks.max(1);
    }

    fn update(&mut self, block: usize) {
        (self.progress)(self.len * block as u64 / self.blocks as u64);
    }

    fn verifying(&mut self) {}

    fn finish(&mut self, _: bool) {}
}
