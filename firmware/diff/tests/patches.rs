//! Patches of any bytes and of firmware: what they make, and what they cost.

use proptest::{collection::vec, prelude::*, sample::Index};
use rayon::ThreadPoolBuilder;
use std::{fs, path::Path};
use towline_diff::{DiffError, apply, header, make};
use towline_patch::Refused;

const SMALL: u32 = 4 << 10;
const LARGE: u32 = 32 << 10;

/// An ESP32-C3 image with one segment of code, which begins with `padding` instructions
/// that do nothing. Each of its functions calls others and reads a variable.
fn firmware(functions: u32, padding: u32) -> Vec<u8> {
    const LOAD: u32 = 0x4200_0020;
    const FUNCTION: u32 = 12 * 4;
    let nop = 0x0000_0013_u32;
    let mut words = vec![nop; padding as usize];
    for function in 0..functions {
        let start = LOAD + 4 * padding + function * FUNCTION;
        let mut random = function.wrapping_mul(0x9E37_79B1);
        let mut next = || {
            random = random.wrapping_mul(0x0019_660D).wrapping_add(0x3C6E_F35F);
            random >> 12
        };
        for instruction in 0..8 {
            // addi a0, a0, ...
            words.push(0x0005_0513 | next() << 20 | instruction << 7);
        }
        for instruction in 8..10 {
            let callee = LOAD + 4 * padding + next() % functions * FUNCTION;
            words.push(jal(callee.wrapping_sub(start + 4 * instruction)));
        }
        // lui a5, ...; lw a5, ...(a5)
        let variable = 0x3FC8_0000 + next() % 4096 * 4 + 4 * padding;
        words.push(variable.wrapping_add(0x800) & !0xFFF | 0x7B7);
        words.push((variable & 0xFFF) << 20 | 0x0007_A783);
    }
    let code = words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>();
    let mut image = vec![0; 24];
    image[..2].copy_from_slice(&[0xE9, 2]);
    image[12] = 5;
    let rodata: Vec<u8> = (0..=255).collect();
    for (load, data) in [(0x3C00_0020, &rodata), (LOAD, &code)] {
        image.extend_from_slice(&u32::to_le_bytes(load));
        image.extend_from_slice(&(data.len() as u32).to_le_bytes());
        image.extend_from_slice(data);
    }
    image
}

/// `jal ra, offset`.
fn jal(offset: u32) -> u32 {
    let bits = |from: u32, len: u32, to: u32| (offset >> from & ((1 << len) - 1)) << to;
    bits(20, 1, 31) | bits(1, 10, 21) | bits(11, 1, 20) | bits(12, 8, 12) | 0xEF
}

#[test]
fn code_that_moved_costs_next_to_nothing() {
    let (old, new) = (firmware(4000, 0), firmware(4000, 5));
    let patch = make(&old, &new, SMALL).unwrap();
    assert!(patch.len() < 600, "{} of {} bytes", patch.len(), new.len());
}

#[test]
fn the_same_image_again_costs_a_few_bytes() {
    let image = firmware(1000, 0);
    assert!(make(&image, &image, SMALL).unwrap().len() < 100);
}

#[test]
fn more_memory_never_gives_a_larger_patch() {
    for (old, new) in [(firmware(500, 0), firmware(700, 9)), (vec![], firmware(500, 0))] {
        let [small, large] = [SMALL, LARGE].map(|memory| make(&old, &new, memory).unwrap());
        assert!(large.len() <= small.len());
        assert!(header(&small).unwrap().params.memory() <= SMALL);
        assert!(header(&large).unwrap().params.memory() <= LARGE);
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let (old, new) = (firmware(9000, 0), firmware(9500, 7));
    let patches = [1, 3].map(|threads| {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| make(&old, &new, LARGE).unwrap())
    });
    assert!(patches[0] == patches[1]);
}

#[test]
fn a_patch_is_for_its_base_alone() {
    let (old, new) = (firmware(50, 0), firmware(50, 1));
    let patch = make(&old, &new, SMALL).unwrap();
    for base in [&firmware(50, 2)[..], &[]] {
        assert_eq!(apply(base, &patch), Err(DiffError::Refused(Refused::Base)));
    }
}

#[test]
fn no_patch_with_a_flipped_bit_or_a_missing_byte_gives_an_image() {
    let (old, new) = (firmware(50, 0), firmware(60, 1));
    let patch = make(&old, &new, SMALL).unwrap();
    for bit in 0..8 * patch.len() {
        let mut flipped = patch.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(apply(&old, &flipped).is_err(), "bit {bit}");
    }
    for len in 0..patch.len() {
        assert!(apply(&old, &patch[..len]).is_err(), "{len} bytes");
    }
}

#[test]
fn images_that_are_none_are_refused() {
    assert_eq!(make(&[1], &[], SMALL), Err(DiffError::Size { old: 1, new: 0 }));
    assert_eq!(make(&[1], &[2], 1000), Err(DiffError::Memory(1000)));
}

/// What detools 0.53.0 makes of these images: with heatshrink and a window of 4 KiB, and
/// with lzma.
#[test]
fn a_release_of_another_project_costs_less_than_others_need() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/esp32-evse");
    let read = |version: &str| fs::read(data.join(format!("esp32-v{version}.ota.bin")));
    let (Ok(old), Ok(new)) = (read("2.1.0"), read("2.1.1")) else {
        eprintln!("not run: {} is not there", data.display());
        return;
    };
    for (memory, most) in [(SMALL, 70_632 * 9 / 10), (LARGE, 57_542)] {
        let patch = make(&old, &new, memory).unwrap();
        assert!(patch.len() <= most, "{} bytes, at most {most}", patch.len());
    }
}

/// What is done to an image.
#[derive(Clone, Debug)]
enum Edit {
    Change(Index, Vec<u8>),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Move(Index, Index, usize),
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let bytes = || vec(any::<u8>(), 1..40);
    let edit = prop_oneof![
        (any::<Index>(), bytes()).prop_map(|(at, bytes)| Edit::Change(at, bytes)),
        (any::<Index>(), bytes()).prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        (any::<Index>(), 1..300_usize).prop_map(|(at, len)| Edit::Remove(at, len)),
        (any::<Index>(), any::<Index>(), 1..300_usize)
            .prop_map(|(from, to, len)| Edit::Move(from, to, len)),
    ];
    vec(edit, 0..20)
}

fn edited(mut image: Vec<u8>, edits: Vec<Edit>) -> Vec<u8> {
    for edit in edits {
        image.push(0);
        let place = |index: Index, image: &[u8]| index.index(image.len());
        match edit {
            Edit::Change(at, bytes) => {
                let at = place(at, &image);
                image.iter_mut().skip(at).zip(bytes).for_each(|(old, new)| *old = new);
            }
            Edit::Insert(at, bytes) => {
                let at = place(at, &image);
                image.splice(at..at, bytes);
            }
            Edit::Remove(at, len) => {
                let at = place(at, &image);
                image.drain(at..image.len().min(at + len));
            }
            Edit::Move(from, to, len) => {
                let from = place(from, &image);
                let moved: Vec<_> = image.drain(from..image.len().min(from + len)).collect();
                image.push(0);
                let to = place(to, &image);
                image.splice(to..to, moved);
            }
        }
    }
    image.push(0);
    image
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_come_out_as_they_were(
        old in vec(0..4_u8, 0..3000),
        new in vec(0..4_u8, 1..3000),
        memory in prop_oneof![Just(SMALL), Just(LARGE)],
    ) {
        let patch = make(&old, &new, memory).unwrap();
        prop_assert_eq!(apply(&old, &patch).unwrap(), new);
    }

    #[test]
    fn firmware_comes_out_however_it_was_changed(
        edits in edits(),
        padding in 0..4_u32,
        memory in prop_oneof![Just(SMALL), Just(LARGE)],
    ) {
        let old = firmware(100, 0);
        let new = edited(firmware(101, padding), edits);
        let patch = make(&old, &new, memory).unwrap();
        prop_assert_eq!(apply(&old, &patch).unwrap(), new);
    }
}
