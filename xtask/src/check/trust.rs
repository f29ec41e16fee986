//! Keys and signatures of a site.

use super::{Files, Problem, Terms, read_index};
use crate::{
    keys::{
        PublicKey,
        chain::{Chain, FOLDER, Signed, file_name},
    },
    name::ChannelName,
    signing::{Standing, artifacts, minisig},
    site::{INDEX, Index, IndexArtifact, IndexRelease},
    source::date_text,
};
use std::collections::BTreeMap;
use towline::ed25519;
use towline_descriptor::{Descriptor, Document};

/// The listed files of a site, or why they cannot be read.
pub(super) type Contents<'a> = BTreeMap<&'a str, Result<Vec<u8>, String>>;

/// What a site says of its keys.
pub(super) struct Trust<'a> {
    chain: Option<Chain>,
    /// Keys that sign artifacts.
    keys: Vec<PublicKey>,
    contents: &'a Contents<'a>,
    now: u64,
}

fn problem(path: impl Into<String>, message: impl Into<String>) -> Problem {
    Problem { path: path.into(), message: message.into() }
}

impl<'a> Trust<'a> {
    /// Verifies the roots of a site.
    pub(super) fn read(
        index: &Index,
        contents: &'a Contents<'a>,
        terms: &Terms<'_>,
    ) -> (Self, Vec<Problem>) {
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
                problems.push(problem(path, message));
                None
            }
        };
        let keys = chain.as_ref().map(|chain| chain.newest().root.channel_keys());
        let trust = Self { chain, keys: keys.unwrap_or_default(), contents, now: terms.now };
        problems.extend(trust.check_keys(index, roots.len(), terms));
        (trust, problems)
    }

    /// Checks what lies in the folder of the roots, and that they are those of
    /// the project.
    fn check_keys(&self, index: &Index, roots: usize, terms: &Terms<'_>) -> Vec<Problem> {
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
            if !known && key.is_none() && self.contents[path].is_ok() {
                problems.push(problem(path, "belongs to no chain of roots"));
            }
        }
        for key in &self.keys {
            let path = format!("{FOLDER}/{}.pub", key.id());
            match self.contents.get(path.as_str()) {
                Some(Ok(text)) if *text == minisig::public_key(key).as_bytes() => {}
                Some(Err(_)) => {}
                Some(Ok(_)) => problems.push(problem(path, "is not the key that the root names")),
                None => problems.push(problem(path, format!("{INDEX} does not list it"))),
            }
        }
        let first = format!("{FOLDER}/{}", file_name(1));
        let own = terms.project.filter(|(project, _)| **project == index.project);
        match (own.map(|(_, root)| root), self.chain.as_ref().map(|chain| &chain.links()[0])) {
            (Some(Some(own)), Some(first_link)) if own.payload != first_link.payload => {
                problems.push(problem(first, "is not that of the repository"));
            }
            (Some(Some(_)), None) if roots == 0 => {
                problems.push(problem(first, "missing, though the project has keys"));
            }
            (Some(None), Some(_)) => {
                problems.push(problem(first, "the repository does not have it"));
            }
            _ => {}
        }
        problems
    }

    /// Verifies a descriptor as a device does, and returns when it expires.
    pub(super) fn verify(
        &self,
        channel: &ChannelName,
        document: &[u8],
    ) -> Result<Option<u64>, String> {
        let mut copy = document.to_vec();
        let signed = match (Document::parse(&mut copy).map_err(|e| e.to_string())?, &self.chain) {
            (Document::Plain(_), None) => return Ok(None),
            (Document::Plain(_), Some(_)) => {
                return Err("is not signed: devices that know the keys would refuse it".into());
            }
            (Document::Signed(_), None) => {
                return Err("is signed, and the site has no sound chain of roots".into());
            }
            (Document::Signed(signed), Some(chain)) => (signed, &chain.newest().root),
        };
        let (signed, root) = signed;
        let (name, role) = root
            .role_of(channel)
            .ok_or_else(|| format!("root {} names no key for its channel", root.version))?;
        if signed.envelope().signed_by(&role.to_wire(), ed25519).is_none() {
            return Err(format!(
                "lacks the {} signature(s) by keys of role `{name}` that root {} asks for",
                role.threshold, root.version
            ));
        }
        let descriptor: Descriptor<'_> = signed.read().map_err(|error| error.to_string())?;
        let expires = descriptor.expires.unwrap_or(0);
        if expires < self.now {
            let date = date_text(expires.try_into().unwrap_or(i64::MAX));
            return Err(format!(
                "expired on {date}: devices that know the time would refuse it; `cargo xtask site --refresh` signs it anew"
            ));
        }
        Ok(Some(expires))
    }

    /// Checks the signature of an artifact of a release.
    pub(super) fn check_artifact(
        &self,
        index: &Index,
        release: &IndexRelease,
        path: &str,
        bytes: &[u8],
    ) -> Option<Problem> {
        self.chain.as_ref()?;
        let file = path.rsplit('/').next().unwrap_or_default();
        let signature = format!("{path}{}", minisig::EXTENSION);
        let of = (file, release.version.as_str(), index.project.as_str());
        match self.contents.get(signature.as_str()) {
            None => Some(problem(signature, format!("{INDEX} does not list it"))),
            // Told elsewhere.
            Some(Err(_)) => None,
            Some(Ok(text)) => artifacts::verify(&self.keys, bytes, text, of)
                .err()
                .map(|message| problem(signature, message)),
        }
    }

    /// Checks the sums of a release, and their signature.
    pub(super) fn check_sums(&self, index: &Index, release: &IndexRelease) -> Vec<Problem> {
        let folder = format!("firmware/{}/{}/", index.project, release.version);
        let path = format!("{folder}{}", artifacts::SUMS);
        match self.contents.get(path.as_str()) {
            None if self.chain.is_none() => Vec::new(),
            None => vec![problem(path, format!("{INDEX} does not list it"))],
            Some(Err(_)) => Vec::new(),
            Some(Ok(text)) if *text != sums(&folder, release).as_bytes() => {
                vec![problem(path, "is not what the release consists of")]
            }
            Some(Ok(text)) => {
                self.check_artifact(index, release, &path, text).into_iter().collect()
            }
        }
    }
}

/// Returns the sums of a release, as its files are listed.
fn sums(folder: &str, release: &IndexRelease) -> String {
    let files = release.targets.iter().flat_map(|target| {
        let parts = target.parts.iter().map(|part| &part.file);
        std::iter::once(&target.app).chain(parts).chain(&target.factory)
    });
    let line = |file: &IndexArtifact| {
        Some((file.path.as_deref()?.strip_prefix(folder)?.to_owned(), file.sha256))
    };
    let files: BTreeMap<_, _> = files.filter_map(line).collect();
    files.iter().map(|(name, sha256)| format!("{sha256}  {name}\n")).collect()
}

/// Finds what went backwards on a site against the one that is published: what
/// devices that have seen that one would refuse.
pub fn check_against(files: &impl Files, published: &impl Files) -> Vec<Problem> {
    let unreadable =
        |message: String| vec![problem(INDEX, format!("of the published site: {message}"))];
    let (index, old) = match (read_index(files), read_index(published)) {
        (Ok(index), Ok(old)) => (index, old),
        // Told by the check of the site itself.
        (Err(_), _) => return Vec::new(),
        (_, Err(message)) => return unreadable(message),
    };
    let mut problems = Vec::new();
    if index.project != old.project {
        return unreadable(format!("it is of project {}", old.project));
    }
    let mut roots = Vec::new();
    for number in 1.. {
        let path = format!("{FOLDER}/{}", file_name(number));
        if !old.files.contains_key(&path) {
            break;
        }
        let theirs = match published.read(&path) {
            Ok(text) => text,
            Err(message) => return unreadable(format!("{path}: {message}")),
        };
        let payload = |text: &[u8]| Signed::parse(text, &path).map(|signed| signed.payload).ok();
        match files.read(&path) {
            Err(_) => problems.push(problem(&path, "is published, and would be gone")),
            Ok(ours) if payload(&ours) != payload(&theirs) => {
                problems
                    .push(problem(&path, "is published with other content: roots never change"));
            }
            Ok(_) => {}
        }
        roots.push((path.clone(), theirs));
    }
    // What nobody of the project has signed says nothing.
    let Ok(chain) = Chain::verify(&roots, &old.project) else {
        return problems.into_iter().chain(unreadable("its roots do not hold".into())).collect();
    };
    if roots.is_empty() {
        return problems;
    }
    // The keys of both sides: a descriptor of now may have a new one.
    let ours: Vec<_> = (1..)
        .map(|number| format!("{FOLDER}/{}", file_name(number)))
        .map_while(|path| Some((path.clone(), files.read(&path).ok()?)))
        .collect();
    let our_chain = Chain::verify(&ours, &index.project).ok().filter(|_| !ours.is_empty());
    for channel in &old.channels {
        for served in &channel.targets {
            let path = &served.descriptor;
            let (Ok(theirs), Ok(ours)) = (published.read(path), files.read(path)) else { continue };
            let (theirs, ours) = (Standing::of(&[(path, &theirs)]), Standing::of(&[(path, &ours)]));
            let Some(before) = theirs.descriptor(path, &channel.name, &chain) else { continue };
            let now = our_chain.as_ref().and_then(|c| ours.descriptor(path, &channel.name, c));
            let message = match now {
                None => {
                    "is published with a signature, and has none that holds any more".to_owned()
                }
                Some(now) if now.seq < before.seq => {
                    format!(
                        "has seq {}, and {} is published: devices would refuse it",
                        now.seq, before.seq
                    )
                }
                Some(now) if now.seq == before.seq && now.payload != before.payload => {
                    format!("has the seq {} of what is published, with other content", now.seq)
                }
                Some(_) => continue,
            };
            problems.push(problem(path, message));
        }
    }
    problems
}
