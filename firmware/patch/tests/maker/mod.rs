//! A plain encoder, a device, and images in memory: enough to test the decoder by.
#![allow(dead_code, reason = "no test needs all of it")]

use sha2::{Digest, Sha256};
use std::{collections::HashMap, convert::Infallible};
use towline_patch::{
    Applier, Encoder, Engine, Error, Header, Image, Images, Intent, Isa, Limits, MAX_PUT, Params,
    Progress, Start, Token,
};

/// As the small profile.
pub(crate) const SMALL: Params =
    Params { isa: Isa::RiscV, exact: 7, page: 7, grain: 12, literals: 0, order: 0, changes: 1 };

/// Images in memory. The new one is what was put.
#[derive(Default)]
pub(crate) struct Memory<'a> {
    pub(crate) old: &'a [u8],
    pub(crate) new: Vec<u8>,
}

impl Images for Memory<'_> {
    type Error = Infallible;

    fn old(&mut self, at: u32, buf: &mut [u8]) -> Result<(), Infallible> {
        buf.copy_from_slice(&self.old[at as usize..][..buf.len()]);
        Ok(())
    }

    fn back(&mut self, at: u32, buf: &mut [u8]) -> Result<(), Infallible> {
        buf.copy_from_slice(&self.new[at as usize..][..buf.len()]);
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Infallible> {
        self.new.extend_from_slice(bytes);
        Ok(())
    }
}

/// The identity of an image.
pub(crate) fn image(bytes: &[u8]) -> Image {
    Image { size: bytes.len() as u32, sha256: Sha256::digest(bytes).into() }
}

/// What a device allows that runs `old` and was offered `patch`.
pub(crate) fn limits(old: &[u8], new: &[u8], patch: &[u8]) -> Limits {
    Limits {
        old: image(old),
        new: image(new),
        size: patch.len() as u32,
        slot: new.len() as u32,
        memory: 64 * 1024,
    }
}

/// Makes a patch of blocks that hold `tokens` each.
pub(crate) fn pack(params: Params, old: &[u8], new: &[u8], blocks: &[Vec<Token>]) -> Vec<u8> {
    let (blocks, made) = packed(params, old, new, blocks);
    assert_eq!(made.last(), Some(&new.len()));
    let mut begun = 0;
    let blocks = blocks.into_iter().zip(made).map(|(packed, made)| {
        let len = made - begun;
        begun = made;
        (len as u32, packed)
    });
    file(params, old, new, &blocks.collect::<Vec<_>>())
}

/// Packs tokens, also those that lead astray: a block ends there. Returns how much of
/// the new image was made behind each.
pub(crate) fn packed(
    params: Params,
    old: &[u8],
    new: &[u8],
    blocks: &[Vec<Token>],
) -> (Vec<Vec<u8>>, Vec<usize>) {
    let mut memory = vec![0; params.memory() as usize / 2];
    let mut images = Memory { old, ..Memory::default() };
    let mut engine = Engine::new(params, &mut memory, old.len() as u32, &mut images).unwrap();
    let blocks = blocks.iter().map(|tokens| {
        let mut packed = Vec::new();
        let mut encoder = Encoder::new(|byte| packed.push(byte));
        let at = images.new.len() as u32;
        engine.begin_block(at, new.len() as u32, &mut images).unwrap();
        'block: for token in tokens {
            let intent = Intent { token: *token, new };
            loop {
                if engine.step(&mut encoder, &mut images, &intent).is_err() {
                    break 'block;
                } else if engine.is_at_token() {
                    break;
                }
            }
        }
        encoder.finish();
        (packed, images.new.len())
    });
    blocks.collect()
}

/// Puts a patch together from the sizes that blocks claim to make, and what they hold.
pub(crate) fn file(params: Params, old: &[u8], new: &[u8], blocks: &[(u32, Vec<u8>)]) -> Vec<u8> {
    let mut patch = vec![0; Header::LEN];
    for (len, packed) in blocks {
        patch.extend(len.to_le_bytes());
        patch.extend((packed.len() as u32).to_le_bytes());
        patch.extend(packed);
    }
    let header = header(params, old, new, patch.len());
    patch[..Header::LEN].copy_from_slice(&header.to_bytes());
    patch
}

fn header(params: Params, old: &[u8], new: &[u8], size: usize) -> Header {
    let (from, to) = (image(old), image(new));
    let start = |image: Image| image.sha256[..8].try_into().unwrap();
    Header {
        params,
        old_size: from.size,
        new_size: to.size,
        old_sha256: start(from),
        new_sha256: start(to),
        size: size as u32,
    }
}

/// A device that stops at an error, with what it made until then.
pub(crate) struct Device<'a> {
    limits: Limits,
    pub(crate) images: Memory<'a>,
    work: Vec<u16>,
}

impl<'a> Device<'a> {
    /// It runs `old`, and was offered `patch` to make `new`.
    pub(crate) fn new(old: &'a [u8], new: &[u8], patch: &[u8]) -> Self {
        let limits = limits(old, new, patch);
        let images = Memory { old, ..Memory::default() };
        Self { limits, images, work: vec![7; limits.memory as usize / 2] }
    }

    /// Applies a patch that arrives in pieces, and is cut. Returns where its last block
    /// starts, and how it ended.
    pub(crate) fn apply(
        &mut self,
        patch: &[u8],
        start: Start,
        piece: usize,
        cut: usize,
    ) -> Result<(Start, Progress), Error<Infallible>> {
        let header = Header::parse(patch.first_chunk().unwrap()).unwrap();
        let mut applier =
            Applier::resume(&header, &self.limits, start, &mut self.work, &mut self.images)?;
        let mut progress = Progress::Hungry;
        for mut piece in patch[start.offset as usize..cut].chunks(piece) {
            loop {
                let before = self.images.new.len();
                progress = applier.push(&mut piece, &mut self.images)?;
                let put = self.images.new.len() - before;
                assert!(
                    put <= MAX_PUT as usize && self.images.new.len() <= header.new_size as usize
                );
                if progress != Progress::Busy {
                    break;
                }
                assert!(put > 0, "busy without output");
            }
            assert!(piece.is_empty() || progress == Progress::Done);
        }
        Ok((applier.start(), progress))
    }

    /// Applies a whole patch.
    pub(crate) fn run(&mut self, patch: &[u8]) -> Result<Progress, Error<Infallible>> {
        self.apply(patch, Start::FIRST, 500, patch.len()).map(|(_, progress)| progress)
    }
}

/// Finds tokens, greedily, in blocks of `block` bytes or a little more.
pub(crate) fn tokens(old: &[u8], new: &[u8], block: usize) -> Vec<Vec<Token>> {
    let index = |bytes: &[u8], len: usize| -> HashMap<Vec<u8>, usize> {
        bytes.windows(len).enumerate().map(|(at, bytes)| (bytes.to_vec(), at)).collect()
    };
    let in_old = index(old, 6);
    let mut in_new: HashMap<&[u8], usize> = HashMap::new();
    let mut blocks = vec![Vec::new()];
    let (mut at, mut begun, mut shift) = (0, 0, 0_isize);
    while at < new.len() {
        if at - begun >= block {
            blocks.push(Vec::new());
            begun = at;
        }
        let key = |len| new.get(at..at + len);
        let same = at.checked_sub_signed(shift).filter(|from| resemble(old, new, *from, at) >= 8);
        let from = same.or_else(|| in_old.get(key(6)?).copied());
        let token = if let Some(from) = from {
            shift = at as isize - from as isize;
            let len = resemble(old, new, from, at).max(1) as u32;
            Token::Copy { from: from as u32, len }
        } else if let Some(from) = key(4).and_then(|key| in_new.get(key)) {
            let len = (0..).take_while(|i| new.get(at + i) == Some(&new[from + i])).count();
            let len = len.min(new.len() - at) as u32;
            Token::Match { distance: (at - from) as u32, len }
        } else {
            Token::Literal
        };
        let len = match token {
            Token::Literal => 1,
            Token::Match { len, .. } | Token::Copy { len, .. } => len as usize,
        };
        for at in at..at + len {
            in_new.extend(new.get(at..at + 4).map(|key| (key, at)));
        }
        blocks.last_mut().unwrap().push(token);
        at += len;
    }
    blocks
}

/// How many bytes of both are much alike from there on.
fn resemble(old: &[u8], new: &[u8], from: usize, at: usize) -> usize {
    let (mut score, mut best, mut len) = (0, 0, 0);
    for (index, (a, b)) in old.get(from..).unwrap_or(&[]).iter().zip(&new[at..]).enumerate() {
        score += if a == b { 1 } else { -1 };
        if score > best {
            (best, len) = (score, index + 1);
        }
        if score + 8 < best {
            break;
        }
    }
    len
}
