//! Projects that publish firmware: new ones, and what one adds to a repository that
//! there is.
//!
//! ```text
//! arguments -> Values -+-> template -> staged folder -> renamed        new
//!                      |      | workflows, xtask
//! files -> Found ------+------+-> new files -> shown, then written     init
//! ```
//!
//! Invariants: a new project is there whole or not at all; a file that is there is
//! never changed.

pub mod add;
pub mod create;
pub mod recognise;
pub mod template;

use anyhow::{Context, Result};
use std::{fs, path::Path};

/// Reads every file below a folder, but not Git's, with its path, in order.
///
/// # Errors
/// Naming what cannot be read.
pub fn files_below(folder: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(current) = folders.pop() {
        for entry in current.read_dir().with_context(|| current.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                folders.extend((!path.ends_with(".git")).then_some(path));
            } else {
                let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
                let name = path.strip_prefix(folder)?.to_string_lossy().replace('\\', "/");
                files.push((name, bytes));
            }
        }
    }
    files.sort();
    Ok(files)
}
