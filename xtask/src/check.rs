//! Opens a published site as its clients do and lists all problems.
//!
//! The parsers, the decision and the image check are those of the device, which
//! judge too what the host of a site at a URL answers. Everything starts from `releases.json`, which holds the hash of every other file: a
//! change of a single byte shows.

mod against;
mod allow;
mod channel;
mod code;
mod discover;
mod facts;
mod files;
mod finding;
mod foreign;
mod history;
mod host;
mod http;
mod index;
mod page;
mod patches;
mod paths;
mod remote;
pub mod report;
mod rules;
mod search;
pub mod secrets;
mod simulate;
mod target;
mod terms;
mod trust;

pub use against::check_against;
pub use allow::{Allow, Allows, InvalidAllow};
pub use code::{Code, INDEX as CODES, UnknownCode};
pub use files::{Files, Folder};
pub use finding::{Fault, Finding, Findings, Place, Severity};
pub use foreign::Start;
pub use paths::{End, Leg, UpdatePath, paths, svg as draw_paths};
pub use remote::{Remote, RemoteError};
pub use simulate::{Simulated, base_url, simulate};

use crate::{
    keys::chain::{Chain, FOLDER, file_name},
    name::{ProjectName, TargetName},
    receipt, signing,
    site::{INDEX, Index, IndexArtifact, IndexRelease, IndexTarget},
    store::sha256,
};
use facts::{AllFacts, Facts};
use host::Host;
pub(crate) use host::monthly_limit;
use http::{Devices, Use, Uses};
use index::{is_index, read_closely, read_index};
use patches::Ways;
use rayon::prelude::*;
use secrets::{Published, Secrets};
use std::collections::{BTreeMap, BTreeSet};
use towline_descriptor::Sha256;
use trust::{Contents, Trust};

/// What a check goes by beside the site itself.
pub struct Terms<'a> {
    /// The time in seconds since 1970.
    pub now: u64,
    /// The project at hand, and its roots if it has some.
    pub project: Option<(&'a ProjectName, Option<&'a Chain>)>,
    /// Secret keys at hand, which must be nowhere.
    pub secrets: &'a Secrets,
    /// Targets of releases that are known to be sound.
    pub known: &'a BTreeSet<(&'a str, &'a TargetName)>,
    /// Seconds that what is signed has to count for yet; `None` for a quarter of
    /// its life.
    pub min_left: Option<u64>,
    /// Where to look for what a site without an index offers; `None` if it has to be
    /// Towline's.
    pub start: Option<Start<'a>>,
}

/// Checks a site; no errors mean that its clients can use all of it.
pub fn check(files: &impl Files) -> Vec<Finding> {
    let (secrets, known) = (Secrets::default(), BTreeSet::new());
    let terms = Terms {
        now: signing::clock(),
        project: None,
        secrets: &secrets,
        known: &known,
        min_left: None,
        start: None,
    };
    inspect(files, &terms).take_errors()
}

/// Checks a site on these terms.
pub fn inspect(files: &impl Files, terms: &Terms<'_>) -> Findings {
    let mut findings = Findings::default();
    let told = terms.start.filter(|start| start.document.is_some());
    if let Some(found) = told.and_then(|start| foreign::inspect(files, start, terms.secrets)) {
        return found;
    }
    let read = files.read(INDEX);
    let is_ours = read.as_ref().map_or_else(|fault| !is_nothing(fault), |bytes| is_index(bytes));
    let (index, faults) = match read.and_then(|bytes| read_closely(&bytes)) {
        Ok(read) => read,
        Err(fault) => {
            let start = terms.start.filter(|_| !is_ours);
            if let Some(found) =
                start.and_then(|start| foreign::inspect(files, start, terms.secrets))
            {
                return found;
            }
            // Without an index, a host does not say what it has.
            let fault = match start.and_then(|start| start.base) {
                Some(base) => fault.and(&format!(
                    "; if Towline did not make the site, name its manifest, such as {base}manifest.json: the page at {base} leads to none, and none is where they usually are"
                )),
                None => fault,
            };
            findings.add([fault.of(INDEX)]);
            return findings;
        }
    };
    let mut found: Vec<_> = faults.into_iter().map(|fault| fault.of(INDEX)).collect();
    let (contents, faults) = read_documents(files, &index, terms.secrets);
    found.extend(faults);
    let (trust, faults) = Trust::read(&index, &contents, terms);
    found.extend(faults);
    found.extend(trust.next_root().and_then(|next| answer_for_next_root(files, next)));
    for channel in &index.channels {
        let (faults, expires) = channel::check(&index, channel, &contents, &trust);
        found.extend(faults);
        findings.expires = [findings.expires, expires].into_iter().flatten().min();
    }
    // A descriptor that is at fault is told as such, and leads nowhere.
    let is_at_fault = |path: &str| found.iter().any(|finding| finding.place.file == path);
    let sound = |path: &str| match is_at_fault(path) {
        true => None,
        false => contents.get(path)?.as_ref().ok().cloned(),
    };
    findings.paths = paths(&index, sound, terms.now);
    found.extend(paths::find(&index, &findings.paths));
    found.extend(unlisted(&index));
    found.extend(history::check(&index));
    if let Some(host) = Host::of_url(&index.base_url) {
        let all = files.all();
        let sizes =
            if all.is_empty() { host::listed(&index) } else { host::in_folder(files, &all) };
        found.extend(host::check(host, &sizes, true));
    }
    found.extend(page::check(&contents));
    found
        .extend(index.releases.iter().flat_map(|release| trust.check_sums(files, &index, release)));
    found.par_extend(unlisted_secrets(files, &index, terms.secrets));
    let is_known = |release: &IndexRelease, target: &IndexTarget| {
        terms.known.contains(&(release.version.as_str(), &target.target))
    };
    let targets: Vec<_> = index
        .releases
        .iter()
        .flat_map(|release| release.targets.iter().map(move |target| (release, target)))
        .filter(|(release, target)| !is_known(release, target))
        .collect();
    let ways = Ways::of(&index, &targets);
    let (facts, faults) = read_targets(files, &index, &targets, &ways, &trust, terms.secrets);
    found.extend(faults);
    found.extend(ways.check_others(files, &index));
    found.extend(http::check(files, &uses(&index)));
    let of_targets = targets.iter();
    found.extend(of_targets.flat_map(|(release, t)| target::check(&facts, &index, release, t)));
    findings.add(found);
    findings
}

/// Returns whether a host has no index, whatever it answers for what it has not.
fn is_nothing(fault: &Fault) -> bool {
    matches!(fault.code(), Code::FileMissing | Code::Redirect | Code::HtmlInstead)
}

/// Returns who fetches which files of a site of Towline.
fn uses(index: &Index) -> Uses {
    let changes = Use { changes: true, ..Use::default() };
    let polled = Use { devices: Some(Devices::Towline), ..changes.clone() };
    let image = Use { devices: Some(Devices::Towline), ..Use::default() };
    let channels = index.channels.iter().flat_map(|channel| {
        let descriptors = channel.targets.iter().map(|target| (&target.descriptor, polled.clone()));
        descriptors.chain([(&channel.manifest, changes.clone())])
    });
    let targets = index.releases.iter().flat_map(|release| &release.targets);
    let apps = targets.flat_map(|target| {
        let patches = target.patches.iter().map(|patch| &patch.file);
        let fetched = std::iter::once(&target.app).chain(patches);
        fetched.filter_map(|file| Some((file.path.as_ref()?, image.clone())))
    });
    let named = channels.chain(apps).map(|(path, of)| (path.clone(), of));
    named.chain([(INDEX.to_owned(), changes.clone())]).collect()
}

/// Reads what the index lists: small files, and the page with what it loads. Only
/// what has to be looked into again is kept.
fn read_documents<'a>(
    files: &impl Files,
    index: &'a Index,
    secrets: &Secrets,
) -> (Contents<'a>, Vec<Finding>) {
    let read = |(path, listed): (&'a String, &IndexArtifact)| {
        let read = read_listed(files, path, listed);
        let found = match &read {
            Err(fault) => vec![fault.clone().of(path)],
            Ok(bytes) => secrets.find_all(Published::File, path, bytes),
        };
        let is_kept = !path.starts_with("assets/") || path.ends_with(".js");
        let kept = read.map(|bytes| if is_kept { bytes } else { Vec::new() });
        ((path.as_str(), kept), found)
    };
    let (contents, found): (Contents<'_>, Vec<_>) = index.files.par_iter().map(read).unzip();
    (contents, found.into_iter().flatten().collect())
}

/// Reads the files of targets, each once, keeps what is known of them, and applies the
/// patches that start from them.
fn read_targets(
    files: &impl Files,
    index: &Index,
    targets: &[(&IndexRelease, &IndexTarget)],
    ways: &Ways<'_>,
    trust: &Trust<'_>,
    secrets: &Secrets,
) -> (AllFacts, Vec<Finding>) {
    let mut wanted: BTreeMap<&str, (&IndexRelease, Vec<_>)> = BTreeMap::new();
    for (release, target) in targets {
        for (path, pieces) in target::files(target) {
            wanted.entry(path).or_insert((release, Vec::new())).1.extend(pieces);
        }
    }
    for (path, (release, _)) in &ways.from {
        wanted.entry(path).or_insert((release, Vec::new()));
    }
    let read = |(path, (release, pieces)): (&str, (&IndexRelease, Vec<_>))| {
        let mut found = Vec::new();
        let facts = files.read(path).map(|bytes| {
            let mut facts = Facts::of(&bytes, &pieces);
            facts.found.extend(trust.check_artifact(files, index, release, path, &bytes));
            facts.found.extend(secrets.find_all(Published::Recorded, path, &bytes));
            let from_here = ways.from.get(path).into_iter().flat_map(|(_, ways)| ways);
            found.extend(from_here.filter_map(|way| way.check(files, &bytes, facts.sha256)));
            facts
        });
        ((path.to_owned(), facts), found)
    };
    let (facts, found): (_, Vec<_>) = wanted.into_par_iter().map(read).unzip();
    (facts, found.into_iter().flatten().collect())
}

/// Where a link of a document leads.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Link {
    /// To a file of the site.
    Inside(String),
    /// To this URL.
    Elsewhere(String),
}

/// Says that the index does not know a file.
fn not_listed() -> Fault {
    Code::NotListed.fault(format!("{INDEX} does not list it"))
}

/// Finds out whether a host has an answer where devices look for the next root.
fn answer_for_next_root(files: &impl Files, number: u32) -> Option<Finding> {
    let path = format!("{FOLDER}/{}", file_name(number));
    let answer = files.absence(&path)?.err()?;
    let message = format!(
        "is not published, and {answer}: devices look there for the next root; let the host answer with status 404 what it does not have"
    );
    Some(Code::AbsenceAnswered.of(path, message))
}

/// Finds secrets in files that no client would look at.
fn unlisted_secrets<'a>(
    files: &'a impl Files,
    index: &Index,
    secrets: &'a Secrets,
) -> impl ParallelIterator<Item = Finding> + 'a {
    let targets = index.releases.iter().flat_map(|release| &release.targets);
    let listed: BTreeSet<&str> =
        targets.flat_map(receipt::paths).chain(index.files.keys().map(String::as_str)).collect();
    let mut unlisted = files.all();
    unlisted.retain(|path| !listed.contains(path.as_str()));
    unlisted.into_par_iter().flat_map_iter(|path| {
        let bytes = files.read(&path).unwrap_or_default();
        secrets.find_all(Published::File, &path, &bytes)
    })
}

/// Returns a file's bytes if they are what the index says.
pub(crate) fn read_listed(
    files: &impl Files,
    path: &str,
    listed: &IndexArtifact,
) -> Result<Vec<u8>, Fault> {
    let bytes = files.read(path)?;
    compare(bytes.len(), sha256(&bytes), listed)?;
    Ok(bytes)
}

/// Compares a file and its hash with what the index says of it.
fn compare(size: usize, found: Sha256, listed: &IndexArtifact) -> Result<(), Fault> {
    if size != listed.size as usize {
        let message = format!("has {size} bytes, {INDEX} says {}", listed.size);
        return Err(Code::SizeDiffers.fault(message));
    }
    let message = || format!("has SHA-256 {found}, {INDEX} says {}", listed.sha256);
    if found == listed.sha256 { Ok(()) } else { Err(Code::HashDiffers.fault(message())) }
}

/// Finds descriptors and manifests that no channel has: devices that still
/// read them are led astray.
fn unlisted(index: &Index) -> Vec<Finding> {
    let known: BTreeSet<&str> = index
        .channels
        .iter()
        .flat_map(|channel| {
            let descriptors = channel.targets.iter().map(|target| target.descriptor.as_str());
            descriptors.chain([channel.manifest.as_str()])
        })
        .collect();
    let of_channel = |path: &str| path.starts_with("ota/") || path.starts_with("manifests/");
    let stray =
        index.files.keys().filter(|path| of_channel(path) && !known.contains(path.as_str()));
    stray.map(|path| Code::StrayFile.of(path, "belongs to no channel")).collect()
}
