//! Envelopes from the network, against the reader that everybody else has:
//! whatever they say of themselves, only the keys of a role sign.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use std::sync::LazyLock;
use towline::{
    descriptor::{Document, Envelope, Key, KeyId, Role, envelope::DESCRIPTOR_TYPE},
    ed25519,
};
use towline_fuzz::Input;
use towline_sim::signing::{Signer, envelope};

static SIGNER: LazyLock<Signer> = LazyLock::new(|| Signer::new(11));

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    if input.byte() & 1 == 0 {
        anything(input.rest());
    } else {
        signed(input);
    }
});

/// An envelope that nobody signed.
fn anything(data: &[u8]) {
    let _ = Document::parse(&mut data.to_vec());
    let mut document = data.to_vec();
    let Ok(envelope) = Envelope::parse(&mut document) else { return };
    let theirs: Value = serde_json::from_slice(data).expect("what a device accepts is JSON");
    assert_eq!(theirs["payloadType"], envelope.payload_type());
    let list = theirs["signatures"].as_array().expect("a list");
    let known = list.iter().filter_map(|signature| signature["keyid"].as_str());
    let known: Vec<KeyId> = known.filter_map(|id| id.parse().ok()).collect();
    assert_eq!(envelope.signers().collect::<Vec<_>>(), known);
    let role = Role { threshold: 1, keys: [SIGNER.key()].into_iter().collect() };
    assert_eq!(envelope.signed_by(&role, ed25519), None);
    let text = theirs["payload"].as_str().expect("a text");
    assert_eq!(text.len(), envelope.payload().len().div_ceil(3) * 4);
}

/// An envelope that one key signed, or said so, beside other signatures.
fn signed(mut input: Input<'_>) {
    let threshold = 1 + input.byte() % 3;
    let count = input.below(8);
    let flip = usize::from(input.byte());
    let others: Vec<_> = (0..count)
        .map(|_| {
            let id = if input.byte() & 1 == 0 { SIGNER.id() } else { KeyId(input.array()) };
            (id.to_string(), input.array::<64>().to_vec())
        })
        .collect();
    let payload = input.rest();
    let (id, mut signature) = SIGNER.show(DESCRIPTOR_TYPE, payload);
    let is_whole = flip >= 64;
    if let Some(byte) = signature.get_mut(flip) {
        *byte ^= 1;
    }
    let shown: Vec<_> = others.into_iter().chain([(id, signature)]).collect();
    let mut document = envelope("", DESCRIPTOR_TYPE, payload, &shown);
    let envelope = Envelope::parse(&mut document).expect("a sound envelope");
    assert_eq!(envelope.payload(), payload);
    let keys = [SIGNER.key(), Key([0; 32]), Key([7; 32])];
    let role = Role { threshold, keys: keys.into_iter().collect() };
    let expected = is_whole && threshold == 1;
    assert_eq!(envelope.signed_by(&role, ed25519).is_some(), expected);
}
