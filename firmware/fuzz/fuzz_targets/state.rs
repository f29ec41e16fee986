//! What a device remembers of a signed channel: whatever flash holds, an update
//! is installed, or refused for what was remembered.
#![no_main]

use embassy_futures::block_on;
use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};
use std::sync::LazyLock;
use towline::{
    Buffers, Identity, LastPoll, Limits, Ota, Outcome, Reason, Trust, TrustError, UpdateError,
    Updater,
    descriptor::root::MAX_ROOT,
    ed25519,
    otadata::{Record, State},
    schedule::Jitter,
};
use towline_fuzz::{Input, image};
use towline_sim::{
    Counted, Kind, Memory, Origin, SECTOR, boot,
    sample::Table,
    signing::{NamedRole, Signer, root_payload, signed_descriptor, signed_root},
};

const TABLE: Table = Table { slots: 2, slot_size: 0x10000, factory: false };
const NEW: &str = "1.1.0";
/// Bytes of a record before its root.
const FRONT: usize = 160;

struct World {
    old: Vec<u8>,
    new: Vec<u8>,
    roots: [String; 2],
    origin: Origin,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let (old, new) = (image("1.0.0", 600), image(NEW, 900));
    let [root, key] = [1, 11].map(Signer::new);
    let roots = [1, 2].map(|version| {
        let roles: [NamedRole<'_>; 2] = [("root", 1, &[&root]), ("stable", 1, &[&key])];
        root_payload("lamp", version, &roles)
    });
    let sha256: [u8; 32] = Sha256::digest(&new).into();
    let payload = format!(
        r#"{{"version":"{NEW}","path":"https://example.org/new.bin","fmt":1,"project":"lamp",
        "target":"desk","channel":"stable","chip_id":5,"size":{},"sha256":"{}",
        "seq":5,"expires":2000000000}}"#,
        new.len(),
        sha256.map(|byte| format!("{byte:02x}")).concat()
    );
    let mut origin = Origin::default();
    let document = signed_descriptor(NEW, "https://example.org/new.bin", &payload, &[&key]);
    origin.serve("/desk.json", document);
    origin.serve("/new.bin", new.clone());
    origin.serve("/root/2.json", signed_root(&roots[1], &[&root]));
    World { old, new, roots, origin }
});

fuzz_target!(|data: &[u8]| {
    let World { old, new, roots, origin } = &*WORLD;
    let mut input = Input::new(data);
    let flags = input.byte();
    let mut flash = Memory::new(TABLE.flash_size());
    flash.burn(0x8000, &TABLE.to_bytes());
    flash.burn(TABLE.offset(0), old);
    flash.burn(Table::OTADATA, &Record::new(1, State::Valid).to_bytes());
    let mut is_sealed = false;
    for sector in 0..2_u32 {
        let flags = flags >> (sector * 3);
        let len = usize::from(input.byte()) * 4;
        let mut record = input.take(len).to_vec();
        if flags & 1 != 0 {
            // A record as the client writes it, with the sum it should have.
            record.resize(FRONT, 0xFF);
            record[..4].copy_from_slice(b"TWT1");
            record[10] %= 5;
            let root = if flags & 2 == 0 {
                &[][..]
            } else {
                roots[usize::from(flags & 4 != 0)].as_bytes()
            };
            record[8..10].copy_from_slice(&(root.len() as u16).to_le_bytes());
            record.extend(root);
            record.resize(FRONT + root.len().next_multiple_of(32), 0xFF);
            record.extend(Sha256::digest(&record).to_vec());
            is_sealed = true;
        }
        flash.burn(Table::TRUSTED + sector * SECTOR, &record);
    }
    let before = flash.clone();
    let mut net = origin.clone();
    let mut poll = |flash: &mut Memory| {
        let updater = Updater {
            ota: &mut Ota::open(flash, TABLE.offset(0)).expect("what runs finds itself"),
            net: &mut net,
            clock: &Counted::default(),
            device: Identity {
                target: Some("desk"),
                channel: Some("stable"),
                ..Identity::default()
            },
            trust: Some(Trust {
                root: roots[0].as_bytes(),
                roots: "https://example.org/root/",
                verify: ed25519,
            }),
            by_user: false,
            limits: Limits::DEFAULT,
            jitter: &mut Jitter::new(1),
            last: &mut LastPoll::default(),
            buffers: &mut Buffers::new(),
        };
        block_on({ updater }.update("https://example.org/desk.json", |_| {}))
    };
    match poll(&mut flash) {
        Ok(Outcome::Installed { .. }) => {
            let slot = &flash.bytes()[TABLE.offset(1) as usize..];
            assert!(slot[..new.len()] == new[..], "the slot does not hold the image");
            let booted = boot(&mut flash.clone(), Kind::Stock).expect("it booted before");
            assert_eq!(booted.head.app.version.as_str(), NEW);
            // And it was remembered.
            let (state, len) = remembered(&mut flash);
            let newest = state.newest(towline::trust::NameHash::of("stable"));
            assert_eq!(newest.map(|newest| newest.seq), Some(5));
            assert_eq!(len, roots[1].len());
        }
        Ok(Outcome::Stay(Reason::RolledBack)) => assert!(is_sealed),
        Err(UpdateError::Trust(TrustError::Replayed)) => assert!(is_sealed),
        outcome => panic!("{outcome:?}"),
    }
    // Nothing else was touched.
    let trusted = Table::TRUSTED as usize;
    assert!(before.bytes()[..trusted] == flash.bytes()[..trusted]);
});

fn remembered(flash: &mut Memory) -> (towline::trust::State, usize) {
    let region = towline::Region { offset: Table::TRUSTED, size: 2 * SECTOR };
    let mut root = [0; MAX_ROOT];
    towline::trust::State::read(flash, region, &mut root).expect("the power is on")
}
