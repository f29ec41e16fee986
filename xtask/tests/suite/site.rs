//! What is published: its exact text, and that no change of it goes unseen.

use crate::support::{Project, tree};
use std::fs;
use towline_descriptor::Chip;

fn project() -> Project {
    let chips = [Chip::Esp32, Chip::Esp32c6];
    let project = Project::new(&chips);
    project.write("notes.txt", "First light.\n");
    project.build(&chips, "1.0.0").done(&["release", "--notes", "notes.txt"]);
    project.write("notes.txt", "Brighter.\n<b>Not bold.</b>\n");
    project.build(&chips, "1.1.0-rc.1").done(&["release", "--notes", "notes.txt"]);
    project
}

#[test]
fn what_users_receive_is_what_was_reviewed() {
    let project = project();
    insta::assert_snapshot!("descriptor", project.read("dist/site/ota/testing/esp32c6.json"));
    insta::assert_snapshot!("manifest", project.read("dist/site/manifests/stable.json"));
    insta::assert_snapshot!("releases", index_without_page(&project));
    insta::assert_snapshot!("record", project.read("dist/store/releases/1.0.0.json"));
    let files = tree(&project.path("dist/site"));
    let paths = files.iter().map(|(path, _)| path.display().to_string());
    let paths: Vec<_> = paths.filter(|path| !path.starts_with("assets/")).collect();
    insta::assert_snapshot!("files", paths.join("\n"));
}

/// Returns the index without the page and what it loads, which change with
/// every word of theirs.
fn index_without_page(project: &Project) -> String {
    let index = project.read("dist/site/releases.json");
    let mut index: xtask::site::Index = serde_json::from_str(&index).unwrap();
    index.files.retain(|path, _| !path.ends_with(".html") && !path.starts_with("assets/"));
    serde_json::to_string_pretty(&index).unwrap()
}

/// Hosts serve it under any path.
#[test]
fn the_page_for_what_is_not_there_names_nothing_beside_it() {
    let project = project();
    let page = project.read("dist/site/404.html");
    for link in page.split("href=\"").skip(1) {
        assert!(link.replace("&#x2f;", "/").starts_with("https://localhost/"), "{link}");
    }
    assert!(page.contains("All firmware of lamp"), "{page}");
}

#[test]
fn any_changed_byte_is_a_problem() {
    let project = project();
    let site = project.path("dist/site");
    let mut tried = 0;
    for (path, bytes) in tree(&site) {
        let path = site.join(path);
        if path.ends_with("releases.json") {
            continue;
        }
        // Positions over the whole file, first and last included.
        let step = (bytes.len() / 12).max(1);
        for at in (0..bytes.len()).step_by(step).chain([bytes.len() - 1]) {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            fs::write(&path, changed).unwrap();
            let problems = xtask::check::check(&xtask::check::Folder::new(&site));
            assert!(!problems.is_empty(), "{} byte {at}", path.display());
            tried += 1;
        }
        fs::write(&path, bytes).unwrap();
    }
    assert!(tried > 200, "{tried}");
    assert_eq!(xtask::check::check(&xtask::check::Folder::new(&site)), []);
}

#[test]
fn a_changed_index_is_a_problem_wherever_it_matters() {
    let project = project();
    let index = project.read("dist/site/releases.json");
    for (from, to, expected) in [
        ("\"fmt\": 1", "\"fmt\": 2", "format 2 is not known"),
        ("\"offset\": 4096", "\"offset\": 0", "an esp32 looks for it at 0x1000"),
        ("\"offset\": 65536", "\"offset\": 36864", "which holds settings"),
        ("\"offset\": 65536", "\"offset\": 131072", "no app partition starts at 0x20000"),
        ("\"chip\": \"esp32c6\"", "\"chip\": \"esp32c3\"", "is for chip id 13"),
        ("\"project\": \"lamp\"", "\"project\": \"fan\"", "is of project lamp"),
        ("\"slot_size\": 1900544", "\"slot_size\": 1000", "another slot size"),
        (
            "\"base_url\": \"https://localhost/\"",
            "\"base_url\": \"https://example.org/\"",
            "path is not that of",
        ),
        ("\"secure_version\": 0", "\"secure_version\": 1", "secure_version 0"),
        ("{", "[", "not an index"),
    ] {
        assert!(index.contains(from), "{from}");
        project.write("dist/site/releases.json", index.replacen(from, to, 1));
        let problems = project.xtask(&["check"]);
        let shown = String::from_utf8(problems.stdout).unwrap();
        assert!(shown.contains(expected), "{from} -> {to}: {shown}");
        assert_eq!(problems.status.code(), Some(1));
    }
}

#[test]
fn files_that_go_missing_or_are_swapped_are_problems() {
    let project = project();
    let site = project.path("dist/site");
    let files = tree(&site);
    for (path, bytes) in &files {
        fs::remove_file(site.join(path)).unwrap();
        let problems = xtask::check::check(&xtask::check::Folder::new(&site));
        assert!(!problems.is_empty(), "{} missing", path.display());
        fs::write(site.join(path), bytes).unwrap();
    }
    for pair in files.windows(2) {
        let ((first, a), (second, b)) = (&pair[0], &pair[1]);
        if a == b {
            continue;
        }
        fs::write(site.join(first), b).unwrap();
        fs::write(site.join(second), a).unwrap();
        let problems = xtask::check::check(&xtask::check::Folder::new(&site));
        assert!(!problems.is_empty(), "{} and {} swapped", first.display(), second.display());
        fs::write(site.join(first), a).unwrap();
        fs::write(site.join(second), b).unwrap();
    }
}

#[test]
fn a_path_that_leads_out_of_the_site_is_not_followed() {
    let project = project();
    let index = project.read("dist/site/releases.json");
    let stolen = index.replace("\"index.html\"", "\"../../towline.toml\"");
    assert_ne!(stolen, index);
    project.write("dist/site/releases.json", stolen);
    let shown = String::from_utf8(project.xtask(&["check"]).stdout).unwrap();
    assert!(shown.contains("towline.toml: leads out of the site"), "{shown}");
}
