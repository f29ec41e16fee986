//! Roots: which keys speak for what.

use super::PublicKey;
use crate::name::{ChannelName, ProjectName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use towline_descriptor::{
    FORMAT, KeyId,
    envelope::{MAX_KEYS, MAX_SIGNATURES},
    root::{ANY_CHANNEL as ANY, ROOT_ROLE as ROOT},
};

/// A root: the payload of `root/<N>.json`.
///
/// Members that it does not know are refused: who signs a root has to see all
/// that it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Root {
    /// Number of the format.
    pub fmt: u64,
    /// The project whose devices it is for.
    pub project: ProjectName,
    /// Its number, counted from 1 without gaps.
    pub version: u32,
    /// When it was made, in seconds since 1970.
    pub issued: u64,
    /// Who speaks for what: `root`, `*`, or the name of a channel.
    pub roles: BTreeMap<String, Role>,
}

/// The keys of a role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// How many of them have to sign.
    pub threshold: u8,
    /// The keys.
    pub keys: Vec<PublicKey>,
}

/// A change of the keys.
#[derive(Clone, Debug)]
pub enum Change {
    /// A key more in a role, which is made if need be.
    Add {
        /// The role.
        role: String,
        /// The key.
        key: PublicKey,
    },
    /// Another key in the place of one.
    Replace {
        /// The role.
        role: String,
        /// The key that goes.
        old: KeyId,
        /// The key that comes.
        new: PublicKey,
    },
    /// A key less, in all roles that have it. A channel that has no key of its
    /// own left has those of all channels.
    Remove(KeyId),
    /// Another number of keys that have to sign.
    Threshold {
        /// The role.
        role: String,
        /// The number.
        threshold: u8,
    },
}

/// Why keys cannot be changed so.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ChangeError {
    /// The role has the key already.
    #[error("the role `{role}` has the key {key} already")]
    Known {
        /// The role.
        role: String,
        /// The key.
        key: KeyId,
    },
    /// No role has the key.
    #[error("no role has the key {0}")]
    Unknown(KeyId),
    /// The role has not the key.
    #[error("the role `{role}` has no key {key}")]
    NotInRole {
        /// The role.
        role: String,
        /// The key.
        key: KeyId,
    },
    /// There is no such role.
    #[error("there is no role `{0}`")]
    NoRole(String),
    /// A role would have no key left.
    #[error("the role `{role}` would have no key left: {key} is its last")]
    Last {
        /// The role.
        role: String,
        /// The key.
        key: KeyId,
    },
    /// A role would have fewer keys than have to sign.
    #[error("the role `{role}` would have {keys} key(s), and {threshold} have to sign")]
    BelowThreshold {
        /// The role.
        role: String,
        /// Keys that are left.
        keys: usize,
        /// Keys that have to sign.
        threshold: u8,
    },
    /// There are too many keys or roles for a device.
    #[error("a role has {MAX_KEYS} keys at most, and a root {MAX_KEYS} roles")]
    TooMany,
    /// A role has a name that no channel can have.
    #[error("{0:?} is no name of a role: there are `root`, `*` and names of channels")]
    InvalidRole(String),
    /// More keys would have to sign than a root has room for.
    #[error("{0} keys would have to sign, and a root has room for {MAX_SIGNATURES} signatures")]
    TooManySignatures(usize),
    /// A root key would speak for a channel, or the other way round.
    #[error("{0} cannot be a root key and a channel key: one of them is in CI, the other offline")]
    BothKinds(KeyId),
}

impl Root {
    /// Makes the first root of a project.
    pub fn first(project: ProjectName, issued: u64, roles: BTreeMap<String, Role>) -> Self {
        Self { fmt: FORMAT, project, version: 1, issued, roles }
    }

    /// Makes the root after this one.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub fn next(&self, changes: &[Change], issued: u64) -> Result<Self, ChangeError> {
        let mut next = self.clone();
        next.version += 1;
        // Roots are in the order of their times whatever the clock says.
        next.issued = issued.max(self.issued);
        for change in changes {
            next.apply(change)?;
        }
        next.check()?;
        let needed = next.signatures_after(self);
        if needed > MAX_SIGNATURES {
            return Err(ChangeError::TooManySignatures(needed));
        }
        Ok(next)
    }

    /// Returns how many signatures the root needs at least to follow `before`:
    /// a key of both counts for both.
    fn signatures_after(&self, before: &Self) -> usize {
        let (old, new) = (before.root_role(), self.root_role());
        let (of_old, of_new) = (usize::from(old.threshold), usize::from(new.threshold));
        let both = new.count(&old.keys).min(of_old.max(of_new));
        both + of_old.saturating_sub(both) + of_new.saturating_sub(both)
    }

    fn apply(&mut self, change: &Change) -> Result<(), ChangeError> {
        match change {
            Change::Add { role: name, key } => {
                let new = || Role { threshold: 1, keys: Vec::new() };
                let role = self.roles.entry(name.clone()).or_insert_with(new);
                if role.keys.contains(key) {
                    return Err(ChangeError::Known { role: name.clone(), key: key.id() });
                }
                role.keys.push(*key);
            }
            Change::Replace { role: name, old, new } => {
                let role = self.role_mut(name)?;
                if role.keys.contains(new) {
                    return Err(ChangeError::Known { role: name.clone(), key: new.id() });
                }
                let place = role.keys.iter_mut().find(|key| key.id() == *old);
                let fault = || ChangeError::NotInRole { role: name.clone(), key: *old };
                *place.ok_or_else(fault)? = *new;
            }
            Change::Remove(id) => {
                let mut found = false;
                let mut emptied = Vec::new();
                for (name, role) in &mut self.roles {
                    let before = role.keys.len();
                    role.keys.retain(|key| key.id() != *id);
                    found |= role.keys.len() < before;
                    if role.keys.is_empty() {
                        emptied.push(name.clone());
                    }
                }
                if !found {
                    return Err(ChangeError::Unknown(*id));
                }
                for name in emptied {
                    let is_channel = |name: &str| ![ROOT, ANY].contains(&name);
                    self.roles.remove(&name);
                    if !is_channel(&name) || self.roles.keys().all(|name| name == ROOT) {
                        return Err(ChangeError::Last { role: name, key: *id });
                    }
                }
            }
            Change::Threshold { role, threshold } => self.role_mut(role)?.threshold = *threshold,
        }
        Ok(())
    }

    fn role_mut(&mut self, name: &str) -> Result<&mut Role, ChangeError> {
        self.roles.get_mut(name).ok_or_else(|| ChangeError::NoRole(name.to_owned()))
    }

    /// Checks what a device would refuse, and what would leave nobody able to
    /// sign.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub fn check(&self) -> Result<(), ChangeError> {
        let root = self.roles.get(ROOT).ok_or_else(|| ChangeError::NoRole(ROOT.into()))?;
        if self.roles.len() > MAX_KEYS {
            return Err(ChangeError::TooMany);
        }
        for (name, role) in &self.roles {
            if ![ROOT, ANY].contains(&name.as_str()) && name.parse::<ChannelName>().is_err() {
                return Err(ChangeError::InvalidRole(name.clone()));
            }
            let mut unique = role.keys.clone();
            unique.sort();
            if let Some(pair) = unique.windows(2).find(|pair| pair[0] == pair[1]) {
                return Err(ChangeError::Known { role: name.clone(), key: pair[0].id() });
            }
            if role.keys.len() > MAX_KEYS {
                return Err(ChangeError::TooMany);
            }
            if role.threshold == 0 || role.keys.len() < usize::from(role.threshold) {
                let (keys, threshold) = (role.keys.len(), role.threshold);
                return Err(ChangeError::BelowThreshold { role: name.clone(), keys, threshold });
            }
            let both = role.keys.iter().find(|key| name != ROOT && root.keys.contains(key));
            if let Some(key) = both {
                return Err(ChangeError::BothKinds(key.id()));
            }
        }
        Ok(())
    }

    /// Returns the role that makes roots.
    ///
    /// # Panics
    /// If the root was never checked.
    pub fn root_role(&self) -> &Role {
        &self.roles[ROOT]
    }

    /// Returns the role that speaks for a channel, and its name.
    pub fn role_of(&self, channel: &ChannelName) -> Option<(&str, &Role)> {
        let own = self.roles.get_key_value(channel.as_str()).filter(|(name, _)| *name != ROOT);
        own.or_else(|| self.roles.get_key_value(ANY)).map(|(name, role)| (name.as_str(), role))
    }

    /// Returns the keys that speak for channels, each once, those of `*`
    /// first.
    pub fn channel_keys(&self) -> Vec<PublicKey> {
        let mut keys: Vec<PublicKey> = Vec::new();
        // `*` sorts before every name.
        for role in self.roles.iter().filter(|(name, _)| *name != ROOT).map(|(_, role)| role) {
            for key in &role.keys {
                if !keys.contains(key) {
                    keys.push(*key);
                }
            }
        }
        keys
    }
}

impl Role {
    /// Returns the role as devices have it.
    pub fn to_wire(&self) -> towline_descriptor::Role {
        let keys = self.keys.iter().map(|key| *key.key()).take(MAX_KEYS).collect();
        towline_descriptor::Role { threshold: self.threshold, keys }
    }

    /// Returns how many keys of the role are among `signers`.
    pub fn count(&self, signers: &[PublicKey]) -> usize {
        self.keys.iter().filter(|key| signers.contains(key)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::SecretKey;

    fn key(seed: u8) -> PublicKey {
        SecretKey::from_seed([seed; 32]).public()
    }

    fn root() -> Root {
        let role = |keys: &[u8], threshold| Role {
            threshold,
            keys: keys.iter().map(|seed| key(*seed)).collect(),
        };
        let roles = [(ROOT, role(&[1, 2], 2)), (ANY, role(&[3], 1)), ("stable", role(&[4, 5], 1))];
        let roles = roles.map(|(name, role)| (name.to_owned(), role));
        Root::first("lamp".parse().unwrap(), 100, roles.into())
    }

    #[test]
    fn a_change_that_would_leave_nobody_able_to_sign_is_refused() {
        let root = root();
        let below = ChangeError::BelowThreshold { role: ROOT.into(), keys: 1, threshold: 2 };
        let last = ChangeError::Last { role: ANY.into(), key: key(3).id() };
        let both = ChangeError::BothKinds(key(1).id());
        for (change, expected) in [
            (Change::Remove(key(1).id()), below),
            (Change::Remove(key(3).id()), last),
            (Change::Remove(key(9).id()), ChangeError::Unknown(key(9).id())),
            (Change::Add { role: "stable".into(), key: key(1) }, both),
            (
                Change::Replace { role: "beta".into(), old: key(3).id(), new: key(9) },
                ChangeError::NoRole("beta".into()),
            ),
        ] {
            assert_eq!(root.next(&[change], 0), Err(expected));
        }
        assert_eq!(root.next(&[Change::Remove(key(5).id())], 0).unwrap().version, 2);
    }

    #[test]
    fn a_channel_whose_last_key_goes_has_those_of_all() {
        let mut root = root();
        root.roles.get_mut("stable").unwrap().keys.truncate(1);
        let next = root.next(&[Change::Remove(key(4).id())], 0).unwrap();
        assert_eq!(next.role_of(&"stable".parse().unwrap()).unwrap().0, ANY);
        // The last one that speaks for any channel stays.
        root.roles.remove(ANY);
        let last = ChangeError::Last { role: "stable".into(), key: key(4).id() };
        assert_eq!(root.next(&[Change::Remove(key(4).id())], 0), Err(last));
    }

    #[test]
    fn a_role_that_no_channel_can_have_is_refused() {
        for name in ["beta\u{1b}[1A\u{1b}[2K", "", "a b", "**"] {
            let mut root = root();
            let role = root.roles[ANY].clone();
            root.roles.insert(name.into(), role);
            let error = root.check().unwrap_err();
            assert_eq!(error, ChangeError::InvalidRole(name.into()));
            assert!(!error.to_string().contains('\u{1b}'), "{error}");
        }
        let text = serde_json::to_string(&self::root()).unwrap();
        for (from, to) in [("{\"fmt\"", "{\"more\":1,\"fmt\""), ("\"keys\"", "\"more\":1,\"keys\"")]
        {
            let more = text.replacen(from, to, 1);
            assert!(serde_json::from_str::<Root>(&more).is_err(), "{more}");
        }
    }

    #[test]
    fn a_root_that_needs_more_signatures_than_fit_is_refused() {
        let keys = |seeds: std::ops::Range<u8>| seeds.map(key).collect::<Vec<_>>();
        let mut root = root();
        for (threshold, needed) in [(8, Some(9)), (7, None)] {
            root.roles.insert(ROOT.into(), Role { threshold, keys: keys(10..18) });
            let change = Change::Replace { role: ROOT.into(), old: key(10).id(), new: key(30) };
            let result = root.next(&[change], 0).map(drop);
            assert_eq!(result.err(), needed.map(ChangeError::TooManySignatures));
        }
    }

    #[test]
    fn a_channel_without_a_role_has_that_of_all() {
        let root = root();
        let role = |channel: &str| root.role_of(&channel.parse().unwrap()).unwrap().0;
        assert_eq!(["stable", "beta", "root"].map(role), ["stable", ANY, ANY]);
        assert_eq!(root.channel_keys(), [key(3), key(4), key(5)]);
    }

    #[test]
    fn roots_never_get_older() {
        let next = root().next(&[], 50).unwrap();
        assert_eq!((next.version, next.issued), (2, 100));
    }
}
