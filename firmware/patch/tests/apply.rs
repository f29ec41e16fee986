//! What was packed comes back, whatever the pieces in which it arrives, and also after
//! a cut.

mod maker;

use maker::{Device, SMALL, pack, tokens};
use proptest::prelude::*;
use towline_patch::{Isa, Params, Progress, Start};

fn params() -> impl Strategy<Value = Params> {
    let isa = prop_oneof![Just(Isa::None), Just(Isa::Xtensa), Just(Isa::RiscV)];
    let table = || prop_oneof![Just(0), 4..=12_u8];
    let order = prop_oneof![Just(0), 8..=12_u8];
    let changes = prop_oneof![Just(1), Just(2), Just(3), Just(6)];
    (isa, table(), table(), 8..=16_u8, 0..=2_u8, order, changes).prop_map(
        |(isa, exact, page, grain, literals, order, changes)| Params {
            isa,
            exact,
            page,
            grain,
            literals,
            order,
            changes,
        },
    )
}

fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 1..most)
}

/// An image of two segments, of which the second is loaded as code.
fn image() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        any::<u32>(),
        0x4201_0000..0x4201_1000_u32,
        any::<u32>().prop_map(|word| word & !0x7F | 0x6F),
        any::<u32>().prop_map(|word| word & !0x7F | 0x17),
        any::<u32>().prop_map(|word| word & !0x7F | 0x67),
        any::<u32>().prop_map(|word| word & !0xF | 5),
    ];
    let words = || prop::collection::vec(word.clone(), 1..200);
    (words(), words()).prop_map(|(data, code)| {
        let mut image = vec![0; 24];
        (image[0], image[1]) = (0xE9, 2);
        for (load, words) in [(0x3C00_0020_u32, data), (0x4201_0000, code)] {
            image.extend(load.to_le_bytes());
            image.extend((4 * words.len() as u32).to_le_bytes());
            image.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        }
        image
    })
}

/// An image and what became of it: bytes changed, moved, inserted and removed.
fn pair() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let old = prop_oneof![bytes(2000), image()];
    let edits = prop::collection::vec((any::<prop::sample::Index>(), 0..4_u8, any::<u8>()), 0..30);
    (old, edits).prop_map(|(old, edits)| {
        let mut new = old.clone();
        for (at, edit, value) in edits {
            let at = at.index(new.len());
            match edit {
                0 => new[at] = value,
                1 => new.insert(at, value),
                2 if new.len() > 1 => drop(new.remove(at)),
                _ => new.rotate_left(at & !3),
            }
        }
        (old, new)
    })
}

proptest! {
    #[test]
    fn any_image_comes_back_from_any_other(
        params in params(),
        old in prop_oneof![Just(Vec::new()), bytes(2000), image()],
        new in prop_oneof![bytes(2000), image()],
        block in 1..3000_usize,
        piece in 1..300_usize,
    ) {
        let patch = pack(params, &old, &new, &tokens(&old, &new, block));
        let mut device = Device::new(&old, &new, &patch);
        let (_, progress) = device.apply(&patch, Start::FIRST, piece, patch.len()).unwrap();
        prop_assert_eq!(progress, Progress::Done);
        prop_assert_eq!(device.images.new, new);
    }

    #[test]
    fn an_edited_image_comes_back_although_every_byte_may_be_the_last_before_a_cut(
        params in params(),
        (old, new) in pair(),
        block in 50..1000_usize,
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
    ) {
        let patch = pack(params, &old, &new, &tokens(&old, &new, block));
        let mut device = Device::new(&old, &new, &patch);
        let mut start = Start::FIRST;
        for cut in cuts {
            let cut = cut.index(patch.len()).max(start.offset as usize);
            let progress;
            (start, progress) = device.apply(&patch, start, 100, cut).unwrap();
            prop_assert_eq!(progress, Progress::Hungry);
            // Flash holds more, which is put once more.
            device.images.new.truncate(start.at as usize);
        }
        let (_, progress) = device.apply(&patch, start, 100, patch.len()).unwrap();
        prop_assert_eq!(progress, Progress::Done);
        prop_assert_eq!(device.images.new, new);
    }
}

#[test]
fn a_run_of_one_byte_comes_back() {
    let new = vec![0xFF; 100_000];
    let patch = pack(SMALL, &[], &new, &tokens(&[], &new, usize::MAX));
    assert!(patch.len() < 100, "{} bytes", patch.len());
    let mut device = Device::new(&[], &new, &patch);
    assert_eq!(device.run(&patch), Ok(Progress::Done));
    assert_eq!(device.images.new, new);
}

#[test]
fn input_behind_a_patch_is_left() {
    let patch = pack(SMALL, b"old image", b"new image", &tokens(b"old image", b"new image", 99));
    let mut device = Device::new(b"old image", b"new image", &patch);
    let mut longer = patch.clone();
    longer.extend([1; 9]);
    assert_eq!(device.run(&longer), Ok(Progress::Done));
    assert_eq!(device.images.new, b"new image");
}
