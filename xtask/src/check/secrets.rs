//! Secret keys where everybody can read them.

use super::Problem;
use crate::{
    keys::{Held, KeyFolder},
    toolchain::capture,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use memchr::memmem::Finder;
use rayon::prelude::*;
use std::{path::Path, sync::LazyLock};

/// What stands before the kind of a PEM block.
static BEGIN: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("-----BEGIN "));

/// How every secret key file of minisign starts, encrypted or not: algorithm,
/// key derivation and checksum in base64.
static MINISIGN: LazyLock<[Finder<'static>; 2]> =
    LazyLock::new(|| [Finder::new("RWRTY0Iy"), Finder::new("RWQAAEIy")]);

/// The longest PEM block of a key, headers included, in bytes.
const MAX_BLOCK: usize = 16 << 10;

/// Larger files of a repository are not looked into, in bytes.
const MAX_FILE: u64 = 64 << 20;

/// The fewest characters of base64 in a line that holds a key.
const MIN_LINE: usize = 32;

/// Texts that no public file may have: the secret keys at hand, in every form.
#[derive(Default)]
pub struct Secrets(Vec<(String, Finder<'static>)>);

impl Secrets {
    /// Takes the keys of a folder; those that cannot be read are left out.
    pub fn of(folder: &KeyFolder) -> Self {
        let mut secrets = Self::default();
        for file in folder.files().unwrap_or_default() {
            for held in folder.read(&file.path).unwrap_or_default() {
                secrets.add(&format!("{}-{}", file.kind, file.id), &held);
            }
        }
        for key in folder.channel_keys(|_| true).unwrap_or_default() {
            secrets.add(&format!("channel-{}", key.public().id()), &Held::Plain(key.to_pem()));
        }
        secrets
    }

    fn add(&mut self, name: &str, held: &Held) {
        let mut push = |needle: &[u8]| {
            self.0.push((name.to_owned(), Finder::new(needle).into_owned()));
        };
        let (Held::Encrypted(pem) | Held::Plain(pem)) = held;
        let lines = pem.lines().filter(|line| line.len() >= 64 && !line.starts_with('-'));
        lines.for_each(|line| push(line.as_bytes()));
        match held {
            // What is encrypted is only known as it is.
            Held::Encrypted(_) => {}
            Held::Plain(_) => {
                let Ok(key) = held.read(name) else { return };
                let seed = key.seed();
                push(seed.as_ref());
                let hex: String = seed.iter().map(|byte| format!("{byte:02x}")).collect();
                push(hex.as_bytes());
                push(hex.to_uppercase().as_bytes());
                push(BASE64_STANDARD.encode(seed.as_ref()).trim_end_matches('=').as_bytes());
            }
        }
    }

    /// Finds a secret key in a file.
    pub fn find(&self, bytes: &[u8]) -> Option<String> {
        let known = self.0.iter().find(|(_, needle)| needle.find(bytes).is_some());
        if let Some((name, _)) = known {
            return Some(format!("has the secret key {name}; replace that key"));
        }
        if let Some(kind) = BEGIN.find_iter(bytes).find_map(|at| private_block(&bytes[at..])) {
            return Some(format!("has a secret key ({kind}); if it counts anywhere, replace it"));
        }
        let is_minisign =
            |needle: &Finder<'_>| needle.find_iter(bytes).any(|at| base64_len(&bytes[at..]) >= 200);
        MINISIGN
            .iter()
            .any(is_minisign)
            .then(|| "has a secret key of minisign; if it counts anywhere, replace it".into())
    }

    /// Reports a secret key in the file `path`.
    pub(super) fn problem(&self, path: &str, bytes: &[u8]) -> Option<Problem> {
        self.find(bytes).map(|message| Problem { path: path.to_owned(), message })
    }
}

/// Finds secret keys in the files that Git tracks, or would with `git add`, in
/// the repository of the folder `root`. Outside of Git there are none to tell
/// from others.
///
/// # Errors
/// If Git fails.
pub fn in_repository(root: &Path, secrets: &Secrets) -> anyhow::Result<Vec<Problem>> {
    let root = std::path::absolute(root)?;
    if !root.ancestors().any(|dir| dir.join(".git").exists()) {
        return Ok(Vec::new());
    }
    let top = capture("git", &["rev-parse", "--show-toplevel"], &root)?;
    let top = Path::new(top.trim());
    let listed =
        capture("git", &["ls-files", "-z", "--cached", "--others", "--exclude-standard"], top)?;
    let paths: Vec<_> = listed.split('\0').filter(|path| !path.is_empty()).collect();
    let problems = paths.into_par_iter().filter_map(|path| {
        // Links lead elsewhere, and what was deleted is not there.
        let file = top.join(path);
        let metadata = file.symlink_metadata().ok().filter(std::fs::Metadata::is_file)?;
        if metadata.len() > MAX_FILE {
            return None;
        }
        secrets.problem(path, &std::fs::read(file).ok()?)
    });
    let mut problems: Vec<_> = problems.collect();
    problems.sort();
    Ok(problems)
}

/// Returns the kind of a secret key whose PEM block is at the start of `bytes`.
/// The mere words stand in every program that reads keys.
fn private_block(bytes: &[u8]) -> Option<&str> {
    let rest = &bytes[b"-----BEGIN ".len()..];
    let kind = rest.get(..40.min(rest.len()))?;
    let kind = &kind[..kind.windows(5).position(|window| window == b"-----")?];
    let kind = str::from_utf8(kind).ok()?;
    if !kind.ends_with("PRIVATE KEY") {
        return None;
    }
    let body = &rest[kind.len() + 5..];
    let body = &body[..body.len().min(MAX_BLOCK)];
    // Up to the end of the block, or of what could be one.
    let end = body.windows(5).position(|window| window == b"-----").unwrap_or(body.len());
    let lines = body[..end].split(|byte| b"\r\n\\\"' \t,".contains(byte));
    let is_key = lines.into_iter().any(|line| {
        let line = line.strip_prefix(b"n").filter(|l| l.len() % 4 == 0).unwrap_or(line);
        // Rulers of comments are none.
        let has = |kind: fn(&u8) -> bool| line.iter().any(kind);
        line.len() >= MIN_LINE
            && base64_len(line) == line.len()
            && has(u8::is_ascii_uppercase)
            && has(u8::is_ascii_lowercase)
            && has(u8::is_ascii_digit)
    });
    is_key.then_some(kind)
}

/// Returns how many characters of base64 are at the start of `bytes`.
fn base64_len(bytes: &[u8]) -> usize {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
    bytes.iter().take_while(|byte| plain(byte)).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{Passphrase, SecretKey};

    #[test]
    fn secret_keys_are_found_in_whatever_they_are_wrapped() {
        let key = SecretKey::generate().unwrap();
        let passphrase = Passphrase::new("correct horse".into()).unwrap();
        let (plain, sealed) = (key.to_pem(), key.to_encrypted_pem(&passphrase).unwrap());
        let none = Secrets::default();
        for pem in [&plain, &sealed] {
            let json = serde_json::json!({ "key": **pem }).to_string();
            let texts = [
                (**pem).clone(),
                pem.replace('\n', "\r\n"),
                format!("env:\n  KEY: |\n    {}", pem.replace('\n', "\n    ")),
                format!("\0\0firmware\0{}\0", **pem),
                json,
            ];
            for text in texts {
                assert!(none.find(text.as_bytes()).is_some(), "{text}");
            }
        }
        let minisign = format!("untrusted comment: x\nRWRTY0Iy{}", "A".repeat(204));
        assert!(none.find(minisign.as_bytes()).is_some());
    }

    #[test]
    fn the_very_keys_are_found_without_any_wrapping() {
        let key = SecretKey::from_seed(*b"thirty-two bytes of secret, \xFF\xFE!!");
        let mut secrets = Secrets::default();
        secrets.add("channel-0", &Held::Plain(key.to_pem()));
        let seed = key.seed();
        let hex: String = seed.iter().map(|byte| format!("{byte:02X}")).collect();
        let line = key.to_pem().lines().nth(1).unwrap().to_owned();
        let base64 = BASE64_STANDARD.encode(seed.as_ref());
        for text in [seed.to_vec(), hex.into(), base64.into(), line.into()] {
            let text = [b"\0firmware ", &text[..], b" more"].concat();
            assert!(secrets.find(&text).unwrap().contains("channel-0"));
            assert_eq!(Secrets::default().find(&text), None);
        }
    }

    #[test]
    fn programs_that_read_keys_and_public_keys_are_none() {
        let public = SecretKey::from_seed([1; 32]).public();
        for text in [
            "-----BEGIN PRIVATE KEY-----\0-----END PRIVATE KEY-----\0-----BEGIN ENCRYPTED PRIVATE KEY-----\0",
            "starts_with(\"-----BEGIN EC PRIVATE KEY-----\\n\")",
            "put the lines from -----BEGIN PRIVATE KEY----- to the end of the file into the secret",
            "-----BEGIN ",
            &public.to_pem(),
            &crate::signing::minisig::public_key(&public),
        ] {
            assert_eq!(Secrets::default().find(text.as_bytes()), None, "{text}");
        }
    }
}
