//! What a decoder has learned: odds of decisions, and where targets went. All of it
//! lies in memory that the caller lends.
//!
//! Two kinds of odds. Most decisions have 12 bits of probability and 4 of count, and
//! adapt quickly. Whether a unit of a copy is as predicted has 22 and 10: in an image
//! that hardly changed, it is asked hundreds of thousands of times, and must cost
//! next to nothing.

use crate::{
    header::Params,
    isa::{KINDS, REFERENCES},
    range::Coder,
};

/// What all of the memory starts as: even odds, no entry.
const FRESH: u16 = 0x8000;

/// By how much of the way odds move, in 1/65536, by how often they did.
const RATE: [u16; 15] =
    [32768, 21845, 16384, 13107, 10922, 9362, 8192, 6553, 5461, 4681, 4096, 3640, 3276, 2978, 2730];

/// Tells where a candidate for a target comes from: neither, page, exact.
pub(crate) const SOURCES: usize = 3;
/// Classes of how many units were as predicted without a break.
pub(crate) const RUNS: usize = 5;
/// Odds of one kind of number: 32 for its length, 4 each for the first bits of lengths
/// below 12, 4 for the last bits.
const NUMBER: usize = 32 + 4 * 12 + 4;

// Places of odds, in u16.
const HITS: usize = 0;
pub(crate) const ALTERNATIVES: usize =
    HITS + 2 * RUNS * (REFERENCES * SOURCES + KINDS - REFERENCES);
pub(crate) const EXPLICIT: usize = ALTERNATIVES + 4 * REFERENCES;
pub(crate) const CHANGED: usize = EXPLICIT + REFERENCES;
pub(crate) const NEXT: usize = CHANGED + KINDS * 4 * 2;
pub(crate) const SEEK: usize = NEXT + 3 * 3;
pub(crate) const DISTANCE: usize = SEEK + 6;
pub(crate) const MATCHED: usize = DISTANCE + NUMBER;
pub(crate) const SEEKED: usize = MATCHED + NUMBER;
pub(crate) const COPIED: usize = SEEKED + NUMBER;
pub(crate) const NEAR: usize = COPIED + NUMBER;
pub(crate) const FAR: usize = NEAR + NUMBER;
const FIXED: usize = FAR + NUMBER;

const TREE: usize = 256;

impl Params {
    /// Bytes of memory that coding takes.
    pub const fn memory(&self) -> u32 {
        2 * Layout::of(self).end as u32
    }
}

/// Where the parts lie whose size is a parameter, in u16.
#[derive(Clone, Debug)]
struct Layout {
    page: usize,
    changes: usize,
    literals: usize,
    order: usize,
    end: usize,
}

impl Layout {
    const fn of(params: &Params) -> Self {
        // A table of 2^0 is none.
        const fn entries(bits: u8) -> usize {
            (1 << bits) & !1
        }
        let page = FIXED + 2 * entries(params.exact);
        let changes = page + 2 * entries(params.page);
        let literals = changes + TREE * params.changes as usize;
        let order = literals + (TREE << params.literals);
        Self { page, changes, literals, order, end: order + entries(params.order) }
    }
}

#[derive(Debug)]
pub(crate) struct Model<'w> {
    pub(crate) params: Params,
    layout: Layout,
    work: &'w mut [u16],
    /// By how much the last targets moved: of code, of data.
    last: [Option<u32>; 2],
}

impl<'w> Model<'w> {
    /// Takes the memory, if it is enough.
    pub(crate) fn new(params: Params, work: &'w mut [u16]) -> Option<Self> {
        let layout = Layout::of(&params);
        let work = work.get_mut(..layout.end)?;
        Some(Self { params, layout, work, last: [None; 2] })
    }

    /// Forgets everything.
    pub(crate) fn reset(&mut self) {
        self.work.fill(FRESH);
        self.last = [None; 2];
    }

    /// Codes a decision with the odds at `at`.
    pub(crate) fn bit<C: Coder>(&mut self, coder: &mut C, at: usize, wanted: bool) -> bool {
        let Some(odds) = self.work.get_mut(at) else { return false };
        let bit = coder.code(probability(*odds) << 4, wanted);
        adapt(odds, bit);
        bit
    }

    /// Codes whether a unit is as predicted; `at` counts these odds.
    pub(crate) fn hit<C: Coder>(&mut self, coder: &mut C, at: usize, wanted: bool) -> bool {
        let Some([high, low]) =
            self.work.get_mut(HITS + 2 * at..).and_then(<[u16]>::first_chunk_mut)
        else {
            return false;
        };
        let odds = u32::from(*high) << 16 | u32::from(*low);
        let (one, count) = ((odds >> 10) as i32, odds & 0x3FF);
        let bit = coder.code((one as u32 >> 6).clamp(1, 0xFFFF), wanted);
        let goal = if bit { (1 << 22) - 1 } else { 0 };
        let one = one + (goal - one) * 2 / (2 * count as i32 + 3);
        let odds = (one as u32) << 10 | (count + 1).min(200);
        (*high, *low) = ((odds >> 16) as u16, odds as u16);
        bit
    }

    /// Codes a number of `bits`, the highest first.
    fn tree<C: Coder>(&mut self, coder: &mut C, at: usize, bits: u32, wanted: u32) -> u32 {
        let mut node = 1;
        for bit in (0..bits).rev() {
            let bit = self.bit(coder, at + node as usize, wanted >> bit & 1 != 0);
            node = node << 1 | u32::from(bit);
        }
        node - (1 << bits)
    }

    /// Codes a number below [`u32::MAX`]: how many bits follow the first of the
    /// number + 1, then these. Of short ones the first two have odds; of all the last
    /// two, because what is told is aligned.
    pub(crate) fn number<C: Coder>(&mut self, coder: &mut C, at: usize, wanted: u32) -> u32 {
        let wanted = wanted.wrapping_add(1) | u32::from(wanted == u32::MAX);
        let bits = self.tree(coder, at, 5, wanted.ilog2());
        let mut number = 1;
        for left in (0..bits).rev() {
            let wanted = wanted >> left & 1 != 0;
            // Node 1 is for the first of two bits, 2 and 3 are for the second.
            let odds = match (bits - left, left) {
                (1, _) if bits < 12 => Some(32 + 4 * bits + 1),
                (2, _) if bits < 12 => Some(32 + 4 * bits + number),
                (_, 1) => Some(80 + 1),
                (_, 0) => Some(80 + 2 + (number & 1)),
                _ => None,
            };
            let bit = match odds {
                Some(odds) => self.bit(coder, at + odds as usize, wanted),
                None => coder.code(1 << 15, wanted),
            };
            number = number << 1 | u32::from(bit);
        }
        number.wrapping_sub(1)
    }

    /// Codes by how much a byte of a copy changed.
    pub(crate) fn change<C: Coder>(&mut self, coder: &mut C, tree: usize, wanted: u8) -> u8 {
        self.tree(coder, self.layout.changes + TREE * tree, 8, u32::from(wanted)) as u8
    }

    /// Codes a byte at a position of the new image, behind another byte.
    pub(crate) fn literal<C: Coder>(
        &mut self,
        coder: &mut C,
        position: u32,
        before: u8,
        wanted: u8,
    ) -> u8 {
        let context = position as usize & ((1 << self.params.literals) - 1);
        let at = self.layout.literals + TREE * context;
        if self.params.order == 0 {
            return self.tree(coder, at, 8, u32::from(wanted)) as u8;
        }
        let seed = (u32::from(before) + 1).wrapping_mul(GOLDEN);
        let mut node: u32 = 1;
        for bit in (0..8).rev() {
            let hash = seed.wrapping_add(node.wrapping_mul(0x2545_F491)).wrapping_mul(0x85EB_CA6B);
            let other = self.layout.order + (hash >> (32 - self.params.order)) as usize;
            let at = at + node as usize;
            let (Some(&plain), Some(&ordered)) = (self.work.get(at), self.work.get(other)) else {
                return 0;
            };
            // What was asked more often has more of a say.
            let weight = u32::from(ordered & 15).min(6);
            let one = probability(plain) * (16 - weight) + probability(ordered) * weight;
            let bit = coder.code(one, wanted >> bit & 1 != 0);
            for at in [at, other] {
                if let Some(odds) = self.work.get_mut(at) {
                    adapt(odds, bit);
                }
            }
            node = node << 1 | u32::from(bit);
        }
        node as u8
    }

    /// Notes that a reference to `target` moved by `shift`.
    pub(crate) fn learn_target(&mut self, target: u32, shift: u32, is_data: bool) {
        let entry = self.exact_entry(target);
        self.set(entry, shift);
        self.last[usize::from(is_data)] = Some(shift);
        self.learn_page(target, shift);
    }

    /// Notes that what stands at `address` moved by `shift`.
    pub(crate) fn learn_page(&mut self, address: u32, shift: u32) {
        let entry = self.page_entry(address);
        self.set(entry, shift);
    }

    /// By how much this target moved when it was last referred to.
    pub(crate) fn exact(&self, target: u32) -> Option<u32> {
        self.get(self.exact_entry(target))
    }

    /// By how much something on its page moved last.
    pub(crate) fn page(&self, target: u32) -> Option<u32> {
        self.get(self.page_entry(target))
    }

    /// By how much the last target moved, of data or of code.
    pub(crate) fn last(&self, is_data: bool) -> Option<u32> {
        self.last[usize::from(is_data)]
    }

    fn exact_entry(&self, target: u32) -> Option<Entry> {
        Entry::of(target, self.params.exact, FIXED)
    }

    fn page_entry(&self, address: u32) -> Option<Entry> {
        Entry::of(address >> self.params.grain, self.params.page, self.layout.page)
    }

    fn get(&self, entry: Option<Entry>) -> Option<u32> {
        let Entry { at, tag } = entry?;
        let [high, low] = self.work.get(at..).and_then(<[u16]>::first_chunk)?;
        let fresh = (*high, *low) == (FRESH, FRESH);
        let shift = (u32::from(*high) << 16 | u32::from(*low & 0xFF00)) as i32 >> 8;
        (!fresh && (*low & 0xFF) == tag).then_some(shift as u32)
    }

    fn set(&mut self, entry: Option<Entry>, shift: u32) {
        let Some(Entry { at, tag }) = entry else { return };
        if let Some([high, low]) = self.work.get_mut(at..).and_then(<[u16]>::first_chunk_mut) {
            (*high, *low) = ((shift >> 8) as u16, (shift << 8) as u16 | tag);
        }
    }
}

/// 2^32 over the golden ratio: its product is well spread in the upper bits.
const GOLDEN: u32 = 0x9E37_79B1;

/// An entry of a table: 24 bits of shift, 8 of tag.
#[derive(Clone, Copy)]
struct Entry {
    at: usize,
    tag: u16,
}

impl Entry {
    fn of(key: u32, bits: u8, table: usize) -> Option<Self> {
        let hash = key.wrapping_mul(GOLDEN);
        let index = hash.checked_shr(32 - u32::from(bits))? as usize;
        Some(Self { at: table + 2 * index, tag: (hash >> (24 - bits)) as u16 & 0xFF })
    }
}

fn probability(odds: u16) -> u32 {
    u32::from(odds >> 4)
}

fn adapt(odds: &mut u16, bit: bool) {
    let (one, count) = (i32::from(*odds >> 4), *odds & 15);
    let goal = if bit { 4095 } else { 0 };
    let rate = RATE.get(usize::from(count)).map_or(0, |rate| i32::from(*rate));
    let one = (one + (((goal - one) * rate + (1 << 15)) >> 16)).clamp(1, 4095) as u16;
    *odds = one << 4 | (count + 1).min(14);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::Isa;

    #[test]
    fn the_small_profile_fits_into_4_kib_and_the_large_one_into_32() {
        let small = Params {
            isa: Isa::RiscV,
            exact: 7,
            page: 7,
            grain: 12,
            literals: 0,
            order: 0,
            changes: 1,
        };
        let large =
            Params { exact: 11, page: 11, grain: 9, literals: 2, order: 12, changes: 6, ..small };
        assert_eq!((small.memory(), large.memory()), (3918, 31566));
    }

    #[test]
    fn odds_stay_within_what_a_coder_takes() {
        for bit in [false, true] {
            let mut odds = FRESH;
            for _ in 0..1000 {
                adapt(&mut odds, bit);
                assert!((1..=4095).contains(&probability(odds)));
            }
        }
    }
}
