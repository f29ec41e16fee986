//! A project on disk: where its files are.

use crate::{
    channel::{self, Channels},
    config::{self, Config},
    disk::Disk,
    keys::{
        KeyFolder,
        chain::{self, Chain},
        hinted,
    },
    release::Record,
    store::{DirectoryStore, Store},
    ui::Hinted,
};
use anyhow::{Context, Result};
use clap::Args;
use std::path::{Path, PathBuf};

/// Where results go.
#[derive(Args, Clone, Debug)]
pub struct Places {
    /// Folder that keeps release records and artifacts [default: dist/store].
    #[arg(long, value_name = "DIR")]
    pub store: Option<PathBuf>,
    /// Folder of the rendered site [default: dist/site].
    #[arg(long, value_name = "DIR")]
    pub site_dir: Option<PathBuf>,
}

/// A project: its configuration, and where its state is.
#[derive(Clone, Debug)]
pub struct Project {
    /// The configuration.
    pub config: Config,
    /// Folder of the store.
    pub store_dir: PathBuf,
    /// Folder of the site.
    pub site_dir: PathBuf,
}

impl Project {
    /// Opens the project of `manifest`, or of the nearest towline.toml at or
    /// above the current folder.
    ///
    /// # Errors
    /// If there is none, or it is faulty.
    pub fn open(manifest: Option<&Path>, places: &Places) -> Result<Self> {
        let path = match manifest {
            Some(path) => path.to_owned(),
            None => find(&std::env::current_dir()?)?,
        };
        let config = Config::read(&path)?;
        let place = |given: &Option<PathBuf>, default: &str| {
            given.clone().unwrap_or_else(|| config.root.join(default))
        };
        Ok(Self {
            store_dir: place(&places.store, "dist/store"),
            site_dir: place(&places.site_dir, "dist/site"),
            config,
        })
    }

    /// Returns the store of the project.
    pub fn store(&self) -> DirectoryStore {
        DirectoryStore::new(&self.store_dir, Disk::default())
    }

    /// Returns the path of channels.toml.
    pub fn channels_path(&self) -> PathBuf {
        self.config.root.join(channel::FILE)
    }

    /// Reads the state of the channels.
    ///
    /// # Errors
    /// If channels.toml is faulty.
    pub fn channels(&self) -> Result<Channels> {
        Ok(Channels::read(&self.channels_path(), &self.config)?)
    }

    /// Returns the folder of the project's roots.
    pub fn root_dir(&self) -> PathBuf {
        self.config.root.join(chain::FOLDER)
    }

    /// Reads and verifies the roots of the project; `None` if it has no keys.
    ///
    /// # Errors
    /// If one does not hold.
    pub fn chain(&self) -> Result<Option<Chain>> {
        Ok(Chain::read(&self.root_dir(), &self.config.project)?)
    }

    /// Returns the folder of the project's secret keys.
    ///
    /// # Errors
    /// If it is inside the repository.
    pub fn key_folder(&self) -> Result<KeyFolder> {
        KeyFolder::of(&self.config.root, self.config.project.as_str()).map_err(hinted)
    }

    /// Reads all release records, lowest version first.
    ///
    /// # Errors
    /// If one is damaged.
    pub fn releases(&self) -> Result<Vec<Record>> {
        self.store().records().context("reading the release records")
    }
}

fn find(dir: &Path) -> Result<PathBuf> {
    let found = dir.ancestors().map(|dir| dir.join(config::FILE)).find(|path| path.is_file());
    found.ok_or_else(|| {
        let message = format!("no {} in {} or above it", config::FILE, dir.display());
        Hinted::new(message, "go to the project's folder, or name the file with --manifest").into()
    })
}
