//! Passphrases of root keys.

use super::KeyError;
use std::{
    fmt,
    io::{self, IsTerminal},
};
use zeroize::Zeroizing;

/// Environment variable that holds the passphrase of root keys.
pub const PASSPHRASE: &str = "TOWLINE_ROOT_PASSPHRASE";

/// The fewest characters of a passphrase.
const MIN: usize = 8;

/// A passphrase. Its memory is cleared when it is dropped.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// Takes a text that is long enough.
    ///
    /// # Errors
    /// [`KeyError::Passphrase`].
    pub fn new(text: String) -> Result<Self, KeyError> {
        let text = Zeroizing::new(text);
        if text.chars().count() < MIN {
            let message = format!("a passphrase has {MIN} characters or more");
            return Err(KeyError::Passphrase(message));
        }
        Ok(Self(text))
    }

    /// Reads the passphrase of `what` from the environment or a terminal.
    ///
    /// # Errors
    /// [`KeyError::Passphrase`].
    pub fn of(what: &str) -> Result<Self, KeyError> {
        match from_environment()? {
            Some(passphrase) => Ok(passphrase),
            None => Self::new(ask(&format!("Passphrase of {what}: "))?),
        }
    }

    /// Reads a passphrase for new root keys, on a terminal twice.
    ///
    /// # Errors
    /// [`KeyError::Passphrase`].
    pub fn of_new_keys() -> Result<Self, KeyError> {
        if let Some(passphrase) = from_environment()? {
            return Ok(passphrase);
        }
        let first = Self::new(ask("Passphrase for the root key: ")?)?;
        let again = Zeroizing::new(ask("The same once more: ")?);
        if first.0 != again {
            return Err(KeyError::Passphrase("the two passphrases differ".into()));
        }
        Ok(first)
    }
}

fn from_environment() -> Result<Option<Passphrase>, KeyError> {
    match std::env::var(PASSPHRASE) {
        // As CI has it for runs that get no secrets.
        Ok(text) if text.is_empty() => Ok(None),
        Ok(text) => Passphrase::new(text).map(Some),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(error) => Err(KeyError::Passphrase(format!("{PASSPHRASE}: {error}"))),
    }
}

fn ask(prompt: &str) -> Result<String, KeyError> {
    if !io::stdin().is_terminal() {
        return Err(KeyError::Passphrase(
            "a passphrase is needed, and there is no terminal".into(),
        ));
    }
    rpassword::prompt_password(prompt).map_err(|error| KeyError::Passphrase(error.to_string()))
}

impl AsRef<[u8]> for Passphrase {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase")
    }
}
