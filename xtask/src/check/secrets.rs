//! Secrets where everybody can read them: keys first of all.

mod published;

pub(crate) use published::Published;

use super::{Code, Finding};
use crate::{
    config::PublicPath,
    keys::{Held, KeyFolder, PublicKey},
    toolchain::capture,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use memchr::memmem::Finder;
use rayon::prelude::*;
use std::{
    path::{Path, PathBuf},
    sync::LazyLock,
};

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

/// Bytes of a line of PEM that are looked for in base64: few enough that one part
/// is whole where that is broken into lines.
const WRAPPED_PART: usize = 24;

/// Folders of what was built or fetched, which nobody publishes as they are.
const NOT_SOURCES: [&str; 3] = [".git", "node_modules", "target"];

/// The fewest characters of base64 in a line that holds a key.
const MIN_LINE: usize = 32;

/// What no public file may have: secret keys.
#[derive(Default)]
pub struct Secrets {
    /// Those at hand, in every form.
    held: Vec<(String, Finder<'static>)>,
    /// The public halves of the project's keys, at hand or not.
    named: Vec<PublicKey>,
    /// Where other keys are for everybody to have.
    public: Vec<PublicPath>,
}

/// A secret key where everybody can read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leak {
    /// What was found.
    pub message: String,
    /// Whether it is a key of the project, not one of somebody else's or of a
    /// test.
    pub is_own: bool,
}

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

    /// Adds the keys that the roots of the project name.
    #[must_use]
    pub fn naming(mut self, keys: impl IntoIterator<Item = PublicKey>) -> Self {
        self.named.extend(keys);
        self
    }

    /// Lets keys that are not the project's pass in these places.
    #[must_use]
    pub fn except_in(mut self, public: &[PublicPath]) -> Self {
        self.public.extend_from_slice(public);
        self
    }

    fn add(&mut self, name: &str, held: &Held) {
        let mut push = |needle: &[u8]| {
            self.held.push((name.to_owned(), Finder::new(needle).into_owned()));
        };
        let (Held::Encrypted(pem) | Held::Plain(pem)) = held;
        let lines = pem.lines().filter(|line| line.len() >= 64 && !line.starts_with('-'));
        for line in lines {
            push(line.as_bytes());
            // Secrets of CI are often the whole file in base64.
            wrapped(line.as_bytes(), WRAPPED_PART).for_each(|text| push(text.as_bytes()));
        }
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
                wrapped(seed.as_ref(), seed.len() / 2).for_each(|text| push(text.as_bytes()));
            }
        }
    }

    /// Finds a secret key in a file.
    pub fn find(&self, bytes: &[u8]) -> Option<Leak> {
        let own = |name: &str| {
            let message = format!("has the secret key {name}; replace that key");
            Some(Leak { message, is_own: true })
        };
        let known = self.held.iter().find(|(_, needle)| needle.find(bytes).is_some());
        if let Some((name, _)) = known {
            return own(name);
        }
        let blocks: Vec<_> = BEGIN
            .find_iter(bytes)
            .filter_map(|at| Some((private_block(&bytes[at..])?, &bytes[at..])))
            .collect();
        let named = blocks
            .iter()
            .find_map(|(_, block)| public_half(block).filter(|public| self.named.contains(public)));
        if let Some(public) = named {
            return own(&public.id().to_string());
        }
        let other = |message: String| Leak { message, is_own: false };
        if let Some((kind, _)) = blocks.first() {
            let message = format!("has a secret key ({kind}); if it counts anywhere, replace it");
            return Some(other(message));
        }
        let is_minisign =
            |needle: &Finder<'_>| needle.find_iter(bytes).any(|at| base64_len(&bytes[at..]) >= 200);
        MINISIGN.iter().any(is_minisign).then(|| {
            other("has a secret key of minisign; if it counts anywhere, replace it".into())
        })
    }

    /// Finds a secret key in the file `path`, unless everybody may have it.
    pub(crate) fn find_in(&self, path: &str, bytes: &[u8]) -> Option<Finding> {
        self.find_as(Code::SecretKey, path, bytes)
    }

    /// Finds a secret key; one of somebody else's is of the kind `other`.
    fn find_as(&self, other: Code, path: &str, bytes: &[u8]) -> Option<Finding> {
        let leak = self.find(bytes).filter(|leak| leak.is_own || !self.is_public(path))?;
        let code = if leak.is_own { Code::OwnSecretKey } else { other };
        Some(code.of(path, leak.message))
    }

    fn is_public(&self, path: &str) -> bool {
        self.public.iter().any(|public| public.has(path))
    }
}

/// Finds secret keys in the files that Git tracks, or would with `git add`, in
/// the repository of the folder `root`; outside of Git in all files of the folder
/// but those below `results`.
///
/// # Errors
/// If Git fails.
pub fn in_repository(
    root: &Path,
    results: &[&Path],
    secrets: &Secrets,
) -> anyhow::Result<Vec<Finding>> {
    let root = std::path::absolute(root)?;
    if !root.ancestors().any(|dir| dir.join(".git").exists()) {
        return Ok(in_folder(&root, results, secrets));
    }
    let top = capture("git", &["rev-parse", "--show-toplevel"], &root)?;
    let top = Path::new(top.trim());
    // Places of the project, wherever in the repository it is.
    let inner = root.canonicalize().unwrap_or_else(|_| root.clone());
    let inner = inner.strip_prefix(top).map(Path::to_owned).unwrap_or_default();
    let listed =
        capture("git", &["ls-files", "-z", "--cached", "--others", "--exclude-standard"], top)?;
    let paths: Vec<_> = listed.split('\0').filter(|path| !path.is_empty()).collect();
    let problems = paths.into_par_iter().filter_map(|path| {
        let file = top.join(path);
        let bytes = match file.symlink_metadata() {
            // Links lead elsewhere.
            Ok(metadata) if !metadata.is_file() || metadata.len() > MAX_FILE => return None,
            Ok(_) => std::fs::read(file).ok()?,
            // What was deleted after `git add` is committed all the same.
            Err(_) => capture("git", &["show", &format!(":{path}")], top).ok()?.into_bytes(),
        };
        let in_project = Path::new(path).strip_prefix(&inner).ok().and_then(Path::to_str);
        secrets.find_in(in_project.unwrap_or(path), &bytes)?;
        secrets.find_in(path, &bytes)
    });
    let mut problems: Vec<_> = problems.collect();
    problems.sort();
    Ok(problems)
}

/// Finds secret keys in the files of a folder that is in no repository.
fn in_folder(root: &Path, results: &[&Path], secrets: &Secrets) -> Vec<Finding> {
    let results: Vec<_> = results.iter().filter_map(|path| path.canonicalize().ok()).collect();
    let mut folders = vec![root.to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().into_iter().flatten().flatten() {
            let (path, Ok(metadata)) = (entry.path(), entry.metadata()) else { continue };
            let is_result = || path.canonicalize().is_ok_and(|path| results.contains(&path));
            let is_source = || !NOT_SOURCES.iter().any(|name| entry.file_name() == *name);
            if metadata.is_dir() && is_source() && !is_result() {
                folders.push(path);
            } else if metadata.is_file() && metadata.len() <= MAX_FILE {
                files.push(path);
            }
        }
    }
    let problem = |path: &PathBuf| {
        let name = path.strip_prefix(root).ok()?.to_string_lossy().replace('\\', "/");
        secrets.find_in(&name, &std::fs::read(path).ok()?)
    };
    let mut problems: Vec<_> = files.par_iter().filter_map(problem).collect();
    problems.sort();
    problems
}

/// Writes parts of `bytes` in base64 as they are found in that of something larger:
/// at each of the three places in a group, in both alphabets.
fn wrapped(bytes: &[u8], part: usize) -> impl Iterator<Item = String> {
    bytes.chunks_exact(part).flat_map(|part| {
        (0..3).flat_map(move |place| {
            let text = BASE64_STANDARD.encode([&[0; 3][..place], part].concat());
            // Characters that hold bits of what stands before or after.
            let (start, end) = ((place * 8).div_ceil(6), (place + part.len()) * 8 / 6);
            let text = text[start..end].to_owned();
            [text.replace('+', "-").replace('/', "_"), text]
        })
    })
}

/// Returns the public half of the key whose PEM block is at the start of `bytes`,
/// if it is one that is not encrypted.
fn public_half(bytes: &[u8]) -> Option<PublicKey> {
    const END: &[u8] = b"-----END PRIVATE KEY-----";
    let end = Finder::new(END).find(&bytes[..bytes.len().min(MAX_BLOCK)])? + END.len();
    let text = str::from_utf8(&bytes[..end]).ok()?.replace("\\n", "\n");
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    let held = Held::all_in(&(lines.join("\n") + "\n"), "").ok()?;
    Some(held.first()?.read("").ok()?.public())
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
    use base64::prelude::BASE64_URL_SAFE;

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
        let mut texts = vec![seed.to_vec(), hex.into(), base64.into(), line.into()];
        // Of the whole file, wherever it begins, on one line or several.
        for before in ["", "a", "ab"] {
            let text = BASE64_STANDARD.encode(format!("{before}{}", *key.to_pem()));
            let broken: Vec<_> = text.as_bytes().chunks(76).collect();
            texts.extend([broken.join(&b'\n'), BASE64_URL_SAFE.encode(seed.as_ref()).into()]);
        }
        for text in texts {
            let text = [b"\0firmware ", &text[..], b" more"].concat();
            let leak = secrets.find(&text).unwrap();
            assert!(leak.message.contains("channel-0") && leak.is_own);
            assert_eq!(Secrets::default().find(&text), None);
        }
    }

    #[test]
    fn the_keys_of_the_roots_are_known_without_being_at_hand() {
        let key = SecretKey::generate().unwrap();
        let public: PublicPath = "tests".to_owned().try_into().unwrap();
        let secrets = Secrets::default().except_in(&[public]);
        let pem = key.to_pem();
        let json = serde_json::json!({ "key": **pem }).to_string();
        for text in [pem.as_str(), &json, &format!("\0{}\0", pem.replace('\n', "\r\n"))] {
            assert!(!secrets.find(text.as_bytes()).unwrap().is_own);
            assert_eq!(secrets.find_in("tests/key.pem", text.as_bytes()), None);
            assert!(secrets.find_in("src/key.pem", text.as_bytes()).is_some());
        }
        let secrets = secrets.naming([key.public()]);
        for text in [pem.as_str(), &json] {
            assert!(secrets.find(text.as_bytes()).unwrap().is_own, "{text}");
            assert!(secrets.find_in("tests/key.pem", text.as_bytes()).is_some());
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
