//! A site that Towline did not make: what it offers is found in its documents, or in
//! the images of a folder.

use super::{
    Code, Files, Finding, Findings, Link,
    discover::{Document, Says, documents, resolve},
    facts::{AllFacts, Facts},
    host::{self, Host},
    http::{self, Devices, Uses, is_page, url},
    rules,
    secrets::{Published, Secrets},
};
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// How the names of images end.
const IMAGE: &str = ".bin";

/// Where to look for what a site offers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Start<'a> {
    /// The document or image that was named, if one was.
    pub document: Option<&'a str>,
    /// The page that was named.
    pub page: Option<&'a str>,
    /// The URL of the site, with a slash at its end.
    pub base: Option<&'a str>,
}

impl Start<'_> {
    /// Returns whether an image was named.
    pub(super) fn is_image(self) -> bool {
        let path = self.document.and_then(|path| path.split('?').next());
        path.is_some_and(|path| path.ends_with(IMAGE))
    }
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
        let (path, facts) = self.facts.get_key_value(&self.file(document, link))?;
        Some((path, facts.as_ref().ok()?))
    }

    /// Returns what facts of the file are kept by that a link leads to: its path on the
    /// site, or its URL.
    pub(super) fn file(&self, document: &Document, link: &str) -> String {
        match self.resolve(document, link) {
            Link::Inside(file) | Link::Elsewhere(file) => file,
        }
    }

    /// Returns who fetches which of its files.
    fn uses(&self) -> Uses {
        let mut uses = Uses::new();
        for document in &self.documents {
            let base = self.start.base.unwrap_or_default();
            let url = url::join(base, &document.path);
            let page = url::origin(if document.is_on_page { base } else { &url });
            let own = uses.entry(document.path.clone()).or_default();
            own.changes = true;
            own.installers.extend(document.is_on_page.then(|| page.to_owned()));
            own.devices = match &document.says {
                // The firmware of esp32-evse reads the first answer as it is.
                Says::Descriptor(_) => Some(Devices::Staying),
                Says::Manifest(_) => document.updates().next().map(|_| Devices::Following),
            };
            for path in document.updates() {
                let image = uses.entry(self.file(document, path)).or_default();
                image.devices = Some(Devices::Following);
            }
            for part in document.parts() {
                let part = uses.entry(self.file(document, &part.path)).or_default();
                part.installers.push(page.to_owned());
            }
        }
        uses
    }
}

/// Checks a site without an index; `None` if nothing is there to check, or if it is
/// Towline's after all and lacks its index.
pub(super) fn inspect(files: &impl Files, start: Start<'_>, secrets: &Secrets) -> Option<Findings> {
    let (documents, mut faults) = documents(files, start);
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
        .filter_map(|(path, base)| {
            let facts = files.follow(&path)?.and_then(|bytes| {
                Code::HtmlInstead.unless(!is_page(&bytes), "is a web page, and no image")?;
                let mut facts = Facts::of_flash(&bytes, base.into(), &texts);
                let kind = match facts.elements.as_slice() {
                    [] => Published::File,
                    _ => Published::Image,
                };
                facts.found.extend(secrets.find_all(kind, &path, &bytes));
                Ok(facts)
            });
            Some((path, facts))
        })
        .collect();
    site.facts = facts;
    if let Some(path) = start.document.filter(|_| start.is_image()) {
        let fault = match site.facts.get(path)? {
            Err(fault) => Some(fault.clone()),
            Ok(facts) if facts.elements.is_empty() => {
                Some(Code::ImageMalformed.fault("holds no image"))
            }
            Ok(_) => None,
        };
        faults.extend(fault.map(|fault| fault.of(path)));
    }
    let is_nothing = start.document.is_none() && site.documents.is_empty();
    if is_nothing && faults.is_empty() && !site.facts.values().any(is_firmware) {
        return None;
    }
    let mut findings = Findings::default();
    let found = site.facts.values().flatten().flat_map(|facts| facts.found.clone());
    let found = found.chain(rules::all(&site)).chain(http::check(files, &site.uses()));
    let found: Vec<Finding> = found.chain(faults).collect();
    findings.add(found);
    if let Some(host) = host(&site) {
        findings.add(host::check(host, &host::in_folder(files, &site.all), false));
    }
    let others = site.all.par_iter().filter(|path| !site.facts.contains_key(*path));
    let given_away = others.flat_map_iter(|path| {
        let bytes = files.read(path).unwrap_or_default();
        secrets.find_all(Published::File, path, &bytes)
    });
    findings.add(given_away.collect::<Vec<_>>());
    Some(findings)
}

/// Returns the host of a site, if its documents name it as theirs or a file tells.
fn host(site: &Site<'_>) -> Option<&'static Host> {
    let is_inside = |document: &Document, link: &&str| match site.resolve(document, link) {
        Link::Inside(_) => true,
        Link::Elsewhere(_) => false,
    };
    let links = site
        .documents
        .iter()
        .flat_map(|d| d.links().into_iter().filter(move |link| is_inside(d, link)));
    links
        .chain(site.start.base)
        .find_map(Host::of_url)
        .or_else(|| Host::of_folder(|file| site.all.contains(file)))
}

fn is_firmware(facts: &Result<Facts, super::Fault>) -> bool {
    facts.as_ref().is_ok_and(Facts::is_firmware)
}

/// Returns the files to look into, and where in flash their first bytes go.
fn wanted(site: &Site<'_>) -> BTreeMap<String, u32> {
    let mut wanted = BTreeMap::new();
    for document in &site.documents {
        for part in document.parts() {
            wanted.insert(site.file(document, &part.path), part.offset);
        }
        for link in document.updates() {
            wanted.entry(site.file(document, link)).or_insert(0);
        }
    }
    let told = site.start.document.filter(|_| site.start.is_image());
    wanted.extend(told.map(|path| (path.to_owned(), 0)));
    for path in site.all.iter().filter(|path| path.ends_with(IMAGE)) {
        wanted.entry(path.clone()).or_insert(0);
    }
    wanted
}
