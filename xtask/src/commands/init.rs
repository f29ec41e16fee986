//! `init`: Towline for a repository that there is.

use super::{
    new::{Site, each_once, source, undecided},
    print_json,
};
use crate::{
    disk::Disk,
    name::ProjectName,
    scaffold::{
        add::{
            NewFile, Standing, has_another_xtask, project_name, propose, repository_of, standing,
        },
        files_below,
        recognise::{Build, Found, Framework, Target, keep_outermost, look, recognise},
        template::{Kind, REPOSITORY, Source, Values},
    },
    toolchain,
    ui::{self, Hinted},
};
use anyhow::{Context, Result};
use serde::Serialize;
use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};
use towline_descriptor::Chip;

/// Add Towline to a project that there is.
///
/// Looks what the firmware is built with (esp-hal, ESP-IDF, PlatformIO, Arduino),
/// shows the files that are missing, asks, and writes them. A file that is there is
/// never changed: what it lacks is said. Run again, it adds what is still missing.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder of the project.
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// The framework, where the project has several, or images that are already there.
    #[arg(long, value_enum)]
    kind: Option<Framework>,
    /// Name of the project, as its images carry it [default: as its files say].
    #[arg(long)]
    name: Option<ProjectName>,
    /// The chips of images that are already there, images/<chip>.bin.
    #[arg(long, value_delimiter = ',', value_name = "CHIPS", value_parser = super::chip)]
    chips: Vec<Chip>,
    #[command(flatten)]
    site: Site,
    /// A checkout of Towline whose packages the project uses.
    #[arg(long, value_name = "DIR", hide_short_help = true)]
    towline: Option<PathBuf>,
    /// Write without asking.
    #[arg(long)]
    yes: bool,
    /// Show what is missing, and write nothing.
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// What was found and what is missing.
#[derive(Serialize)]
struct Report<'a> {
    framework: Framework,
    evidence: &'a str,
    project: &'a ProjectName,
    base_url: &'a str,
    missing: Vec<&'a str>,
    kept: Vec<&'a str>,
    lacking: Vec<Lacking<'a>>,
    written: bool,
    next: Vec<String>,
}

/// Lines that a file lacks, which a person has to add.
#[derive(Serialize)]
struct Lacking<'a> {
    file: &'a str,
    lines: &'a str,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let root = args.dir.canonicalize().with_context(|| args.dir.display().to_string())?;
    is_top(&root)?;
    let mut found = choose(&root, args)?;
    if found.has_cargo && keeps_another_xtask(&root)? {
        found.has_cargo = false;
        found.notes.push("this repository has an xtask of its own: the publisher is a program");
    }
    let project = name(&root, args, &found)?;
    let remote = match root.join(".git").exists() {
        true => toolchain::capture("git", &["remote", "get-url", "origin"], &root).ok(),
        false => None,
    };
    let known = remote.as_deref().and_then(repository_of);
    let may_ask = !args.dry_run && !args.json && !args.yes;
    let repository = args.site.repository(known, may_ask)?;
    let url = args.site.url(&project, repository.as_deref())?;
    let program = if found.has_cargo { "cargo xtask" } else { "towline" };
    let prepare = (found.framework == Framework::PlatformIo).then_some("pipx install platformio");
    let source = source(args.towline.as_deref())?;
    let template = template(&project, &url, program, prepare, source)?;
    let files = propose(&found, &project, &url, &template);
    let standings = files.iter().map(|file| stands(&root, file)).collect::<Result<Vec<_>>>()?;
    let all = || files.iter().zip(&standings);
    let missing: Vec<_> =
        all().filter(|(_, there)| **there == Standing::Missing).map(|(file, _)| file).collect();
    let mut report = Report {
        framework: found.framework,
        evidence: &found.evidence,
        project: &project,
        base_url: &url,
        missing: missing.iter().map(|file| file.path.as_str()).collect(),
        kept: all()
            .filter(|(_, there)| **there != Standing::Missing)
            .map(|(file, _)| file.path.as_str())
            .collect(),
        lacking: all().filter_map(|(file, there)| lacking(file, there)).collect(),
        written: false,
        next: next(&found, &url, program),
    };
    if !args.json {
        show(&report, &missing);
    }
    let is_agreed = missing.is_empty() || args.yes || !args.dry_run && is_agreed(args)?;
    if is_agreed {
        for file in &missing {
            write(&root, file, &Disk::default())?;
        }
        report.written = !missing.is_empty();
    }
    if args.json {
        print_json(&report)?;
    } else if is_agreed {
        println!("next:");
        report.next.iter().for_each(|step| println!("  {step}"));
    }
    if is_agreed || args.dry_run {
        return Ok(ExitCode::SUCCESS);
    }
    Err(Hinted::new("nothing was written", "write it with --yes, or only look with --dry-run")
        .into())
}

/// Checks that a folder is no part of a repository: workflows are read at its top.
fn is_top(root: &Path) -> Result<()> {
    // Without Git, or outside of what it knows, any folder may become a repository.
    let Ok(top) = toolchain::capture("git", &["rev-parse", "--show-toplevel"], root) else {
        return Ok(());
    };
    if top.is_empty() || Path::new(&top).canonicalize().is_ok_and(|top| top == root) {
        return Ok(());
    }
    let message = format!(
        "{} is inside the repository {top}, and workflows are read only at its top",
        root.display()
    );
    let hint = format!("run it there (--dir {top}), or make this a repository: git init");
    Err(Hinted::new(message, hint).into())
}

/// Returns whether the repository has an xtask that is not ours.
fn keeps_another_xtask(root: &Path) -> Result<bool> {
    let folder = root.join("xtask");
    let manifest = read(&folder.join("Cargo.toml"))?;
    // A run that was killed leaves a folder with no file under its name.
    let is_begun = || {
        let mut names = folder.read_dir().ok()?.filter_map(|entry| Some(entry.ok()?.file_name()));
        Some(names.all(|name| name.to_string_lossy().starts_with(".towline-")))
    };
    let is_there =
        manifest.is_some() || fs::symlink_metadata(&folder).is_ok() && !is_begun().unwrap_or(false);
    let manifest = is_there.then(|| manifest.unwrap_or_default());
    let config = read(&root.join(".cargo/config.toml"))?.unwrap_or_default();
    Ok(has_another_xtask(manifest.as_deref(), &config))
}

/// Returns what the firmware is built with.
fn choose(root: &Path, args: &Args) -> Result<Found> {
    if args.kind == Some(Framework::Prebuilt) {
        return Ok(prebuilt(&args.chips)?);
    }
    let mut found = recognise(&look(root)?, &folder_name(root));
    match args.kind {
        Some(kind) => found.retain(|found| found.framework == kind),
        None => keep_outermost(&mut found),
    }
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => {
            let what = args.kind.map_or("framework".to_owned(), |kind| kind.to_string());
            let message = format!(
                "no {what} was recognised in {}: looked for Cargo.toml with esp-hal, \
                 CMakeLists.txt of ESP-IDF, platformio.ini with espressif32 and sketches of Arduino",
                root.display()
            );
            let hint = "name images that any build leaves: --kind prebuilt --chips esp32c3";
            Err(Hinted::new(message, hint).into())
        }
        _ => {
            let seen: Vec<_> = found
                .iter()
                .map(|found| format!("{} ({})", found.framework, found.evidence))
                .collect();
            let message = format!("several frameworks were recognised: {}", seen.join(", "));
            Err(Hinted::new(message, "choose one with --kind").into())
        }
    }
}

fn prebuilt(chips: &[Chip]) -> Result<Found, Hinted> {
    if chips.is_empty() {
        return Err(Hinted::new("which chips are the images for?", "name them: --chips esp32c3"));
    }
    let target = |chip: Chip| Target {
        name: chip.name().to_owned(),
        chip,
        is_guess: false,
        build: Build::Prebuilt(format!("images/{chip}.bin")),
        partition_table: None,
        partition_table_offset: None,
        flash_size: None,
    };
    Ok(Found {
        framework: Framework::Prebuilt,
        evidence: "--kind".to_owned(),
        project: None,
        targets: each_once(chips).into_iter().map(target).collect(),
        has_cargo: false,
        notes: vec!["put the images where towline.toml says: build.prebuilt"],
    })
}

fn name(root: &Path, args: &Args, found: &Found) -> Result<ProjectName> {
    if let Some(name) = &args.name {
        return Ok(name.clone());
    }
    let folder = folder_name(root);
    let called = found.project.as_ref().unwrap_or(&folder);
    project_name(called).map_err(|error| {
        let message = format!("`{called}` cannot name a project: {error}");
        Hinted::new(message, "name it with --name").into()
    })
}

fn folder_name(root: &Path) -> String {
    root.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Returns the files that are the same in each project.
fn template(
    project: &ProjectName,
    url: &str,
    program: &'static str,
    prepare: Option<&'static str>,
    source: Source,
) -> Result<Vec<(String, Vec<u8>)>> {
    let values = Values {
        name: project.clone(),
        kind: Kind::Command { command: "make".into(), output: "image.bin".into(), prepare },
        chips: vec![Chip::Esp32],
        base_url: url.to_owned(),
        repository: None,
        program,
        source,
    };
    let scratch = tempfile::tempdir()?;
    files_below(&values.fill_in(scratch.path(), &Disk::default())?)
}

fn stands(root: &Path, file: &NewFile) -> Result<Standing> {
    Ok(standing(file, read(&root.join(&file.path))?.as_deref()))
}

/// Returns the text of a file that may be missing.
fn read(path: &Path) -> Result<Option<String>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}

fn is_missing(error: &io::Error) -> bool {
    // What should be a folder may be a file.
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn lacking<'a>(file: &'a NewFile, there: &'a Standing) -> Option<Lacking<'a>> {
    match there {
        Standing::Other(Some(lines)) => Some(Lacking { file: &file.path, lines }),
        _ => None,
    }
}

fn show(report: &Report, missing: &[&NewFile]) {
    println!("{} of {}: {}\n", report.project, report.framework, report.evidence);
    for file in missing {
        println!("new {}", file.path);
        file.text.lines().for_each(|line| println!("+ {line}"));
        println!("");
    }
    for file in &report.kept {
        println!("{file} is there and stays as it is");
    }
    for Lacking { file, lines } in &report.lacking {
        println!("\nadd to {file}:\n\n{lines}");
    }
}

fn is_agreed(args: &Args) -> Result<bool> {
    if args.json {
        return Ok(false);
    }
    let answer = ui::ask("write the new files? [y/N] ")?;
    Ok(answer.is_some_and(|answer| ["y", "yes"].contains(&answer.to_lowercase().as_str())))
}

/// Writes a file that was not there, with what a run that was killed left of it
/// removed.
fn write(root: &Path, file: &NewFile, disk: &Disk) -> Result<()> {
    let path = root.join(&file.path);
    disk.create_dir(path.parent().context("a file lies in a folder")?)?;
    disk.clean_beside(&path)?;
    Ok(disk.write_new(&path, file.text.as_bytes())?)
}

/// Returns what to do next, a line each.
fn next(found: &Found, url: &str, program: &str) -> Vec<String> {
    let mut steps: Vec<_> = undecided(url).into_iter().collect();
    steps.extend(found.notes.iter().map(ToString::to_string));
    if !found.has_cargo {
        steps.push(format!("cargo install --locked --git {REPOSITORY} xtask --bin towline"));
    }
    steps.push(format!("{program} plan    # what a release would do"));
    steps.push(format!("{program} release"));
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_killed_run_leaves_whole_files_and_the_next_one_writes_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        let file = |path: &str| NewFile { path: path.into(), text: "text".into() };
        let files = [file("towline.toml"), file(".github/workflows/towline-release.yml")];
        let run = |disk: &Disk| -> Result<()> {
            for file in &files {
                if stands(dir.path(), file)? == Standing::Missing {
                    write(dir.path(), file, disk)?;
                }
            }
            Ok(())
        };
        for steps in 0.. {
            let result = run(&Disk::killed_after(steps));
            for file in &files {
                let there = fs::read_to_string(dir.path().join(&file.path));
                assert!(there.is_err() || there.unwrap() == "text", "{steps}");
            }
            if result.is_ok() {
                break;
            }
        }
        assert_eq!(files_below(dir.path()).unwrap().len(), 2);
    }
}
