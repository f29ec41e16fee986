//! The ESP32 family: names, image ids and where each chip's ROM looks for the
//! second-stage bootloader.

use core::{fmt, str::FromStr};

macro_rules! chips {
    ($($variant:ident $name:literal $family:literal $id:literal $bootloader:literal;)*) => {
        /// A chip of the ESP32 family.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Chip {
            $(#[doc = $family] $variant,)*
        }

        impl Chip {
            /// Every chip, in the order of their release.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Returns the name used in files and commands, such as `esp32c3`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// Returns the name people and installer manifests (`chipFamily`)
            /// use, such as `ESP32-C3`.
            pub const fn family(self) -> &'static str {
                match self { $(Self::$variant => $family),* }
            }

            /// Returns the `chip_id` of the image header
            /// (`esp_chip_id_t` of ESP-IDF).
            pub const fn id(self) -> u16 {
                match self { $(Self::$variant => $id),* }
            }

            /// Returns the flash offset in bytes at which the ROM expects the
            /// second-stage bootloader. A bootloader anywhere else never runs.
            pub const fn bootloader_offset(self) -> u32 {
                match self { $(Self::$variant => $bootloader),* }
            }
        }
    };
}

chips! {
    Esp32    "esp32"    "ESP32"     0  0x1000;
    Esp32s2  "esp32s2"  "ESP32-S2"  2  0x1000;
    Esp32c3  "esp32c3"  "ESP32-C3"  5  0x0;
    Esp32s3  "esp32s3"  "ESP32-S3"  9  0x0;
    Esp32c2  "esp32c2"  "ESP32-C2"  12 0x0;
    Esp32c6  "esp32c6"  "ESP32-C6"  13 0x0;
    Esp32h2  "esp32h2"  "ESP32-H2"  16 0x0;
    Esp32p4  "esp32p4"  "ESP32-P4"  18 0x2000;
    Esp32c61 "esp32c61" "ESP32-C61" 20 0x0;
    Esp32c5  "esp32c5"  "ESP32-C5"  23 0x2000;
    Esp32h21 "esp32h21" "ESP32-H21" 25 0x0;
    Esp32h4  "esp32h4"  "ESP32-H4"  28 0x2000;
    Esp32s31 "esp32s31" "ESP32-S31" 32 0x2000;
}

impl Chip {
    /// Returns the chip with this image id, or `None` if it is unknown.
    pub fn from_id(id: u16) -> Option<Self> {
        Self::ALL.iter().copied().find(|chip| chip.id() == id)
    }
}

/// The text names no chip of [`Chip::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownChip;

impl FromStr for Chip {
    type Err = UnknownChip;

    fn from_str(name: &str) -> Result<Self, UnknownChip> {
        Self::ALL.iter().copied().find(|chip| chip.name() == name).ok_or(UnknownChip)
    }
}

impl fmt::Display for Chip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for UnknownChip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a known chip; known are")?;
        Chip::ALL.iter().try_for_each(|chip| write!(f, " {chip}"))
    }
}

impl core::error::Error for UnknownChip {}

#[cfg(feature = "serde")]
impl serde::Serialize for Chip {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Chip {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl serde::de::Visitor<'_> for Name {
            type Value = Chip;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a chip, such as \"esp32c3\"")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Chip, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Name)
    }
}
