//! The range coder: binary decisions, each of a probability that both sides know.
//!
//! 32 bits of range, renormalised by bytes, carries as in LZMA. An encoder emits
//! one byte for each that the decoder reads, and five more of which the first is 0.

/// Codes binary decisions.
pub trait Coder {
    /// Whether what is wanted matters. A decoder's caller need not find it out.
    const ENCODES: bool;

    /// Codes one decision. `one` is the probability of true, in 1/65536, from 1 to
    /// 65535. An encoder returns what is wanted, a decoder what it reads.
    fn code(&mut self, one: u32, wanted: bool) -> bool;
}

/// A range below this takes in or gives out a byte.
const LEAST: u32 = 1 << 24;

/// Bytes with which a block of decisions begins: 0, then the first value.
pub(crate) const FIRST: usize = 5;

/// Most bytes that one step of the [`Engine`](crate::Engine) reads. The longest is
/// a word of a copy, each byte told anew: 4 flags and 4 x 9 decisions of 12 bits,
/// one of 16, and what renormalising holds back.
pub(crate) const STEP: usize = 72;

/// Decodes from a small buffer that its owner keeps filled.
#[derive(Clone, Debug)]
pub(crate) struct Decoder {
    range: u32,
    value: u32,
    buffer: [u8; 128],
    from: usize,
    to: usize,
    starved: bool,
}

impl Decoder {
    pub(crate) const fn new() -> Self {
        Self { range: 0, value: 0, buffer: [0; 128], from: 0, to: 0, starved: false }
    }

    /// Bytes that are held and were not read.
    pub(crate) fn held(&self) -> usize {
        self.to - self.from
    }

    /// Takes up to `most` bytes from the front of `input`, as many as there is room
    /// for. Returns how many.
    pub(crate) fn fill(&mut self, input: &mut &[u8], most: usize) -> usize {
        for index in 0..self.held() {
            let byte = self.buffer.get(self.from + index).copied().unwrap_or(0);
            if let Some(slot) = self.buffer.get_mut(index) {
                *slot = byte;
            }
        }
        (self.to, self.from) = (self.held(), 0);
        let before = self.to;
        let room = self.buffer.iter_mut().skip(before).take(most);
        for (slot, byte) in room.zip(input.iter()) {
            *slot = *byte;
            self.to += 1;
        }
        let taken = self.to - before;
        *input = input.get(taken..).unwrap_or_default();
        taken
    }

    /// Reads a little endian number.
    pub(crate) fn word(&mut self) -> u32 {
        u32::from_le_bytes([(); 4].map(|()| self.byte()))
    }

    /// Reads the first bytes of a block; they are held. Returns whether they may be.
    pub(crate) fn start(&mut self) -> bool {
        let first = self.byte();
        self.value = (1..FIRST).fold(0, |value, _| value << 8 | u32::from(self.byte()));
        self.range = u32::MAX;
        first == 0
    }

    /// Whether a block can end here: all was read, and nothing is left to say.
    pub(crate) fn is_at_end(&self) -> bool {
        self.held() == 0 && self.value == 0
    }

    /// Whether more was read than was held.
    pub(crate) fn is_starved(&self) -> bool {
        self.starved
    }

    /// Reads the next byte.
    pub(crate) fn byte(&mut self) -> u8 {
        match self.buffer.get(self.from) {
            Some(byte) if self.from < self.to => {
                self.from += 1;
                *byte
            }
            _ => {
                self.starved = true;
                0
            }
        }
    }
}

impl Coder for Decoder {
    const ENCODES: bool = false;

    fn code(&mut self, one: u32, _wanted: bool) -> bool {
        let bound = (self.range >> 16) * one;
        let bit = self.value < bound;
        if bit {
            self.range = bound;
        } else {
            self.value -= bound;
            self.range -= bound;
        }
        while self.range < LEAST {
            self.range <<= 8;
            self.value = self.value << 8 | u32::from(self.byte());
        }
        bit
    }
}

/// Encodes; `put` takes the bytes.
#[derive(Clone, Debug)]
pub struct Encoder<P> {
    low: u64,
    range: u32,
    /// The last byte that a carry may still change, and how many 0xFF follow it.
    cache: u8,
    held: u64,
    put: P,
}

impl<P: FnMut(u8)> Encoder<P> {
    /// Begins a block.
    pub fn new(put: P) -> Self {
        Self { low: 0, range: u32::MAX, cache: 0, held: 1, put }
    }

    /// Ends the block.
    pub fn finish(mut self) {
        for _ in 0..FIRST {
            self.shift();
        }
    }

    fn shift(&mut self) {
        if self.low < 0xFF00_0000 || self.low > u64::from(u32::MAX) {
            let carry = (self.low >> 32) as u8;
            (self.put)(self.cache.wrapping_add(carry));
            for _ in 1..self.held {
                (self.put)(0xFF_u8.wrapping_add(carry));
            }
            self.held = 0;
            self.cache = (self.low >> 24) as u8;
        }
        self.held += 1;
        self.low = (self.low & 0x00FF_FFFF) << 8;
    }
}

impl<P: FnMut(u8)> Coder for Encoder<P> {
    const ENCODES: bool = true;

    fn code(&mut self, one: u32, wanted: bool) -> bool {
        let bound = (self.range >> 16) * one;
        if wanted {
            self.range = bound;
        } else {
            self.low += u64::from(bound);
            self.range -= bound;
        }
        while self.range < LEAST {
            self.range <<= 8;
            self.shift();
        }
        wanted
    }
}
