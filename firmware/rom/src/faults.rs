//! What goes wrong on a board, and when.

/// What goes wrong on a board.
///
/// "Every Nth" counts since the faults were set, across resets: a second try
/// does not meet the fault at the same step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(default, deny_unknown_fields))]
pub struct Faults {
    /// The chip says nothing at all: no power, or the TX line is broken.
    pub silent: bool,
    /// Every Nth frame from the host is lost.
    pub dropped_frame: Option<u32>,
    /// A bit of this block of flash data, counted from 1, is lost.
    pub corrupt_block: Option<u32>,
    /// A bit of every Nth frame to the host is turned over.
    pub corrupt_reply: Option<u32>,
    /// Sectors with this offset cannot be erased.
    pub erase_fails_at: Option<u32>,
    /// The cable is pulled after so many bytes from the host.
    pub unplugged_after: Option<u64>,
    /// Above this baud rate the line carries garbage.
    pub max_baud: Option<u32>,
    /// DTR and RTS are not wired: only buttons reset the chip.
    pub no_reset: bool,
    /// Another program has the port open. That is for the front to act on.
    pub busy: bool,
}

/// How often what faults count has happened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    frames: u32,
    replies: u32,
    blocks: u32,
}

impl Counts {
    /// Counts a frame from the host; returns whether it is lost.
    pub(crate) fn loses_frame(&mut self, faults: &Faults) -> bool {
        self.frames += 1;
        faults.dropped_frame.is_some_and(|every| is_turn(self.frames, every))
    }

    /// Counts a frame to the host, and damages it when it is its turn.
    pub(crate) fn damage_reply(&mut self, faults: &Faults, frame: &mut [u8]) {
        self.replies += 1;
        let turn = faults.corrupt_reply.is_some_and(|every| is_turn(self.replies, every));
        // Another place each time: header, value, data, status.
        let at = (self.replies as usize).checked_rem(frame.len());
        if let (true, Some(at)) = (turn, at) {
            frame[at] ^= 0x10;
        }
    }

    /// Counts a block of flash data; returns whether a bit of it is lost.
    pub(crate) fn damages_block(&mut self, faults: &Faults) -> bool {
        self.blocks += 1;
        faults.corrupt_block == Some(self.blocks)
    }
}

fn is_turn(count: u32, every: u32) -> bool {
    count.checked_rem(every) == Some(0)
}
