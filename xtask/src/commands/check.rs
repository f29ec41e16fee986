//! `check`: opens a site as its clients do.

use super::{print_json, site};
use crate::{
    check::{
        Findings, Folder, Problem, Remote, Terms, check_against, inspect,
        secrets::{self, Secrets},
    },
    cli::Global,
    config,
    keys::{KEYS, KeyError, KeyFolder},
    project::{Places, Project},
    signing,
    source::{DAY, date_text},
    ui,
};
use anyhow::{Result, bail};
use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Check a site as its clients will use it.
///
/// Opens every descriptor with the parser of the device, checks every image as
/// the bootloader does, compares sizes, hashes, chips, projects and versions,
/// and looks where each part of a first flash would be written. Verifies roots
/// and signatures as devices do, and looks for secret keys in the site, and in
/// the repository of a project whose site is in a folder. Lists all problems;
/// exit code 1 if there is one.
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
    /// Compare with the site that is published now: what is signed must not go
    /// backwards.
    #[arg(long, value_name = "DIR | URL", group = "old")]
    against: Option<String>,
    /// Compare with the site at the base-url of towline.toml; there may be none yet.
    #[arg(long, group = "old")]
    published: bool,
    /// Let a release, channel, yank or pause be gone that is published: the path
    /// that the problem names, such as `ota/testing/`.
    #[arg(long, value_name = "PATH", requires = "old")]
    allow: Vec<String>,
    /// Days that signatures have to count for yet [default: a quarter of their
    /// time].
    #[arg(long, value_name = "N")]
    min_days: Option<u16>,
    /// Go by this time, in seconds since 1970, instead of the clock's.
    #[arg(long, value_name = "UNIX", hide = true)]
    now: Option<u64>,
    /// Print `{"problems":[{"path":…,"message":…}]}`, `"warnings"` alike if there
    /// are some, and with signatures `"expires"`, the first second since 1970 at which one does not count any
    /// more.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(global: &Global, args: &Args) -> Result<ExitCode> {
    let name = match &args.site {
        Some(name) => name.clone(),
        None => {
            let places = Places { store: None, site_dir: None };
            let project = Project::open(global.manifest.as_deref(), &places)?;
            project.site_dir.display().to_string()
        }
    };
    let is_folder = !name.contains("://");
    let project = open(global, is_folder.then(|| Path::new(&name)))?;
    let chain = project.as_ref().map(Project::chain).transpose()?;
    let secrets = match (&project, &chain) {
        (Some(project), Some(chain)) => site::secrets(project, chain.as_ref()),
        _ => Secrets::default(),
    };
    let of_project = project
        .as_ref()
        .zip(chain.as_ref())
        .map(|(project, chain)| (&project.config.project, chain.as_ref()));
    let terms = Terms {
        // Not that of a reproducible build: devices go by the true one.
        now: args.now.unwrap_or_else(signing::clock),
        project: of_project,
        secrets: &secrets,
        known: &BTreeSet::new(),
        min_left: args.min_days.map(|days| u64::from(days) * DAY),
    };
    let place = Place::new(&name, args)?;
    let mut findings = place.inspect(&terms);
    let published = match (&args.against, &project) {
        (None, Some(project)) if args.published => Some(&project.config.base_url),
        (None, None) if args.published => bail!("--published needs a project, to know where"),
        (against, _) => against.as_ref(),
    };
    if let Some(published) = published {
        findings.problems.extend(place.against(&Place::new(published, args)?, &args.allow));
    }
    if let Some(project) = project.as_ref().filter(|_| is_folder) {
        let results = [project.store_dir.as_path(), project.site_dir.as_path()];
        let root = &project.config.root;
        findings.problems.extend(secrets::in_repository(root, &results, &secrets)?);
        let folder = KeyFolder::of(root, project.config.project.as_str());
        if let Err(error @ KeyError::InRepository { .. }) = folder {
            let (path, message) = (KEYS.into(), error.to_string());
            findings.problems.push(Problem { path, message });
        }
    }
    let Findings { problems, warnings, expires } = findings;
    if args.json {
        let mut report = serde_json::json!({ "problems": problems });
        if !warnings.is_empty() {
            report["warnings"] = serde_json::json!(warnings);
        }
        if let Some(expires) = expires {
            report["expires"] = expires.into();
        }
        print_json(&report)?;
    } else {
        warnings.iter().for_each(ui::warn);
        for problem in &problems {
            println!("{}", ui::named(&problem.to_string()));
        }
        match problems.len() {
            0 => println!("{name}: no problems"),
            count => println!("{name}: {count} problem{}", if count == 1 { "" } else { "s" }),
        }
        if let Some(expires) = expires {
            let date = date_text(expires.try_into().unwrap_or(i64::MAX));
            let days = expires.saturating_sub(terms.now) / DAY;
            println!("signed; the first descriptor expires on {date}, in {days} days");
        }
    }
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Returns the project that is named, or the one that a site is of: the nearest
/// above its folder, or above the current one.
fn open(global: &Global, site: Option<&Path>) -> Result<Option<Project>> {
    let places = Places { store: None, site_dir: None };
    if global.manifest.is_some() {
        return Project::open(global.manifest.as_deref(), &places).map(Some);
    }
    let start = std::path::absolute(site.unwrap_or(Path::new(".")))?;
    let above = start.ancestors().map(|dir| dir.join(config::FILE)).find(|path| path.is_file());
    above.map(|manifest| Project::open(Some(&manifest), &places)).transpose()
}

/// Where a site is.
enum Place {
    Folder(Folder),
    Remote(Box<Remote>),
}

impl Place {
    fn new(name: &str, args: &Args) -> Result<Self> {
        Ok(if name.contains("://") {
            let remote = Remote::new(name, args.ca.as_deref())?.rehearsed_at(args.connect);
            Self::Remote(Box::new(remote))
        } else {
            Self::Folder(Folder::new(Path::new(name)))
        })
    }

    fn inspect(&self, terms: &Terms<'_>) -> Findings {
        match self {
            Self::Folder(folder) => inspect(folder, terms),
            Self::Remote(remote) => inspect(&**remote, terms),
        }
    }

    fn against(&self, published: &Self, allowed: &[String]) -> Vec<Problem> {
        match (self, published) {
            (Self::Folder(a), Self::Folder(b)) => check_against(a, b, allowed),
            (Self::Folder(a), Self::Remote(b)) => check_against(a, &**b, allowed),
            (Self::Remote(a), Self::Folder(b)) => check_against(&**a, b, allowed),
            (Self::Remote(a), Self::Remote(b)) => check_against(&**a, &**b, allowed),
        }
    }
}
