//! Keys: who may say what devices install.
//!
//! ```text
//! key folder (never in the repository)        repository            site
//!   root-<keyid>.pem     encrypted, offline --> root/1.json, 2, … --> root/<N>.json
//!   channel-<keyid>.pem  for CI ---------------> (signs) ---------> ota/<channel>/<target>.json
//! ```
//!
//! Root keys say which keys speak for which channel, and nothing else; they are
//! needed when keys change and can be kept offline. Channel keys sign what is
//! rendered. Devices know the root from the day they were flashed and follow
//! its changes one by one, so that every key can be replaced.
//!
//! Invariants:
//!
//! - no secret key is written to or read from the repository, and none is read
//!   that others on the machine could have read;
//! - a key file is written before the root that names it, as `new-….pem`, so that
//!   a run that was killed leaves a key that nobody trusts yet, which the next
//!   run for the same project uses, and none for another;
//! - what is published is verified with the public keys before it counts.

pub mod chain;
mod folder;
mod passphrase;
mod public;
pub mod root;
mod secret;

pub use folder::{CHANNEL_KEY, KEYS, KeyFile, KeyFolder, Kind, keys_of_variable};
pub use passphrase::{PASSPHRASE, Passphrase};
pub use public::PublicKey;
pub use secret::{Held, SecretKey};

use crate::ui::Hinted;
use std::path::PathBuf;

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
    /// Others on this machine can read a secret key.
    #[error("{path}: others on this machine can read this secret key (mode {mode:o})")]
    Readable {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A folder is where a key file should be.
    #[error("{0}: is a folder, not a key file")]
    Folder(PathBuf),
    /// Secret keys are in the repository.
    #[error("{path}: secret keys must not be inside the repository {repository}")]
    InRepository {
        /// The file or folder.
        path: PathBuf,
        /// The repository.
        repository: PathBuf,
    },
    /// A text or file is not a key.
    #[error("{origin}: not {expected}: {reason}")]
    Malformed {
        /// The file or variable.
        origin: String,
        /// What was expected.
        expected: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The passphrase does not open the key.
    #[error("{0}: the passphrase is wrong")]
    WrongPassphrase(String),
    /// The home folder is not known.
    #[error("no folder for keys: the home folder is not known")]
    NoHome,
    /// The system gives no random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(getrandom::Error),
    /// The passphrase cannot be asked for.
    #[error("{0}")]
    Passphrase(String),
}

impl KeyError {
    /// Says what to do about it, where that can be said.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Readable { path, .. } => format!(
                "chmod 600 {}; on a medium without such permissions only encrypted keys can be",
                path.display()
            ),
            Self::Folder(path) => format!(
                "name a file in it, or the folder with the variable {KEYS}={}",
                path.display()
            ),
            Self::InRepository { .. } => format!(
                "move them elsewhere, and if they were ever committed, make new ones; the variable {KEYS} names the folder"
            ),
            Self::WrongPassphrase(_) => {
                format!("type it again, or set the variable {PASSPHRASE}")
            }
            Self::NoHome => format!("set the variable {KEYS} to a folder for keys"),
            Self::Passphrase(_) => {
                format!("run the command on a terminal, or set the variable {PASSPHRASE}")
            }
            Self::Io { .. } | Self::Malformed { .. } | Self::Random(_) => return None,
        })
    }
}

/// Adds what to do about it.
pub(crate) fn hinted(error: KeyError) -> anyhow::Error {
    match error.hint() {
        Some(hint) => Hinted::new(error.to_string(), hint).into(),
        None => error.into(),
    }
}
