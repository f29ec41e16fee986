//! Rules on partition tables, beyond what is asked of each row.

use crate::{
    check::{Code, Fault},
    placement::{is_otadata, is_slot},
};
use esp_idf_part::{Partition, Type};

/// Bytes of flash that a table takes.
const TABLE: u64 = 0x1000;

/// Checks the partitions of a table against each other.
pub(in crate::check) fn faults(partitions: &[Partition]) -> Vec<Fault> {
    let mut faults = Vec::new();
    let slots = slots(partitions);
    if slots.iter().any(|slot| slot.size() != slots[0].size()) {
        faults.push(Code::SlotsUnequal.fault("its slots for updates are not of one size"));
    }
    let gap = (0..slots.len()).find(|number| number_of(slots[*number]) != Some(*number));
    if let Some(number) = gap {
        let message = format!("has {} slots for updates, and no ota_{number}", slots.len());
        faults.push(Code::SlotsGap.fault(message));
    }
    if slots.len() > 1 && !partitions.iter().any(is_otadata) {
        faults.push(Code::OtadataMissing.fault("has slots for updates and no otadata"));
    }
    faults
}

/// Checks that a table at this place in flash lies in no partition of its own.
pub(super) fn lies_free(at: u64, partitions: &[Partition]) -> Result<(), Fault> {
    // Tables may list themselves, and the bootloader.
    let is_ordinary = |p: &&Partition| matches!(p.ty(), Type::App | Type::Data);
    let mut ordinary = partitions.iter().filter(is_ordinary);
    match ordinary.find(|partition| u64::from(partition.offset()) < at + TABLE) {
        Some(low) => {
            let message = format!("partition {} begins before the end of the table", low.name());
            Err(Code::PartitionTableInvalid.fault(message))
        }
        None => Ok(()),
    }
}

/// Returns the slots that updates go to, in the order of their numbers.
pub(super) fn slots(partitions: &[Partition]) -> Vec<&Partition> {
    let mut slots: Vec<_> = partitions.iter().filter(|partition| is_slot(partition)).collect();
    slots.sort_by_key(|slot| number_of(slot));
    slots
}

fn number_of(slot: &Partition) -> Option<usize> {
    slot.subtype().to_string().strip_prefix("ota_")?.parse().ok()
}
