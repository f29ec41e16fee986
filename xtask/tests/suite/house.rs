//! What the repository promises about itself.

use crate::support::repository;
use std::fs;
use toml::{Table, Value};

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap()
}

fn manifest(path: &str) -> Table {
    read(path).parse().unwrap()
}

#[test]
fn all_workspaces_have_the_same_edition_rust_version_and_lints() {
    let host = manifest("Cargo.toml");
    for other in ["firmware/Cargo.toml", "firmware/fuzz/Cargo.toml"] {
        let manifest = manifest(other);
        let (host, other_workspace) = (&host["workspace"], &manifest["workspace"]);
        for key in ["edition", "rust-version", "license", "publish"] {
            assert_eq!(host["package"][key], other_workspace["package"][key], "{other}: {key}");
        }
        for lints in ["rust", "clippy"] {
            assert_eq!(host["lints"][lints], other_workspace["lints"][lints], "{other}: {lints}");
        }
    }
}

#[test]
fn no_child_process_is_told_the_secrets() {
    let mut folders = vec![repository().join("xtask/src")];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("xtask/src/toolchain.rs") {
                let text = fs::read_to_string(&path).unwrap();
                assert!(!text.contains("Command::new("), "{}", path.display());
            }
        }
    }
}

#[test]
fn every_package_takes_dependencies_and_lints_from_its_workspace() {
    for package in [
        "xtask",
        "firmware/descriptor",
        "firmware/diff",
        "firmware/update",
        "firmware/patch",
        "firmware/app",
        "firmware/rom",
        "firmware/sim",
        "firmware/esp",
        "firmware/fuzz",
        "firmware/tls",
        "firmware/virt",
    ] {
        let manifest = manifest(&format!("{package}/Cargo.toml"));
        assert_eq!(manifest["lints"]["workspace"].as_bool(), Some(true), "{package}");
        let dependencies = manifest.get("dependencies").and_then(|table| table.as_table());
        for (name, dependency) in dependencies.into_iter().flatten() {
            assert_eq!(dependency["workspace"].as_bool(), Some(true), "{package}: {name}");
        }
    }
}

#[test]
fn firmware_of_a_new_project_is_built_as_ours_is() {
    let (ours, new) = ("firmware", "templates/device/firmware");
    let workspace = manifest(&format!("{ours}/Cargo.toml"));
    let text =
        read(&format!("{new}/Cargo.toml.liquid")).replace("{{towline_device}}", "path = \"\"");
    let package: Table = text.parse().unwrap();
    assert_eq!(package["profile"], workspace["profile"]);
    for (name, theirs) in package["dependencies"].as_table().unwrap() {
        let Some(own) = workspace["workspace"]["dependencies"].get(name) else { continue };
        let version = |of: &Value| of.get("version").unwrap_or(of).as_str().unwrap().to_owned();
        let (own, theirs) = (version(own), version(theirs));
        assert!(own.trim_start_matches('~').starts_with(&theirs), "{name}: {own}, {theirs}");
    }

    let config = |of: &str| manifest(&format!("{of}/.cargo/config.toml"));
    let (own, theirs) = (config("firmware/esp"), config(new));
    assert_eq!(own["target"], theirs["target"]);
    for (name, value) in own["env"].as_table().unwrap() {
        if name != "TOWLINE_BASE_URL" {
            assert_eq!(theirs["env"][name], *value, "{name}");
        }
    }
    let partitions = |of: &str| read(&format!("{of}/partitions.csv"));
    assert_eq!(partitions("firmware/esp"), partitions(new));
}
