//! Releases on GitHub, against a double that keeps its rules.

pub(crate) mod double;
mod kills;
mod publish;
mod site;

use crate::support::{Project, command, text};
use double::{GitHub, TOKEN};
use std::process::{Command, Output};
use towline_descriptor::Chip;

const CHIPS: [Chip; 2] = [Chip::Esp32c3, Chip::Esp32s3];

/// A project that has recorded these releases, one after the other.
fn recorded(chips: &[Chip], versions: &[&str]) -> Project {
    let project = Project::new(chips);
    project.write("notes.txt", "Brighter.\n");
    for version in versions {
        let arguments = ["release", "--no-site", "--notes", "notes.txt"];
        project.build(chips, version).done(&arguments);
    }
    project
}

/// Returns a command of the publisher that knows this GitHub.
fn on(github: &GitHub, project: &Project, arguments: &[&str]) -> Command {
    let mut command = command(&project.path("."), arguments);
    command.envs(github.variables());
    command
}

/// Runs a command, and makes sure that it tells nobody the token.
fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let all = [text(&output.stdout), text(&output.stderr)].concat();
    assert!(!all.contains(TOKEN), "{all}");
    output
}

/// Runs a command that has to succeed, and returns what it prints.
fn done(github: &GitHub, project: &Project, arguments: &[&str]) -> String {
    let output = run(&mut on(github, project, arguments));
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// Runs a command that has to fail with exit code 1, and returns its error.
fn fails(github: &GitHub, project: &Project, arguments: &[&str]) -> String {
    let output = run(&mut on(github, project, arguments));
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stderr)
}

/// Returns what anybody can tell of all releases.
fn facts(github: &GitHub) -> (Vec<String>, Option<String>) {
    let mut facts: Vec<_> = github.releases().iter().map(double::Release::facts).collect();
    facts.sort();
    (facts, github.latest())
}
