//! Signatures for people and scripts, as `minisign` reads them.
//!
//! ```text
//! untrusted comment: signature of esp32c3-app-0123456789ab.bin
//! base64("ED" | key number | Ed25519(BLAKE2b-512(file)))
//! trusted comment: file:esp32c3-app-0123456789ab.bin version:1.2.0 project:lamp
//! base64(Ed25519(signature | trusted comment))
//! ```
//!
//! They name no time: the same key and file give the same bytes on any machine.
//! The key number is the key id, in the order in which `minisign` shows it.

use crate::keys::{PublicKey, SecretKey};
use base64::{Engine, prelude::BASE64_STANDARD};
use blake2::{Blake2b512, Digest};

/// What a file name gets at its end for its signature.
pub const EXTENSION: &str = ".minisig";

/// Marks a signature over the hash of a file.
const PREHASHED: &[u8; 2] = b"ED";

/// Marks a public key.
const PUBLIC: &[u8; 2] = b"Ed";

/// Returns the number that `minisign` knows a key by.
fn number(key: &PublicKey) -> [u8; 8] {
    let mut number = key.id().0;
    number.reverse();
    number
}

/// Writes a public key as `minisign -p` reads it.
pub fn public_key(key: &PublicKey) -> String {
    let body = [&PUBLIC[..], &number(key), key.as_bytes()].concat();
    let id = key.id().to_string().to_uppercase();
    format!("untrusted comment: minisign public key {id}\n{}\n", BASE64_STANDARD.encode(body))
}

/// Returns what the signature of a file says beside it.
pub fn trusted_comment(file: &str, version: &str, project: &str) -> String {
    format!("file:{file} version:{version} project:{project}")
}

/// Signs a file. Both comments are of one line.
pub fn sign(key: &SecretKey, bytes: &[u8], file: &str, trusted_comment: &str) -> String {
    let signature = key.sign(&Blake2b512::digest(bytes));
    let whole = key.sign(&[&signature[..], trusted_comment.as_bytes()].concat());
    let body = [&PREHASHED[..], &number(&key.public()), &signature].concat();
    format!(
        "untrusted comment: signature of {file}\n{}\ntrusted comment: {trusted_comment}\n{}\n",
        BASE64_STANDARD.encode(body),
        BASE64_STANDARD.encode(whole),
    )
}

/// Verifies the signature of a file by one of `keys`, and what it has to say of
/// the file.
///
/// # Errors
/// What is wrong with it.
pub fn verify(
    keys: &[PublicKey],
    bytes: &[u8],
    text: &[u8],
    trusted_comment: &str,
) -> Result<(), String> {
    let text = str::from_utf8(text).map_err(|error| error.to_string())?;
    let mut lines = text.lines();
    let mut next = |start: &str| {
        let line = lines.next().and_then(|line| line.strip_prefix(start));
        line.ok_or_else(|| format!("is not a signature of minisign: no line `{start}…`"))
    };
    let decode = |line: &str| BASE64_STANDARD.decode(line).map_err(|error| error.to_string());
    next("untrusted comment: ")?;
    let body = decode(next("")?)?;
    let comment = next("trusted comment: ")?;
    let whole = decode(next("")?)?;
    let Some((head, signature)) = body.split_first_chunk::<10>() else {
        return Err("is not a signature of minisign: it is too short".into());
    };
    if !head.starts_with(PREHASHED) {
        return Err("is a signature of another kind".into());
    }
    let key = keys.iter().find(|key| head[2..] == number(key));
    let key = key.ok_or("is signed by a key that the root does not name")?;
    if comment != trusted_comment {
        return Err(format!("speaks of `{comment}` instead of `{trusted_comment}`"));
    }
    if !key.verifies(&[signature, comment.as_bytes()].concat(), &whole) {
        return Err("its comment is not signed".into());
    }
    if !key.verifies(&Blake2b512::digest(bytes), signature) {
        return Err("the signature is not one of the file".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_of_its_file_its_key_and_its_comment() {
        let key = SecretKey::from_seed([1; 32]);
        let other = SecretKey::from_seed([2; 32]).public();
        let comment = trusted_comment("a.bin", "1.0.0", "lamp");
        let text = sign(&key, b"firmware", "a.bin", &comment);
        let check = |keys: &[PublicKey], bytes: &[u8], text: &str, comment: &str| {
            verify(keys, bytes, text.as_bytes(), comment)
        };
        let keys = [other, key.public()];
        assert_eq!(check(&keys, b"firmware", &text, &comment), Ok(()));
        assert!(check(&keys, b"firmwarf", &text, &comment).is_err());
        assert!(check(&[other], b"firmware", &text, &comment).is_err());
        assert!(check(&keys, b"firmware", &text, "file:b.bin").is_err());
        let forged = text.replace("1.0.0", "2.0.0");
        let comment = trusted_comment("a.bin", "2.0.0", "lamp");
        assert_eq!(
            check(&keys, b"firmware", &forged, &comment).unwrap_err(),
            "its comment is not signed"
        );
        for cut in 0..text.len() - 1 {
            assert!(check(&keys, b"firmware", &text[..cut], &comment).is_err(), "{cut}");
        }
    }
}
