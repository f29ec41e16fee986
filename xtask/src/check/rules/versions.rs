//! Rules on what is offered to the same boards in several places: on several channels,
//! and by an installer and by updates.

use super::{channels, documents::own_version};
use crate::check::{
    Code, Finding,
    discover::{Document, Says},
    facts::{Facts, Image, What},
    foreign::Site,
};
use semver::Version;
use std::collections::{BTreeMap, BTreeSet};

/// What a document offers to boards.
struct Offer<'a> {
    document: &'a str,
    /// The folder of the document, which is its channel.
    channel: &'a str,
    version: &'a str,
    /// Where the app is on the site, if it is.
    path: Option<&'a str>,
    facts: Option<&'a Facts>,
    app: Option<&'a Image>,
}

/// Checks what the same boards are offered.
pub(super) fn check(site: &Site<'_>) -> Vec<Finding> {
    let mut found = differing(site);
    let targets = targets(site);
    for offers in targets.values() {
        for (number, offer) in offers.iter().enumerate() {
            for other in &offers[..number] {
                found.extend(compare(offer, other));
                found.extend(behind(offer, other).or_else(|| behind(other, offer)));
                found.extend(falls(offer, other).or_else(|| falls(other, offer)));
            }
            found.extend(of_other_channel(offer, offers));
        }
    }
    found
}

/// Returns what is offered to each kind of boards: documents of one name in the folders
/// of channels beside each other are for the same. Other folders may be of other boards.
fn targets<'a>(site: &'a Site<'_>) -> BTreeMap<(&'a str, &'a str, &'a str), Vec<Offer<'a>>> {
    let mut targets: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for document in &site.documents {
        let mut parts = document.path.rsplitn(3, '/');
        let (Some(name), Some(channel)) = (parts.next(), parts.next()) else { continue };
        if !channels::is_channel(channel) {
            continue;
        }
        let root = parts.next().unwrap_or_default();
        for (board, version, link) in offered(document) {
            let (path, facts) = site.facts_of(document, link).unzip();
            let app = facts.and_then(Facts::app_alone);
            let document = document.path.as_str();
            let offer = Offer { document, channel, version, path, facts, app };
            targets.entry((root, name, board)).or_default().push(offer);
        }
    }
    targets
}

/// Returns the boards, the version and the link of all that a document offers.
fn offered(document: &Document) -> Vec<(&str, &str, &str)> {
    match &document.says {
        Says::Descriptor(descriptor) => vec![("", &descriptor.version, &descriptor.path)],
        Says::Manifest(manifest) => {
            let version = manifest.version.as_deref().unwrap_or_default();
            let updates = manifest.builds.iter().filter_map(|build| {
                Some((build.family.as_str(), version, build.ota.as_ref()?.path.as_str()))
            });
            updates.collect()
        }
    }
}

/// Compares the apps of two channels.
fn compare(offer: &Offer<'_>, other: &Offer<'_>) -> Option<Finding> {
    let (app, theirs) = (offer.app?, other.app?);
    let (Ok((_, sha256)), Ok((_, their_sha256))) = (&app.whole, &theirs.whole) else { return None };
    let is_esphome = [offer, other].iter().any(|o| o.facts.is_some_and(|f| f.marks.esphome));
    let finding = |code: Code, message: String| Some(code.of(offer.document, message));
    let other_path = other.path.unwrap_or_default();
    match own_version(app).zip(own_version(theirs)).filter(|_| !is_esphome) {
        Some(((project, _), (their_project, _))) if project != their_project => {
            let message = format!("leads to {project}, and {} to {their_project}", other.document);
            finding(Code::ProjectMismatch, message)
        }
        Some((own, their_own)) if own == their_own && sha256 != their_sha256 => {
            let (project, version) = own;
            let message =
                format!("leads to {project} {version} with other bytes than {other_path}");
            finding(Code::AppDiffers, message)
        }
        None if sha256 == their_sha256
            && offer.version != other.version
            && offer.path != other.path =>
        {
            let (version, theirs) = (offer.version, other.version);
            let message = format!("calls {version} what {} calls {theirs}", other.document);
            finding(Code::ImageShared, message)
        }
        _ => None,
    }
}

/// Finds a channel for those who want to be ahead that is not.
fn behind(offer: &Offer<'_>, stable: &Offer<'_>) -> Option<Finding> {
    let (version, theirs) = (offer.version, stable.version);
    let is_behind = channels::is_behind((offer.channel, version), (stable.channel, theirs));
    let message = || format!("offers version {version}, and {} already {theirs}", stable.document);
    is_behind.then(|| Code::ChannelOrder.of(offer.document, message()))
}

/// Finds an app that boards with the older one refuse, as it counts as rolled back.
fn falls(newer: &Offer<'_>, older: &Offer<'_>) -> Option<Finding> {
    let (app, before) = (newer.app?, older.app?);
    let version = |image| Version::parse(own_version(image)?.1.trim_start_matches('v')).ok();
    let is_newer = version(app)? > version(before)?;
    let secure = |image: &Image| image.head.as_ref().map(|head| head.app.secure_version);
    let (now, then) = (secure(app)?, secure(before)?);
    let message =
        || format!("has secure_version {now}, the older one of {} has {then}", older.document);
    (is_newer && now < then).then(|| Code::SecureVersionFalls.of(newer.document, message()))
}

/// Finds a path into the folder of another channel, which does not offer that.
fn of_other_channel(offer: &Offer<'_>, offers: &[Offer<'_>]) -> Option<Finding> {
    let path = offer.path?;
    let folder = folder_of(path)?;
    let is_there = |other: &&Offer<'_>| folder_of(other.document) == Some(folder);
    let of_folder = || offers.iter().filter(is_there);
    let is_odd = folder_of(offer.document) != Some(folder)
        && of_folder().next().is_some()
        && of_folder().all(|other| other.path != Some(path));
    let message = || format!("leads to {path}, which the channel of that folder does not offer");
    is_odd.then(|| Code::ChannelPath.of(offer.document, message()))
}

fn folder_of(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(folder, _)| folder)
}

/// Finds apps that installers write, and that no update of the same project, version
/// and chip is.
fn differing(site: &Site<'_>) -> Vec<Finding> {
    let key = |facts: &Facts, image: &Image| {
        let (project, version) = own_version(image).filter(|_| !facts.marks.esphome)?;
        Some((project.to_owned(), version.to_owned(), image.header.chip_id))
    };
    let mut offered: BTreeMap<_, Vec<(&str, _)>> = BTreeMap::new();
    for document in &site.documents {
        for link in document.updates() {
            let Some((path, facts)) = site.facts_of(document, link) else { continue };
            let Some(image) = facts.app_alone() else { continue };
            if let (Some(key), Ok((_, sha256))) = (key(facts, image), &image.whole) {
                offered.entry(key).or_default().push((path, sha256));
            }
        }
    }
    let mut found = BTreeSet::new();
    for document in &site.documents {
        let written = document.parts().filter_map(|part| site.facts_of(document, &part.path));
        for (path, facts) in written {
            for element in &facts.elements {
                let What::Image(image) = &element.what else { continue };
                let (Some(key), Ok((_, sha256))) = (key(facts, image), &image.whole) else {
                    continue;
                };
                let updates = offered.get(&key).map_or(&[][..], Vec::as_slice);
                if let Some((other, _)) = updates.first()
                    && updates.iter().all(|(_, theirs)| theirs != &sha256)
                {
                    let (project, version, _) = key;
                    let message = format!("has {project} {version} with other bytes than {other}");
                    let fault = Code::AppDiffers.fault(message);
                    let fault = if element.at > 0 { fault.at_byte(element.at) } else { fault };
                    found.insert(fault.of(path));
                }
            }
        }
    }
    found.into_iter().collect()
}
