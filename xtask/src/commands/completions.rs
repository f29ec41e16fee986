//! `completions`: completion for shells.

use crate::{cli, ui};
use clap::Command;
use clap_complete::Shell;
use std::process::ExitCode;

/// Print completion for a shell.
///
/// Load it where your shell starts, for example with
/// `source <(cargo xtask completions bash)` in ~/.bashrc.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell.
    shell: Shell,
}

/// Adds to the help which command a script is for, if that is not the program.
pub(crate) fn with_note(command: Command, program: &str) -> Command {
    let word = word(program);
    let Some(about) = command.get_long_about().filter(|_| word != program) else { return command };
    let note = format!(
        "{about}\n\nShells complete commands of one word: the script is for a command `{word}`, which `alias {word}='{program}'` makes."
    );
    command.long_about(note)
}

/// Returns the word that shells take for the command.
fn word(program: &str) -> &str {
    program.rsplit(' ').next().unwrap_or(program)
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut command = cli::command(ui::program());
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, word(ui::program()), &mut script);
    print!("{}", String::from_utf8_lossy(&script));
    Ok(ExitCode::SUCCESS)
}
