//! Boot selection, against a second implementation of ESP-IDF's rules.

use super::{Oracles, cases, hex};
use proptest::{prelude::*, sample::select};
use serde::Deserialize;
use std::array;
use towline::otadata::{Boot, OtaData, Record, State};

/// Pairs of records that are judged.
const PAIRS: usize = 12_000;

/// Most slots of a partition table.
const MAX_SLOTS: usize = 16;

type Pair = [[u8; 32]; 2];

/// What `otadata.py` says of a pair.
#[derive(Deserialize)]
struct Verdict {
    records: [RecordVerdict; 2],
    active: Option<usize>,
    slots: Option<Vec<usize>>,
}

#[derive(Deserialize)]
struct RecordVerdict {
    seq: u32,
    state: u32,
    invalid: bool,
    valid: bool,
    bytes: Option<String>,
}

fn judge(oracles: &Oracles, pairs: &[Pair]) -> Vec<Verdict> {
    let question: Vec<_> = pairs.iter().map(|pair| pair.map(|record| hex(&record))).collect();
    let verdicts: Vec<Verdict> = oracles.ask("otadata.py", &question);
    assert_eq!(verdicts.len(), pairs.len());
    verdicts
}

fn parse(pair: &Pair) -> OtaData {
    OtaData { records: pair.each_ref().map(Record::parse) }
}

/// Whole records: low, extreme and any sequence numbers, all states.
fn whole() -> impl Strategy<Value = [u8; 32]> {
    let extreme = vec![0, 1, 2, 0x7FFF_FFFF, 0x8000_0000, u32::MAX - 2, u32::MAX - 1, u32::MAX];
    let seq = prop_oneof![4 => 1_u32..12, 2 => select(extreme), 1 => any::<u32>()];
    let state = prop_oneof![6 => 0_u32..6, 2 => Just(u32::MAX), 1 => any::<u32>()];
    let label = prop_oneof![3 => Just([0xFF; 20]), 1 => any::<[u8; 20]>()];
    (seq, state, label).prop_map(|(seq, state, label)| {
        let mut bytes = Record::new(seq, State::from_code(state)).to_bytes();
        bytes[4..24].copy_from_slice(&label);
        bytes
    })
}

/// What flash holds: records, and what is left of them when the power fails.
fn any_record() -> impl Strategy<Value = [u8; 32]> {
    let torn_program = (whole(), 0_usize..32).prop_map(|(mut bytes, len)| {
        bytes[len..].fill(0xFF);
        bytes
    });
    let torn_erase = (whole(), any::<[u8; 32]>())
        .prop_map(|(bytes, erased)| array::from_fn(|at| bytes[at] | erased[at]));
    let bad_crc = (whole(), 0_usize..256).prop_map(|(mut bytes, bit)| {
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    });
    prop_oneof![
        2 => Just([0xFF; 32]),
        12 => whole(),
        2 => torn_program,
        2 => torn_erase,
        2 => bad_crc,
        1 => any::<[u8; 32]>(),
    ]
}

fn any_pair() -> impl Strategy<Value = Pair> {
    let tie = (whole(), 0_u32..6).prop_map(|(first, state)| {
        let mut second = first;
        second[24..28].copy_from_slice(&state.to_le_bytes());
        [first, second]
    });
    prop_oneof![9 => (any_record(), any_record()).prop_map(|(a, b)| [a, b]), 1 => tie]
}

#[test]
fn boot_selection_follows_the_rules_of_esp_idf() {
    let Some(oracles) = Oracles::find() else { return };
    let pairs = cases(&any_pair(), PAIRS);
    let (mut deciding, mut ties) = ([0; 3], 0);
    for (pair, verdict) in pairs.iter().zip(judge(&oracles, &pairs)) {
        let shown = pair.map(|record| hex(&record));
        let otadata = parse(pair);
        for (record, expected) in otadata.records.iter().zip(&verdict.records) {
            assert_eq!((record.seq, record.state.code()), (expected.seq, expected.state));
            assert_eq!(record.is_invalid(), expected.invalid, "{shown:?}");
            assert_eq!(record.is_valid(), expected.valid, "{shown:?}");
            if let Some(bytes) = &expected.bytes {
                assert_eq!(&hex(&Record::new(record.seq, record.state).to_bytes()), bytes);
            }
        }
        assert_eq!(otadata.active(), verdict.active, "{shown:?}");
        for slots in 1..=MAX_SLOTS {
            let expected = match (verdict.active, &verdict.slots) {
                (Some(sector), Some(of)) => {
                    Boot::Slot { slot: of[slots - 1], sector, state: otadata.records[sector].state }
                }
                _ => Boot::Default,
            };
            assert_eq!(otadata.boot(slots), expected, "{slots} slots, {shown:?}");
        }
        deciding[verdict.active.map_or(2, |sector| sector)] += 1;
        let [first, second] = &otadata.records;
        ties += usize::from(first.is_valid() && second.is_valid() && first.seq == second.seq);
    }
    // Every kind of outcome was among them, and not by a few cases only.
    assert!(deciding.iter().all(|count| *count > PAIRS / 10), "{deciding:?}");
    assert!(ties > PAIRS / 50, "{ties}");
}

#[test]
fn every_change_selects_its_slot_by_the_rules_of_esp_idf() {
    let Some(oracles) = Oracles::find() else { return };
    let state = select(vec![State::New, State::PendingVerify, State::Valid, State::Undefined]);
    let case = (any_pair(), 1..=MAX_SLOTS, 0..MAX_SLOTS, state)
        .prop_map(|(pair, slots, slot, state)| (pair, slots, slot % slots, state));
    let mut changed = Vec::new();
    let mut used_up = 0;
    for (pair, slots, slot, state) in cases(&case, PAIRS) {
        let otadata = parse(&pair);
        let Some(change) = otadata.select(slot, slots, state) else {
            // Then the next number for the slot is that of a blank record, or
            // beyond.
            let seq = u64::from(otadata.records[otadata.active().unwrap()].seq);
            let next = (seq + 1..).find(|seq| (seq - 1) % slots as u64 == slot as u64);
            assert!(next >= Some(u32::MAX.into()), "{seq} {slot} of {slots}");
            used_up += 1;
            continue;
        };
        assert_ne!(Some(change.sector), otadata.active(), "the deciding record is in danger");
        let mut pair = pair;
        pair[change.sector] = change.record.to_bytes();
        changed.push((pair, change, slots, slot, state));
    }
    assert!(used_up > PAIRS / 100 && changed.len() > PAIRS * 3 / 4, "{used_up}");
    let pairs: Vec<_> = changed.iter().map(|(pair, ..)| *pair).collect();
    for ((_, change, slots, slot, state), verdict) in changed.iter().zip(judge(&oracles, &pairs)) {
        assert_eq!(verdict.active, Some(change.sector));
        assert_eq!(verdict.slots.unwrap()[slots - 1], *slot);
        assert_eq!(verdict.records[change.sector].state, state.code());
    }
}
