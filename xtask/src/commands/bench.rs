//! `bench`: figures of this repository.

use super::{ci::require_own, doctor};
use crate::{
    cli::Global,
    project::{Places, Project},
    toolchain, tools,
};
use anyhow::{Context, Result};
use std::process::ExitCode;

/// Measure what this repository promises, beside programs of others.
///
/// Prints a table, and fails if a limit is exceeded. Nothing else should run on the
/// machine meanwhile.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to measure.
    #[arg(value_enum)]
    bench: Bench,
    /// What the bench is told; its first lines explain it.
    #[arg(last = true, value_name = "ARGUMENTS")]
    arguments: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Bench {
    /// Checking a site, beside sha256sum.
    Check,
    /// Taking releases to GitHub, beside its own program.
    Github,
    /// Making patches, beside detools, bsdiff and xz.
    Patch,
    /// Publishing, beside esptool and a script.
    Publish,
    /// Signing and verifying.
    Signing,
}

impl Bench {
    const fn name(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Github => "github",
            Self::Patch => "patch",
            Self::Publish => "publish",
            Self::Signing => "signing",
        }
    }

    /// Returns the cargo profile: where what counts is what `cargo xtask` runs, nothing
    /// is built twice.
    const fn profile(self) -> &'static str {
        match self {
            Self::Check | Self::Patch => "dev",
            Self::Github | Self::Publish | Self::Signing => "bench",
        }
    }
}

pub(crate) fn run(global: &Global, args: &Args) -> Result<ExitCode> {
    let places = Places { store: None, site_dir: None };
    let project = Project::open(global.manifest.as_deref(), &places)?;
    let root = project.config.root.canonicalize()?;
    require_own(&root)?;
    if matches!(args.bench, Bench::Patch | Bench::Publish) {
        doctor::fix(&tools::for_python(&root), global.ui())?;
    }
    let status = toolchain::command("cargo")
        .args(["bench", "--locked", "--package", "xtask", "--all-features"])
        .args(["--profile", args.bench.profile(), "--bench", args.bench.name(), "--"])
        .args(&args.arguments)
        .current_dir(&root)
        .env_remove("RUSTUP_TOOLCHAIN")
        .status()
        .context("cannot run cargo")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
