//! Where secret keys are: files outside of the repository, or a variable.

use super::{Held, KeyError, Passphrase, SecretKey};
use crate::disk::Disk;
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
    /// Its key, as its name says.
    pub id: KeyId,
}

/// The folder of a project's key files.
#[derive(Clone, Debug)]
pub struct KeyFolder {
    path: PathBuf,
    repository: PathBuf,
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
        Self::at(path, root)
    }

    /// Takes the folder `path` for the keys of the project in the folder
    /// `root`.
    ///
    /// # Errors
    /// If it is inside the repository.
    pub fn at(path: PathBuf, root: &Path) -> Result<Self, KeyError> {
        // `keys/.` cannot be made, `keys` can.
        let path = path.components().collect();
        let folder = Self { path, repository: repository_of(root) };
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

    /// Lists the key files, in the order of their names.
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
            files.extend(named(&path).map(|(kind, id)| KeyFile { path: path.clone(), kind, id }));
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    /// Reads a file of secret keys, after a look at who could have read it.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn read(&self, path: &Path) -> Result<Vec<Held>, KeyError> {
        let fault = |source| KeyError::Io { path: path.to_owned(), source };
        self.refuse_inside(path)?;
        refuse_readable(path, &path.metadata().map_err(fault)?)?;
        let text = Zeroizing::new(fs::read_to_string(path).map_err(fault)?);
        Held::all_in(&text, &path.display().to_string())
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

    /// Keeps a key: encrypted if there is a passphrase.
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
        let id = key.public().id();
        let path = self.path.join(format!("{kind}-{id}.pem"));
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
        Ok(KeyFile { path, kind, id })
    }

    /// Returns the channel keys that are at hand and that `wanted` asks for:
    /// those of the variable [`CHANNEL_KEY`], then those of files.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn channel_keys(&self, wanted: impl Fn(KeyId) -> bool) -> Result<Vec<SecretKey>, KeyError> {
        let mut keys: Vec<SecretKey> = Vec::new();
        if let Some(text) = channel_key_variable()? {
            for held in Held::all_in(&text, CHANNEL_KEY)? {
                keys.push(held.read(CHANNEL_KEY)?);
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

/// Reads what the name of a key file says.
fn named(path: &Path) -> Option<(Kind, KeyId)> {
    if path.extension() != Some(OsStr::new("pem")) {
        return None;
    }
    let (kind, id) = path.file_stem()?.to_str()?.split_once('-')?;
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

#[cfg(unix)]
fn refuse_readable(path: &Path, metadata: &fs::Metadata) -> Result<(), KeyError> {
    use std::os::unix::fs::PermissionsExt;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyError::Readable { path: path.to_owned(), mode });
    }
    Ok(())
}

#[cfg(not(unix))]
fn refuse_readable(_: &Path, _: &fs::Metadata) -> Result<(), KeyError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, KeyFolder) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("project/.git")).unwrap();
        let keys = dir.path().join("keys");
        let folder = KeyFolder::at(keys, &dir.path().join("project")).unwrap();
        (dir, folder)
    }

    #[test]
    fn a_folder_inside_the_repository_is_refused_however_it_is_named() {
        let (dir, _) = folder();
        let root = dir.path().join("project");
        let inside = ["project", "project/keys", "keys/../project/k", "project/a/../../project"];
        for path in inside {
            let result = KeyFolder::at(dir.path().join(path), &root);
            assert!(matches!(result, Err(KeyError::InRepository { .. })), "{path}");
        }
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(&root, dir.path().join("link")).unwrap();
            let result = KeyFolder::at(dir.path().join("link/keys"), &root);
            assert!(matches!(result, Err(KeyError::InRepository { .. })));
        }
        // The whole repository counts, not only the folder of the project.
        let result = KeyFolder::at(root.join("keys"), &root.join("firmware"));
        assert!(matches!(result, Err(KeyError::InRepository { .. })));
        KeyFolder::at(dir.path().join("project-keys"), &root).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn a_key_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let (_dir, folder) = folder();
        let key = SecretKey::generate().unwrap();
        let file = folder.keep(&key, Kind::Channel, None, &Disk::default()).unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&file.path), mode(folder.path())), (0o600, 0o700));
        assert_eq!(folder.channel_keys(|_| true).unwrap()[0].public(), key.public());
        for readable in [0o644, 0o640, 0o604] {
            let permissions = fs::Permissions::from_mode(readable);
            fs::set_permissions(&file.path, permissions).unwrap();
            let error = folder.channel_keys(|_| true).unwrap_err();
            assert!(matches!(error, KeyError::Readable { .. }), "{error}");
            assert!(error.hint().unwrap().starts_with("chmod 600"));
            // One that nobody asks for is not in the way.
            assert_eq!(folder.channel_keys(|_| false).unwrap().len(), 0);
        }
    }

    #[test]
    fn a_killed_run_leaves_a_whole_key_or_none() {
        for steps in 0.. {
            let (_dir, folder) = folder();
            let key = SecretKey::from_seed([3; 32]);
            let result = folder.keep(&key, Kind::Channel, None, &Disk::killed_after(steps));
            for file in folder.files().unwrap() {
                assert_eq!(folder.channel_keys(|id| id == file.id).unwrap().len(), 1);
            }
            if result.is_ok() {
                assert!(steps > 5, "{steps}");
                break;
            }
            folder.keep(&key, Kind::Channel, None, &Disk::default()).unwrap();
            assert_eq!(folder.path().read_dir().unwrap().count(), 2, "after {steps} steps");
        }
    }
}
