//! Tokens as blocks of a patch.

use crate::make::Plan;
use std::{cell::Cell, convert::Infallible};
use towline_patch::{Encoder, Engine, Error, Header, Images, Intent, Params};

/// Bytes after which a block is closed: what a device fetches again after a power cut is
/// at most a block. One that begins anew learns anew, which costs up to 1 %.
const BLOCK: usize = 32 << 10;

/// Both images, as the encoder knows them.
struct Known<'a> {
    old: &'a [u8],
    new: &'a [u8],
}

impl Images for Known<'_> {
    type Error = Infallible;

    fn old(&mut self, at: u32, buf: &mut [u8]) -> Result<(), Infallible> {
        buf.copy_from_slice(&self.old[at as usize..][..buf.len()]);
        Ok(())
    }

    fn back(&mut self, at: u32, buf: &mut [u8]) -> Result<(), Infallible> {
        buf.copy_from_slice(&self.new[at as usize..][..buf.len()]);
        Ok(())
    }

    fn put(&mut self, _bytes: &[u8]) -> Result<(), Infallible> {
        Ok(())
    }
}

/// Encodes what was planned, all blocks with their headers.
///
/// # Errors
/// If tokens lead out of an image.
pub(crate) fn blocks(plan: &Plan<'_>, params: Params) -> Result<Vec<u8>, Error<Infallible>> {
    let Plan { old, new, .. } = *plan;
    let mut images = Known { old, new };
    let mut work = vec![0; params.memory() as usize / 2];
    let mut engine = Engine::new(params, &mut work, old.len() as u32, &mut images)?;
    let mut tokens = plan.tokens.iter().flat_map(|tokens| tokens.each()).peekable();
    let mut patch = Vec::new();
    while tokens.peek().is_some() {
        let head = patch.len();
        let begin = engine.position();
        patch.extend([0; Header::BLOCK]);
        engine.begin_block(begin, new.len() as u32, &mut images)?;
        let packed = Cell::new(0);
        let mut coder = Encoder::new(|byte| {
            patch.push(byte);
            packed.update(|packed| packed + 1);
        });
        while packed.get() < BLOCK
            && let Some(token) = tokens.next()
        {
            let intent = Intent { token, new };
            engine.step(&mut coder, &mut images, &intent)?;
            while !engine.is_at_token() {
                engine.step(&mut coder, &mut images, &intent)?;
            }
        }
        coder.finish();
        let lengths = [engine.position() - begin, (patch.len() - head - Header::BLOCK) as u32];
        let lengths = lengths.map(u32::to_le_bytes);
        patch[head..][..Header::BLOCK].copy_from_slice(lengths.as_flattened());
    }
    Ok(patch)
}
