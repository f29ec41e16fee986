//! `fleet`: many devices at once.

mod simulate;

use crate::cli::Global;
use anyhow::Result;
use std::process::ExitCode;

/// Try a release on a whole fleet before it is published.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Simulate(simulate::Args),
}

pub(crate) fn run(global: &Global, args: &Args) -> Result<ExitCode> {
    match &args.command {
        Command::Simulate(args) => simulate::run(global, args),
    }
}
