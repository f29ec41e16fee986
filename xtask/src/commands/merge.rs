//! `merge`.

use crate::cli::Global;
use anyhow::{Result, bail};
use std::process::ExitCode;

/// Put a release together whose targets were built apart.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_global: &Global, _args: &Args) -> Result<ExitCode> {
    bail!("not there yet")
}
