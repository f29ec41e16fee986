//! A patch: whatever it says, an applier puts no more than its header allows, reads
//! nothing outside of the images, and comes to an end.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::{convert::Infallible, sync::LazyLock};
use towline_fuzz::Input;
use towline_patch::{
    Applier, Header, Image, Images, Isa, Limits, MAX_PUT, Params, Progress, Start,
};

const SHA256: [u8; 32] = [1; 32];

/// An image of pointers and of instructions that carry addresses.
static OLD: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut image = vec![0; 24];
    (image[0], image[1]) = (0xE9, 2);
    for (load, words) in [(0x3C00_0020_u32, 256_u32), (0x4201_0000, 512)] {
        image.extend(load.to_le_bytes());
        image.extend((4 * words).to_le_bytes());
        for index in 0..words {
            let noise = index.wrapping_mul(0x9E37_79B1);
            let opcodes = [0x6F, 0x17, 0x67, 0x63, 0x23, 0x37, 0x13, 0x05];
            let opcode = opcodes[noise as usize >> 8 & 7];
            let code = noise & !0x7F | opcode;
            let word = if load < 0x4000_0000 { 0x4201_0000 | noise & 0xFFF } else { code };
            image.extend(word.to_le_bytes());
        }
    }
    image
});

/// Images that count what is asked of them.
struct Counted {
    new: Vec<u8>,
    calls: usize,
}

impl Images for Counted {
    type Error = Infallible;

    fn old(&mut self, at: u32, buf: &mut [u8]) -> Result<(), Infallible> {
        self.calls += 1;
        buf.copy_from_slice(&OLD[at as usize..][..buf.len()]);
        Ok(())
    }

    fn back(&mut self, at: u32, buf: &mut [u8]) -> Result<(), Infallible> {
        self.calls += 1;
        buf.copy_from_slice(&self.new[at as usize..][..buf.len()]);
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Infallible> {
        assert!(!bytes.is_empty());
        self.new.extend_from_slice(bytes);
        Ok(())
    }
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let params = Params {
        isa: [Isa::RiscV, Isa::Xtensa, Isa::None][input.below(3)],
        exact: [7, 0, 4, 11][input.below(4)],
        page: [7, 0, 4, 11][input.below(4)],
        grain: 8 + input.below(9) as u8,
        literals: input.below(3) as u8,
        order: [0, 8, 12][input.below(3)],
        changes: [1, 2, 3, 6][input.below(4)],
    };
    let new_size = 1 + u32::from(u16::from_le_bytes(input.array()));
    let piece = 1 + usize::from(input.byte());
    let whole = input.byte() & 1 == 0;
    let mut blocks = Vec::new();
    if whole {
        // One block that makes all of it: the input is what is packed.
        let packed = input.rest();
        blocks.extend(new_size.to_le_bytes());
        blocks.extend((packed.len() as u32 + 1).to_le_bytes());
        blocks.push(0);
    }
    blocks.extend(input.rest());

    let header = Header {
        params,
        old_size: OLD.len() as u32,
        new_size,
        old_sha256: [1; 8],
        new_sha256: [1; 8],
        size: (Header::LEN + blocks.len()) as u32,
    };
    let Ok(header) = Header::parse(&header.to_bytes()) else { return };
    let limits = Limits {
        old: Image { size: header.old_size, sha256: SHA256 },
        new: Image { size: new_size, sha256: SHA256 },
        size: header.size,
        slot: 1 << 16,
        memory: 1 << 16,
    };
    let mut work = vec![0xA5A5; params.memory() as usize / 2];
    let mut images = Counted { new: Vec::new(), calls: 0 };
    let mut applier =
        Applier::begin(&header, &limits, &mut work, &mut images).expect("it is for this device");
    for mut piece in blocks.chunks(piece) {
        loop {
            let before = images.new.len();
            let Ok(progress) = applier.push(&mut piece, &mut images) else { return };
            let put = images.new.len() - before;
            assert!(put <= MAX_PUT as usize && images.new.len() <= new_size as usize);
            // At most one read for what is put, besides the headers of 2 x 16 segments.
            assert!(images.calls <= images.new.len() + 40);
            let Start { offset, at } = applier.start();
            assert!(offset <= header.size && at as usize <= images.new.len());
            match progress {
                Progress::Hungry => break assert!(piece.is_empty()),
                Progress::Busy => assert!(put > 0),
                Progress::Done => {
                    assert_eq!(images.new.len(), new_size as usize);
                    return;
                }
            }
        }
    }
    // All of the input was taken, and it did not end: an applier never waits for more
    // than its header says.
    panic!("hungry at the end of the patch");
});
