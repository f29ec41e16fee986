//! Puts the sources of the page's installer into the publisher: every file
//! below `site/src` and `site/demo`, and what builds them. So a project that
//! depends on the publisher has them too, and a new file needs no list.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// Files and folders of `site/` that the installer is built from.
const SOURCES: [&str; 6] =
    ["build.mjs", "demo", "package-lock.json", "package.json", "src", "tsconfig.json"];

fn main() {
    let variable = |name| PathBuf::from(env::var_os(name).expect("cargo sets it"));
    let site = variable("CARGO_MANIFEST_DIR").parent().expect("it has a parent").join("site");
    let mut files = Vec::new();
    for source in SOURCES {
        let path = site.join(source);
        // Of a folder, cargo looks at everything below it.
        println!("cargo::rerun-if-changed={}", path.display());
        collect(&path, &mut files);
    }
    let entry = |path: &PathBuf| {
        let name = path.strip_prefix(&site).expect("it is below the folder").to_str();
        let name = name.expect("names are plain").replace('\\', "/");
        format!("    ({name:?}, include_bytes!({path:?})),\n")
    };
    let list: String = files.iter().map(entry).collect();
    fs::write(variable("OUT_DIR").join("installer_sources.rs"), format!("&[\n{list}]\n"))
        .expect("cargo's folder can be written");
}

/// Collects a file, or the files below a folder in the order of their names.
fn collect(path: &Path, files: &mut Vec<PathBuf>) {
    if !path.is_dir() {
        return files.push(path.to_owned());
    }
    let entries = path.read_dir().expect("the folder can be read");
    let mut entries: Vec<_> = entries.map(|e| e.expect("the folder can be read").path()).collect();
    entries.sort();
    for entry in entries {
        collect(&entry, files);
    }
}
