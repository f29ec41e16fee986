//! What the texts of firmware give away.

use memchr::memmem;
use std::{collections::BTreeSet, sync::LazyLock};
use towline::Guard;

/// How the packets of Improv over the serial line begin, with the number of the format.
const IMPROV: &[u8] = b"IMPROV\x01";

/// In all that speaks of Improv, however its packets are put together.
const PERHAPS_IMPROV: &[u8] = b"mprov";

/// In all that ESPHome makes.
const ESPHOME: &[u8] = b"esphome";

/// Only in apps whose ESP-IDF was told that the bootloader rolls back.
const AWAITS_ROLLBACK: &[u8] = b"Running app has not confirmed state (ESP_OTA_IMG_PENDING_VERIFY)";

/// Only in apps that roll back themselves, with Towline.
static ROLLS_BACK: LazyLock<String> = LazyLock::new(|| Guard::Stranded.to_string());

/// What the texts of firmware give away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::check) struct Marks {
    /// It sets up Wi-Fi by Improv for certain.
    pub improv: bool,
    /// It may do so.
    pub perhaps_improv: bool,
    /// ESPHome made it.
    pub esphome: bool,
    /// It expects the bootloader to roll back.
    pub awaits_rollback: bool,
    /// It rolls back itself.
    pub rolls_back: bool,
}

impl Marks {
    /// Reads them from all bytes of a file.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let has = |text: &[u8]| memmem::find(bytes, text).is_some();
        let improv = has(IMPROV);
        Self {
            improv,
            perhaps_improv: improv || has(PERHAPS_IMPROV),
            esphome: has(ESPHOME),
            awaits_rollback: has(AWAITS_ROLLBACK),
            rolls_back: has(ROLLS_BACK.as_bytes()),
        }
    }

    /// Returns what either gives away.
    pub(in crate::check) fn or(self, other: Self) -> Self {
        Self {
            improv: self.improv || other.improv,
            perhaps_improv: self.perhaps_improv || other.perhaps_improv,
            esphome: self.esphome || other.esphome,
            awaits_rollback: self.awaits_rollback || other.awaits_rollback,
            rolls_back: self.rolls_back || other.rolls_back,
        }
    }
}

/// The most texts that are looked for in each file: a folder may have hundreds of
/// documents and of images.
const MAX_TEXTS: usize = 64;

/// Returns which of these texts are in a file; of more than a few, it is taken that all
/// are.
pub(super) fn found(bytes: &[u8], texts: &BTreeSet<&str>) -> BTreeSet<String> {
    let is_there =
        |text: &&&str| texts.len() > MAX_TEXTS || memmem::find(bytes, text.as_bytes()).is_some();
    texts.iter().filter(is_there).map(|text| (*text).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_give_away_what_firmware_does() {
        let of = |text: &[u8]| Marks::of(text);
        assert_eq!(of(b"lamp"), Marks::default());
        assert!(of(b"..IMPROV\x01..").improv && of(b"IMPROV\x01").perhaps_improv);
        assert!(of(b"improv_serial").perhaps_improv && !of(b"improv_serial").improv);
        assert!(of(b"not accepted, but there is nothing to go back to").rolls_back);
        assert_eq!(found(b"a lamp", &BTreeSet::from(["lamp", "fan"])), ["lamp".into()].into());
    }
}
