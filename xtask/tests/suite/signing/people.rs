//! What people and scripts verify with tools of their own.

use super::*;
use std::process::Command;

#[test]
fn minisign_and_sha256sum_verify_what_is_published() {
    let project = signed();
    let folder = project.path("dist/site/firmware/lamp/1.0.0");
    let keys = project.path("dist/site/root");
    let key = keys
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|extension| extension == "pub"));
    let key = key.unwrap();
    let mut verified = 0;
    for (name, _) in tree(&folder) {
        // Patches are for devices, whose descriptor is signed with their hashes.
        if name.extension().is_some_and(|it| it == "minisig" || it == "twp") {
            continue;
        }
        let minisign = |quiet: &str| {
            Command::new("minisign")
                .args([quiet, "-V", "-p"])
                .arg(&key)
                .arg("-m")
                .arg(folder.join(&name))
                .output()
                .expect("minisign is installed: `cargo xtask doctor --ci --fix`")
        };
        let output = minisign("-Q");
        assert!(output.status.success(), "{}: {}", name.display(), text(&output.stderr));
        // What the trusted comment says.
        let comment = format!("file:{} version:1.0.0 project:lamp", name.display());
        assert_eq!(text(&output.stdout).trim(), comment);
        let file = folder.join(&name);
        let bytes = fs::read(&file).unwrap();
        fs::write(&file, [&bytes[..], b"x"].concat()).unwrap();
        assert!(!minisign("-q").status.success());
        fs::write(&file, bytes).unwrap();
        verified += 1;
    }
    assert_eq!(verified, 2 * 5 + 1);
    let sums = |arguments: &[&str]| {
        Command::new("sha256sum").args(arguments).current_dir(&folder).output().unwrap()
    };
    let output = sums(&["--check", "--strict", "SHA256SUMS"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout).lines().count(), 2 * 5);
}

#[test]
fn releases_without_keys_have_sums_too() {
    let project = Project::new(&CHIPS);
    project.build(&CHIPS, "1.0.0").done(&["release"]);
    let folder = project.path("dist/site/firmware/lamp/1.0.0");
    let output = Command::new("sha256sum")
        .args(["--check", "--strict", "SHA256SUMS"])
        .current_dir(&folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(!tree(&folder).iter().any(|(path, _)| path.to_string_lossy().contains("minisig")));
    publish(&project, "firmware/lamp/1.0.0/SHA256SUMS", Some(b"0  a\n"));
    let shown = problems(&project, &[]);
    assert!(shown.contains("SHA256SUMS: is not what the release consists of"), "{shown}");
}

#[test]
fn signatures_of_artifacts_are_made_once() {
    let project = signed();
    let cache = project.path("dist/store/signatures");
    let stamp = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
    let files: Vec<_> = tree(&cache).into_iter().map(|(path, _)| cache.join(path)).collect();
    assert_eq!(files.len(), 1);
    let before = stamp(&files[0]);
    project.build(&CHIPS, "1.1.0").done(&["release"]);
    assert_eq!(stamp(&files[0]), before);
    assert_eq!(tree(&cache).len(), 2);
    // They are not listed, and missed all the same.
    let index = project.read("dist/site/releases.json");
    assert!(!index.contains(".minisig"));
    let site = project.path("dist/site");
    for (path, bytes) in tree(&site) {
        if path.extension().is_some_and(|extension| extension == "minisig") {
            fs::remove_file(site.join(&path)).unwrap();
            let expected = format!("{}: missing", path.display());
            assert!(problems(&project, &[]).contains(&expected), "{expected}");
            fs::write(site.join(path), bytes).unwrap();
        }
    }
    // What is wrong there does not get published.
    let text = fs::read_to_string(&files[0]).unwrap();
    fs::write(&files[0], text.replace("version:1.0.0", "version:6.6.6")).unwrap();
    let error = project.fails(&["site"]);
    assert!(error.contains("minisig: speaks of"), "{error}");
    fs::remove_file(&files[0]).unwrap();
    project.done(&["site"]);
    project.done(&["check"]);
}
