//! Boot selection: the `otadata` partition of ESP-IDF.
//!
//! Two sectors of 4 KiB hold one record of 32 bytes each:
//!
//! ```text
//! 0     4                24      28      32
//! | seq |     label      | state |  crc  |      crc = crc32(seq)
//! ```
//!
//! The valid record of higher `seq` decides: slot `(seq - 1) mod N` of `N`. A
//! change erases and programs the *other* record, so that the one that decides
//! is never in danger:
//!
//! | cut                      | boots                                        |
//! |--------------------------|----------------------------------------------|
//! | before the erase         | old slot                                     |
//! | after or within the erase| old slot: the record is blank or crc-bad     |
//! | before the crc is whole  | old slot: the record is crc-bad              |
//! | after                    | new slot                                     |
//!
//! The `crc` is programmed last and by itself. `state` is outside the crc: a
//! torn program that landed `seq` and `crc` but not `state` would boot the new
//! image as UNDEFINED, unmonitored. With `state` on flash before `crc` there is
//! no such moment.
//!
//! Source: ESP-IDF, `bootloader_common_loader.c` and `esp_ota_ops.c`.

use crate::layout::Region;
use core::fmt;
use embedded_storage::nor_flash::{NorFlash, ReadNorFlash};

/// Size in bytes of the sector that holds a record.
pub const SECTOR: u32 = 4096;

const RECORD_LEN: usize = 32;
const STATE: usize = 24;
const CRC: usize = 28;
const BLANK_SEQ: u32 = u32::MAX;

/// `crc32_le(UINT32_MAX, seq)` of the ROM: zlib's polynomial, started at 0.
const CHECKSUM: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::Algorithm {
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

/// One record, whatever its worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Sequence number; the higher valid one decides.
    pub seq: u32,
    /// State of the selected image.
    pub state: State,
    crc: u32,
}

impl Record {
    /// Makes a record with the right crc.
    pub fn new(seq: u32, state: State) -> Self {
        Self { seq, state, crc: CHECKSUM.checksum(&seq.to_le_bytes()) }
    }

    /// Parses the 32 bytes of a record.
    pub fn parse(bytes: &[u8; RECORD_LEN]) -> Self {
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        Self { seq: word(0), state: State::from_code(word(STATE)), crc: word(CRC) }
    }

    /// Returns the 32 bytes of the record.
    pub fn to_bytes(&self) -> [u8; RECORD_LEN] {
        let mut bytes = [0xFF; RECORD_LEN];
        bytes[..4].copy_from_slice(&self.seq.to_le_bytes());
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

    /// Returns the change that makes `slot` of `slots` the next to boot, or
    /// `None` if the sequence numbers are used up.
    ///
    /// It goes to the record that does not decide, with the smallest larger
    /// sequence number that selects the slot.
    ///
    /// # Panics
    /// If `slot` is not one of `slots`.
    pub fn select(&self, slot: usize, slots: usize, state: State) -> Option<Change> {
        assert!(slot < slots, "slot {slot} of {slots}");
        let (sector, after) = match self.active() {
            Some(active) => (1 - active, self.records[active].seq),
            None => (0, 0),
        };
        let seq = (1..=u32::try_from(slots).ok()?)
            .map(|step| after.checked_add(step))
            .find(|seq| seq.is_some_and(|seq| Record::new(seq, state).slot(slots) == slot))??;
        (seq != BLANK_SEQ).then(|| Change { sector, record: Record::new(seq, state) })
    }
}

impl Change {
    /// Writes the change: one erase, then the record with its crc last.
    ///
    /// # Errors
    /// What erasing or programming flash returns.
    pub fn write<F: NorFlash>(&self, flash: &mut F, otadata: Region) -> Result<(), F::Error> {
        let start = otadata.offset + if self.sector == 0 { 0 } else { SECTOR };
        let bytes = self.record.to_bytes();
        flash.erase(start, start + SECTOR)?;
        flash.write(start, &bytes[..CRC])?;
        flash.write(start + CRC as u32, &bytes[CRC..])
    }
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

    const BLANK: Record = Record { seq: BLANK_SEQ, state: State::Undefined, crc: u32::MAX };

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
        assert_eq!((change.sector, change.record.seq), (1, 6));
    }

    #[test]
    fn used_up_sequence_numbers_are_an_error() {
        assert_eq!(data(valid(u32::MAX - 1), BLANK).select(0, 2, State::New), None);
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
