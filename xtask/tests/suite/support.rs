//! Projects to publish, and the commands that publish them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};
use tempfile::TempDir;
use towline_descriptor::Chip;
use towline_sim::sample::seal;

pub(crate) use crate::firmware::{PARTITIONS, app_image};

/// Where an app image has its version.
const VERSION: std::ops::Range<usize> = 48..80;

/// A project in a folder of its own.
pub(crate) struct Project {
    dir: TempDir,
    keys: TempDir,
}

/// The passphrase of the root keys of these projects.
pub(crate) const PASSPHRASE: &str = "correct horse battery";

impl Project {
    /// Makes a project named `lamp` with prebuilt targets named after their
    /// chips.
    pub(crate) fn new(chips: &[Chip]) -> Self {
        let project =
            Self { dir: tempfile::tempdir().unwrap(), keys: tempfile::tempdir().unwrap() };
        let mut config = String::from(
            "project = \"lamp\"\nbase-url = \"https://localhost/\"\n[defaults]\npartition-table = \"partitions.csv\"\n",
        );
        for chip in chips {
            config += &format!("[targets.{chip}]\nbuild.prebuilt = \"images/{chip}.bin\"\n");
        }
        fs::create_dir(project.path("images")).unwrap();
        project.write("towline.toml", config);
        project.write("partitions.csv", PARTITIONS);
        project
    }

    /// Puts the prebuilt images of a version in place.
    pub(crate) fn build(&self, chips: &[Chip], version: &str) -> &Self {
        for chip in chips {
            let image = app_image(*chip, "lamp", version, 40_000);
            self.write(&format!("images/{chip}.bin"), image);
        }
        self
    }

    /// Puts prebuilt images in place that differ from one version to the next in little
    /// more than the version.
    pub(crate) fn build_alike(&self, chips: &[Chip], version: &str) -> &Self {
        for chip in chips {
            let mut image = app_image(*chip, "lamp", "0.0.0", 40_000);
            image[VERSION][..version.len()].copy_from_slice(version.as_bytes());
            image[20_000..][..version.len()].copy_from_slice(version.as_bytes());
            self.write(&format!("images/{chip}.bin"), seal(image));
        }
        self
    }

    /// Returns a path in the project's folder.
    pub(crate) fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(path)
    }

    /// Writes a file of the project.
    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(path), content).unwrap();
    }

    /// Reads a file of the project as text.
    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Runs a command of the publisher in the project's folder.
    pub(crate) fn xtask(&self, arguments: &[&str]) -> Output {
        self.xtask_with(arguments, &[])
    }

    /// Runs a command of the publisher with these variables set.
    pub(crate) fn xtask_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        let mut command = command(self.dir.path(), arguments);
        // A check goes by the clock.
        if arguments.first() == Some(&"check") {
            let time = variables.iter().find(|(name, _)| *name == "SOURCE_DATE_EPOCH");
            command.args(["--now", time.map_or(NOW, |(_, value)| value)]);
        }
        command
            .env("TOWLINE_KEYS", self.keys(""))
            .env("TOWLINE_ROOT_PASSPHRASE", PASSPHRASE)
            .envs(variables.iter().copied())
            .output()
            .unwrap()
    }

    /// Returns a path in the folder of the project's secret keys.
    pub(crate) fn keys(&self, path: impl AsRef<Path>) -> PathBuf {
        self.keys.path().join("keys").join(path)
    }

    /// Runs a command that has to succeed, and returns what it prints.
    pub(crate) fn done(&self, arguments: &[&str]) -> String {
        let output = self.xtask(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Runs a command that has to fail with exit code 1, and returns its error.
    pub(crate) fn fails(&self, arguments: &[&str]) -> String {
        let output = self.xtask(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stderr)
    }
}

/// Runs a command of the publisher in `dir`.
pub(crate) fn xtask(dir: &Path, arguments: &[&str]) -> Output {
    command(dir, arguments).output().unwrap()
}

/// Returns a command of the publisher in `dir`, which knows no keys and no cache of
/// the user's and nothing of the workflow that runs it.
pub(crate) fn command(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command
        .args(arguments)
        .current_dir(dir)
        .env("SOURCE_DATE_EPOCH", NOW)
        .env("TOWLINE_KEYS", std::env::temp_dir().join("towline-has-no-keys-here"))
        .env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"))
        .env_remove("TOWLINE_CHANNEL_KEY")
        .env_remove("TOWLINE_ROOT_PASSPHRASE");
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"GITHUB_") || name == "GH_TOKEN" {
            command.env_remove(name);
        }
    }
    command
}

/// The time of all commands, in seconds since 1970.
pub(crate) const NOW: &str = "1790000000";

/// Returns bytes as text.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Returns every file below `dir` with its path and bytes, in order. Names
/// that start with a dot are the publisher's own and left out.
pub(crate) fn tree(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")) {
                continue;
            } else if path.is_dir() {
                folders.push(path);
            } else {
                files.push((path.strip_prefix(dir).unwrap().to_owned(), fs::read(&path).unwrap()));
            }
        }
    }
    files.sort();
    files
}

/// Asserts that the files below `dir` are these.
#[track_caller]
pub(crate) fn assert_tree(dir: &Path, expected: &[(PathBuf, Vec<u8>)]) {
    let found = tree(dir);
    let paths = |files: &[(PathBuf, Vec<u8>)], others: &[(PathBuf, Vec<u8>)]| {
        let differing = files.iter().filter(|file| !others.contains(file));
        differing.map(|(path, _)| path.clone()).collect::<Vec<_>>()
    };
    assert_eq!(paths(&found, expected), paths(expected, &found), "files that differ");
}

/// Returns the root of this repository.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the repository")
}
