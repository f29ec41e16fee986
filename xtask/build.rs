//! Puts what the publisher writes elsewhere into it: the sources of the page's
//! installer, which are scripts and styles below `site/src` and `site/demo` and
//! what builds them, and the template of new projects. So a project that depends
//! on the publisher has them too, and a new file needs no list. What editors
//! leave there is no source.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Files of `site/` that the installer is built from, and folders of them.
const SOURCES: [&str; 6] =
    ["build.mjs", "demo", "package-lock.json", "package.json", "src", "tsconfig.json"];

/// What builds and editors leave in the template.
const NO_TEMPLATE: [&str; 3] = ["target", "Cargo.lock", ".DS_Store"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let root = variable("CARGO_MANIFEST_DIR").parent().expect("it has a parent").to_owned();
    let is_source = |path: &Path| path.extension().is_some_and(|end| end == "ts" || end == "css");
    embed("installer_sources.rs", &root.join("site"), &SOURCES, &is_source);
    let is_template = |path: &Path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        !NO_TEMPLATE.contains(&name) && !name.ends_with('~') && !name.ends_with(".swp")
    };
    embed("template.rs", &root.join("templates/device"), &["."], &is_template);
    println!("cargo::rustc-env=TOWLINE_COMMIT={}", commit(&root).unwrap_or_default());
}

/// Writes a Rust file that lists `sources`, files of `base` and of its folders,
/// with their content.
fn embed(list: &str, base: &Path, sources: &[&str], is_meant: &dyn Fn(&Path) -> bool) {
    let mut files = Vec::new();
    for source in sources {
        let path = if *source == "." { base.to_owned() } else { base.join(source) };
        // Of a folder, cargo looks at everything below it.
        println!("cargo::rerun-if-changed={}", path.display());
        if path.is_dir() {
            collect(&path, is_meant, &mut files);
        } else {
            files.push(path);
        }
    }
    let entry = |path: &PathBuf| {
        let name = path.strip_prefix(base).expect("it is below the folder").to_str();
        let name = name.expect("names are plain").replace('\\', "/");
        format!("    ({name:?}, include_bytes!({path:?})),\n")
    };
    let entries: String = files.iter().map(entry).collect();
    fs::write(variable("OUT_DIR").join(list), format!("&[\n{entries}]\n"))
        .expect("cargo's folder can be written");
}

/// Collects the files below a folder that are meant, in the order of their names.
fn collect(folder: &Path, is_meant: &dyn Fn(&Path) -> bool, files: &mut Vec<PathBuf>) {
    let entries = folder.read_dir().expect("the folder can be read");
    let mut entries: Vec<_> = entries.map(|e| e.expect("the folder can be read").path()).collect();
    entries.sort();
    for entry in entries {
        if entry.is_dir() && !entry.ends_with("target") {
            collect(&entry, is_meant, files);
        } else if entry.is_file() && is_meant(&entry) {
            files.push(entry);
        }
    }
}

/// Returns the commit of this repository; `None` where it is not Git's, as in an
/// archive of its sources. It is that of the last change of what is embedded or a
/// later one: a commit alone builds nothing anew.
fn commit(root: &Path) -> Option<String> {
    if !root.join(".git").exists() {
        return None;
    }
    let output = Command::new("git").args(["rev-parse", "HEAD"]).current_dir(root).output().ok()?;
    let commit = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    output.status.success().then_some(commit)
}

fn variable(name: &str) -> PathBuf {
    PathBuf::from(env::var_os(name).expect("cargo sets it"))
}
