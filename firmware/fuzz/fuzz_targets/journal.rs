//! The journal of a download, of an image or of a patch: whatever it says and the
//! slot holds, the download ends with the image that is offered.
#![no_main]

use embassy_futures::block_on;
use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};
use std::sync::LazyLock;
use towline::{
    Buffers, Identity, LastPoll, Limits, Ota, Outcome, Updater,
    descriptor::Chip,
    otadata::{Record, State},
    schedule::Jitter,
};
use towline_fuzz::Input;
use towline_sim::{
    Counted, Kind, Memory, Origin, SECTOR, boot,
    patch::patch,
    sample::{Table, program_image},
};

const TABLE: Table = Table { slots: 2, slot_size: 0x20000, factory: false };
const NEW: &str = "1.1.0";

struct World {
    old: Vec<u8>,
    new: Vec<u8>,
    sha256: [u8; 32],
    origin: Origin,
    patch: Vec<u8>,
    /// The same host, which offers the patch too.
    patching: Origin,
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    // More than two steps of the journal.
    let image = |version, len| program_image(Chip::Esp32c3, "lamp", version, len);
    let (old, new) = (image("1.0.0", 40_000), image(NEW, 70_000));
    let patch = patch(&old, &new, 15_000);
    let offer = format!(
        r#""version":"{NEW}","path":"https://example.org/new.bin","fmt":1,"project":"lamp",
        "target":"desk","channel":"stable","chip":"esp32c3","size":{},"sha256":"{}""#,
        new.len(),
        hex(&new)
    );
    let patches = format!(
        r#","patches":[{{"from_sha256":"{}","alg":"twp1-small",
        "path":"https://example.org/old.twp","size":{},"sha256":"{}"}}]"#,
        hex(&old),
        patch.len(),
        hex(&patch)
    );
    let mut origin = Origin::default();
    origin.serve("/new.bin", new.clone());
    origin.serve("/old.twp", patch.clone());
    let mut patching = origin.clone();
    origin.serve("/desk.json", format!("{{{offer}}}").into());
    patching.serve("/desk.json", format!("{{{offer}{patches}}}").into());
    let sha256 = Sha256::digest(&new).into();
    World { old, new, sha256, origin, patch, patching }
});

fuzz_target!(|data: &[u8]| {
    let World { old, new, sha256, origin, patch, patching } = &*WORLD;
    let mut input = Input::new(data);
    let flags = input.byte();
    let loss = usize::from(input.byte()) * 512;
    let held = usize::from(input.byte()) * 512;
    let flip = usize::from(u16::from_le_bytes(input.array())) * 2;

    let mut flash = Memory::new(TABLE.flash_size());
    flash.burn(0x8000, &TABLE.to_bytes());
    flash.burn(TABLE.offset(0), old);
    flash.burn(Table::OTADATA, &Record::new(1, State::Valid).to_bytes());
    // The slot holds a part of the image, perhaps not quite.
    let mut content = new[..held.min(new.len())].to_vec();
    if let Some(byte) = content.get_mut(flip)
        && flip > 0
    {
        *byte ^= flags | 0x80;
    }
    flash.burn(TABLE.offset(1), &content);
    // The other sector of otadata: a record, unused bytes, the journal.
    let mut sector = vec![0xFF; 64];
    if flags & 1 != 0 {
        // A journal as the client writes it, of the image or of another.
        let size = new.len() as u32 ^ if flags & 2 == 0 { 0 } else { input.word() };
        sector.extend(b"TWJ2");
        sector.extend(size.to_le_bytes());
        sector.push(if flags & 4 == 0 { 1 } else { input.byte() });
        sector.resize(64 + 16, 0xFF);
        let etag = if flags & 8 == 0 { [0; 8] } else { input.array() };
        sector.extend(etag);
        sector.extend(sha256);
        // The image as it is, the patch, or another one.
        if flags & 32 == 0 {
            sector.extend([0; 8]);
        } else {
            let header = if flags & 64 == 0 { &patch[..48] } else { input.take(48) };
            sector.extend(&Sha256::digest(patch)[..8]);
            sector.extend(header);
        }
        sector.resize(64 + 120, 0);
        let sum = Sha256::digest(&sector[64..]);
        sector.extend(&sum[..8]);
        // Marks that name blocks of a patch.
        for _ in 0..input.below(3) {
            let start: [u8; 8] = input.array();
            sector.extend(start);
            sector.extend(&Sha256::digest(start)[..8]);
        }
    } else if flags & 16 != 0 {
        sector.clear();
    }
    sector.extend(input.rest());
    sector.truncate(SECTOR as usize);
    flash.burn(Table::OTADATA + SECTOR, &sector);

    let Ok(booted) = boot(&mut flash, Kind::Stock) else { return };
    let mut ota = Ota::open(&mut flash, booted.offset()).expect("what booted can be opened");
    let mut net = if flags & 128 == 0 { origin } else { patching }.clone();
    net.loses_after = (loss > 0).then_some(loss.max(new.len() / 8));
    let updater = Updater {
        ota: &mut ota,
        net: &mut net,
        clock: &Counted::default(),
        device: Identity { target: Some("desk"), channel: Some("stable"), ..Identity::default() },
        trust: None,
        by_user: false,
        limits: Limits::DEFAULT,
        jitter: &mut Jitter::new(1),
        last: &mut LastPoll::default(),
        buffers: &mut Buffers::new(),
    };
    let outcome = block_on({ updater }.update("https://example.org/desk.json", |_| {}));
    let next = boot(&mut flash.clone(), Kind::Stock).expect("it booted before");
    match outcome {
        Ok(Outcome::Installed { .. }) => {
            let slot = &flash.bytes()[TABLE.offset(1) as usize..];
            assert!(slot[..new.len()] == new[..], "the slot does not hold the image");
            assert_eq!(next.head.app.version.as_str(), NEW);
        }
        // Boot selection, which is a part of the input, may say that this image
        // was rejected, awaits a reset, or that what runs is on trial.
        Ok(Outcome::Stay(_)) => assert!(flags & 17 == 16),
        Err(error) => {
            assert!(flags & 17 == 16, "{error}");
            assert_eq!(next.head.app.version, booted.head.app.version);
        }
    }
});
