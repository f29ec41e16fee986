//! What is left to chance in a fleet.

use super::Fleet;
use towline::schedule::Jitter;
use towline_descriptor::Share;

/// Minutes ahead of UTC, and how many of a hundred or so devices live there:
/// roughly as people with such devices do.
const ZONES: [(i16, u64); 13] = [
    (-480, 6),
    (-420, 2),
    (-360, 6),
    (-300, 12),
    (-180, 5),
    (0, 8),
    (60, 25),
    (120, 10),
    (180, 4),
    (330, 8),
    (480, 12),
    (540, 4),
    (600, 2),
];

/// What is left to chance in a device's life (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.draw()) * u128::from(end)) >> 64) as u64
    }

    /// Draws a time whose mean is this: users agree at any moment as likely as
    /// at any other.
    pub(crate) fn wait(&mut self, mean: u64) -> u64 {
        let part = (self.below(1 << 53) as f64 + 1.0) / (1_u64 << 53) as f64;
        (-part.ln() * mean as f64) as u64
    }

    /// Draws whether it belongs to a part of all.
    pub(crate) fn is_in(&mut self, share: Share) -> bool {
        self.below(10_000) < share.hundredths().into()
    }
}

fn zone(chance: &mut Chance) -> i16 {
    let all = ZONES.iter().map(|(_, weight)| weight).sum();
    let mut drawn = chance.below(all);
    for (offset, weight) in ZONES {
        match drawn.checked_sub(weight) {
            Some(rest) => drawn = rest,
            None => return offset,
        }
    }
    0
}

/// What a device is like from its first day.
#[derive(Clone, Debug)]
pub(crate) struct Born {
    /// What else is left to chance in its life.
    pub(crate) chance: Chance,
    /// Its id, of which a device uses six bytes, as those of a MAC address.
    pub(crate) id: [u8; 8],
    /// Minutes that its local time is ahead of UTC.
    pub(crate) utc_offset: i16,
    /// What spreads its polls.
    pub(crate) jitter: Jitter,
    /// Seconds from the start at which it polls first.
    pub(crate) polls_at: u64,
    /// Whether it is switched off all the time.
    pub(crate) is_off: bool,
    /// The place in [`Fleet::runs`] of what it runs.
    pub(crate) runs: usize,
}

impl Born {
    /// Makes the device with this index.
    pub(crate) fn new(fleet: &Fleet, index: u32) -> Self {
        // Far apart, so that neighbours have nothing in common.
        let mut chance = Chance(Chance(fleet.seed ^ (u64::from(index) << 32)).draw());
        let id = chance.draw().to_be_bytes();
        let utc_offset = zone(&mut chance);
        let jitter = Jitter::new(chance.draw() as u32);
        let polls_at = chance.below(fleet.period.seconds().max(1));
        let is_off = chance.is_in(fleet.offline);
        let mut drawn = chance.below(10_000) as u16;
        let runs = fleet.runs.iter().position(|run| {
            let here = drawn < run.share.hundredths();
            drawn = drawn.saturating_sub(run.share.hundredths());
            here
        });
        let runs = runs.unwrap_or(fleet.runs.len().saturating_sub(1));
        Self { chance, id, utc_offset, jitter, polls_at, is_off, runs }
    }
}
