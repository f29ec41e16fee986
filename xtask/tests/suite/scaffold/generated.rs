//! A project with esp-hal from its template to its site, with nothing replaced: the
//! step `generated` of `cargo xtask ci`, which takes minutes.

use super::done;
use crate::support::{repository, text};
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

/// Runs cargo as a person does in the project, and returns what it prints.
#[track_caller]
fn cargo(dir: &Path, arguments: &[&str]) -> String {
    let start = Instant::now();
    let output = Command::new("cargo")
        .args(arguments)
        .current_dir(dir)
        // Packages that this repository has built are not built again.
        .env("CARGO_TARGET_DIR", repository().join("target"))
        .env_remove("RUSTUP_TOOLCHAIN")
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "cargo {arguments:?}: {}", text(&output.stdout));
    eprintln!("cargo {}: {:.1} s", arguments.join(" "), start.elapsed().as_secs_f64());
    text(&output.stdout)
}

#[cfg(unix)]
#[test]
#[ignore = "takes minutes; `cargo xtask ci --only generated` runs it"]
fn three_commands_lead_from_nothing_to_a_checked_site() {
    // The same place each time: what was built there is still good.
    let folder = repository().canonicalize().unwrap().join("target/generated");
    let (project, built) = (folder.join("lamp"), folder.join("built"));
    fs::create_dir_all(&built).unwrap();
    if project.exists() {
        fs::remove_dir_all(&project).unwrap();
    }

    let checkout = repository().to_str().unwrap();
    let url = "https://localhost/";
    let chips = "esp32c3,esp32c6";
    done(&folder, &["new", "lamp", "--chips", chips, "--base-url", url, "--towline", checkout]);
    // The packages that are tested here, instead of whatever is newest today.
    for (workspace, lock) in [("xtask", "Cargo.lock"), ("firmware", "firmware/Cargo.lock")] {
        let own = project.join(workspace);
        fs::copy(repository().join(lock), own.join("Cargo.lock")).unwrap();
        cargo(&own, &["metadata", "--format-version", "1"]);
    }
    std::os::unix::fs::symlink(&built, project.join("firmware/target")).unwrap();
    let released = cargo(&project, &["xtask", "release"]);
    for target in ["esp32c3", "esp32c6"] {
        assert!(released.contains(target), "{released}");
        assert!(project.join(format!("dist/site/ota/stable/{target}.json")).exists());
    }
    cargo(&project, &["xtask", "check"]);
}
