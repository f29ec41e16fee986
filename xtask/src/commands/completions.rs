//! `completions`: completion for shells.

use clap::CommandFactory;
use clap_complete::Shell;
use std::process::ExitCode;

/// Print completion for a shell.
///
/// The script completes a command named `xtask`; put it where your shell looks
/// for completions, for example
/// `cargo xtask completions bash > ~/.local/share/bash-completion/completions/xtask`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell.
    shell: Shell,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut command = crate::cli::Cli::command();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "xtask", &mut script);
    print!("{}", String::from_utf8_lossy(&script));
    Ok(ExitCode::SUCCESS)
}
