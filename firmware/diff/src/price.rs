//! What tokens cost, in sixteenths of a bit.
//!
//! The coder adapts to what it codes. These prices are those of a coder that has adapted
//! to the literals of this patch, and to tokens as patches of firmware have them. They
//! are whole numbers, so that every machine chooses the same tokens.

/// A bit.
pub(crate) const BIT: u32 = 16;

/// How often each kind of token comes after a literal, a match, a copy.
const KINDS: [[u32; 3]; 3] = [[168, 21, 11], [77, 13, 10], [52, 18, 30]];

/// Matches at the distance of the last one, and others.
const AGAIN: [u32; 2] = [14, 86];

/// Copies that go on as the last one did, and others.
const ONWARD: [u32; 2] = [10, 90];

/// Distances of other matches by their bits.
const DISTANCES: [u32; 32] = by_bits([1, 1, 1, 2, 4, 5, 6, 7, 7, 7, 7, 6, 6, 6, 9, 8, 7, 5, 3, 1]);

/// Lengths of matches by their bits.
const MATCHES: [u32; 32] =
    by_bits([60, 620, 290, 40, 6, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]);

/// How far other copies are from where the last one led, by its bits.
const SEEKS: [u32; 32] = by_bits([1, 6, 4, 3, 4, 2, 2, 2, 2, 2, 3, 3, 4, 5, 7, 10, 15, 14, 6, 1]);

/// Lengths of copies by their bits.
const COPIES: [u32; 32] =
    by_bits([22, 67, 37, 400, 200, 110, 67, 37, 14, 6, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1]);

/// More bits than these are as rare as can be.
const fn by_bits(counts: [u32; 20]) -> [u32; 32] {
    let mut all = [1; 32];
    let mut bits = 0;
    while bits < counts.len() {
        all[bits] = counts[bits];
        bits += 1;
    }
    all
}

/// What tokens cost.
pub(crate) struct Prices {
    /// Kinds of tokens after kinds.
    pub(crate) kinds: [[u32; 3]; 3],
    /// Literal bytes by the two lowest bits of their place.
    pub(crate) literals: [[u32; 256]; 4],
    /// Matches at the distance of the last one, and others.
    pub(crate) again: [u32; 2],
    /// Copies that go on as the last one did, and others.
    pub(crate) onward: [u32; 2],
    distances: [u32; 32],
    matches: [u32; 32],
    seeks: [u32; 32],
    copies: [u32; 32],
}

impl Prices {
    /// Returns prices where bytes that may be literals are so frequent.
    pub(crate) fn new(literals: &[[u32; 256]; 4]) -> Self {
        Self {
            kinds: KINDS.each_ref().map(prices),
            literals: literals.each_ref().map(prices),
            again: prices(&AGAIN),
            onward: prices(&ONWARD),
            distances: prices(&DISTANCES),
            matches: prices(&MATCHES),
            seeks: prices(&SEEKS),
            copies: prices(&COPIES),
        }
    }

    /// A distance in the new image.
    pub(crate) fn distance(&self, distance: usize) -> u32 {
        number(&self.distances, distance - 1)
    }

    /// A length of a match.
    pub(crate) fn match_length(&self, len: usize) -> u32 {
        number(&self.matches, len - 2)
    }

    /// A copy that begins so far from where the last one led.
    pub(crate) fn seek(&self, far: usize) -> u32 {
        BIT + number(&self.seeks, far)
    }

    /// A length of a copy.
    pub(crate) fn copy_length(&self, len: usize) -> u32 {
        number(&self.copies, len - 1)
    }
}

/// The bits of a number below the first cost one each, how many there are what it says.
fn number(of_bits: &[u32; 32], number: usize) -> u32 {
    let bits = (number + 1).ilog2();
    of_bits[bits as usize] + bits * BIT
}

/// Rare things cost more. What was never seen counts as seen once.
fn prices<const N: usize>(counts: &[u32; N]) -> [u32; N] {
    let total = logarithm(counts.iter().map(|count| (*count).max(1)).sum());
    counts.map(|count| total.saturating_sub(logarithm(count.max(1))).max(1))
}

/// Returns the logarithm to base 2 of a number that is not 0, in sixteenths: exact for
/// powers of two, between them at most 0.09 too small.
fn logarithm(number: u32) -> u32 {
    let whole = number.ilog2();
    let rest = (u64::from(number) << BIT.ilog2() >> whole) as u32 - BIT;
    whole * BIT + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_the_logarithms_of_how_rare_things_are() {
        assert_eq!(prices(&[1, 1]), [BIT; 2]);
        assert_eq!(prices(&[6, 1, 0]), [8, 3 * BIT, 3 * BIT]);
        assert_eq!(logarithm(3 << 20), 21 * BIT + BIT / 2);
    }
}
