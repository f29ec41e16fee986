//! Where things are in flash: the partition table as the bootloader reads it.

use crate::otadata::SECTOR;
use core::fmt;
use embedded_storage::nor_flash::ReadNorFlash;

/// Flash offset in bytes at which the partition table usually stands.
pub const PARTITION_TABLE_OFFSET: u32 = 0x8000;

/// Most app slots (`ota_0` to `ota_15`).
pub const MAX_SLOTS: usize = 16;

const ENTRY_LEN: usize = 32;
const MAX_ENTRIES: u32 = 95;
const ENTRY_MAGIC: [u8; 2] = [0xAA, 0x50];
const MD5_MAGIC: [u8; 2] = [0xEB, 0xEB];
const TYPE_APP: u8 = 0x00;
const TYPE_DATA: u8 = 0x01;
const SUBTYPE_FACTORY: u8 = 0x00;
const SUBTYPE_OTA_0: u8 = 0x10;
const SUBTYPE_OTADATA: u8 = 0x00;
const OTADATA_SIZE: u32 = 0x2000;
/// Subtype, name and least size in bytes of the partition for what the device
/// trusts.
const SUBTYPE_UNDEFINED: u8 = 0x06;
const TRUSTED_LABEL: &[u8; 16] = b"towline\0\0\0\0\0\0\0\0\0";
const TRUSTED_SIZE: u32 = 2 * SECTOR;

/// A range of flash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Offset from the start of flash in bytes.
    pub offset: u32,
    /// Size in bytes.
    pub size: u32,
}

impl Region {
    /// Returns the offset behind it, which 32 bits may not hold.
    fn end(self) -> u64 {
        u64::from(self.offset) + u64::from(self.size)
    }
}

/// An app partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// The factory app: never written, boots where boot selection is blank.
    Factory,
    /// `ota_0`, `ota_1`, ...
    Ota(usize),
}

/// The parts of a partition table that updates need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The two sectors of boot selection.
    pub otadata: Region,
    /// The factory app, where there is one.
    pub factory: Option<Region>,
    /// The data partition `towline`, where there is one: what the device
    /// [trusts](crate::trust) outlives a reset there.
    pub trusted: Option<Region>,
    /// Whether there is a partition `towline` that is of no use: not of subtype
    /// undefined, smaller than 0x2000 bytes, or no region of its own. It is left
    /// alone.
    pub trusted_is_unfit: bool,
    slots: heapless::Vec<Region, MAX_SLOTS>,
}

/// Why a partition table cannot be used for updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayoutError<E> {
    /// Reading flash failed.
    Flash(E),
    /// No partition table stands there.
    NoTable,
    /// An entry is neither a partition, nor the MD5, nor the end.
    BadEntry,
    /// No `otadata` partition of 0x2000 bytes: boot selection has no place.
    NoOtadata,
    /// A slot or otadata is empty or not made of whole sectors, or lies outside
    /// the flash, before the end of the partition table, or over another.
    BadRegion,
    /// The app slots have a gap, or one of them is there twice: the bootloader
    /// counts them, and would take a sequence number for another slot.
    SlotNumbers,
    /// Fewer than two app slots (`ota_0`, `ota_1`).
    TooFewSlots,
}

impl Layout {
    /// Reads the partition table at `offset`, usually
    /// [`PARTITION_TABLE_OFFSET`].
    ///
    /// # Errors
    /// [`LayoutError`]; a table that cannot hold an update is one too.
    pub fn read<F: ReadNorFlash>(
        flash: &mut F,
        offset: u32,
    ) -> Result<Self, LayoutError<F::Error>> {
        let mut otadata = None;
        let mut factory = None;
        let mut trusted = None;
        let mut trusted_is_unfit = false;
        let mut slots = [None; MAX_SLOTS];
        let mut count = 0;
        for index in 0..MAX_ENTRIES {
            let mut entry = [0; ENTRY_LEN];
            flash
                .read(offset + index * ENTRY_LEN as u32, &mut entry)
                .map_err(LayoutError::Flash)?;
            match [entry[0], entry[1]] {
                ENTRY_MAGIC => {}
                MD5_MAGIC => continue,
                _ if index == 0 => return Err(LayoutError::NoTable),
                [0xFF, 0xFF] => break,
                _ => return Err(LayoutError::BadEntry),
            }
            let word = |at: usize| {
                u32::from_le_bytes([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]])
            };
            let region = Region { offset: word(4), size: word(8) };
            match (entry[2], entry[3]) {
                (TYPE_APP, SUBTYPE_FACTORY) => factory = Some(region),
                (TYPE_APP, subtype) => {
                    let slot = usize::from(subtype.wrapping_sub(SUBTYPE_OTA_0));
                    if let Some(slot) = slots.get_mut(slot) {
                        *slot = Some(region);
                        count += 1;
                    }
                }
                (TYPE_DATA, SUBTYPE_OTADATA) if region.size == OTADATA_SIZE => {
                    otadata = Some(region);
                }
                (TYPE_DATA, subtype) if entry[12..28] == *TRUSTED_LABEL => {
                    let fits = subtype == SUBTYPE_UNDEFINED && region.size >= TRUSTED_SIZE;
                    trusted_is_unfit |= !fits;
                    trusted = fits.then_some(region);
                }
                _ => {}
            }
        }
        let slots: heapless::Vec<Region, MAX_SLOTS> =
            slots.into_iter().take_while(Option::is_some).flatten().collect();
        if slots.len() != count {
            return Err(LayoutError::SlotNumbers);
        }
        if count < 2 {
            return Err(LayoutError::TooFewSlots);
        }
        let otadata = otadata.ok_or(LayoutError::NoOtadata)?;
        let mut layout = Self { otadata, factory, trusted: None, trusted_is_unfit, slots };
        let are_sound = |layout: &Self| layout.regions_are_sound(offset + SECTOR, flash.capacity());
        if !are_sound(&layout) {
            return Err(LayoutError::BadRegion);
        }
        layout.trusted = trusted;
        if !are_sound(&layout) {
            (layout.trusted, layout.trusted_is_unfit) = (None, true);
        }
        Ok(layout)
    }

    /// Returns whether every region may be erased without harm to another: it
    /// consists of whole sectors between `start` and the end of the flash.
    fn regions_are_sound(&self, start: u32, capacity: usize) -> bool {
        let regions =
            || self.slots.iter().chain(&self.factory).chain(&self.trusted).chain([&self.otadata]);
        let is_whole = |a: &Region| {
            a.size > 0 && a.offset.is_multiple_of(SECTOR) && a.size.is_multiple_of(SECTOR)
        };
        regions().enumerate().all(|(index, a)| {
            let apart = |b: &Region| a.end() <= b.offset.into() || b.end() <= a.offset.into();
            is_whole(a)
                && a.offset >= start
                && a.end() <= capacity as u64
                && regions().take(index).all(apart)
        })
    }

    /// Returns the app slots in their order, at least two.
    pub fn slots(&self) -> &[Region] {
        &self.slots
    }

    /// Returns all app partitions, the factory app first.
    pub fn partitions(&self) -> impl Iterator<Item = Slot> + use<> {
        let factory = self.factory.map(|_| Slot::Factory);
        factory.into_iter().chain((0..self.slots.len()).map(Slot::Ota))
    }

    /// Returns where an app partition is, if there is such a one.
    pub fn region(&self, slot: Slot) -> Option<Region> {
        match slot {
            Slot::Factory => self.factory,
            Slot::Ota(index) => self.slots.get(index).copied(),
        }
    }

    /// Returns the app partition that starts at this flash offset.
    pub fn slot_at(&self, offset: u32) -> Option<Slot> {
        self.partitions().find(|slot| self.region(*slot).is_some_and(|at| at.offset == offset))
    }

    /// Returns the index of the slot that an update goes to while `running`
    /// runs: the next one, so that all are used in turn.
    pub fn spare(&self, running: Slot) -> usize {
        match running {
            Slot::Factory => 0,
            Slot::Ota(index) => (index + 1) % self.slots.len(),
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Factory => f.pad("factory"),
            Self::Ota(index) => write!(f, "ota_{index}"),
        }
    }
}

impl<E> fmt::Display for LayoutError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flash(_) => "the partition table could not be read from flash",
            Self::NoTable => "no partition table",
            Self::BadEntry => "the partition table has an entry that is none",
            Self::BadRegion => {
                "an app slot or otadata is not made of whole sectors, or lies outside the flash or \
                 over another"
            }
            Self::SlotNumbers => "the app slots do not count up from ota_0, each once",
            Self::NoOtadata => "the partition table has no otadata partition of 0x2000 bytes",
            Self::TooFewSlots => "the partition table has fewer than two app slots (ota_0, ota_1)",
        })
    }
}

impl<E: fmt::Debug> core::error::Error for LayoutError<E> {}
