//! `notes`: what a release says of itself.

use super::print_json;
use crate::{
    build::expected_version,
    cli::Global,
    config::{Config, TagPrefix},
    notes::{self, LOG_FORMAT},
    project::{Places, Project},
    toolchain::capture,
    ui::{self, Hinted},
};
use anyhow::{Context, Result};
use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};
use towline_descriptor::Version;

/// Name of the file with the changes of each version.
const CHANGELOG: &str = "CHANGELOG.md";

/// Print the notes that a release would have.
///
/// They are the section of the version in CHANGELOG.md, beside towline.toml or at
/// the root of the repository, in the format of Keep a Changelog. Without one
/// they are made of the commits since the last tag of a release: those that
/// follow Conventional Commits, by what they are to users, or the subjects of all
/// if none does. The notes of a release go back to the last release, not to its
/// prereleases.
///
/// People read them on the page and in the GitHub Release. Devices are shown the
/// first lines, so put first what matters most.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Version of the release [default: that of the firmware].
    #[arg(value_name = "VERSION")]
    version: Option<Version>,
    /// Where to take them from.
    #[arg(long, value_enum, default_value_t = From::Auto)]
    from: From,
    /// Take the commits since this tag or commit.
    #[arg(long, value_name = "TAG")]
    since: Option<String>,
    /// Print `{"version":…,"notes":…}` as JSON; without notes they are null.
    #[arg(long)]
    json: bool,
}

/// Where notes come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum From {
    /// CHANGELOG.md.
    Changelog,
    /// The commits since the last tag.
    Commits,
    /// CHANGELOG.md, or else the commits.
    Auto,
}

pub(crate) fn run(global: &Global, args: &Args) -> Result<ExitCode> {
    let places = Places { store: None, site_dir: None };
    let project = Project::open(global.manifest.as_deref(), &places)?;
    let config = &project.config;
    let version = match &args.version {
        Some(version) => version.clone(),
        None => config.targets.values().find_map(expected_version).ok_or_else(|| {
            let message = "the version is known only once the firmware is built";
            Hinted::new(message, "name it: `cargo xtask notes 1.2.0`")
        })?,
    };
    let notes = find(config, &version, args.from, args.since.as_deref())?;
    if args.json {
        print_json(&serde_json::json!({ "version": version, "notes": notes }))?;
        return Ok(ExitCode::SUCCESS);
    }
    match notes {
        Some(notes) => println!("{notes}"),
        None => global.ui().say(format_args!("there are no notes for {version}")),
    }
    Ok(ExitCode::SUCCESS)
}

/// Which notes a release is to have.
#[derive(Debug, clap::Args)]
pub(crate) struct Choice {
    /// File with release notes, plain text [default: what `cargo xtask notes`
    /// prints].
    #[arg(long, value_name = "FILE")]
    notes: Option<PathBuf>,
    /// Release without notes.
    #[arg(long, conflicts_with = "notes")]
    no_notes: bool,
}

/// Notes that were chosen.
pub(crate) enum Chosen {
    /// These, or none.
    Given(Option<String>),
    /// What the project says of the version.
    Automatic,
}

impl Choice {
    /// Reads the file, so that its faults show before the long work begins.
    pub(crate) fn read(&self) -> Result<Chosen> {
        Ok(match &self.notes {
            Some(path) => Chosen::Given(Some(read_file(path)?)),
            None if self.no_notes => Chosen::Given(None),
            None => Chosen::Automatic,
        })
    }
}

impl Chosen {
    /// Returns the notes of a version. That there are none is not worth an error:
    /// a release can do without.
    pub(crate) fn of(self, config: &Config, version: &Version) -> Option<String> {
        match self {
            Self::Given(notes) => notes,
            Self::Automatic => find(config, version, From::Auto, None).unwrap_or_else(|error| {
                ui::warn(format_args!("no notes for {version}: {error:#}"));
                None
            }),
        }
    }

    /// Returns whether somebody asked for these notes.
    pub(crate) fn is_given(&self) -> bool {
        matches!(self, Self::Given(Some(_)))
    }
}

/// Returns the notes of a version that the project has at hand.
///
/// # Errors
/// If CHANGELOG.md cannot be read, or Git has not all of the history.
fn find(
    config: &Config,
    version: &Version,
    from: From,
    since: Option<&str>,
) -> Result<Option<String>> {
    let root = std::path::absolute(&config.root)?;
    let repository = root.ancestors().find(|dir| dir.join(".git").exists());
    if from != From::Commits && since.is_none() {
        let folders = [Some(root.as_path()), repository];
        if let Some(text) = folders.into_iter().flatten().find_map(changelog).transpose()?
            && let Some(notes) = notes::section(&text, version)
        {
            return Ok(Some(notes));
        }
    }
    match repository {
        Some(repository) if from != From::Changelog => {
            from_history(repository, &config.github.tag_prefix, version, since)
        }
        _ => Ok(None),
    }
}

/// Reads the changelog in a folder; `None` if it has none.
fn changelog(folder: &Path) -> Option<Result<String>> {
    let path = folder.join(CHANGELOG);
    match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        read => Some(
            read.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
                .with_context(|| path.display().to_string()),
        ),
    }
}

/// Makes notes of the commits since a tag, by default that of the release before.
fn from_history(
    repository: &Path,
    prefix: &TagPrefix,
    version: &Version,
    since: Option<&str>,
) -> Result<Option<String>> {
    let git = |arguments: &[&str]| capture("git", arguments, repository);
    if git(&["rev-parse", "--verify", "--quiet", "HEAD"]).is_err() {
        return Ok(None);
    }
    if git(&["rev-parse", "--is-shallow-repository"])? == "true" {
        let message = "Git has only a part of the history here, so what changed is not known";
        let hint = "fetch it with `git fetch --unshallow --tags`, in a workflow with `fetch-depth: 0`; or say it in CHANGELOG.md";
        return Err(Hinted::new(message, hint).into());
    }
    let since = match since {
        Some(since) => {
            let commit = format!("{since}^{{commit}}");
            git(&["rev-parse", "--verify", "--quiet", "--end-of-options", &commit])
                .with_context(|| format!("Git knows no tag or commit `{since}`"))?
        }
        None => {
            let tags = git(&["tag", "--merged", "HEAD"])?;
            // Nothing was released before: there is nothing to compare with.
            let Some(tag) = notes::tag_before(tags.lines(), prefix, version) else {
                return Ok(None);
            };
            format!("refs/tags/{tag}")
        }
    };
    let range = format!("{since}..HEAD");
    let log = git(&["log", "--no-merges", "--no-show-signature", LOG_FORMAT, &range, "--"])?;
    Ok(notes::from_commits(&notes::parse_log(&log)))
}

/// Reads release notes from a file. Control characters have no place in plain
/// text, and some readers end at a NUL.
fn read_file(path: &Path) -> Result<String> {
    let text = fs::read_to_string(path).with_context(|| format!("notes {}", path.display()))?;
    let text = text.replace("\r\n", "\n");
    match text.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
        Some(c) => {
            anyhow::bail!("notes {}: control character {c:?}; notes are plain text", path.display())
        }
        None => Ok(text.trim().to_owned()),
    }
}
