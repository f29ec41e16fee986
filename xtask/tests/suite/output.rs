//! Results go to stdout, whatever is there.

use crate::support::{Project, text};
use std::{
    fs::OpenOptions,
    process::{Command, Output, Stdio},
};
use towline_descriptor::Chip;

const CHIPS: [Chip; 1] = [Chip::Esp32c3];

/// Commands that print a result.
const COMMANDS: [&[&str]; 6] = [
    &["build", "--json"],
    &["plan"],
    &["release"],
    &["check"],
    &["doctor"],
    &["completions", "bash"],
];

fn command(project: &Project, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(arguments).current_dir(project.path("."));
    command.env("SOURCE_DATE_EPOCH", "1790000000");
    command
}

/// Runs a command whose reader has gone before it prints anything.
fn unread(project: &Project, arguments: &[&str]) -> Output {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    command(project, arguments).stdout(writer).stderr(Stdio::piped()).output().unwrap()
}

#[test]
fn a_reader_that_has_gone_changes_nothing_of_what_is_done() {
    let project = Project::new(&CHIPS);
    project.build(&CHIPS, "1.0.0");
    for arguments in COMMANDS {
        let output = unread(&project, arguments);
        let shown = text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {shown}");
        assert!(!shown.contains("panicked"), "{arguments:?}: {shown}");
    }
    // Problems are told by the exit code, read or not.
    std::fs::remove_file(project.path("dist/site/index.html")).unwrap();
    assert_eq!(unread(&project, &["check"]).status.code(), Some(1));
}

#[cfg(target_os = "linux")]
#[test]
fn a_result_that_cannot_be_printed_is_an_error() {
    let project = Project::new(&CHIPS);
    project.build(&CHIPS, "1.0.0");
    for arguments in COMMANDS {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = command(&project, arguments).stdout(full).output().unwrap();
        let shown = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {shown}");
        assert!(shown.contains("error: the result could not be printed"), "{shown}");
    }
}
