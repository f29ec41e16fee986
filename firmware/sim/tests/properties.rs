//! Boot selection, whatever both sectors hold: the client and the bootloader
//! agree, and what the client does leaves a device that boots.

use proptest::prelude::*;
use towline::{
    Layout, Ota, Reset, Slot,
    otadata::{Boot, OtaData, Record, SECTOR},
};
use towline_descriptor::Chip;
use towline_sim::{
    Kind, Memory, boot,
    sample::{Table, app_image},
};

const KINDS: [Kind; 3] = [Kind::Stock, Kind::Rollback, Kind::AntiRollback { secure_version: 0 }];

/// Returns the record that decides by the rules of ESP-IDF's
/// `bootloader_common_get_active_otadata`, told from bytes alone.
fn decides(sectors: &[[u8; 32]; 2]) -> Option<(usize, u32)> {
    let word = |bytes: &[u8; 32], at| u32::from_le_bytes(*bytes[at..].first_chunk().unwrap());
    let seq = |bytes: &[u8; 32]| {
        let (seq, state, crc) = (word(bytes, 0), word(bytes, 24), word(bytes, 28));
        let is_rejected = state == 3 || state == 4;
        (seq != u32::MAX && !is_rejected && crc == crc32(seq)).then_some(seq)
    };
    match sectors.each_ref().map(seq) {
        [None, None] => None,
        [Some(first), Some(second)] if second > first => Some((1, second)),
        [Some(first), _] => Some((0, first)),
        [None, Some(second)] => Some((1, second)),
    }
}

/// `crc32_le(UINT32_MAX, seq)` of the ROM, bit by bit.
fn crc32(seq: u32) -> u32 {
    !(0..32).fold(seq, |crc, _| crc >> 1 ^ if crc & 1 == 1 { 0xEDB8_8320 } else { 0 })
}

/// Any 32 bytes, mostly with the right crc and a meaningful state.
fn record() -> impl Strategy<Value = [u8; 32]> {
    let seq = prop_oneof![3 => 0_u32..9, 1 => u32::MAX - 5..=u32::MAX, 1 => any::<u32>()];
    let state = prop_oneof![4 => 0_u32..6, 1 => Just(u32::MAX), 1 => any::<u32>()];
    let letter = prop_oneof![Just(b'n'), Just(b'g'), Just(b'a'), Just(b'i'), Just(b'r')];
    let label = prop_oneof![
        Just([0xFF; 20]),
        any::<[u8; 20]>(),
        (letter, any::<[u8; 2]>()).prop_map(|(stage, [previous, times])| {
            let mut label = [0xFF; 20];
            for copy in label[..16].chunks_mut(8) {
                copy.copy_from_slice(&[b't', b'o', b'w', b'l', stage, previous % 4, times, 0xFF]);
            }
            label
        }),
    ];
    let written = (seq, state, label, any::<[u8; 4]>(), 0..8).prop_map(
        |(seq, state, label, other, chance)| {
            let mut bytes = [0; 32];
            bytes[..4].copy_from_slice(&seq.to_le_bytes());
            bytes[4..24].copy_from_slice(&label);
            bytes[24..28].copy_from_slice(&state.to_le_bytes());
            let crc = if chance == 0 { other } else { crc32(seq).to_le_bytes() };
            bytes[28..].copy_from_slice(&crc);
            bytes
        },
    );
    prop_oneof![6 => written, 1 => any::<[u8; 32]>(), 1 => Just([0xFF; 32])]
}

fn device(slots: usize, factory: bool, sectors: &[[u8; 32]; 2]) -> (Table, Memory) {
    let table = Table { slots, slot_size: 0x2000, factory };
    let mut flash = Memory::new(table.flash_size());
    flash.burn(0x8000, &table.to_bytes());
    for slot in 0..slots + usize::from(factory) {
        let image = app_image(Chip::Esp32c3, "lamp", &format!("{}.0.0", slot + 1), 300);
        flash.burn(table.offset(slot), &image);
    }
    for (sector, record) in sectors.iter().enumerate() {
        flash.burn(Table::OTADATA + sector as u32 * SECTOR, record);
    }
    (table, flash)
}

proptest! {
    #[test]
    fn client_bootloader_and_esp_idf_choose_the_same_slot(
        sectors in [record(), record()], slots in 2_usize..=4, factory in any::<bool>(),
    ) {
        let choice = decides(&sectors);
        let expected = match choice {
            Some((_, seq)) => Slot::Ota(seq.wrapping_sub(1) as usize % slots),
            None if factory => Slot::Factory,
            None => Slot::Ota(0),
        };
        let otadata = OtaData { records: sectors.each_ref().map(Record::parse) };
        prop_assert_eq!(otadata.active(), choice.map(|(sector, _)| sector));
        match otadata.boot(slots) {
            Boot::Slot { slot, .. } => prop_assert_eq!(Slot::Ota(slot), expected),
            Boot::Default => prop_assert!(choice.is_none()),
        }
        let (_, mut flash) = device(slots, factory, &sectors);
        prop_assert_eq!(boot(&mut flash, Kind::Stock).unwrap().slot, expected);
    }

    #[test]
    fn no_otadata_makes_the_client_leave_a_device_that_does_not_boot(
        sectors in [record(), record()], slots in 2_usize..=3, factory in any::<bool>(),
        kind in 0_usize..3, steps in proptest::collection::vec((0_u8..4, any::<bool>()), 1..6),
    ) {
        let (_, mut flash) = device(slots, factory, &sectors);
        let kind = KINDS[kind];
        for (step, power) in steps {
            let booted = boot(&mut flash, kind).unwrap();
            let mut ota = Ota::open(&mut flash, booted.offset()).unwrap();
            let reset = if power { Reset::Power } else { Reset::Other };
            let _ = match step {
                0 => ota.guard(reset).map(drop),
                1 => ota.accept(),
                2 => ota.rollback().map(drop),
                _ => ota.factory_reset(),
            };
            let info = ota.info().unwrap();
            let layout = Layout::read(&mut flash, 0x8000).unwrap();
            prop_assert!(layout.region(info.next_boot).is_some());
            let next = boot(&mut flash.clone(), kind).unwrap();
            if kind == Kind::Stock {
                prop_assert_eq!(next.slot, info.next_boot);
            }
        }
    }
}
