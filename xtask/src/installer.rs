//! The installer of the page: its front end, built and kept.
//!
//! The sources are in this program, so that a project which uses the publisher
//! as a library has them too. Node bundles them once for each state of them;
//! after that a run only reads the result.
//!
//! ```text
//! sources -> hash -> towline-installer/<hash>/ beside the program? -> Bundle
//!                      | no
//!                      +-> .towline-<hash>-.../  npm ci, node build.mjs out
//!                            +-> out/ renamed to <hash>/
//! ```
//!
//! Invariants: a folder that is named by a hash is complete, because it gets
//! that name last, when its files are on the disk; one whose files are not what
//! was built is built anew. One run builds at a time; the next one finds what it
//! made. What a killed run left is removed by the next that builds.

use crate::{
    disk::{Disk, temporary_beside},
    store, toolchain, tools,
    ui::{Hinted, Ui},
};
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use sha2::{Digest, Sha256 as Hasher};
use std::{
    collections::BTreeMap,
    env, fs, io,
    path::{Path, PathBuf},
    process::Stdio,
};
use towline_descriptor::Sha256;

/// Every file that the installer is built from, by its path in `site/`.
const SOURCES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/installer_sources.rs"));

/// What a bundle consists of, as its build lists it.
const LISTING: &str = "bundle.json";

/// Installs the packages of the lock file, which holds their hashes. No package
/// runs anything of its own. Without a network npm would try for over a minute.
const NPM_CI: [&str; 8] = [
    "ci",
    "--ignore-scripts",
    "--omit=dev",
    "--no-audit",
    "--no-fund",
    "--prefer-offline",
    "--fetch-retry-mintimeout=1000",
    "--fetch-retry-maxtimeout=10000",
];

/// Lines of a failed command that are shown.
const SHOWN_LINES: usize = 20;

/// A file of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its name; it holds a hash of the bytes.
    pub name: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// The built installer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// Name of the script that the page loads.
    pub script: String,
    /// Name of its style sheet.
    pub style: String,
    /// Name of the licences of everything that was bundled.
    pub licenses: String,
    /// Files to publish, by their names; the three above are among them.
    pub published: BTreeMap<String, Vec<u8>>,
    /// The script that puts an emulated board in front of the page. It is
    /// never published.
    pub demo: File,
}

/// `bundle.json`.
#[derive(Deserialize)]
struct Listing {
    script: String,
    style: String,
    licenses: String,
    demo: String,
    files: BTreeMap<String, Sha256>,
}

impl Bundle {
    /// Reads the bundle in a folder.
    ///
    /// # Errors
    /// Naming the file, if the bundle is not complete, or not what was built.
    pub fn read(folder: &Path) -> io::Result<Self> {
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read(&path)
                .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))
        };
        let listing: Listing = serde_json::from_slice(&read(LISTING)?)?;
        let mut published = BTreeMap::new();
        for (name, sha256) in listing.files {
            let bytes = read(&name)?;
            if store::sha256(&bytes) != sha256 {
                return Err(io::Error::other(format!("{name} is not the file of {LISTING}")));
            }
            published.insert(name, bytes);
        }
        let unlisted = |name: &str| io::Error::other(format!("{name} is not in {LISTING}"));
        let demo = published.remove(&listing.demo).ok_or_else(|| unlisted(&listing.demo))?;
        for name in [&listing.script, &listing.style, &listing.licenses] {
            if !published.contains_key(name) {
                return Err(unlisted(name));
            }
        }
        Ok(Self {
            published,
            demo: File { name: listing.demo, bytes: demo },
            script: listing.script,
            style: listing.style,
            licenses: listing.licenses,
        })
    }
}

/// Where built installers are kept.
#[derive(Clone, Debug)]
pub struct Installer {
    folder: PathBuf,
}

impl Installer {
    /// Keeps installers in `folder`.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Keeps installers beside the running program, if cargo built it there: they
    /// live as long as it, and `cargo clean` takes both. Those of an installed
    /// program are kept in the user's cache.
    ///
    /// # Errors
    /// If the system does not tell where that is.
    pub fn beside_program() -> io::Result<Self> {
        let program = env::current_exe()?;
        let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.filter(|cache| cache.is_absolute());
        let cache = cache.or_else(|| Some(env::home_dir()?.join(".cache")));
        let nowhere = || io::Error::other("neither XDG_CACHE_HOME nor HOME is set");
        place(&program, cache).map(|folder| Self::new(&folder)).ok_or_else(nowhere)
    }

    /// Returns the installer of these sources, and builds it if no earlier run
    /// has.
    ///
    /// # Errors
    /// If it cannot be built; a missing tool comes with what to install.
    pub fn built(&self, ui: Ui) -> Result<Bundle> {
        let hash = hash(SOURCES);
        let place = self.folder.join(&hash);
        if let Ok(bundle) = Bundle::read(&place) {
            return Ok(bundle);
        }
        require_tools()?;
        let named = || format!("the installer of the page cannot be kept in {}", place.display());
        fs::create_dir_all(&self.folder).with_context(named)?;
        let _lock = self.lock(ui).with_context(named)?;
        // Another run may have built it, or removed it as an old one, since.
        if let Ok(bundle) = Bundle::read(&place) {
            return Ok(bundle);
        }
        self.clean(&hash).with_context(named)?;
        let workshop = temporary_beside(&place);
        let built = build(&workshop, ui).and_then(|()| {
            let out = workshop.join("out");
            sync(&out).and_then(|()| fs::rename(out, &place)).with_context(named)
        });
        // The next build removes what is left of it.
        let _ = fs::remove_dir_all(&workshop);
        built?;
        Bundle::read(&place).with_context(named)
    }

    /// Waits until no other run builds; the folder is this run's until the
    /// result is dropped.
    fn lock(&self, ui: Ui) -> io::Result<fs::File> {
        let lock = fs::File::create(self.folder.join(".lock"))?;
        if lock.try_lock().is_err() {
            ui.say("waiting for another run that builds the installer of the page");
            lock.lock()?;
        }
        Ok(lock)
    }

    /// Removes what killed runs left, and installers of other sources.
    fn clean(&self, hash: &str) -> io::Result<()> {
        Disk::default().clean_in(&self.folder)?;
        for entry in self.folder.read_dir()? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let is_hash = name.len() == hash.len() && name.bytes().all(|b| b.is_ascii_hexdigit());
            if is_hash && path.is_dir() {
                fs::remove_dir_all(&path)?;
            }
        }
        Ok(())
    }
}

/// Returns where the installers of a program are kept: beside it or in `cache`.
fn place(program: &Path, cache: Option<PathBuf>) -> Option<PathBuf> {
    let folder = program.parent()?;
    // Cargo marks its own folder, in which programs lie up to three folders deep.
    let mut around = folder.ancestors().take(4);
    if !around.any(|folder| folder.join("CACHEDIR.TAG").is_file()) {
        return Some(cache?.join("towline/installer"));
    }
    // The programs of tests are one folder deeper.
    let folder = folder.parent().filter(|_| folder.ends_with("deps")).unwrap_or(folder);
    Some(folder.join("towline-installer"))
}

/// Waits until the files of a folder are on the disk, so that a power cut leaves
/// none of them empty under the folder's final name.
fn sync(folder: &Path) -> io::Result<()> {
    for entry in folder.read_dir()? {
        fs::OpenOptions::new().write(true).open(entry?.path())?.sync_all()?;
    }
    Ok(())
}

/// Names a state of the sources.
fn hash(sources: &[(&str, &[u8])]) -> String {
    let mut hash = Hasher::new();
    for (name, bytes) in sources {
        for field in [name.as_bytes(), bytes] {
            hash.update((field.len() as u64).to_le_bytes());
            hash.update(field);
        }
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn require_tools() -> Result<()> {
    let missing: Vec<_> = tools::for_installer().into_iter().filter(|found| !found.ok).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let missing: Vec<_> = missing.iter().map(|m| format!("{} {}", m.what, m.detail)).collect();
    let message = format!("the installer of the page cannot be built: {}", missing.join(", "));
    let hint = format!(
        "install Node.js {} or newer with npm: `apt-get install nodejs npm` on Debian 13, or https://nodejs.org",
        tools::NODE
    );
    Err(Hinted::new(message, hint).into())
}

/// Builds the installer in the new folder `workshop`; the result is in `out`
/// there.
fn build(workshop: &Path, ui: Ui) -> Result<()> {
    ui.say("building the installer of the page, once for this version of it");
    let spinner = ui.spinner("installer");
    for (name, bytes) in SOURCES {
        let path = workshop.join(name);
        let write = || {
            fs::create_dir_all(path.parent().unwrap_or(workshop))?;
            fs::write(&path, bytes)
        };
        write().with_context(|| path.display().to_string())?;
    }
    spinner.set_message("npm ci");
    run(workshop, tools::NPM, &NPM_CI).map_err(|error| {
        let hint = "its packages are fetched once: connect this machine to the network, or name a mirror with `npm config set registry URL`, and run the command again";
        Hinted::new("the packages of the page's installer could not be installed", hint)
            .because(error)
    })?;
    spinner.set_message("node build.mjs");
    run(workshop, "node", &["build.mjs", "out"])
        .context("the installer of the page could not be built")?;
    spinner.finish_and_clear();
    Ok(())
}

/// Runs a command whose output is of interest only if it fails.
fn run(dir: &Path, program: &str, arguments: &[&str]) -> Result<()> {
    let shown = || format!("{program} {}", arguments.join(" "));
    let output = toolchain::command(program)
        .args(arguments)
        .current_dir(dir)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run `{}`", shown()))?;
    if !output.status.success() {
        let text = [output.stderr, output.stdout].concat();
        let text = String::from_utf8_lossy(&text);
        // Both programs say first what is wrong, and then much else.
        let lines = text.lines().filter(|line| !line.trim().is_empty()).take(SHOWN_LINES);
        let lines: Vec<_> = lines.collect();
        bail!("`{}` failed ({}):\n  {}", shown(), output.status, lines.join("\n  "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installers_are_beside_what_cargo_built_and_in_the_cache_of_what_is_installed() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("target");
        let cache = || Some(PathBuf::from("/home/ada/.cache"));
        let program = target.join("debug/xtask");
        fs::create_dir_all(target.join("debug/deps")).unwrap();
        let in_cache = cache().unwrap().join("towline/installer");
        assert_eq!(place(&program, cache()), Some(in_cache));
        assert_eq!(place(&program, None), None);
        fs::write(target.join("CACHEDIR.TAG"), "").unwrap();
        let beside = target.join("debug/towline-installer");
        assert_eq!(place(&program, None).as_ref(), Some(&beside));
        assert_eq!(place(&target.join("debug/deps/suite-0123"), cache()), Some(beside));
        let cross = target.join("riscv64gc-unknown-linux-gnu/release");
        assert_eq!(place(&cross.join("xtask"), cache()), Some(cross.join("towline-installer")));
    }
}
