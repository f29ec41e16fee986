//! Where bytes of an image occurred before.
//!
//! Both indexes are chains of places with the same hash, four bytes a place. Tables
//! and chains have a fixed order, so that a search finds the same in every run.

/// No place.
const NONE: u32 = u32::MAX;

/// Bytes that a match in the old image begins with, at least.
pub(crate) const OLD_LEAST: usize = 8;

/// Bytes that a match in the new image begins with, at least, unless it is a guess.
const NEW_LEAST: usize = 3;

/// Matches as long as this are not compared with others.
const LONG_ENOUGH: usize = 1024;

/// A match: where it begins, and its length in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) at: usize,
    pub(crate) len: usize,
}

/// Places of the old image by their next eight bytes.
pub(crate) struct OldIndex<'a> {
    old: &'a [u8],
    heads: Vec<u32>,
    before: Vec<u32>,
}

impl<'a> OldIndex<'a> {
    const BITS: u32 = 18;
    /// Most places that are looked at in a search.
    const DEPTH: usize = 16;

    /// Indexes every place of an image.
    pub(crate) fn new(old: &'a [u8]) -> Self {
        let mut heads = vec![NONE; 1 << Self::BITS];
        let before = old
            .windows(OLD_LEAST)
            .zip(0..)
            .map(|(bytes, at)| std::mem::replace(&mut heads[Self::slot(bytes)], at));
        let before = before.collect();
        Self { old, heads, before }
    }

    fn slot(bytes: &[u8]) -> usize {
        let word = u64::from_le_bytes(*bytes.first_chunk().expect("eight bytes"));
        (word.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (u64::BITS - Self::BITS)) as usize
    }

    /// Finds the longest match with the beginning of `new` that the chains know of
    /// and that is longer than `least`.
    pub(crate) fn longest(&self, new: &[u8], least: Found) -> Found {
        let mut best = least;
        if new.len() < OLD_LEAST {
            return best;
        }
        let mut at = self.heads[Self::slot(&new[..OLD_LEAST])];
        for _ in 0..Self::DEPTH {
            let Some(candidate) = self.old.get(at as usize..) else { break };
            // What differs there is no longer than the best.
            if candidate.get(best.len) == new.get(best.len) && best.len < new.len() {
                let len = common(candidate, new);
                if len > best.len {
                    best = Found { at: at as usize, len };
                    if len >= LONG_ENOUGH {
                        break;
                    }
                }
            }
            at = self.before[at as usize];
        }
        best
    }
}

/// Places of the new image by their next three bytes.
pub(crate) struct NewIndex<'a> {
    new: &'a [u8],
    before: Vec<u32>,
}

impl<'a> NewIndex<'a> {
    const BITS: u32 = 16;

    /// Indexes every place of an image.
    pub(crate) fn new(new: &'a [u8]) -> Self {
        let mut heads = vec![NONE; 1 << Self::BITS];
        let before = new.windows(NEW_LEAST).zip(0..).map(|(bytes, at)| {
            let word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0]);
            let slot = word.wrapping_mul(0x9E37_79B1) >> (u32::BITS - Self::BITS);
            std::mem::replace(&mut heads[slot as usize], at)
        });
        let before = before.collect();
        Self { new, before }
    }

    /// Returns places before `at` that may begin with the same three bytes, the
    /// nearest first.
    pub(crate) fn before(&self, at: usize) -> impl Iterator<Item = usize> {
        let earlier = |at: usize| {
            self.before.get(at).copied().filter(|place| *place != NONE).map(|place| place as usize)
        };
        std::iter::successors(earlier(at), move |at| earlier(*at))
    }

    /// Returns how long what is at two places, the second one before `end`, is the same.
    pub(crate) fn common(&self, earlier: usize, at: usize, end: usize) -> usize {
        common(&self.new[earlier..], &self.new[at..end])
    }
}

/// Returns how many bytes two texts have in common at their beginning.
pub(crate) fn common(a: &[u8], b: &[u8]) -> usize {
    let (a_words, _) = a.as_chunks::<8>();
    let (b_words, _) = b.as_chunks::<8>();
    let mut same = 0;
    for (a, b) in a_words.iter().zip(b_words) {
        let differ = u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b);
        if differ != 0 {
            return same + (differ.trailing_zeros() / 8) as usize;
        }
        same += 8;
    }
    same + a[same..].iter().zip(&b[same..]).take_while(|(a, b)| a == b).count()
}
