//! The boot stage: what ROM and second-stage bootloader are on a chip.
//!
//! It follows ESP-IDF's bootloader without rollback, as espflash bundles it: the
//! slot that otadata selects, or else downwards, then upwards; an image that is
//! not sound in all its bytes is passed over. What it does not have is a
//! memory map of flash: it loads every segment into memory, and tells the app in
//! a0 which flash offset it came from.
#![no_std]
#![no_main]
#![allow(unsafe_code, reason = "jumps to what it has loaded")]

use core::ops::Range;
use embedded_storage::nor_flash::{NorFlash, ReadNorFlash};
use towline::{
    Layout, OtaData, Region, Slot,
    layout::PARTITION_TABLE_OFFSET,
    ota::check_slot,
    otadata::{Boot, Record, SECTOR, State},
};
use towline_virt::{
    log,
    machine::{
        flash::{Flash, FlashError},
        power::{self, Exit},
    },
};

/// The memory that apps may be loaded to.
const APP_MEMORY: Range<usize> = 0x8040_0000..0x80C0_0000;
const HEADER_LEN: u32 = 24;
const SEGMENT_HEADER_LEN: u32 = 8;

#[unsafe(no_mangle)]
extern "C" fn main() -> ! {
    // SAFETY: the only one in this program.
    let mut flash = unsafe { Flash::take() };
    match boot(&mut flash) {
        Ok(Some((entry, offset))) => {
            // SAFETY: a whole image was loaded, and its entry lies within the
            // memory of apps. The instructions were written as data.
            unsafe {
                core::arch::asm!("fence.i");
                let app: extern "C" fn(u32) -> ! = core::mem::transmute(entry);
                app(offset)
            }
        }
        Ok(None) => log!("boot: no slot holds a sound image"),
        Err(error) => log!("boot: {error}"),
    }
    power::exit(Exit::Failure)
}

/// Returns the entry of the app that was loaded, and its offset in flash.
fn boot(flash: &mut Flash) -> Result<Option<(usize, u32)>, FlashError> {
    let layout = match Layout::read(flash, PARTITION_TABLE_OFFSET) {
        Ok(layout) => layout,
        Err(error) => {
            log!("boot: {error}");
            return Ok(None);
        }
    };
    let count = layout.slots().len();
    let otadata = OtaData::read(flash, layout.otadata)?;
    let selected = match otadata.boot(count) {
        Boot::Slot { slot, .. } => Slot::Ota(slot),
        Boot::Default if layout.region(Slot::Factory).is_some() => Slot::Factory,
        Boot::Default => Slot::Ota(0),
    };
    for slot in order(count, selected) {
        let Some(region) = layout.region(slot) else { continue };
        if let Err(error) = check_slot(flash, region)? {
            log!("boot: {slot}: {error}");
            continue;
        }
        let Some(entry) = load(flash, region)? else {
            log!("boot: {slot}: not for this machine's memory");
            continue;
        };
        if let Slot::Ota(index) = slot
            && layout.region(Slot::Factory).is_none()
            && otadata.records.iter().all(is_free)
        {
            // As the bootloader does where nothing was ever selected.
            let record = Record::new(index as u32 + 1, State::Valid);
            let start = layout.otadata.offset;
            flash.erase(start, start + SECTOR)?;
            flash.write(start, &record.to_bytes())?;
        }
        log!("boot: {slot}");
        return Ok(Some((entry, region.offset)));
    }
    Ok(None)
}

fn is_free(record: &Record) -> bool {
    record.is_blank() || (record.is_invalid() && !record.has_right_crc())
}

/// Returns the slots in the order in which they are tried.
fn order(count: usize, selected: Slot) -> impl Iterator<Item = Slot> {
    let next = match selected {
        Slot::Factory => 0,
        Slot::Ota(index) => index + 1,
    };
    (0..next).rev().map(Slot::Ota).chain([Slot::Factory]).chain((next..count).map(Slot::Ota))
}

/// Loads the segments of a sound image, and returns its entry; `None` if it has
/// its place elsewhere.
fn load(flash: &mut Flash, region: Region) -> Result<Option<usize>, FlashError> {
    let mut header = [0; HEADER_LEN as usize];
    flash.read(region.offset, &mut header)?;
    let entry = word(&header, 4);
    let mut at = region.offset + HEADER_LEN;
    for _ in 0..header[1] {
        let mut segment = [0; SEGMENT_HEADER_LEN as usize];
        flash.read(at, &mut segment)?;
        let (address, len) = (word(&segment, 0), word(&segment, 4));
        at += SEGMENT_HEADER_LEN;
        let fits = address.checked_add(len).is_some_and(|end| end <= APP_MEMORY.end);
        if !fits || !APP_MEMORY.contains(&address) {
            return Ok(None);
        }
        // SAFETY: memory that nothing but an app uses, and none runs.
        let memory = unsafe { core::slice::from_raw_parts_mut(address as *mut u8, len) };
        flash.read(at, memory)?;
        at += len as u32;
    }
    Ok(APP_MEMORY.contains(&entry).then_some(entry))
}

fn word(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]) as usize
}
