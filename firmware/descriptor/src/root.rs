//! Roots: which keys sign which channels.
//!
//! ```text
//! root/1.json <- root/2.json <- ...     each signed by the root role of the one
//!                                       before it and by its own
//! payload: {"fmt", "project", "version", "issued",
//!           "roles": {"root": {"threshold", "keys"}, "stable": ..., "*": ...}}
//! ```
//!
//! The role `*` is that of channels without one of their own.

use crate::{
    document::{DocumentError, FORMAT, set},
    envelope::{MAX_KEYS, Role},
    json::{self, Value},
};

/// The longest payload of a root in bytes: a dozen keys. A device keeps a copy of
/// it in its memory.
pub const MAX_ROOT: usize = 1024;

/// Name of the role that signs roots.
pub const ROOT_ROLE: &str = "root";

/// Name of the role of all channels that have none of their own.
pub const ANY_CHANNEL: &str = "*";

/// What a root says of one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root<'a> {
    /// The project.
    pub project: &'a str,
    /// Number in the chain, from 1.
    pub version: u32,
    /// When it was made, in seconds since 1970.
    pub issued: Option<u64>,
    /// Who signs this root and the next one.
    pub root: Role,
    /// Who signs descriptors of the channel; `None` if nobody does.
    pub channel: Option<Role>,
}

impl<'a> Root<'a> {
    /// Parses the payload of a root in place, and keeps what it says of
    /// `channel`.
    ///
    /// # Errors
    /// [`DocumentError`].
    pub fn parse(payload: &'a mut [u8], channel: &str) -> Result<Self, DocumentError> {
        if payload.len() > MAX_ROOT {
            return Err(DocumentError::TooLarge);
        }
        let mut fmt = None;
        let mut project = None;
        let mut version = None;
        let mut issued = None;
        let mut roles = None;
        json::read_object(payload, |key, value| match key {
            "fmt" => set(&mut fmt, "fmt", value.as_number()),
            "project" => set(&mut project, "project", value.into_str()),
            "version" => {
                set(&mut version, "version", value.as_number().filter(|version| *version > 0))
            }
            "issued" => set(&mut issued, "issued", value.as_number()),
            "roles" => match value {
                Value::Nested(object) => set(&mut roles, "roles", Some(object)),
                _ => Err(DocumentError::Invalid("roles")),
            },
            _ => Ok(()),
        })?;
        if fmt != Some(FORMAT) {
            return Err(DocumentError::UnknownFormat);
        }
        let mut root = None;
        let mut own = None;
        let mut any = None;
        json::read_object(roles.ok_or(DocumentError::Missing("roles"))?, |name, value| {
            let role = match name {
                ROOT_ROLE => &mut root,
                ANY_CHANNEL => &mut any,
                name if name == channel => &mut own,
                _ => return Ok(()),
            };
            set(role, "roles", parse_role(value))
        })?;
        Ok(Self {
            project: project.ok_or(DocumentError::Missing("project"))?,
            version: version.ok_or(DocumentError::Missing("version"))?,
            issued,
            root: root.ok_or(DocumentError::Missing("roles.root"))?,
            channel: own.or(any),
        })
    }
}

fn parse_role(value: Value<'_>) -> Option<Role> {
    let Value::Nested(object) = value else { return None };
    let mut threshold = None;
    let mut keys = None;
    json::read_object(object, |key, value| match key {
        "threshold" => set(&mut threshold, "threshold", value.as_number()),
        "keys" => set(&mut keys, "keys", parse_keys(value)),
        _ => Ok(()),
    })
    .ok()?;
    let role = Role { threshold: threshold?, keys: keys? };
    role.is_sound().then_some(role)
}

fn parse_keys(value: Value<'_>) -> Option<heapless::Vec<crate::Key, MAX_KEYS, u8>> {
    let Value::Nested(list) = value else { return None };
    let mut keys = heapless::Vec::new();
    let invalid = DocumentError::Invalid("keys");
    json::read_array(list, |value| {
        let key = value.into_str().and_then(|text| text.parse().ok()).ok_or(invalid)?;
        keys.push(key).map_err(|_| invalid)
    })
    .ok()?;
    Some(keys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{format, string::String};

    fn key(seed: u8) -> String {
        format!("\"{}\"", crate::Key([seed; 32]))
    }

    fn role(threshold: u8, keys: &[u8]) -> String {
        let keys: std::vec::Vec<_> = keys.iter().map(|seed| key(*seed)).collect();
        format!("{{\"threshold\":{threshold},\"keys\":[{}]}}", keys.join(","))
    }

    fn document(roles: &str) -> String {
        format!("{{\"fmt\":1,\"project\":\"lamp\",\"version\":2,\"roles\":{{{roles}}}}}")
    }

    #[test]
    fn a_channel_has_its_own_role_or_the_common_one() {
        let text = document(&format!(
            "\"root\":{},\"stable\":{},\"*\":{}",
            role(2, &[1, 2, 3]),
            role(1, &[4]),
            role(1, &[5, 6])
        ));
        let parse = |channel| {
            let mut text = text.clone().into_bytes();
            let root = Root::parse(&mut text, channel).unwrap();
            assert_eq!((root.project, root.version, root.root.threshold), ("lamp", 2, 2));
            root.channel.unwrap().keys.iter().map(|key| key.0[0]).collect::<std::vec::Vec<_>>()
        };
        assert_eq!((parse("stable"), parse("testing")), ([4].into(), [5, 6].into()));
    }

    #[test]
    fn roles_that_cannot_do_their_work_are_refused() {
        for roles in [
            format!("\"root\":{}", role(0, &[1])),
            format!("\"root\":{}", role(2, &[1])),
            format!("\"root\":{}", role(2, &[1, 1])),
            format!("\"root\":{}", role(1, &[])),
            format!("\"root\":{}", role(1, &[1, 2, 3, 4, 5, 6, 7, 8, 9])),
            format!("\"root\":{0},\"*\":{1}", role(1, &[1]), role(0, &[1])),
            String::from("\"root\":{\"threshold\":1}"),
            String::from("\"root\":[]"),
        ] {
            let mut text = document(&roles).into_bytes();
            assert_eq!(
                Root::parse(&mut text, "stable"),
                Err(DocumentError::Invalid("roles")),
                "{roles}"
            );
        }
        let twice = format!("\"root\":{0},\"root\":{0}", role(1, &[1]));
        let mut text = document(&twice).into_bytes();
        assert_eq!(Root::parse(&mut text, "stable"), Err(DocumentError::Duplicate("roles")));
        let mut text = document("").into_bytes();
        assert_eq!(Root::parse(&mut text, "stable"), Err(DocumentError::Missing("roles.root")));
    }

    #[test]
    fn an_unknown_format_and_version_0_are_refused() {
        let sound = document(&format!("\"root\":{}", role(1, &[1])));
        for (from, to, error) in [
            ("\"fmt\":1", "\"fmt\":2", DocumentError::UnknownFormat),
            ("\"fmt\":1,", "", DocumentError::UnknownFormat),
            ("\"version\":2", "\"version\":0", DocumentError::Invalid("version")),
            ("\"version\":2", "\"version\":4294967296", DocumentError::Invalid("version")),
        ] {
            let mut text = sound.replace(from, to).into_bytes();
            assert_eq!(Root::parse(&mut text, "stable"), Err(error), "{to}");
        }
    }
}
