//! The command line.

#[cfg(feature = "github")]
use crate::commands::publish;
#[cfg(feature = "new")]
use crate::commands::{generate, init, new};
use crate::{
    commands::{
        bench, build, check, ci, completions, doctor, edit, flash, fleet, keys, man, merge, nginx,
        notes, patch, plan, policy, push, release, rollout, serve, sim, site, virt,
    },
    ui::{self, Hinted, Ui},
};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, builder::StyledStr};
use std::{path::PathBuf, process::ExitCode};

/// Publishes ESP32 firmware as update channels on any static host.
///
/// The main job is `cargo xtask release`: it builds every target of
/// towline.toml, records the release, and renders and checks the site that
/// devices and people use. Start with `cargo xtask doctor` on a new machine
/// and `cargo xtask plan` to see what would happen.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Args, Clone, Debug)]
pub struct Global {
    /// The project's towline.toml [default: the nearest above this folder].
    #[arg(long, global = true, value_name = "FILE")]
    pub manifest: Option<PathBuf>,
    /// Report no progress, only warnings and errors.
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

impl Global {
    pub(crate) fn ui(&self) -> Ui {
        Ui::new(self.quiet)
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    #[cfg(feature = "new")]
    New(new::Args),
    #[cfg(feature = "new")]
    Init(init::Args),
    #[cfg(feature = "new")]
    #[command(hide = true)]
    Generate(generate::Args),
    Doctor(doctor::Args),
    Plan(plan::Args),
    Build(build::Args),
    Release(release::Args),
    Notes(notes::Args),
    Merge(merge::Args),
    #[cfg(feature = "github")]
    Publish(publish::Args),
    Site(site::Args),
    Promote(edit::Promote),
    Pin(edit::Pin),
    Follow(edit::Follow),
    Yank(edit::Yank),
    Rollout(rollout::Args),
    Policy(policy::Args),
    Keys(keys::Args),
    Check(check::Args),
    Serve(serve::Args),
    Nginx(nginx::Args),
    Flash(flash::Args),
    Push(push::Args),
    Sim(sim::Args),
    Fleet(fleet::Args),
    Virt(virt::Args),
    Patch(patch::Args),
    Bench(bench::Args),
    Completions(completions::Args),
    Man(man::Args),
    Ci(ci::Args),
}

/// Parses the command line and runs it, as `cargo xtask`. Exit code 0 means done,
/// 1 failed, 2 wrong usage; of `check` 1 that there are problems, 2 that nothing was
/// checked.
pub fn main() -> ExitCode {
    main_as(ui::NAME)
}

/// Does what [`main`] does, for a program that is called `name`.
pub fn main_as(name: &'static str) -> ExitCode {
    ui::call_program(name);
    let mut command = command(name);
    let matches = command.get_matches_mut();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|e| e.format(&mut command).exit());
    let code = run(cli).unwrap_or_else(|error| {
        report(&error);
        ExitCode::FAILURE
    });
    if let Some(error) = ui::unprinted() {
        report(&anyhow::Error::new(error).context("the result could not be printed"));
        return ExitCode::FAILURE;
    }
    code
}

/// Returns the command line of a program that is called `name`; all texts call it
/// that.
pub fn command(name: &'static str) -> clap::Command {
    let command = Cli::command()
        .name(name)
        .bin_name(name)
        .mut_subcommand("completions", |command| completions::with_note(command, name));
    if name == ui::NAME { command } else { renamed(command, name) }
}

/// Puts `name` into the texts of a command.
fn renamed(mut command: clap::Command, name: &'static str) -> clap::Command {
    let text = |text: Option<&StyledStr>| Some(text?.to_string().replace(ui::NAME, name));
    if let Some(about) = text(command.get_about()) {
        command = command.about(about);
    }
    if let Some(about) = text(command.get_long_about()) {
        command = command.long_about(about);
    }
    if let Some(help) = text(command.get_after_long_help()) {
        command = command.after_long_help(help);
    }
    let command = command.mut_args(|mut arg| {
        if let Some(help) = text(arg.get_help()) {
            arg = arg.help(help);
        }
        match text(arg.get_long_help()) {
            Some(help) => arg.long_help(help),
            None => arg,
        }
    });
    command.mut_subcommands(|command| renamed(command, name))
}

/// Runs a command.
///
/// # Errors
/// Whatever went wrong, to be shown to a person.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let global = cli.global;
    match cli.command {
        #[cfg(feature = "new")]
        Command::New(args) => new::run(&args),
        #[cfg(feature = "new")]
        Command::Init(args) => init::run(&args),
        #[cfg(feature = "new")]
        Command::Generate(args) => generate::run(&args),
        Command::Doctor(args) => doctor::run(&global, &args),
        Command::Plan(args) => plan::run(&global, &args),
        Command::Build(args) => build::run(&global, &args),
        Command::Release(args) => release::run(&global, &args),
        Command::Notes(args) => notes::run(&global, &args),
        Command::Merge(args) => merge::run(&global, &args),
        #[cfg(feature = "github")]
        Command::Publish(args) => publish::run(&global, &args),
        Command::Site(args) => site::run(&global, &args),
        Command::Promote(args) => edit::promote(&global, &args),
        Command::Pin(args) => edit::pin(&global, &args),
        Command::Follow(args) => edit::follow(&global, &args),
        Command::Yank(args) => edit::yank(&global, &args),
        Command::Rollout(args) => rollout::run(&global, &args),
        Command::Policy(args) => policy::run(&global, &args),
        Command::Keys(args) => keys::run(&global, &args),
        Command::Check(args) => check::run(&global, &args).or_else(|error| {
            report(&error);
            Ok(ExitCode::from(2))
        }),
        Command::Serve(args) => serve::run(&global, &args),
        Command::Nginx(args) => nginx::run(&global, &args),
        Command::Flash(args) => flash::run(&global, &args),
        Command::Push(args) => push::run(&global, &args),
        Command::Sim(args) => sim::run(&global, &args),
        Command::Fleet(args) => fleet::run(&global, &args),
        Command::Virt(args) => virt::run(&global, &args),
        Command::Patch(args) => patch::run(&global, &args),
        Command::Bench(args) => bench::run(&global, &args),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
        Command::Ci(args) => ci::run(&global, &args),
    }
}

fn report(error: &anyhow::Error) {
    let mut shown = Vec::new();
    for cause in error.chain() {
        let text = cause.to_string();
        // Many errors of libraries repeat the text of their source.
        if !shown.iter().any(|earlier: &String| earlier.contains(&text)) {
            shown.push(text);
        }
    }
    let ui = Ui::new(false);
    ui.say(format_args!("error: {}", shown.join("\n  because: ")));
    if let Some(hinted) = error.chain().find_map(|cause| cause.downcast_ref::<Hinted>()) {
        ui.say(format_args!("hint: {}", hinted.hint()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 2] = [ui::NAME, "towline"];

    /// Calls `look` with every command and the words that lead to it.
    /// Those that only we call are left out.
    fn each(command: &clap::Command, path: &str, look: &mut impl FnMut(&str, &clap::Command)) {
        look(path, command);
        for command in command.get_subcommands().filter(|command| !command.is_hide_set()) {
            each(command, &format!("{path} {}", command.get_name()), look);
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        for name in NAMES {
            command(name).debug_assert();
        }
    }

    #[test]
    fn every_command_and_option_is_explained() {
        let mut arguments = 0;
        each(&command(ui::NAME), ui::NAME, &mut |path, command| {
            assert!(command.get_about().is_some(), "{path}");
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{path}: {}", argument.get_id());
                arguments += 1;
            }
        });
        assert!(arguments > 100, "{arguments}");
    }

    #[test]
    fn all_help_calls_the_program_by_its_name() {
        each(&command("towline"), "towline", &mut |path, command| {
            let help = command.clone().render_long_help().to_string();
            assert!(!help.contains(ui::NAME), "{path}: {help}");
        });
        let help = command("towline").render_long_help().to_string();
        assert!(help.contains("`towline release`"), "{help}");
        assert!(help.contains("Usage: towline [OPTIONS] <COMMAND>"), "{help}");
    }
}
