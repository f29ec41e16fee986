//! `patch`: updates by hand that cost a part of an image.

use super::print_json;
use crate::{
    cli::Global,
    disk::Disk,
    patch::{self, DiffError, Profile},
    ui::{Hinted, Ui, table},
};
use anyhow::{Context, Result};
use serde_json::json;
use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};
use towline_diff::{Header, Isa};

/// Make patches between app images by hand, apply them, and look at them.
///
/// `cargo xtask release` makes those that are published. A patch makes the new image
/// of the old one, and of no other. Without an old image it is the new one,
/// compressed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Make(Make),
    Apply(Apply),
    Info(Info),
}

/// Make a patch from one app image to another, or compress one.
///
/// The patch is applied before it is written. The same images give the same patch on
/// every machine.
#[derive(Debug, clap::Args)]
struct Make {
    /// The old image and the new one, or the new one alone.
    #[arg(required = true, num_args = 1..=2, value_name = "[OLD] NEW")]
    images: Vec<PathBuf>,
    /// How much memory a device has for it.
    #[arg(long, value_enum, default_value_t, value_name = "PROFILE")]
    profile: Profile,
    /// The patch [default: beside the new image, with the extension .twp].
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print the outcome as JSON.
    #[arg(long)]
    json: bool,
}

/// Apply a patch to the image that it was made from, as a device does.
#[derive(Debug, clap::Args)]
struct Apply {
    /// The image that the patch was made from, unless it is a compressed one, and the
    /// patch.
    #[arg(required = true, num_args = 1..=2, value_name = "[OLD] PATCH")]
    files: Vec<PathBuf>,
    /// The new image.
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// Print the outcome as JSON.
    #[arg(long)]
    json: bool,
}

/// Show what a patch is, or what patches between two images would cost.
#[derive(Debug, clap::Args)]
struct Info {
    /// A patch, or the old and the new image.
    #[arg(required = true, num_args = 1..=2, value_name = "PATCH | OLD NEW")]
    files: Vec<PathBuf>,
    /// Print it as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(global: &Global, args: &Args) -> Result<ExitCode> {
    let ui = global.ui();
    match &args.command {
        Command::Make(args) => make(args, ui)?,
        Command::Apply(args) => apply(args)?,
        Command::Info(Info { files, json }) => match &files[..] {
            [old, new] => compare(old, new, *json, ui)?,
            files => show(&files[0], *json)?,
        },
    }
    Ok(ExitCode::SUCCESS)
}

fn make(args: &Make, ui: Ui) -> Result<()> {
    let (old, path) = old_and(&args.images)?;
    let new = read(path)?;
    let output = args.output.clone().unwrap_or_else(|| path.with_extension("twp"));
    let patch = made(&old, &new, args.profile, ui)?;
    Disk::default().write(&output, &patch)?;
    if args.json {
        return print_json(&json!({
            "path": output,
            "size": patch.len(),
            "image": new.len(),
            "alg": args.profile.alg(),
        }));
    }
    println!("{}: {}", output.display(), share(patch.len(), new.len()));
    Ok(())
}

fn apply(args: &Apply) -> Result<()> {
    let (old, path) = old_and(&args.files)?;
    let patch = read(path)?;
    let new = patch::apply(&old, &patch).map_err(|error| hinted(error, path))?;
    Disk::default().write(&args.output, &new)?;
    if args.json {
        return print_json(&json!({ "path": args.output, "size": new.len() }));
    }
    println!("{}: {} bytes", args.output.display(), new.len());
    Ok(())
}

/// Shows what a patch says of itself.
fn show(path: &Path, as_json: bool) -> Result<()> {
    let patch = read(path)?;
    let header = patch::header(&patch).map_err(|error| hinted(error, path))?;
    let Header { params, old_size, new_size, old_sha256, new_sha256, .. } = header;
    let memory = params.memory();
    let alg = Profile::of(memory).map(Profile::alg);
    let hash = |start: [u8; 8]| start.map(|byte| format!("{byte:02x}")).concat();
    let (old_sha256, new_sha256) = (hash(old_sha256), hash(new_sha256));
    if as_json {
        return print_json(&json!({
            "size": patch.len(),
            "alg": alg,
            "memory": memory,
            "isa": code(params.isa),
            "old": (old_size > 0).then(|| json!({ "size": old_size, "sha256_start": old_sha256 })),
            "new": { "size": new_size, "sha256_start": new_sha256 },
        }));
    }
    let image = |size: u32, hash: &str| format!("{size} bytes, SHA-256 {hash}...");
    let old = if old_size == 0 { "nothing".into() } else { image(old_size, &old_sha256) };
    let rows = [
        ["patch", &share(patch.len(), new_size as usize)],
        ["from", &old],
        ["to", &image(new_size, &new_sha256)],
        ["needs", &format!("{memory} bytes of memory: {}", alg.unwrap_or("no known profile"))],
        ["code", code(params.isa)],
    ];
    println!("{}", table(&rows.map(|row| row.map(str::to_owned))));
    Ok(())
}

/// Shows what updates from one image to another cost in every form.
fn compare(old: &Path, new: &Path, as_json: bool, ui: Ui) -> Result<()> {
    let (old, new) = (read(old)?, read(new)?);
    let mut sizes = Vec::new();
    for profile in Profile::ALL {
        let patch = made(&old, &new, profile, ui)?.len();
        let compressed = made(&[], &new, profile, ui)?.len();
        sizes.push((profile.alg(), patch, compressed));
    }
    if as_json {
        let forms = sizes.iter().map(|(alg, patch, compressed)| {
            json!({ "alg": alg, "patch": patch, "compressed": compressed })
        });
        let forms: Vec<_> = forms.collect();
        return print_json(&json!({ "image": new.len(), "forms": forms }));
    }
    let mut rows = vec![["", "patch", "compressed"].map(str::to_owned)];
    for (alg, patch, compressed) in sizes {
        rows.push([alg.to_owned(), share(patch, new.len()), share(compressed, new.len())]);
    }
    println!("{}", table(&rows));
    Ok(())
}

fn made(old: &[u8], new: &[u8], profile: Profile, ui: Ui) -> Result<Vec<u8>> {
    let what = if old.is_empty() { "compressing the image" } else { "making the patch" };
    let spinner = ui.spinner(format!("{what} ({})", profile.alg()));
    let patch = patch::make(old, new, profile);
    spinner.finish_and_clear();
    Ok(patch?)
}

/// Reads the first of two files, if there are two, and returns it with the last one's path.
fn old_and(files: &[PathBuf]) -> Result<(Vec<u8>, &Path)> {
    match files {
        [old, last] => Ok((read(old)?, last)),
        files => Ok((Vec::new(), &files[0])),
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("reading {}", path.display()))
}

fn code(isa: Isa) -> &'static str {
    match isa {
        Isa::None => "none",
        Isa::Xtensa => "Xtensa",
        Isa::RiscV => "RISC-V",
    }
}

fn share(size: usize, of: usize) -> String {
    format!("{size} bytes, {:.1} % of the image", size as f64 * 100.0 / of as f64)
}

fn hinted(error: DiffError, path: &Path) -> anyhow::Error {
    let hint = match error {
        DiffError::Refused(_) => "`cargo xtask patch info PATCH` says which image it starts from",
        DiffError::Short(_) | DiffError::Header(_) => {
            "is it a patch? `cargo xtask patch make OLD NEW` makes one"
        }
        _ => "fetch or make it anew",
    };
    Hinted::new(format!("{}: {error}", path.display()), hint).into()
}
