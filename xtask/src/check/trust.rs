//! Keys and signatures of a site.

use super::{Code, Fault, Files, Finding, Terms, not_listed};
use crate::{
    keys::{
        PublicKey,
        chain::{Chain, FOLDER, file_name},
    },
    name::ChannelName,
    signing::{CLOCK_SLACK, artifacts, minisig},
    site::{Index, IndexArtifact, IndexRelease, IndexTarget},
    source::DAY,
    source::date_text,
};
use std::collections::BTreeMap;
use towline::ed25519;
use towline_descriptor::{Descriptor, Document};

/// The listed files of a site, or why they cannot be read.
pub(super) type Contents<'a> = BTreeMap<&'a str, Result<Vec<u8>, Fault>>;

/// What a site says of its keys.
pub(super) struct Trust<'a> {
    chain: Option<Chain>,
    /// Whether it has roots that are no chain: that is told once.
    is_broken: bool,
    /// Keys that sign artifacts.
    keys: Vec<PublicKey>,
    contents: &'a Contents<'a>,
    now: u64,
    min_left: Option<u64>,
}

impl<'a> Trust<'a> {
    /// Verifies the roots of a site.
    pub(super) fn read(
        index: &Index,
        contents: &'a Contents<'a>,
        terms: &Terms<'_>,
    ) -> (Self, Vec<Finding>) {
        let mut problems = Vec::new();
        let mut roots = Vec::new();
        for number in 1.. {
            let path = format!("{FOLDER}/{}", file_name(number));
            // One that cannot be read is told elsewhere.
            let Some(Ok(text)) = contents.get(path.as_str()) else { break };
            roots.push((path, text.clone()));
        }
        let chain = match Chain::verify(&roots, &index.project) {
            Ok(_) if roots.is_empty() => None,
            Ok(chain) => Some(chain),
            Err(error) => {
                let (path, message) = match error {
                    crate::keys::chain::ChainError::Invalid { origin, reason } => (origin, reason),
                    error => (FOLDER.into(), error.to_string()),
                };
                problems.push(Code::RootInvalid.of(path, message));
                None
            }
        };
        let keys = chain.as_ref().map(|chain| chain.newest().root.channel_keys());
        let keys = keys.unwrap_or_default();
        let is_broken = chain.is_none() && !roots.is_empty();
        let (now, min_left) = (terms.now, terms.min_left);
        let trust = Self { chain, is_broken, keys, contents, now, min_left };
        problems.extend(trust.check_keys(index, roots.len(), terms));
        (trust, problems)
    }

    /// Checks what lies in the folder of the roots, and that they are those of
    /// the project.
    fn check_keys(&self, index: &Index, roots: usize, terms: &Terms<'_>) -> Vec<Finding> {
        let mut problems = Vec::new();
        let in_folder =
            self.contents.keys().filter_map(|path| Some((*path, path.strip_prefix("root/")?)));
        for (path, name) in in_folder {
            let number = name.strip_suffix(".json").and_then(|name| name.parse::<usize>().ok());
            let key = self
                .keys
                .iter()
                .find(|key| name.strip_suffix(".pub") == Some(&key.id().to_string()));
            let known = number.is_some_and(|number| (1..=roots).contains(&number));
            let known = known || self.is_broken;
            if !known && key.is_none() && self.contents[path].is_ok() {
                problems.push(Code::StrayFile.of(path, "belongs to no chain of roots"));
            }
        }
        for key in &self.keys {
            let path = format!("{FOLDER}/{}.pub", key.id());
            match self.contents.get(path.as_str()) {
                Some(Ok(text)) if *text == minisig::public_key(key).as_bytes() => {}
                Some(Err(_)) => {}
                Some(Ok(_)) => problems
                    .push(Code::KeyFileDiffers.of(path, "is not the key that the root names")),
                None => problems.push(not_listed().of(path)),
            }
        }
        let own = terms.project.filter(|(project, _)| **project == index.project);
        problems.extend(own.and_then(|(_, own)| self.compare(own, roots)));
        problems
    }

    /// Compares the roots of the site with those of the repository. `roots` is
    /// how many the site has, sound or not.
    fn compare(&self, own: Option<&Chain>, roots: usize) -> Option<Finding> {
        let path = |number: usize| format!("{FOLDER}/{}", file_name(number as u32));
        let own = own.map_or(&[][..], Chain::links);
        let theirs = match &self.chain {
            Some(chain) => chain.links(),
            None if roots == 0 => &[],
            // Told already.
            None => return None,
        };
        let differing = own.iter().zip(theirs).position(|(own, link)| own.payload != link.payload);
        if let Some(index) = differing {
            return Some(Code::RootDiffers.of(path(index + 1), "is not that of the repository"));
        }
        match (own.len(), theirs.len()) {
            (own, theirs) if own < theirs => {
                Some(Code::RootDiffers.of(path(own + 1), "the repository does not have it"))
            }
            (own, 0) if own > 0 => {
                Some(Code::RootMissing.of(path(1), "missing, though the project has keys"))
            }
            (own, theirs) if own > theirs => Some(Code::RootMissing.of(
                path(theirs + 1),
                format!(
                    "missing: the repository has root {own}, the site only root {theirs}, so that keys count that should not any more; `cargo xtask site`"
                ),
            )),
            _ => None,
        }
    }

    /// Returns the number of the root that is not there yet.
    pub(super) fn next_root(&self) -> Option<u32> {
        self.chain.as_ref().map(|chain| chain.newest().root.version + 1)
    }

    /// Verifies a descriptor as a device does, and returns when it expires.
    pub(super) fn verify(
        &self,
        channel: &ChannelName,
        document: &[u8],
    ) -> Result<Option<u64>, Fault> {
        let mut copy = document.to_vec();
        let invalid = |error: &dyn ToString| Code::DescriptorInvalid.fault(error.to_string());
        let document = Document::parse(&mut copy).map_err(|error| invalid(&error))?;
        let (signed, root) = match (document, &self.chain) {
            _ if self.is_broken => return Ok(None),
            (Document::Plain(_), None) => return Ok(None),
            (Document::Plain(_), Some(_)) => {
                let message = "is not signed: devices that know the keys would refuse it";
                return Err(Code::DescriptorUnsigned.fault(message));
            }
            (Document::Signed(_), None) => {
                let message = "is signed, and the site has no roots";
                return Err(Code::RootMissing.fault(message));
            }
            (Document::Signed(signed), Some(chain)) => (signed, &chain.newest().root),
        };
        let (name, role) = root.role_of(channel).ok_or_else(|| {
            Code::RoleMissing.fault(format!("root {} names no key for its channel", root.version))
        })?;
        if signed.envelope().signed_by(&role.to_wire(), ed25519).is_none() {
            return Err(Code::SignatureInvalid.fault(format!(
                "lacks the {} signature(s) by keys of role `{name}` that root {} asks for",
                role.threshold, root.version
            )));
        }
        let descriptor: Descriptor<'_> = signed.read().map_err(|error| invalid(&error))?;
        let date = |time: u64| date_text(time.try_into().unwrap_or(i64::MAX));
        let (issued, seq) = (descriptor.issued.unwrap_or(0), descriptor.seq.unwrap_or(0));
        let expires = descriptor.expires.unwrap_or(0);
        let rotate = "if that was not you, a key was stolen: `cargo xtask keys rotate`";
        if issued > self.now.saturating_add(CLOCK_SLACK) {
            let message = format!("is dated {}, which is still to come; {rotate}", date(issued));
            return Err(Code::DatedAhead.fault(message));
        }
        if seq > self.now.saturating_add(DAY) {
            return Err(Code::DatedAhead.fault(format!(
                "has seq {seq}, far above the time, which is {}: devices take nothing below it; {rotate}",
                self.now
            )));
        }
        if expires < self.now {
            return Err(Code::Expired.fault(format!(
                "expired on {}: devices that know the time would refuse it; `cargo xtask site --refresh` signs it anew",
                date(expires)
            )));
        }
        let left = expires - self.now;
        if left < self.min_left.unwrap_or(expires.saturating_sub(issued) / 4) {
            return Err(Code::ExpiresSoon.fault(format!(
                "expires on {}, in {} days; `cargo xtask site --refresh` signs it anew",
                date(expires),
                left / DAY
            )));
        }
        Ok(Some(expires))
    }

    /// Checks the signature of an artifact of a release. The index does not list
    /// it: nobody but a channel key could have made it.
    pub(super) fn check_artifact(
        &self,
        files: &impl Files,
        index: &Index,
        release: &IndexRelease,
        path: &str,
        bytes: &[u8],
    ) -> Option<Finding> {
        self.chain.as_ref()?;
        let file = path.rsplit('/').next().unwrap_or_default();
        let signature = format!("{path}{}", minisig::EXTENSION);
        let of = (file, release.version.as_str(), index.project.as_str());
        let text = files.read(&signature).map_err(|fault| fault.to_string());
        text.and_then(|text| artifacts::verify(&self.keys, bytes, &text, of))
            .err()
            .map(|message| Code::ArtifactSignature.of(signature, message))
    }

    /// Checks the sums of a release, and their signature.
    pub(super) fn check_sums(
        &self,
        files: &impl Files,
        index: &Index,
        release: &IndexRelease,
    ) -> Vec<Finding> {
        let folder = format!("firmware/{}/{}/", index.project, release.version);
        let path = format!("{folder}{}", artifacts::SUMS);
        match self.contents.get(path.as_str()) {
            None if self.chain.is_none() => Vec::new(),
            None => vec![not_listed().of(path)],
            Some(Err(_)) => Vec::new(),
            Some(Ok(text)) if *text != sums(&folder, release).as_bytes() => {
                vec![Code::SumsDiffer.of(path, "is not what the release consists of")]
            }
            Some(Ok(text)) => {
                self.check_artifact(files, index, release, &path, text).into_iter().collect()
            }
        }
    }
}

/// Returns the sums of a release, as its files are listed.
fn sums(folder: &str, release: &IndexRelease) -> String {
    let files = release.targets.iter().flat_map(IndexTarget::files);
    let line = |file: &IndexArtifact| {
        Some((file.path.as_deref()?.strip_prefix(folder)?.to_owned(), file.sha256))
    };
    let files: BTreeMap<_, _> = files.filter_map(line).collect();
    files.iter().map(|(name, sha256)| format!("{sha256}  {name}\n")).collect()
}
