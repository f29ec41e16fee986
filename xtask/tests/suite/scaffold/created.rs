//! `new`, and `cargo generate` on the same template.

use super::{all_files, assert_sound_workflows, done, fails};
use crate::support::{app_image, repository, text, xtask};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use towline_descriptor::Chip;
use xtask::config::{Build, Config};

fn json(printed: &str) -> serde_json::Value {
    serde_json::from_str(printed).unwrap()
}

#[test]
fn a_name_is_enough_for_a_project() {
    let dir = tempfile::tempdir().unwrap();
    let printed = done(dir.path(), &["new", "lamp"]);
    assert!(printed.contains("cd lamp\n") && printed.contains("cargo xtask release"), "{printed}");
    let project = dir.path().join("lamp");
    let files = all_files(&project);
    for (path, content) in &files {
        if path.ends_with(".toml") {
            assert!(content.parse::<toml::Table>().is_ok(), "{path}: {content}");
        }
        // `${{ }}` is GitHub's.
        let liquid = content.replace("${{", "").contains("{{") || content.contains("{%");
        assert!(!liquid || path.starts_with("firmware/src"), "{path}: {content}");
    }
    for path in ["firmware/Cargo.toml", "xtask/src/main.rs", ".cargo/config.toml", ".gitignore"] {
        assert!(files.contains_key(path), "{path} of {:?}", files.keys());
    }
    assert_eq!(fs::read_to_string(project.join(".git/HEAD")).unwrap(), "ref: refs/heads/main\n");
    assert_eq!(dir.path().read_dir().unwrap().count(), 1);
    assert_sound_workflows(&project);
    let plan = json(&done(&project, &["plan", "--json"]));
    assert_eq!((&plan["project"], &plan["version"]), (&"lamp".into(), &"0.1.0".into()));
    assert_eq!(plan["targets"][0]["name"], "esp32c3");
}

#[test]
fn each_option_of_a_project_stands_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let read =
        |project: &str| Config::read(&dir.path().join(project).join("towline.toml")).unwrap();
    done(
        dir.path(),
        &[
            "new",
            "lamp",
            "--path",
            "deep/er/lamp",
            "--chips",
            "esp32c6,esp32s3,esp32c6",
            "--github",
            "Ann/Lamp",
            "--no-git",
        ],
    );
    let config = read("deep/er/lamp");
    let targets: Vec<_> = config.targets.values().map(|target| target.chip).collect();
    assert_eq!(targets, [Chip::Esp32c6, Chip::Esp32s3]);
    assert_eq!(config.github.repository.unwrap().to_string(), "Ann/Lamp");
    assert_eq!(config.base_url, "https://ann.github.io/Lamp/");
    assert!(!dir.path().join("deep/er/lamp/.git").exists());

    done(
        dir.path(),
        &[
            "new",
            "fan_2.x",
            "--command",
            "make  CHIP={chip} all",
            "--output",
            "out/{chip}/fan.bin",
            "--chips",
            "esp32h2,esp32c5",
            "--base-url",
            "https://example.net/fan",
            "--json",
        ],
    );
    let config = read("fan_2.x");
    assert_eq!(config.github.repository, None);
    assert_eq!(config.project.as_str(), "fan_2.x");
    assert_eq!(config.base_url, "https://example.net/fan/");
    let root = dir.path().join("fan_2.x");
    let expected = Build::Command {
        command: ["make", "CHIP=esp32c5", "all"].map(str::to_owned).into(),
        dir: root.clone(),
        output: root.join("out/esp32c5/fan.bin"),
    };
    assert_eq!(config.targets[1].build, expected);
    assert!(!root.join("firmware").exists());
    assert_sound_workflows(&root);
    done(&root, &["plan"]);
}

#[test]
fn a_project_uses_the_packages_of_this_program_or_of_a_checkout() {
    let dir = tempfile::tempdir().unwrap();
    let pin = |project: &str, package: &str, dependency: &str| {
        let path = dir.path().join(project).join(package).join("Cargo.toml");
        let manifest: toml::Table = fs::read_to_string(path).unwrap().parse().unwrap();
        manifest["dependencies"][dependency].clone()
    };
    done(dir.path(), &["new", "lamp"]);
    done(dir.path(), &["new", "fan", "--towline", repository().to_str().unwrap()]);
    for (package, dependency, folder) in
        [("xtask", "xtask", "xtask"), ("firmware", "towline-device", "firmware/esp")]
    {
        let published = pin("lamp", package, dependency);
        assert_eq!(published["git"].as_str(), Some("https://github.com/towline-fw/towline"));
        let reference = published.get("rev").or(published.get("tag")).unwrap().as_str().unwrap();
        let workflow =
            fs::read_to_string(dir.path().join("lamp/.github/workflows/towline-release.yml"))
                .unwrap();
        assert!(workflow.contains(&format!("release.yml@{reference}\n")), "{workflow}");
        let path = repository().canonicalize().unwrap().join(folder);
        assert_eq!(pin("fan", package, dependency)["path"].as_str(), path.to_str());
    }
    let error = fails(dir.path(), &["new", "other", "--towline", "lamp"]);
    assert!(error.contains("no checkout of Towline"), "{error}");
}

#[test]
fn a_project_knows_its_repository_and_what_it_is_built_from() {
    let dir = tempfile::tempdir().unwrap();
    let towline = repository().to_str().unwrap();
    let printed = done(dir.path(), &["new", "lamp", "--github", "ann/lamp", "--towline", towline]);
    let project = dir.path().join("lamp");
    let config = fs::read_to_string(project.join(".git/config")).unwrap();
    assert!(config.contains("url = https://github.com/ann/lamp.git"), "{config}");
    // Packages of this checkout are there; those that the firmware has of its own may not be.
    let locks = ["xtask/Cargo.lock", "firmware/Cargo.lock"].map(|path| project.join(path).exists());
    assert!(locks[0], "{printed}");
    assert_eq!(printed.contains("commit the Cargo.lock files"), !locks[1], "{printed}");
}

#[test]
fn a_project_without_an_xtask_is_published_by_the_installed_program() {
    let dir = tempfile::tempdir().unwrap();
    let printed = done(dir.path(), &["new", "lamp", "--no-xtask", "--path", "my lamp"]);
    assert!(printed.contains("cd 'my lamp'\n  say"), "{printed}");
    assert!(printed.contains("towline release") && !printed.contains("cargo xtask"), "{printed}");
    let project = dir.path().join("my lamp");
    let files = all_files(&project);
    assert!(!files.keys().any(|path| path.starts_with("xtask/") || path.starts_with(".cargo/")));
    assert!(files.values().all(|text| !text.contains("cargo xtask")), "{files:?}");
    assert_sound_workflows(&project);
    done(&project, &["plan"]);
}

#[test]
fn a_dry_run_lists_the_files_and_writes_none() {
    let dir = tempfile::tempdir().unwrap();
    let planned = json(&done(dir.path(), &["new", "lamp", "--dry-run", "--json"]));
    assert_eq!(dir.path().read_dir().unwrap().count(), 0);
    let made = json(&done(dir.path(), &["new", "lamp", "--json"]));
    assert_eq!((&planned["files"], &planned["base_url"]), (&made["files"], &made["base_url"]));
    let files: Vec<_> = all_files(&dir.path().join("lamp")).into_keys().map(Into::into).collect();
    assert_eq!(made["files"], serde_json::Value::Array(files));
}

#[test]
fn nothing_takes_the_place_of_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("lamp")).unwrap();
    done(dir.path(), &["new", "lamp"]);
    let before = all_files(dir.path());
    let error = fails(dir.path(), &["new", "lamp"]);
    assert!(error.contains("not empty") && error.contains("--path"), "{error}");
    let error = fails(dir.path(), &["new", "fan", "--path", "lamp/towline.toml"]);
    assert!(error.contains("not empty"), "{error}");
    assert_eq!(all_files(dir.path()), before);
}

#[test]
fn what_cannot_be_a_project_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for (arguments, expected) in [
        (&["new", "fn"][..], "cargo package"),
        (&["new", "lamp", "--chips", "esp32h2"], "choose of esp32, "),
        (&["new", "lamp", "--kind", "command"], "--output build/lamp.bin"),
        (&["new", "lamp", "--command", "a 'b'", "--output", "c"], "put it into a script"),
        (&["new", "lamp", "--command", "a", "--output", "c", "--chips", "esp32,esp32c3"], "{chip}"),
        (&["new", "lamp", "--command", "a", "--output", "c\"d"], "not a valid value for output"),
        (&["new", "lamp", "--base-url", "http://example.org"], "such as https://"),
        (&["new", "lamp", "--github", "ann"], "OWNER/REPO"),
    ] {
        let error = fails(dir.path(), arguments);
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
    for arguments in [
        &["new", "a/b"][..],
        &["new", ".."],
        &["new", &"a".repeat(32)],
        &["new", "lamp", "--chips", "esp8266"],
        &["new", "lamp", "--command", "make"],
        &["new", "lamp", "--base-url", "https://h/", "--github", "a/b"],
    ] {
        assert_eq!(xtask(dir.path(), arguments).status.code(), Some(2), "{arguments:?}");
    }
    assert_eq!(dir.path().read_dir().unwrap().count(), 0);
}

#[test]
fn the_surroundings_of_a_user_do_not_change_a_project() {
    let dir = tempfile::tempdir().unwrap();
    done(dir.path(), &["new", "lamp"]);
    let home = dir.path().join("home");
    fs::create_dir(&home).unwrap();
    fs::write(home.join("cargo-generate.toml"), "[values]\nbase_url = \"https://evil.example/\"\n")
        .unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["new", "lamp", "--path", "other"])
        .current_dir(dir.path())
        .env("CARGO_HOME", &home)
        .env("CARGO_NET_OFFLINE", "true")
        .env("CARGO_GENERATE_VALUE_BASE_URL", "https://evil.example/")
        .env("CARGO_GENERATE_TEMPLATE_VALUES_FILE", "missing.toml")
        .env_remove("USER")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(all_files(&dir.path().join("lamp")), all_files(&dir.path().join("other")));
    // Inside a repository no other one is made.
    fs::create_dir(dir.path().join("other/.git")).unwrap_or_default();
    done(&dir.path().join("other"), &["new", "inner"]);
    assert!(!dir.path().join("other/inner/.git").exists());
}

#[test]
fn a_project_with_a_build_command_is_released_and_checked() {
    let dir = tempfile::tempdir().unwrap();
    done(
        dir.path(),
        &[
            "new",
            "lamp",
            "--command",
            "sh build.sh {chip}",
            "--output",
            "build/{chip}.bin",
            "--chips",
            "esp32c3,esp32s3",
            "--base-url",
            "https://localhost/",
        ],
    );
    let project = dir.path().join("lamp");
    // It stands for a build system: what it leaves are real images.
    fs::write(project.join("build.sh"), "mkdir -p build && cp images/$1.bin build/$1.bin\n")
        .unwrap();
    fs::create_dir(project.join("images")).unwrap();
    for chip in [Chip::Esp32c3, Chip::Esp32s3] {
        let image = app_image(chip, "lamp", "0.1.0", 20_000);
        fs::write(project.join(format!("images/{chip}.bin")), image).unwrap();
    }
    done(&project, &["release"]);
    done(&project, &["check", "--now", crate::support::NOW]);
    assert!(project.join("dist/site/ota/stable/esp32s3.json").exists());
}

/// Runs the program that `cargo generate` is.
fn cargo_generate(dir: &Path, name: &str, define: &[(&str, &str)]) -> PathBuf {
    let template = repository().join("templates/device");
    let program = xtask::tools::cargo_generate(repository());
    let mut command = Command::new(&program);
    command.args(["generate", "--silent", "--vcs", "none", "--name", name, "--path"]).arg(template);
    for (key, value) in define {
        command.arg("--define").arg(format!("{key}={value}"));
    }
    let output = command.current_dir(dir).env("CARGO_NAME", "Ann").env("CARGO_HOME", dir).output();
    let output = output.unwrap_or_else(|error| {
        panic!("{}: {error}; `cargo xtask ci --only test` builds it", program.display())
    });
    assert!(output.status.success(), "{}", text(&output.stderr));
    dir.join(name)
}

#[test]
fn the_real_cargo_generate_makes_the_same_files() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let checkout = repository().canonicalize().unwrap();
    let checkout = checkout.to_str().unwrap();
    let new = |arguments: &[&str]| {
        done(ours.path(), &[&["new"], arguments, &["--towline", checkout, "--no-git"]].concat());
    };
    let xtask = format!("path = \"{checkout}/xtask\"");
    let device = format!("path = \"{checkout}/firmware/esp\"");
    // Lock files are made by `new` alone.
    let made = |name: &str| {
        let mut files = all_files(&ours.path().join(name));
        files.retain(|path, _| !path.ends_with("Cargo.lock"));
        files
    };
    new(&["lamp", "--chips", "esp32c3,esp32c6", "--github", "ann/lamp"]);
    let workflow = ours.path().join("lamp/.github/workflows/towline-release.yml");
    let workflow = fs::read_to_string(workflow).unwrap();
    let reference = workflow.split("release.yml@").nth(1).unwrap().lines().next().unwrap();
    let common = [("towline_xtask", xtask.as_str()), ("towline_ref", reference)];
    let esp_hal = [
        ("chips", "esp32c3,esp32c6"),
        ("base_url", "https://ann.github.io/lamp/"),
        ("repository", "ann/lamp"),
        ("towline_device", &device),
    ];
    let generated = cargo_generate(theirs.path(), "lamp", &[&common[..], &esp_hal].concat());
    assert_eq!(made("lamp"), all_files(&generated));

    let command = [
        ("kind", "command"),
        ("build_command", "make {chip}"),
        ("output", "{chip}.bin"),
        ("chips", "esp32h2"),
    ];
    new(&["fan", "--command", "make {chip}", "--output", "{chip}.bin", "--chips", "esp32h2"]);
    let url = [("base_url", "https://example.org/fan/")];
    let generated = cargo_generate(theirs.path(), "fan", &[&common[..], &command, &url].concat());
    assert_eq!(made("fan"), all_files(&generated));
}

#[test]
fn the_real_cargo_generate_needs_no_answer() {
    let dir = tempfile::tempdir().unwrap();
    let project = cargo_generate(dir.path(), "lamp", &[]);
    done(&project, &["plan"]);
    // What it takes for the state of our packages is that of this version.
    let version = concat!("tag = \"v", env!("CARGO_PKG_VERSION"), "\"");
    for package in ["xtask", "firmware"] {
        let manifest = fs::read_to_string(project.join(package).join("Cargo.toml")).unwrap();
        assert!(manifest.contains(version), "{manifest}");
    }
    let workflow = fs::read_to_string(project.join(".github/workflows/towline-pages.yml")).unwrap();
    assert!(workflow.contains(concat!("pages.yml@v", env!("CARGO_PKG_VERSION"), "\n")));
}

#[test]
fn workflows_of_a_project_call_ours_as_those_say_that_they_are_called() {
    let read = |path: String| fs::read_to_string(repository().join(path)).unwrap();
    for name in ["pages", "preview", "refresh", "release"] {
        let ours = read(format!(".github/workflows/{name}.yml"));
        let theirs = read(format!("templates/device/.github/workflows/towline-{name}.yml"));
        let theirs = theirs.replace("{% raw %}", "").replace("{% endraw %}", "");
        // The head of ours shows a call.
        let shown = ours.lines().filter_map(|line| line.strip_prefix("#   "));
        for line in shown.map(|line| line.replace("@COMMIT", "@{{towline_ref}}")) {
            assert!(theirs.lines().any(|their| their == line), "{name}.yml: {line}\n{theirs}");
        }
        let given = theirs.lines().filter(|line| line.starts_with("      ")).filter(|line| {
            line.starts_with("      command:") || line.starts_with("      TOWLINE_CHANNEL_KEY:")
        });
        for line in given {
            let key = line.split_inclusive(':').next().unwrap();
            assert!(ours.lines().any(|line| line == key), "{name}.yml takes no{key}");
        }
    }
}

#[test]
fn a_project_builds_its_publisher_as_this_repository_does() {
    let profile = |path: &str| {
        let text = fs::read_to_string(repository().join(path)).unwrap();
        // The template is TOML but for one line.
        let text: String =
            text.lines().filter(|line| !line.contains("{{")).flat_map(|l| [l, "\n"]).collect();
        text.parse::<toml::Table>().unwrap()["profile"]["dev"].clone()
    };
    assert_eq!(profile("templates/device/xtask/Cargo.toml.liquid"), profile("Cargo.toml"));
}

#[cfg(unix)]
#[test]
fn no_file_of_the_template_is_a_program() {
    use std::os::unix::fs::PermissionsExt;
    let template = repository().join("templates/device");
    for path in all_files(&template).keys() {
        let mode = template.join(path).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o111, 0, "{path}: programs do not stay such in our program");
    }
}
