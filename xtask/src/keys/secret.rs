//! Secret keys, and how files hold them: PKCS#8 in PEM, as `openssl pkey` reads
//! it.

use super::{KeyError, Passphrase, PublicKey};
use ed25519::pkcs8::{DecodePrivateKey, EncodePrivateKey, KeypairBytes};
use ed25519_compact::{KeyPair, Seed};
use pkcs8::{
    EncryptedPrivateKeyInfoRef, LineEnding, PrivateKeyInfoRef,
    der::{self, Decode, pem::PemLabel},
    pkcs5::{pbes2, scrypt},
};
use std::fmt;
use zeroize::Zeroizing;

/// What turning a passphrase into a key costs: 16 MiB and about a quarter of a
/// second. More memory is more than OpenSSL grants by default.
const SCRYPT: (u8, u32, u32) = (14, 8, 5);

/// A secret key. Its memory is cleared when it is dropped.
pub struct SecretKey(KeyPair);

/// A secret key as a file or variable holds it.
#[derive(Clone)]
pub enum Held {
    /// As it is.
    Plain(Zeroizing<String>),
    /// Encrypted with a passphrase.
    Encrypted(Zeroizing<String>),
}

impl SecretKey {
    /// Makes a new key.
    ///
    /// # Errors
    /// [`KeyError::Random`].
    pub fn generate() -> Result<Self, KeyError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut()).map_err(KeyError::Random)?;
        Ok(Self::from_seed(*seed))
    }

    pub(crate) fn from_seed(seed: [u8; 32]) -> Self {
        Self(KeyPair::from_seed(Seed::new(seed)))
    }

    /// Returns the public half.
    ///
    /// # Panics
    /// Never: no secret has a public half of small order.
    pub fn public(&self) -> PublicKey {
        PublicKey::new(*self.0.pk).expect("the public half of a key is one")
    }

    /// Signs a message. The same message has the same signature each time.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        *self.0.sk.sign(message, None)
    }

    /// Returns the secret itself, to look for it where it must not be.
    pub(crate) fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(*self.0.sk.seed())
    }

    fn to_der(&self) -> der::SecretDocument {
        // Without the public half, which older readers refuse.
        let pair = KeypairBytes { secret_key: *self.seed(), public_key: None };
        pair.to_pkcs8_der().expect("32 bytes make a key")
    }

    /// Writes the key as PEM.
    ///
    /// # Panics
    /// Never: every key has this form.
    pub fn to_pem(&self) -> Zeroizing<String> {
        let der = self.to_der();
        der.to_pem(PrivateKeyInfoRef::PEM_LABEL, LineEnding::LF).expect("a key is short")
    }

    /// Writes the key as PEM that only `passphrase` opens.
    ///
    /// # Errors
    /// [`KeyError::Random`].
    ///
    /// # Panics
    /// Never: every key has this form.
    pub fn to_encrypted_pem(&self, passphrase: &Passphrase) -> Result<Zeroizing<String>, KeyError> {
        let (mut salt, mut iv) = ([0; 16], [0; 16]);
        getrandom::fill(&mut salt).map_err(KeyError::Random)?;
        getrandom::fill(&mut iv).map_err(KeyError::Random)?;
        let (log_n, r, p) = SCRYPT;
        let scrypt = scrypt::Params::new(log_n, r, p).expect("sound parameters");
        let parameters = pbes2::Parameters::generate_scrypt_aes256cbc(scrypt, &salt, iv)
            .expect("sound parameters");
        let der = self.to_der();
        let key = PrivateKeyInfoRef::from_der(der.as_bytes()).expect("written above");
        let sealed = key.encrypt_with_params(parameters, passphrase).expect("a key is short");
        let label = EncryptedPrivateKeyInfoRef::PEM_LABEL;
        Ok(sealed.to_pem(label, LineEnding::LF).expect("a key is short"))
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({})", self.public().id())
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain",
            Self::Encrypted(_) => "Encrypted",
        })
    }
}

impl Held {
    /// Finds all secret keys in a text of PEM blocks. `origin` is where the text
    /// is from.
    ///
    /// # Errors
    /// If there is none.
    pub fn all_in(text: &str, origin: &str) -> Result<Vec<Self>, KeyError> {
        const BEGIN: &str = "-----BEGIN ";
        let plain = format!("{BEGIN}{}-----", PrivateKeyInfoRef::PEM_LABEL);
        let encrypted = format!("{BEGIN}{}-----", EncryptedPrivateKeyInfoRef::PEM_LABEL);
        let blocks = text.match_indices(BEGIN).filter_map(|(at, _)| {
            let block = &text[at..];
            let end = block[1..].find(BEGIN).map_or(block.len(), |next| next + 1);
            let pem = Zeroizing::new(format!("{}\n", block[..end].trim()));
            match pem {
                pem if pem.starts_with(&plain) => Some(Self::Plain(pem)),
                pem if pem.starts_with(&encrypted) => Some(Self::Encrypted(pem)),
                _ => None,
            }
        });
        let held: Vec<_> = blocks.collect();
        if held.is_empty() {
            let reason = format!("no block starts with `{plain}`");
            return Err(malformed(origin, reason));
        }
        Ok(held)
    }

    /// Returns whether a passphrase is needed.
    pub fn is_encrypted(&self) -> bool {
        matches!(self, Self::Encrypted(_))
    }

    /// Reads a key that is not encrypted.
    ///
    /// # Errors
    /// [`KeyError::Malformed`].
    pub fn read(&self, origin: &str) -> Result<SecretKey, KeyError> {
        match self {
            Self::Plain(pem) => {
                let pair = KeypairBytes::from_pkcs8_pem(pem)
                    .map_err(|error| malformed(origin, error.to_string()))?;
                Ok(SecretKey::from_seed(pair.secret_key))
            }
            Self::Encrypted(_) => Err(malformed(origin, "it is encrypted".into())),
        }
    }

    /// Reads a key, with `passphrase` if it is encrypted.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] or [`KeyError::WrongPassphrase`].
    pub fn open(&self, origin: &str, passphrase: &Passphrase) -> Result<SecretKey, KeyError> {
        let Self::Encrypted(pem) = self else { return self.read(origin) };
        let fault = |error: der::Error| malformed(origin, error.to_string());
        let (_, sealed) = der::SecretDocument::from_pem(pem).map_err(fault)?;
        let sealed: EncryptedPrivateKeyInfoRef<'_> = sealed.decode_msg().map_err(fault)?;
        // Another passphrase gives other bytes, which are rarely a key.
        let wrong = |_| KeyError::WrongPassphrase(origin.to_owned());
        let opened = sealed.decrypt(passphrase).map_err(wrong)?;
        let pair = KeypairBytes::from_pkcs8_der(opened.as_bytes()).map_err(wrong)?;
        Ok(SecretKey::from_seed(pair.secret_key))
    }
}

fn malformed(origin: &str, reason: String) -> KeyError {
    KeyError::Malformed {
        origin: origin.to_owned(),
        expected: "a secret Ed25519 key in PEM (PKCS#8)",
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(text.into()).unwrap()
    }

    #[test]
    fn a_key_file_gives_the_key_back() {
        let key = SecretKey::generate().unwrap();
        let held = Held::all_in(&key.to_pem(), "a").unwrap();
        assert_eq!(held[0].read("a").unwrap().public(), key.public());
        assert!(!held[0].is_encrypted());
    }

    #[test]
    fn only_its_passphrase_opens_an_encrypted_key() {
        let key = SecretKey::generate().unwrap();
        let right = passphrase("correct horse");
        let pem = key.to_encrypted_pem(&right).unwrap();
        let held = Held::all_in(&pem, "a").unwrap().remove(0);
        assert!(matches!(held.read("a"), Err(KeyError::Malformed { .. })));
        assert_eq!(held.open("a", &right).unwrap().public(), key.public());
        for wrong in ["correct horsf", "battery staple"] {
            let result = held.open("a", &passphrase(wrong));
            assert!(matches!(result, Err(KeyError::WrongPassphrase(_))), "{wrong}");
        }
    }

    #[test]
    fn several_blocks_are_several_keys() {
        let keys = [SecretKey::from_seed([1; 32]), SecretKey::from_seed([2; 32])];
        let text = format!(
            "# of CI\n{}{}{}",
            *keys[0].to_pem(),
            keys[0].public().to_pem(),
            *keys[1].to_pem()
        );
        let held = Held::all_in(&text, "a").unwrap();
        let read: Vec<_> = held.iter().map(|held| held.read("a").unwrap().public()).collect();
        assert_eq!(read, keys.each_ref().map(SecretKey::public));
    }

    #[test]
    fn what_is_no_key_is_refused_with_its_origin() {
        for text in ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"]
        {
            let error = Held::all_in(text, "TOWLINE_CHANNEL_KEY").unwrap_err().to_string();
            assert!(error.starts_with("TOWLINE_CHANNEL_KEY: not a secret"), "{error}");
        }
        let pem = SecretKey::from_seed([1; 32]).to_pem();
        // Another algorithm: X25519.
        let other = pem.replace("MC4CAQAwBQYDK2Vw", "MC4CAQAwBQYDK2Vu");
        assert_ne!(*pem, other);
        let held = Held::all_in(&other, "a").unwrap();
        assert!(matches!(held[0].read("a"), Err(KeyError::Malformed { .. })));
    }

    #[test]
    fn debug_output_has_no_secret() {
        let key = SecretKey::from_seed([0x5A; 32]);
        let held = Held::Plain(key.to_pem());
        let shown = format!("{key:?} {held:?} {:?}", passphrase("correct horse"));
        assert!(!shown.contains("5a5a5a5a") && !shown.contains("horse"), "{shown}");
        assert!(!shown.contains("Wlpa"), "{shown}");
    }
}
