//! `man`: manual pages.

use crate::{cli, disk::Disk, ui};
use anyhow::{Context, Result};
use clap::Command;
use clap_mangen::Man;
use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

/// Print the manual page, or write those of all commands.
///
/// The pages are made of the help texts. The same version of the program writes
/// the same bytes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write a page for every command into this folder.
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let pages = pages(ui::program())?;
    let Some(dir) = &args.dir else {
        let (_, page) = pages.first().expect("there is one of the program");
        print!("{}", String::from_utf8_lossy(page));
        return Ok(ExitCode::SUCCESS);
    };
    let disk = Disk::default();
    disk.create_dir(dir)?;
    for (name, page) in pages {
        let path = dir.join(name);
        disk.write(&path, &page).with_context(|| path.display().to_string())?;
        println!("{}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the pages of a program, its own first.
pub(crate) fn pages(program: &'static str) -> io::Result<Vec<(String, Vec<u8>)>> {
    // The name of a page has no blanks.
    let mut command =
        cli::command(program).display_name(program.replace(' ', "-")).disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    add(&command, &mut pages)?;
    Ok(pages)
}

fn add(command: &Command, pages: &mut Vec<(String, Vec<u8>)>) -> io::Result<()> {
    let man = Man::new(command.clone());
    let mut page = Vec::new();
    // Not by the library, which leaves out the date and puts what follows there.
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let version = env!("CARGO_PKG_VERSION");
    writeln!(page, ".TH \"{name}\" 1 \"\" \"Towline {version}\" \"Towline\"")?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    if let Some(examples) = command.get_after_long_help() {
        examples_section(&examples.to_string(), &mut page)?;
    }
    pages.push((man.get_filename(), page));
    command.get_subcommands().try_for_each(|command| add(command, pages))
}

/// Writes lines as they are: commands to type.
fn examples_section(text: &str, page: &mut Vec<u8>) -> io::Result<()> {
    writeln!(page, ".SH EXAMPLES\n.nf")?;
    for line in text.lines() {
        let line = line.replace('\\', "\\e").replace('-', "\\-");
        // A line that starts like a request is none.
        let guard = if line.starts_with(['.', '\'']) { "\\&" } else { "" };
        writeln!(page, "{guard}{line}")?;
    }
    writeln!(page, ".fi")
}

#[cfg(test)]
mod tests;
