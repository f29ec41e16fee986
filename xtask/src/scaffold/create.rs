//! A new project: staged beside its place, and renamed when it is whole.

use super::template::Kind;
use crate::{
    disk::{Disk, temporary_beside},
    name::ProjectName,
    toolchain,
    ui::Hinted,
};
use anyhow::{Context, Result};
use std::{
    fs, io,
    path::{Path, PathBuf},
};
use towline_descriptor::{Chip, Url};

/// Chips that firmware with esp-hal joins a network with.
pub const ESP_HAL_CHIPS: [Chip; 6] =
    [Chip::Esp32, Chip::Esp32c2, Chip::Esp32c3, Chip::Esp32c6, Chip::Esp32s2, Chip::Esp32s3];

/// Names that a cargo package with a program cannot have: words of Rust, its own
/// crates, folders of a build, and what firmware depends on.
const RESERVED: &str = "abstract alloc as async await become box break build const continue core \
     crate deps do dyn else enum examples extern false final fn for gen if impl in incremental let \
     loop macro match mod move mut override priv proc-macro proc_macro pub ref return self static \
     std struct super test towline-device trait true try type typeof unsafe unsized use virtual \
     where while yield";

/// Checks that a project can be made of this.
///
/// # Errors
/// Saying what to choose instead.
pub fn check(name: &ProjectName, kind: &Kind, chips: &[Chip]) -> Result<(), Hinted> {
    match kind {
        Kind::EspHal => {
            let plain = name.as_str().starts_with(|c: char| c.is_ascii_alphabetic())
                && !name.as_str().contains('.');
            if !plain || RESERVED.split(' ').any(|word| word == name.as_str()) {
                let hint =
                    "start with a letter, use letters, digits, `-` and `_`, and no word of Rust";
                return Err(Hinted::new(format!("`{name}` cannot name a cargo package"), hint));
            }
            if let Some(chip) = chips.iter().find(|chip| !ESP_HAL_CHIPS.contains(chip)) {
                let names = ESP_HAL_CHIPS.map(Chip::name).join(", ");
                let message = format!("there is no firmware with esp-hal for {chip}");
                return Err(Hinted::new(message, format!("choose of {names}")));
            }
        }
        Kind::Command { command, output, .. } => {
            if command.contains(|c: char| "\"\\'`$|&;<>*?()".contains(c)) {
                let message = format!("`{command}` is more than words");
                return Err(Hinted::new(message, "put it into a script, and name that"));
            }
            if chips.len() > 1 && !output.contains("{chip}") {
                let message = format!("each chip would leave the same file, {output}");
                return Err(Hinted::new(
                    message,
                    "name it with `{chip}`, which stands for the chip",
                ));
            }
        }
    }
    Ok(())
}

/// Returns where GitHub Pages serves a repository `OWNER/REPO`; `None` if it is
/// not called that.
pub fn pages_url(repository: &str) -> Option<String> {
    let (owner, repo) = repository.split_once('/')?;
    let plain = |text: &str| {
        let known = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        !text.is_empty() && !text.starts_with('.') && text.bytes().all(known)
    };
    if !plain(owner) || !plain(repo) {
        return None;
    }
    let host = format!("{}.github.io", owner.to_ascii_lowercase());
    Some(match repo.eq_ignore_ascii_case(&host) {
        true => format!("https://{host}/"),
        false => format!("https://{host}/{repo}/"),
    })
}

/// Returns a base URL as it stands in towline.toml.
///
/// # Errors
/// If devices could not use it.
pub fn base_url(given: &str) -> Result<String, Hinted> {
    let url = if given.ends_with('/') { given.to_owned() } else { format!("{given}/") };
    match Url::parse(&url) {
        Ok(_) => Ok(url),
        Err(error) => Err(Hinted::new(
            format!("base URL {given}: {error}"),
            "give one such as https://example.org/lamp/",
        )),
    }
}

/// The Git repository of a new project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Git<'a> {
    /// The URL of its remote `origin`.
    pub origin: Option<&'a str>,
}

/// Writes the lock files of the packages of a project, so that its first commit
/// tells all of what is built. Returns whether it has them: that takes a network.
pub fn lock(project: &Path) -> bool {
    let packages = ["xtask/Cargo.toml", "firmware/Cargo.toml"];
    packages.iter().filter(|manifest| project.join(manifest).is_file()).all(|manifest| {
        let arguments = ["generate-lockfile", "--config", "net.retry=1", "--manifest-path"];
        toolchain::capture("cargo", &[&arguments[..], &[manifest]].concat(), project).is_ok()
    })
}

/// Makes the project that `fill_in` leaves in a folder for that alone, and puts it
/// at `place`, with `git` as a repository of its own unless it is in one already.
/// Returns whether that has its first commit: what is released is built from one.
///
/// # Errors
/// If something is at `place`, or files cannot be written.
pub fn create(
    place: &Path,
    fill_in: &dyn Fn(&Path) -> Result<PathBuf>,
    git: Option<Git>,
    disk: &Disk,
) -> Result<bool> {
    refuse_to_replace(place)?;
    disk.create_dir(place.parent().unwrap_or(Path::new("/")))?;
    disk.clean_beside(place)?;
    let staged = temporary_beside(place);
    let made = stage(place, &staged, fill_in, git, disk);
    // Also of a run that failed nothing stays.
    let cleaned = if staged.exists() { disk.clean_beside(place) } else { Ok(()) };
    let is_committed = made?;
    cleaned?;
    Ok(is_committed)
}

fn stage(
    place: &Path,
    staged: &Path,
    fill_in: &dyn Fn(&Path) -> Result<PathBuf>,
    git: Option<Git>,
    disk: &Disk,
) -> Result<bool> {
    disk.create_dir(staged)?;
    let project = fill_in(staged)?;
    let git = git.filter(|_| !is_in_repository(place));
    let run = |arguments: &[&str]| toolchain::capture("git", arguments, &project);
    let failed =
        |error| Hinted::new("no repository was made", "do without one: --no-git").because(error);
    if let Some(git) = git {
        run(&["init", "--quiet", "--initial-branch=main"]).map_err(failed)?;
        if let Some(origin) = git.origin {
            run(&["remote", "add", "origin", origin]).map_err(failed)?;
        }
    }
    // Git wants to know who commits; not everybody has told it.
    let is_committed = git.is_some()
        && run(&["add", "--all"]).is_ok()
        && run(&["commit", "--quiet", "--message", "Start from the template of Towline"]).is_ok();
    // An empty folder makes room; what appeared in it meanwhile keeps its place.
    if place.exists() {
        fs::remove_dir(place).with_context(|| place.display().to_string())?;
    }
    disk.rename(&project, place)?;
    Ok(is_committed)
}

fn refuse_to_replace(place: &Path) -> Result<()> {
    let is_free = match place.read_dir() {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    if is_free {
        return Ok(());
    }
    let message = format!("{} is there, and not empty", place.display());
    let hint = "name another folder with --path, or add Towline to what is there with `init`";
    Err(Hinted::new(message, hint).into())
}

fn is_in_repository(place: &Path) -> bool {
    place.ancestors().any(|folder| folder.join(".git").exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_a_repository_have_its_path_and_those_of_an_owner_none() {
        assert_eq!(pages_url("Ann/lamp").as_deref(), Some("https://ann.github.io/lamp/"));
        assert_eq!(pages_url("ann/Ann.github.io").as_deref(), Some("https://ann.github.io/"));
        for wrong in ["", "ann", "ann/", "/lamp", "ann/a/b", "ann/..", "a b/c", "ann/lamp?x"] {
            assert_eq!(pages_url(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_url_that_devices_cannot_use_is_refused() {
        assert_eq!(base_url("https://example.org/a").unwrap(), "https://example.org/a/");
        for wrong in
            ["http://example.org/", "example.org", "https://", "https://a b/", "https://a/?q"]
        {
            assert!(base_url(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_cannot_be_built_is_refused_before_anything_is_written() {
        let name = |name: &str| name.parse::<ProjectName>().unwrap();
        let command = |command: &str, output: &str| Kind::Command {
            command: command.into(),
            output: output.into(),
            prepare: None,
        };
        for good in ["lamp", "lamp-2", "Lamp_x"] {
            check(&name(good), &Kind::EspHal, &[Chip::Esp32c3, Chip::Esp32s3]).unwrap();
        }
        for wrong in ["4mb", "a.b", "fn", "core", "test", "build"] {
            assert!(check(&name(wrong), &Kind::EspHal, &[]).is_err(), "{wrong}");
            check(&name(wrong), &command("make", "a.bin"), &[]).unwrap();
        }
        assert!(check(&name("lamp"), &Kind::EspHal, &[Chip::Esp32h2]).is_err());
        let two = [Chip::Esp32h2, Chip::Esp32p4];
        check(&name("lamp"), &command("make {chip}", "{chip}.bin"), &two).unwrap();
        assert!(check(&name("lamp"), &command("make", "a.bin"), &two).is_err());
        assert!(check(&name("lamp"), &command("sh -c 'make'", "a.bin"), &[]).is_err());
    }

    #[test]
    fn a_killed_run_leaves_no_project_and_the_next_one_makes_it() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("projects/lamp");
        let fill_in = |disk: &Disk, scratch: &Path| {
            let project = scratch.join("lamp");
            disk.create_dir(&project)?;
            disk.stage(&project.join("towline.toml"), b"content")?;
            disk.stage(&project.join("README.md"), b"content")?;
            Ok(project)
        };
        for steps in 0.. {
            let disk = Disk::killed_after(steps);
            let result = create(&place, &|scratch| fill_in(&disk, scratch), None, &disk);
            // The rename is the last but one: what was staged is to be removed.
            let whole = place.join("towline.toml").exists() && place.join("README.md").exists();
            assert_eq!(place.exists(), whole, "{steps}");
            if result.is_ok() {
                break;
            }
            if whole {
                fs::remove_dir_all(&place).unwrap();
            }
        }
        assert_eq!(place.parent().unwrap().read_dir().unwrap().count(), 1);
        let again = create(&place, &|_| unreachable!(), None, &Disk::default()).unwrap_err();
        assert!(again.downcast::<Hinted>().unwrap().hint().contains("--path"));
    }
}
