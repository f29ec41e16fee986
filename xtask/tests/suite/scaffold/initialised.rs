//! `init`: repositories as people have them, before and after.

use super::{all_files, assert_sound_workflows, done, fails, repository_with};
use crate::support::{app_image, xtask};
use std::{fs, path::PathBuf};
use tempfile::TempDir;
use towline_descriptor::Chip;

/// Firmware in Rust, as esp-generate makes it, but for `build-std`.
const ESP_HAL: &[(&str, &str)] = &[
    (
        "Cargo.toml",
        "[package]\nedition = \"2024\"\nname = \"wall-lamp\"\nrust-version = \"1.88\"\nversion = \"0.3.0\"\n\n\
         [[bin]]\nname = \"wall-lamp\"\npath = \"src/bin/main.rs\"\n\n\
         [dependencies]\nesp-hal = { version = \"~1.1\", features = [\"esp32c6\", \"log-04\", \"unstable\"] }\n\
         esp-bootloader-esp-idf = { version = \"0.5\", features = [\"esp32c6\"] }\n",
    ),
    (
        ".cargo/config.toml",
        "[target.riscv32imac-unknown-none-elf]\nrunner = \"espflash flash --monitor\"\n\n[env]\nESP_LOG = \"info\"\n\n\
         [build]\nrustflags = [\"-C\", \"force-frame-pointers\"]\ntarget = \"riscv32imac-unknown-none-elf\"\n",
    ),
    ("rust-toolchain.toml", "[toolchain]\nchannel = \"stable\"\ncomponents = [\"rust-src\"]\n"),
    ("src/bin/main.rs", "#![no_std]\n#![no_main]\n"),
    (".gitignore", "debug/\ntarget/\n"),
];

/// ESP-IDF, as `idf.py create-project` makes it, with settings.
const ESP_IDF: &[(&str, &str)] = &[
    (
        "CMakeLists.txt",
        "# The following lines of boilerplate have to be in your project's CMakeLists\n\
         cmake_minimum_required(VERSION 3.16)\n\nset(PROJECT_VER \"1.4.0\")\n\
         include($ENV{IDF_PATH}/tools/cmake/project.cmake)\nproject(desk_lamp)\n",
    ),
    ("main/CMakeLists.txt", "idf_component_register(SRCS \"main.c\" INCLUDE_DIRS \".\")\n"),
    ("main/main.c", "void app_main(void) {}\n"),
    (
        "sdkconfig.defaults",
        "CONFIG_IDF_TARGET=\"esp32s3\"\nCONFIG_ESPTOOLPY_FLASHSIZE_8MB=y\nCONFIG_ESPTOOLPY_FLASHSIZE=\"8MB\"\n\
         CONFIG_PARTITION_TABLE_CUSTOM=y\nCONFIG_PARTITION_TABLE_CUSTOM_FILENAME=\"partitions.csv\"\n",
    ),
    ("partitions.csv", crate::support::PARTITIONS),
];

/// PlatformIO with two boards and a test on the host.
const PLATFORMIO: &[(&str, &str)] = &[
    (
        "platformio.ini",
        "; PlatformIO Project Configuration File\n[platformio]\ndefault_envs = floor, ceiling\n\n\
         [env]\nplatform = espressif32@6.9.0\nframework = arduino\nmonitor_speed = 115200\n\
         lib_deps =\n    bblanchon/ArduinoJson@^7.1.0\n\n\
         [env:floor]\nboard = esp32dev\nboard_build.partitions = min_spiffs.csv\n\n\
         [env:ceiling]\nboard = seeed_xiao_esp32c3\nboard_build.partitions = partitions.csv\n\n\
         [env:native]\nplatform = native\n",
    ),
    ("partitions.csv", crate::support::PARTITIONS),
    ("src/main.cpp", "#include <Arduino.h>\nvoid setup() {}\nvoid loop() {}\n"),
    (".gitignore", ".pio\n"),
];

/// A sketch of Arduino with a project file.
const ARDUINO: &[(&str, &str)] = &[
    ("string_lights/string_lights.ino", "void setup() {}\nvoid loop() {}\n"),
    (
        "string_lights/sketch.yaml",
        "profiles:\n  c3:\n    fqbn: esp32:esp32:esp32c3\n    platforms:\n      - platform: esp32:esp32 (3.0.7)\n\
         default_profile: c3\n",
    ),
    ("README.md", "# String lights\n"),
];

fn plan(dir: &std::path::Path) -> serde_json::Value {
    serde_json::from_str(&done(dir, &["plan", "--json"])).unwrap()
}

fn lamp(dir: &TempDir) -> PathBuf {
    dir.path().join("lamp")
}

#[test]
fn each_framework_is_recognised_and_its_plan_works() {
    for (files, framework, project, targets) in [
        (ESP_HAL, "esp-hal", "wall-lamp", &[("esp32c6", "esp32c6")][..]),
        (ESP_IDF, "esp-idf", "desk_lamp", &[("esp32s3", "esp32s3")]),
        (PLATFORMIO, "platformio", "lamp", &[("ceiling", "esp32c3"), ("floor", "esp32")]),
        (ARDUINO, "arduino", "string_lights", &[("c3", "esp32c3")]),
    ] {
        let dir = repository_with(files);
        let root = lamp(&dir);
        let before = all_files(&root);
        let report = done(&root, &["init", "--yes", "--json"]);
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        assert_eq!(
            (&report["framework"], &report["project"]),
            (&framework.into(), &project.into())
        );
        // What was there is as it was; the rest is what the report says.
        let after = all_files(&root);
        assert!(before.iter().all(|(path, text)| after.get(path) == Some(text)));
        let mut new: Vec<_> = report["missing"]
            .as_array()
            .unwrap()
            .iter()
            .map(|path| path.as_str().unwrap())
            .collect();
        new.sort_unstable();
        let added = after.keys().filter(|path| !before.contains_key(*path));
        assert!(added.map(String::as_str).eq(new.iter().copied()), "{new:?}");
        assert_eq!(after.contains_key("xtask/Cargo.toml"), framework == "esp-hal");
        assert_sound_workflows(&root);
        let program = if framework == "esp-hal" { "cargo xtask" } else { "towline" };
        let workflow =
            fs::read_to_string(root.join(".github/workflows/towline-release.yml")).unwrap();
        assert!(workflow.contains(&format!("command: {program}\n")), "{workflow}");
        let is_prepared = workflow.contains("prepare: \"pipx install platformio\"\n");
        assert_eq!(is_prepared, framework == "platformio", "{workflow}");

        let plan = plan(&root);
        assert_eq!(plan["project"], project);
        let planned = plan["targets"].as_array().unwrap().iter();
        let planned: Vec<_> = planned
            .map(|target| (target["name"].as_str().unwrap(), target["chip"].as_str().unwrap()))
            .collect();
        assert_eq!(planned, targets, "{framework}");
    }
}

#[test]
fn what_a_file_lacks_is_said_and_not_written() {
    let dir = repository_with(ESP_HAL);
    let report = done(&lamp(&dir), &["init", "--yes"]);
    for expected in [
        "add to .cargo/config.toml:\n\n[alias]\nxtask = \"run --manifest-path xtask/Cargo.toml --target host-tuple --\"\n",
        "add to .gitignore:\n\n/dist/\n\n",
        ".cargo/config.toml is there and stays as it is",
        "say in towline.toml where the site will be served",
    ] {
        assert!(report.contains(expected), "{expected}\n---\n{report}");
    }
}

#[test]
fn an_xtask_of_the_repository_stays_and_the_publisher_is_a_program() {
    let folder = ("xtask/Cargo.toml", "[package]\nname = \"xtask\"\n");
    let alias = (".cargo/config.toml", "[alias]\nxtask = \"run --package tasks --\"\n");
    for own in [folder, alias] {
        let dir = repository_with(&[ESP_HAL, &[own]].concat());
        let root = lamp(&dir);
        let before = all_files(&root);
        let report = done(&root, &["init", "--yes", "--json"]);
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        assert_eq!(
            report["lacking"],
            serde_json::json!([{ "file": ".gitignore", "lines": "/dist/\n" }])
        );
        let next: Vec<_> =
            report["next"].as_array().unwrap().iter().map(|step| step.as_str().unwrap()).collect();
        assert!(next.iter().any(|step| step.starts_with("towline plan")), "{next:?}");
        assert!(next.iter().any(|step| step.contains("an xtask of its own")), "{next:?}");
        let after = all_files(&root);
        assert!(before.iter().all(|(path, text)| after.get(path) == Some(text)));
        let added = || after.iter().filter(|(path, _)| !before.contains_key(*path));
        assert!(
            !added().any(|(path, _)| path.starts_with("xtask/") || path.starts_with(".cargo/"))
        );
        assert!(added().any(|(_, text)| text.contains("command: towline\n")));
        assert_eq!(plan(&root)["project"], "wall-lamp");
    }
}

#[test]
fn only_the_top_of_a_repository_gets_files() {
    let dir = repository_with(ARDUINO);
    let root = lamp(&dir);
    let made =
        std::process::Command::new("git").args(["init", "--quiet"]).current_dir(&root).status();
    assert!(made.unwrap().success());
    let before = all_files(&root);
    let error = fails(&root.join("string_lights"), &["init", "--yes"]);
    assert!(error.contains("inside the repository") && error.contains("--dir"), "{error}");
    assert_eq!(all_files(&root), before);
    done(&root, &["init", "--yes"]);
}

#[test]
fn a_dry_run_and_a_run_that_nobody_agreed_to_change_nothing() {
    let dir = repository_with(ESP_IDF);
    let before = all_files(&lamp(&dir));
    let shown = done(&lamp(&dir), &["init", "--dry-run"]);
    assert!(shown.contains("new towline.toml\n") && shown.contains("+ project = \"desk_lamp\""));
    let error = fails(&lamp(&dir), &["init"]);
    assert!(error.contains("nothing was written") && error.contains("--yes"), "{error}");
    fails(&lamp(&dir), &["init", "--json"]);
    assert_eq!(all_files(&lamp(&dir)), before);
}

#[test]
fn another_run_writes_only_what_is_missing() {
    let dir = repository_with(PLATFORMIO);
    let root = lamp(&dir);
    done(&root, &["init", "--yes"]);
    let whole = all_files(&root);
    fs::remove_file(root.join("channels.toml")).unwrap();
    let config = fs::read_to_string(root.join("towline.toml")).unwrap() + "\n# mine\n";
    fs::write(root.join("towline.toml"), &config).unwrap();
    // What a run that was killed while it wrote has left.
    fs::write(root.join(".towline-channels.toml-1-1"), "half").unwrap();
    let report = done(&root, &["init", "--yes", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["missing"], serde_json::json!(["channels.toml"]));
    let mut expected = whole;
    expected.insert("towline.toml".into(), config);
    assert_eq!(all_files(&root), expected);
    // With nothing missing there is nothing to agree to.
    done(&root, &["init"]);
    assert_eq!(all_files(&root), expected);
}

#[test]
fn where_it_is_published_is_said_or_is_the_pages_of_its_repository() {
    let dir = repository_with(ARDUINO);
    let root = lamp(&dir);
    let url = |arguments: &[&str]| {
        let report = done(&root, &[&["init", "--dry-run", "--json"], arguments].concat());
        serde_json::from_str::<serde_json::Value>(&report).unwrap()["base_url"].clone()
    };
    assert_eq!(url(&[]), "https://example.org/string_lights/");
    assert_eq!(url(&["--base-url", "https://example.net/x"]), "https://example.net/x/");
    for arguments in
        [&["init", "--quiet"][..], &["remote", "add", "origin", "git@github.com:Ann/lights.git"]]
    {
        assert!(
            std::process::Command::new("git")
                .args(arguments)
                .current_dir(&root)
                .status()
                .unwrap()
                .success()
        );
    }
    assert_eq!(url(&[]), "https://ann.github.io/lights/");
    assert_eq!(url(&["--github", "bob/x"]), "https://bob.github.io/x/");
}

#[test]
fn several_frameworks_are_a_choice_and_none_is_a_choice_too() {
    let both = [ESP_IDF, ARDUINO].concat();
    let dir = repository_with(&both);
    let error = fails(&lamp(&dir), &["init", "--yes"]);
    assert!(
        error.contains("ESP-IDF (CMakeLists.txt), Arduino (string_lights/string_lights.ino)")
            && error.contains("--kind"),
        "{error}"
    );
    done(&lamp(&dir), &["init", "--yes", "--kind", "arduino"]);
    assert_eq!(plan(&lamp(&dir))["targets"][0]["name"], "c3");

    // PlatformIO builds with the CMakeLists.txt beside its own file.
    let dir = repository_with(&[ESP_IDF, PLATFORMIO].concat());
    let framework = |arguments: &[&str]| {
        let report = done(&lamp(&dir), &[&["init", "--dry-run", "--json"], arguments].concat());
        serde_json::from_str::<serde_json::Value>(&report).unwrap()["framework"].clone()
    };
    assert_eq!(framework(&[]), "platformio");
    assert_eq!(framework(&["--kind", "esp-idf"]), "esp-idf");

    let dir = repository_with(&[
        ("Cargo.toml", "[package]\nname = \"desk\"\n[dependencies]\nserde = \"1\"\n"),
        ("CMakeLists.txt", "project(desk)\n"),
        ("platformio.ini", "\0\0[env:"),
    ]);
    let before = all_files(&lamp(&dir));
    let error = fails(&lamp(&dir), &["init", "--yes"]);
    for looked_for in ["esp-hal", "ESP-IDF", "espressif32", "Arduino", "--kind prebuilt"] {
        assert!(error.contains(looked_for), "{looked_for}: {error}");
    }
    let error = fails(&lamp(&dir), &["init", "--yes", "--kind", "arduino"]);
    assert!(error.contains("no Arduino was recognised"), "{error}");
    fails(&lamp(&dir), &["init", "--yes", "--kind", "prebuilt"]);
    assert_eq!(all_files(&lamp(&dir)), before);

    done(
        &lamp(&dir),
        &[
            "init",
            "--yes",
            "--kind",
            "prebuilt",
            "--chips",
            "esp32c3",
            "--base-url",
            "https://localhost/",
        ],
    );
    fs::create_dir(lamp(&dir).join("images")).unwrap();
    let image = app_image(Chip::Esp32c3, "lamp", "1.0.0", 5000);
    fs::write(lamp(&dir).join("images/esp32c3.bin"), image).unwrap();
    done(&lamp(&dir), &["release"]);
}

#[cfg(unix)]
#[test]
fn a_link_that_leads_out_of_the_repository_is_not_followed() {
    let dir = repository_with(ARDUINO);
    let outside = dir.path().join("outside.toml");
    std::os::unix::fs::symlink(&outside, lamp(&dir).join("towline.toml")).unwrap();
    assert_eq!(xtask(&lamp(&dir), &["init", "--yes"]).status.code(), Some(1));
    assert!(!outside.exists());
}
