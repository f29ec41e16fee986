//! App images: in any pieces they are what they are as a whole.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};
use towline::image::{Head, ImageCheck, check};
use towline_fuzz::Input;

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let pieces = input.array::<4>();
    let image = input.rest();

    let whole = check(image);
    let mut lengths = pieces.iter().cycle();
    let mut in_pieces = ImageCheck::new();
    let mut rest = image;
    let mut fault = None;
    while !rest.is_empty() {
        let len = (usize::from(*lengths.next().expect("a cycle")) + 1).min(rest.len());
        let (piece, behind) = rest.split_at(len);
        fault = fault.or(in_pieces.update(piece).err());
        rest = behind;
    }
    let finished = in_pieces.finish();
    assert_eq!(fault.map_or(finished, Err), whole);
    assert!(fault.is_none() || finished.is_err(), "a faulty image became sound");
    if let Ok(checked) = whole {
        assert_eq!(checked.size as usize, image.len());
        assert_eq!(checked.sha256.0, <[u8; 32]>::from(Sha256::digest(image)));
    }

    let mut slot = ImageCheck::new();
    if let Ok(behind) = slot.update_to_end(image)
        && slot.is_complete()
    {
        let len = image.len() - behind.len();
        assert_eq!(slot.finish(), check(&image[..len]));
    }
    if let Some(head) = image.first_chunk() {
        let _ = Head::parse(head);
    }
});
