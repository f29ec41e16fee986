//! What a repository builds its firmware with, as its files tell.

mod arduino;
mod chip;
mod esp_hal;
mod esp_idf;
mod platformio;

use serde::Serialize;
use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{Path, PathBuf},
};
use towline_descriptor::Chip;

/// A framework that firmware is built with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Framework {
    /// Rust without an operating system: cargo.
    EspHal,
    /// Espressif's own, with CMake: idf.py.
    EspIdf,
    /// PlatformIO: pio.
    #[value(name = "platformio")]
    #[serde(rename = "platformio")]
    PlatformIo,
    /// Arduino: arduino-cli.
    Arduino,
    /// Anything else, which leaves an image.
    Prebuilt,
}

impl fmt::Display for Framework {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EspHal => "esp-hal",
            Self::EspIdf => "ESP-IDF",
            Self::PlatformIo => "PlatformIO",
            Self::Arduino => "Arduino",
            Self::Prebuilt => "prebuilt images",
        })
    }
}

/// How a target is built, in paths of the repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Build {
    /// `cargo build` in a folder.
    Cargo {
        /// Folder of the package.
        dir: String,
        /// Features to switch on.
        features: Vec<String>,
    },
    /// A command that leaves a file.
    Command {
        /// Program and arguments.
        command: Vec<String>,
        /// Folder to run it in.
        dir: String,
        /// The file that it leaves.
        output: String,
    },
    /// An image that is already there.
    Prebuilt(String),
}

/// A target that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// What the repository calls it, or its chip.
    pub name: String,
    /// Its chip.
    pub chip: Chip,
    /// What tells the chip is no more than a habit.
    pub is_guess: bool,
    /// How it is built.
    pub build: Build,
    /// Its partition table.
    pub partition_table: Option<String>,
    /// Flash offset of the partition table, where it is not the usual one.
    pub partition_table_offset: Option<u32>,
    /// Size of its flash, such as `4MB`.
    pub flash_size: Option<String>,
}

impl Target {
    /// Makes a target that is told nothing but its build.
    fn new(name: impl Into<String>, (chip, is_guess): (Chip, bool), build: Build) -> Self {
        Self {
            name: name.into(),
            chip,
            is_guess,
            build,
            partition_table: None,
            partition_table_offset: None,
            flash_size: None,
        }
    }
}

/// A framework that a repository uses, and for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The framework.
    pub framework: Framework,
    /// The file that shows it.
    pub evidence: String,
    /// What the images are called, where a file says it.
    pub project: Option<String>,
    /// What is built.
    pub targets: Vec<Target>,
    /// Whether cargo on this repository is one that builds for the host too.
    pub has_cargo: bool,
    /// What a person has to know.
    pub notes: Vec<&'static str>,
}

/// The files of a repository that tell about it: their text by their path.
pub type Files = BTreeMap<String, String>;

/// Returns the frameworks that these files show, each where it is nearest to the
/// root of the repository, a folder of this name.
pub fn recognise(files: &Files, root: &str) -> Vec<Found> {
    let found = [
        esp_hal::find(files),
        esp_idf::find(files, root),
        platformio::find(files),
        arduino::find(files),
    ];
    found.into_iter().flatten().collect()
}

/// Removes what another framework builds: PlatformIO builds ESP-IDF with the
/// `CMakeLists.txt` in its own folder.
pub fn keep_outermost(found: &mut Vec<Found>) {
    let folder = |framework| {
        let of_it = move |found: &&Found| found.framework == framework;
        found.iter().find(of_it).map(|found| folder_of(&found.evidence))
    };
    let platformio = folder(Framework::PlatformIo);
    if platformio.is_some() && platformio == folder(Framework::EspIdf) {
        found.retain(|found| found.framework != Framework::EspIdf);
    }
}

/// Names of files that tell something, and ends of names.
const TELLING: [&str; 10] = [
    "CMakeLists.txt",
    "Cargo.toml",
    ".cargo/config.toml",
    "platformio.ini",
    "rust-toolchain",
    "rust-toolchain.toml",
    "sdkconfig",
    "sketch.yaml",
    ".csv",
    ".ino",
];

/// Folders of what was built or fetched, and of firmware that is never published.
const FOREIGN: [&str; 12] = [
    "build",
    "components",
    "examples",
    "lib",
    "managed_components",
    "node_modules",
    "target",
    "templates",
    "test",
    "tests",
    "third_party",
    "vendor",
];

/// How deep below the root firmware is looked for.
const DEPTH: usize = 2;

/// The longest file that is read: each of these is written by a person.
const MAX_FILE: u64 = 1 << 20;

/// Reads the files below `root` that tell something.
///
/// # Errors
/// If a folder cannot be read.
pub fn look(root: &Path) -> io::Result<Files> {
    let mut files = Files::new();
    look_in(root, String::new(), 0, &mut files)?;
    Ok(files)
}

fn look_in(folder: &Path, prefix: String, depth: usize, files: &mut Files) -> io::Result<()> {
    let mut entries: Vec<PathBuf> =
        folder.read_dir()?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
    entries.sort();
    for path in entries {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let inside = format!("{prefix}{name}");
        // A link may lead anywhere.
        let Ok(kind) = fs::symlink_metadata(&path) else { continue };
        if kind.is_dir() {
            let is_own = name == ".cargo" || !name.starts_with('.') && !FOREIGN.contains(&name);
            if is_own && depth < DEPTH {
                look_in(&path, format!("{inside}/"), depth + 1, files)?;
            }
        } else if kind.is_file() && kind.len() <= MAX_FILE && tells(&inside) {
            // What is not text tells nothing.
            files.extend(fs::read_to_string(&path).ok().map(|text| (inside, text)));
        }
    }
    Ok(())
}

fn tells(path: &str) -> bool {
    let is_one = |known: &&str| path.ends_with(*known);
    TELLING.iter().any(is_one) || path.contains("sdkconfig.defaults")
}

/// Returns the files that are called so, those nearest to the root first.
fn named<'a>(files: &'a Files, name: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let mut found: Vec<_> = files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .filter(move |(path, _)| path.rsplit('/').next() == Some(name))
        .collect();
    found.sort_by_key(|(path, _)| path.matches('/').count());
    found.into_iter()
}

/// Returns the folder of a file, `.` for the root.
fn folder_of(path: &str) -> String {
    path.rsplit_once('/').map_or(".", |(folder, _)| folder).to_owned()
}

/// Returns the path of a file in a folder.
fn join(folder: &str, file: &str) -> String {
    if folder == "." { file.to_owned() } else { format!("{folder}/{file}") }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Returns files with this text.
    pub(crate) fn files<const N: usize>(files: [(&str, &str); N]) -> Files {
        files.map(|(path, text)| (path.to_owned(), text.to_owned())).into()
    }

    #[test]
    fn nothing_is_found_in_files_that_say_nothing() {
        for text in ["", "[", "\0", "project(", "[env:x]", "dependencies = 7", "fqbn:"] {
            let files = files([
                ("Cargo.toml", text),
                ("CMakeLists.txt", text),
                ("platformio.ini", text),
                ("sketch.yaml", text),
                ("sdkconfig", text),
            ]);
            assert_eq!(recognise(&files, "lamp"), [], "{text}");
        }
    }

    #[test]
    fn only_files_that_tell_something_are_read_and_not_those_of_others() {
        let dir = tempfile::tempdir().unwrap();
        for path in [
            "Cargo.toml",
            ".cargo/config.toml",
            "firmware/CMakeLists.txt",
            "src/main.rs",
            "target/x/Cargo.toml",
            "a/b/c/Cargo.toml",
            "examples/blink/platformio.ini",
            "vendor/Cargo.toml",
            ".pio/platformio.ini",
            "sdkconfig.defaults.esp32c3",
        ] {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        fs::write(dir.path().join("platformio.ini"), b"\xFF\xFE").unwrap();
        let found: Vec<_> = look(dir.path()).unwrap().into_keys().collect();
        let expected = [
            ".cargo/config.toml",
            "Cargo.toml",
            "firmware/CMakeLists.txt",
            "sdkconfig.defaults.esp32c3",
        ];
        assert_eq!(found, expected);
    }
}
