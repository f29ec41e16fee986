//! Patches that lie. What an applier reads and writes is checked by the images in
//! memory, which panic outside of them, and by [`Device`], which counts what is put.

mod maker;

use maker::{Device, Memory, SMALL, file, image, limits, pack, packed, tokens};
use proptest::prelude::*;
use towline_patch::{
    Applier, Error, Header, Image, Images, Limits, MAX_PUT, Progress, Refused, Start, Token,
};

const OLD: &[u8] = b"an image that runs, and is not very long";
const NEW: &[u8] = b"an image that is to run, and is a little longer";

fn sound() -> Vec<u8> {
    pack(SMALL, OLD, NEW, &tokens(OLD, NEW, 30))
}

/// Images that nobody may touch.
struct Untouched;

impl Images for Untouched {
    type Error = ();

    fn old(&mut self, _: u32, _: &mut [u8]) -> Result<(), ()> {
        panic!("the old image was read");
    }

    fn back(&mut self, _: u32, _: &mut [u8]) -> Result<(), ()> {
        panic!("the new image was read");
    }

    fn put(&mut self, _: &[u8]) -> Result<(), ()> {
        panic!("the new image was written");
    }
}

#[test]
fn a_patch_that_is_not_for_this_device_touches_nothing() {
    let patch = sound();
    let header = Header::parse(patch.first_chunk().unwrap()).unwrap();
    let sound = limits(OLD, NEW, &patch);
    let other = image(b"another");
    let memory = header.params.memory();
    for (limits, why) in [
        (Limits { old: Image { size: sound.old.size, ..other }, ..sound }, Refused::Base),
        (Limits { old: Image { size: 7, ..sound.old }, ..sound }, Refused::Base),
        (Limits { old: Image::EMPTY, ..sound }, Refused::Base),
        (Limits { new: Image { size: sound.new.size, ..other }, ..sound }, Refused::Image),
        (Limits { new: Image { size: 7, ..sound.new }, ..sound }, Refused::Image),
        (Limits { size: sound.size + 1, ..sound }, Refused::Size),
        (Limits { slot: sound.new.size - 1, ..sound }, Refused::Slot),
        (Limits { memory: memory - 1, ..sound }, Refused::Memory),
    ] {
        let mut work = vec![0; memory as usize / 2];
        let result = Applier::begin(&header, &limits, &mut work, &mut Untouched);
        assert_eq!(result.err(), Some(Error::Refused(why)));
    }
    let mut work = vec![0; memory as usize / 2 - 1];
    let result = Applier::begin(&header, &sound, &mut work, &mut Untouched);
    assert_eq!(result.err(), Some(Error::Refused(Refused::Memory)));
}

#[test]
fn a_block_can_start_only_within_the_patch_and_the_new_image() {
    let patch = sound();
    let size = patch.len() as u32;
    for (offset, at) in [(0, 0), (47, 0), (size, 0), (u32::MAX, 0), (48, NEW.len() as u32)] {
        let result = Device::new(OLD, NEW, &patch).apply(&patch, Start { offset, at }, 1, 48);
        assert_eq!(result, Err(Error::Damaged), "{offset}, {at}");
    }
}

/// Applies blocks that say how many bytes they make.
fn blocks(new: &[u8], blocks: &[(u32, Vec<u8>)]) -> (Result<Progress, Error<()>>, Vec<u8>) {
    let patch = file(SMALL, OLD, new, blocks);
    let mut device = Device::new(OLD, new, &patch);
    let result = device.run(&patch).map_err(|_| Error::Damaged);
    (result, device.images.new)
}

#[test]
fn a_block_that_claims_what_cannot_be_puts_nothing() {
    let (sound, _) = packed(SMALL, OLD, NEW, &tokens(OLD, NEW, usize::MAX));
    let sound = &sound[0];
    let size = NEW.len() as u32;
    let mut first = sound.clone();
    first[0] = 1;
    for (claim, packed) in [
        (0, sound.clone()),
        (size + 1, sound.clone()),
        (u32::MAX, sound.clone()),
        (size, first),
        (size, vec![0; 4]),
        (size, vec![]),
    ] {
        let next = (1, sound.clone());
        assert_eq!(blocks(NEW, &[(claim, packed), next]), (Err(Error::Damaged), vec![]));
    }
    // The block is said to be longer than the patch.
    let mut patch = file(SMALL, OLD, NEW, &[(size, sound.clone())]);
    patch[Header::LEN + 4] += 1;
    let mut device = Device::new(OLD, NEW, &patch);
    assert_eq!(device.run(&patch), Err(Error::Damaged));
    assert!(device.images.new.is_empty());
}

#[test]
fn a_block_ends_neither_before_nor_behind_what_it_says() {
    let (sound, _) = packed(SMALL, OLD, NEW, &tokens(OLD, NEW, usize::MAX));
    let size = NEW.len() as u32;
    for cut in 5..sound[0].len() {
        assert_eq!(
            blocks(NEW, &[(size, sound[0][..cut].to_vec())]).0,
            Err(Error::Damaged),
            "{cut}"
        );
    }
    for more in [1, 100, 1000] {
        let longer = [&sound[0][..], &vec![0; more]].concat();
        assert_eq!(blocks(NEW, &[(size, longer)]).0, Err(Error::Damaged), "{more}");
    }
    // Fewer bytes than the block makes, and a second block of what is left.
    for less in 1..size {
        let result = blocks(NEW, &[(size - less, sound[0].clone()), (less, sound[0].clone())]);
        assert_eq!(result.0, Err(Error::Damaged), "{less}");
    }
}

#[test]
fn bytes_that_are_no_block_are_an_error_at_once() {
    let (sound, _) = packed(SMALL, OLD, NEW, &tokens(OLD, NEW, usize::MAX));
    let whole = (NEW.len() as u32, sound[0].clone());
    assert_eq!(blocks(NEW, &[whole.clone(), whole.clone()]).0, Err(Error::Damaged));
    assert_eq!(blocks(&[NEW, b"more"].concat(), &[whole]).0, Err(Error::Damaged));
}

#[test]
fn a_token_that_leads_out_of_an_image_is_an_error() {
    let size = NEW.len() as u32;
    let astray = [
        Token::Match { distance: 2, len: 2 },
        Token::Match { distance: u32::MAX, len: 2 },
        Token::Match { distance: 1, len: size },
        Token::Match { distance: 1, len: u32::MAX },
        Token::Copy { from: OLD.len() as u32, len: 1 },
        Token::Copy { from: OLD.len() as u32 - 1, len: 2 },
        Token::Copy { from: u32::MAX, len: 1 },
        Token::Copy { from: 0, len: size },
        Token::Copy { from: 0, len: u32::MAX },
    ];
    for token in astray {
        let (packed, _) = packed(SMALL, OLD, NEW, &[vec![Token::Literal, token]]);
        let (result, put) = blocks(NEW, &[(size, packed[0].clone())]);
        assert_eq!((result, &put[..]), (Err(Error::Damaged), &NEW[..1]), "{token:?}");
    }
}

#[test]
fn a_token_does_not_lead_out_of_its_block() {
    let tokens = vec![Token::Literal, Token::Copy { from: 0, len: 20 }];
    let (packed, made) = packed(SMALL, OLD, NEW, &[tokens]);
    assert_eq!(made, [21]);
    let (result, put) = blocks(NEW, &[(20, packed[0].clone()), (27, vec![0; 9])]);
    assert_eq!((result, &put[..]), (Err(Error::Damaged), &NEW[..1]));
}

#[test]
fn a_bomb_is_done_by_pieces_and_not_beyond_its_size() {
    let new = vec![0; 1 << 20];
    let tokens = vec![Token::Literal, Token::Match { distance: 1, len: (1 << 20) - 1 }];
    let patch = pack(SMALL, &[], &new, &[tokens]);
    assert!(patch.len() < 80, "{} bytes", patch.len());
    let mut device = Device::new(&[], &new, &patch);
    assert_eq!(device.run(&patch), Ok(Progress::Done));
    assert_eq!(device.images.new.len(), 1 << 20);
}

#[test]
fn an_applier_that_failed_fails_again() {
    let patch = sound();
    let header = Header::parse(patch.first_chunk().unwrap()).unwrap();
    let (mut work, mut images) = (vec![0; 9999], Memory { old: OLD, ..Memory::default() });
    let mut applier =
        Applier::begin(&header, &limits(OLD, NEW, &patch), &mut work, &mut images).unwrap();
    assert_eq!(applier.push(&mut &[0xFF; 20][..], &mut images), Err(Error::Damaged));
    assert_eq!(applier.push(&mut &patch[48..], &mut images), Err(Error::Damaged));
}

#[test]
fn flash_that_fails_is_told() {
    struct Worn;
    impl Images for Worn {
        type Error = u8;

        fn old(&mut self, _: u32, _: &mut [u8]) -> Result<(), u8> {
            Err(1)
        }

        fn back(&mut self, _: u32, _: &mut [u8]) -> Result<(), u8> {
            Err(2)
        }

        fn put(&mut self, _: &[u8]) -> Result<(), u8> {
            Err(3)
        }
    }
    let patch = sound();
    let header = Header::parse(patch.first_chunk().unwrap()).unwrap();
    let mut work = vec![0; 9999];
    let result = Applier::begin(&header, &limits(OLD, NEW, &patch), &mut work, &mut Worn);
    assert_eq!(result.err(), Some(Error::Images(1)));
}

proptest! {
    #[test]
    fn whatever_is_packed_ends_within_its_bounds(
        old in prop::collection::vec(any::<u8>(), 1..300),
        claims in prop::collection::vec(1..5000_u32, 1..4),
        mut packed in prop::collection::vec(any::<u8>(), 5..3000),
    ) {
        packed[0] = 0;
        let new = vec![0; claims.iter().sum::<u32>() as usize];
        let blocks: Vec<_> = claims.iter().map(|claim| (*claim, packed.clone())).collect();
        let patch = file(SMALL, &old, &new, &blocks);
        let mut device = Device::new(&old, &new, &patch);
        // The chance that such bytes end in order is that of the hash of the image.
        prop_assert_eq!(device.run(&patch), Err(Error::Damaged));
        prop_assert!(device.images.new.len() <= new.len());
    }

    #[test]
    fn a_patch_with_flipped_bits_ends_within_its_bounds(
        old in prop::collection::vec(any::<u8>(), 1..500),
        new in prop::collection::vec(any::<u8>(), 1..MAX_PUT as usize),
        flips in prop::collection::vec(any::<prop::sample::Index>(), 1..5),
    ) {
        let mut patch = pack(SMALL, &old, &new, &tokens(&old, &new, 1000));
        for flip in flips {
            let bit = 8 * Header::LEN + flip.index(8 * (patch.len() - Header::LEN));
            patch[bit / 8] ^= 1 << (bit % 8);
        }
        let mut device = Device::new(&old, &new, &patch);
        let result = device.run(&patch);
        prop_assert!(matches!(result, Err(Error::Damaged) | Ok(Progress::Done)), "{result:?}");
    }
}
