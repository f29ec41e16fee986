//! `new`: a project from the template.

use super::print_json;
use crate::{
    disk::Disk,
    name::ProjectName,
    scaffold::{
        create::{Git, base_url, check, create, lock, pages_url},
        files_below,
        template::{Kind, Source, Values},
    },
    ui::{self, Hinted},
};
use anyhow::{Context, Result};
use serde::Serialize;
use std::{
    cell::Cell,
    path::{Path, PathBuf},
    process::ExitCode,
};
use towline_descriptor::Chip;

/// Make a new project that publishes firmware.
///
/// The project has firmware that follows its channel, or your own build command;
/// towline.toml and channels.toml, which say what is published; workflows that
/// release a tag on GitHub; and a thin program of its own that has these commands. It
/// is there whole or not at all.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the project, which its images carry: at most 31 bytes.
    name: ProjectName,
    /// Folder of the project [default: its name].
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
    /// How the firmware is built [default: esp-hal, or command where one is given].
    #[arg(long, value_enum)]
    kind: Option<KindName>,
    /// The chips that it is for.
    #[arg(long, value_delimiter = ',', value_name = "CHIPS", value_parser = super::chip, default_value = "esp32c3")]
    chips: Vec<Chip>,
    #[command(flatten)]
    site: Site,
    /// The command that builds the firmware, `{chip}` being the chip; with --output.
    #[arg(long, value_name = "COMMAND", requires = "output")]
    command: Option<String>,
    /// The ELF file or app image that the command leaves.
    #[arg(long, value_name = "FILE", requires = "command")]
    output: Option<String>,
    /// Make no Git repository.
    #[arg(long)]
    no_git: bool,
    /// Make no xtask: the installed `towline` publishes it.
    #[arg(long)]
    no_xtask: bool,
    /// A checkout of Towline whose packages the project uses.
    #[arg(long, value_name = "DIR", hide_short_help = true)]
    towline: Option<PathBuf>,
    /// List the files, and write none.
    #[arg(long)]
    dry_run: bool,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// Where the site will be served.
#[derive(Debug, clap::Args)]
pub(super) struct Site {
    /// Where the site will be served [default: that of --github].
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// The repository that publishes it, and whose GitHub Pages will serve the site.
    #[arg(long, value_name = "OWNER/REPO", conflicts_with = "base_url")]
    github: Option<String>,
}

impl Site {
    /// Returns the repository that will publish it: as given, the one that is known,
    /// or asked for on a terminal if that may be.
    pub(super) fn repository(&self, known: Option<&str>, may_ask: bool) -> Result<Option<String>> {
        let repository = match self.github.as_deref().or(known) {
            None if may_ask && self.base_url.is_none() => ui::ask(
                "GitHub repository that will publish it, OWNER/REPO (empty: decide later): ",
            )?,
            given => given.map(str::to_owned),
        };
        Ok(repository.filter(|text| !text.is_empty()))
    }

    /// Returns the URL: as given, of the repository, or a place that is nobody's.
    pub(super) fn url(&self, name: &ProjectName, repository: Option<&str>) -> Result<String> {
        match (&self.base_url, repository) {
            (Some(url), _) => Ok(base_url(url)?),
            (None, Some(repository)) => pages_url(repository).ok_or_else(|| {
                let message = format!("`{repository}` is no repository of GitHub");
                Hinted::new(message, "give OWNER/REPO, such as ann/lamp").into()
            }),
            (None, None) => Ok(format!("https://{NOBODYS}/{name}/")),
        }
    }
}

/// The host of a site whose place is not decided.
const NOBODYS: &str = "example.org";

/// Returns what to do about the URL of a site, if its place is not decided.
pub(super) fn undecided(url: &str) -> Option<String> {
    let is_nobodys = url.starts_with(&format!("https://{NOBODYS}/"));
    is_nobodys.then(|| "say in towline.toml where the site will be served: base-url".to_owned())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum KindName {
    /// Firmware in Rust, for chips with Wi-Fi.
    EspHal,
    /// Any command that leaves an ELF file or an app image.
    Command,
}

/// What was made, or would be.
#[derive(Serialize)]
struct Made<'a> {
    project: &'a ProjectName,
    folder: &'a Path,
    base_url: &'a str,
    files: Vec<String>,
    next: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let place = std::path::absolute(args.path.as_deref().unwrap_or(args.name.as_str().as_ref()))?;
    let repository = args.site.repository(None, !args.dry_run && !args.json)?;
    let values = Values {
        kind: kind(args)?,
        chips: each_once(&args.chips),
        base_url: args.site.url(&args.name, repository.as_deref())?,
        repository,
        program: if args.no_xtask { "towline" } else { "cargo xtask" },
        source: source(args.towline.as_deref())?,
        name: args.name.clone(),
    };
    check(&values.name, &values.kind, &values.chips)?;
    let disk = Disk::default();
    let is_locked = Cell::new(true);
    let (files, is_committed) = if args.dry_run {
        let scratch = tempfile::tempdir()?;
        (files_below(&values.fill_in(scratch.path(), &disk)?)?, true)
    } else {
        let fill_in = |scratch: &Path| {
            let project = values.fill_in(scratch, &disk)?;
            is_locked.set(lock(&project));
            Ok(project)
        };
        let origin = values.repository.as_ref();
        let origin = origin.map(|repository| format!("https://github.com/{repository}.git"));
        let git = (!args.no_git).then_some(Git { origin: origin.as_deref() });
        let is_committed = create(&place, &fill_in, git, &disk)?;
        (files_below(&place)?, is_committed)
    };
    let made = Made {
        project: &values.name,
        folder: &place,
        base_url: &values.base_url,
        files: files.into_iter().map(|(path, _)| path).collect(),
        next: next(args, &values, is_committed, is_locked.get()),
    };
    if args.json {
        print_json(&made)?;
    } else {
        let done = if args.dry_run { "would make" } else { "made" };
        println!("{done} {} in {}", made.project, place.display());
        made.files.iter().for_each(|file| println!("  {file}"));
        println!("\nnext:");
        made.next.iter().for_each(|step| println!("  {step}"));
    }
    Ok(ExitCode::SUCCESS)
}

fn kind(args: &Args) -> Result<Kind> {
    let (command, output) = match (args.kind, &args.command, &args.output) {
        (None | Some(KindName::EspHal), None, _) => return Ok(Kind::EspHal),
        (None | Some(KindName::Command), Some(command), Some(output)) => (command, output),
        (Some(KindName::EspHal), Some(_), _) => {
            let hint = "leave out --kind esp-hal, or --command and --output";
            return Err(Hinted::new("firmware with esp-hal is built by cargo", hint).into());
        }
        _ => {
            let hint = "name both: --command \"idf.py build\" --output build/lamp.bin";
            return Err(Hinted::new("which command builds the firmware?", hint).into());
        }
    };
    let words: Vec<_> = command.split_whitespace().collect();
    Ok(Kind::Command { command: words.join(" "), output: output.clone(), prepare: None })
}

pub(super) fn source(towline: Option<&Path>) -> Result<Source> {
    let Some(checkout) = towline else { return Ok(Source::Published) };
    let root = checkout.canonicalize().with_context(|| checkout.display().to_string())?;
    if !root.join("firmware/esp/Cargo.toml").is_file() {
        let message = format!("{} is no checkout of Towline", checkout.display());
        return Err(Hinted::new(message, "name the folder of its repository").into());
    }
    Ok(Source::Checkout(root))
}

pub(super) fn each_once(chips: &[Chip]) -> Vec<Chip> {
    let mut known: Vec<Chip> = Vec::new();
    for chip in chips {
        if !known.contains(chip) {
            known.push(*chip);
        }
    }
    known
}

/// Returns what to do next, a line each.
fn next(args: &Args, values: &Values, is_committed: bool, is_locked: bool) -> Vec<String> {
    let folder = args.path.as_deref().unwrap_or(Path::new(args.name.as_str()));
    let program = values.program;
    let mut steps = vec![format!("cd {}", quoted(&folder.to_string_lossy()))];
    steps.extend(undecided(&values.base_url));
    if !is_committed {
        steps.push("git add . && git commit    # what is published is built from a commit".into());
    }
    steps.push(format!("{program} release    # builds, records and publishes to dist/site"));
    if !is_locked {
        steps.push("commit the Cargo.lock files that the first build has made".into());
    }
    steps.push("publish it on GitHub: README.md tells how".into());
    steps
}

/// Returns a path as a shell takes it.
fn quoted(path: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+,:@%".contains(c);
    match path.chars().all(plain) {
        true => path.to_owned(),
        false => format!("'{}'", path.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_quoted_where_a_shell_reads_more_into_it() {
        assert_eq!(quoted("deep/er/lamp-2_x.y"), "deep/er/lamp-2_x.y");
        assert_eq!(quoted("my lamp"), "'my lamp'");
        assert_eq!(quoted("it's $HOME"), r"'it'\''s $HOME'");
    }
}
