//! The tokens of a patch, one step after the other, the same for both sides.
//!
//! | token | what it says |
//! |---|---|
//! | literal | a byte |
//! | match | bytes from the new image, put before |
//! | copy | bytes of the old image, each unit as predicted or as told |

use crate::{
    header::{Isa, Params, Refused},
    io::{Error, Images},
    isa::{AHEAD, Registers},
    model::{COPIED, DISTANCE, MATCHED, Model, NEXT, SEEK, SEEKED},
    range::Coder,
    segments::Segments,
};

/// Most bytes that a step puts.
pub(crate) const PIECE: usize = 32;

/// Bytes of the old image that are read at once.
const WINDOW: usize = 192;

/// What comes next in the new image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// One byte.
    Literal,
    /// Bytes of the new image, at least 2.
    Match {
        /// How far before, at least 1; may be less than `len`.
        distance: u32,
        /// How many.
        len: u32,
    },
    /// Bytes that resemble those of the old image.
    Copy {
        /// From where in the old image.
        from: u32,
        /// How many, at least 1.
        len: u32,
    },
}

/// What an encoder wants. A decoder has [`Intent::UNKNOWN`].
#[derive(Clone, Copy, Debug)]
pub struct Intent<'a> {
    /// The next token. Counts where [`Engine::is_at_token`].
    pub token: Token,
    /// All of the new image.
    pub new: &'a [u8],
}

impl Intent<'_> {
    /// Nothing: the coder tells.
    pub const UNKNOWN: Intent<'static> = Intent { token: Token::Literal, new: &[] };
}

/// Walks through a patch; see the [crate].
#[derive(Debug)]
pub struct Engine<'w> {
    pub(crate) model: Model<'w>,
    pub(crate) old: Segments,
    pub(crate) new: Segments,
    old_size: u32,
    /// Where the block ends in the new image.
    end: u32,
    /// Position in the new image.
    pub(crate) at: u32,
    /// Position in the old image: where the last copy ended.
    pub(crate) from: u32,
    /// Bytes since then.
    gap: u32,
    before: Before,
    distance: u32,
    /// By how much earlier copies lie further on in the new image, the last one first.
    shifts: [u32; 4],
    state: State,
    last_byte: u8,
    // Within a copy:
    pub(crate) registers: Registers,
    pub(crate) run: u32,
    pub(crate) page: Option<u32>,
    window: [u8; WINDOW],
    /// Where in the old image the window lies.
    window_at: Option<u32>,
}

/// The kind of the token before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Literal,
    Match,
    Copy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Token,
    Match { left: u32 },
    Copy { left: u32 },
}

impl<'w> Engine<'w> {
    /// Reads the segments of the old image. [`Self::begin_block`] comes next.
    ///
    /// # Errors
    /// [`Refused::Memory`] unless `work` has [`Params::memory`] bytes,
    /// [`Error::Images`].
    pub fn new<I: Images>(
        params: Params,
        work: &'w mut [u16],
        old_size: u32,
        images: &mut I,
    ) -> Result<Self, Error<I::Error>> {
        let model = Model::new(params, work).ok_or(Error::Refused(Refused::Memory))?;
        let mut old = Segments::default();
        if params.isa != Isa::None {
            while let Some(at) = old.wanted(old_size) {
                let mut header = [0; 8];
                images.old(at, &mut header)?;
                old.add(header);
            }
        }
        Ok(Self {
            model,
            old,
            new: Segments::default(),
            old_size,
            end: 0,
            at: 0,
            from: 0,
            gap: 0,
            before: Before::Literal,
            distance: 1,
            shifts: [0; 4],
            state: State::Token,
            last_byte: 0,
            registers: Registers::new(),
            run: 0,
            page: None,
            window: [0; WINDOW],
            window_at: None,
        })
    }

    /// Begins a block, which makes the bytes of the new image from `at` to `end`: what
    /// was learned in another is forgotten.
    ///
    /// # Errors
    /// [`Error::Images`].
    pub fn begin_block<I: Images>(
        &mut self,
        at: u32,
        end: u32,
        images: &mut I,
    ) -> Result<(), Error<I::Error>> {
        self.model.reset();
        (self.at, self.end, self.from, self.gap) = (at, end, at, 0);
        (self.before, self.distance, self.shifts) = (Before::Literal, 1, [0; 4]);
        (self.state, self.last_byte) = (State::Token, 0);
        self.follow(images)
    }

    /// Position in the new image.
    pub fn position(&self) -> u32 {
        self.at
    }

    /// Whether a token comes next, not a part of one.
    pub fn is_at_token(&self) -> bool {
        self.state == State::Token
    }

    /// Codes a token, or puts a part of one: at most 32 bytes.
    ///
    /// # Errors
    /// [`Error::Damaged`] where a token leads out of an image or of its block,
    /// [`Error::Images`].
    pub fn step<C: Coder, I: Images>(
        &mut self,
        coder: &mut C,
        images: &mut I,
        intent: &Intent<'_>,
    ) -> Result<(), Error<I::Error>> {
        match self.state {
            State::Token => self.token(coder, images, intent),
            State::Match { left } => self.matched(images, left),
            State::Copy { left } => {
                let len = self.unit(coder, images, intent, left)?;
                let left = left - len;
                self.state = if left == 0 { State::Token } else { State::Copy { left } };
                Ok(())
            }
        }
    }

    fn token<C: Coder, I: Images>(
        &mut self,
        coder: &mut C,
        images: &mut I,
        intent: &Intent<'_>,
    ) -> Result<(), Error<I::Error>> {
        let odds = NEXT + 3 * self.before as usize;
        let token = intent.token;
        if self.model.bit(coder, odds, token == Token::Literal) {
            self.before = Before::Literal;
            return self.literal(coder, images, intent);
        }
        let is_copy = matches!(token, Token::Copy { .. });
        if self.model.bit(coder, odds + 1, is_copy) {
            self.before = Before::Copy;
            let (from, len) =
                if let Token::Copy { from, len } = token { (from, len) } else { (0, 1) };
            return self.copy(coder, from, len).ok_or(Error::Damaged);
        }
        let (distance, len) = match token {
            Token::Match { distance, len } => (distance, len),
            _ => (1, 2),
        };
        if !self.model.bit(coder, odds + 2, distance == self.distance) {
            let number = self.model.number(coder, DISTANCE, distance.wrapping_sub(1));
            self.distance = number.wrapping_add(1);
        }
        let left = self.model.number(coder, MATCHED, len.wrapping_sub(2)).saturating_add(2);
        if self.distance == 0 || self.distance > self.at || left > self.end - self.at {
            return Err(Error::Damaged);
        }
        self.before = Before::Match;
        self.state = State::Match { left };
        Ok(())
    }

    fn literal<C: Coder, I: Images>(
        &mut self,
        coder: &mut C,
        images: &mut I,
        intent: &Intent<'_>,
    ) -> Result<(), Error<I::Error>> {
        let wanted = intent.new.get(self.at as usize).copied().unwrap_or(0);
        let byte = self.model.literal(coder, self.at, self.last_byte, wanted);
        self.gap = self.gap.wrapping_add(1);
        self.put(images, &[byte])
    }

    fn matched<I: Images>(&mut self, images: &mut I, left: u32) -> Result<(), Error<I::Error>> {
        let mut piece = [0; PIECE];
        let len = left.min(PIECE as u32);
        let known = len.min(self.distance) as usize;
        let (read, repeated) = piece.split_at_mut(known);
        images.back(self.at - self.distance, read)?;
        for (byte, earlier) in repeated.iter_mut().zip(read.iter().cycle()) {
            *byte = *earlier;
        }
        self.gap = self.gap.wrapping_add(len);
        self.state = if left == len { State::Token } else { State::Match { left: left - len } };
        let piece = piece.get(..len as usize).unwrap_or_default();
        self.put(images, piece)
    }

    /// Codes from where to copy and how much. Returns nothing if that cannot be.
    fn copy<C: Coder>(&mut self, coder: &mut C, wanted: u32, len: u32) -> Option<()> {
        let from = self.seek(coder, wanted);
        let len = self.model.number(coder, COPIED, len.wrapping_sub(1)).saturating_add(1);
        if from >= self.old_size || len > self.old_size - from || len > self.end - self.at {
            return None;
        }
        let shift = self.at.wrapping_sub(from);
        let mut carried = shift;
        for slot in &mut self.shifts {
            core::mem::swap(slot, &mut carried);
            if carried == shift {
                break;
            }
        }
        (self.from, self.gap) = (from, 0);
        (self.registers, self.run, self.page) = (Registers::new(), 0, None);
        self.state = State::Copy { left: len };
        Some(())
    }

    /// Codes where a copy starts: as the last one went on, where it ended, as an
    /// earlier one went on, or anywhere.
    fn seek<C: Coder>(&mut self, coder: &mut C, wanted: u32) -> u32 {
        let ahead = self.from.wrapping_add(self.gap);
        let [_, shifts @ ..] = self.shifts;
        let [a, b, c] = shifts.map(|shift| self.at.wrapping_sub(shift));
        let guesses = [ahead, self.from, a, b, c];
        let mut asked = 0;
        for (index, guess) in guesses.into_iter().enumerate() {
            if guess < self.old_size && !guesses.iter().take(index).any(|other| *other == guess) {
                if self.model.bit(coder, SEEK + asked, guess == wanted) {
                    return guess;
                }
                asked += 1;
            }
        }
        let back = self.model.bit(coder, SEEK + 5, (wanted.wrapping_sub(ahead) as i32) < 0);
        let distance = wanted.wrapping_sub(ahead) as i32;
        let distance = self.model.number(coder, SEEKED, distance.unsigned_abs());
        if back { ahead.wrapping_sub(distance) } else { ahead.wrapping_add(distance) }
    }

    /// The old image from here, up to [`AHEAD`] bytes.
    pub(crate) fn load<I: Images>(&mut self, images: &mut I) -> Result<usize, Error<I::Error>> {
        let rest = self.old_size - self.from;
        if let Some(skipped) = self.window_at.and_then(|at| self.from.checked_sub(at))
            && skipped as usize <= WINDOW - AHEAD
        {
            return Ok(skipped as usize);
        }
        // Flash is read by words.
        let at = self.from & !3;
        let skipped = (self.from & 3) as usize;
        let len = WINDOW.min(skipped.saturating_add(rest as usize));
        let window = self.window.get_mut(..len).unwrap_or_default();
        images.old(at, window)?;
        self.window_at = Some(at);
        Ok(skipped)
    }

    /// What [`Self::load`] found.
    pub(crate) fn loaded(&self, skipped: usize) -> &[u8] {
        let len = AHEAD.min((self.old_size - self.from) as usize);
        self.window.get(skipped..skipped + len).unwrap_or_default()
    }

    /// Puts bytes, and takes in the segments whose headers they end.
    pub(crate) fn put<I: Images>(
        &mut self,
        images: &mut I,
        bytes: &[u8],
    ) -> Result<(), Error<I::Error>> {
        if bytes.len() > (self.end - self.at) as usize {
            return Err(Error::Damaged);
        }
        images.put(bytes)?;
        self.at += bytes.len() as u32;
        self.last_byte = bytes.last().copied().unwrap_or(0);
        self.follow(images)
    }

    fn follow<I: Images>(&mut self, images: &mut I) -> Result<(), Error<I::Error>> {
        if self.model.params.isa != Isa::None {
            while let Some(at) = self.new.wanted(self.at) {
                let mut header = [0; 8];
                images.back(at, &mut header)?;
                self.new.add(header);
            }
        }
        Ok(())
    }
}
