//! Patches for tests: made by the simplest means that make every kind of block
//! and token. The publisher's are smaller.

use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, convert::Infallible};
use towline_patch::{Encoder, Engine, Error, Header, Images, Intent, Isa, Params, Token};

/// Least bytes that are worth a copy or a match, and by which they are found.
const LEAST: usize = 12;

/// What a patch of the small profile is coded with.
const PARAMS: Params =
    Params { isa: Isa::RiscV, exact: 7, page: 7, grain: 10, literals: 0, order: 0, changes: 1 };

/// Returns a patch from `old` to `new` in blocks of `block` bytes of the new
/// image; without an old image, the new one compressed.
///
/// # Panics
/// If an image is larger than 4 GiB, or `block` is 0.
pub fn patch(old: &[u8], new: &[u8], block: usize) -> Vec<u8> {
    let params = Params { isa: if old.is_empty() { Isa::None } else { PARAMS.isa }, ..PARAMS };
    let mut both = Both { old, new };
    let mut work = vec![0; params.memory() as usize / 2];
    let size = |bytes: &[u8]| u32::try_from(bytes.len()).expect("an image is small");
    let mut engine = sound(Engine::new(params, &mut work, size(old), &mut both));
    let (in_old, in_new) = (places(old), places(new));
    let mut blocks = Vec::new();
    for start in (0..new.len()).step_by(block) {
        let end = new.len().min(start + block);
        sound(engine.begin_block(start as u32, end as u32, &mut both));
        let mut packed = Vec::new();
        let mut coder = Encoder::new(|byte| packed.push(byte));
        while (engine.position() as usize) < end {
            let at = engine.position() as usize;
            let token = match engine.is_at_token() {
                true => next(old, &new[..end], at, &in_old, &in_new),
                false => Token::Literal,
            };
            sound(engine.step(&mut coder, &mut both, &Intent { token, new }));
        }
        coder.finish();
        blocks.extend(((end - start) as u32).to_le_bytes());
        blocks.extend(size(&packed).to_le_bytes());
        blocks.extend(packed);
    }
    let header = Header {
        params,
        old_size: size(old),
        new_size: size(new),
        old_sha256: short(old),
        new_sha256: short(new),
        size: (Header::LEN + blocks.len()) as u32,
    };
    [&header.to_bytes()[..], &blocks].concat()
}

/// Returns a patch whose header says something else, with the right checksum.
///
/// # Panics
/// If it has no header.
#[must_use]
pub fn with_header(mut patch: Vec<u8>, change: impl FnOnce(&mut Header)) -> Vec<u8> {
    let bytes = patch.first_chunk().expect("a patch has a header");
    let mut header = Header::parse(bytes).expect("the header is sound");
    change(&mut header);
    patch[..Header::LEN].copy_from_slice(&header.to_bytes());
    patch
}

/// Returns the longest of what can come next.
fn next(old: &[u8], new: &[u8], at: usize, in_old: &Places<'_>, in_new: &Places<'_>) -> Token {
    let rest = &new[at..];
    let same = |other: &[u8]| rest.iter().zip(other).take_while(|(a, b)| a == b).count();
    let Some(start) = rest.get(..LEAST) else { return Token::Literal };
    let first = |places: &Places<'_>| places.get(start).copied();
    if let Some(from) = first(in_old) {
        return Token::Copy { from: from as u32, len: same(&old[from..]) as u32 };
    }
    match first(in_new) {
        Some(before) if before < at => {
            Token::Match { distance: (at - before) as u32, len: same(&new[before..]) as u32 }
        }
        _ => Token::Literal,
    }
}

/// Where [`LEAST`] bytes stand for the first time.
type Places<'i> = BTreeMap<&'i [u8], usize>;

fn places(image: &[u8]) -> Places<'_> {
    image.windows(LEAST).enumerate().rev().map(|(at, bytes)| (bytes, at)).collect()
}

/// How the SHA-256 begins.
fn short(bytes: &[u8]) -> [u8; 8] {
    let mut short = [0; 8];
    short.copy_from_slice(&Sha256::digest(bytes)[..8]);
    short
}

fn sound<T>(result: Result<T, Error<Infallible>>) -> T {
    result.unwrap_or_else(|error| panic!("images in memory, and tokens that are true: {error}"))
}

/// Both images in memory.
struct Both<'i> {
    old: &'i [u8],
    new: &'i [u8],
}

impl Images for Both<'_> {
    type Error = Infallible;

    fn old(&mut self, at: u32, buf: &mut [u8]) -> Result<(), Infallible> {
        buf.copy_from_slice(&self.old[at as usize..][..buf.len()]);
        Ok(())
    }

    fn back(&mut self, at: u32, buf: &mut [u8]) -> Result<(), Infallible> {
        buf.copy_from_slice(&self.new[at as usize..][..buf.len()]);
        Ok(())
    }

    fn put(&mut self, _: &[u8]) -> Result<(), Infallible> {
        Ok(())
    }
}
