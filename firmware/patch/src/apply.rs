//! Applying a patch as it comes.
//!
//! ```text
//! | header | block | block | ...       block: | u32 new bytes | u32 packed bytes | packed |
//! ```
//!
//! A block knows nothing of the others, so that a device goes on at the start of one:
//! see [`Start`].

use crate::{
    engine::{Engine, Intent, PIECE},
    header::{Header, Limits},
    io::{Error, Images},
    range::{Decoder, FIRST, STEP},
};

/// Most bytes that one call of [`Applier::push`] puts.
pub const MAX_PUT: u32 = 4096;

/// Bytes of a block that are needed to begin it.
const HEAD: usize = Header::BLOCK + FIRST;

/// Where a block starts: in the patch, and in the new image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// Offset in the patch, in bytes.
    pub offset: u32,
    /// Offset in the new image, in bytes: all before it was put.
    pub at: u32,
}

impl Start {
    /// The first block.
    pub const FIRST: Self = Self { offset: Header::LEN as u32, at: 0 };
}

/// How far a patch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The input was taken; more of it is needed.
    Hungry,
    /// Much was put. What else there is to do meanwhile may be done; then
    /// [`Applier::push`] goes on, also without further input.
    Busy,
    /// The new image is whole.
    Done,
}

/// Applies one patch, in the memory that is lent to it.
#[derive(Debug)]
pub struct Applier<'w> {
    engine: Engine<'w>,
    decoder: Decoder,
    new_size: u32,
    size: u32,
    /// The block that is being applied, or comes next.
    start: Start,
    /// The one behind it.
    next: Start,
    /// Bytes of the block that were not taken yet.
    left: u32,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The header of a block comes next.
    Head,
    Block,
    Done,
    /// It failed, and does so again.
    Damaged,
}

impl<'w> Applier<'w> {
    /// Begins a patch, whose header was taken from its front. Reads the segments of
    /// the old image. `work` has room for all that a device allows; unless that and
    /// `limits` suffice, nothing is begun.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Images`].
    pub fn begin<I: Images>(
        header: &Header,
        limits: &Limits,
        work: &'w mut [u16],
        images: &mut I,
    ) -> Result<Self, Error<I::Error>> {
        Self::resume(header, limits, Start::FIRST, work, images)
    }

    /// Goes on at the start of a block: what was put before can be read back, and the
    /// input is the patch from there on.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Images`], [`Error::Damaged`] if no block can start
    /// there.
    pub fn resume<I: Images>(
        header: &Header,
        limits: &Limits,
        start: Start,
        work: &'w mut [u16],
        images: &mut I,
    ) -> Result<Self, Error<I::Error>> {
        header.check(limits).map_err(Error::Refused)?;
        let Header { params, old_size, new_size, size, .. } = *header;
        let decoder = Decoder::new();
        let engine = Engine::new(params, work, old_size, images)?;
        let (next, left, stage) = (start, 0, Stage::Head);
        let applier = Self { engine, decoder, new_size, size, start, next, left, stage };
        if applier.can_start() { Ok(applier) } else { Err(Error::Damaged) }
    }

    /// Where the block starts that is being applied, or that comes next.
    pub fn start(&self) -> Start {
        self.start
    }

    /// Takes bytes from the front of `input` and puts what they make, [`MAX_PUT`] bytes
    /// at most. Unless it is [`Progress::Busy`], all of the input was taken; what
    /// follows the patch is not.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::Images`]. The applier is of no further use then.
    pub fn push<I: Images>(
        &mut self,
        input: &mut &[u8],
        images: &mut I,
    ) -> Result<Progress, Error<I::Error>> {
        let result = self.run(input, images);
        if result.is_err() {
            self.stage = Stage::Damaged;
        }
        result
    }

    fn run<I: Images>(
        &mut self,
        input: &mut &[u8],
        images: &mut I,
    ) -> Result<Progress, Error<I::Error>> {
        let from = self.engine.position().max(self.start.at);
        let until = from.saturating_add(MAX_PUT - PIECE as u32);
        loop {
            match self.stage {
                Stage::Head => {
                    self.decoder.fill(input, HEAD - self.decoder.held());
                    if self.decoder.held() < HEAD {
                        return Ok(Progress::Hungry);
                    }
                    self.begin_block(images)?;
                }
                Stage::Block if self.engine.position() == self.next.at => self.end_block(),
                Stage::Block if self.engine.position() > until => return Ok(Progress::Busy),
                Stage::Block => {
                    // Little is held: bytes are seldom moved.
                    if self.decoder.held() < STEP {
                        self.left -= self.decoder.fill(input, self.left as usize) as u32;
                        if self.left > 0 && self.decoder.held() < STEP {
                            return Ok(Progress::Hungry);
                        }
                    }
                    self.engine.step(&mut self.decoder, images, &Intent::UNKNOWN)?;
                    if self.decoder.is_starved() {
                        return Err(Error::Damaged);
                    }
                }
                Stage::Done => return Ok(Progress::Done),
                Stage::Damaged => return Err(Error::Damaged),
            }
        }
    }

    /// Begins a block of which the header and the first bytes are held.
    fn begin_block<I: Images>(&mut self, images: &mut I) -> Result<(), Error<I::Error>> {
        let Start { offset, at } = self.start;
        let (new, packed) = (self.decoder.word(), self.decoder.word());
        let packed_at = offset + Header::BLOCK as u32;
        if !(1..=self.new_size - at).contains(&new)
            || !(FIRST as u32..=self.size - packed_at).contains(&packed)
            || !self.decoder.start()
        {
            return Err(Error::Damaged);
        }
        self.next = Start { offset: packed_at + packed, at: at + new };
        self.left = packed - FIRST as u32;
        self.stage = Stage::Block;
        self.engine.begin_block(at, self.next.at, images)
    }

    /// Ends a block of which all is put. All of it must have been read too.
    fn end_block(&mut self) {
        self.start = self.next;
        self.stage = if self.left > 0 || !self.decoder.is_at_end() {
            Stage::Damaged
        } else if self.start.at == self.new_size && self.start.offset == self.size {
            Stage::Done
        } else if self.can_start() {
            Stage::Head
        } else {
            Stage::Damaged
        };
    }

    /// Whether a block can start there.
    fn can_start(&self) -> bool {
        let Start { offset, at } = self.start;
        let room = self.size.saturating_sub(offset);
        offset >= Start::FIRST.offset && room >= HEAD as u32 && at < self.new_size
    }
}
