//! A SHA-256 value and its hexadecimal form.

use crate::{base64, hex};
use core::{fmt, str::FromStr};

/// A SHA-256 digest: 32 bytes, written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256(pub [u8; 32]);

impl Sha256 {
    /// The digest of no bytes.
    pub const OF_NOTHING: Self = Self([
        0xE3, 0xB0, 0xC4, 0x42, 0x98, 0xFC, 0x1C, 0x14, 0x9A, 0xFB, 0xF4, 0xC8, 0x99, 0x6F, 0xB9,
        0x24, 0x27, 0xAE, 0x41, 0xE4, 0x64, 0x9B, 0x93, 0x4C, 0xA4, 0x95, 0x99, 0x1B, 0x78, 0x52,
        0xB8, 0x55,
    ]);

    /// Parses the form that saves room in signed payloads: 43 characters of
    /// base64url without padding (RFC 4648, section 5).
    ///
    /// # Errors
    /// [`InvalidDigest`].
    pub fn from_base64url(text: &str) -> Result<Self, InvalidDigest> {
        let text: &[u8; 43] = text.as_bytes().try_into().map_err(|_| InvalidDigest)?;
        let mut digest = [0; 32];
        let (mut bits, mut held, mut bytes) = (0_u32, 0, digest.iter_mut());
        for letter in text {
            bits = bits << 6 | u32::from(base64url(*letter)?);
            held += 6;
            if held >= 8 {
                held -= 8;
                if let Some(byte) = bytes.next() {
                    *byte = (bits >> held) as u8;
                }
            }
        }
        // The last letter has two bits that say nothing.
        if bits & 3 == 0 { Ok(Self(digest)) } else { Err(InvalidDigest) }
    }
}

fn base64url(letter: u8) -> Result<u8, InvalidDigest> {
    match letter {
        b'-' => Ok(62),
        b'_' => Ok(63),
        b'+' | b'/' => Err(InvalidDigest),
        letter => base64::value(letter).ok_or(InvalidDigest),
    }
}

/// The text is not 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidDigest;

impl FromStr for Sha256 {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        hex::decode(text).map(Self).ok_or(InvalidDigest)
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex::write(f, &self.0)
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for InvalidDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a SHA-256 is written as 64 hexadecimal digits")
    }
}

impl core::error::Error for InvalidDigest {}

#[cfg(feature = "serde")]
mod serde_impl {
    use super::Sha256;
    use core::fmt;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    impl Serialize for Sha256 {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_str(self)
        }
    }

    impl<'de> Deserialize<'de> for Sha256 {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Hex;
            impl de::Visitor<'_> for Hex {
                type Value = Sha256;

                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("64 hexadecimal digits")
                }

                fn visit_str<E: de::Error>(self, text: &str) -> Result<Sha256, E> {
                    text.parse().map_err(E::custom)
                }
            }
            deserializer.deserialize_str(Hex)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn the_digest_of_nothing_is_that() {
        use sha2::Digest;
        assert_eq!(Sha256::OF_NOTHING.0, <[u8; 32]>::from(sha2::Sha256::digest([])));
    }

    #[test]
    fn text_form_round_trips() {
        let digest = Sha256(core::array::from_fn(|i| u8::try_from(i * 8).unwrap()));
        assert_eq!(digest.to_string().parse(), Ok(digest));
    }

    #[test]
    fn base64url_is_read_and_has_one_form() {
        let digest = Sha256(core::array::from_fn(|i| u8::try_from(255 - i * 5).unwrap()));
        let text = "__r18Ovm4dzX0s3Iw765tK-qpaCblpGMh4J9eHNuaWQ";
        assert_eq!(Sha256::from_base64url(text), Ok(digest));
        let others = [
            "__r18Ovm4dzX0s3Iw765tK-qpaCblpGMh4J9eHNuaWR",
            "//r18Ovm4dzX0s3Iw765tK-qpaCblpGMh4J9eHNuaWQ",
            "__r18Ovm4dzX0s3Iw765tK-qpaCblpGMh4J9eHNuaWQ=",
            "__r18Ovm4dzX0s3Iw765tK-qpaCblpGMh4J9eHNuaW",
        ];
        for other in others {
            assert_eq!(Sha256::from_base64url(other), Err(InvalidDigest), "{other}");
        }
    }

    #[test]
    fn other_lengths_and_letters_are_refused() {
        for text in ["", "00", "g".repeat(64).as_str(), "0".repeat(65).as_str()] {
            assert_eq!(text.parse::<Sha256>(), Err(InvalidDigest));
        }
    }
}
