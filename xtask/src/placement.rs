//! Where the parts of a first flash lie, and whether they may lie there.

use crate::{
    check::{Code, Fault},
    release::Role,
    unpanicked::unpanicked,
};
use esp_idf_part::{DataType, Partition, PartitionTable, SubType, Type};
use std::ops::Range;
use towline_descriptor::Chip;

/// How the rows of a binary partition table begin, and how long they are in bytes.
const ROW_MAGIC: [u8; 2] = [0xAA, 0x50];
const ROW: usize = 32;

/// Parses a partition table, CSV or binary. The parser panics on some tables
/// that it does not understand: they are faulty too.
///
/// # Errors
/// What is wrong with it.
pub fn parse_table(bytes: Vec<u8>) -> Result<PartitionTable, String> {
    if bytes.starts_with(&ROW_MAGIC)
        && let Some(row) = bytes.chunks_exact(ROW).position(is_endless)
    {
        return Err(format!("partition {row} ends beyond 4 GiB"));
    }
    unpanicked(|| PartitionTable::try_from(bytes).map_err(|error| error.to_string()))
}

/// Returns whether a row of a binary table ends behind all that 32 bits reach, which
/// the parser takes for granted that none does.
fn is_endless(row: &[u8]) -> bool {
    let word = |at: usize| row[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    row.starts_with(&ROW_MAGIC) && word(4).checked_add(word(8)).is_none()
}

/// A part in flash.
#[derive(Clone, Debug)]
pub struct Placed<'a> {
    /// What it is.
    pub role: Role,
    /// How it is called in messages about others.
    pub name: &'a str,
    /// The bytes of flash that it takes.
    pub range: Range<u64>,
}

impl<'a> Placed<'a> {
    /// Places `len` bytes at `offset`.
    pub fn new(role: Role, name: &'a str, offset: u32, len: usize) -> Self {
        Self { role, name, range: range(offset, len as u64) }
    }
}

/// Returns all faults of a set of parts: for each the index of the part, and
/// what is wrong with its place.
pub fn faults(
    chip: Chip,
    flash_size: u32,
    parts: &[Placed<'_>],
    partitions: &[Partition],
) -> Vec<(usize, Fault)> {
    let mut faults = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        let mut report = |code: Code, message: String| faults.push((index, code.fault(message)));
        let start = part.range.start;
        if part.range.end > u64::from(flash_size) {
            report(Code::BeyondFlash, "does not fit the flash".into());
        }
        if part.role == Role::Bootloader && start != u64::from(chip.bootloader_offset()) {
            let expected = chip.bootloader_offset();
            let message = format!("is at {start:#x}, an {chip} looks for it at {expected:#x}");
            report(Code::BootloaderOffset, message);
        }
        for other in &parts[..index] {
            if touches(&part.range, &other.range) {
                report(Code::PartsOverlap, format!("overlaps {}", other.name));
            }
        }
        if part.role == Role::PartitionTable {
            let is_outside = |p: &&Partition| place_of(p).end > u64::from(flash_size);
            for partition in partitions.iter().filter(is_outside) {
                let name = partition.name();
                let message = format!("has partition {name}, which does not fit the flash");
                report(Code::BeyondFlash, message);
            }
        }
        let is_own = |p: &&Partition| u64::from(p.offset()) == start && is_place_of(part.role, p);
        let own = partitions.iter().find(is_own);
        let mut reach = part.range.clone();
        if let Some(own) = own {
            // What is behind its own partition is told once.
            reach.end = reach.end.min(place_of(own).end);
            if reach.end < part.range.end {
                let message = format!("does not fit partition {}", own.name());
                report(Code::PartitionTooSmall, message);
            }
        } else if matches!(part.role, Role::App | Role::Otadata) {
            let message = format!("no {} partition starts at {start:#x}", part.role.as_str());
            report(Code::PartMisplaced, message);
        }
        let others = partitions.iter().filter(|partition| !is_own(partition));
        for partition in others {
            if touches(&reach, &place_of(partition)) {
                let (code, what) = match partition.subtype() {
                    SubType::Data(DataType::Nvs) => {
                        (Code::SettingsOverwritten, ", which holds settings")
                    }
                    _ => (Code::PartitionOverlap, ""),
                };
                report(code, format!("overlaps partition {}{what}", partition.name()));
            }
        }
    }
    faults
}

/// Returns the size of the smallest slot that an update can go to.
pub fn smallest_slot(partitions: &[Partition]) -> Option<u32> {
    let apps = || partitions.iter().filter(|partition| partition.ty() == Type::App);
    let slots = apps().filter(|partition| is_slot(partition)).map(Partition::size).min();
    slots.or_else(|| apps().map(Partition::size).min())
}

/// Returns the partition that the bootloader boots while nothing is selected.
pub fn first_app(partitions: &[Partition]) -> Option<&Partition> {
    let apps = || partitions.iter().filter(|partition| partition.ty() == Type::App);
    let named = |subtype: &str| apps().find(|partition| partition.subtype().to_string() == subtype);
    named("factory").or_else(|| named("ota_0")).or_else(|| apps().next())
}

/// Returns whether updates go to a partition.
pub(crate) fn is_slot(partition: &Partition) -> bool {
    partition.subtype().to_string().starts_with("ota_")
}

/// Returns whether a partition selects the slot to boot.
pub(crate) fn is_otadata(partition: &Partition) -> bool {
    partition.subtype() == SubType::Data(DataType::Ota)
}

/// Returns whether a part belongs into a partition.
fn is_place_of(role: Role, partition: &Partition) -> bool {
    match role {
        Role::App => partition.ty() == Type::App,
        Role::Otadata => is_otadata(partition),
        _ => false,
    }
}

/// Returns the bytes of flash that a partition takes.
pub(crate) fn place_of(partition: &Partition) -> Range<u64> {
    range(partition.offset(), partition.size().into())
}

fn range(offset: u32, len: u64) -> Range<u64> {
    u64::from(offset)..u64::from(offset) + len
}

/// Returns whether two ranges have bytes in common.
pub(crate) fn touches(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end && b.start < a.end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_that_no_flash_reaches_is_refused() {
        let mut row = [0xFF; ROW];
        row[..2].copy_from_slice(&ROW_MAGIC);
        row[4..8].copy_from_slice(&0xFFFF_0000_u32.to_le_bytes());
        row[8..12].copy_from_slice(&0x2_0000_u32.to_le_bytes());
        let error = parse_table([row, [0xFF; ROW]].concat()).unwrap_err();
        assert_eq!(error, "partition 0 ends beyond 4 GiB");
    }
}
