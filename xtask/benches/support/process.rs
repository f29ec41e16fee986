//! The publisher as a process, and how long it takes.

use serde_json::Value;
use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

/// Returns the root of this repository.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the repository")
}

/// Returns a command of the publisher.
pub(crate) fn xtask(binary: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary);
    command.args(arguments).env("SOURCE_DATE_EPOCH", "1790000000");
    command
}

/// Returns a cargo command in this repository, as it runs outside of cargo.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.args(arguments).current_dir(repository()).env_remove("RUSTUP_TOOLCHAIN");
    for (name, _) in env::vars_os() {
        // What cargo sets for us would make it build again what is built.
        let name = name.to_string_lossy().into_owned();
        let ours = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"];
        if ours.iter().any(|start| name.starts_with(start)) {
            command.env_remove(name);
        }
    }
    command
}

/// Builds what `cargo xtask` runs, and returns the binary.
pub(crate) fn unoptimised_xtask() -> PathBuf {
    let output = cargo(&["build", "--package", "xtask", "--message-format", "json"])
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success());
    let messages = String::from_utf8(output.stdout).unwrap();
    let executable = messages.lines().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        Some(message["executable"].as_str()?.to_owned())
    });
    executable.expect("xtask is an executable").into()
}

/// Runs a command that has to succeed, and returns the seconds that it took.
pub(crate) fn seconds(command: &mut Command) -> f64 {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    // No run waits for the disk to take what another one wrote.
    let _ = Command::new("sync").status();
    let start = Instant::now();
    let output = command.output().unwrap();
    let seconds = start.elapsed().as_secs_f64();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    seconds
}
