//! Signatures of what channels serve.
//!
//! ```text
//! descriptor --payload--> {"version", "path", "payloadType", "payload", "signatures"}
//!    ^ seq, issued, expires                                    ^ channel keys
//! ```
//!
//! A [`Signer`] is made at the edge, with the time, the keys at hand and the
//! descriptors that stand; from then on it is a pure function: the same inputs
//! give the same bytes. Invariants:
//!
//! - `seq` of a channel and target never goes down and never repeats with other
//!   content: it is the time in seconds, or one more than what stands. What a key
//!   signed that has lost its role counts as little as on devices;
//! - what stands is kept byte for byte while it says the same, holds, and is less
//!   than half through its life, so that an unchanged run changes nothing and
//!   needs no key;
//! - what devices could not verify with the newest root is not published.

pub mod artifacts;
pub mod minisig;
mod standing;

pub use standing::Standing;

use crate::{
    keys::{
        SecretKey,
        chain::{Chain, FOLDER, SealedBy, file_name, message, signature},
        root::Role,
    },
    name::ChannelName,
    site::payload,
};
use anyhow::Context;
use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};
use towline::ed25519;
use towline_descriptor::{Descriptor, Document, envelope::DESCRIPTOR_TYPE};

/// Returns the time in seconds since 1970: `SOURCE_DATE_EPOCH`, or that of the
/// clock.
///
/// # Errors
/// If the variable is no number.
pub fn now() -> anyhow::Result<u64> {
    match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text.parse().with_context(|| format!("SOURCE_DATE_EPOCH={text}")),
        Err(_) => Ok(clock()),
    }
}

/// Returns the time of the clock in seconds since 1970.
pub fn clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// How far clocks of the machines that publish may differ, in seconds.
pub const CLOCK_SLACK: u64 = 10 * 60;

/// Why something could not be signed.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// The root names no keys for a channel.
    #[error("no key may sign for the channel {0}; `cargo xtask keys add --channel {0}` makes one")]
    NoRole(ChannelName),
    /// Too few of the keys are at hand.
    #[error(
        "{what} needs {threshold} signature(s) by {}, and {at_hand} of these keys is at hand; set the variable TOWLINE_CHANNEL_KEY to the content of the key file, or TOWLINE_KEYS to its folder; if it is lost, `cargo xtask keys rotate` replaces it",
        keys.join(", ")
    )]
    NoKey {
        /// What is to be signed.
        what: String,
        /// How many keys have to sign.
        threshold: u8,
        /// How many can.
        at_hand: usize,
        /// The keys.
        keys: Vec<String>,
    },
    /// The time is before that of what stands.
    #[error(
        "{path} was signed at {issued}, and it is only {now} now (seconds since 1970); set the clock, or unset SOURCE_DATE_EPOCH; if it was not you who signed it, a key was stolen: `cargo xtask keys rotate`"
    )]
    Behind {
        /// The descriptor that stands.
        path: String,
        /// When it was signed.
        issued: u64,
        /// The time now.
        now: u64,
    },
    /// What stands was signed, and would not be any more.
    #[error(
        "{path} is signed, and the project has no keys: devices that know its keys would accept nothing unsigned; bring back the folder root/ beside towline.toml"
    )]
    Unsigned {
        /// The file.
        path: String,
    },
    /// The site that stands has other roots.
    #[error("{path} of the site that stands is not that of the repository: {reason}")]
    OtherRoot {
        /// The root.
        path: String,
        /// What differs, and what to do.
        reason: &'static str,
    },
}

/// Signs what a project publishes.
#[derive(Debug)]
pub struct Signer {
    chain: Chain,
    keys: Vec<SecretKey>,
    standing: Standing,
    now: u64,
    valid: u64,
    refresh: bool,
    signatures: BTreeMap<String, String>,
}

/// A descriptor for a channel to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offered {
    /// The file.
    pub text: Vec<u8>,
    /// When it expires, in seconds since 1970, if it should have been signed anew
    /// and its keys are not at hand.
    pub overdue: Option<u64>,
}

/// A signed descriptor as it is published.
#[derive(Serialize)]
struct Sealed<'a> {
    version: &'a str,
    path: &'a str,
    #[serde(rename = "payloadType")]
    payload_type: &'static str,
    payload: String,
    signatures: Vec<SealedBy>,
}

impl Signer {
    /// Makes a signer of a project with these roots. `keys` are the channel keys
    /// at hand, `valid` the seconds that a descriptor counts for; with `refresh`
    /// nothing that stands is kept.
    ///
    /// # Errors
    /// [`SigningError::OtherRoot`].
    pub fn new(
        chain: Chain,
        keys: Vec<SecretKey>,
        standing: Standing,
        now: u64,
        valid: u64,
        refresh: bool,
    ) -> Result<Self, SigningError> {
        standing.refuse_other_roots(&chain)?;
        Ok(Self { chain, keys, standing, now, valid, refresh, signatures: BTreeMap::new() })
    }

    /// Adds signatures of artifacts, by the path of each on the site.
    #[must_use]
    pub fn with_signatures(mut self, signatures: BTreeMap<String, String>) -> Self {
        self.signatures = signatures;
        self
    }

    /// Returns the roots of the project.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Returns the time that the signer goes by.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// Returns the seconds that a descriptor counts for.
    pub fn valid(&self) -> u64 {
        self.valid
    }

    /// Returns the roots and the public keys of the project.
    pub fn files(&self) -> impl Iterator<Item = (String, Vec<u8>)> {
        let roots = self
            .chain
            .links()
            .iter()
            .map(|link| (format!("{FOLDER}/{}", file_name(link.root.version)), link.to_file()));
        let keys = self.chain.newest().root.channel_keys().into_iter().map(|key| {
            (format!("{FOLDER}/{}.pub", key.id()), minisig::public_key(&key).into_bytes())
        });
        roots.chain(keys)
    }

    /// Returns the signatures of what is in a folder of the site.
    pub fn signatures_in(&self, folder: &str) -> impl Iterator<Item = (String, Vec<u8>)> {
        let signatures = self.signatures.iter().filter(move |(path, _)| path.starts_with(folder));
        signatures.map(|(path, text)| (path.clone(), text.clone().into_bytes()))
    }

    /// Returns the keys that speak for a channel.
    fn role(&self, channel: &ChannelName) -> Result<&Role, SigningError> {
        let role = self.chain.newest().root.role_of(channel);
        role.map(|(_, role)| role).ok_or_else(|| SigningError::NoRole(channel.clone()))
    }

    /// Returns the most signatures that a descriptor of a channel may get,
    /// whichever keys are at hand.
    ///
    /// # Errors
    /// [`SigningError::NoRole`].
    pub fn signatures(&self, channel: &ChannelName) -> Result<usize, SigningError> {
        Ok(self.role(channel)?.keys.len())
    }

    /// Seals the descriptor of a channel at `path`, whose `seq`, `issued` and
    /// `expires` are not set yet.
    ///
    /// # Errors
    /// [`SigningError`].
    pub fn seal(
        &self,
        path: &str,
        channel: &ChannelName,
        descriptor: &Descriptor<'_>,
    ) -> Result<Offered, SigningError> {
        let role = self.role(channel)?;
        let standing = self.standing.descriptor(path, channel, &self.chain);
        let counting = standing.as_ref().filter(|standing| standing.counts(role));
        let issued = counting.map_or(0, |standing| standing.issued).max(self.now);
        if issued > self.now.saturating_add(CLOCK_SLACK) {
            return Err(SigningError::Behind { path: path.to_owned(), issued, now: self.now });
        }
        // What says the same, and devices would take.
        let same = counting.filter(|standing| {
            let same = Descriptor {
                seq: Some(standing.seq),
                issued: Some(standing.issued),
                expires: Some(standing.expires),
                ..descriptor.clone()
            };
            !self.refresh && payload(&same) == standing.payload && is_signed(standing.text, role)
        });
        if let Some(standing) = same {
            let life = standing.expires.saturating_sub(standing.issued);
            let left = standing.expires.saturating_sub(self.now);
            if life == self.valid && left >= life / 2 {
                return Ok(Offered { text: standing.text.to_vec(), overdue: None });
            }
        }
        // Of a key that counts no more, nothing that it could have made up.
        let credible = self.now.saturating_add(CLOCK_SLACK);
        let next = standing
            .as_ref()
            .filter(|standing| counting.is_some() || standing.seq <= credible)
            .map_or(0, |standing| standing.seq.saturating_add(1));
        let descriptor = Descriptor {
            seq: Some(self.now.max(next)),
            issued: Some(issued),
            expires: Some(issued.saturating_add(self.valid)),
            ..descriptor.clone()
        };
        match (self.sign(path, role, &descriptor), same) {
            // The key of one channel may be elsewhere: the others need not wait.
            (Err(SigningError::NoKey { .. }), Some(same)) if same.expires > self.now => {
                Ok(Offered { text: same.text.to_vec(), overdue: Some(same.expires) })
            }
            (text, _) => Ok(Offered { text: text?, overdue: None }),
        }
    }

    fn sign(
        &self,
        path: &str,
        role: &Role,
        descriptor: &Descriptor<'_>,
    ) -> Result<Vec<u8>, SigningError> {
        let keys: Vec<_> =
            self.keys.iter().filter(|key| role.keys.contains(&key.public())).collect();
        if keys.len() < role.threshold.into() {
            return Err(SigningError::NoKey {
                what: path.to_owned(),
                threshold: role.threshold,
                at_hand: keys.len(),
                keys: role.keys.iter().map(|key| key.id().to_string()).collect(),
            });
        }
        let payload = payload(descriptor);
        let message = message(DESCRIPTOR_TYPE, &payload);
        let sealed = Sealed {
            version: descriptor.version.as_str(),
            path: descriptor.path,
            payload_type: DESCRIPTOR_TYPE,
            payload: BASE64_STANDARD.encode(&payload),
            signatures: keys.into_iter().map(|key| signature(key, &message)).collect(),
        };
        let mut text = serde_json::to_vec(&sealed).expect("plain data");
        text.push(b'\n');
        Ok(text)
    }
}

/// Returns whether enough keys of a role have signed a descriptor.
fn is_signed(text: &[u8], role: &Role) -> bool {
    match Document::parse(&mut text.to_vec()) {
        Ok(Document::Signed(signed)) => {
            signed.envelope().signed_by(&role.to_wire(), ed25519).is_some()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
