//! Finds what of the new image is the old one with few differences.
//!
//! ```text
//! old  ----AAAAAAAAAA--------BBBBBBBBB----
//!           \\\\\\\\\\       |||||||||
//! new  ------AAAAxAAAAA-----BBBxBBBBB-----    anchors grow forwards and backwards
//!                      gap
//! ```
//!
//! This is the way of bsdiff: from one anchor, a long match, to the next one that is
//! worth more than going on with the first. Both images are masked, so that code that
//! only moved is a long match.

use crate::index::{Found, OldIndex, common};
use rayon::prelude::*;
use std::ops::Range;

/// What is copied from the old image, with differences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    /// Where it begins in the old image.
    pub(crate) from: usize,
    /// Where it begins in the new image.
    pub(crate) at: usize,
    /// Its bytes.
    pub(crate) len: usize,
}

impl Stretch {
    /// Returns where it ends in the new image.
    pub(crate) fn end(&self) -> usize {
        self.at + self.len
    }

    /// Returns how much further on it is in the old image, wrapping.
    pub(crate) fn shift(&self) -> usize {
        self.from.wrapping_sub(self.at)
    }
}

/// Bytes of the new image that are scanned apart from others.
const PART: usize = 128 << 10;

/// Longest match that is looked for: the scan goes on from its end.
const LONGEST: usize = 4096;

/// Bytes that match where the last anchor leads, so that no other place is looked at.
const SURE: usize = 64;

/// Bytes by which a new anchor has to be better than going on with the last one.
const GAIN: usize = 8;

/// Finds the stretches of two masked images, in their order in `new`.
pub(crate) fn stretches(old: &[u8], new: &[u8], index: &OldIndex<'_>) -> Vec<Stretch> {
    let starts: Vec<_> = (0..new.len()).step_by(PART).collect();
    let scan = |start: &usize| {
        let end = (start + PART).min(new.len());
        Scan { old, new: &new[..end], index }.run(*start..end)
    };
    let parts: Vec<_> = starts.par_iter().map(scan).collect();
    joined(parts.into_iter().flatten())
}

/// Joins stretches that a border between parts cut in two.
fn joined(stretches: impl Iterator<Item = Stretch>) -> Vec<Stretch> {
    let mut joined: Vec<Stretch> = Vec::new();
    for stretch in stretches {
        match joined.last_mut() {
            Some(last) if last.end() == stretch.at && last.shift() == stretch.shift() => {
                last.len += stretch.len;
            }
            _ => joined.push(stretch),
        }
    }
    joined
}

struct Scan<'a> {
    old: &'a [u8],
    new: &'a [u8],
    index: &'a OldIndex<'a>,
}

impl Scan<'_> {
    fn run(&self, range: Range<usize>) -> Vec<Stretch> {
        let mut stretches = Vec::new();
        // Where the last anchor was met, and how much further on it is in the old image.
        let (mut last, mut shift) = (range.start, 0);
        let mut at = range.start;
        loop {
            let (next, found) = self.next_anchor(at, shift);
            if next < range.end && found.at == next.wrapping_add(shift) {
                at = next + found.len;
                continue;
            }
            let backward = if next < range.end { self.backward(last, next, found.at) } else { 0 };
            let forward = self.forward(last, shift, next);
            let (forward, backward) = self.parted(last, shift, forward, next, found.at, backward);
            if forward > 0 {
                stretches.push(Stretch { from: last.wrapping_add(shift), at: last, len: forward });
            }
            if next >= range.end {
                return stretches;
            }
            last = next - backward;
            shift = found.at.wrapping_sub(next);
            at = next + found.len;
        }
    }

    /// Returns whether a byte is the same as `shift` further on in the old image.
    fn is_same(&self, at: usize, shift: usize) -> bool {
        self.old.get(at.wrapping_add(shift)) == self.new.get(at) && at < self.new.len()
    }

    /// Looks from `at` on for a match that goes on with the last anchor or is worth
    /// more than it. Returns its place, the end if there is none.
    fn next_anchor(&self, at: usize, shift: usize) -> (usize, Found) {
        // How many of the bytes from here to `scored` match where the last anchor leads.
        let (mut score, mut scored) = (0, at);
        for at in at..self.new.len() {
            let found = self.find(at, shift);
            while scored < at + found.len {
                score += usize::from(self.is_same(scored, shift));
                scored += 1;
            }
            if found.len == score && score != 0 {
                return (at, Found { at: at.wrapping_add(shift), len: score });
            }
            if found.len > score + GAIN {
                return (at, found);
            }
            // What was scored begins after this byte.
            score -= usize::from(scored > at && self.is_same(at, shift));
            scored = scored.max(at + 1);
        }
        (self.new.len(), Found::default())
    }

    fn find(&self, at: usize, shift: usize) -> Found {
        let new = &self.new[at..(at + LONGEST).min(self.new.len())];
        let from = at.wrapping_add(shift);
        let len = self.old.get(from..).map_or(0, |old| common(old, new));
        let same = Found { at: from, len };
        if len >= SURE { same } else { self.index.longest(new, same) }
    }

    /// Returns how far the stretch from `last` on reaches: as long as more than half of
    /// its bytes match.
    fn forward(&self, last: usize, shift: usize, end: usize) -> usize {
        let longest = end.min(self.old.len().wrapping_sub(shift)).saturating_sub(last);
        furthest((0..longest).map(|i| self.is_same(last + i, shift)))
    }

    /// Returns how far a stretch reaches back from an anchor.
    fn backward(&self, last: usize, next: usize, from: usize) -> usize {
        let longest = (next - last).min(from);
        furthest((1..=longest).map(|i| self.old[from - i] == self.new[next - i]))
    }

    /// Decides where one stretch ends and the next begins, if both claim the same bytes.
    fn parted(
        &self,
        last: usize,
        shift: usize,
        forward: usize,
        next: usize,
        from: usize,
        backward: usize,
    ) -> (usize, usize) {
        let overlap = (last + forward + backward).saturating_sub(next);
        let begin = next - backward;
        let next_shift = from.wrapping_sub(next);
        let (mut score, mut best, mut kept) = (0, 0, 0);
        for i in 0..overlap {
            score += i32::from(self.is_same(begin + i, shift));
            score -= i32::from(self.is_same(begin + i, next_shift));
            if score > best {
                (best, kept) = (score, i + 1);
            }
        }
        (forward + kept - overlap, backward - kept)
    }
}

/// Returns how many of these have the most matches over misses.
fn furthest(matches: impl Iterator<Item = bool>) -> usize {
    let (mut score, mut best, mut len) = (0, 0, 0);
    for (i, is_same) in matches.enumerate() {
        score += if is_same { 1 } else { -1 };
        if score > best {
            (best, len) = (score, i + 1);
        }
    }
    len
}
