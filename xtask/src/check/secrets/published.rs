//! What published files give away beside keys: tokens, Wi-Fi credentials, and where
//! they were built.

use super::Secrets;
use crate::check::{
    Code, Finding,
    facts::{GOOGLE, texts, wifi},
};
use std::collections::BTreeSet;

/// What a file is that everybody can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Published {
    /// No image.
    File,
    /// An image, which can be built anew.
    Image,
    /// Of a release, which stays as it is: what is in it can only be regretted, unless
    /// it is a key of the project.
    Recorded,
}

/// The most bytes of a build path that are shown.
const MAX_SHOWN: usize = 80;

impl Secrets {
    /// Finds all that the published file `path` gives away, unless everybody may have
    /// it.
    pub(crate) fn find_all(&self, kind: Published, path: &str, bytes: &[u8]) -> Vec<Finding> {
        let (key, token) = match kind {
            Published::File | Published::Image => (Code::SecretKey, Code::Token),
            Published::Recorded => (Code::RecordedSecretKey, Code::RecordedToken),
        };
        let mut found: Vec<_> = self.find_as(key, path, bytes).into_iter().collect();
        // What Git keeps beside a site is not published with it.
        if self.is_public(path) || path.starts_with(".git/") {
            return found;
        }
        let texts = texts(bytes);
        let mut told = BTreeSet::new();
        for (name, place) in texts.tokens.iter().filter(|(name, _)| told.insert(*name)) {
            let code = if *name == GOOGLE { Code::ClientKey } else { token };
            let fault = code.fault(format!("has {name}")).at_byte(place.start as u64);
            found.push(fault.of(path));
        }
        if let Some((at, what)) = wifi(bytes) {
            let message = format!("has {what} of a Wi-Fi network, in the settings of a board");
            found.push(Code::WifiCredentials.fault(message).at_byte(at as u64).of(path));
        }
        if let Some(first) = texts.paths.first().filter(|_| kind != Published::File) {
            let shown = first.start..first.end.min(first.start + MAX_SHOWN);
            let shown = String::from_utf8_lossy(&bytes[shown]);
            let message = match texts.paths.len() - 1 {
                0 => format!("has the path {shown}"),
                1 => format!("has the path {shown}, and one more"),
                more => format!("has the path {shown}, and {more} more"),
            };
            found.push(Code::BuildPath.fault(message).at_byte(first.start as u64).of(path));
        }
        found
    }
}
