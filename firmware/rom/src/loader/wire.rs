//! Numbers of commands and failures, and the fields of requests.

use crate::flash::FlashError;

pub(super) const FLASH_BEGIN: u8 = 0x02;
pub(super) const FLASH_DATA: u8 = 0x03;
pub(super) const FLASH_END: u8 = 0x04;
pub(super) const MEM_BEGIN: u8 = 0x05;
pub(super) const MEM_END: u8 = 0x06;
pub(super) const MEM_DATA: u8 = 0x07;
pub(super) const SYNC: u8 = 0x08;
pub(super) const WRITE_REG: u8 = 0x09;
pub(super) const READ_REG: u8 = 0x0A;
pub(super) const SPI_SET_PARAMS: u8 = 0x0B;
pub(super) const SPI_ATTACH: u8 = 0x0D;
pub(super) const READ_FLASH_SLOW: u8 = 0x0E;
pub(super) const CHANGE_BAUDRATE: u8 = 0x0F;
pub(super) const FLASH_DEFL_BEGIN: u8 = 0x10;
pub(super) const FLASH_DEFL_DATA: u8 = 0x11;
pub(super) const FLASH_DEFL_END: u8 = 0x12;
pub(super) const SPI_FLASH_MD5: u8 = 0x13;
pub(super) const GET_SECURITY_INFO: u8 = 0x14;
pub(super) const ERASE_FLASH: u8 = 0xD0;
pub(super) const ERASE_REGION: u8 = 0xD1;
pub(super) const READ_FLASH: u8 = 0xD2;
pub(super) const RUN_USER_CODE: u8 = 0xD3;

/// Commands that a ROM in secure download mode still has.
pub(super) const SECURE: [u8; 11] = [
    FLASH_BEGIN,
    FLASH_DATA,
    FLASH_END,
    SYNC,
    SPI_SET_PARAMS,
    SPI_ATTACH,
    CHANGE_BAUDRATE,
    FLASH_DEFL_BEGIN,
    FLASH_DEFL_DATA,
    FLASH_DEFL_END,
    GET_SECURITY_INFO,
];

const CHECKSUM_SEED: u8 = 0xEF;

/// Why a command failed, by the stub's numbers and the ROM's.
#[derive(Clone, Copy, Debug)]
pub(super) enum Failure {
    Length,
    Checksum,
    BlockSize,
    Spi,
    NotInFlashMode,
    Inflate,
    NotEnough,
    TooMuch,
}

impl Failure {
    pub(super) fn code(self, stub: bool) -> u8 {
        match (self, stub) {
            (Self::Length, true) => 0xC0,
            (Self::Checksum, true) => 0xC1,
            (Self::BlockSize, true) => 0xC2,
            (Self::Spi, true) => 0xC4,
            (Self::NotInFlashMode, true) => 0xC6,
            (Self::Inflate, true) => 0xC7,
            (Self::NotEnough, true) => 0xC8,
            (Self::TooMuch, true) => 0xC9,
            (Self::Length | Self::BlockSize | Self::NotInFlashMode, false) => 0x05,
            (Self::NotEnough | Self::TooMuch, false) => 0x06,
            (Self::Checksum, false) => 0x07,
            (Self::Spi, false) => 0x08,
            (Self::Inflate, false) => 0x0B,
        }
    }
}

impl From<FlashError> for Failure {
    fn from(_: FlashError) -> Self {
        Self::Spi
    }
}

/// Splits the payload of a data command: length, sequence number, two words
/// that are not used, and the block, whose checksum the header has.
pub(super) fn block(data: &[u8], checksum: u8) -> Result<&[u8], Failure> {
    let (head, block) = data.split_at_checked(16).ok_or(Failure::Length)?;
    let [len, _sequence, _, _] = words(head)?;
    if len as usize != block.len() {
        return Err(Failure::Length);
    }
    let sum = block.iter().fold(CHECKSUM_SEED, |sum, byte| sum ^ byte);
    if sum == checksum { Ok(block) } else { Err(Failure::Checksum) }
}

/// Reads `N` words; there have to be as many, or more that are not known here.
pub(super) fn words<const N: usize>(data: &[u8]) -> Result<[u32; N], Failure> {
    if data.len() < 4 * N {
        return Err(Failure::Length);
    }
    Ok(std::array::from_fn(|word| data_word(data, 4 * word)))
}

/// Returns the word at an offset, or 0 beyond the end.
pub(super) fn data_word(data: &[u8], at: usize) -> u32 {
    data.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |word| u32::from_le_bytes(*word))
}
