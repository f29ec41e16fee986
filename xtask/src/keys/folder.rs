//! Where secret keys are: files outside of the repository, or a variable.

use super::{Held, KeyError, Passphrase, SecretKey};
use crate::{disk::Disk, store::sha256};
use std::{
    ffi::OsStr,
    fmt, fs, io,
    path::{Path, PathBuf},
};
use towline_descriptor::KeyId;
use zeroize::Zeroizing;

/// Environment variable that names the folder of key files.
pub const KEYS: &str = "TOWLINE_KEYS";

/// Environment variable that holds channel keys: one or several blocks of PEM.
pub const CHANNEL_KEY: &str = "TOWLINE_CHANNEL_KEY";

/// What the name of a key starts with that no root names yet.
const NEW: &str = "new-";

/// What a secret key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// It says which keys count. Encrypted, offline.
    Root,
    /// It signs what channels serve. For CI.
    Channel,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Channel => "channel",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A file of the key folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFile {
    /// The file.
    pub path: PathBuf,
    /// What its key is for.
    pub kind: Kind,
    /// Its key, as its content says, or its name where that is encrypted.
    pub id: KeyId,
    /// Whether a run for this project made it and has not written the root that
    /// names it yet.
    pub is_new: bool,
    /// Another key that the name of the file speaks of.
    pub named: Option<KeyId>,
}

/// The folder of a project's key files.
#[derive(Clone, Debug)]
pub struct KeyFolder {
    path: PathBuf,
    repository: PathBuf,
    /// What the names of new keys of this very project start with.
    new: String,
}

impl KeyFolder {
    /// Takes the key folder of the project in the folder `root`: that of
    /// [`KEYS`], or one of the user's.
    ///
    /// # Errors
    /// If it is inside the repository.
    pub fn of(root: &Path, project: &str) -> Result<Self, KeyError> {
        let named = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let path = match (named(KEYS), named("XDG_CONFIG_HOME")) {
            (Some(path), _) => path.into(),
            (None, Some(config)) => Path::new(&config).join("towline").join(project),
            (None, None) => {
                let home = std::env::home_dir().filter(|home| !home.as_os_str().is_empty());
                home.ok_or(KeyError::NoHome)?.join(".config/towline").join(project)
            }
        };
        Self::at(path, root, project)
    }

    /// Takes the folder `path` for the keys of the project in the folder
    /// `root`.
    ///
    /// # Errors
    /// If it is inside the repository.
    pub fn at(path: PathBuf, root: &Path, project: &str) -> Result<Self, KeyError> {
        // `keys/.` cannot be made, `keys` can.
        let path = path.components().collect();
        // Projects may share a folder, and a clone has the name of the project.
        let place = sha256(format!("{project}\0{}", resolved(root).display()).as_bytes());
        let new = format!("{NEW}{}-", &place.to_string()[..8]);
        let folder = Self { path, repository: repository_of(root), new };
        folder.refuse_inside(&folder.path)?;
        Ok(folder)
    }

    /// Returns the folder; it need not be there.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn refuse_inside(&self, path: &Path) -> Result<(), KeyError> {
        if resolved(path).starts_with(&self.repository) {
            return Err(KeyError::InRepository {
                path: path.to_owned(),
                repository: self.repository.clone(),
            });
        }
        Ok(())
    }

    /// Lists the key files, in the order of their names. The name of a file
    /// says which key it has where it is encrypted; else its content does.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn files(&self) -> Result<Vec<KeyFile>, KeyError> {
        let fault = |source| KeyError::Io { path: self.path.clone(), source };
        let entries = match self.path.read_dir() {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(fault(error)),
        };
        let mut files = Vec::new();
        for entry in entries {
            let path = entry.map_err(fault)?.path();
            if path.extension() == Some(OsStr::new("pem")) && path.is_file() {
                files.extend(self.file(path));
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    /// Returns what a file is; `None` for one that is no key's.
    fn file(&self, path: PathBuf) -> Option<KeyFile> {
        let name = path.file_stem()?.to_str()?;
        let named = named(name);
        let held = fs::read_to_string(&path).map(Zeroizing::new);
        let held = held.ok().and_then(|text| Held::all_in(&text, name).ok());
        let content = held.and_then(|held| held.first()?.read(name).ok());
        let content = content.map(|key| key.public().id());
        let kind = named.map_or(Kind::Channel, |(kind, _)| kind);
        let said = named.map(|(_, id)| id);
        Some(KeyFile {
            is_new: name.starts_with(&self.new),
            kind,
            id: content.or(said)?,
            named: said.filter(|said| content.is_some_and(|id| id != *said)),
            path,
        })
    }

    /// Reads a file of secret keys, after a look at who could have read it. One
    /// that is encrypted may be on a medium that does not say who can.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn read(&self, path: &Path) -> Result<Vec<Held>, KeyError> {
        let fault = |source| KeyError::Io { path: path.to_owned(), source };
        self.refuse_inside(path)?;
        let metadata = path.metadata().map_err(fault)?;
        if metadata.is_dir() {
            return Err(KeyError::Folder(path.to_owned()));
        }
        let text = Zeroizing::new(fs::read_to_string(path).map_err(fault)?);
        let held = Held::all_in(&text, &path.display().to_string())?;
        match others_read(&metadata) {
            Some(mode) if !held.iter().all(Held::is_encrypted) => {
                Err(KeyError::Readable { path: path.to_owned(), mode })
            }
            _ => Ok(held),
        }
    }

    /// Returns whether others on this machine can read a file.
    pub fn others_read(&self, path: &Path) -> bool {
        path.metadata().is_ok_and(|metadata| others_read(&metadata).is_some())
    }

    /// Opens a key file, with `passphrase` if it is encrypted.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn open(
        &self,
        path: &Path,
        passphrase: impl FnOnce() -> Result<Passphrase, KeyError>,
    ) -> Result<SecretKey, KeyError> {
        let held = self.read(path)?.remove(0);
        let origin = path.display().to_string();
        if held.is_encrypted() { held.open(&origin, &passphrase()?) } else { held.read(&origin) }
    }

    /// Keeps a key that somebody else is to name: encrypted if there is a
    /// passphrase.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn keep(
        &self,
        key: &SecretKey,
        kind: Kind,
        passphrase: Option<&Passphrase>,
        disk: &Disk,
    ) -> Result<KeyFile, KeyError> {
        self.settle(&self.keep_new(key, kind, passphrase, disk)?, disk)
    }

    /// Keeps a key that the next root of the project is to name, under a name
    /// that says so until [`settle`](Self::settle) takes it away.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn keep_new(
        &self,
        key: &SecretKey,
        kind: Kind,
        passphrase: Option<&Passphrase>,
        disk: &Disk,
    ) -> Result<KeyFile, KeyError> {
        let id = key.public().id();
        let path = self.path.join(format!("{}{kind}-{id}.pem", self.new));
        let fault = |source| KeyError::Io { path: path.clone(), source };
        let pem = match passphrase {
            Some(passphrase) => key.to_encrypted_pem(passphrase)?,
            None => key.to_pem(),
        };
        disk.create_private_dir(&self.path).map_err(fault)?;
        disk.clean_in(&self.path).map_err(fault)?;
        // The public half is for those who add it to another root.
        let public = path.with_extension("pub");
        disk.write(&public, key.public().to_pem().as_bytes()).map_err(fault)?;
        disk.write_private(&path, pem.as_bytes()).map_err(fault)?;
        Ok(KeyFile { path, kind, id, is_new: true, named: None })
    }

    /// Gives the file of a new key the name that it has from then on.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn settle(&self, file: &KeyFile, disk: &Disk) -> Result<KeyFile, KeyError> {
        let path = self.settled(file);
        let fault = |source| KeyError::Io { path: path.clone(), source };
        let public = file.path.with_extension("pub");
        if public.exists() {
            disk.rename(&public, &path.with_extension("pub")).map_err(fault)?;
        }
        disk.rename(&file.path, &path).map_err(fault)?;
        Ok(KeyFile { path, is_new: false, ..file.clone() })
    }

    /// Returns where the file of a new key is once a root names it.
    pub fn settled(&self, file: &KeyFile) -> PathBuf {
        self.path.join(format!("{}-{}.pem", file.kind, file.id))
    }

    /// Returns the channel keys that are at hand and that `wanted` asks for:
    /// those of the variable [`CHANNEL_KEY`], then those of files.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn channel_keys(&self, wanted: impl Fn(KeyId) -> bool) -> Result<Vec<SecretKey>, KeyError> {
        let mut keys: Vec<SecretKey> = Vec::new();
        if let Some(text) = channel_key_variable()? {
            for key in keys_of_variable(&text)? {
                // One that is there twice is one signature all the same.
                if !keys.iter().any(|known| known.public() == key.public()) {
                    keys.push(key);
                }
            }
        }
        keys.retain(|key| wanted(key.public().id()));
        for file in self.files()? {
            let known = keys.iter().any(|key| key.public().id() == file.id);
            if file.kind == Kind::Channel && wanted(file.id) && !known {
                keys.push(self.open(&file.path, || {
                    let reason = "a channel key is not encrypted: CI could not use it";
                    Err(KeyError::Passphrase(format!("{}: {reason}", file.path.display())))
                })?);
            }
        }
        Ok(keys)
    }
}

/// Reads the variable with channel keys; empty counts as missing, as CI has it
/// for runs that get no secrets.
fn channel_key_variable() -> Result<Option<Zeroizing<String>>, KeyError> {
    match std::env::var(CHANNEL_KEY) {
        Ok(text) if text.trim().is_empty() => Ok(None),
        Ok(text) => Ok(Some(Zeroizing::new(text))),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(_) => Err(KeyError::Malformed {
            origin: CHANNEL_KEY.into(),
            expected: "a secret Ed25519 key in PEM (PKCS#8)",
            reason: "it is not text".into(),
        }),
    }
}

/// Reads the keys that the text of the variable [`CHANNEL_KEY`] holds.
///
/// # Errors
/// [`KeyError::Malformed`].
pub fn keys_of_variable(text: &str) -> Result<Vec<SecretKey>, KeyError> {
    let refused = |reason: &str| KeyError::Malformed {
        origin: CHANNEL_KEY.into(),
        expected: "a secret Ed25519 key in PEM (PKCS#8)",
        reason: reason.into(),
    };
    if !text.contains("-----") && Path::new(text.trim()).is_file() {
        return Err(refused("it is the path of a file, and has to hold the content of that file"));
    }
    if !text.trim().contains('\n') || text.contains("\\n") {
        return Err(refused(
            "it is one line; the lines of the file have to stay lines, as in \"$(cat FILE)\"",
        ));
    }
    let held = Held::all_in(text, CHANNEL_KEY)?;
    if held.iter().any(Held::is_encrypted) {
        return Err(refused(
            "it is encrypted, as root keys are, which never go to CI; it has to be a channel key",
        ));
    }
    held.iter().map(|held| held.read(CHANNEL_KEY)).collect()
}

/// Reads what the name of a key file says, which is `root-<keyid>` or
/// `channel-<keyid>`, and for a new key has `new-<project>-` before it.
fn named(name: &str) -> Option<(Kind, KeyId)> {
    let name = name.strip_prefix(NEW).and_then(|name| name.split_once('-')).map_or(name, |n| n.1);
    let (kind, id) = name.split_once('-')?;
    let kind = [Kind::Root, Kind::Channel].into_iter().find(|known| known.as_str() == kind)?;
    Some((kind, id.parse().ok()?))
}

/// Returns the repository that a folder is in, or the folder.
pub(crate) fn repository_of(root: &Path) -> PathBuf {
    let root = resolved(root);
    root.ancestors().find(|dir| dir.join(".git").exists()).unwrap_or(&root).to_owned()
}

/// Returns the absolute path without links, as far as it is there.
fn resolved(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    for ancestor in path.ancestors() {
        if let Ok(real) = ancestor.canonicalize() {
            let rest = path.strip_prefix(ancestor).unwrap_or(Path::new(""));
            // What is not there has no links to follow; `..` stays out of it.
            let mut real = real;
            for part in rest.components() {
                match part {
                    std::path::Component::ParentDir => drop(real.pop()),
                    part => real.push(part),
                }
            }
            return real;
        }
    }
    path
}

/// Returns the permissions of a file if they are not for its owner alone.
#[cfg(unix)]
fn others_read(metadata: &fs::Metadata) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt;
    let mode = metadata.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then_some(mode)
}

#[cfg(not(unix))]
fn others_read(_: &fs::Metadata) -> Option<u32> {
    None
}

#[cfg(test)]
mod tests;
