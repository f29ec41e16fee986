//! Writing files so that nothing is ever seen half-written.
//!
//! Every file is written under a temporary name and renamed; every folder is
//! staged beside its place and exchanged. A run that is killed leaves at most
//! temporary names, which the next run removes.

use std::{
    ffi::OsStr,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// What temporary names start with.
const TEMPORARY: &str = ".towline-";

/// Where changes to files go. The operations are the steps at which a run can
/// be cut short.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    /// Steps left before every further one fails: stands in for a kill.
    #[cfg(test)]
    steps: Option<std::sync::Arc<AtomicU64>>,
}

/// Numbers the temporary names of this process.
static COUNTER: AtomicU64 = AtomicU64::new(0);

impl Disk {
    /// Makes a disk whose steps fail from the `steps`-th on, as they do for a
    /// process that was killed.
    #[cfg(test)]
    pub(crate) fn killed_after(steps: u64) -> Self {
        Self { steps: Some(AtomicU64::new(steps).into()) }
    }

    #[cfg_attr(not(test), expect(clippy::unused_self, reason = "counts in tests"))]
    fn step(&self) -> io::Result<()> {
        #[cfg(test)]
        if let Some(steps) = &self.steps {
            let left = steps.try_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
            left.map_err(|_| io::Error::other("killed"))?;
        }
        Ok(())
    }

    /// Creates a folder and those above it.
    ///
    /// # Errors
    /// Naming the folder.
    pub fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        fs::create_dir_all(path).map_err(|error| named(path, &error))
    }

    /// Creates a folder that nobody else can look into, and those above it.
    ///
    /// # Errors
    /// Naming the folder.
    pub fn create_private_dir(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.recursive(true).create(path).map_err(|error| named(path, &error))
    }

    /// Writes a file, in place of one that may be there.
    ///
    /// # Errors
    /// Naming the file.
    pub fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.write_with(path, bytes, fs::OpenOptions::new(), |temporary| {
            fs::rename(temporary, path)
        })
    }

    /// Writes a file that nobody else can read, not even while it is written,
    /// and that is still there after the power failed.
    ///
    /// # Errors
    /// Naming the file.
    pub fn write_private(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.write_with(path, bytes, private(), |temporary| {
            sync(temporary)?;
            fs::rename(temporary, path)?;
            sync_folder_of(path)
        })
    }

    /// Writes a file that must not be there yet, and that is still there after
    /// the power failed.
    ///
    /// # Errors
    /// Naming the file; [`io::ErrorKind::AlreadyExists`] if there is one.
    pub fn write_new(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.write_with(path, bytes, fs::OpenOptions::new(), |temporary| {
            sync(temporary)?;
            match fs::hard_link(temporary, path) {
                Ok(()) => fs::remove_file(temporary)?,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
                // File systems without links: the look and the step are two.
                Err(_) if path.exists() => return Err(io::ErrorKind::AlreadyExists.into()),
                Err(_) => fs::rename(temporary, path)?,
            }
            sync_folder_of(path)
        })
    }

    /// Gives a file another name.
    ///
    /// # Errors
    /// Naming the new file.
    pub fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step()?;
        fs::rename(from, to).map_err(|error| named(to, &error))
    }

    fn write_with(
        &self,
        path: &Path,
        bytes: &[u8],
        mut options: fs::OpenOptions,
        place: impl Fn(&Path) -> io::Result<()>,
    ) -> io::Result<()> {
        let temporary = temporary_beside(path);
        let mut write = || {
            self.step()?;
            let mut file = options.write(true).create_new(true).open(&temporary)?;
            let (first, second) = bytes.split_at(bytes.len() / 2);
            file.write_all(first)?;
            self.step()?;
            file.write_all(second)?;
            drop(file);
            self.step()?;
            place(&temporary)
        };
        write().map_err(|error| {
            #[cfg(not(test))] // A killed process removes nothing.
            let _ = fs::remove_file(&temporary);
            named(path, &error)
        })
    }

    /// Removes a file.
    ///
    /// # Errors
    /// Naming the file.
    pub fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        fs::remove_file(path).map_err(|error| named(path, &error))
    }

    /// Takes the file `from` of the old folder over as `to` of the staged one:
    /// the same file where the file system can, else a copy.
    ///
    /// # Errors
    /// Naming the new file.
    pub fn take_over(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step()?;
        fs::hard_link(from, to)
            .or_else(|_| fs::copy(from, to).map(drop))
            .map_err(|error| named(to, &error))
    }

    /// Copies a file into a folder that is being staged.
    ///
    /// # Errors
    /// Naming the new file.
    pub fn copy(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step()?;
        fs::copy(from, to).map(drop).map_err(|error| named(to, &error))
    }

    /// Writes a file of a folder that is being staged: under its final name,
    /// for the folder's own is temporary.
    ///
    /// # Errors
    /// Naming the file.
    pub fn stage(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.step()?;
        fs::write(path, bytes).map_err(|error| named(path, &error))
    }

    /// Puts the folder `staged` in the place of `folder`, at once where the
    /// system can, and removes what was there.
    ///
    /// # Errors
    /// Naming the folder.
    pub fn swap_dir(&self, staged: &Path, folder: &Path) -> io::Result<()> {
        let swap = || {
            self.step()?;
            match fs::rename(staged, folder) {
                Err(_) if folder.exists() => exchange(staged, folder)?,
                result => return result,
            }
            self.step()?;
            fs::remove_dir_all(staged)
        };
        swap().map_err(|error| named(folder, &error))
    }

    /// Removes what runs that were killed left of `path`, beside it.
    ///
    /// # Errors
    /// If the folder cannot be read or a leftover not be removed.
    pub fn clean_beside(&self, path: &Path) -> io::Result<()> {
        let prefix = temporary_prefix(path);
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        self.remove(folder_of(path), |name| {
            let numbers = name.strip_prefix(&prefix).and_then(|numbers| numbers.split_once('-'));
            numbers.is_some_and(|(process, number)| is_number(process) && is_number(number))
        })
    }

    /// Removes all that runs that were killed left in `folder`, which has to be
    /// the publisher's own.
    ///
    /// # Errors
    /// If the folder cannot be read or a leftover not be removed.
    pub fn clean_in(&self, folder: &Path) -> io::Result<()> {
        self.remove(folder, |name| name.starts_with(TEMPORARY))
    }

    fn remove(&self, folder: &Path, is_leftover: impl Fn(&str) -> bool) -> io::Result<()> {
        for entry in folder.read_dir().map_err(|error| named(folder, &error))? {
            let path = entry?.path();
            if !path.file_name().and_then(OsStr::to_str).is_some_and(&is_leftover) {
                continue;
            }
            self.step()?;
            if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) }
                .map_err(|error| named(&path, &error))?;
        }
        Ok(())
    }
}

/// Returns a temporary name in the folder of `path`.
pub fn temporary_beside(path: &Path) -> PathBuf {
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    path.with_file_name(format!("{}{}-{number}", temporary_prefix(path), std::process::id()))
}

/// Returns the folder that a file or folder is in; the current one for a mere name.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Returns what the temporary names of a file or folder start with.
fn temporary_prefix(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    format!("{TEMPORARY}{name}-")
}

fn sync(file: &Path) -> io::Result<()> {
    fs::OpenOptions::new().write(true).open(file)?.sync_all()
}

#[cfg(unix)]
fn sync_folder_of(path: &Path) -> io::Result<()> {
    fs::File::open(folder_of(path))?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder_of(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(target_os = "linux")]
fn exchange(a: &Path, b: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE) {
        // File systems without exchange: a moment without the folder.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => move_through(a, b),
        result => Ok(result?),
    }
}

#[cfg(not(target_os = "linux"))]
fn exchange(a: &Path, b: &Path) -> io::Result<()> {
    move_through(a, b)
}

fn move_through(a: &Path, b: &Path) -> io::Result<()> {
    let aside = temporary_beside(b);
    fs::rename(b, &aside)?;
    fs::rename(a, b)?;
    fs::rename(&aside, a)
}

/// Returns options for files that only their owner can read.
fn private() -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_killed_write_leaves_the_old_file_or_the_new() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "old").unwrap();
        for steps in 0.. {
            let result = Disk::killed_after(steps).write(&path, b"newer");
            let content = fs::read_to_string(&path).unwrap();
            if result.is_ok() {
                assert_eq!((content.as_str(), steps), ("newer", 3));
                break;
            }
            assert_eq!(content, "old");
        }
        Disk::default().clean_beside(&path).unwrap();
        assert_eq!(dir.path().read_dir().unwrap().count(), 1);
    }

    #[test]
    fn a_new_file_takes_the_place_of_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        Disk::default().write_new(&path, b"first").unwrap();
        let error = Disk::default().write_new(&path, b"second").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "first");
    }

    #[test]
    fn a_folder_is_exchanged_whole() {
        let dir = tempfile::tempdir().unwrap();
        let (staged, folder) = (temporary_beside(&dir.path().join("x")), dir.path().join("site"));
        for content in ["first", "second"] {
            fs::create_dir(&staged).unwrap();
            fs::write(staged.join("a"), content).unwrap();
            Disk::default().swap_dir(&staged, &folder).unwrap();
            assert_eq!(fs::read_to_string(folder.join("a")).unwrap(), content);
            assert!(!staged.exists());
        }
    }
}
