//! Public keys.

use super::KeyError;
use ed25519::pkcs8::{DecodePublicKey, EncodePublicKey, PublicKeyBytes};
use pkcs8::LineEnding;
use serde::{Deserialize, Serialize};
use std::{fmt, path::Path, str::FromStr};
use towline::ed25519;
use towline_descriptor::{Key, KeyId, Signature};

const EXPECTED: &str = "a public Ed25519 key: 64 hexadecimal digits, or a file in PEM";

/// A public Ed25519 key that signatures can be verified with.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey(Key);

impl PublicKey {
    /// Takes these bytes for a key.
    ///
    /// # Errors
    /// If no signature could be trusted with it, as with keys of small order.
    pub fn new(bytes: [u8; 32]) -> Result<Self, String> {
        let key = ed25519_compact::PublicKey::new(bytes);
        key.validate().map_err(|error| error.to_string())?;
        Ok(Self(Key(bytes)))
    }

    /// Reads a key from a file in PEM, or from 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_file_or_hex(text: &str) -> Result<Self, KeyError> {
        if let Ok(key) = text.parse() {
            return Ok(key);
        }
        let path = Path::new(text);
        let pem = std::fs::read_to_string(path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => KeyError::Malformed {
                origin: text.to_owned(),
                expected: EXPECTED,
                reason: "there is no such file".into(),
            },
            _ => KeyError::Io { path: path.to_owned(), source },
        })?;
        Self::from_pem(&pem, text)
    }

    /// Reads a key from PEM. `origin` is where it is from.
    ///
    /// # Errors
    /// [`KeyError::Malformed`].
    pub fn from_pem(pem: &str, origin: &str) -> Result<Self, KeyError> {
        let malformed = |reason: String| KeyError::Malformed {
            origin: origin.to_owned(),
            expected: EXPECTED,
            reason,
        };
        if pem.contains("PRIVATE KEY-----") {
            return Err(malformed("it is a secret key".into()));
        }
        if let Ok(key) = pem.trim().parse() {
            return Ok(key);
        }
        let key = PublicKeyBytes::from_public_key_pem(pem.trim_start());
        Self::new(key.map_err(|error| malformed(error.to_string()))?.to_bytes()).map_err(malformed)
    }

    /// Writes the key as PEM.
    ///
    /// # Panics
    /// Never: every key has this form.
    pub fn to_pem(&self) -> String {
        PublicKeyBytes(self.0.0).to_public_key_pem(LineEnding::LF).expect("32 bytes make a key")
    }

    /// Returns the key as devices have it.
    pub fn key(&self) -> &Key {
        &self.0
    }

    /// Returns the bytes of the key.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0.0
    }

    /// Returns the name of the key.
    pub fn id(&self) -> KeyId {
        self.0.id()
    }

    /// Returns whether `signature` is one of this key over `message`.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let signature: Result<[u8; 64], _> = signature.try_into();
        signature.is_ok_and(|signature| ed25519(&self.0, &[message], &Signature(signature)))
    }
}

impl FromStr for PublicKey {
    type Err = String;

    fn from_str(hex: &str) -> Result<Self, String> {
        let key: Key = hex.parse().map_err(|_| "expected 64 hexadecimal digits")?;
        Self::new(key.0)
    }
}

impl TryFrom<String> for PublicKey {
    type Error = String;

    fn try_from(hex: String) -> Result<Self, String> {
        hex.parse()
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        key.to_string()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The order of the group, little-endian.
    const L: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];

    #[test]
    fn a21_a_second_signature_of_the_same_message_is_none() {
        let key = super::super::SecretKey::from_seed([7; 32]);
        let signature = key.sign(b"message");
        assert!(key.public().verifies(b"message", &signature));
        // S + L is S to those who do not look closely.
        let mut second = signature;
        let mut carry = 0;
        for (byte, l) in second[32..].iter_mut().zip(L) {
            let sum = u16::from(*byte) + u16::from(l) + carry;
            (*byte, carry) = (sum as u8, sum >> 8);
        }
        assert_eq!(carry, 0);
        assert!(!key.public().verifies(b"message", &second));
    }

    #[test]
    fn a21_keys_of_small_order_are_none() {
        let mut identity = [0; 32];
        identity[0] = 1;
        for bytes in [[0; 32], identity] {
            assert!(PublicKey::new(bytes).is_err());
        }
    }

    #[test]
    fn a_secret_key_is_not_taken_for_a_public_one() {
        let key = super::super::SecretKey::from_seed([7; 32]);
        let error = PublicKey::from_pem(&key.to_pem(), "key.pem").unwrap_err().to_string();
        assert!(error.contains("it is a secret key"), "{error}");
        let public = key.public();
        assert_eq!(PublicKey::from_pem(&public.to_pem(), "").unwrap(), public);
        assert_eq!(PublicKey::from_file_or_hex(&public.to_string()).unwrap(), public);
        assert_eq!(public.id().to_string().parse(), Ok(public.id()));
    }
}
