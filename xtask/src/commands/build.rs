//! `build`: firmware and images only.

use super::{chosen_targets, print_json};
use crate::{
    build::{self, BuildCommand, Output},
    cli::Global,
    disk::Disk,
    image::{self, Images, Tables},
    name::TargetName,
    project::{Places, Project},
    source::Source,
    toolchain,
    ui::{Hinted, Ui, table},
};
use anyhow::{Context, Result, bail};
use indexmap::IndexMap;
use rayon::prelude::*;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
};

/// Build firmware and images, without recording a release.
///
/// Leaves the app image and the parts of a first flash of every target in
/// dist/build, verified as they would be for a release.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Build these targets only.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    targets: Vec<TargetName>,
    /// Folder for the images [default: dist/build].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print the files as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(global: &Global, args: &Args) -> Result<ExitCode> {
    let places = Places { store: None, site_dir: None };
    let project = Project::open(global.manifest.as_deref(), &places)?;
    let targets = chosen_targets(&project.config, &args.targets)?;
    let source = Source::of(&project.config.root)?;
    let images = build_images(&project, &targets, &source, global.ui())?;
    let out = args.out.clone().unwrap_or_else(|| project.config.root.join("dist/build"));
    let disk = Disk::default();
    disk.create_dir(&out)?;
    let mut rows = vec![["TARGET", "VERSION", "FILE", "OFFSET", "SIZE"].map(String::from)];
    let mut files = Vec::new();
    for (name, images) in &images {
        let app = ("app", None, &images.app);
        let parts = images.parts.iter().filter(|part| part.role != crate::release::Role::App);
        let parts = parts.map(|part| (part.role.as_str(), Some(part.offset), &part.bytes));
        let factory = images.factory();
        let factory = factory.iter().map(|bytes| ("factory", Some(0), bytes));
        for (role, offset, bytes) in std::iter::once(app).chain(parts).chain(factory) {
            let path = out.join(format!("{name}-{role}.bin"));
            disk.write(&path, bytes)?;
            let shown = offset.map_or("-".into(), |offset| format!("{offset:#x}"));
            rows.push([
                name.to_string(),
                images.version.to_string(),
                path.display().to_string(),
                shown,
                bytes.len().to_string(),
            ]);
            files.push(serde_json::json!({
                "target": name, "version": images.version, "role": role,
                "offset": offset, "path": path, "size": bytes.len(),
            }));
        }
    }
    if args.json {
        print_json(&files)?;
    } else {
        println!("{}", table(&rows));
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds these targets, those that do not disturb each other side by side,
/// and verifies their images.
pub(crate) fn build_images(
    project: &Project,
    targets: &[TargetName],
    source: &Source,
    ui: Ui,
) -> Result<IndexMap<TargetName, Images>> {
    build::lock::refuse_stale(&project.config, targets)?;
    install_triples(project, targets, ui)?;
    // Cargo locks its target folder: builds that share one go in turn.
    let mut lanes: BTreeMap<PathBuf, Vec<&TargetName>> = BTreeMap::new();
    for name in targets {
        let lane = match build::command(name, &project.config.targets[name]) {
            Some(BuildCommand { output: Output::Cargo { target_dir, .. }, .. }) => target_dir,
            Some(command) => command.dir,
            None => PathBuf::from(name.as_str()),
        };
        lanes.entry(lane).or_default().push(name);
    }
    let tables = Tables::default();
    let root = write_root(project)?;
    // As many at a time as there are processors.
    let lanes: Vec<_> = lanes.into_values().collect();
    let results: Vec<Result<_>> = lanes
        .into_par_iter()
        .flat_map_iter(|names| {
            names.into_iter().map(|name| {
                Ok((name.clone(), build_one(project, name, source, root.as_deref(), &tables, ui)?))
            })
        })
        .collect();
    let (built, failed): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    let mut failed: Vec<_> = failed.into_iter().filter_map(Result::err).collect();
    if failed.len() > 1 {
        let texts: Vec<_> = failed.iter().map(|error| format!("{error:#}")).collect();
        bail!("{} targets failed:\n{}", texts.len(), texts.join("\n"));
    }
    if let Some(error) = failed.pop() {
        return Err(error);
    }
    let mut built: BTreeMap<TargetName, Images> = built.into_iter().flatten().collect();
    let in_order = targets.iter().filter_map(|name| Some((name.clone(), built.remove(name)?)));
    Ok(in_order.collect())
}

/// Writes the root that firmware is to trust; `None` if the project has no keys.
fn write_root(project: &Project) -> Result<Option<PathBuf>> {
    let Some(chain) = project.chain()? else { return Ok(None) };
    let folder = project.config.root.join("dist/build");
    let path = folder.join("root.json");
    let payload = &chain.newest().payload;
    // Cargo builds again what depends on a file that was written.
    if std::fs::read(&path).ok().as_ref() != Some(payload) {
        let disk = Disk::default();
        disk.create_dir(&folder)?;
        disk.write(&path, payload)?;
    }
    Ok(Some(path))
}

fn build_one(
    project: &Project,
    name: &TargetName,
    source: &Source,
    root: Option<&Path>,
    tables: &Tables,
    ui: Ui,
) -> Result<Images> {
    let target = &project.config.targets[name];
    let spinner = ui.spinner("");
    spinner.set_prefix(name.to_string());
    if build::command(name, target).is_some() {
        ui.say(format_args!("building {name}"));
    }
    let output = build::run(&project.config, name, source.date, root, &|line| {
        spinner.set_message(line.trim().to_owned());
    })?;
    let images = image::make(&project.config.project, target, &output, tables)
        .with_context(|| format!("target {name}"))?;
    spinner.finish_and_clear();
    Ok(images)
}

/// Installs the target triples that are missing; they are what rustup has.
fn install_triples(project: &Project, targets: &[TargetName], ui: Ui) -> Result<()> {
    let mut triples: Vec<(&str, &Path)> = Vec::new();
    for name in targets {
        let target = &project.config.targets[name];
        if let (Some(triple), build::Build::Cargo { dir, .. }) =
            (build::cargo_triple(target), &target.build)
            && !triples.contains(&(triple, dir))
        {
            triples.push((triple, dir));
        }
    }
    for (triple, dir) in triples {
        if !dir.is_dir() {
            bail!("{} is not a folder", dir.display());
        }
        if toolchain::has_target(triple, dir) {
            continue;
        }
        let command = toolchain::install_command(triple);
        let shown = command.join(" ");
        if build::is_xtensa(triple) {
            let message = format!("firmware for {triple} needs Espressif's toolchain");
            return Err(Hinted::new(
                message,
                format!("install it with `{shown}`, or leave the target out with --targets"),
            )
            .into());
        }
        ui.say(format_args!("installing: {shown}"));
        let status = toolchain::command(&command[0])
            .args(&command[1..])
            .current_dir(dir)
            .env_remove("RUSTUP_TOOLCHAIN")
            .stdout(Stdio::null())
            .status()
            .with_context(|| format!("cannot run `{shown}`"))?;
        if !status.success() {
            bail!("`{shown}` failed ({status})");
        }
    }
    Ok(())
}
