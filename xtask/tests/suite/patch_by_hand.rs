//! Patches that people make, apply and look at by hand.

use crate::support::{Project, app_image, text};
use serde_json::Value;
use std::{fs, process::Output};
use towline_descriptor::Chip;

/// A project with two versions of an image, `old.bin` and `new.bin`.
fn project() -> Project {
    let project = Project::new(&[Chip::Esp32c3]);
    let mut image = app_image(Chip::Esp32c3, "lamp", "1.0.0", 40_000);
    project.write("old.bin", &image);
    image[5000..5004].copy_from_slice(b"new!");
    project.write("new.bin", &image);
    project
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_patch_is_made_looked_at_and_applied() {
    let project = project();
    let made = json(&project.xtask(&["patch", "make", "old.bin", "new.bin", "--json"]));
    let size = fs::metadata(project.path("new.twp")).unwrap().len();
    let image = fs::metadata(project.path("new.bin")).unwrap().len();
    assert_eq!(made["size"], size);
    assert_eq!(made["alg"], "twp1-small");
    assert!(size < 200, "{size}");

    let said = json(&project.xtask(&["patch", "info", "new.twp", "--json"]));
    assert_eq!(said["alg"], "twp1-small");
    assert_eq!(said["isa"], "RISC-V");
    assert_eq!(said["old"]["size"], image);
    assert_eq!(said["new"]["size"], image);

    let apply = ["patch", "apply", "old.bin", "new.twp", "--output", "applied.bin"];
    assert!(project.xtask(&apply).status.success());
    let read = |name| fs::read(project.path(name)).unwrap();
    assert!(read("applied.bin") == read("new.bin"));
}

#[test]
fn an_image_alone_is_compressed() {
    let project = project();
    let make = ["patch", "make", "new.bin", "--profile", "large", "--output", "packed.twp"];
    let output = project.xtask(&make);
    assert!(text(&output.stdout).contains("packed.twp: "), "{}", text(&output.stdout));
    let said = json(&project.xtask(&["patch", "info", "packed.twp", "--json"]));
    assert_eq!(said["old"], Value::Null);
    let apply = ["patch", "apply", "packed.twp", "--output", "applied.bin"];
    assert!(project.xtask(&apply).status.success());
    let read = |name| fs::read(project.path(name)).unwrap();
    assert!(read("applied.bin") == read("new.bin"));
}

#[test]
fn two_images_are_compared_in_every_form() {
    let project = project();
    let said = json(&project.xtask(&["patch", "info", "old.bin", "new.bin", "--json"]));
    let algs: Vec<_> = said["forms"].as_array().unwrap().iter().map(|form| &form["alg"]).collect();
    assert_eq!(algs, ["twp1-small", "twp1-large"]);
    let shown = text(&project.xtask(&["patch", "info", "old.bin", "new.bin"]).stdout);
    assert!(shown.contains("% of the image"), "{shown}");
}

#[test]
fn a_patch_for_another_image_is_refused_with_what_to_do_next() {
    let project = project();
    assert!(project.xtask(&["patch", "make", "old.bin", "new.bin"]).status.success());
    for (arguments, error, hint) in [
        (
            ["new.bin", "new.twp"],
            "new.twp: the patch starts from another image",
            "patch info PATCH",
        ),
        (["old.bin", "new.bin"], "new.bin: no patch of a format that is known here", "patch make"),
    ] {
        let apply = [&["patch", "apply", "--output", "applied.bin"], &arguments[..]].concat();
        let output = project.xtask(&apply);
        let shown = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{shown}");
        assert!(shown.contains(error), "{shown}");
        assert!(shown.contains(&format!("`cargo xtask {hint}")), "{shown}");
        assert!(!project.path("applied.bin").exists());
    }
}
