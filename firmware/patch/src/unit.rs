//! One unit of a copy: predicted, and told where the prediction is wrong.

use crate::{
    engine::{Engine, Intent},
    header::Isa,
    io::{Error, Images},
    isa::{Kind, REFERENCES, Site, Unit, word},
    model::{ALTERNATIVES, CHANGED, EXPLICIT, FAR, NEAR, RUNS, SOURCES},
    range::Coder,
};

/// Most predictions that are tried.
const GUESSES: usize = 5;

/// A unit where it stands in both images.
#[derive(Clone, Copy)]
struct Pair {
    unit: Unit,
    /// Its word in the old image.
    old: u32,
    /// Its address there.
    old_at: u32,
    /// Its address in the new image.
    new_at: u32,
}

/// Shifts by which a target may have moved, the most likely first.
#[derive(Default)]
struct Guesses {
    shifts: [u32; GUESSES],
    len: usize,
}

impl Guesses {
    fn add(&mut self, shift: Option<u32>) {
        let Some(shift) = shift else { return };
        if !self.shifts.iter().take(self.len).any(|known| *known == shift)
            && let Some(slot) = self.shifts.get_mut(self.len)
        {
            *slot = shift;
            self.len += 1;
        }
    }
}

impl Engine<'_> {
    /// Codes the next unit and returns its length, at most `left`.
    pub(crate) fn unit<C: Coder, I: Images>(
        &mut self,
        coder: &mut C,
        images: &mut I,
        intent: &Intent<'_>,
        left: u32,
    ) -> Result<u32, Error<I::Error>> {
        let skipped = self.load(images)?;
        let pair = self.pair(skipped, left);
        let len = pair.unit.len as usize;
        let at = self.at as usize;
        let wanted = word(intent.new.get(at..at + len).unwrap_or_default());
        let new = self.code(coder, &pair, wanted);
        self.learn(&pair, new);
        self.from += pair.unit.len;
        self.put(images, new.to_le_bytes().get(..len).unwrap_or_default())?;
        Ok(pair.unit.len)
    }

    fn pair(&mut self, skipped: usize, left: u32) -> Pair {
        let (old, new) = (self.old.at(self.from), self.new.at(self.at));
        let bytes = self.loaded(skipped);
        let (unit, old_at, new_at) = match (old, new) {
            (Some(old), Some(new)) => {
                let site = Site {
                    bytes,
                    address: old.address,
                    room: left.min(old.room).min(new.room),
                    code: old.code,
                };
                let isa = self.model.params.isa;
                (Unit::parse(isa, &self.old, &site, &self.registers), old.address, new.address)
            }
            _ => (Unit::BYTE, 0, 0),
        };
        let old = word(bytes.get(..unit.len as usize).unwrap_or_default());
        let page = old_at >> self.model.params.grain;
        if old_at != 0 && self.page != Some(page) {
            self.page = Some(page);
            self.model.learn_page(old_at, new_at.wrapping_sub(old_at));
        }
        Pair { unit, old, old_at, new_at }
    }

    /// Codes the unit's word.
    fn code<C: Coder>(&mut self, coder: &mut C, pair: &Pair, wanted: u32) -> u32 {
        let kind = pair.unit.kind;
        let (guesses, source) = self.guesses(pair);
        let first = self.aimed(pair, guesses.shifts[0]);
        if self.is_hit(coder, kind, source, first == wanted) {
            return first;
        }
        if !kind.refers() {
            return self.told(coder, pair, wanted);
        }
        let mut seen = [first; GUESSES];
        for index in 1..guesses.len {
            let guess = self.aimed(pair, guesses.shifts.get(index).copied().unwrap_or(0));
            if seen.contains(&guess) {
                continue;
            }
            if let Some(slot) = seen.get_mut(index) {
                *slot = guess;
            }
            let odds = ALTERNATIVES + (GUESSES - 1) * kind as usize + index - 1;
            if self.model.bit(coder, odds, guess == wanted) {
                return guess;
            }
        }
        if matches!(kind, Kind::Branch | Kind::High) {
            return self.told(coder, pair, wanted);
        }
        // Only where it leads differs: said relative to the first prediction.
        let isa = self.model.params.isa;
        let predicted = pair.unit.target.wrapping_add(guesses.shifts[0]);
        let target = C::ENCODES
            .then(|| pair.unit.target_of(isa, pair.old, wanted, pair.new_at))
            .flatten()
            .map(|target| folded(target.wrapping_sub(predicted)))
            .filter(|folded| *folded != u32::MAX);
        if !self.model.bit(coder, EXPLICIT + kind as usize, target.is_some()) {
            return self.told(coder, pair, wanted);
        }
        let far = kind.is_data() || kind == Kind::Literal;
        let folded = self.model.number(coder, if far { FAR } else { NEAR }, target.unwrap_or(0));
        let moved = folded >> 1 ^ (folded & 1).wrapping_neg();
        pair.unit.aimed(isa, pair.old, pair.new_at, predicted.wrapping_add(moved))
    }

    fn is_hit<C: Coder>(&mut self, coder: &mut C, kind: Kind, source: usize, hit: bool) -> bool {
        let class = match self.run {
            0 => 0,
            1 => 1,
            2..4 => 2,
            4..16 => 3,
            _ => 4,
        };
        let row = match kind.refers() {
            true => SOURCES * kind as usize + source,
            false => (SOURCES - 1) * REFERENCES + kind as usize,
        };
        let hit = self.model.hit(coder, RUNS * row + class, hit);
        self.run = if hit { self.run.saturating_add(1) } else { 0 };
        hit
    }

    /// The old word, made to refer to where its target went if it moved by `shift`.
    fn aimed(&self, pair: &Pair, shift: u32) -> u32 {
        let target = pair.unit.target.wrapping_add(shift);
        pair.unit.aimed(self.model.params.isa, pair.old, pair.new_at, target)
    }

    /// Shifts to try, and where the first one comes from.
    fn guesses(&self, pair: &Pair) -> (Guesses, usize) {
        let Unit { kind, target, .. } = pair.unit;
        let mut guesses = Guesses::default();
        if !kind.refers() {
            return (guesses, 0);
        }
        let own = Some(pair.new_at.wrapping_sub(pair.old_at));
        let (exact, page) = (self.model.exact(target), self.model.page(target));
        if matches!(kind, Kind::Branch | Kind::Jump) {
            guesses.add(own);
            guesses.add(page);
            guesses.add(exact);
            return (guesses, 0);
        }
        let data = kind.is_data() || kind == Kind::High;
        guesses.add(exact);
        guesses.add(page);
        guesses.add(if data { self.model.last(true) } else { own });
        guesses.add(self.model.last(false));
        guesses.add(Some(0));
        let source = if exact.is_some() { 2 } else { usize::from(page.is_some()) };
        (guesses, source)
    }

    /// Codes which bytes of the word changed, and by how much.
    fn told<C: Coder>(&mut self, coder: &mut C, pair: &Pair, wanted: u32) -> u32 {
        let Unit { kind, len, .. } = pair.unit;
        let mut new = 0;
        let mut changed = false;
        for index in 0..len {
            let [old, wanted] = [pair.old, wanted].map(|word| (word >> (8 * index)) as u8);
            // What is known not to be as predicted changes at last.
            let must = index + 1 == len && !changed && !kind.refers();
            let odds = CHANGED + (4 * kind as usize + index as usize) * 2 + usize::from(changed);
            let mut byte = old;
            if must || !self.model.bit(coder, odds, old == wanted) {
                changed = true;
                let tree = tree(self.model.params.changes, kind, index, len);
                let change = self.model.change(coder, tree, wanted.wrapping_sub(old));
                byte = old.wrapping_add(change);
            }
            new |= u32::from(byte) << (8 * index);
        }
        new
    }

    /// Notes where the unit's target went, and what registers hold.
    fn learn(&mut self, pair: &Pair, new: u32) {
        let Pair { unit, old, old_at, new_at } = *pair;
        let isa = self.model.params.isa;
        if unit.kind.teaches()
            && let Some(target) = unit.target_of(isa, old, new, new_at)
        {
            let shift = target.wrapping_sub(unit.target);
            self.model.learn_target(unit.target, shift, unit.kind.is_data());
        }
        if Isa::HAS_RISC_V && isa == Isa::RiscV {
            self.registers.follow(&unit, (old, old_at), (new, new_at));
        }
    }
}

/// The tree of a changed byte.
fn tree(trees: u8, kind: Kind, index: u32, len: u32) -> usize {
    match (trees, kind) {
        (1, _) | (_, Kind::Byte) => 0,
        (2, _) => 1,
        (3, _) => 1 + usize::from(index + 1 < len),
        (_, Kind::Two) => 1 + index as usize,
        (_, Kind::Three | Kind::Four) if index < 2 => 3 + index as usize,
        _ => 5,
    }
}

/// A signed number as an unsigned one: 0, -1, 1, -2, 2 ...
fn folded(number: u32) -> u32 {
    number << 1 ^ ((number as i32) >> 31) as u32
}
