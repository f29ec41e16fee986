//! Chooses tokens for what no stretch covers.
//!
//! A gap is cut into pieces. For each the cheapest path through its bytes is looked for,
//! from each byte on by a literal, by matches with what was written before, or by a
//! short copy from the old image.

use crate::{
    index::{Found, NewIndex, OLD_LEAST, OldIndex, common},
    price::{BIT, Prices},
    token::{Kind, Tokens},
};
use std::ops::Range;

/// Bytes of a piece: bounds the memory of a path.
pub(crate) const PIECE: usize = 16 << 10;

/// Most places of the new image that are compared with a byte's.
const DEPTH: usize = 32;

/// Longer matches are taken whole, or not at all.
const WHOLE: usize = 40;

/// Shortest copy from elsewhere that is tried: where it begins costs two bytes.
const SHORTEST: usize = 4;

/// What a copied byte costs: the flag that it is as predicted.
const COPIED: u32 = BIT / 2;

/// Both images, masked and not, with the indexes of what is searched.
pub(crate) struct Gaps<'a> {
    pub(crate) old_masked: &'a [u8],
    pub(crate) new: &'a [u8],
    pub(crate) new_masked: &'a [u8],
    pub(crate) old_index: Option<&'a OldIndex<'a>>,
    pub(crate) new_index: &'a NewIndex<'a>,
    pub(crate) prices: &'a Prices,
}

/// The cheapest way to a byte that is known.
#[derive(Clone, Copy)]
struct Step {
    cost: u32,
    /// The token that ends here.
    token: Tokens,
    /// Distance of the last match.
    distance: u32,
    /// How much further on the last copy was in the old image.
    shift: u32,
}

impl Gaps<'_> {
    /// Chooses tokens for a piece. The last copy before it was `shift` further on in
    /// the old image.
    pub(crate) fn tokens(&self, piece: Range<usize>, shift: usize) -> Vec<Tokens> {
        let unknown =
            Step { cost: u32::MAX, token: Tokens::Literals(1), distance: 1, shift: shift as u32 };
        let mut steps = vec![unknown; piece.len() + 1];
        steps[0] = Step { cost: 0, token: Tokens::Copy { from: 0, len: 0 }, ..unknown };
        for i in 0..piece.len() {
            self.go_on(&mut steps[i..], piece.start + i, piece.end);
        }
        let mut tokens = Vec::new();
        let mut end = piece.len();
        while end > 0 {
            let token = steps[end].token;
            match (tokens.last_mut(), token) {
                (Some(Tokens::Literals(count)), Tokens::Literals(more)) => *count += more,
                _ => tokens.push(token),
            }
            end -= steps[end].token.len();
        }
        tokens.reverse();
        tokens
    }

    /// Follows all ways from the byte `at` on, to which the first step leads.
    fn go_on(&self, steps: &mut [Step], at: usize, end: usize) {
        let here = steps[0];
        let prices = self.prices;
        let kinds = &prices.kinds[here.token.kind() as usize];
        let mut reach = |len: usize, cost: u32, token: Tokens, distance: usize, shift: usize| {
            let cost = here.cost + cost;
            if cost < steps[len].cost {
                steps[len] = Step { cost, token, distance: distance as u32, shift: shift as u32 };
            }
        };
        let (distance, shift) = (here.distance as usize, here.shift as usize);

        let literal = prices.literals[at & 3][usize::from(self.new[at])];
        reach(1, kinds[Kind::Literal as usize] + literal, Tokens::Literals(1), distance, shift);

        let kind = kinds[Kind::Match as usize];
        let mut best = 1;
        let mut try_match = |from: usize, price: u32| {
            // Most differ behind what is known; then there is nothing to compare.
            if at + best >= end || self.new[from + best] != self.new[at + best] {
                return best;
            }
            let found = self.new_index.common(from, at, end);
            for len in lengths(best + 1, found) {
                let token = Tokens::Match { distance: (at - from) as u32, len: len as u32 };
                let price = kind + price + prices.match_length(len);
                reach(len, price, token, at - from, shift);
            }
            best = best.max(found);
            best
        };
        if distance <= at {
            try_match(at - distance, prices.again[0]);
        }
        for from in self.new_index.before(at).take(DEPTH) {
            let price = prices.again[1] + prices.distance(at - from);
            if try_match(from, price) >= 4 * WHOLE {
                break;
            }
        }

        let Some(old_index) = self.old_index else { return };
        let kind = kinds[Kind::Copy as usize];
        let new = &self.new_masked[at..end];
        let mut try_copy = |found: Found, least: usize, price: u32| {
            for len in lengths(least, found.len) {
                let token = Tokens::Copy { from: found.at as u32, len: len as u32 };
                let price = kind + price + prices.copy_length(len) + len as u32 * COPIED;
                reach(len, price, token, distance, found.at.wrapping_sub(at));
            }
        };
        let onward = (at as u32).wrapping_add(here.shift) as usize;
        if let Some(old) = self.old_masked.get(onward..) {
            try_copy(Found { at: onward, len: common(old, new) }, 1, prices.onward[0]);
        }
        let found = old_index.longest(new, Found { at: 0, len: OLD_LEAST - 1 });
        if found.len >= OLD_LEAST {
            let price = prices.onward[1] + prices.seek(found.at.abs_diff(onward));
            try_copy(found, SHORTEST, price);
        }
    }
}

/// Returns the lengths that are worth trying, of `least` to `most`.
fn lengths(least: usize, most: usize) -> impl Iterator<Item = usize> {
    (least..=most.min(WHOLE)).chain((most > WHOLE && most >= least).then_some(most))
}
