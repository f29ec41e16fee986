//! Rules on documents, and on what they lead to.

use super::installer;
use crate::check::{
    Code, Fault, Finding, Link,
    discover::{Build, Descriptor, Document, Manifest, Says, broken_link},
    facts::Image,
    foreign::Site,
};
use semver::Version;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use towline_descriptor::{Chip, Sha256};

/// Chips that installers know and Towline does not publish for.
const OTHER_FAMILIES: [&str; 8] =
    ["ESP8266", "ESP32-S31", "RP2040", "RP2350", "BK72xx", "LN882x", "RTL87xx", "NRF52"];

/// The longest version that an image can have, in bytes.
const MAX_VERSION: usize = 31;

/// The fewest characters of a hash in a name that make it its own.
const MIN_HASH: usize = 8;

/// Checks all documents.
pub(super) fn check(site: &Site<'_>) -> Vec<Finding> {
    let (mut found, mut linked) = (Vec::new(), BTreeSet::new());
    for document in &site.documents {
        match &document.says {
            Says::Manifest(manifest) => found.extend(check_manifest(site, document, manifest)),
            Says::Descriptor(descriptor) => {
                found.extend(check_descriptor(site, document, descriptor));
            }
        }
        for link in document.links() {
            let file = site.file(document, link);
            linked.insert(file.clone());
            if let Some(Err(fault)) = site.facts.get(&file) {
                found.push(broken_link(&document.path, &file, fault));
            }
            let scheme = link.split_once("://").map_or("https", |(scheme, _)| scheme);
            if !scheme.eq_ignore_ascii_case("https") {
                let message = format!("leads to {link}, which anybody on the way can change");
                found.push(Code::LinkInsecure.of(&document.path, message));
            }
        }
    }
    let unread = site.facts.iter().filter(|(path, _)| !linked.contains(*path));
    found.extend(unread.filter_map(|(path, facts)| Some(facts.as_ref().err()?.clone().of(path))));
    found.extend(not_followed(site));
    found.extend(shared(site));
    found
}

fn check_manifest(site: &Site<'_>, document: &Document, manifest: &Manifest) -> Vec<Finding> {
    let mut found = installer::check(site, document, manifest);
    for build in &manifest.builds {
        let family = &build.family;
        if chip_of_family(family).is_none() && !OTHER_FAMILIES.contains(&family.as_str()) {
            let message = format!("chipFamily {family} is no chip that an installer knows");
            found.push(Code::ChipFamilyUnknown.of(&document.path, message));
        }
        found.extend(check_ota(site, document, manifest, build));
    }
    found
}

/// Returns the chip that a manifest means.
pub(super) fn chip_of_family(family: &str) -> Option<Chip> {
    Chip::ALL.iter().copied().find(|chip| chip.family() == family)
}

/// Returns the name of the chip that images of this id are for, if it is known.
pub(super) fn chip_name(id: u16) -> String {
    Chip::from_id(id).map_or_else(|| format!("chip id {id}"), |chip| chip.to_string())
}

/// Checks what ESPHome reads of a build.
fn check_ota(
    site: &Site<'_>,
    document: &Document,
    manifest: &Manifest,
    build: &Build,
) -> Vec<Finding> {
    let mut found = Vec::new();
    let Some(ota) = &build.ota else { return found };
    let mut report = |result: Result<(), Fault>| {
        found.extend(result.err().map(|fault| fault.of(&document.path)));
    };
    report(installer::ota_path(&ota.path));
    if let Some((_, facts)) = site.facts_of(document, &ota.path) {
        report(installer::ota_version(manifest, facts));
    }
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let family = &build.family;
    if ota.md5.len() != 32 || !ota.md5.bytes().all(is_hex) {
        let message = format!("the md5 for {family} is not 32 digits of hex in lower case");
        found.push(Code::Md5Differs.of(&document.path, message));
    } else if let Some((path, facts)) = site.facts_of(document, &ota.path)
        && facts.md5 != ota.md5
    {
        let message =
            format!("the md5 for {family} is {}, that of {path} is {}", ota.md5, facts.md5);
        found.push(Code::Md5Differs.of(&document.path, message));
    }
    found.extend(check_update(site, document, &ota.path, chip_of_family(family)).1);
    found
}

fn check_descriptor(site: &Site<'_>, document: &Document, descriptor: &Descriptor) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut report = |code: Code, message: String| found.push(code.of(&document.path, message));
    let Descriptor { version, path, .. } = descriptor;
    if version.is_empty() || version.len() > MAX_VERSION {
        let message = format!("version {version:?} has not 1 to {MAX_VERSION} bytes");
        report(Code::DescriptorInvalid, message);
        return found;
    }
    if !path.contains("://") {
        report(Code::PathRelative, format!("path {path} is not a whole URL"));
    }
    if let Err(error) = Version::parse(version) {
        let prefix = version.strip_prefix('v').is_some_and(|rest| Version::parse(rest).is_ok());
        let why = if prefix { "has a `v` before it".to_owned() } else { error.to_string() };
        report(Code::VersionNotSemver, format!("version {version} is no semantic version: {why}"));
    }
    let sha256 = descriptor.sha256.as_ref().and_then(Value::as_str);
    let sha256 = sha256.and_then(|text| text.to_ascii_lowercase().parse::<Sha256>().ok());
    if let (Some(said), Some((path, facts))) = (sha256, site.facts_of(document, path))
        && facts.sha256 != said
    {
        let message = format!("says SHA-256 {said}, that of {path} is {}", facts.sha256);
        report(Code::DescriptorImage, message);
    }
    if sha256.is_none() && descriptor.signatures.is_none() {
        report(Code::Unauthenticated, "says neither hash nor signature of the image".into());
    }
    let (app, faults) = check_update(site, document, path, chip_in(&document.path));
    found.extend(faults);
    let hash = site.facts_of(document, path).map(|(_, facts)| facts.sha256.to_string());
    let has_hash = hash.is_some_and(|hash| path.contains(&hash[..MIN_HASH]));
    if !path.contains(version.trim_start_matches('v')) && !has_hash {
        let message =
            format!("path {path} has neither version nor hash in it: it changes in place");
        found.push(Code::MutableName.of(&document.path, message));
    }
    if let Some((_, own)) = app.and_then(own_version)
        && own != version
    {
        let message = format!("offers version {version}, its image has {own}");
        found.push(Code::VersionMismatch.of(&document.path, message));
    }
    found
}

/// Returns project and version of an app where they are its own word, and not what a
/// framework says of itself.
pub(super) fn own_version(image: &Image) -> Option<(&str, &str)> {
    let app = &image.head.as_ref()?.app;
    let (project, version) = (app.project_name.as_str(), app.version.as_str());
    let is_of_framework = ["", "arduino-lib-builder", "libespidf"].contains(&project)
        || ["", "1"].contains(&version)
        || ["esp-idf:", "arduino"].iter().any(|start| version.starts_with(start));
    (!is_of_framework).then_some((project, version))
}

/// Checks that an update is an app, and for the chip. Returns the app.
fn check_update<'s>(
    site: &'s Site<'_>,
    document: &Document,
    link: &str,
    chip: Option<Chip>,
) -> (Option<&'s Image>, Vec<Finding>) {
    let mut found = Vec::new();
    let Some((path, facts)) = site.facts_of(document, link) else { return (None, found) };
    let Some(app) = facts.app_alone() else {
        let message = format!("leads to {path}, which is no app image: no device can install it");
        found.push(Code::NotAnApp.of(&document.path, message));
        return (None, found);
    };
    if let Some(chip) = chip
        && chip.id() != app.header.chip_id
    {
        let id = app.header.chip_id;
        let of = chip_name(id);
        let message = format!("is for an {chip}, and leads to {path}, which is for {of}");
        found.push(Code::ChipMismatch.of(&document.path, message));
    }
    (Some(app), found)
}

/// Returns the chip that a path names: at the start of the name of the file, or as the
/// name of its folder. `esp32` at the start of more is a brand.
pub(super) fn chip_in(path: &str) -> Option<Chip> {
    let mut parts = path.rsplit('/').map(|part| {
        let part = part.to_ascii_lowercase();
        // `esp32-s3` is how people write it.
        part.replacen("esp32-", "esp32", 1).replacen("esp32_", "esp32", 1)
    });
    let starts = |part: &str, chip: Chip| {
        let rest = part.strip_prefix(chip.name());
        rest.is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_alphanumeric()))
    };
    let named = |part: String, is: &dyn Fn(&str, Chip) -> bool| {
        Chip::ALL.iter().copied().find(|chip| is(&part, *chip))
    };
    let stem = parts.next().and_then(|part| named(part, &starts));
    stem.or_else(|| parts.next().and_then(|part| named(part, &|part, chip| part == chip.name())))
}

/// Says once what was not looked at.
fn not_followed(site: &Site<'_>) -> Option<Finding> {
    let mut elsewhere = BTreeMap::new();
    for document in &site.documents {
        for link in document.links() {
            if let Link::Elsewhere(url) = site.resolve(document, link)
                && !site.facts.contains_key(&url)
            {
                elsewhere.insert(url, &document.path);
            }
        }
    }
    let (first, document) = elsewhere.first_key_value()?;
    let host = match first.contains("://") {
        true => first.splitn(4, '/').take(3).collect::<Vec<_>>().join("/") + "/",
        false => first.clone(),
    };
    let message = match elsewhere.len() {
        1 => format!("a link leads elsewhere, to {host}, and was not followed"),
        count => format!("{count} links lead elsewhere, such as to {host}, and were not followed"),
    };
    Some(Code::NotChecked.of(*document, message))
}

/// Finds descriptors that say different versions of one file.
fn shared(site: &Site<'_>) -> Vec<Finding> {
    let mut first: BTreeMap<String, (&Document, &str)> = BTreeMap::new();
    let mut found = Vec::new();
    for document in &site.documents {
        let Says::Descriptor(Descriptor { version, path, .. }) = &document.says else { continue };
        let file = site.file(document, path);
        let (other, theirs) = *first.entry(file).or_insert((document, version));
        if theirs != version {
            let message =
                format!("offers version {version} at {path}, which {} calls {theirs}", other.path);
            found.push(Code::ImageShared.of(&document.path, message));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_brand_in_a_name_is_no_chip() {
        for (path, chip) in [
            ("ota/stable/esp32.json", Some(Chip::Esp32)),
            ("ota/stable/esp32-s3.json", Some(Chip::Esp32s3)),
            ("esp32c6/app.bin", Some(Chip::Esp32c6)),
            ("esp32c61-lamp.bin", Some(Chip::Esp32c61)),
            ("esp32s2-evse.ota.bin", Some(Chip::Esp32s2)),
            ("esp32-evse.ota.bin", None),
            ("esp32-s3-1.2.0.bin", Some(Chip::Esp32s3)),
            ("esp32-s3-16MB.bin", Some(Chip::Esp32s3)),
            ("esp32-c6-1.0.bin", Some(Chip::Esp32c6)),
            ("esp32_h2-1.0.bin", Some(Chip::Esp32h2)),
            ("esp32/esp32s3-lamp.bin", Some(Chip::Esp32s3)),
            ("esp32/ota/stable/lamp.json", None),
            ("lamp.json", None),
        ] {
            assert_eq!(chip_in(path), chip, "{path}");
        }
    }
}
