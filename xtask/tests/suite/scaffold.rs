//! Projects from the template, and repositories that Towline is added to.

mod created;
mod generated;
mod initialised;

use crate::support::{command, repository, text};
use std::{collections::BTreeMap, fs, path::Path, process::Output};
use tempfile::TempDir;

/// Runs a command in a folder. Cargo, which makes lock files, does without a network.
fn run(dir: &Path, arguments: &[&str]) -> Output {
    command(dir, arguments).env("CARGO_NET_OFFLINE", "true").output().unwrap()
}

/// Runs a command that has to succeed in a folder, and returns what it prints.
#[track_caller]
fn done(dir: &Path, arguments: &[&str]) -> String {
    let output = run(dir, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// Runs a command that has to fail with exit code 1, and returns its error.
#[track_caller]
fn fails(dir: &Path, arguments: &[&str]) -> String {
    let output = run(dir, arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stderr)
}

/// Returns every file below a folder, hidden ones too, but not Git's.
fn all_files(dir: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.extend((!path.ends_with(".git")).then_some(path));
            } else {
                let name = path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
                files.insert(name, text(&fs::read(path).unwrap()));
            }
        }
    }
    files
}

/// Makes a repository with these files in a folder called `lamp`.
fn repository_with(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = dir.path().join("lamp").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    dir
}

/// Asserts that workflows are what the linters of this repository accept.
fn assert_sound_workflows(dir: &Path) {
    let tools = repository().join("target/oracles/bin");
    let workflows: Vec<_> = dir.join(".github/workflows").read_dir().unwrap().collect();
    assert_eq!(workflows.len(), 4);
    for (tool, arguments) in
        [("actionlint", &["-no-color"][..]), ("zizmor", &["--offline", "--no-progress"])]
    {
        let mut command = std::process::Command::new(tools.join(tool));
        command.args(arguments).current_dir(dir);
        command.args(workflows.iter().map(|workflow| workflow.as_ref().unwrap().path()));
        let output = command.output().unwrap_or_else(|error| panic!("{tool}: {error}"));
        let said = [text(&output.stdout), text(&output.stderr)].concat();
        assert!(output.status.success(), "{tool}: {said}");
    }
}
