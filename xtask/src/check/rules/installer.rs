//! Rules on what an installer does with a manifest.

use crate::check::{
    Code, Fault, Finding,
    discover::{Build, Document, Manifest, Says},
    facts::{Facts, Marks},
    foreign::Site,
};
use std::collections::BTreeMap;

/// Kinds of serial ports that installers tell apart.
const SERIAL: [&str; 2] = ["cdc", "uart"];

/// Shorter texts may be in code, where they are not found.
const MIN_TEXT: usize = 16;

/// Returns the texts of a document that its firmware should have.
pub(super) fn texts(document: &Document) -> Vec<&str> {
    let Says::Manifest(manifest) = &document.says else { return Vec::new() };
    let has_ota = manifest.builds.iter().any(|build| build.ota.is_some());
    let version = manifest.version.as_deref().filter(|_| has_ota);
    manifest.name.as_deref().into_iter().chain(version).filter(|text| !text.is_empty()).collect()
}

/// Checks what a manifest asks of the installer.
pub(super) fn check(site: &Site<'_>, document: &Document, manifest: &Manifest) -> Vec<Finding> {
    let mut faults = unreachable(manifest);
    for (missing, field) in [(&manifest.name, "name"), (&manifest.version, "version")] {
        if missing.is_none() {
            let message = format!("has no {field}: the installer shows `undefined`");
            faults.push(Code::ManifestInvalid.fault(message));
        }
    }
    if manifest.new_install_skip_erase.is_some() {
        let message = "new_install_skip_erase is now called new_install_prompt_erase";
        faults.push(Code::ManifestDeprecated.fault(message));
    }
    let parts = document.parts().map(|part| Some(site.facts_of(document, &part.path)?.1));
    // What is elsewhere cannot be judged.
    if let Some(facts) = parts.collect::<Option<Vec<_>>>().filter(|parts| !parts.is_empty()) {
        faults.extend(erases(manifest, &facts).err());
        faults.extend(unknown_to_improv(manifest, &facts).err());
    }
    faults.into_iter().map(|fault| fault.of(&document.path)).collect()
}

/// Finds builds that no board gets: of a kind of port, the first of a family is taken.
fn unreachable(manifest: &Manifest) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut first: BTreeMap<_, &Build> = BTreeMap::new();
    for build in &manifest.builds {
        let (family, serial) = (&build.family, build.serial.as_deref());
        let known = *first.entry((family, serial)).or_insert(build);
        let is_alike = known.flash_size == build.flash_size && known.psram_size == build.psram_size;
        let message = if serial.is_some_and(|serial| !SERIAL.contains(&serial)) {
            "no port is of its serialType"
        } else if !std::ptr::eq(known, build) && is_alike {
            "one before it is for the same boards"
        } else {
            continue;
        };
        let message = format!("a build for {family} is never installed: {message}");
        faults.push(Code::ManifestBuildUnreachable.fault(message));
    }
    faults
}

/// Finds a manifest whose every install erases all of flash, without a word.
fn erases(manifest: &Manifest, facts: &[&Facts]) -> Result<(), Fault> {
    let is_known = manifest.asks_firmware() && facts.iter().any(|f| f.marks.perhaps_improv);
    let is_app = facts.iter().any(|facts| facts.is_firmware());
    let message = "does not ask for new_install_prompt_erase: every install erases all of flash";
    Code::InstallerErases.unless(manifest.asks_to_erase() || is_known || !is_app, message)
}

/// Finds a manifest whose firmware answers with another name for certain.
fn unknown_to_improv(manifest: &Manifest, facts: &[&Facts]) -> Result<(), Fault> {
    let marks = facts.iter().map(|facts| facts.marks).reduce(Marks::or).unwrap_or_default();
    let Some(name) = manifest.name.as_ref().filter(|name| name.len() >= MIN_TEXT) else {
        return Ok(());
    };
    let is_unknown = marks.improv
        && manifest.asks_firmware()
        && !facts.iter().any(|facts| facts.says.contains(name));
    let message = format!("the firmware answers Improv, and `{name}` is nowhere in it");
    Code::ImprovUnknown.unless(!is_unknown, message)
}

/// Checks what ESPHome makes of the path of an update.
pub(super) fn ota_path(path: &str) -> Result<(), Fault> {
    let is_url = path.starts_with("http://") || path.starts_with("https://");
    let why = if is_url {
        return Ok(());
    } else if path.contains("http") {
        "has `http` in it, which devices take for the start of a URL"
    } else if path.starts_with("//") {
        "begins with two slashes, to which devices put the host"
    } else if path.split('/').any(|part| part == "..") {
        "has `..` in it, which devices send to the host as it is"
    } else {
        return Ok(());
    };
    Err(Code::OtaPathOdd.fault(format!("path {path} of an update {why}")))
}

/// Checks that an update says the version that it is offered as, where ESPHome made
/// it: its devices compare them.
pub(super) fn ota_version(manifest: &Manifest, facts: &Facts) -> Result<(), Fault> {
    let Some(version) = manifest.version.as_ref().filter(|_| facts.marks.esphome) else {
        return Ok(());
    };
    let message = format!("version {version} is nowhere in the image of an update");
    Code::VersionNotInImage.unless(facts.says.contains(version), message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_devices_read_otherwise_are_odd() {
        for path in ["lamp.bin", "a/lamp.bin", "/lamp.bin", "https://a.example/../lamp.bin"] {
            assert_eq!(ota_path(path), Ok(()), "{path}");
        }
        for path in ["httpd.bin", "a/../lamp.bin", "//a.example/lamp.bin"] {
            assert!(ota_path(path).is_err(), "{path}");
        }
    }
}
