//! What was a patch once makes the same image forever.

mod maker;

use maker::{Device, pack, tokens};
use std::collections::BTreeSet;
use towline_patch::{
    Applier, Header, Isa, Kind, Params, Progress, Registers, Segments, Site, Start, Unit,
};

struct Vector {
    old: &'static [u8],
    new: &'static [u8],
    patch: &'static [u8],
}

/// An image of pointers and of instructions that refer to them, and the same with some
/// inserted, removed, moved and changed. Three blocks.
const RISC_V: Vector = Vector {
    old: include_bytes!("../vectors/risc-v.old"),
    new: include_bytes!("../vectors/risc-v.new"),
    patch: include_bytes!("../vectors/risc-v.twp"),
};

/// The same for Xtensa, with the parameters of the large profile.
const XTENSA: Vector = Vector {
    old: include_bytes!("../vectors/xtensa.old"),
    new: include_bytes!("../vectors/xtensa.new"),
    patch: include_bytes!("../vectors/xtensa.twp"),
};

/// No instructions: bytes that were copied, changed and added.
const BYTES: Vector = Vector {
    old: include_bytes!("../vectors/bytes.old"),
    new: include_bytes!("../vectors/bytes.new"),
    patch: include_bytes!("../vectors/bytes.twp"),
};

/// From nothing.
const WHOLE: Vector = Vector {
    old: &[],
    new: include_bytes!("../vectors/whole.new"),
    patch: include_bytes!("../vectors/whole.twp"),
};

const ALL: [Vector; 4] = [RISC_V, XTENSA, BYTES, WHOLE];

#[test]
fn frozen_patches_make_what_they_made() {
    for Vector { old, new, patch } in ALL {
        let mut device = Device::new(old, new, patch);
        assert_eq!(device.run(patch), Ok(Progress::Done));
        assert_eq!(device.images.new, new);
    }
}

#[test]
fn frozen_patches_go_on_at_each_of_their_blocks() {
    let Vector { old, new, patch } = RISC_V;
    let mut starts = Vec::new();
    let mut start = Start::FIRST;
    while start.at < new.len() as u32 {
        let word = |at: usize| u32::from_le_bytes(patch[at..][..4].try_into().unwrap());
        let offset = start.offset as usize;
        starts.push(start);
        start = Start { offset: start.offset + 8 + word(offset + 4), at: start.at + word(offset) };
    }
    assert_eq!(starts.len(), 3);
    for start in starts {
        let mut device = Device::new(old, new, patch);
        device.images.new.extend(&new[..start.at as usize]);
        let result = device.apply(patch, start, 7, patch.len());
        assert_eq!(result.map(|(_, progress)| progress), Ok(Progress::Done));
        assert_eq!(device.images.new, new);
    }
}

/// Kinds of units in an image.
fn kinds(image: &[u8], isa: Isa) -> BTreeSet<u8> {
    let mut segments = Segments::of(image);
    let mut registers = Registers::new();
    let mut kinds = BTreeSet::new();
    let mut at = 0;
    while at < image.len() {
        let Some(place) = segments.at(at as u32) else {
            at += 1;
            continue;
        };
        let bytes = &image[at..image.len().min(at + 48)];
        let site = Site { bytes, address: place.address, room: place.room, code: place.code };
        let unit = Unit::parse(isa, &segments, &site, &registers);
        let len = unit.len as usize;
        let word = bytes[..len].iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte));
        registers.follow(&unit, (word, place.address), (word, place.address));
        kinds.insert(unit.kind as u8);
        at += len;
    }
    kinds
}

#[test]
fn vectors_have_units_of_every_kind() {
    use Kind::{Branch, Byte, Call, Four, High, Jump, Literal, Low, Pointer, Store, Three, Two};
    let set = |kinds: &[Kind]| kinds.iter().map(|kind| *kind as u8).collect::<BTreeSet<_>>();
    let risc_v = [Call, Branch, Jump, High, Low, Store, Pointer, Byte, Two, Four];
    assert_eq!(kinds(RISC_V.old, Isa::RiscV), set(&risc_v));
    let xtensa = [Call, Literal, Branch, Jump, Pointer, Byte, Two, Three];
    assert_eq!(kinds(XTENSA.old, Isa::Xtensa), set(&xtensa));
}

#[test]
fn units_are_predicted() {
    // As bytes the same tokens take more.
    for Vector { old, new, patch } in [RISC_V, XTENSA] {
        let header = Header::parse(patch.first_chunk().unwrap()).unwrap();
        let plain = Params { isa: Isa::None, ..header.params };
        let plain = pack(plain, old, new, &tokens(old, new, usize::MAX));
        let size = pack(header.params, old, new, &tokens(old, new, usize::MAX)).len();
        assert!(10 * size < 9 * plain.len(), "{size} of {}", plain.len());
    }
}

#[test]
fn a_device_needs_a_kilobyte_besides_the_memory_that_it_lends() {
    // Of a target of 32 bits; one of 64 has larger pointers.
    assert!(size_of::<Applier<'_>>() <= 1024 + 128, "{} bytes", size_of::<Applier<'_>>());
}
