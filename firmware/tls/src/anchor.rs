//! What is trusted: names and keys of certificate authorities.
//!
//! A root certificate is trusted because it is in the firmware, not because of
//! what it says of itself; of its bytes only the name and the key are needed.

/// A certificate authority that is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor<'a> {
    /// Its name: the DER of `Name`, with tag and length.
    pub subject: &'a [u8],
    /// Its key: the DER of `SubjectPublicKeyInfo`, with tag and length.
    pub key: &'a [u8],
}

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const VERSION: u8 = 0xA0;

impl<'a> Anchor<'a> {
    /// Takes name and key out of a certificate in DER form. `None` if it is
    /// none.
    pub fn from_certificate(der: &'a [u8]) -> Option<Self> {
        let (certificate, rest) = element(der, SEQUENCE)?;
        if !rest.is_empty() {
            return None;
        }
        let (mut fields, _) = element(certificate.content, SEQUENCE)?;
        // version, serialNumber, signature, issuer, validity
        if let Some((_, rest)) = element(fields.content, VERSION) {
            fields.content = rest;
        }
        for tag in [INTEGER, SEQUENCE, SEQUENCE, SEQUENCE] {
            (_, fields.content) = element(fields.content, tag)?;
        }
        let (subject, rest) = element(fields.content, SEQUENCE)?;
        let (key, _) = element(rest, SEQUENCE)?;
        Some(Self { subject: subject.whole, key: key.whole })
    }
}

/// One element of DER.
struct Element<'a> {
    /// With tag and length.
    whole: &'a [u8],
    /// Without.
    content: &'a [u8],
}

/// Splits off the first element, which has to have this tag.
fn element(der: &[u8], tag: u8) -> Option<(Element<'_>, &[u8])> {
    let (&[found, first], body) = der.split_first_chunk()?;
    if found != tag {
        return None;
    }
    let (length, body) = match first {
        0..=0x7F => (usize::from(first), body),
        // One to three bytes of length; a certificate is never larger.
        0x81..=0x83 => {
            let (bytes, body) = body.split_at_checked(usize::from(first - 0x80))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), body)
        }
        _ => return None,
    };
    let (content, rest) = body.split_at_checked(length)?;
    Some((Element { whole: &der[..der.len() - rest.len()], content }, rest))
}
