//! Base64 (RFC 4648, section 4), decoded in place.

/// Returns the six bits that a letter stands for.
pub(crate) fn value(letter: u8) -> Option<u8> {
    match letter {
        b'A'..=b'Z' => Some(letter - b'A'),
        b'a'..=b'z' => Some(letter - b'a' + 26),
        b'0'..=b'9' => Some(letter - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

/// Decodes `text` in place, with its padding, and returns its new length;
/// `None` if it is not the one encoding of its bytes.
pub(crate) fn decode(text: &mut [u8]) -> Option<usize> {
    let (quads, []) = text.as_chunks::<4>() else { return None };
    let count = quads.len();
    let mut len = 0;
    for index in 0..count {
        let quad: [u8; 4] = text[index * 4..][..4].try_into().ok()?;
        let padding = match quad {
            [_, _, b'=', b'='] => 2,
            [_, _, _, b'='] => 1,
            _ => 0,
        };
        if padding > 0 && index + 1 < count {
            return None;
        }
        let mut bits = 0;
        for letter in &quad[..4 - padding] {
            bits = bits << 6 | u32::from(value(*letter)?);
        }
        bits <<= 6 * padding;
        let [_, bytes @ ..] = bits.to_be_bytes();
        let (bytes, rest) = bytes.split_at(3 - padding);
        if rest.iter().any(|byte| *byte != 0) {
            return None;
        }
        text[len..len + bytes.len()].copy_from_slice(bytes);
        len += bytes.len();
    }
    Some(len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn decoded(text: &str) -> Option<Vec<u8>> {
        let mut text = text.as_bytes().to_vec();
        let len = decode(&mut text)?;
        text.truncate(len);
        Some(text)
    }

    #[test]
    fn vectors_of_the_rfc_are_decoded() {
        for (text, bytes) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYg==", "foob"),
            ("Zm9vYmE=", "fooba"),
            ("Zm9vYmFy", "foobar"),
        ] {
            assert_eq!(decoded(text).as_deref(), Some(bytes.as_bytes()), "{text}");
        }
    }

    #[test]
    fn each_value_has_one_text() {
        for text in
            ["Z", "Zg", "Zg=", "Zh==", "Zm9=", "Zg==Zg==", "Z===", "====", "Zm 8", "Zm-v", "Zm8=\n"]
        {
            assert_eq!(decoded(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_another_implementation_writes_is_read(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            use ::base64::prelude::{BASE64_STANDARD, Engine};
            prop_assert_eq!(decoded(&BASE64_STANDARD.encode(&bytes)), Some(bytes));
        }

        #[test]
        fn what_is_read_another_implementation_reads_alike(text in "[A-D+/=]{0,12}") {
            use ::base64::prelude::{BASE64_STANDARD, Engine};
            prop_assert_eq!(decoded(&text), BASE64_STANDARD.decode(&text).ok());
        }
    }
}
