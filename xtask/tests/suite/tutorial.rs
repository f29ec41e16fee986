//! The tutorials do what they say: each command is run, and prints what is
//! shown.

use crate::support::{Project, repository, text};
use std::{
    fmt::Write,
    fs,
    net::TcpListener,
    process::{Command, Output, Stdio},
};
use towline_descriptor::Chip;

const CHIP: Chip = Chip::Esp32c3;

const PROGRAM: &str = env!("CARGO_BIN_EXE_xtask");

/// A command of a tutorial.
pub(crate) struct Step {
    command: String,
    /// What it prints, among other things; `…` stands for anything.
    shown: Vec<String>,
}

/// What a tutorial does, in order.
pub(crate) enum Event {
    /// Another build leaves an image of this version.
    Build(String),
    Run(Step),
}

impl Event {
    /// Returns the command, if it is one.
    pub(crate) fn command(&self) -> Option<&str> {
        match self {
            Self::Run(step) => Some(&step.command),
            Self::Build(_) => None,
        }
    }
}

pub(crate) fn events(tutorial: &str) -> Vec<Event> {
    let mut events = Vec::new();
    let mut in_console = false;
    for line in tutorial.lines() {
        if let Some(version) = line.strip_prefix("<!-- build ") {
            events.push(Event::Build(version.trim_end_matches(" -->").to_owned()));
        } else if line.starts_with("```") {
            in_console = line == "```console";
        } else if in_console && let Some(command) = line.strip_prefix("$ ") {
            events.push(Event::Run(Step { command: command.to_owned(), shown: Vec::new() }));
        } else if in_console && let Some(Event::Run(step)) = events.last_mut() {
            step.shown.push(line.to_owned());
        }
    }
    events
}

/// Returns a script that does all that after some preparations, and prints a line
/// `@ N` before the N-th command.
pub(crate) fn script(preparations: &str, events: &[Event], port: u16) -> String {
    let mut script =
        format!("set -eu\n{preparations}\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n");
    for (index, event) in events.iter().enumerate() {
        match event {
            Event::Build(version) => {
                writeln!(script, "cp images/{version}.bin images/{CHIP}.bin").unwrap();
            }
            Event::Run(step) => {
                let command = step.command.replace("127.0.0.1:8080", &format!("127.0.0.1:{port}"));
                writeln!(script, "echo '@ {index}'").unwrap();
                match command.strip_suffix('&') {
                    None => writeln!(script, "{command}").unwrap(),
                    Some(server) => {
                        // The program itself, for the trap to end it.
                        let server = server.replace("cargo xtask", &format!("'{PROGRAM}'"));
                        writeln!(
                            script,
                            "{server} --port {port} > /dev/null 2>&1 &\n\
                             until (exec 3<>/dev/tcp/127.0.0.1/{port}) 2> /dev/null; do sleep 0.05; done"
                        )
                        .unwrap();
                    }
                }
            }
        }
    }
    script
}

/// Returns whether a printed line is the one that is shown.
fn is_shown(printed: &str, shown: &str) -> bool {
    let mut rest = printed;
    let mut parts = shown.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(after) = rest.strip_prefix(first) else { return false };
    rest = after;
    let mut is_exact = true;
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
        is_exact = part.is_empty();
    }
    rest.is_empty() || (is_exact && shown.ends_with('…'))
}

#[test]
fn the_tutorial_of_signed_channels_does_what_it_says() {
    let tutorial = fs::read_to_string(repository().join("xtask/docs/signed-channels.md")).unwrap();
    let project = Project::new(&[CHIP]);
    let partitions = tutorial.split("```text\n").nth(1).unwrap().split("```").next().unwrap();
    project.write("partitions.csv", partitions);
    project.write(".gitignore", "dist\n");
    let events = events(&tutorial);
    for event in &events {
        if let Event::Build(version) = event {
            project.build(&[CHIP], version);
            fs::rename(
                project.path(format!("images/{CHIP}.bin")),
                project.path(format!("images/{version}.bin")),
            )
            .unwrap();
        }
    }
    let keys = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let preparations = format!(
        "cargo() {{ shift; '{PROGRAM}' \"$@\"; }}\n\
         git init -q .\n\
         git config user.name lamp\n\
         git config user.email lamp@example.org\n"
    );
    let output = Command::new("bash")
        .args(["-c", &script(&preparations, &events, port)])
        .current_dir(project.path("."))
        .env("XDG_CONFIG_HOME", keys.path())
        .env("TOWLINE_ROOT_PASSPHRASE", "correct horse battery staple")
        .env_remove("TOWLINE_KEYS")
        .env_remove("TOWLINE_CHANNEL_KEY")
        .env_remove("SOURCE_DATE_EPOCH")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_shown(&output, &events);
}

/// Asserts that each command of a script printed what is shown.
pub(crate) fn assert_shown(output: &Output, events: &[Event]) {
    let printed = text(&output.stdout);
    let errors = text(&output.stderr);
    assert!(output.status.success(), "{printed}\n{errors}");
    let mut commands = 0;
    for (index, event) in events.iter().enumerate() {
        let Event::Run(step) = event else { continue };
        commands += 1;
        let mark = format!("@ {index}\n");
        let printed = printed.split(&mark).nth(1).unwrap_or_default();
        let printed = printed.split("\n@ ").next().unwrap_or_default();
        for shown in &step.shown {
            assert!(
                printed.lines().any(|line| is_shown(line, shown)),
                "`{}` does not print `{shown}` but\n{printed}",
                step.command
            );
        }
    }
    assert!(commands > 15, "{commands}");
}
