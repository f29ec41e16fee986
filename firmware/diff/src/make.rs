//! From two images to a patch.

use crate::{
    DiffError, apply, encode,
    mask::masked,
    parse,
    token::{Kind, Tokens},
};
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use towline_patch::{Header, Isa, Params};

/// Version of what this crate makes: another one may make another patch of the same
/// images. For caches.
pub const VERSION: u32 = 1;

/// Bytes of the largest image.
const LARGEST: usize = 1 << 28;

/// What is to be encoded.
pub(crate) struct Plan<'a> {
    pub(crate) old: &'a [u8],
    pub(crate) new: &'a [u8],
    pub(crate) tokens: Vec<Tokens>,
}

impl Plan<'_> {
    /// Returns how many bytes are literals.
    fn literals(&self) -> usize {
        let literals = self.tokens.iter().filter(|tokens| tokens.kind() == Kind::Literal);
        literals.map(|tokens| tokens.len()).sum()
    }
}

/// Makes the patch from `old`, or from nothing, to `new`. To apply it, a device needs at
/// most `memory` bytes; the smallest patch is returned that is found within that.
///
/// # Errors
/// [`DiffError`].
pub fn make(old: &[u8], new: &[u8], memory: u32) -> Result<Vec<u8>, DiffError> {
    if new.is_empty() || new.len() > LARGEST || old.len() > LARGEST {
        return Err(DiffError::Size { old: old.len(), new: new.len() });
    }
    let isa = isa(old);
    let (old_masked, new_masked) = rayon::join(|| masked(old, isa), || masked(new, isa));
    let tokens = parse::tokens(&old_masked, new, &new_masked);
    drop((old_masked, new_masked));
    let plan = Plan { old, new, tokens };
    let encoded = params(&plan, isa, memory)
        .into_par_iter()
        .map(|params| encode::blocks(&plan, params).map(|blocks| (params, blocks)))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| DiffError::Fault)?;
    let shortest = encoded.into_iter().min_by_key(|(_, blocks)| blocks.len());
    let (params, blocks) = shortest.ok_or(DiffError::Memory(memory))?;
    let header = Header {
        params,
        old_size: old.len() as u32,
        new_size: new.len() as u32,
        old_sha256: start_of_hash(old),
        new_sha256: start_of_hash(new),
        size: (Header::LEN + blocks.len()) as u32,
    };
    let patch = [&header.to_bytes()[..], &blocks].concat();
    match apply(old, &patch) {
        Ok(made) if made == new => Ok(patch),
        _ => Err(DiffError::Fault),
    }
}

/// Returns the ways to code a patch that are tried.
fn params(plan: &Plan<'_>, isa: Isa, memory: u32) -> Vec<Params> {
    let small = Params { isa, exact: 7, page: 7, grain: 12, literals: 0, order: 0, changes: 1 };
    let large =
        Params { exact: 11, page: 11, grain: 9, literals: 1, order: 12, changes: 6, ..small };
    // With nothing to predict, all memory is for literals; with much new code, more of it.
    let whole = Params { exact: 0, page: 0, ..small };
    let tried = if plan.old.is_empty() {
        let [eight, twelve] = [8, 12].map(|order| Params { literals: 1, order, ..whole });
        vec![eight, Params { order: 9, ..whole }, twelve]
    } else if plan.literals() > plan.new.len() / 32 {
        vec![Params { exact: 6, page: 6, literals: 1, ..small }, large]
    } else {
        vec![small, large]
    };
    tried.into_iter().filter(|params| params.memory() <= memory).collect()
}

/// Returns the instructions of an image by its chip id (ESP-IDF, `esp_chip_id_t`).
fn isa(image: &[u8]) -> Isa {
    match image {
        [0xE9, _, _, _, _, _, _, _, _, _, _, _, 0 | 2 | 9, 0, ..] => Isa::Xtensa,
        [0xE9, ..] => Isa::RiscV,
        _ => Isa::None,
    }
}

fn start_of_hash(image: &[u8]) -> [u8; 8] {
    let sha256: [u8; 32] = Sha256::digest(image).into();
    std::array::from_fn(|i| sha256[i])
}
