//! `generate`: the process that fills in the template for `new` and `init`.

use crate::{name::ProjectName, scaffold::template};
use anyhow::Result;
use std::{path::PathBuf, process::ExitCode};

/// Fill in a template; `new` and `init` call this.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    name: ProjectName,
    #[arg(long)]
    template: PathBuf,
    #[arg(long)]
    destination: PathBuf,
    #[arg(long)]
    define: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    template::generate(&args.template, &args.destination, &args.name, &args.define)?;
    Ok(ExitCode::SUCCESS)
}
