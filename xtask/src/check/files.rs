//! Where a site is: in a folder, or elsewhere.

use super::{Code, Fault, Remote, http::url};
use std::{
    io,
    path::{Component, Path, PathBuf},
};

/// Larger files are not read, in bytes: no flash holds them.
pub(super) const MAX_FILE: u64 = 64 << 20;

/// The files of a site, wherever they are.
pub trait Files: Sync {
    /// Returns the bytes of a file.
    ///
    /// # Errors
    /// Why a client would not get them.
    fn read(&self, path: &str) -> Result<Vec<u8>, Fault>;

    /// Returns the bytes of what a link of the site leads to, its path or a URL, wherever
    /// the host sends its clients; `None` if that is not looked at.
    fn follow(&self, file: &str) -> Option<Result<Vec<u8>, Fault>> {
        let is_elsewhere = url::is_whole(file) || file.starts_with('/');
        (!is_elsewhere).then(|| self.read(file))
    }

    /// Returns the host that serves them, if one does.
    fn remote(&self) -> Option<&Remote> {
        None
    }

    /// Returns the paths of all files, where that can be told: some may be there
    /// that are not listed.
    fn all(&self) -> Vec<String> {
        Vec::new()
    }

    /// Returns the size of a file in bytes, where that can be told without reading it.
    fn size(&self, path: &str) -> Option<u64> {
        let _ = path;
        None
    }

    /// Asks the host, if there is one, for what should not be there: it says so,
    /// or answers with something else.
    fn absence(&self, path: &str) -> Option<Result<(), String>> {
        let _ = path;
        None
    }
}

/// A site in a folder.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Takes the site in `root`.
    pub fn new(root: &Path) -> Self {
        Self(root.to_owned())
    }

    /// Returns the folder.
    pub fn root(&self) -> &Path {
        &self.0
    }
}

impl Files for Folder {
    fn read(&self, path: &str) -> Result<Vec<u8>, Fault> {
        inside(path)?;
        let fault = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => Code::FileMissing.fault("missing"),
            _ => Code::FileUnreadable.fault(error.to_string()),
        };
        let file = self.0.join(path);
        let metadata = file.metadata().map_err(fault)?;
        // A device or a pipe has no end.
        Code::FileUnreadable.unless(metadata.is_file(), "is no file")?;
        too_large(metadata.len())?;
        std::fs::read(file).map_err(fault)
    }

    fn size(&self, path: &str) -> Option<u64> {
        Some(self.0.join(path).metadata().ok()?.len())
    }

    fn all(&self) -> Vec<String> {
        let mut files = Vec::new();
        let mut folders = vec![self.0.clone()];
        while let Some(folder) = folders.pop() {
            for entry in folder.read_dir().into_iter().flatten().flatten() {
                let path = entry.path();
                // Links to folders may lead round in circles, or out of the site.
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    folders.push(path);
                } else if let Ok(path) = path.strip_prefix(&self.0) {
                    let parts = path.iter().map(|part| part.to_string_lossy());
                    files.push(parts.collect::<Vec<_>>().join("/"));
                }
            }
        }
        files
    }
}

/// Refuses a path that leads out of the site.
pub(super) fn inside(path: &str) -> Result<(), Fault> {
    let is_inside = Path::new(path).components().all(|c| matches!(c, Component::Normal(_)));
    Code::PathOutside.unless(is_inside, "leads out of the site")
}

/// Refuses what no flash holds.
pub(super) fn too_large(size: u64) -> Result<(), Fault> {
    let message = format!("{size} bytes are more than any flash holds");
    Code::FileTooLarge.unless(size <= MAX_FILE, message)
}
