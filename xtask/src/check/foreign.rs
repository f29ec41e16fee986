//! A site that Towline did not make: what it offers is found in its documents, or in
//! the images of a folder.

use super::{
    Files, Finding, Findings, Link,
    discover::{Document, Says, documents, resolve},
    facts::{AllFacts, Facts},
    rules,
    secrets::Secrets,
};
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Where to look for what a site offers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Start<'a> {
    /// The document that was named, if one was.
    pub document: Option<&'a str>,
    /// The URL of the site, with a slash at its end.
    pub base: Option<&'a str>,
}

/// A site without an index.
pub(super) struct Site<'a> {
    pub documents: Vec<Document>,
    pub facts: AllFacts,
    start: Start<'a>,
    all: BTreeSet<String>,
}

impl Site<'_> {
    /// Finds where a link of a document leads.
    pub(super) fn resolve(&self, document: &Document, link: &str) -> Link {
        // Of a document on this machine nobody knows what its host has at the top.
        let is_alone = self.start.document.is_some() && self.start.base.is_none();
        if is_alone && link.starts_with('/') {
            return Link::Elsewhere(link.to_owned());
        }
        resolve(&document.path, link, self.start.base, |path| self.all.contains(path))
    }

    /// Returns the path and the facts of the file that a link leads to, if it is there
    /// and could be read.
    pub(super) fn facts_of(&self, document: &Document, link: &str) -> Option<(&str, &Facts)> {
        let Link::Inside(path) = self.resolve(document, link) else { return None };
        let (path, facts) = self.facts.get_key_value(&path)?;
        Some((path, facts.as_ref().ok()?))
    }
}

/// Checks a site without an index; `None` if nothing is there to check, or if it is
/// Towline's after all and lacks its index.
pub(super) fn inspect(files: &impl Files, start: Start<'_>, secrets: &Secrets) -> Option<Findings> {
    let (documents, faults) = documents(files, start.document);
    let is_ours = |document: &Document| match &document.says {
        // Of a signed one, the target is in what is signed.
        Says::Descriptor(d) => d.target.is_some() || d.signatures.is_some(),
        Says::Manifest(_) => false,
    };
    if start.document.is_none() && documents.iter().any(is_ours) {
        return None;
    }
    // Who names a document means what it leads to, and nothing else.
    let all = if start.document.is_some() { Vec::new() } else { files.all() };
    let all = all.into_iter().collect();
    let mut site = Site { documents, facts: AllFacts::new(), start, all };
    let wanted = wanted(&site);
    let texts = rules::texts(&site.documents);
    let facts = wanted
        .into_par_iter()
        .map(|(path, base)| {
            let facts = files.read(&path).map(|bytes| {
                let mut facts = Facts::of_flash(&bytes, base.into(), &texts);
                facts.found.extend(secrets.find_in(&path, &bytes));
                facts
            });
            (path, facts)
        })
        .collect();
    site.facts = facts;
    if site.documents.is_empty() && faults.is_empty() && !site.facts.values().any(is_firmware) {
        return None;
    }
    let mut findings = Findings::default();
    let found = site.facts.values().flatten().flat_map(|facts| facts.found.clone());
    let found: Vec<Finding> = found.chain(rules::all(&site)).chain(faults).collect();
    findings.add(found);
    let others = site.all.par_iter().filter(|path| !site.facts.contains_key(*path));
    let keys = others.filter_map(|path| secrets.find_in(path, &files.read(path).ok()?));
    findings.add(keys.collect::<Vec<_>>());
    Some(findings)
}

fn is_firmware(facts: &Result<Facts, super::Fault>) -> bool {
    facts.as_ref().is_ok_and(Facts::is_firmware)
}

/// Returns the files to look into, and where in flash their first bytes go.
fn wanted(site: &Site<'_>) -> BTreeMap<String, u32> {
    let mut wanted = BTreeMap::new();
    let inside = |document: &Document, link: &str| match site.resolve(document, link) {
        Link::Inside(path) => Some(path),
        Link::Elsewhere(_) => None,
    };
    for document in &site.documents {
        if let Says::Manifest(manifest) = &document.says {
            for part in manifest.builds.iter().flat_map(|build| &build.parts) {
                wanted.extend(inside(document, &part.path).map(|path| (path, part.offset)));
            }
        }
        for link in document.links() {
            wanted.extend(
                inside(document, link)
                    .map(|path| (path, 0))
                    .filter(|(path, _)| !wanted.contains_key(path)),
            );
        }
    }
    for path in site.all.iter().filter(|path| path.ends_with(".bin")) {
        wanted.entry(path.clone()).or_insert(0);
    }
    wanted
}
