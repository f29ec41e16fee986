//! `check`: opens a site as its clients do.

use super::print_json;
use crate::{
    check::{Folder, Remote, check},
    cli::Global,
    project::{Places, Project},
};
use anyhow::Result;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Check a site as its clients will use it.
///
/// Opens every descriptor with the parser of the device, checks every image as
/// the bootloader does, compares sizes, hashes, chips, projects and versions,
/// and looks where each part of a first flash would be written. Lists all
/// problems; exit code 1 if there is one.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder or URL of the site [default: dist/site].
    #[arg(value_name = "DIR | URL")]
    site: Option<String>,
    /// Trust the certificates in this PEM file too.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Connect to this address whatever the host is, such as that of `cargo
    /// xtask serve --https`.
    #[arg(long, value_name = "ADDRESS:PORT")]
    connect: Option<SocketAddr>,
    /// Print `{"problems":[{"path":…,"message":…}]}`.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(global: &Global, args: &Args) -> Result<ExitCode> {
    let (name, problems) = match &args.site {
        Some(url) if url.contains("://") => {
            (url.clone(), check(&Remote::new(url, args.ca.as_deref())?.rehearsed_at(args.connect)))
        }
        Some(dir) => (dir.clone(), check(&Folder::new(Path::new(dir)))),
        None => {
            let places = Places { store: None, site_dir: None };
            let dir = Project::open(global.manifest.as_deref(), &places)?.site_dir;
            (dir.display().to_string(), check(&Folder::new(&dir)))
        }
    };
    if args.json {
        print_json(&serde_json::json!({ "problems": problems }))?;
    } else {
        problems.iter().for_each(|problem| println!("{problem}"));
        match problems.len() {
            0 => println!("{name}: no problems"),
            count => println!("{name}: {count} problem{}", if count == 1 { "" } else { "s" }),
        }
    }
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
