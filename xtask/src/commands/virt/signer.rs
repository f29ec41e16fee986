//! Envelopes of hosts that are honest and of hosts that are not: what `keys` and
//! `release` do, and what they never would.

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::{Value, json};
use towline_descriptor::Key;
pub(super) use towline_sim::signing::Signer;

/// Signed bytes, or what is made to look like them.
#[derive(Clone)]
pub(super) struct Envelope(pub(super) Value);

/// Signs a payload with each of the keys.
pub(super) fn envelope(payload_type: &str, payload: &[u8], keys: &[&Signer]) -> Envelope {
    let signatures: Vec<_> =
        keys.iter().map(|key| signature(&key.key(), &key.sign(payload_type, payload).0)).collect();
    Envelope(json!({
        "payloadType": payload_type,
        "payload": BASE64_STANDARD.encode(payload),
        "signatures": signatures,
    }))
}

/// Returns a signature as an envelope has it.
pub(super) fn signature(key: &Key, signature: &[u8; 64]) -> Value {
    json!({ "keyid": key.id().to_string(), "sig": BASE64_STANDARD.encode(signature) })
}

impl Envelope {
    /// Sets a field.
    pub(super) fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.0[field] = value.into();
        self
    }
}

impl std::fmt::Display for Envelope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
