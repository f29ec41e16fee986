//! Secret keys where everybody can read them.

use super::*;
use crate::support::app_image;
use std::process::Command;
use towline_sim::sample;
use xtask::keys::SecretKey;

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
    // What is committed next is not what lies there.
    project.write("staged.pem", &pem);
    git(&["add", "staged.pem"]);
    fs::remove_file(project.path("staged.pem")).unwrap();
    let shown = problems(&project, &[]);
    assert!(shown.contains("staged.pem: has the secret key channel-"), "{shown}");
    git(&["rm", "--quiet", "--cached", "staged.pem"]);
    // Another key, encrypted and tracked.
    let body = "MIGjMF8GCSqGSIb3DQEFDTBSMDEGCSqGSIb3DQEFDDAkBBDQ0wSDpZ7ON0ZwSJQ2";
    let kind = "ENCRYPTED PRIVATE KEY";
    let sealed = format!("-----BEGIN {kind}-----\n{body}\n-----END {kind}-----\n");
    project.write("theirs.pem", sealed);
    git(&["add", "theirs.pem"]);
    let shown = problems(&project, &[]);
    assert!(shown.contains("theirs.pem: has a secret key (ENCRYPTED PRIVATE KEY)"), "{shown}");
    git(&["rm", "--quiet", "--force", "theirs.pem"]);
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

#[test]
fn secret_keys_are_found_where_there_is_no_repository() {
    let project = signed();
    project.done(&["check"]);
    fs::create_dir_all(project.path("docs/target")).unwrap();
    fs::copy(channel_key(&project), project.path("docs/note.txt")).unwrap();
    let shown = problems(&project, &[]);
    assert!(shown.contains("docs/note.txt: has the secret key channel-"), "{shown}");
    fs::remove_file(project.path("docs/note.txt")).unwrap();
    // The folder of keys itself is told by its name.
    let inside = project.path("keys").display().to_string();
    let output = project.xtask_with(&["check"], &[("TOWLINE_KEYS", &inside)]);
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1));
    assert!(shown.contains("TOWLINE_KEYS: ") && shown.contains("must not be inside"), "{shown}");
}

/// An image is recorded for good: what is in it has to be known before.
#[test]
fn images_with_secret_keys_are_refused_before_they_are_recorded() {
    let project = signed();
    let own = fs::read_to_string(channel_key(&project)).unwrap();
    let other = SecretKey::generate().unwrap().to_pem();
    let build = |version: &str, pem: &str| {
        for chip in CHIPS {
            let mut image = app_image(chip, "lamp", version, 40_000);
            image[1000..][..pem.len()].copy_from_slice(pem.as_bytes());
            project.write(&format!("images/{chip}.bin"), sample::seal(image));
        }
    };
    let recorded = || tree(&project.path("dist/store")).len();
    let before = recorded();
    build("1.1.0", &other);
    let error = project.fails(&["release"]);
    assert!(error.contains("has a secret key (PRIVATE KEY)"), "{error}");
    assert!(error.contains("not-secret = [\"firmware/lamp\"]"), "{error}");
    assert_eq!(recorded(), before);
    let config = project.read("towline.toml");
    let check = "[check]\nnot-secret = [\"firmware/lamp\", \"tests\"]\n[defaults]";
    project.write("towline.toml", config.replace("[defaults]", check));
    project.done(&["release"]);
    // The project's own are never meant.
    build("1.2.0", &own);
    let error = project.fails(&["release"]);
    assert!(error.contains("has the secret key channel-"), "{error}");
    fs::remove_file(channel_key(&project)).unwrap();
    let error = project.fails(&["release", "--no-site"]);
    assert!(error.contains("has the secret key "), "{error}");
    fs::create_dir(project.path("tests")).unwrap();
    project.write("tests/key.pem", &*other);
    let git = Command::new("git").args(["init", "--quiet"]).current_dir(project.path(".")).status();
    assert!(git.unwrap().success());
    fs::write(project.path(".gitignore"), "/dist/\n/images/\n").unwrap();
    assert!(!problems(&project, &[]).contains("warning["));
    project.write("tests/key.pem", &own);
    let shown = problems(&project, &[]);
    assert!(shown.contains("tests/key.pem: has the secret key "), "{shown}");
    fs::remove_file(project.path("tests/key.pem")).unwrap();
    // What is recorded stays publishable, and is told each time.
    project.write("towline.toml", config);
    let output = project.xtask(&["check", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["problems"], serde_json::json!([]));
    let path = report["warnings"][0]["path"].as_str().unwrap();
    assert!(path.starts_with("firmware/lamp/1.1.0/esp32c3-app-"), "{path}");
    fs::remove_dir_all(project.path("dist/site")).unwrap();
    let output = project.xtask_with(&["site"], &[("TOWLINE_CHANNEL_KEY", own.as_str())]);
    let told = text(&output.stderr);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("warning: firmware/lamp/1.1.0/esp32c3-app-"), "{told}");
}
