//! `man`.

use anyhow::{Result, bail};
use std::process::ExitCode;

/// Write the manual pages.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args) -> Result<ExitCode> {
    bail!("not there yet")
}
