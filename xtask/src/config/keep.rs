//! How much of the releases a site holds.

use serde::Deserialize;
use std::{fmt, num::NonZeroUsize};

/// Which releases a site holds; what its channels need is always there.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Keep {
    /// How many of the newest releases that a channel takes, for channels that
    /// do not say otherwise; `None` for all.
    pub keep: Option<NonZeroUsize>,
    /// The most that all files of the site may have together.
    pub max_size: Size,
}

/// A size in bytes, written as `"800MB"`: units as hosts state their limits, of
/// 1000 and not of 1024.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Size(pub u64);

/// Units, the largest first.
const UNITS: [(&str, u64); 3] = [("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1000)];

impl Default for Size {
    /// What GitHub Pages takes.
    fn default() -> Self {
        Self(1_000_000_000)
    }
}

/// Why a text is not a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a size: expected a whole number of kB, MB or GB, such as \"800MB\"")]
pub struct InvalidSize;

impl TryFrom<String> for Size {
    type Error = InvalidSize;

    fn try_from(text: String) -> Result<Self, InvalidSize> {
        let (number, unit) = UNITS
            .iter()
            .find_map(|(name, unit)| Some((text.strip_suffix(name)?, unit)))
            .ok_or(InvalidSize)?;
        // Of all ways to write a number, the plain one.
        if number.starts_with('0') || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidSize);
        }
        let number: u64 = number.parse().map_err(|_| InvalidSize)?;
        number.checked_mul(*unit).map(Self).ok_or(InvalidSize)
    }
}

impl fmt::Display for Size {
    #[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.iter().find(|(_, unit)| self.0 >= *unit) {
            Some((name, unit)) if self.0.is_multiple_of(*unit) => {
                write!(f, "{} {name}", self.0 / unit)
            }
            Some((name, unit)) => write!(f, "{:.1} {name}", self.0 as f64 / *unit as f64),
            None => write!(f, "{} bytes", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_whole_numbers_with_a_unit() {
        let parse = |text: &str| Size::try_from(text.to_owned());
        for (text, bytes, shown) in [
            ("1GB", 1_000_000_000, "1 GB"),
            ("800MB", 800_000_000, "800 MB"),
            ("1500MB", 1_500_000_000, "1.5 GB"),
            ("64kB", 64_000, "64 kB"),
        ] {
            assert_eq!(parse(text), Ok(Size(bytes)));
            assert_eq!(Size(bytes).to_string(), shown);
        }
        assert_eq!(Size(999).to_string(), "999 bytes");
        for text in
            ["", "GB", "1", "1G", "1gb", "1 GB", "01MB", "+1MB", "-1MB", "1.5GB", "0MB", "1GiB"]
        {
            assert_eq!(parse(text), Err(InvalidSize), "{text}");
        }
        assert_eq!(parse("99999999999GB"), Err(InvalidSize));
    }
}
