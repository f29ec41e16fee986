//! Secret keys where everybody can read them.

use super::*;
use std::process::Command;

#[test]
fn secret_keys_are_found_on_the_site_and_in_the_repository() {
    let project = signed();
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).current_dir(project.path(".")).output();
        assert!(output.unwrap().status.success());
    };
    git(&["init", "--quiet"]);
    project.write(".gitignore", "/dist/\n/ignored.pem\n");
    project.done(&["check"]);
    let pem = fs::read(channel_key(&project)).unwrap();
    // What Git ignores is nobody else's.
    project.write("ignored.pem", &pem);
    project.done(&["check"]);
    for path in ["key.pem", "images/note.txt", "dist/site/assets/unlisted.txt"] {
        project.write(path, &pem);
        let shown = problems(&project, &[]);
        let path_on_site = path.trim_start_matches("dist/site/");
        assert!(shown.contains(&format!("{path_on_site}: has the secret key channel-")), "{shown}");
        fs::remove_file(project.path(path)).unwrap();
    }
    // Another key, encrypted and tracked.
    let body = "MIGjMF8GCSqGSIb3DQEFDTBSMDEGCSqGSIb3DQEFDDAkBBDQ0wSDpZ7ON0ZwSJQ2";
    let kind = "ENCRYPTED PRIVATE KEY";
    let sealed = format!("-----BEGIN {kind}-----\n{body}\n-----END {kind}-----\n");
    project.write("theirs.pem", sealed);
    git(&["add", "theirs.pem"]);
    let shown = problems(&project, &[]);
    assert!(shown.contains("theirs.pem: has a secret key (ENCRYPTED PRIVATE KEY)"), "{shown}");
    fs::remove_file(project.path("theirs.pem")).unwrap();
    project.done(&["check"]);
}

#[test]
fn no_secret_is_in_what_the_commands_leave() {
    let project = signed();
    project.done(&["keys", "rotate"]);
    project.done(&["site"]);
    let pem = text(
        &fs::read(
            project.keys(
                tree(&project.keys(""))
                    .iter()
                    .map(|(path, _)| path.clone())
                    .find(|path| path.to_string_lossy().starts_with("channel-"))
                    .unwrap(),
            ),
        )
        .unwrap(),
    );
    let line = pem.lines().nth(1).unwrap();
    let secrets = Secrets::default();
    for (path, bytes) in tree(&project.path(".")) {
        assert!(!text(&bytes).contains(line), "{}", path.display());
        assert_eq!(secrets.find(&bytes), None, "{}", path.display());
    }
}
