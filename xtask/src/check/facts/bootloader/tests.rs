use super::*;
use crate::image::bundled_bootloader;

/// Returns the bootloader that espflash has for a chip of this revision.
fn bootloader(chip: Chip, revision: u16) -> Vec<u8> {
    bundled_bootloader(chip, revision).unwrap()
}

#[test]
fn bundled_bootloaders_do_not_roll_back_but_the_newest() {
    for chip in Chip::ALL.iter().filter(|chip| **chip != Chip::Esp32h21) {
        let bytes = bootloader(*chip, 0);
        assert_eq!(rolls_back(&bytes, *chip), Some(false), "{chip}");
        // Nothing is told of what is no longer all there.
        assert_eq!(rolls_back(&bytes[..bytes.len() / 2], *chip), None, "{chip}");
    }
    assert_eq!(rolls_back(&bootloader(Chip::Esp32h4, 2), Chip::Esp32h4), Some(true));
}

#[test]
fn a_bootloader_without_the_text_is_unknown() {
    for chip in [Chip::Esp32, Chip::Esp32c3, Chip::Esp32h4] {
        let mut bytes = bootloader(chip, 2);
        let at = memmem::find(&bytes, WRITES).unwrap();
        bytes[at] = b'e';
        assert_eq!(rolls_back(&bytes, chip), None, "{chip}");
    }
}

#[test]
fn a_text_of_a_higher_level_tells() {
    let mut bytes = bootloader(Chip::Esp32, 0);
    let at = memmem::find(&bytes, WRITES).unwrap();
    bytes[at..][..TELLING[0].len()].copy_from_slice(TELLING[0]);
    assert_eq!(rolls_back(&bytes, Chip::Esp32), Some(true));
}

/// Assembles a function that refers to a text, and calls of it.
fn xtensa(calls: usize) -> Vec<u8> {
    // The literal, `entry a1, 32`, `movi.n a12, 32` and `l32r a10`.
    let mut code = vec![0, 0, 0xFF, 0x3F, 0x36, 0x41, 0, 0x2C, 0x0C, 0xA1, 0xFD, 0xFF];
    // `call8`, each a word further from the function.
    for number in 0..calls as u32 {
        let offset = (-3 - number as i32) as u32 & 0x3_FFFF;
        code.extend(&(offset << 6 | 0x25).to_le_bytes()[..3]);
        code.push(0);
    }
    code
}

#[test]
fn calls_of_the_function_that_writes_are_counted() {
    for (calls, expected) in
        [(0, Some(false)), (1, Some(false)), (2, None), (3, Some(true)), (4, Some(true))]
    {
        let data = xtensa(calls);
        let segment = Segment { address: 0x4008_0000, at: 0, data: &data };
        let mut code = Code::default();
        code.read_xtensa(&segment, &[segment]);
        assert_eq!(code.rolls_back(0x3FFF_0000, None), expected, "{calls}");
        // Where the same function fills blank otadata, it only looks like that.
        let filled = if calls < 3 { expected } else { None };
        assert_eq!(code.rolls_back(0x3FFF_0000, Some(0x3FFF_0000)), filled, "{calls}");
    }
}
