//! Signatures around bytes: DSSE envelopes.
//!
//! ```text
//! {"payloadType": T, "payload": base64(P), "signatures": [{"keyid", "sig"}]}
//!
//! signed: "DSSEv1 " len(T) " " T " " len(P) " " P
//! ```
//!
//! What is signed are the exact bytes of the payload, so that nobody has to
//! agree on a canonical form of JSON. Source:
//! <https://github.com/secure-systems-lab/dsse/blob/v1.0.2/protocol.md>.
//!
//! Invariants: the payload is handed out for reading only together with the
//! means to verify it; a signature counts once for each key of a role, whatever
//! it says of itself.

use crate::{
    base64,
    document::{DocumentError, set},
    hex,
    json::{self, Value},
};
use core::{
    fmt::{self, Write},
    str::FromStr,
};
use sha2::{Digest, Sha256};

/// Most signatures of an envelope.
pub const MAX_SIGNATURES: usize = 8;

/// Most keys of a role.
pub const MAX_KEYS: usize = 8;

/// Type of the payload that is a descriptor.
pub const DESCRIPTOR_TYPE: &str = "application/vnd.towline+json";

/// Type of the payload that is a root.
pub const ROOT_TYPE: &str = "application/vnd.towline.root+json";

/// An Ed25519 public key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub [u8; 32]);

/// The start of the SHA-256 of a public key: what a signature says of its key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 8]);

/// An Ed25519 signature.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 64]);

/// Returns whether a signature of the message, given in parts, is one of the
/// key: strictly by RFC 8032, so that no second signature is one too.
pub type Verify = fn(&Key, &[&[u8]], &Signature) -> bool;

/// The keys that may sign something, and how many of them have to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// How many keys have to sign, at least 1.
    pub threshold: u8,
    /// The keys, each once.
    pub keys: heapless::Vec<Key, MAX_KEYS, u8>,
}

/// Signed bytes that nobody has verified yet.
#[derive(Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    payload_type: &'a str,
    payload: &'a mut [u8],
    signatures: Signatures<'a>,
}

/// Signatures, still in the buffer of their document.
type Signatures<'a> = heapless::Vec<(KeyId, &'a [u8; 64]), MAX_SIGNATURES, u8>;

impl Key {
    /// Returns the id of the key.
    pub fn id(&self) -> KeyId {
        let digest: [u8; 32] = Sha256::digest(self.0).into();
        let mut id = [0; 8];
        id.copy_from_slice(&digest[..8]);
        KeyId(id)
    }
}

impl Role {
    /// Returns whether the role can do its work: as many keys as have to sign,
    /// each once.
    pub fn is_sound(&self) -> bool {
        let once = |(index, key)| !self.keys[..index].contains(key);
        (1..=self.keys.len()).contains(&self.threshold.into())
            && self.keys.iter().enumerate().all(once)
    }
}

/// Calls `part` with each part of what is signed.
pub fn pre_authentication(
    payload_type: &str,
    payload: &[u8],
    part: impl FnOnce(&[&[u8]]) -> bool,
) -> bool {
    // Two lengths of at most 20 digits and a few spaces.
    let mut head = heapless::String::<64, u8>::new();
    let mut tail = heapless::String::<32, u8>::new();
    let fits = write!(head, "DSSEv1 {} ", payload_type.len()).is_ok()
        && write!(tail, " {} ", payload.len()).is_ok();
    fits && part(&[head.as_bytes(), payload_type.as_bytes(), tail.as_bytes(), payload])
}

impl<'a> Envelope<'a> {
    /// Parses a document that is an envelope and nothing else, in place. Fields
    /// that are not known are skipped.
    ///
    /// # Errors
    /// [`DocumentError`].
    pub fn parse(document: &'a mut [u8]) -> Result<Self, DocumentError> {
        let mut fields = Fields::default();
        json::read_object(document, |key, value| fields.take(key, value).map(|_| ()))?;
        fields.finish()?.ok_or(DocumentError::Missing("payload"))
    }

    /// Returns the type of the payload.
    pub fn payload_type(&self) -> &'a str {
        self.payload_type
    }

    /// Returns who is said to have signed, unverified.
    pub fn signers(&self) -> impl Iterator<Item = KeyId> {
        self.signatures.iter().map(|(id, _)| *id)
    }

    /// Returns the keys of `role` that signed, if they are as many as have to;
    /// each counts once.
    // Apart from parsing, whose stack is then free again: 3 KB less.
    #[inline(never)]
    pub fn signed_by(
        &self,
        role: &Role,
        verify: Verify,
    ) -> Option<heapless::Vec<Key, MAX_KEYS, u8>> {
        let signed = |key: &&Key| {
            let id = key.id();
            self.signatures.iter().filter(|(of, _)| *of == id).any(|(_, signature)| {
                pre_authentication(self.payload_type, self.payload, |parts| {
                    verify(key, parts, &Signature(**signature))
                })
            })
        };
        let keys: heapless::Vec<Key, MAX_KEYS, u8> =
            role.keys.iter().filter(signed).copied().collect();
        (role.is_sound() && keys.len() >= role.threshold.into()).then_some(keys)
    }

    /// Returns the payload, for what has to be known before it can be verified.
    pub fn payload(&self) -> &[u8] {
        self.payload
    }

    /// Returns the payload. Only what was [signed](Self::signed_by) may be
    /// believed.
    pub fn into_payload(self) -> &'a mut [u8] {
        self.payload
    }
}

/// The fields of an envelope, which may stand among others.
#[derive(Default)]
pub(crate) struct Fields<'a> {
    payload_type: Option<&'a str>,
    payload: Option<&'a mut [u8]>,
    signatures: Option<Signatures<'a>>,
}

impl<'a> Fields<'a> {
    /// Takes a member of the document; `Some` gives it back if it is none of an
    /// envelope.
    pub(crate) fn take(
        &mut self,
        key: &str,
        value: Value<'a>,
    ) -> Result<Option<Value<'a>>, DocumentError> {
        match key {
            "payloadType" => set(&mut self.payload_type, "payloadType", value.into_str())?,
            "payload" => set(&mut self.payload, "payload", payload(value))?,
            "signatures" => set(&mut self.signatures, "signatures", signatures(value))?,
            _ => return Ok(Some(value)),
        }
        Ok(None)
    }

    /// Returns the envelope; `None` if there is none.
    pub(crate) fn finish(self) -> Result<Option<Envelope<'a>>, DocumentError> {
        let missing = DocumentError::Missing;
        match (self.payload_type, self.payload, self.signatures) {
            (None, None, None) => Ok(None),
            (payload_type, payload, signatures) => Ok(Some(Envelope {
                payload_type: payload_type.ok_or(missing("payloadType"))?,
                payload: payload.ok_or(missing("payload"))?,
                signatures: signatures.ok_or(missing("signatures"))?,
            })),
        }
    }
}

fn payload<'a>(value: Value<'a>) -> Option<&'a mut [u8]> {
    let Value::String(text) = value else { return None };
    let text = text.into_bytes();
    let len = base64::decode(text)?;
    Some(&mut text[..len])
}

fn signatures(value: Value<'_>) -> Option<Signatures<'_>> {
    let Value::Nested(list) = value else { return None };
    let mut signatures = heapless::Vec::new();
    let invalid = DocumentError::Invalid("signatures");
    json::read_array(list, |value| {
        let Value::Nested(object) = value else { return Err(invalid) };
        let mut keyid = None;
        let mut signature = None;
        json::read_object(object, |key, value| match key {
            "keyid" => set(&mut keyid, "signatures", value.into_str()),
            "sig" => set(&mut signature, "signatures", Some(payload(value))),
            _ => Ok(()),
        })?;
        // A key that is named in another way is none of ours, and its signature
        // may be of any kind.
        let Some(Ok(id)) = keyid.map(KeyId::from_str) else { return Ok(()) };
        let signature = signature.flatten().and_then(|bytes| (&*bytes).try_into().ok());
        signatures.push((id, signature.ok_or(invalid)?)).map_err(|_| invalid)
    })
    .ok()?;
    Some(signatures)
}

/// What is not the hexadecimal form of a key or of the id of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidKey;

impl FromStr for Key {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        hex::decode(text).map(Self).ok_or(InvalidKey)
    }
}

impl FromStr for KeyId {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        hex::decode(text).map(Self).ok_or(InvalidKey)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex::write(f, &self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex::write(f, &self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex::write(f, &self.0)
    }
}

impl fmt::Display for InvalidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key is written as 64 hexadecimal digits, its id as 16")
    }
}

impl core::error::Error for InvalidKey {}

#[cfg(test)]
mod tests {
    use super::*;
    use ::base64::prelude::{BASE64_STANDARD, Engine};
    use std::{format, string::String, vec::Vec};

    /// Stands in for Ed25519, which is none of this crate's business.
    fn verify(key: &Key, message: &[&[u8]], signature: &Signature) -> bool {
        *signature == sign(key, &message.concat())
    }

    fn sign(key: &Key, message: &[u8]) -> Signature {
        let digest = Sha256::new().chain_update(key.0).chain_update(message).finalize();
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&digest);
        Signature(signature)
    }

    fn role(threshold: u8, seeds: &[u8]) -> Role {
        Role { threshold, keys: seeds.iter().map(|seed| Key([*seed; 32])).collect() }
    }

    fn signature(of: &Key, by: &Key) -> String {
        let message = format!("DSSEv1 {} {DESCRIPTOR_TYPE} 5 hello", DESCRIPTOR_TYPE.len());
        let signature = BASE64_STANDARD.encode(sign(by, message.as_bytes()).0);
        format!("{{\"keyid\":\"{}\",\"sig\":\"{signature}\"}}", of.id())
    }

    fn envelope(signatures: &[String]) -> Vec<u8> {
        format!(
            "{{\"payloadType\":\"{DESCRIPTOR_TYPE}\",\"payload\":\"{}\",\"signatures\":[{}]}}",
            BASE64_STANDARD.encode("hello"),
            signatures.join(",")
        )
        .into_bytes()
    }

    fn signers(signatures: &[String], role: &Role) -> Option<usize> {
        let mut document = envelope(signatures);
        let envelope = Envelope::parse(&mut document).unwrap();
        let signers = envelope.signed_by(role, verify).map(|keys| keys.len());
        assert_eq!(envelope.into_payload(), b"hello");
        signers
    }

    #[test]
    fn what_is_signed_is_the_pre_authentication_encoding() {
        // The example of the DSSE protocol's own description.
        let mut message = Vec::new();
        pre_authentication("http://example.com/HelloWorld", b"hello world", |parts| {
            message = parts.concat();
            true
        });
        assert_eq!(message, b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
    }

    #[test]
    fn as_many_keys_as_have_to_must_sign() {
        let [a, b, stranger] = [1, 2, 9].map(|seed| Key([seed; 32]));
        let by = |key: &Key| signature(key, key);
        assert_eq!(signers(&[by(&a)], &role(1, &[1, 2])), Some(1));
        assert_eq!(signers(&[by(&a), by(&b)], &role(2, &[1, 2])), Some(2));
        assert_eq!(signers(&[by(&a)], &role(2, &[1, 2])), None);
        assert_eq!(signers(&[by(&stranger)], &role(1, &[1, 2])), None);
        assert_eq!(signers(&[], &role(1, &[1])), None);
    }

    #[test]
    fn a_signature_counts_once_whatever_it_says_of_itself() {
        let [a, b] = [1, 2].map(|seed| Key([seed; 32]));
        let twice = [signature(&a, &a), signature(&a, &a), signature(&b, &a)];
        assert_eq!(signers(&twice, &role(2, &[1, 2])), None);
        // Nor does a key that a role names twice.
        assert_eq!(signers(&twice, &role(2, &[1, 1])), None);
        // One that was damaged does not keep the sound one from counting.
        let both = [signature(&a, &b), signature(&a, &a)];
        assert_eq!(signers(&both, &role(1, &[1])), Some(1));
    }

    #[test]
    fn keys_of_other_schemes_are_skipped() {
        let a = Key([1; 32]);
        let other = signature(&a, &a).replace(&format!("{}", a.id()), "SHA256:abc");
        let other = other.replace("\"sig\":\"", "\"sig\":\"AAAA");
        let unnamed = signature(&a, &a).replace(&format!("\"keyid\":\"{}\",", a.id()), "");
        assert_eq!(signers(&[other.clone(), unnamed.clone()], &role(1, &[1])), None);
        assert_eq!(signers(&[other, unnamed, signature(&a, &a)], &role(1, &[1])), Some(1));
    }

    #[test]
    fn faults_are_named() {
        let sound =
            String::from_utf8(envelope(&[signature(&Key([1; 32]), &Key([1; 32]))])).unwrap();
        let error = |text: String| Envelope::parse(&mut text.into_bytes()).unwrap_err();
        assert_eq!(error("{}".into()), DocumentError::Missing("payload"));
        for (from, to, expected) in [
            ("aGVsbG8=", "aGVsbG8", DocumentError::Invalid("payload")),
            ("aGVsbG8=", "aGVsbG9=", DocumentError::Invalid("payload")),
            (
                "\"payload\":\"",
                "\"payload\":\"\",\"payload\":\"",
                DocumentError::Duplicate("payload"),
            ),
            ("\"sig\":\"", "\"sig\":\"AAAA", DocumentError::Invalid("signatures")),
            ("\"sig\"", "\"signature\"", DocumentError::Invalid("signatures")),
            ("\"payloadType\"", "\"type\"", DocumentError::Missing("payloadType")),
        ] {
            assert_eq!(error(sound.replacen(from, to, 1)), expected, "{to}");
        }
        let nine: Vec<_> = (0..9).map(|i| signature(&Key([i; 32]), &Key([i; 32]))).collect();
        assert_eq!(
            Envelope::parse(&mut envelope(&nine)).unwrap_err(),
            DocumentError::Invalid("signatures")
        );
    }
}
