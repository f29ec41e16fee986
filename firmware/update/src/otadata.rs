//! Boot selection: the `otadata` partition of ESP-IDF.
//!
//! Two sectors of 4 KiB hold one record of 32 bytes each:
//!
//! ```text
//! 0     4                24      28      32
//! | seq |     label      | state |  crc  |      crc = crc32(seq)
//! ```
//!
//! The valid record of higher `seq` decides: slot `(seq - 1) mod N` of `N`.
//!
//! **The record that decides is never erased.** Each change erases and programs
//! the *other* one, with a higher `seq` if it is to decide from now on:
//!
//! | cut                      | boots                                        |
//! |--------------------------|----------------------------------------------|
//! | before the erase         | old slot                                     |
//! | after or within the erase| old slot: the record is blank or crc-bad     |
//! | before the crc is whole  | old slot: the record is crc-bad              |
//! | after                    | new slot                                     |
//!
//! So a confirmed update cannot be lost to a cut, and a record that a torn
//! erase brings back to life has the lower `seq`. The one exception is the way
//! back to a factory app, which boots only where no record decides.
//!
//! # A NEW record that lost its state
//!
//! `state` is outside the crc. A torn program that landed `seq` and `crc` but
//! not `state` would read as UNDEFINED, and the image would boot unmonitored.
//! Two things prevent it:
//!
//! - the `crc` is programmed last and by itself: there is no moment at which
//!   `crc` is right and `state` is not on flash;
//! - the `label`, which bootloaders keep and never read, says how far the image
//!   came ([`Stage`]). Unless it says *accepted*, an image that this crate
//!   activated is on trial whatever `state` has become, by a torn erase in the
//!   bootloader for one.
//!
//! Source: ESP-IDF, `bootloader_common_loader.c` and `esp_ota_ops.c`.

use crate::layout::{MAX_SLOTS, Region, Slot};
use core::fmt;
use embedded_storage::nor_flash::{NorFlash, ReadNorFlash};

/// Size in bytes of the sector that holds a record.
pub const SECTOR: u32 = 4096;

const RECORD_LEN: usize = 32;
const LABEL: usize = 4;
const LABEL_LEN: usize = 20;
const LABEL_MAGIC: &[u8; 4] = b"towl";
const LABEL_COPY: usize = 8;
const LABEL_FACTORY: u8 = 0xFE;
const STATE: usize = 24;
const CRC: usize = 28;
const BLANK_SEQ: u32 = u32::MAX;

/// `crc32_le(UINT32_MAX, seq)` of the ROM: zlib's polynomial, started at 0.
const CHECKSUM: crc::Crc<u32, crc::NoTable> = crc::Crc::<u32, crc::NoTable>::new(&crc::Algorithm {
    width: 32,
    poly: 0x04C1_1DB7,
    init: 0,
    refin: true,
    refout: true,
    xorout: 0xFFFF_FFFF,
    check: 0xD202_D277,
    residue: 0xDEBB_20E3,
});

/// What is known of the image that a record selects (`esp_ota_img_states_t`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Written, never booted.
    New,
    /// Booted for the first time, not yet accepted.
    PendingVerify,
    /// Accepted.
    Valid,
    /// Rejected by itself.
    Invalid,
    /// Did not accept itself before the next boot.
    Aborted,
    /// Not recorded: written without rollback.
    Undefined,
    /// A value that has no meaning.
    Other(u32),
}

impl State {
    /// Returns the state for its code on flash.
    pub const fn from_code(code: u32) -> Self {
        match code {
            0 => Self::New,
            1 => Self::PendingVerify,
            2 => Self::Valid,
            3 => Self::Invalid,
            4 => Self::Aborted,
            u32::MAX => Self::Undefined,
            code => Self::Other(code),
        }
    }

    /// Returns the code on flash.
    pub const fn code(self) -> u32 {
        match self {
            Self::New => 0,
            Self::PendingVerify => 1,
            Self::Valid => 2,
            Self::Invalid => 3,
            Self::Aborted => 4,
            Self::Undefined => u32::MAX,
            Self::Other(code) => code,
        }
    }
}

/// How far an image came, written by this crate into the `label` of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It was verified and selected.
    Activated,
    /// The boot guard saw it start for the first time.
    Guarded,
    /// It was accepted.
    Accepted,
    /// Its trial was cut short by a loss of power: it may be tried again.
    Interrupted,
    /// It was rolled back.
    Rejected,
}

/// The `label` of a record: 20 bytes that bootloaders keep and never read.
///
/// ```text
/// 0        4       5          6               7      8        16     20
/// | "towl" | stage | previous | interruptions | 0xFF | the same | 0xFF |
/// ```
///
/// It says everything twice, so that it outlives the loss of any one word. The
/// letters for the stages differ in two bits at least: bit rot makes none of
/// them another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label([u8; LABEL_LEN]);

impl Label {
    /// The label of a record that this crate did not write.
    pub const BLANK: Self = Self([0xFF; LABEL_LEN]);

    /// Makes a label. `previous` is the slot to go back to.
    pub fn new(stage: Stage, previous: Option<Slot>) -> Self {
        let stage = match stage {
            Stage::Activated => b'n',
            Stage::Guarded => b'g',
            Stage::Accepted => b'a',
            Stage::Interrupted => b't',
            Stage::Rejected => b'r',
        };
        let previous = match previous {
            None => 0xFF,
            Some(Slot::Factory) => LABEL_FACTORY,
            Some(Slot::Ota(index)) => index as u8,
        };
        let mut label = Self::BLANK;
        for copy in label.0.as_chunks_mut::<LABEL_COPY>().0 {
            copy[..4].copy_from_slice(LABEL_MAGIC);
            copy[4..7].copy_from_slice(&[stage, previous, 0]);
        }
        label
    }

    /// Returns the label with this number of trials that were cut short.
    #[must_use]
    pub fn interrupted(mut self, times: u8) -> Self {
        for copy in self.0.as_chunks_mut::<LABEL_COPY>().0 {
            copy[6] = times;
        }
        self
    }

    /// Returns how far the image came; `None` if another program wrote the
    /// record.
    pub fn stage(&self) -> Option<Stage> {
        self.copy().map(|(stage, _)| stage)
    }

    /// Returns the slot to go back to, where the label names one.
    pub fn previous(&self) -> Option<Slot> {
        match self.copy()?.1[5] {
            LABEL_FACTORY => Some(Slot::Factory),
            index if usize::from(index) < MAX_SLOTS => Some(Slot::Ota(index.into())),
            _ => None,
        }
    }

    /// Returns how many trials of the image were cut short.
    pub fn interruptions(&self) -> u8 {
        self.copy().map_or(0, |(_, copy)| copy[6])
    }

    /// Returns the first copy that is sound, and its stage.
    fn copy(&self) -> Option<(Stage, &[u8; LABEL_COPY])> {
        self.0.as_chunks::<LABEL_COPY>().0.iter().find_map(|copy| {
            let stage = match copy[4] {
                b'n' => Stage::Activated,
                b'g' => Stage::Guarded,
                b'a' => Stage::Accepted,
                b't' => Stage::Interrupted,
                b'r' => Stage::Rejected,
                _ => return None,
            };
            (copy[..4] == LABEL_MAGIC[..]).then_some((stage, copy))
        })
    }
}

/// One record, whatever its worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Sequence number; the higher valid one decides.
    pub seq: u32,
    /// How far the image came, as this crate knows it.
    pub label: Label,
    /// State of the selected image.
    pub state: State,
    crc: u32,
}

impl Record {
    /// Makes a record with the right crc and a blank label.
    pub fn new(seq: u32, state: State) -> Self {
        let crc = CHECKSUM.checksum(&seq.to_le_bytes());
        Self { seq, label: Label::BLANK, state, crc }
    }

    /// Returns the record with this label.
    #[must_use]
    pub fn labelled(self, label: Label) -> Self {
        Self { label, ..self }
    }

    /// Parses the 32 bytes of a record.
    pub fn parse(bytes: &[u8; RECORD_LEN]) -> Self {
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let mut label = Label::BLANK;
        label.0.copy_from_slice(&bytes[LABEL..STATE]);
        Self { seq: word(0), label, state: State::from_code(word(STATE)), crc: word(CRC) }
    }

    /// Returns the 32 bytes of the record.
    pub fn to_bytes(&self) -> [u8; RECORD_LEN] {
        let mut bytes = [0xFF; RECORD_LEN];
        bytes[..LABEL].copy_from_slice(&self.seq.to_le_bytes());
        bytes[LABEL..STATE].copy_from_slice(&self.label.0);
        bytes[STATE..CRC].copy_from_slice(&self.state.code().to_le_bytes());
        bytes[CRC..].copy_from_slice(&self.crc.to_le_bytes());
        bytes
    }

    /// Returns whether the bootloader ignores the record for good: blank, or
    /// its image was rejected. The crc is not consulted.
    pub fn is_invalid(&self) -> bool {
        self.is_blank() || matches!(self.state, State::Invalid | State::Aborted)
    }

    /// Returns whether the record may decide.
    pub fn is_valid(&self) -> bool {
        !self.is_invalid() && self.has_right_crc()
    }

    /// Returns whether the crc is that of the sequence number.
    pub fn has_right_crc(&self) -> bool {
        self.crc == CHECKSUM.checksum(&self.seq.to_le_bytes())
    }

    /// Returns whether the record was never written, or erased.
    pub fn is_blank(&self) -> bool {
        self.seq == BLANK_SEQ
    }

    /// Returns the slot that the record selects among `slots`.
    ///
    /// # Panics
    /// If `slots` is 0.
    pub fn slot(&self, slots: usize) -> usize {
        // seq is never 0 on flash that the bootloader accepts; were it, the
        // bootloader's own arithmetic wraps as this does.
        self.seq.wrapping_sub(1) as usize % slots
    }
}

/// Both records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtaData {
    /// The records of sector 0 and 1.
    pub records: [Record; 2],
}

/// What the bootloader chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boot {
    /// This slot, for the record in that sector.
    Slot {
        /// Index of the slot.
        slot: usize,
        /// Sector of the record that decides, 0 or 1.
        sector: usize,
        /// State of the image.
        state: State,
    },
    /// No record decides: the factory app, or `ota_0` where there is none.
    Default,
}

/// A change of boot selection: this record goes to that sector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Sector to rewrite, 0 or 1.
    pub sector: usize,
    /// Record to write.
    pub record: Record,
}

impl OtaData {
    /// Reads both records.
    ///
    /// # Errors
    /// What reading flash returns.
    pub fn read<F: ReadNorFlash>(flash: &mut F, otadata: Region) -> Result<Self, F::Error> {
        let mut record = |sector: u32| {
            let mut bytes = [0; RECORD_LEN];
            flash.read(otadata.offset + sector * SECTOR, &mut bytes)?;
            Ok(Record::parse(&bytes))
        };
        Ok(Self { records: [record(0)?, record(1)?] })
    }

    /// Returns the sector of the record that decides, if one does.
    pub fn active(&self) -> Option<usize> {
        let [first, second] = &self.records;
        match (first.is_valid(), second.is_valid()) {
            (true, true) => Some(usize::from(second.seq > first.seq)),
            (true, false) => Some(0),
            (false, true) => Some(1),
            (false, false) => None,
        }
    }

    /// Returns what the bootloader chooses among `slots`.
    ///
    /// # Panics
    /// If `slots` is 0.
    pub fn boot(&self, slots: usize) -> Boot {
        match self.active() {
            Some(sector) => {
                let record = &self.records[sector];
                Boot::Slot { slot: record.slot(slots), sector, state: record.state }
            }
            None => Boot::Default,
        }
    }

    /// Returns the sector that the next change goes to: the one whose record
    /// does not decide.
    pub fn free_sector(&self) -> usize {
        match self.active() {
            Some(active) => 1 - active,
            None => usize::from(self.records[1].is_blank() && !self.records[0].is_blank()),
        }
    }

    /// Returns the change that makes `slot` of `slots` the next to boot, or
    /// `None` if the sequence numbers are used up.
    ///
    /// It goes to the record that does not decide, with the smallest sequence
    /// number that selects the slot and is larger than that of any sound record,
    /// one that was rejected included: should that come back to life, by a torn
    /// erase, it does not decide.
    ///
    /// # Panics
    /// If `slot` is not one of `slots`.
    pub fn select(&self, slot: usize, slots: usize, state: State) -> Option<Change> {
        assert!(slot < slots, "slot {slot} of {slots}");
        let sound = |record: &&Record| !record.is_blank() && record.has_right_crc();
        let highest = self.records.iter().filter(sound).map(|record| record.seq).max();
        let deciding = self.active().map(|active| self.records[active].seq);
        let sector = self.free_sector();
        // A rejected record of a very high number must not end all updates.
        [highest, deciding].into_iter().find_map(|after| {
            let seq = next_seq(after.unwrap_or(0), slot, slots)?;
            Some(Change { sector, record: Record::new(seq, state) })
        })
    }

    /// Returns the change that notes `state` for `slot` of `slots` in the record
    /// that does not decide, with the largest lower sequence number; `None` if
    /// no record decides or there is no such number.
    pub(crate) fn note(&self, slot: usize, slots: usize, state: State) -> Option<Change> {
        let below = self.records[self.active()?].seq;
        let lowest = below.saturating_sub(u32::try_from(slots).ok()?).max(1);
        let seq = (lowest..below).rev().find(|seq| Record::new(*seq, state).slot(slots) == slot)?;
        Some(Change { sector: self.free_sector(), record: Record::new(seq, state) })
    }
}

impl Change {
    /// Returns the change with its record labelled.
    pub(crate) fn labelled(self, label: Label) -> Self {
        Self { record: self.record.labelled(label), ..self }
    }

    /// Writes the change: one erase, then the record with its crc last.
    ///
    /// # Errors
    /// What erasing or programming flash returns.
    pub(crate) fn write<F: NorFlash>(
        &self,
        flash: &mut F,
        otadata: Region,
    ) -> Result<(), F::Error> {
        const {
            assert!(SECTOR as usize == F::ERASE_SIZE && RECORD_LEN.is_multiple_of(F::WRITE_SIZE));
        }
        let start = sector_offset(otadata, self.sector);
        let bytes = self.record.to_bytes();
        // Flash encryption writes blocks of 16 or 32 bytes: there the crc shares
        // its block with the state, and a torn block decrypts to noise.
        let last = CRC / F::WRITE_SIZE * F::WRITE_SIZE;
        flash.erase(start, start + SECTOR)?;
        flash.write(start, &bytes[..last])?;
        flash.write(start + last as u32, &bytes[last..])
    }
}

/// Returns the smallest sequence number after `after` that selects `slot` of
/// `slots`, if there is one.
fn next_seq(after: u32, slot: usize, slots: usize) -> Option<u32> {
    let last = after.saturating_add(u32::try_from(slots).ok()?).min(BLANK_SEQ - 1);
    (after.checked_add(1)?..=last).find(|seq| Record::new(*seq, State::New).slot(slots) == slot)
}

/// Returns the flash offset of sector 0 or 1.
pub(crate) fn sector_offset(otadata: Region, sector: usize) -> u32 {
    otadata.offset + if sector == 0 { 0 } else { SECTOR }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::New => f.pad("new"),
            Self::PendingVerify => f.pad("pending-verify"),
            Self::Valid => f.pad("valid"),
            Self::Invalid => f.pad("invalid"),
            Self::Aborted => f.pad("aborted"),
            Self::Undefined => f.pad("undefined"),
            Self::Other(code) => write!(f, "unknown ({code:#x})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BLANK: Record =
        Record { seq: BLANK_SEQ, label: Label::BLANK, state: State::Undefined, crc: u32::MAX };

    fn data(first: Record, second: Record) -> OtaData {
        OtaData { records: [first, second] }
    }

    fn valid(seq: u32) -> Record {
        Record::new(seq, State::Valid)
    }

    fn slot(data: OtaData) -> Option<usize> {
        match data.boot(2) {
            Boot::Slot { slot, .. } => Some(slot),
            Boot::Default => None,
        }
    }

    #[test]
    fn crc_is_that_of_the_rom() {
        for (seq, crc) in
            [(1, 0x4743_989A), (2, 0x55F6_3774), (3, 0xED4A_5011), (4, 0x709D_68A8), (0, u32::MAX)]
        {
            assert_eq!(Record::new(seq, State::New).crc, crc);
        }
    }

    #[test]
    fn bytes_round_trip() {
        let record = Record::new(7, State::PendingVerify);
        assert_eq!(Record::parse(&record.to_bytes()), record);
        assert_eq!(Record::parse(&[0xFF; 32]), BLANK);
    }

    #[test]
    fn boots_what_the_bootloader_was_seen_to_boot() {
        let bad_crc = Record { crc: 0, ..valid(6) };
        assert_eq!(slot(data(BLANK, BLANK)), None);
        assert_eq!(slot(data(valid(2), BLANK)), Some(1));
        assert_eq!(slot(data(BLANK, valid(2))), Some(1));
        assert_eq!(slot(data(valid(1), valid(2))), Some(1));
        assert_eq!(slot(data(valid(5), valid(6))), Some(1));
        assert_eq!(slot(data(valid(3), valid(2))), Some(0));
        assert_eq!(slot(data(valid(5), bad_crc)), Some(0));
        for state in [State::Invalid, State::Aborted] {
            assert_eq!(slot(data(valid(5), Record::new(6, state))), Some(0));
        }
        for state in [State::New, State::PendingVerify, State::Valid, State::Undefined] {
            assert_eq!(slot(data(valid(5), Record::new(6, state))), Some(1));
        }
    }

    #[test]
    fn a_tie_goes_to_sector_0() {
        assert_eq!(data(valid(4), Record::new(4, State::New)).active(), Some(0));
    }

    #[test]
    fn an_aborted_image_is_overwritten_not_the_good_one() {
        let rolled_back = data(valid(5), Record::new(6, State::Aborted));
        let change = rolled_back.select(1, 2, State::New).unwrap();
        assert_eq!((change.sector, change.record.seq), (1, 8));
    }

    #[test]
    fn used_up_sequence_numbers_are_an_error() {
        assert_eq!(data(valid(u32::MAX - 1), BLANK).select(0, 2, State::New), None);
        assert_eq!(data(valid(5), valid(u32::MAX - 1)).select(1, 2, State::New), None);
    }

    #[test]
    fn a_flipped_bit_makes_no_stage_another_one() {
        let stages = [
            Stage::Activated,
            Stage::Guarded,
            Stage::Accepted,
            Stage::Interrupted,
            Stage::Rejected,
        ];
        for stage in stages {
            let label = Label::new(stage, None);
            for bit in 0..LABEL_LEN * 8 {
                let mut rotten = label;
                rotten.0[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(rotten.stage(), Some(stage), "bit {bit}");
            }
        }
    }

    fn any_record() -> impl Strategy<Value = Record> {
        prop_oneof![
            Just(BLANK),
            any::<[u8; 32]>().prop_map(|bytes| Record::parse(&bytes)),
            (1_u32..9, 0_u32..6).prop_map(|(seq, state)| Record::new(seq, State::from_code(state))),
            (any::<u32>(), any::<u32>())
                .prop_map(|(seq, state)| Record::new(seq, State::from_code(state))),
        ]
    }

    proptest! {
        #[test]
        fn a_change_selects_its_slot_and_spares_the_deciding_record(
            first in any_record(), second in any_record(), slots in 2_usize..=16, slot in 0_usize..16,
        ) {
            let mut data = data(first, second);
            let slot = slot % slots;
            if let Some(change) = data.select(slot, slots, State::New) {
                prop_assert_ne!(Some(change.sector), data.active());
                data.records[change.sector] = change.record;
                let expected = Boot::Slot { slot, sector: change.sector, state: State::New };
                prop_assert_eq!(data.boot(slots), expected);
            }
        }
    }
}
