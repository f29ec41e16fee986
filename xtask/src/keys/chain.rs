//! The chain of roots in the repository, `root/<N>.json` beside towline.toml.
//!
//! ```text
//! root/1.json <- root/2.json <- ... <- root/<N+1>.json.partial
//!   each signed by enough keys          the next one, while signatures
//!   of the one before and its own       are collected
//! ```
//!
//! The files are public and reviewed like code. One that was changed by hand
//! has no valid signature and stops everything.

use super::{
    PublicKey, SecretKey,
    root::{Role, Root},
};
use crate::{disk::Disk, name::ProjectName};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    path::{Path, PathBuf},
};
use towline::ed25519;
use towline_descriptor::{
    Envelope, KeyId, MAX_DOCUMENT,
    envelope::{ROOT_TYPE, pre_authentication},
    root::{MAX_ROOT, Root as WireRoot},
};

/// Name of the folder of roots, in the repository and on the site.
pub const FOLDER: &str = "root";

/// What the name of a root has at its end while signatures are missing.
const PARTIAL: &str = ".partial";

/// Why a chain does not hold.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// Another run changes the roots.
    #[error("{}: another run is changing the keys; let it end first", .0.display())]
    Busy(PathBuf),
    /// A root is not what it should be.
    #[error("{origin}: {reason}")]
    Invalid {
        /// The file.
        origin: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Signed bytes as files hold them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sealed {
    payload_type: String,
    payload: String,
    signatures: Vec<SealedBy>,
}

/// A signature as files hold it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedBy {
    /// Id of the key.
    pub keyid: String,
    /// The signature in base64.
    pub sig: String,
}

/// Returns what a key signs of a payload.
pub fn message(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    pre_authentication(payload_type, payload, |parts| {
        message = parts.concat();
        true
    });
    message
}

/// Signs a payload.
pub fn signature(key: &SecretKey, message: &[u8]) -> SealedBy {
    let sig = BASE64_STANDARD.encode(key.sign(message));
    SealedBy { keyid: key.public().id().to_string(), sig }
}

/// A root with the signatures that it has so far.
#[derive(Clone, Debug)]
pub struct Signed {
    /// What it says.
    pub root: Root,
    /// The signed bytes.
    pub payload: Vec<u8>,
    sealed: Sealed,
}

/// Signatures that a root still lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lacking {
    /// The number of the root whose keys have to sign.
    pub of: u32,
    /// How many more of them.
    pub count: usize,
    /// Those that have not signed yet.
    pub keys: Vec<KeyId>,
}

/// All roots of a project, verified.
#[derive(Clone, Debug)]
pub struct Chain {
    links: Vec<Signed>,
}

impl Signed {
    /// Makes a root that nobody has signed yet.
    ///
    /// # Errors
    /// If it is too large for devices.
    ///
    /// # Panics
    /// Never: a root is plain data.
    pub fn new(root: Root) -> Result<Self, ChainError> {
        let payload = serde_json::to_vec(&root).expect("plain data");
        let sealed = Sealed {
            payload_type: ROOT_TYPE.into(),
            payload: BASE64_STANDARD.encode(&payload),
            signatures: Vec::new(),
        };
        let origin = file_name(root.version);
        if payload.len() > MAX_ROOT {
            let reason = format!("has {} bytes, devices read {MAX_ROOT}", payload.len());
            return Err(ChainError::Invalid { origin, reason });
        }
        Ok(Self { root, payload, sealed })
    }

    /// Reads a root whose signatures are not verified. `origin` is where it is
    /// from.
    ///
    /// # Errors
    /// [`ChainError::Invalid`].
    pub fn parse(text: &[u8], origin: &str) -> Result<Self, ChainError> {
        // A name in the file must not move the cursor of who reads the reason.
        let invalid = |reason: String| ChainError::Invalid {
            origin: origin.to_owned(),
            reason: reason.replace(char::is_control, "\u{fffd}"),
        };
        if text.len() > MAX_DOCUMENT {
            return Err(invalid(format!("larger than {MAX_DOCUMENT} bytes")));
        }
        // What devices refuse is no root, whatever else could be read in it.
        let mut document = text.to_vec();
        let envelope = Envelope::parse(&mut document).map_err(|e| invalid(e.to_string()))?;
        if envelope.payload_type() != ROOT_TYPE {
            return Err(invalid(format!("is a {}, not a root", envelope.payload_type())));
        }
        let payload = envelope.into_payload().to_vec();
        WireRoot::parse(&mut payload.clone(), "").map_err(|error| invalid(error.to_string()))?;
        let root: Root = serde_json::from_slice(&payload).map_err(|e| invalid(e.to_string()))?;
        // What two readers could read in two ways, such as a name twice.
        if serde_json::to_vec(&root).is_ok_and(|written| written != payload) {
            return Err(invalid("is not written as the publisher writes roots".into()));
        }
        root.check().map_err(|error| invalid(error.to_string()))?;
        let sealed = serde_json::from_slice(text).map_err(|e| invalid(e.to_string()))?;
        Ok(Self { root, payload, sealed })
    }

    /// Adds the signature of a key, if it has none yet.
    pub fn sign(&mut self, key: &SecretKey) {
        let public = key.public();
        if !self.is_signed_by(&public) {
            // One of this key that does not hold makes room.
            let id = public.id().to_string();
            self.sealed.signatures.retain(|signature| signature.keyid != id);
            let message = message(ROOT_TYPE, &self.payload);
            self.sealed.signatures.push(signature(key, &message));
            self.sealed.signatures.sort_by(|a, b| a.keyid.cmp(&b.keyid));
        }
    }

    /// Returns the file.
    ///
    /// # Panics
    /// Never: signatures are plain data.
    pub fn to_file(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(&self.sealed).expect("plain data");
        text.push(b'\n');
        text
    }

    /// Returns whether a key has signed.
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        let role = Role { threshold: 1, keys: vec![*key] };
        self.signers(&role) == 1
    }

    /// Returns how many keys of a role have signed, as devices count.
    fn signers(&self, role: &Role) -> usize {
        let mut document = self.to_file();
        let Ok(envelope) = Envelope::parse(&mut document) else { return 0 };
        let mut wire = role.to_wire();
        wire.threshold = 1;
        envelope.signed_by(&wire, ed25519).map_or(0, |keys| keys.len())
    }

    /// Returns the signatures that are missing for the root to follow `before`.
    pub fn lacking(&self, before: Option<&Root>) -> Vec<Lacking> {
        let roots = before.into_iter().chain([&self.root]);
        let lacking = roots.filter_map(|root| {
            let role = root.root_role();
            let count = usize::from(role.threshold).saturating_sub(self.signers(role));
            let missing = role.keys.iter().filter(|key| !self.is_signed_by(key));
            let keys = missing.map(PublicKey::id).collect();
            (count > 0).then_some(Lacking { of: root.version, count, keys })
        });
        lacking.collect()
    }
}

impl Chain {
    /// Verifies roots, the first one first, each with where it is from.
    ///
    /// # Errors
    /// [`ChainError::Invalid`], at the first root that does not hold.
    pub fn verify(roots: &[(String, Vec<u8>)], project: &ProjectName) -> Result<Self, ChainError> {
        let mut links: Vec<Signed> = Vec::new();
        for (number, (origin, text)) in (1..).zip(roots) {
            let link = Signed::parse(text, origin)?;
            let invalid = |reason: String| ChainError::Invalid { origin: origin.clone(), reason };
            if link.root.version != number {
                return Err(invalid(format!("is root {}, not {number}", link.root.version)));
            }
            if link.root.project != *project {
                let reason = format!("is of project {}, not {project}", link.root.project);
                return Err(invalid(reason));
            }
            let before = links.last().map(|link| &link.root);
            if let Some(lacking) = link.lacking(before).first() {
                return Err(invalid(format!(
                    "lacks {} signature(s) by root keys of root {}: it was changed, or not signed",
                    lacking.count, lacking.of
                )));
            }
            links.push(link);
        }
        Ok(Self { links })
    }

    /// Reads and verifies the chain in the folder `root`; `None` if there is
    /// none, for the project has no keys.
    ///
    /// # Errors
    /// [`ChainError`].
    pub fn read(root: &Path, project: &ProjectName) -> Result<Option<Self>, ChainError> {
        let mut roots = Vec::new();
        for number in 1.. {
            let path = root.join(file_name(number));
            match fs::read(&path) {
                Ok(text) => roots.push((path.display().to_string(), text)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(source) => return Err(ChainError::Io { path, source }),
            }
        }
        // A gap would hide the newest roots, and with them revoked keys.
        if let Some(stray) = highest(root)?.filter(|highest| *highest as usize > roots.len()) {
            return Err(ChainError::Invalid {
                origin: root.join(file_name(stray)).display().to_string(),
                reason: format!("there is no root {} before it", roots.len() + 1),
            });
        }
        if roots.is_empty() {
            return Ok(None);
        }
        Self::verify(&roots, project).map(Some)
    }

    /// Returns the newest root, with its signatures.
    ///
    /// # Panics
    /// Never: a chain has a root.
    pub fn newest(&self) -> &Signed {
        self.links.last().expect("a chain has a root")
    }

    /// Returns all roots, the first one first.
    pub fn links(&self) -> &[Signed] {
        &self.links
    }

    /// Returns whether any root of the chain names a key.
    pub fn knows(&self, key: KeyId) -> bool {
        let roles = self.links.iter().flat_map(|link| link.root.roles.values());
        roles.flat_map(|role| &role.keys).any(|known| known.id() == key)
    }
}

/// Returns the name of the file of a root.
pub fn file_name(version: u32) -> String {
    format!("{version}.json")
}

/// Returns the highest number among the roots of a folder.
fn highest(folder: &Path) -> Result<Option<u32>, ChainError> {
    let fault = |source| ChainError::Io { path: folder.to_owned(), source };
    let entries = match folder.read_dir() {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fault(error)),
    };
    let mut highest = None;
    for entry in entries {
        let name = entry.map_err(fault)?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".json"));
        highest = highest.max(number.and_then(|number| number.parse().ok()));
    }
    Ok(highest)
}

/// Returns the file that collects signatures of a root.
pub fn partial_path(folder: &Path, version: u32) -> PathBuf {
    folder.join(file_name(version) + PARTIAL)
}

/// What became of a root that was to be added to a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Added {
    /// It is the newest root now, in this file.
    Complete(PathBuf),
    /// It waits for signatures, in this file.
    Partial(PathBuf, Vec<Lacking>),
}

/// Puts a root into the folder of its chain: as the newest one if it has all
/// signatures, else as one that waits for them.
///
/// # Errors
/// [`ChainError::Io`].
pub fn add(
    folder: &Path,
    next: &Signed,
    before: Option<&Root>,
    disk: &Disk,
) -> Result<Added, ChainError> {
    let (partial, path) =
        (partial_path(folder, next.root.version), folder.join(file_name(next.root.version)));
    let fault = |source| ChainError::Io { path: path.clone(), source };
    let lacking = next.lacking(before);
    // What nobody could read again is not written.
    Signed::parse(&next.to_file(), &path.display().to_string())?;
    disk.create_dir(folder).map_err(fault)?;
    disk.clean_in(folder).map_err(fault)?;
    if !lacking.is_empty() {
        disk.write(&partial, &next.to_file()).map_err(fault)?;
        return Ok(Added::Partial(partial, lacking));
    }
    // Another run may have been faster: what it wrote may be published already.
    disk.write_new(&path, &next.to_file()).map_err(fault)?;
    remove_partial(folder, next, disk)?;
    Ok(Added::Complete(path))
}

/// Removes the file that collected signatures of a root, and returns `None`. If
/// it is of another change it stays, and its path is returned: it is the only
/// place where its signatures are.
///
/// # Errors
/// [`ChainError::Io`].
pub fn remove_partial(
    folder: &Path,
    root: &Signed,
    disk: &Disk,
) -> Result<Option<PathBuf>, ChainError> {
    let path = partial_path(folder, root.root.version);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(ChainError::Io { path, source }),
    };
    if !Signed::parse(&text, "").is_ok_and(|partial| partial.payload == root.payload) {
        return Ok(Some(path));
    }
    disk.remove_file(&path).map_err(|source| ChainError::Io { path, source })?;
    Ok(None)
}

/// Keeps other runs from changing the roots of a folder until the result is
/// dropped. Where there is no folder yet, or the system cannot lock one, there
/// is none: roots that stand are never replaced in any case.
///
/// # Errors
/// [`ChainError::Busy`].
pub fn lock(folder: &Path) -> Result<Option<fs::File>, ChainError> {
    let Ok(file) = fs::File::open(folder) else { return Ok(None) };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(fs::TryLockError::WouldBlock) => Err(ChainError::Busy(folder.to_owned())),
        Err(fs::TryLockError::Error(_)) => Ok(None),
    }
}

/// Reads the root that waits for signatures after `newest`, if there is one.
///
/// # Errors
/// [`ChainError`].
pub fn waiting(folder: &Path, newest: u32) -> Result<Option<Signed>, ChainError> {
    let path = partial_path(folder, newest + 1);
    match fs::read(&path) {
        Ok(text) => Signed::parse(&text, &path.display().to_string()).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ChainError::Io { path, source }),
    }
}

#[cfg(test)]
mod tests;
