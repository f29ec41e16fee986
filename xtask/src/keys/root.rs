//! Roots: which keys speak for what.

use super::PublicKey;
use crate::name::{ChannelName, ProjectName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use towline_descriptor::{
    FORMAT, KeyId,
    envelope::MAX_KEYS,
    root::{ANY_CHANNEL as ANY, ROOT_ROLE as ROOT},
};

/// A root: the payload of `root/<N>.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// A key less, in all roles that have it.
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
        Ok(next)
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
                for (name, role) in &mut self.roles {
                    let before = role.keys.len();
                    role.keys.retain(|key| key.id() != *id);
                    found |= role.keys.len() < before;
                    if role.keys.is_empty() {
                        return Err(ChangeError::Last { role: name.clone(), key: *id });
                    }
                }
                if !found {
                    return Err(ChangeError::Unknown(*id));
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

    /// Returns whether enough keys of the role are among `signers`.
    pub fn is_met_by(&self, signers: &[PublicKey]) -> bool {
        self.count(signers) >= usize::from(self.threshold)
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
