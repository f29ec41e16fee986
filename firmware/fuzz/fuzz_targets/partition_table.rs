//! Partition tables: whatever they say, an update changes nothing but the spare
//! slot and otadata.
#![no_main]

use libfuzzer_sys::fuzz_target;
use towline::{Expected, Layout, Ota, Region, layout::PARTITION_TABLE_OFFSET};
use towline_fuzz::{Input, image};
use towline_sim::{Memory, SECTOR};

/// Size in bytes of the flash.
const FLASH: usize = 0x20000;
/// Where the image stands that runs.
const RUNNING: u32 = 0x10000;

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let below = usize::from(input.byte()) * 8;
    let table = input.rest();
    let table = &table[..table.len().min(SECTOR as usize)];

    let mut flash = Memory::new(FLASH);
    flash.burn(PARTITION_TABLE_OFFSET, table);
    let Ok(layout) = Layout::read(&mut flash, PARTITION_TABLE_OFFSET) else { return };
    let regions: Vec<Region> = layout
        .partitions()
        .filter_map(|slot| layout.region(slot))
        .chain([layout.otadata])
        .chain(layout.trusted)
        .collect();
    assert!(layout.slots().len() >= 2);
    for (index, a) in regions.iter().enumerate() {
        let (start, end) = (u64::from(a.offset), u64::from(a.offset) + u64::from(a.size));
        assert!(end <= FLASH as u64, "{a:?} ends outside the flash");
        assert!(start >= u64::from(PARTITION_TABLE_OFFSET + SECTOR), "{a:?} is over the table");
        for b in &regions[..index] {
            let (other, behind) = (u64::from(b.offset), u64::from(b.offset) + u64::from(b.size));
            assert!(end <= other || behind <= start, "{a:?} and {b:?} overlap");
        }
    }

    flash.burn(RUNNING, &image("1.0.0", 1000));
    let before = flash.clone();
    let Ok(mut ota) = Ota::open(&mut flash, RUNNING) else { return };
    let spare = layout.region(ota.spare()).expect("there is a spare slot");
    // An image that fills the slot, or nearly.
    let new = image("1.1.0", (spare.size as usize).saturating_sub(below));
    let expected = Expected { size: Some(new.len() as u32), ..Expected::default() };
    if let Ok(mut writer) = ota.begin(expected)
        && writer.write(&new).is_ok()
        && let Ok(verified) = writer.finish()
    {
        let _ = verified.activate();
    }
    let changed = before.bytes().iter().zip(flash.bytes()).enumerate();
    for (at, _) in changed.filter(|(_, (before, after))| before != after) {
        let is_in = |region: Region| {
            at >= region.offset as usize && at - (region.offset as usize) < region.size as usize
        };
        assert!(is_in(spare) || is_in(layout.otadata), "{at:#x} was changed");
    }
});
