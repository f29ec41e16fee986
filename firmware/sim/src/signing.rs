//! A publisher that signs: keys, roots and envelopes for tests.

use base64::prelude::{BASE64_STANDARD, Engine};
use ed25519_compact::{KeyPair, Seed};
use std::fmt::Write;
use towline::descriptor::{
    Key, KeyId, Signature,
    envelope::{DESCRIPTOR_TYPE, ROOT_TYPE, pre_authentication},
};

/// A pair of keys.
#[derive(Clone, Debug)]
pub struct Signer(KeyPair);

/// A role: its name, its threshold and its keys.
pub type NamedRole<'r> = (&'r str, u8, &'r [&'r Signer]);

/// A signature as an envelope shows it: of whom it says it is, and its bytes.
pub type Shown = (String, Vec<u8>);

impl Signer {
    /// Returns the pair of a seed, always the same one.
    pub fn new(seed: u8) -> Self {
        Self(KeyPair::from_seed(Seed::new([seed; 32])))
    }

    /// Returns the public key.
    pub fn key(&self) -> Key {
        Key(*self.0.pk)
    }

    /// Returns the id of the public key.
    pub fn id(&self) -> KeyId {
        self.key().id()
    }

    /// Signs a payload.
    pub fn sign(&self, payload_type: &str, payload: &[u8]) -> Signature {
        let mut signature = Signature([0; 64]);
        pre_authentication(payload_type, payload, |parts| {
            signature = Signature(*self.0.sk.sign(parts.concat(), None));
            true
        });
        signature
    }

    /// Signs the bytes of a payload as they are, without the encoding that
    /// names its type, and says so.
    pub fn show_bare(&self, payload: &[u8]) -> Shown {
        (self.id().to_string(), self.0.sk.sign(payload, None).to_vec())
    }

    /// Signs a payload, and says so.
    pub fn show(&self, payload_type: &str, payload: &[u8]) -> Shown {
        (self.id().to_string(), self.sign(payload_type, payload).0.to_vec())
    }
}

/// Returns the payload of a root.
pub fn root_payload(project: &str, version: u32, roles: &[NamedRole<'_>]) -> String {
    let roles = roles.iter().map(|(name, threshold, signers)| {
        let keys: Vec<_> = signers.iter().map(|signer| format!("\"{}\"", signer.key())).collect();
        format!("\"{name}\":{{\"threshold\":{threshold},\"keys\":[{}]}}", keys.join(","))
    });
    let roles = roles.collect::<Vec<_>>().join(",");
    format!(
        "{{\"fmt\":1,\"project\":\"{project}\",\"version\":{version},\"issued\":1800000000,\
         \"roles\":{{{roles}}}}}"
    )
}

/// Returns the document of a root that these signed.
pub fn signed_root(payload: &str, signers: &[&Signer]) -> Vec<u8> {
    let shown: Vec<_> =
        signers.iter().map(|signer| signer.show(ROOT_TYPE, payload.as_bytes())).collect();
    envelope("", ROOT_TYPE, payload.as_bytes(), &shown)
}

/// Returns the document of a descriptor that these signed. `version` and `path`
/// are what readers see that know nothing of signatures.
pub fn signed_descriptor(version: &str, path: &str, payload: &str, signers: &[&Signer]) -> Vec<u8> {
    let shown: Vec<_> =
        signers.iter().map(|signer| signer.show(DESCRIPTOR_TYPE, payload.as_bytes())).collect();
    let outer = format!("\"version\":\"{version}\",\"path\":\"{path}\",");
    envelope(&outer, DESCRIPTOR_TYPE, payload.as_bytes(), &shown)
}

/// Returns an envelope. `outer` are members that stand before its own.
pub fn envelope(outer: &str, payload_type: &str, payload: &[u8], shown: &[Shown]) -> Vec<u8> {
    let mut signatures = String::new();
    for (index, (id, signature)) in shown.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let signature = BASE64_STANDARD.encode(signature);
        // A text takes everything.
        let _ = write!(signatures, "{comma}{{\"keyid\":\"{id}\",\"sig\":\"{signature}\"}}");
    }
    let payload = BASE64_STANDARD.encode(payload);
    format!(
        "{{{outer}\"payloadType\":\"{payload_type}\",\"payload\":\"{payload}\",\
         \"signatures\":[{signatures}]}}"
    )
    .into_bytes()
}
