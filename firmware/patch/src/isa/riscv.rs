//! RISC-V with the C extension, as in every chip that is not Xtensa.
//!
//! Source: The RISC-V Instruction Set Manual, Volume I, formats J, B, U, I, S, CJ
//! and CB.

use super::{Kind, Unit, signed, word, word_at};

const LUI: u32 = 0x37;
const AUIPC: u32 = 0x17;
const LOAD: u32 = 0x03;
const JALR: u32 = 0x67;
const STORE: u32 = 0x23;
const ADDI: u32 = 0x13;
const JAL: u32 = 0x6F;
const BRANCH: u32 = 0x63;

/// Upper parts of addresses that registers hold, in both images: 8 registers, told by
/// the low bits of their number, so that `a0` to `a7` have one each.
#[derive(Clone, Debug, Default)]
pub struct Registers {
    numbers: [u8; 8],
    old: [u32; 8],
    new: [u32; 8],
}

impl Registers {
    /// Nothing is held.
    pub const fn new() -> Self {
        Self { numbers: [0; 8], old: [0; 8], new: [0; 8] }
    }

    fn get(&self, number: u32) -> Option<(u32, u32)> {
        let at = number as usize & 7;
        (number != 0 && u32::from(self.numbers[at]) == number).then(|| (self.old[at], self.new[at]))
    }

    /// Follows what a unit does, from its words and addresses in both images.
    pub fn follow(&mut self, unit: &Unit, (old, old_at): (u32, u32), (new, new_at): (u32, u32)) {
        if unit.len != 4 || unit.kind == Kind::Low {
            return;
        }
        let (number, opcode) = (rd(old), old & 0x7F);
        let at = number as usize & 7;
        match opcode {
            LUI | AUIPC if opcode == new & 0x7F && number == rd(new) => {
                self.numbers[at] = number as u8;
                self.old[at] = upper(old, old_at);
                self.new[at] = upper(new, new_at);
            }
            BRANCH | STORE => {}
            _ if u32::from(self.numbers[at]) == number => self.numbers[at] = 0,
            _ => {}
        }
    }
}

/// Parses `bytes`; the low part of an address is looked for in `ahead`.
pub(super) fn parse(bytes: &[u8], ahead: &[u8], address: u32, registers: &Registers) -> Unit {
    let (0, Some(short)) = (address & 1, word_at(bytes, 0, 2)) else { return Unit::BYTE };
    if short & 3 != 3 {
        return match (short & 3, short >> 13) {
            (1, 1 | 5) => relative(Kind::Jump, 2, short, address),
            (1, 6 | 7) => relative(Kind::Branch, 2, short, address),
            _ => Unit::new(Kind::Two, 2, 0),
        };
    }
    let Some(word) = word_at(bytes, 0, 4) else { return Unit::BYTE };
    let kind = match word & 0x7F {
        JAL => return relative(Kind::Call, 4, word, address),
        BRANCH => return relative(Kind::Branch, 4, word, address),
        LUI | AUIPC => {
            return match low_part(ahead, rd(word)) {
                Some(low) => Unit::new(Kind::High, 4, upper(word, address).wrapping_add(low)),
                None => Unit::new(Kind::Four, 4, 0),
            };
        }
        opcode => low_kind(opcode, word),
    };
    match (kind, registers.get(rs1(word))) {
        (Some(kind), Some((old, new))) => Unit { base: new, ..relative(kind, 4, word, old) },
        _ => Unit::new(Kind::Four, 4, 0),
    }
}

/// Returns what an instruction is that may have the low part of an address.
fn low_kind(opcode: u32, word: u32) -> Option<Kind> {
    match opcode {
        LOAD | JALR => Some(Kind::Low),
        ADDI if word >> 12 & 7 == 0 => Some(Kind::Low),
        STORE => Some(Kind::Store),
        _ => None,
    }
}

/// Looks for the first use of a register's upper part, at most 12 instructions on.
fn low_part(ahead: &[u8], number: u32) -> Option<u32> {
    let mut at = 4;
    for _ in 0..12 {
        let next = word(ahead.get(at..at + 4)?);
        if next & 3 != 3 {
            at += 2;
            continue;
        }
        if let (true, Some(kind)) = (rs1(next) == number, low_kind(next & 0x7F, next)) {
            return Some(relative(kind, 4, next, 0).target);
        }
        at += 4;
    }
    None
}

fn rd(word: u32) -> u32 {
    word >> 7 & 31
}

fn rs1(word: u32) -> u32 {
    word >> 15 & 31
}

/// What `lui` or `auipc` puts into its register.
fn upper(word: u32, address: u32) -> u32 {
    let from = if word & 0x7F == AUIPC { address } else { 0 };
    (word & !0xFFF).wrapping_add(from)
}

/// A unit that refers to an address relative to `base`. Once, where flash is scarce.
#[inline(never)]
fn relative(kind: Kind, len: u32, word: u32, base: u32) -> Unit {
    let unit = Unit::new(kind, len, 0);
    let distance = format(&unit).map_or(0, |format| format.number(word));
    Unit { target: base.wrapping_add(distance), ..unit }
}

pub(super) fn target(unit: &Unit, word: u32, address: u32) -> Option<u32> {
    Some(unit.base_at(address).wrapping_add(format(unit)?.number(word)))
}

pub(super) fn aimed(unit: &Unit, word: u32, address: u32, target: u32) -> u32 {
    if unit.kind == Kind::High {
        let number = target.wrapping_sub(upper(word & 0x7F, address));
        return word & 0xFFF | number.wrapping_add(0x800) & !0xFFF;
    }
    let distance = target.wrapping_sub(unit.base_at(address));
    format(unit).map_or(word, |format| format.with(word, distance))
}

impl Unit {
    /// From where its number counts in the new image.
    fn base_at(&self, address: u32) -> u32 {
        if matches!(self.kind, Kind::Low | Kind::Store) { self.base } else { address }
    }
}

/// How an instruction says a signed number: its bits, and the runs of them: where in
/// the word, where in the number, how many.
struct Format(u8, &'static [(u8, u8, u8)]);

const I: Format = Format(12, &[(20, 0, 12)]);
const S: Format = Format(12, &[(25, 5, 7), (7, 0, 5)]);
const J: Format = Format(21, &[(31, 20, 1), (12, 12, 8), (20, 11, 1), (21, 1, 10)]);
const B: Format = Format(13, &[(31, 12, 1), (7, 11, 1), (25, 5, 6), (8, 1, 4)]);
const CB: Format = Format(9, &[(12, 8, 1), (10, 3, 2), (5, 6, 2), (3, 1, 2), (2, 5, 1)]);
const CJ: Format = Format(
    12,
    &[(12, 11, 1), (11, 4, 1), (9, 8, 2), (8, 10, 1), (7, 6, 1), (6, 7, 1), (3, 1, 3), (2, 5, 1)],
);

fn format(unit: &Unit) -> Option<&'static Format> {
    Some(match (unit.kind, unit.len) {
        (Kind::Call, _) => &J,
        (Kind::Branch, 4) => &B,
        (Kind::Branch, _) => &CB,
        (Kind::Jump, _) => &CJ,
        (Kind::Low, _) => &I,
        (Kind::Store, _) => &S,
        _ => return None,
    })
}

impl Format {
    fn number(&self, word: u32) -> u32 {
        let number = self
            .1
            .iter()
            .fold(0, |number, (from, to, len)| number | (word >> from & ((1 << len) - 1)) << to);
        signed(number, self.0.into())
    }

    fn with(&self, word: u32, number: u32) -> u32 {
        self.1.iter().fold(word, |word, (from, to, len)| {
            let mask: u32 = (1 << len) - 1;
            word & !(mask << from) | (number >> to & mask) << from
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parses an instruction at `0x4200_0100`.
    fn unit(word: u32, registers: &Registers) -> Unit {
        let bytes = word.to_le_bytes();
        let len = if word & 3 == 3 { 4 } else { 2 };
        parse(&bytes[..len], &bytes, 0x4200_0100, registers)
    }

    #[test]
    fn instructions_refer_to_where_an_assembler_says() {
        for (word, kind, target) in [
            (0x0080_00EF, Kind::Call, 0x4200_0108),   // jal ra, +8
            (0x0010_00EF, Kind::Call, 0x4200_0900),   // jal ra, +2048
            (0xFFDF_F06F, Kind::Call, 0x4200_00FC),   // j -4
            (0xFE00_0EE3, Kind::Branch, 0x4200_00FC), // beq zero, zero, -4
            (0x00B5_0463, Kind::Branch, 0x4200_0108), // beq a0, a1, +8
            (0xA001, Kind::Jump, 0x4200_0100),        // c.j 0
            (0xBFFD, Kind::Jump, 0x4200_00FE),        // c.j -2
            (0xC501, Kind::Branch, 0x4200_0108),      // c.beqz a0, +8
        ] {
            let unit = unit(word, &Registers::new());
            assert_eq!((unit.kind, unit.target), (kind, target), "{word:#x}");
        }
    }

    #[test]
    fn both_parts_of_an_address_are_put_together() {
        let (lui, addi, sw) = (0x4200_1537_u32, 0xFF05_0513_u32, 0x00B5_2223);
        let ahead = [lui.to_le_bytes(), addi.to_le_bytes()].concat();
        let mut registers = Registers::new();
        let high = parse(&ahead, &ahead, 0x4200_0100, &registers);
        assert_eq!((high.kind, high.target), (Kind::High, 0x4200_0FF0));
        // The lower part is negative: the upper one is that of the next page.
        assert_eq!(aimed(&high, lui, 0, 0x4201_1FF0), 0x4201_2537);

        registers.follow(&high, (lui, 0), (0x4201_2537, 0));
        let low = unit(addi, &registers);
        assert_eq!((low.kind, low.target), (Kind::Low, 0x4200_0FF0));
        assert_eq!(aimed(&low, addi, 0, 0x4201_1FF4), 0xFF45_0513);
        let store = unit(sw, &registers);
        assert_eq!((store.kind, store.target), (Kind::Store, 0x4200_1004));
        assert_eq!(aimed(&store, sw, 0, 0x4201_2008), 0x00B5_2423);

        // Another instruction writes a0: nothing is known of it.
        let mv = unit(0x0005_8513 | 1 << 12, &registers);
        registers.follow(&mv, (0x0005_9513, 0), (0x0005_9513, 0));
        assert_eq!(unit(addi, &registers).kind, Kind::Four);
    }

    #[test]
    fn every_number_of_a_format_comes_back() {
        for (format, least) in [(&I, 1), (&S, 1), (&J, 2), (&B, 2), (&CB, 2), (&CJ, 2_u32)] {
            let half = 1_i32 << (format.0 - 1);
            for number in (-half..half).step_by(least as usize) {
                for word in [0, u32::MAX, 0x1234_5678] {
                    let said = format.with(word, number as u32);
                    assert_eq!(format.number(said), number as u32);
                    assert_eq!(format.with(said, format.number(word)), word);
                }
            }
        }
    }
}
