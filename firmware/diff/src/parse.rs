//! Chooses the tokens of a patch.

use crate::{
    gaps::{Gaps, PIECE},
    index::{NewIndex, OldIndex},
    price::Prices,
    scan::{Stretch, stretches},
    token::Tokens,
};
use rayon::prelude::*;
use std::ops::Range;

/// A piece of the new image that no stretch covers, and how much further on the last
/// stretch before it is in the old image.
struct Piece {
    range: Range<usize>,
    shift: usize,
}

/// Chooses tokens that make `new` of `old`. The masked images tell what is alike.
pub(crate) fn tokens(old_masked: &[u8], new: &[u8], new_masked: &[u8]) -> Vec<Tokens> {
    let old_index = (!old_masked.is_empty()).then(|| OldIndex::new(old_masked));
    let (stretches, new_index) = rayon::join(
        || old_index.as_ref().map_or(Vec::new(), |index| stretches(old_masked, new_masked, index)),
        || NewIndex::new(new),
    );
    let pieces = pieces(&stretches, new.len());
    let mut literals = [[0; 256]; 4];
    for at in pieces.iter().flat_map(|piece| piece.range.clone()) {
        literals[at & 3][usize::from(new[at])] += 1;
    }
    let gaps = Gaps {
        old_masked,
        new,
        new_masked,
        old_index: old_index.as_ref(),
        new_index: &new_index,
        prices: &Prices::new(&literals),
    };
    let choose = |piece: &Piece| gaps.tokens(piece.range.clone(), piece.shift);
    let of_pieces = pieces.par_iter().map(choose).collect();
    joined(&stretches, &pieces, of_pieces)
}

/// Returns what no stretch covers.
fn pieces(stretches: &[Stretch], len: usize) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let (mut at, mut shift) = (0, 0);
    let end = Stretch { from: 0, at: len, len: 0 };
    for stretch in stretches.iter().chain([&end]) {
        for start in (at..stretch.at).step_by(PIECE) {
            pieces.push(Piece { range: start..(start + PIECE).min(stretch.at), shift });
        }
        (at, shift) = (stretch.end(), stretch.shift());
    }
    pieces
}

/// Puts the tokens of pieces between the stretches.
fn joined(stretches: &[Stretch], pieces: &[Piece], tokens: Vec<Vec<Tokens>>) -> Vec<Tokens> {
    let mut all = Vec::with_capacity(stretches.len() + tokens.iter().map(Vec::len).sum::<usize>());
    let mut gaps = pieces.iter().zip(tokens).peekable();
    for stretch in stretches {
        while let Some((_, tokens)) = gaps.next_if(|(piece, _)| piece.range.start < stretch.at) {
            all.extend(tokens);
        }
        all.push(Tokens::Copy { from: stretch.from as u32, len: stretch.len as u32 });
    }
    all.extend(gaps.flat_map(|(_, tokens)| tokens));
    all
}
