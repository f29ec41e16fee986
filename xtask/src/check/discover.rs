//! Which documents a site has that is not Towline's: manifests of esp-web-tools, with
//! ESPHome's `ota` or without, and descriptors that are a version and a path.

use super::{
    Code, Fault, Files, Finding, Link,
    foreign::Start,
    http::{is_page, url},
    search,
};
use memchr::memmem;
use rayon::prelude::*;
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Larger documents are not read, in bytes.
const MAX_DOCUMENT: usize = 1 << 20;

/// Some editors write it before JSON, and readers pass over it.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// A document of a site.
#[derive(Debug)]
pub(super) struct Document {
    /// Its path.
    pub path: String,
    /// What it says.
    pub says: Says,
    /// Whether a button of the page of the site installs what it says.
    pub is_on_page: bool,
}

/// What a document says.
#[derive(Debug)]
pub(super) enum Says {
    /// What an installer writes.
    Manifest(Manifest),
    /// What devices install.
    Descriptor(Descriptor),
}

/// A manifest of esp-web-tools.
#[derive(Debug, Deserialize)]
pub(super) struct Manifest {
    pub name: Option<String>,
    pub version: Option<String>,
    #[serde(default)]
    pub new_install_prompt_erase: bool,
    /// How that was called before.
    pub new_install_skip_erase: Option<bool>,
    /// How many seconds are waited for Improv after an install; with 0 it is never
    /// asked for.
    pub new_install_improv_wait_time: Option<f64>,
    pub builds: Vec<Build>,
}

/// What is written to the boards of a chip.
#[derive(Debug, Deserialize)]
pub(super) struct Build {
    #[serde(rename = "chipFamily")]
    pub family: String,
    /// The kind of serial port that it is for, if not for all.
    #[serde(rename = "serialType")]
    pub serial: Option<String>,
    /// What only installers to come tell builds apart by.
    #[serde(rename = "flashSizeMB")]
    pub flash_size: Option<Value>,
    #[serde(rename = "psramSizeMB")]
    pub psram_size: Option<Value>,
    #[serde(default)]
    pub parts: Vec<Part>,
    /// What ESPHome installs.
    pub ota: Option<Ota>,
}

/// A file, and where it is written to.
#[derive(Debug, Deserialize)]
pub(super) struct Part {
    pub path: String,
    pub offset: u32,
}

/// What ESPHome installs.
#[derive(Debug, Deserialize)]
pub(super) struct Ota {
    pub path: String,
    pub md5: String,
}

/// A version and a path, as the firmware of esp32-evse reads them.
#[derive(Debug, Deserialize)]
pub(super) struct Descriptor {
    pub version: String,
    pub path: String,
    #[serde(default)]
    pub sha256: Option<Value>,
    #[serde(default)]
    pub signatures: Option<Value>,
    /// Of Towline's alone.
    #[serde(default)]
    pub target: Option<Value>,
}

impl Manifest {
    /// Returns whether users are asked before all of flash is erased.
    pub(super) fn asks_to_erase(&self) -> bool {
        self.new_install_prompt_erase || self.new_install_skip_erase == Some(true)
    }

    /// Returns whether the installer asks the firmware for its name and version.
    pub(super) fn asks_firmware(&self) -> bool {
        self.new_install_improv_wait_time != Some(0.0)
    }
}

impl Document {
    /// Returns the paths that it leads to.
    pub(super) fn links(&self) -> Vec<&str> {
        self.parts().map(|part| part.path.as_str()).chain(self.updates()).collect()
    }

    /// Returns what installers write.
    pub(super) fn parts(&self) -> impl Iterator<Item = &Part> {
        self.builds().iter().flat_map(|build| &build.parts)
    }

    /// Returns the paths of what devices install.
    pub(super) fn updates(&self) -> impl Iterator<Item = &str> {
        let of_descriptor = match &self.says {
            Says::Descriptor(descriptor) => Some(descriptor.path.as_str()),
            Says::Manifest(_) => None,
        };
        let of_builds =
            self.builds().iter().filter_map(|build| Some(build.ota.as_ref()?.path.as_str()));
        of_descriptor.into_iter().chain(of_builds)
    }

    fn builds(&self) -> &[Build] {
        match &self.says {
            Says::Manifest(manifest) => &manifest.builds,
            Says::Descriptor(_) => &[],
        }
    }
}

/// Why a document is looked for.
enum Reason {
    /// It was named.
    Told,
    /// A button of this page installs what it says.
    Button(String),
    /// It is a file of the site.
    Listed,
    /// Others have theirs there.
    Usual,
}

/// Finds the documents of a site: the one that was named, or all that can be found.
pub(super) fn documents(files: &impl Files, start: Start<'_>) -> (Vec<Document>, Vec<Finding>) {
    let wanted = match start.document {
        Some(_) if start.is_image() => BTreeMap::new(),
        Some(path) => BTreeMap::from([(path.to_owned(), Reason::Told)]),
        None if start.base.is_some() => at_host(files, start),
        None => in_folder(files),
    };
    let look = |(path, reason): (String, Reason)| {
        let is_told = matches!(reason, Reason::Told | Reason::Button(_));
        let is_on_page = matches!(reason, Reason::Button(_));
        match (files.follow(&path)?.and_then(|bytes| read(&path, &bytes, is_told)), reason) {
            (Ok(says), _) => Some(Ok(Document { path, says: says?, is_on_page })),
            (Err(fault), reason) => match (fault.code(), reason) {
                (Code::ManifestInvalid | Code::DescriptorInvalid, _)
                | (_, Reason::Told | Reason::Listed) => Some(Err(fault.of(path))),
                (_, Reason::Button(page)) => Some(Err(broken_link(&page, &path, &fault))),
                // Nobody said that it is there.
                (_, Reason::Usual) => None,
            },
        }
    };
    let found: Vec<_> = wanted.into_par_iter().filter_map(look).collect();
    let (documents, faults): (Vec<_>, Vec<_>) = found.into_iter().partition(Result::is_ok);
    (
        documents.into_iter().flatten().collect(),
        faults.into_iter().filter_map(Result::err).collect(),
    )
}

/// Returns where documents may be at a host, which does not list its files.
fn at_host(files: &impl Files, start: Start<'_>) -> BTreeMap<String, Reason> {
    let base = start.base.unwrap_or_default();
    let page = start.page.unwrap_or_default();
    let mut wanted = BTreeMap::new();
    if let Some(Ok(bytes)) = files.follow(page) {
        let text = String::from_utf8_lossy(&bytes);
        // Links of a page count from where the host has sent its clients.
        let end = files.remote().and_then(|remote| remote.end_of(page));
        let end = end.unwrap_or_else(|| url::join(base, page));
        let path = |link: &str| match resolve(&end, link, start.base, |_| false) {
            Link::Inside(path) | Link::Elsewhere(path) => path,
        };
        let name = if page.is_empty() { "index.html" } else { page };
        for link in search::buttons(&text) {
            wanted.insert(path(&link), Reason::Button(name.into()));
        }
        for link in search::documents(&text) {
            wanted.entry(path(&link)).or_insert(Reason::Usual);
        }
    }
    for path in search::usual() {
        if wanted.len() < search::MAX_PLACES {
            wanted.entry(path).or_insert(Reason::Usual);
        }
    }
    wanted
}

/// Returns the documents of a folder, and what its pages install from, whatever its name.
fn in_folder(files: &impl Files) -> BTreeMap<String, Reason> {
    let all: BTreeSet<String> = files.all().into_iter().collect();
    let mut wanted = BTreeMap::new();
    for page in all.iter().filter(|path| path.ends_with(".html")) {
        let bytes = files.read(page).unwrap_or_default();
        for link in search::buttons(&String::from_utf8_lossy(&bytes)) {
            // Nobody knows what its host has at the top.
            if let Link::Inside(path) = resolve(page, &link, None, |path| all.contains(path))
                && !link.starts_with('/')
            {
                wanted.insert(path, Reason::Button(page.clone()));
            }
        }
    }
    for path in all.into_iter().filter(|path| path.ends_with(".json")) {
        wanted.entry(path).or_insert(Reason::Listed);
    }
    wanted
}

/// Says what is wrong with what a document leads to; what lies with the way to another
/// host is none of its faults.
pub(super) fn broken_link(document: &str, file: &str, fault: &Fault) -> Finding {
    let code = match fault.code() {
        Code::HostUnreachable | Code::FileUnreadable if url::is_whole(file) => Code::NotChecked,
        Code::FileMissing | Code::FileUnreadable | Code::FileTooLarge | Code::PathOutside => {
            Code::LinkBroken
        }
        code => code,
    };
    code.of(document, format!("leads to {file}: {fault}"))
}

/// Reads a document; `None` if it is of another kind, and need not be one of these.
/// Other tools have `builds`, and a `version` with a `path`, in theirs too: where nobody
/// named it, it has to be more like one of these.
fn read(path: &str, bytes: &[u8], is_told: bool) -> Result<Option<Says>, Fault> {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let is_of_devices = path.starts_with("ota/") || path.contains("/ota/");
    let value = match json(bytes) {
        Ok(value) => Some(value),
        Err(error) => match broken_as(bytes, is_told, is_of_devices) {
            Some(code) => return Err(code.fault(error)),
            None => None,
        },
    };
    let has = |key: &str| value.as_ref().is_some_and(|value| value.get(key).is_some());
    let is_build =
        |build: &Value| ["chipFamily", "parts", "ota"].iter().any(|key| build.get(key).is_some());
    let builds = value.as_ref().and_then(|value| value.get("builds")?.as_array());
    let has_build = builds.is_some_and(|builds| builds.iter().any(is_build));
    let is_text = value.as_ref().is_some_and(|value| value["version"].is_string());
    if has("builds") && (is_told || has_build) {
        let manifest: Manifest = parse(bytes, Code::ManifestInvalid)?;
        let is_empty = |build: &Build| build.parts.is_empty() && build.ota.is_none();
        let is_whole = !manifest.builds.is_empty() && !manifest.builds.iter().any(is_empty);
        Code::ManifestInvalid.unless(is_whole, "has a build without parts, or no build")?;
        Ok(Some(Says::Manifest(manifest)))
    } else if has("version") && has("path") && (is_told || is_text || is_of_devices) {
        let descriptor: Descriptor = parse(bytes, Code::DescriptorInvalid)?;
        Ok(Some(Says::Descriptor(descriptor)))
    } else if is_told && is_page(bytes) {
        Err(Code::HtmlInstead.fault("is a web page, and no document"))
    } else if is_told {
        let message = "is neither a manifest, with `builds`, nor a descriptor, with `version` and `path`; an image is one if its name ends in .bin";
        Err(Code::ManifestInvalid.fault(message))
    } else {
        Ok(None)
    }
}

fn json(bytes: &[u8]) -> Result<Value, String> {
    if bytes.len() > MAX_DOCUMENT {
        return Err(format!("has more than {MAX_DOCUMENT} bytes"));
    }
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}

/// Returns what is broken with a text that is no JSON, if it was to be a document.
fn broken_as(bytes: &[u8], is_told: bool, is_of_devices: bool) -> Option<Code> {
    let has = |name: &str| memmem::find(bytes, name.as_bytes()).is_some();
    if has("\"chipFamily\"") || (is_told && !is_page(bytes)) {
        Some(Code::ManifestInvalid)
    } else {
        let is_descriptor = is_of_devices && has("\"version\"") && has("\"path\"");
        is_descriptor.then_some(Code::DescriptorInvalid)
    }
}

/// Reads JSON; a fault is told at its byte.
fn parse<'d, T: Deserialize<'d>>(bytes: &'d [u8], code: Code) -> Result<T, Fault> {
    serde_json::from_slice(bytes).map_err(|error: serde_json::Error| {
        let lines = bytes.split_inclusive(|byte| *byte == b'\n');
        let before: usize = lines.take(error.line().saturating_sub(1)).map(<[u8]>::len).sum();
        let at = before + error.column().saturating_sub(1);
        code.fault(error.to_string()).at_byte(at as u64)
    })
}

/// Finds where a link of a document leads. `is_there` tells which files the site has.
pub(super) fn resolve(
    document: &str,
    link: &str,
    base: Option<&str>,
    is_there: impl Fn(&str) -> bool,
) -> Link {
    if let Some(base) = base {
        let url = url::join(&url::join(base, document), link);
        return match url.strip_prefix(base) {
            Some(path) => Link::Inside(path.to_owned()),
            None => Link::Elsewhere(url),
        };
    }
    // What a host makes of the address when it looks for the file.
    let link = url::decoded(link.split(['?', '#']).next().unwrap_or_default());
    let is_whole = link.contains("://") || link.starts_with("//");
    if is_whole || link.starts_with('/') {
        // A folder does not say where it is served: the longest path that it has.
        let host = if is_whole { link.find("//").map_or(0, |at| at + 2) } else { 0 };
        let mut ends = link[host..].match_indices('/').map(|(at, _)| &link[host + at + 1..]);
        let found = ends.find(|end| is_there(end)).map(|path| Link::Inside(path.into()));
        return found.unwrap_or(Link::Elsewhere(link));
    }
    Link::Inside(url::below(url::folder(document), &link))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_into_the_site_or_elsewhere() {
        let there = |path: &str| path == "ota/stable/a.bin";
        let inside = |path: &str| Link::Inside(path.into());
        let of = |link| resolve("web/manifest.json", link, None, there);
        assert_eq!(of("a.bin"), inside("web/a.bin"));
        assert_eq!(of("../ota/./a.bin?v=2"), inside("ota/a.bin"));
        for link in ["/ota/stable/a.bin", "/lamp/ota/stable/a.bin", "//a.example/ota/stable/a.bin"]
        {
            assert_eq!(of(link), inside("ota/stable/a.bin"));
        }
        assert_eq!(of("/a.bin"), Link::Elsewhere("/a.bin".into()));
        assert_eq!(of("a%20b.bin"), inside("web/a b.bin"));
        assert_eq!(of("https://a.example/lamp/ota/stable/a.bin"), inside("ota/stable/a.bin"));
        let elsewhere = "https://a.example/b.bin";
        assert_eq!(of(elsewhere), Link::Elsewhere(elsewhere.into()));
        let served = |link| resolve("m.json", link, Some("https://a.example/lamp/"), there);
        assert_eq!(served("https://a.example/lamp/b.bin"), inside("b.bin"));
        let other = "https://b.example/ota/stable/a.bin";
        assert_eq!(served(other), Link::Elsewhere(other.into()));
    }

    #[test]
    fn documents_are_told_by_what_they_have() {
        let at = |path: &str, text: &str| read(path, text.as_bytes(), false);
        let says = |text: &str| at("a.json", text);
        let told = |text: &str| read("a.json", text.as_bytes(), true);
        assert!(matches!(
            says("{\"version\":\"1\",\"path\":\"a\"}"),
            Ok(Some(Says::Descriptor(_)))
        ));
        let manifest = r#"{"version":"1","builds":[{"chipFamily":"ESP32","parts":[{"path":"a","offset":0}]}]}"#;
        assert!(matches!(says(manifest), Ok(Some(Says::Manifest(_)))));
        for other in ["[]", "5", "{\"name\":\"x\"}", "not JSON"] {
            assert!(matches!(says(other), Ok(None)), "{other}");
            assert!(told(other).is_err());
        }
        for broken in [
            manifest.replace("\"offset\":0", "\"offset\":\"0x0\""),
            manifest.replace("ESP32", "ESP32\",\"chipFamily\":\"ESP32"),
            manifest.replace("\"parts\"", "\"files\""),
        ] {
            assert!(says(&broken).is_err(), "{broken}");
        }
        let numbered = "{\"version\":1,\"path\":\"a\"}";
        for others in [
            numbered,
            "{\"version\":\"1\",\"builds\":[]}",
            "{\"version\":2,\"builds\":[{\"src\":\"*\",\"use\":\"@vercel/static\"}]}",
        ] {
            assert!(matches!(says(others), Ok(None)), "{others}");
            assert!(told(others).is_err(), "{others}");
        }
        assert!(at("ota/stable/lamp.json", numbered).is_err());
        let of_type = manifest.replace("\"version\":\"1\"", "\"version\":\n \"1\",\"name\":5");
        let fault = says(&of_type).unwrap_err().of("m.json");
        assert_eq!(fault.place.offset, of_type.find('5').map(|at| at as u64), "{fault}");
    }
}
