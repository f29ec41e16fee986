//! What an image says of itself: its header and app descriptor.

use super::{HEAD_LEN, HEADER_LEN, ImageError, MAGIC, MAX_SEGMENTS, u32_at};
use core::{fmt, str};
use towline_descriptor::{Chip, Sha256};

const DESCRIPTOR_OFFSET: usize = 0x20;
const DESCRIPTOR_MAGIC: u32 = 0xABCD_5432;

/// The image header, `esp_image_header_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Number of segments, 1 to [`MAX_SEGMENTS`].
    pub segments: u8,
    /// SPI mode, as encoded (`esp_image_spi_mode_t`).
    pub spi_mode: u8,
    /// SPI clock, as encoded for this chip (`esp_image_spi_freq_t`).
    pub spi_speed: u8,
    /// Flash size, as encoded: `1 MiB << flash_size`.
    pub flash_size: u8,
    /// Address of the first instruction.
    pub entry: u32,
    /// `chip_id`; see [`Header::chip`].
    pub chip_id: u16,
    /// Whether a SHA-256 follows the checksum.
    pub hash_appended: bool,
}

impl Header {
    /// Parses the first 24 bytes of an image.
    ///
    /// # Errors
    /// [`ImageError::NotAnImage`] and [`ImageError::SegmentCount`].
    pub fn parse(bytes: &[u8; HEADER_LEN]) -> Result<Self, ImageError> {
        if bytes[0] != MAGIC {
            return Err(ImageError::NotAnImage);
        }
        if !(1..=MAX_SEGMENTS).contains(&bytes[1]) {
            return Err(ImageError::SegmentCount);
        }
        Ok(Self {
            segments: bytes[1],
            spi_mode: bytes[2],
            spi_speed: bytes[3] & 0x0F,
            flash_size: bytes[3] >> 4,
            entry: u32_at(bytes, 4),
            chip_id: u16::from_le_bytes([bytes[12], bytes[13]]),
            hash_appended: bytes[23] == 1,
        })
    }

    /// Returns the chip that the image was built for, if its id is known.
    pub fn chip(&self) -> Option<Chip> {
        Chip::from_id(self.chip_id)
    }
}

/// A text field of the app descriptor: up to 32 bytes of UTF-8.
#[derive(Clone, PartialEq, Eq)]
pub struct Text(heapless::String<32, u8>);

impl Text {
    fn parse(field: &[u8]) -> Result<Self, ImageError> {
        let len = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
        let text = str::from_utf8(&field[..len]).map_err(|_| ImageError::Text)?;
        heapless::String::try_from(text).map(Self).map_err(|_| ImageError::Text)
    }

    /// Returns the text without its padding.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The app descriptor, `esp_app_desc_t`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppDescriptor {
    /// Anti-rollback version.
    pub secure_version: u32,
    /// Version of the application.
    pub version: Text,
    /// Name of the project.
    pub project_name: Text,
    /// Time of the build, as the compiler writes it.
    pub time: Text,
    /// Date of the build, as the compiler writes it.
    pub date: Text,
    /// Version of ESP-IDF, or what stands in for it.
    pub idf_version: Text,
    /// SHA-256 of the ELF file that the image was made from.
    pub elf_sha256: Sha256,
}

/// What the first [`HEAD_LEN`] bytes of an app image say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The image header.
    pub header: Header,
    /// The app descriptor.
    pub app: AppDescriptor,
}

impl Head {
    /// Parses the head of an app image.
    ///
    /// # Errors
    /// [`ImageError`]; a bootloader image, which has no app descriptor, is
    /// [`ImageError::NoAppDescriptor`].
    pub fn parse(bytes: &[u8; HEAD_LEN]) -> Result<Self, ImageError> {
        let (header, _) = bytes.split_first_chunk().ok_or(ImageError::Truncated)?;
        let header = Header::parse(header)?;
        let app = &bytes[DESCRIPTOR_OFFSET..];
        if u32_at(app, 0) != DESCRIPTOR_MAGIC {
            return Err(ImageError::NoAppDescriptor);
        }
        let mut elf_sha256 = [0; 32];
        elf_sha256.copy_from_slice(&app[0x90..0xB0]);
        Ok(Self {
            header,
            app: AppDescriptor {
                secure_version: u32_at(app, 4),
                version: Text::parse(&app[0x10..0x30])?,
                project_name: Text::parse(&app[0x30..0x50])?,
                time: Text::parse(&app[0x50..0x60])?,
                date: Text::parse(&app[0x60..0x70])?,
                idf_version: Text::parse(&app[0x70..0x90])?,
                elf_sha256: Sha256(elf_sha256),
            },
        })
    }
}
