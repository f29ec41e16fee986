//! How much PSRAM a board has to have.

use serde::Deserialize;
use towline_descriptor::Chip;

/// More than the largest PSRAM that a chip addresses, in MiB.
const MAX_MIB: u32 = 64;

/// A size of PSRAM in bytes, written as `"8MB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Psram(pub(super) u32);

/// Why a text is not a size of PSRAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a size of PSRAM: expected \"2MB\", \"4MB\", \"8MB\", \"16MB\", \"32MB\" or \"64MB\"")]
pub(super) struct InvalidPsram;

impl TryFrom<String> for Psram {
    type Error = InvalidPsram;

    fn try_from(text: String) -> Result<Self, InvalidPsram> {
        let number = text.strip_suffix("MB").and_then(|number| number.parse::<u32>().ok());
        match number {
            // Other ways to write a number are refused with its value.
            Some(mib @ 2..=MAX_MIB) if mib.is_power_of_two() && text == format!("{mib}MB") => {
                Ok(Self(mib << 20))
            }
            _ => Err(InvalidPsram),
        }
    }
}

/// Returns whether boards with this chip can have PSRAM: `SOC_SPIRAM_SUPPORTED`
/// of ESP-IDF.
pub(super) fn is_possible(chip: Chip) -> bool {
    !matches!(chip, Chip::Esp32c2 | Chip::Esp32c3 | Chip::Esp32c6 | Chip::Esp32h2 | Chip::Esp32h21)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_that_chips_come_with() {
        let parse = |text: &str| Psram::try_from(text.to_owned()).map(|psram| psram.0);
        for (text, bytes) in [("2MB", 2 << 20), ("8MB", 8 << 20), ("64MB", 64 << 20)] {
            assert_eq!(parse(text), Ok(bytes));
        }
        for text in ["", "MB", "8", "8mb", "8 MB", "08MB", "+8MB", "0MB", "3MB", "128MB", "4096MB"]
        {
            assert_eq!(parse(text), Err(InvalidPsram), "{text}");
        }
    }
}
