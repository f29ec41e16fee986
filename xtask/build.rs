//! Puts the sources of the page's installer into the publisher: scripts and
//! styles below `site/src` and `site/demo`, and what builds them. So a project
//! that depends on the publisher has them too, and a new file needs no list.
//! What editors leave there is no source.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// Files of `site/` that the installer is built from, and folders of them.
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
        if path.is_dir() {
            collect(&path, &mut files);
        } else {
            files.push(path);
        }
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

/// Collects the scripts and styles below a folder, in the order of their names.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let entries = folder.read_dir().expect("the folder can be read");
    let mut entries: Vec<_> = entries.map(|e| e.expect("the folder can be read").path()).collect();
    entries.sort();
    for entry in entries {
        if entry.is_dir() {
            collect(&entry, files);
        } else if entry.extension().is_some_and(|end| end == "ts" || end == "css") {
            files.push(entry);
        }
    }
}
