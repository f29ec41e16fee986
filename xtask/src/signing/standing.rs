//! What stands on a site before it is rendered anew.

use super::{SigningError, is_signed};
use crate::{
    keys::{
        chain::{Chain, FOLDER, file_name},
        root::Role,
    },
    name::ChannelName,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Deserialize;
use std::{collections::BTreeMap, fs, io, path::Path};
use towline::ed25519;
use towline_descriptor::{Descriptor, Document};

/// Descriptors and roots of the site that stands, by their path.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    files: BTreeMap<String, Vec<u8>>,
}

/// A signed descriptor that stands.
pub(crate) struct StandingDescriptor<'a> {
    pub(super) text: &'a [u8],
    pub(crate) payload: Vec<u8>,
    pub(crate) seq: u64,
    pub(super) issued: u64,
    pub(super) expires: u64,
}

impl StandingDescriptor<'_> {
    /// Returns whether devices go by its numbers: they forget those of a key that
    /// has no part in the role any more, which may have been stolen.
    pub(crate) fn counts(&self, role: &Role) -> bool {
        is_signed(self.text, &Role { threshold: 1, keys: role.keys.clone() })
    }
}

/// The part of a signed descriptor that holds the signed bytes.
#[derive(Deserialize)]
struct Payload {
    payload: String,
}

impl Standing {
    /// Reads what stands in the folder of a site; nothing if it is not there.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(site: &Path) -> io::Result<Self> {
        let mut files = BTreeMap::new();
        for channel in entries(&site.join("ota"))? {
            for target in entries(&site.join("ota").join(&channel))? {
                let path = format!("ota/{channel}/{target}");
                files.insert(path.clone(), fs::read(site.join(path))?);
            }
        }
        for name in entries(&site.join(FOLDER))? {
            let path = format!("{FOLDER}/{name}");
            files.insert(path.clone(), fs::read(site.join(path))?);
        }
        Ok(Self { files })
    }

    /// Takes files by their path.
    pub(crate) fn of(files: &[(&str, &[u8])]) -> Self {
        Self {
            files: files.iter().map(|(path, text)| ((*path).to_owned(), text.to_vec())).collect(),
        }
    }

    /// Refuses to publish without signatures where there were some.
    ///
    /// # Errors
    /// [`SigningError::Unsigned`].
    pub fn refuse_unsigned(&self) -> Result<(), SigningError> {
        let is_of_keys = |path: &str, text: &[u8]| match path.starts_with(FOLDER) {
            true => path.ends_with(".json"),
            false => matches!(Document::parse(&mut text.to_vec()), Ok(Document::Signed(_))),
        };
        match self.files.iter().find(|(path, text)| is_of_keys(path, text)) {
            Some((path, _)) => Err(SigningError::Unsigned { path: path.clone() }),
            None => Ok(()),
        }
    }

    /// Refuses to change or take back a root that devices may have.
    pub(super) fn refuse_other_roots(&self, chain: &Chain) -> Result<(), SigningError> {
        for number in 1.. {
            let path = format!("{FOLDER}/{}", file_name(number));
            let Some(standing) = self.files.get(&path) else { break };
            let reason = match chain.links().get(number as usize - 1) {
                Some(link) if link.to_file() == *standing => continue,
                // Other signatures of the same root are as good.
                Some(link) if payload(standing).is_some_and(|p| p == link.payload) => continue,
                Some(_) => {
                    "devices that have it would follow no other; bring back the folder root/ beside towline.toml"
                }
                None => {
                    "the repository does not have it yet; pull, so that keys that were revoked do not sign again"
                }
            };
            return Err(SigningError::OtherRoot { path, reason });
        }
        Ok(())
    }

    /// Returns a descriptor that stands, if keys of the project signed it,
    /// today's or earlier ones. Anything else may be from somebody who wants to
    /// wear out the numbers.
    pub(crate) fn descriptor(
        &self,
        path: &str,
        channel: &ChannelName,
        chain: &Chain,
    ) -> Option<StandingDescriptor<'_>> {
        let text = self.files.get(path)?.as_slice();
        let mut document = text.to_vec();
        let Ok(Document::Signed(signed)) = Document::parse(&mut document) else { return None };
        let mut roles = chain.links().iter().rev().filter_map(|link| link.root.role_of(channel));
        roles.find(|(_, role)| signed.envelope().signed_by(&role.to_wire(), ed25519).is_some())?;
        let descriptor: Descriptor<'_> = signed.read().ok()?;
        Some(StandingDescriptor {
            text,
            payload: payload(text)?,
            seq: descriptor.seq?,
            issued: descriptor.issued.unwrap_or(0),
            expires: descriptor.expires?,
        })
    }
}

fn payload(text: &[u8]) -> Option<Vec<u8>> {
    let Payload { payload } = serde_json::from_slice(text).ok()?;
    BASE64_STANDARD.decode(payload).ok()
}

/// Returns the names in a folder, in order; none if it is not there.
fn entries(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match folder.read_dir() {
        Ok(entries) => entries,
        // A stray file, such as a file manager leaves, is no folder of a channel.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return Ok(Vec::new());
        }
        Err(error) => {
            let message = format!("{}: {error}", folder.display());
            return Err(io::Error::new(error.kind(), message));
        }
    };
    let mut names = entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}
