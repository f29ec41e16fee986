//! Which chip a board has, as its name tells.

use towline_descriptor::Chip;

/// Boards whose names do not say it.
const BOARDS: [(&str, Chip); 6] = [
    ("lolin32", Chip::Esp32),
    ("nodemcu32s", Chip::Esp32),
    ("pico32", Chip::Esp32),
    ("ttgo", Chip::Esp32),
    ("wemosd1mini32", Chip::Esp32),
    ("wroverkit", Chip::Esp32),
];

/// Ends of words in names of boards, such as `lolin_s3_mini` and `m5stack-cores3`.
const SERIES: [(&str, Chip); 6] = [
    ("s2", Chip::Esp32s2),
    ("s3", Chip::Esp32s3),
    ("c2", Chip::Esp32c2),
    ("c3", Chip::Esp32c3),
    ("c6", Chip::Esp32c6),
    ("h2", Chip::Esp32h2),
];

/// Returns the chip of a board, and whether that is a guess.
pub(super) fn of_board(board: &str) -> (Chip, bool) {
    let board = board.to_ascii_lowercase();
    let plain: String = board.chars().filter(char::is_ascii_alphanumeric).collect();
    if let Some(chip) = of_name(&plain) {
        return (chip, false);
    }
    let words = || board.split(|c: char| !c.is_ascii_alphanumeric());
    if let Some((_, chip)) = SERIES.iter().find(|(end, _)| words().any(|word| word.ends_with(end)))
    {
        return (*chip, false);
    }
    match BOARDS.iter().find(|(name, _)| plain.contains(name)) {
        Some((_, chip)) => (*chip, false),
        None => (Chip::Esp32, !plain.contains("esp32")),
    }
}

/// Returns the chip whose name is in `text`: `esp32c61` is no `esp32c6`, and what
/// is called `esp32` alone may be any board.
fn of_name(text: &str) -> Option<Chip> {
    let named = Chip::ALL.iter().filter(|chip| **chip != Chip::Esp32 && text.contains(chip.name()));
    named.max_by_key(|chip| chip.name().len()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boards_tell_their_chips() {
        for (board, chip) in [
            ("esp32dev", Chip::Esp32),
            ("esp32cam", Chip::Esp32),
            ("esp32-c3-devkitm-1", Chip::Esp32c3),
            ("esp32-s3-devkitc-1", Chip::Esp32s3),
            ("seeed_xiao_esp32c3", Chip::Esp32c3),
            ("XIAO_ESP32C6", Chip::Esp32c6),
            ("lolin_s3_mini", Chip::Esp32s3),
            ("lolin_s2_mini", Chip::Esp32s2),
            ("m5stack-cores3", Chip::Esp32s3),
            ("esp32c61", Chip::Esp32c61),
            ("nodemcu-32s", Chip::Esp32),
            ("adafruit_feather_esp32s2", Chip::Esp32s2),
        ] {
            assert_eq!(of_board(board), (chip, false), "{board}");
        }
        assert_eq!(of_board("blinker"), (Chip::Esp32, true));
    }
}
