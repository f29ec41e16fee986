//! `new`: a project from the template.

use super::print_json;
use crate::{
    disk::Disk,
    name::ProjectName,
    scaffold::{
        create::{base_url, check, create, pages_url},
        files_below,
        template::{Kind, Source, Values},
    },
    ui::{self, Hinted},
};
use anyhow::{Context, Result};
use serde::Serialize;
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};
use towline_descriptor::Chip;

/// Make a new project that publishes firmware.
///
/// The project has firmware that follows its channel, or your own build command;
/// towline.toml and channels.toml, which say what is published; workflows that
/// release a tag on GitHub; and the thin program behind `cargo xtask`. It is there
/// whole or not at all.
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
    /// The repository whose GitHub Pages will serve the site.
    #[arg(long, value_name = "OWNER/REPO", conflicts_with = "base_url")]
    github: Option<String>,
}

impl Site {
    /// Returns the URL: as given, of the repository that is known, asked for on a
    /// terminal if that may be, or a place that is nobody's.
    pub(super) fn url(
        &self,
        name: &ProjectName,
        known: Option<&str>,
        may_ask: bool,
    ) -> Result<String> {
        if let Some(url) = &self.base_url {
            return Ok(base_url(url)?);
        }
        let github = match self.github.as_deref().or(known) {
            None if may_ask => ui::ask(
                "GitHub repository that will publish it, OWNER/REPO (empty: decide later): ",
            )?,
            given => given.map(str::to_owned),
        };
        match github.filter(|text| !text.is_empty()) {
            Some(repository) => pages_url(&repository).ok_or_else(|| {
                let message = format!("`{repository}` is no repository of GitHub");
                Hinted::new(message, "give OWNER/REPO, such as ann/lamp").into()
            }),
            None => Ok(format!("https://{NOBODYS}/{name}/")),
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
    let values = Values {
        kind: kind(args)?,
        chips: each_once(&args.chips),
        base_url: args.site.url(&args.name, None, !args.dry_run && !args.json)?,
        program: "cargo xtask",
        source: source(args.towline.as_deref())?,
        name: args.name.clone(),
    };
    check(&values.name, &values.kind, &values.chips)?;
    let disk = Disk::default();
    let (files, is_committed) = if args.dry_run {
        let scratch = tempfile::tempdir()?;
        (files_below(&values.fill_in(scratch.path(), &disk)?)?, true)
    } else {
        let fill_in = |scratch: &Path| values.fill_in(scratch, &disk);
        let is_committed = create(&place, &fill_in, !args.no_git, &disk)?;
        (files_below(&place)?, is_committed)
    };
    let made = Made {
        project: &values.name,
        folder: &place,
        base_url: &values.base_url,
        files: files.into_iter().map(|(path, _)| path).collect(),
        next: next(args, &values.base_url, is_committed),
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
    Ok(Kind::Command { command: words.join(" "), output: output.clone() })
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
fn next(args: &Args, url: &str, is_committed: bool) -> Vec<String> {
    let folder = args.path.as_deref().unwrap_or(Path::new(args.name.as_str()));
    let mut steps = vec![format!("cd {}", folder.display())];
    steps.extend(undecided(url));
    if !is_committed {
        steps.push("git add . && git commit    # what is published is built from a commit".into());
    }
    steps.push("cargo xtask release    # builds, records and publishes to dist/site".into());
    steps.push("publish it on GitHub: README.md tells how".into());
    steps
}
