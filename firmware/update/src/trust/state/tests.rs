use super::*;
use embedded_storage::nor_flash::{ErrorType, NorFlashErrorKind, ReadNorFlash};
use proptest::prelude::*;
use std::{vec, vec::Vec};

const REGION: Region = Region { offset: SECTOR, size: 2 * SECTOR };

/// Flash that is programmed in units of `WRITE` bytes, and encrypted if it
/// reads as noise where it is erased.
#[derive(Clone)]
struct Flash<const WRITE: usize> {
    bytes: Vec<u8>,
    erased: u8,
    /// A byte that does not take what is written to it.
    worn: Option<usize>,
}

impl<const WRITE: usize> Flash<WRITE> {
    fn new(erased: u8) -> Self {
        Self { bytes: vec![erased; 4 * SECTOR as usize], erased, worn: None }
    }
}

impl<const WRITE: usize> ErrorType for Flash<WRITE> {
    type Error = NorFlashErrorKind;
}

impl<const WRITE: usize> ReadNorFlash for Flash<WRITE> {
    const READ_SIZE: usize = 4;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        bytes.copy_from_slice(&self.bytes[offset as usize..][..bytes.len()]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl<const WRITE: usize> NorFlash for Flash<WRITE> {
    const WRITE_SIZE: usize = WRITE;
    const ERASE_SIZE: usize = SECTOR as usize;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        assert!(from.is_multiple_of(SECTOR) && to.is_multiple_of(SECTOR));
        assert!(from >= REGION.offset && to <= REGION.offset + REGION.size);
        self.bytes[from as usize..to as usize].fill(self.erased);
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        assert!((offset as usize).is_multiple_of(WRITE) && bytes.len().is_multiple_of(WRITE));
        let place = &mut self.bytes[offset as usize..][..bytes.len()];
        assert!(place.iter().all(|byte| *byte == self.erased), "not erased");
        place.copy_from_slice(bytes);
        let range = offset as usize..offset as usize + bytes.len();
        if let Some(worn) = self.worn.filter(|worn| range.contains(worn)) {
            self.bytes[worn] ^= 1;
        }
        Ok(())
    }
}

fn newest(channel: &str, seq: u64) -> Newest {
    Newest { channel: NameHash::of(channel), key: KeyId([7; 8]), seq }
}

fn state(seq: u64) -> State {
    let mut state = State::new();
    state.followed = Some(NameHash::of("stable"));
    state.failed = Some(Failed { release: Sha256([3; 32]), running: NameHash::of("1.0.0") });
    state.note(newest("testing", 5));
    state.note(newest("stable", seq));
    state
}

fn read<const W: usize>(flash: &mut Flash<W>) -> (State, Vec<u8>) {
    let mut root = [0; MAX_ROOT];
    let (state, len) = State::read(flash, REGION, &mut root).unwrap();
    (state, root[..len].to_vec())
}

fn write<const W: usize>(flash: &mut Flash<W>, state: &mut State, root: &[u8]) {
    let mut buffer = [0; MAX_ROOT];
    buffer[..root.len()].copy_from_slice(root);
    state.write(flash, REGION, &mut buffer, root.len()).unwrap();
}

#[test]
fn what_was_written_is_read_whatever_flash_is_programmed_in() {
    fn round<const W: usize>(erased: u8) {
        let mut flash = Flash::<W>::new(erased);
        assert_eq!(read(&mut flash), (State::new(), Vec::new()));
        let mut state = state(1);
        for (seq, len) in (1..).zip([0, 1, 31, 32, 33, 500, MAX_ROOT]) {
            state.note(newest("stable", seq));
            let root: Vec<u8> = (0..len).map(|at| at as u8).collect();
            write(&mut flash, &mut state, &root);
            assert_eq!(read(&mut flash), (state.clone(), root));
        }
    }
    for erased in [0xFF, 0xA7] {
        round::<1>(erased);
        round::<4>(erased);
        round::<32>(erased);
    }
}

#[test]
fn records_take_turns() {
    let mut flash = Flash::<4>::new(0xFF);
    let mut state = state(1);
    for generation in 1..6 {
        let before = flash.clone();
        write(&mut flash, &mut state, b"root");
        let changed = |sector: u32| {
            let start = (REGION.offset + sector * SECTOR) as usize;
            let range = start..start + SECTOR as usize;
            before.bytes[range.clone()] != flash.bytes[range]
        };
        assert_eq!([changed(0), changed(1)], [generation % 2 == 0, generation % 2 == 1]);
    }
}

#[test]
fn a_torn_record_falls_back_to_the_other() {
    let mut flash = Flash::<4>::new(0xFF);
    let (mut first, root) = (state(1), b"the first root".as_slice());
    write(&mut flash, &mut first, root);
    let mut second = first.clone();
    second.note(newest("stable", 2));
    let mut whole = flash.clone();
    write(&mut whole, &mut second, b"the second root, a longer one of more than 32 bytes");
    let start = REGION.offset as usize;
    let len = FRONT + 64 + SUM;
    for cut in 0..len {
        let mut torn = flash.clone();
        torn.bytes[start..start + SECTOR as usize].fill(0xFF);
        torn.bytes[start..][..cut].copy_from_slice(&whole.bytes[start..][..cut]);
        let expected = if torn.bytes == whole.bytes { &second } else { &first };
        assert_eq!(&read(&mut torn).0, expected, "{cut}");
        // And it is the torn one that is written next.
        let mut third = read(&mut torn).0;
        third.note(newest("stable", 3));
        write(&mut torn, &mut third, b"root");
        assert_eq!(read(&mut torn), (third, b"root".to_vec()));
    }
    assert_eq!(read(&mut whole).0, second);
    // Bit rot in either is found.
    for at in (start..start + len).step_by(7) {
        let mut rotten = whole.clone();
        rotten.bytes[at] ^= 4;
        assert_eq!(read(&mut rotten).0, first, "{at}");
    }
}

#[test]
fn a_record_that_flash_does_not_hold_is_an_error_and_decides_nothing() {
    let mut flash = Flash::<4>::new(0xFF);
    let (mut first, root) = (state(1), [7; 500]);
    write(&mut flash, &mut first, &root);
    for at in [0, FRONT - 1, FRONT, FRONT + 499, FRONT + 512, FRONT + 512 + SUM - 1] {
        let mut flash = flash.clone();
        flash.worn = Some(REGION.offset as usize + at);
        let mut second = first.clone();
        second.note(newest("stable", 2));
        let (before, mut buffer) = (second.clone(), [7; MAX_ROOT]);
        let result = second.write(&mut flash, REGION, &mut buffer, root.len());
        assert_eq!(result, Err(OtaError::ReadBack), "{at}");
        assert_eq!(second, before);
        assert_eq!(read(&mut flash), (first.clone(), root.to_vec()));
    }
}

#[test]
fn four_channels_are_remembered_and_the_oldest_makes_room() {
    let mut state = State::new();
    for (seq, channel) in (1..).zip(["a", "b", "c", "d", "a", "e"]) {
        state.note(newest(channel, seq));
    }
    let known = ["a", "b", "c", "d", "e"].map(|name| state.newest(NameHash::of(name)).is_some());
    assert_eq!(known, [true, false, true, true, true]);
    // What is known already changes nothing.
    let before = state.clone();
    for known in before.channels.clone() {
        state.note(known);
        assert_eq!(state, before);
    }
}

/// Records of format 1 stay readable forever.
#[test]
fn frozen_format_1_is_read() {
    let mut flash = Flash::<4>::new(0xFF);
    let frozen = include_bytes!("../../../tests/frozen/trusted-1.bin");
    let start = (REGION.offset + SECTOR) as usize;
    flash.bytes[start..][..frozen.len()].copy_from_slice(frozen);
    let mut expected = state(1_800_000_000);
    expected.generation = 1;
    assert_eq!(read(&mut flash), (expected, b"{\"fmt\":1}".to_vec()));
}

proptest! {
    #[test]
    fn any_bytes_never_panic_and_are_no_state(
        mut bytes in proptest::collection::vec(any::<u8>(), 2 * SECTOR as usize),
        magic in any::<bool>(),
    ) {
        let mut flash = Flash::<4>::new(0xFF);
        if magic {
            bytes[..4].copy_from_slice(&MAGIC);
            bytes[9] = 0;
            bytes[10] %= 5;
        }
        flash.bytes[REGION.offset as usize..][..bytes.len()].copy_from_slice(&bytes);
        prop_assert_eq!(read(&mut flash).0, State::new());
    }
}
