//! Public keys.

use super::KeyError;
use crate::store::sha256;
use ed25519::pkcs8::{DecodePublicKey, EncodePublicKey, PublicKeyBytes};
use pkcs8::LineEnding;
use std::{fmt, path::Path, str::FromStr};

/// A public Ed25519 key that signatures can be verified with.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

/// The name of a key: the first eight bytes of the SHA-256 of its public half.
/// It finds a key, it proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 8]);

impl PublicKey {
    /// Takes these bytes for a key.
    ///
    /// # Errors
    /// If no signature could be trusted with it, as with keys of small order.
    pub fn new(bytes: [u8; 32]) -> Result<Self, String> {
        let key = ed25519_compact::PublicKey::new(bytes);
        key.validate().map_err(|error| error.to_string())?;
        Ok(Self(bytes))
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
        let pem = std::fs::read_to_string(path)
            .map_err(|source| KeyError::Io { path: path.to_owned(), source })?;
        Self::from_pem(&pem, text)
    }

    /// Reads a key from PEM. `origin` is where it is from.
    ///
    /// # Errors
    /// [`KeyError::Malformed`].
    pub fn from_pem(pem: &str, origin: &str) -> Result<Self, KeyError> {
        let malformed = |reason: String| KeyError::Malformed {
            origin: origin.to_owned(),
            expected: "a public Ed25519 key in PEM or 64 hexadecimal digits",
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
        PublicKeyBytes(self.0).to_public_key_pem(LineEnding::LF).expect("32 bytes make a key")
    }

    /// Returns the bytes of the key.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the name of the key.
    pub fn id(&self) -> KeyId {
        KeyId(*sha256(&self.0).0.first_chunk().expect("a hash is longer"))
    }

    /// Returns whether `signature` is one of this key over `message`.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let key = ed25519_compact::PublicKey::new(self.0);
        ed25519_compact::Signature::from_slice(signature)
            .is_ok_and(|signature| key.verify(message, &signature).is_ok())
    }
}

impl FromStr for PublicKey {
    type Err = String;

    fn from_str(hex: &str) -> Result<Self, String> {
        let digest: towline_descriptor::Sha256 =
            hex.to_ascii_lowercase().parse().map_err(|_| "expected 64 hexadecimal digits")?;
        Self::new(digest.0)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl FromStr for KeyId {
    type Err = String;

    fn from_str(hex: &str) -> Result<Self, String> {
        let fault = || "a key id has 16 hexadecimal digits".to_owned();
        if hex.len() != 16 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(fault());
        }
        let number = u64::from_str_radix(hex, 16).map_err(|_| fault())?;
        Ok(Self(number.to_be_bytes()))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:016x}", u64::from_be_bytes(self.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_small_order_are_none() {
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
