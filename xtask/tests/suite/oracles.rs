//! Ours against independent implementations: esptool, esp-idf-defs, Espressif's
//! generator of NVS partitions, jsonschema, and the bootloader that is shipped, on an emulated CPU.
//!
//! ```text
//! test --question (JSON)--> script of tests/oracles --answer (JSON)--> test compares
//! ```
//!
//! The scripts run in the Python environment `target/oracles`, which
//! `cargo xtask ci` installs. Where it is missing, a test says that it was not
//! run, and why; where `CI` is set, it fails.

mod board;
mod boot_selection;
mod images;
mod nvs;
mod real_release;
mod schema;

use crate::support::{repository, text};
use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};
use std::{
    env, fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
};
use towline_descriptor::Chip;
use xtask::{
    image::espflash_chip,
    site::{INDEX, Index, IndexArtifact},
    tools,
};

/// The Python environment with the oracles.
pub(crate) struct Oracles {
    python: PathBuf,
    scripts: PathBuf,
}

impl Oracles {
    /// Finds the environment; `None` where it is missing and may be.
    pub(crate) fn find() -> Option<Self> {
        let environment = tools::oracles_dir(repository());
        let scripts = repository().join("xtask/tests/oracles");
        let wanted = fs::read(scripts.join("requirements.txt")).unwrap();
        // The environment keeps a copy of what was installed into it.
        let installed = fs::read(environment.join("requirements.txt"));
        if installed.is_ok_and(|installed| installed == wanted) {
            return Some(Self { python: environment.join("bin/python"), scripts });
        }
        not_run(
            "target/oracles is missing or outdated; `cargo xtask ci --only test` installs it and \
             runs all tests",
        );
        None
    }

    /// Returns a command that runs a Python file, whatever the user's own Python
    /// settings are.
    fn python(&self, file: &Path) -> Command {
        let mut command = Command::new(&self.python);
        command.args(["-I", "-B", "-X", "utf8"]).arg(file);
        command
    }

    /// Runs esptool.
    #[cfg(target_os = "linux")]
    pub(crate) fn esptool(&self, arguments: Vec<&str>) -> Output {
        let mut command = Command::new(&self.python);
        command.args(["-I", "-B", "-X", "utf8", "-m", "esptool"]).args(arguments);
        command.output().unwrap()
    }

    /// Asks a script and returns its answer.
    fn ask<A: DeserializeOwned>(&self, script: &str, question: &impl Serialize) -> A {
        let mut child = self
            .python(&self.scripts.join(script))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let question = serde_json::to_vec(question).unwrap();
        // It reads everything before it answers. One that died early says why
        // on stderr.
        let written = child.stdin.take().unwrap().write_all(&question);
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{script}: {}", text(&output.stderr));
        written.unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{script}: {error}"))
    }
}

/// Says that a test is not run, and fails it where that must not be.
fn not_run(reason: &str) {
    let in_ci = env::var_os("CI").is_some_and(|ci| !ci.is_empty() && ci != "false");
    assert!(!in_ci, "{reason}");
    let name = thread::current().name().unwrap_or("a test").to_owned();
    let line = format!("{name} was NOT RUN: {reason}\n");
    // Not with `eprintln`: what passing tests print that way is not shown.
    io::stderr().write_all(line.as_bytes()).unwrap();
}

/// Returns `count` values of a strategy, the same in every run.
fn cases<S: Strategy>(strategy: &S, count: usize) -> Vec<S::Value> {
    let mut runner = TestRunner::deterministic();
    (0..count).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

/// Returns the chips that a first flash can be made for.
fn flashable_chips() -> Vec<Chip> {
    Chip::ALL.iter().copied().filter(|chip| espflash_chip(*chip).is_some()).collect()
}

/// Returns bytes as hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the bytes of hexadecimal digits.
fn unhex(digits: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}

/// Gives a changed image the checksum and the hash that belong to it.
fn seal(image: &mut [u8]) {
    let mut at = 24;
    let mut checksum = 0xEF;
    for _ in 0..image[1] {
        let len = u32::from_le_bytes(*image[at + 4..].first_chunk().unwrap()) as usize;
        checksum = image[at + 8..][..len].iter().fold(checksum, |sum, byte| sum ^ byte);
        at += 8 + len;
    }
    let (hashed, hash) = image.split_at_mut((at | 15) + 1);
    hashed[at | 15] = checksum;
    hash.copy_from_slice(&Sha256::digest(hashed));
}

/// A site in a folder.
struct Published {
    root: PathBuf,
    index: Index,
}

impl Published {
    fn open(root: PathBuf) -> Self {
        let index = serde_json::from_slice(&fs::read(root.join(INDEX)).unwrap()).unwrap();
        Self { root, index }
    }

    fn path(&self, file: &IndexArtifact) -> PathBuf {
        self.root.join(file.path.as_ref().unwrap())
    }

    fn read(&self, file: &IndexArtifact) -> Vec<u8> {
        fs::read(self.path(file)).unwrap()
    }
}
