//! One set of commands, under the two names that it is called by.

use crate::support::{Project, repository, text};
use std::{
    fs,
    process::{Command, Output},
};
use towline_descriptor::Chip;

/// The programs, and what each calls itself.
const PROGRAMS: [(&str, &str); 2] =
    [(env!("CARGO_BIN_EXE_xtask"), "cargo xtask"), (env!("CARGO_BIN_EXE_towline"), "towline")];

fn run(program: &str, project: &Project, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(project.path(".")).env("SOURCE_DATE_EPOCH", "1790000000");
    command.env("TOWLINE_KEYS", project.keys("")).output().unwrap()
}

#[test]
fn help_usage_hints_and_warnings_call_the_program_by_its_name() {
    for (program, name) in PROGRAMS {
        let project = Project::new(&[Chip::Esp32c3]);
        let run = |arguments: &[&str]| {
            let output = run(program, &project, arguments);
            [text(&output.stdout), text(&output.stderr)].concat()
        };
        let says = |arguments: &[&str], expected: &str| {
            let shown = run(arguments);
            assert!(shown.contains(expected), "{arguments:?}: {shown}");
            let other = PROGRAMS.iter().map(|(_, name)| *name).find(|other| *other != name);
            // Where the firmware is, is none of these names.
            let other = format!("`{}", other.unwrap());
            assert!(!shown.contains(&other), "{arguments:?}: {shown}");
        };
        says(&["--version"], &format!("{name} 0."));
        says(&["--help"], &format!("Usage: {name} [OPTIONS] <COMMAND>"));
        says(&["--help"], &format!("The main job is `{name} release`"));
        says(&["push", "--help"], &format!("  {name} push 127.0.0.1:8081 --target esp32c3"));
        says(&["site", "--nonsense"], &format!("Usage: {name} site"));
        says(&["site"], &format!("hint: make one with `{name} release`"));
        project.build(&[Chip::Esp32c3], "1.0.0");
        says(
            &["release"],
            &format!(
                "warning: the project has no keys: devices trust whoever controls its host; `{name} keys init` makes some"
            ),
        );
        says(&["promote", "1.0.0", "--to", "testing"], &format!("next: `{name} site` renders"));
        project.write("channels.toml", "[channels.stable]\npin = \"2.0.0\"\n");
        says(&["site"], &format!("`{name} follow stable` or pin another release"));
    }
}

#[test]
fn the_script_for_bash_completes_commands_and_options() {
    for (program, name) in PROGRAMS {
        let word = name.rsplit(' ').next().unwrap();
        let project = Project::new(&[Chip::Esp32c3]);
        let script = run(program, &project, &["completions", "bash"]);
        project.write("completions.bash", script.stdout);
        let completed = |line: &[&str]| {
            let last = line.len() - 1;
            let asked = format!(
                "source completions.bash; COMP_WORDS=({}); COMP_CWORD={last}; \
                 _{word} {word} '{}' '{}'; echo \"${{COMPREPLY[@]}}\"",
                line.join(" "),
                line[last],
                line[last - 1]
            );
            let mut bash = Command::new("bash");
            bash.args(["--norc", "-c", &asked]).current_dir(project.path("."));
            let output = bash.output().unwrap();
            assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
            text(&output.stdout).trim().to_owned()
        };
        assert_eq!(completed(&[word, "rele"]), "release");
        assert_eq!(completed(&[word, "keys", "thre"]), "threshold");
        assert_eq!(completed(&[word, "release", "--min"]), "--min-from");
        assert_eq!(completed(&[word, "keys", "rotate", "--roo"]), "--root");
        assert_eq!(completed(&[word, "completions", "po"]), "powershell");
        assert!(completed(&[word, "''"]).contains("promote"));
        for shell in ["zsh", "fish", "powershell", "elvish"] {
            let script = text(&run(program, &project, &["completions", shell]).stdout);
            assert!(script.contains(word) && script.contains("min-from"), "{shell}");
        }
    }
}

#[test]
fn manual_pages_are_written_for_every_command() {
    for (program, name) in PROGRAMS {
        let project = Project::new(&[]);
        let word = name.replace(' ', "-");
        let main = run(program, &project, &["man"]);
        let written = run(program, &project, &["man", "pages"]);
        assert!(written.status.success(), "{}", text(&written.stderr));
        assert_eq!(fs::read(project.path(format!("pages/{word}.1"))).unwrap(), main.stdout);
        assert!(project.path(format!("pages/{word}-keys-init.1")).exists());
        let listed = text(&written.stdout).lines().count();
        assert_eq!(project.path("pages").read_dir().unwrap().count(), listed);
        assert!(listed > 40, "{listed}");
    }
}

/// Messages are put into the words of the program by their backtick; in help texts
/// examples may stand at the start of a line. What a new project is told has its
/// own xtask.
#[test]
fn commands_in_messages_are_quoted() {
    let mut folders = vec![repository().join("xtask/src")];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            if path.ends_with("commands/new.rs") {
                continue;
            }
            for line in fs::read_to_string(&path).unwrap().lines().map(str::trim) {
                let plain = line.replace("`cargo xtask", "");
                let is_known = line.starts_with("//")
                    || line.starts_with("cargo xtask ")
                    || line.contains("\"cargo xtask\"")
                    || line.contains(".contains(\"cargo xtask ")
                    || !plain.contains("cargo xtask");
                assert!(is_known, "{}: {line}", path.display());
            }
        }
    }
}
