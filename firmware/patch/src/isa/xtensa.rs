//! Xtensa, as in ESP32, S2 and S3.
//!
//! Source: Xtensa Instruction Set Architecture Reference Manual, formats CALL, RI16,
//! BRI8 and BRI12 of the little endian core.

use super::{Kind, Unit, signed, word_at};

/// How a conditional branch says its distance.
#[derive(PartialEq)]
enum Reach {
    Bits8,
    Bits12,
}

pub(super) fn parse(bytes: &[u8], address: u32) -> Unit {
    // Formats of 16 bits have bit 3 set; 14 and 15 are of 24 bits.
    let narrow = bytes.first().is_some_and(|byte| matches!(byte & 15, 8..=13));
    if narrow && bytes.len() >= 2 {
        return Unit::new(Kind::Two, 2, 0);
    }
    let (false, Some(word)) = (narrow, word_at(bytes, 0, 3)) else { return Unit::BYTE };
    let kind = kind(word);
    Unit::new(kind, 3, target(kind, word, address).unwrap_or(0))
}

fn kind(word: u32) -> Kind {
    match (word & 15, word >> 4 & 15) {
        (5, _) => Kind::Call,
        (1, _) => Kind::Literal,
        (6, 0 | 4 | 8 | 12) => Kind::Jump,
        // Of the others, 3 and 7 are `entry`, and a format without a target.
        (6, 3 | 7) => Kind::Three,
        (6 | 7, _) => Kind::Branch,
        _ => Kind::Three,
    }
}

fn reach(word: u32) -> Reach {
    if word & 0x3F == 0x16 { Reach::Bits12 } else { Reach::Bits8 }
}

pub(super) fn target(kind: Kind, word: u32, address: u32) -> Option<u32> {
    let next = address.wrapping_add(4);
    Some(match kind {
        Kind::Call => (next & !3).wrapping_add(signed(word >> 6, 18) << 2),
        // Literals stand before their use.
        Kind::Literal => base(address).wrapping_add((word >> 8 | 0xFFFF_0000) << 2),
        Kind::Jump => next.wrapping_add(signed(word >> 6, 18)),
        Kind::Branch if reach(word) == Reach::Bits12 => next.wrapping_add(signed(word >> 12, 12)),
        Kind::Branch => next.wrapping_add(signed(word >> 16, 8)),
        _ => return None,
    })
}

pub(super) fn aimed(kind: Kind, word: u32, address: u32, target: u32) -> u32 {
    let next = address.wrapping_add(4);
    let near = target.wrapping_sub(next);
    match kind {
        Kind::Call => word & 0x3F | (target.wrapping_sub(next & !3) >> 2 & 0x3_FFFF) << 6,
        Kind::Literal => word & 0xFF | (target.wrapping_sub(base(address)) >> 2 & 0xFFFF) << 8,
        Kind::Jump => word & 0x3F | (near & 0x3_FFFF) << 6,
        Kind::Branch if reach(word) == Reach::Bits12 => word & 0xFFF | (near & 0xFFF) << 12,
        Kind::Branch => word & 0xFFFF | (near & 0xFF) << 16,
        _ => word,
    }
}

/// From where `l32r` counts.
fn base(address: u32) -> u32 {
    address.wrapping_add(3) & !3
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: u32 = 0x400D_0102;

    #[test]
    fn instructions_refer_to_where_an_assembler_says() {
        for (word, kind, target) in [
            (0x00_0025_u32, Kind::Call, 0x400D_0104), // call8 +0
            (0xFF_FFE5, Kind::Call, 0x400D_0100),     // call8 -4
            (0xFF_FF21, Kind::Literal, 0x400D_0100),  // l32r a2, -4
            (0x00_0086, Kind::Jump, 0x400D_0108),     // j +2
            (0x00_2216, Kind::Branch, 0x400D_0108),   // beqz a2, +2
            (0xFE_2317, Kind::Branch, 0x400D_0104),   // beq, -2
            (0x02_2226, Kind::Branch, 0x400D_0108),   // beqi, +2
            (0x00_4136, Kind::Three, 0),              // entry a1, 32
            (0x00_0000, Kind::Three, 0),              // ill
        ] {
            let unit = parse(&word.to_le_bytes()[..3], AT);
            assert_eq!((unit.kind, unit.len, unit.target), (kind, 3, target), "{word:#x}");
        }
        assert_eq!(parse(&[0x1D, 0xF0, 0], AT), Unit::new(Kind::Two, 2, 0)); // retw.n
    }

    #[test]
    fn whatever_is_aimed_leads_there() {
        for word in (0..1 << 24).step_by(0x107) {
            let kind = kind(word);
            if let Some(target) = target(kind, word, AT) {
                assert_eq!(aimed(kind, word, AT, target), word, "{word:#x}");
                let moved = aimed(kind, word, AT + 0x4000, target);
                assert_eq!(aimed(kind, moved, AT, target), word, "{word:#x}");
            }
        }
    }
}
