use super::*;
use crate::{toolchain, ui::NAME};
use std::{fs, process::Stdio};

#[test]
fn every_command_has_a_page_and_the_same_one_every_time() {
    for (program, word) in [("towline", "towline"), (NAME, "cargo-xtask")] {
        let pages = pages(program).unwrap();
        let names: Vec<_> = pages.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names[0], format!("{word}.1"));
        for command in ["release", "keys", "keys-init", "sim-rollout", "man"] {
            let name = format!("{word}-{command}.1");
            assert!(names.contains(&name.as_str()), "{name}: {names:?}");
        }
        assert_eq!(pages, super::pages(program).unwrap());
        let page = String::from_utf8(pages[0].1.clone()).unwrap();
        assert!(page.contains(&format!(".TH \"{word}\" 1 \"\" ")), "{page}");
    }
}

#[test]
fn pages_are_of_the_program_and_have_its_examples_line_by_line() {
    let pages = pages("towline").unwrap();
    let page = |name: &str| {
        let (_, page) = pages.iter().find(|(found, _)| found == name).unwrap();
        String::from_utf8(page.clone()).unwrap()
    };
    let push = page("towline-push.1");
    assert!(push.contains("\n.SH EXAMPLES\n.nf\n"), "{push}");
    assert!(push.contains("\n  towline sim serve &\n"), "{push}");
    for (name, page) in &pages {
        assert!(!String::from_utf8_lossy(page).contains(NAME), "{name}");
    }
}

/// mandoc, which `cargo xtask ci` installs.
#[test]
fn mandoc_finds_no_fault_in_a_page() {
    let dir = tempfile::tempdir().unwrap();
    let mut lint = toolchain::command("mandoc");
    lint.args(["-T", "lint", "-W", "warning"]).stdin(Stdio::null());
    for (name, page) in pages("towline").unwrap() {
        let path = dir.path().join(name);
        fs::write(&path, page).unwrap();
        lint.arg(path);
    }
    let output = lint.output().expect("mandoc: `apt-get install mandoc`, or `cargo xtask ci`");
    let found = String::from_utf8_lossy(&output.stdout);
    // Pages have no date, and the library likes to break lines twice.
    let is_meant = |line: &&str| line.contains("missing date") || line.contains("paragraph macro");
    let faults: Vec<_> = found.lines().filter(|line| !is_meant(line)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
