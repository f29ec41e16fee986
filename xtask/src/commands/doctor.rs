//! `doctor`: what this machine has and lacks.

use super::{chosen_targets, print_json};
use crate::{
    cli::Global,
    name::TargetName,
    project::{Places, Project},
    toolchain,
    tools::{self, Finding},
    ui::Ui,
};
use anyhow::{Context, Result};
use std::process::ExitCode;

/// Show what this machine has and lacks for the project's targets.
///
/// Each missing thing comes with the command that mends it; --fix runs those
/// commands. Exit code 1 if something is missing.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Look at what building these targets needs, and at nothing else.
    #[arg(long, value_delimiter = ',', value_name = "NAMES", conflicts_with = "ci")]
    targets: Vec<TargetName>,
    /// Look at what `cargo xtask ci` needs too.
    #[arg(long)]
    ci: bool,
    /// Run the commands that mend what is missing.
    #[arg(long)]
    fix: bool,
    /// Print the findings as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(global: &Global, args: &Args) -> Result<ExitCode> {
    let places = Places { store: None, site_dir: None };
    let project = Project::open(global.manifest.as_deref(), &places)?;
    let targets = chosen_targets(&project.config, &args.targets)?;
    let look = || {
        let mut findings = match args.targets.is_empty() {
            true => tools::for_release(&project.config),
            false => tools::for_targets(&project.config, &targets),
        };
        if args.ci {
            findings.extend(tools::for_oracles(&project.config.root));
            findings.extend(tools::for_page(&project.config.root));
            findings.extend(tools::for_fuzz());
            findings.extend(tools::for_machine());
        }
        tools::each_once(findings)
    };
    let mut findings = look();
    if args.fix && fix(&findings, global.ui())? {
        findings = look();
    }
    if args.json {
        print_json(&findings)?;
    } else {
        findings.iter().for_each(show);
    }
    let all_ok = findings.iter().all(|finding| finding.ok);
    Ok(if all_ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn show(finding: &Finding) {
    let mark = if finding.ok { "ok     " } else { "missing" };
    println!("{mark}  {}: {}", finding.what, finding.detail);
    if let Some(mend) = &finding.mend {
        println!("         mend with: {}", shell_text(mend));
    }
}

/// Runs the commands that mend what is missing; returns whether there were
/// any.
pub(crate) fn fix(findings: &[Finding], ui: Ui) -> Result<bool> {
    let mut any = false;
    for mend in findings.iter().filter_map(|finding| finding.mend.as_ref()) {
        let shown = shell_text(mend);
        ui.say(format_args!("running: {shown}"));
        let status = toolchain::command(&mend[0])
            .args(&mend[1..])
            .env_remove("RUSTUP_TOOLCHAIN")
            .status()
            .with_context(|| format!("cannot run `{shown}`"))?;
        if !status.success() {
            ui.say(format_args!("failed ({status}): {shown}"));
        }
        any = true;
    }
    Ok(any)
}

/// Writes a command so that a person can paste it into a shell.
fn shell_text(command: &[String]) -> String {
    if let [shell, flag, script, arguments @ ..] = command
        && shell == "sh"
        && flag == "-c"
    {
        let filled = |script: String, (index, value): (usize, &String)| {
            script.replace(&format!("${index}"), value)
        };
        return arguments.iter().enumerate().fold(script.clone(), filled);
    }
    let quote = |word: &String| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+".contains(c);
        if word.chars().all(plain) { word.clone() } else { format!("'{word}'") }
    };
    command.iter().map(quote).collect::<Vec<_>>().join(" ")
}
