//! `publish`.

use crate::cli::Global;
use anyhow::{Result, bail};
use std::process::ExitCode;

/// Publish a release as a GitHub Release.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_global: &Global, _args: &Args) -> Result<ExitCode> {
    bail!("not there yet")
}
