//! Releases: what they leave, what they refuse, and what survives.

use crate::support::{Project, app_image, assert_tree, text, tree};
use std::fs;
use towline_descriptor::{Chip, Descriptor};

const CHIPS: [Chip; 2] = [Chip::Esp32c3, Chip::Esp32s3];

/// A project that has released 1.0.0.
fn released() -> Project {
    let project = Project::new(&CHIPS);
    project.build(&CHIPS, "1.0.0").done(&["release"]);
    project
}

fn descriptor_version(project: &Project, channel: &str, target: &str) -> String {
    let mut text = project.read(&format!("dist/site/ota/{channel}/{target}.json")).into_bytes();
    Descriptor::parse(&mut text).unwrap().version.to_string()
}

#[test]
fn a_release_leaves_a_site_without_problems() {
    let project = released();
    assert_eq!(project.done(&["check", "dist/site", "--json"]), "{\"problems\":[]}\n");
    for channel in ["stable", "testing"] {
        for target in ["esp32c3", "esp32s3"] {
            assert_eq!(descriptor_version(&project, channel, target), "1.0.0");
        }
    }
}

#[test]
fn prereleases_go_to_testing_only_and_promotion_serves_the_same_bytes() {
    let project = released();
    project.build(&CHIPS, "1.1.0-rc.1").done(&["release"]);
    assert_eq!(descriptor_version(&project, "stable", "esp32c3"), "1.0.0");
    assert_eq!(descriptor_version(&project, "testing", "esp32c3"), "1.1.0-rc.1");

    let images = || {
        let mut files = tree(&project.path("dist/site/firmware"));
        // Patches are for what channels serve.
        files.retain(|(path, _)| path.extension().is_none_or(|extension| extension != "twp"));
        files
    };
    let firmware = images();
    let shown = project.done(&["promote", "1.1.0-rc.1", "--to", "stable"]);
    assert!(shown.contains("+ pin = \"1.1.0-rc.1\""), "{shown}");
    project.done(&["site"]);
    assert_eq!(descriptor_version(&project, "stable", "esp32c3"), "1.1.0-rc.1");
    assert!(images() == firmware);
}

#[test]
fn a_promotion_never_goes_down_but_a_pin_may() {
    let project = released();
    project.build(&CHIPS, "1.1.0").done(&["release"]);
    let error = project.fails(&["promote", "1.0.0", "--to", "stable"]);
    assert!(
        error.contains("serves 1.1.0 already") && error.contains("xtask pin stable 1.0.0"),
        "{error}"
    );
    project.done(&["pin", "stable", "1.0.0"]);
    project.done(&["site"]);
    assert_eq!(descriptor_version(&project, "stable", "esp32c3"), "1.0.0");
    project.done(&["follow", "stable"]);
    project.done(&["site"]);
    assert_eq!(descriptor_version(&project, "stable", "esp32c3"), "1.1.0");
}

#[test]
fn a_yanked_release_is_served_no_more_and_the_reason_is_shown() {
    let project = released();
    project.build(&CHIPS, "1.1.0").done(&["release"]);
    project.done(&["yank", "1.1.0", "--reason", "loses <Wi-Fi>"]);
    project.done(&["site"]);
    assert_eq!(descriptor_version(&project, "testing", "esp32c3"), "1.0.0");
    let page = project.read("dist/site/index.html");
    assert!(page.contains("loses &lt;Wi-Fi&gt;"), "the reason is shown, escaped");
    // Devices that have it keep it until there is a higher one.
    let shown = project.done(&["check", "--json"]);
    assert!(shown.contains("\"problems\":[]") && !shown.contains("warnings"), "{shown}");
    assert!(shown.contains("\"code\":\"yanked-ahead\""), "{shown}");
    project.build(&CHIPS, "1.2.0").done(&["release"]);
    assert_eq!(project.done(&["check", "--json"]), "{\"problems\":[]}\n");
}

#[test]
fn a_dry_run_changes_nothing() {
    let project = released();
    let before = tree(&project.path("."));
    project.build(&CHIPS, "1.1.0");
    let plan = project.done(&["release", "--dry-run", "--json"]);
    let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
    assert_eq!(plan["version"], "1.1.0");
    assert_eq!(
        (&plan["channels"][0]["now"], &plan["channels"][0]["then"]),
        (&"1.0.0".into(), &"1.1.0".into())
    );
    project.done(&["yank", "1.0.0", "--dry-run"]);
    project.build(&CHIPS, "1.0.0");
    assert_tree(&project.path("."), &before);
}

#[test]
fn an_unchanged_run_is_byte_identical() {
    let project = released();
    let before = tree(&project.path("dist"));
    project.done(&["release"]);
    assert_tree(&project.path("dist"), &before);
    project.done(&["site"]);
    assert_tree(&project.path("dist"), &before);
    // And so is the same release made elsewhere.
    assert_tree(&released().path("dist"), &before);
}

#[test]
fn the_same_version_with_other_bytes_shows_both_hashes() {
    let project = released();
    let before = tree(&project.path("dist"));
    project.write("images/esp32c3.bin", app_image(Chip::Esp32c3, "lamp", "1.0.0", 39_000));
    let error = project.fails(&["release"]);
    assert!(error.contains("release 1.0.0 already exists with other bytes"), "{error}");
    assert_eq!(error.matches(" app ").count(), 2, "{error}");
    assert!(error.contains("hint: a release is immutable: raise the version"), "{error}");
    assert_tree(&project.path("dist"), &before);
}

#[test]
fn one_release_has_one_version_and_it_is_the_one_asked_for() {
    let project = Project::new(&CHIPS);
    project.build(&CHIPS, "1.0.0");
    project.build(&CHIPS[1..], "1.0.1");
    let error = project.fails(&["release"]);
    assert!(error.contains("one release has one version"), "{error}");
    project.build(&CHIPS, "1.0.0");
    let error = project.fails(&["release", "--version", "1.0.1"]);
    assert!(error.contains("is to be 1.0.1, but target esp32c3 was built as 1.0.0"), "{error}");
    assert!(!project.path("dist").exists());
    project.done(&["release", "--version", "v1.0.0"]);
}

#[test]
fn a_target_is_dropped_only_when_it_is_named() {
    let project = released();
    project.build(&CHIPS, "1.1.0");
    let error = project.fails(&["release", "--targets", "esp32c3"]);
    assert!(error.contains("targets that this one lacks: esp32s3"), "{error}");
    assert!(error.contains("--drop-target"), "{error}");
    project.done(&["release", "--drop-target", "esp32s3"]);
    assert_eq!(descriptor_version(&project, "stable", "esp32c3"), "1.1.0");
    assert_eq!(descriptor_version(&project, "stable", "esp32s3"), "1.0.0");
    assert_eq!(project.done(&["check", "--json"]), "{\"problems\":[]}\n");
}

#[test]
fn images_that_devices_could_not_use_are_refused() {
    let project = Project::new(&CHIPS[..1]);
    let good = app_image(Chip::Esp32c3, "lamp", "1.0.0", 1000);
    let mut flipped = good.clone();
    flipped[700] ^= 1;
    let faults: [(Vec<u8>, &str); 9] = [
        (
            app_image(Chip::Esp32c3, "fan", "1.0.0", 1000),
            "of project `fan`, towline.toml says `lamp`",
        ),
        (
            app_image(Chip::Esp32s3, "lamp", "1.0.0", 1000),
            "for chip id 9, the target is an esp32c3 (id 5)",
        ),
        (
            app_image(Chip::Esp32c3, "lamp", "1.0", 1000),
            "has version `1.0`: not a semantic version",
        ),
        (
            app_image(Chip::Esp32c3, "lamp", "1.0.0-aaaaaaaaaaaaaaaaaaaaaaaaaa", 1000),
            "at most 31 bytes",
        ),
        (
            app_image(Chip::Esp32c3, "lamp", "1.0.0", 0x1D_0000),
            "does not fit the smallest slot of 1900544 bytes",
        ),
        (flipped, "checksum is wrong"),
        (good[..500].to_vec(), "ends too early"),
        ([&good[..], &[0; 16]].concat(), "bytes follow the image"),
        (b"hello".to_vec(), "not an ESP image"),
    ];
    for (image, expected) in faults {
        project.write("images/esp32c3.bin", image);
        let error = project.fails(&["release"]);
        assert!(error.contains(expected), "{error}\nexpected: {expected}");
        assert!(!project.path("dist").exists());
    }
}

#[test]
fn a_bootloader_of_ones_own_has_to_be_one_of_the_chip() {
    let project = Project::new(&CHIPS[..1]);
    project.build(&CHIPS, "1.0.0").done(&["release"]);
    let bootloaders = |target: &str| {
        let folder = project.path("dist/site/firmware/lamp/1.0.0");
        let entries = folder.read_dir().unwrap().map(|entry| entry.unwrap().path());
        entries
            .into_iter()
            .find(|p| p.to_string_lossy().contains(&format!("{target}-bootloader")))
            .unwrap()
    };
    let other = Project::new(&CHIPS[1..]);
    other.build(&CHIPS, "1.0.0");
    let config = other.read("towline.toml");
    other.write("towline.toml", format!("{config}bootloader = \"boot.bin\"\n"));
    let error = other.fails(&["release"]);
    assert!(error.contains("boot.bin"), "{error}");
    fs::copy(bootloaders("esp32c3"), other.path("boot.bin")).unwrap();
    let error = other.fails(&["release"]);
    assert!(error.contains("bootloader of esp32s3: it is for another chip"), "{error}");
    other.write("boot.bin", "rubbish");
    let error = other.fails(&["release"]);
    assert!(error.contains("bootloader of esp32s3"), "{error}");
}

#[test]
fn a_partition_table_that_cannot_work_is_refused() {
    let project = Project::new(&CHIPS[..1]);
    project.build(&CHIPS, "1.0.0");
    for (table, expected) in [
        ("nvs, data, nvs, 0x9000, 0x4000\n", "No partition of type 'app'"),
        ("nvs, data, nvs, 0x9000, 0x4000\nota_0, app, ota_0, 0xb000, 0x10000\n", "partitions.csv"),
        ("rubbish", "partitions.csv"),
        ("ota_0, app, ota_0, 0x10000, 0x600000\n", "partition ota_0, which does not fit the flash"),
    ] {
        project.write("partitions.csv", table);
        let error = project.fails(&["release"]);
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_site_never_takes_the_place_of_something_else() {
    let project = Project::new(&CHIPS);
    project.build(&CHIPS, "1.0.0");
    fs::create_dir_all(project.path("dist/site")).unwrap();
    project.write("dist/site/thesis.txt", "years of work");
    let error = project.fails(&["release"]);
    assert!(error.contains("thesis.txt") && error.contains("--site-dir"), "{error}");
    assert_eq!(project.read("dist/site/thesis.txt"), "years of work");
}

#[test]
fn a_damaged_store_is_reported_and_mended_by_the_same_release() {
    let project = released();
    let (name, bytes) = tree(&project.path("dist/store/artifacts")).swap_remove(0);
    let path = project.path("dist/store/artifacts").join(name);
    let mut damaged = bytes.clone();
    damaged[10] ^= 1;
    fs::write(&path, damaged).unwrap();
    fs::remove_dir_all(project.path("dist/site")).unwrap();
    let error = project.fails(&["site"]);
    assert!(error.contains("has SHA-256") && error.contains("releases.json says"), "{error}");
    assert!(!project.path("dist/site").exists());
    project.done(&["release"]);
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[test]
fn notes_reach_page_and_descriptor_as_plain_text() {
    let project = Project::new(&CHIPS);
    project.build(&CHIPS, "1.0.0");
    project.write("notes.txt", "Brighter.\r\n<script>alert(1)</script>\n");
    project.done(&["release", "--notes", "notes.txt"]);
    let page = project.read("dist/site/index.html");
    assert!(page.contains("&lt;script&gt;alert(1)") && !page.contains("<script>alert"));
    let mut text = project.read("dist/site/ota/stable/esp32c3.json").into_bytes();
    assert_eq!(
        Descriptor::parse(&mut text).unwrap().notes,
        Some("Brighter.\n<script>alert(1)</script>")
    );
    project.write("notes.txt", "a\0b");
    assert!(project.fails(&["release", "--notes", "notes.txt"]).contains("control character"));
}

#[test]
fn long_notes_are_shortened_to_what_devices_read() {
    let project = Project::new(&CHIPS[..1]);
    project.build(&CHIPS, "1.0.0");
    project.write("notes.txt", "\u{e9}\"\\".repeat(2000));
    project.done(&["release", "--notes", "notes.txt"]);
    let mut text = project.read("dist/site/ota/stable/esp32c3.json").into_bytes();
    assert!(text.len() <= towline_descriptor::MAX_DOCUMENT);
    assert!(Descriptor::parse(&mut text).unwrap().notes.is_some());
}

#[test]
fn wrong_usage_is_exit_code_2_and_errors_are_1() {
    let project = Project::new(&CHIPS);
    assert_eq!(project.xtask(&["release", "--bogus"]).status.code(), Some(2));
    assert_eq!(
        project.xtask(&["promote", "not-a-version", "--to", "stable"]).status.code(),
        Some(2)
    );
    let error = project.fails(&["release", "--targets", "esp32h2"]);
    assert!(error.contains("hint: it has esp32c3, esp32s3"), "{error}");
    let error = project.fails(&["site"]);
    assert!(error.contains("hint: make one with `cargo xtask release`"), "{error}");
    let elsewhere = tempfile::tempdir().unwrap();
    let output = crate::support::xtask(elsewhere.path(), &["plan"]);
    assert!(text(&output.stderr).contains("--manifest"), "{}", text(&output.stderr));
}

#[test]
fn any_command_can_be_the_build_of_a_target() {
    let project = Project::new(&[]);
    project.write("made.bin", app_image(Chip::Esp32s2, "lamp", "2.0.0", 5000));
    let target = |command: &str| {
        format!(
            "project = \"lamp\"\nbase-url = \"https://localhost/\"\n[targets.esp32s2]\nbuild = {{ command = {command}, output = \"out.bin\" }}\n"
        )
    };
    project.write("towline.toml", target("[\"cp\", \"made.bin\", \"out.bin\"]"));
    project.done(&["release"]);
    assert_eq!(descriptor_version(&project, "stable", "esp32s2"), "2.0.0");
    project.write("towline.toml", target("[\"sh\", \"-c\", \"echo it broke; exit 3\"]"));
    assert!(project.fails(&["release"]).contains("it broke"));
    fs::remove_file(project.path("out.bin")).unwrap();
    project.write("towline.toml", target("[\"true\"]"));
    assert!(project.fails(&["release"]).contains("did not leave"));
}

#[test]
fn every_command_teaches_in_its_help() {
    let project = Project::new(&CHIPS);
    for command in [
        "doctor",
        "plan",
        "build",
        "release",
        "site",
        "promote",
        "pin",
        "follow",
        "yank",
        "check",
        "serve",
        "sim",
        "ci",
        "completions",
    ] {
        assert!(project.done(&[command, "--help"]).len() > 200, "{command}");
    }
    assert!(project.done(&["completions", "bash"]).contains("release"));
}

#[test]
fn a_damaged_site_is_mended_by_rendering_it_again() {
    let project = released();
    let site = project.path("dist/site");
    let before = tree(&site);
    for (path, bytes) in &before {
        // Other bytes of the same length, and no file at all.
        let mut damaged = bytes.clone();
        damaged[0] ^= 1;
        fs::write(site.join(path), damaged).unwrap();
        project.done(&["site"]);
        assert_tree(&site, &before);
        fs::remove_file(site.join(path)).unwrap();
        project.done(&["site"]);
        assert_tree(&site, &before);
    }
    // Receipts that are rubbish, or for other bytes, are no receipts.
    let receipts = project.read("dist/store/.checked.json");
    for text in ["", "[]", &receipts.replace("\"size\":", "\"size\":1")] {
        project.write("dist/store/.checked.json", text);
        project.done(&["site"]);
        assert_tree(&site, &before);
    }
}

#[test]
fn a_channel_is_never_left_without_a_release_in_silence() {
    let project = released();
    project.build(&CHIPS, "1.1.0").done(&["release"]);
    project.done(&["yank", "1.1.0", "--reason", "bad"]);
    for command in [&["pin", "stable", "1.1.0"][..], &["promote", "1.1.0", "--to", "stable"]] {
        let error = project.fails(command);
        assert!(error.contains("would serve nothing: release 1.1.0 was yanked: bad"), "{error}");
    }
    project.write("channels.toml", "[channels.stable]\npin = \"9.9.9\"\n");
    let before = tree(&project.path("dist/site"));
    let error = project.fails(&["site"]);
    assert!(error.contains("channel stable of channels.toml would serve nothing"), "{error}");
    assert_tree(&project.path("dist/site"), &before);
}

#[test]
fn a_project_or_a_chip_does_not_change_under_its_devices() {
    let project = released();
    let before = tree(&project.path("dist"));
    let config = project.read("towline.toml");
    project.build(&CHIPS, "1.1.0");
    project.write("images/esp32c3.bin", app_image(Chip::Esp32c6, "lamp", "1.1.0", 1000));
    project.write(
        "towline.toml",
        config.replace("[targets.esp32c3]", "[targets.esp32c3]\nchip = \"esp32c6\""),
    );
    let error = project.fails(&["release"]);
    assert!(error.contains("target esp32c3 is an esp32c6 now and was an esp32c3"), "{error}");
    for chip in CHIPS {
        project.write(&format!("images/{chip}.bin"), app_image(chip, "fan", "1.1.0", 1000));
    }
    project.write("towline.toml", config.replace("\"lamp\"", "\"fan\""));
    assert!(project.fails(&["release"]).contains("are of project lamp, this one is of fan"));
    assert_tree(&project.path("dist"), &before);
}

#[test]
fn tables_that_the_parser_does_not_understand_are_errors() {
    let project = Project::new(&CHIPS[..1]);
    project.build(&CHIPS, "1.0.0").done(&["release"]);
    let published = tree(&project.path("dist/site")).into_iter();
    let (path, bytes) = published
        .into_iter()
        .find(|(p, _)| p.to_string_lossy().contains("partition-table"))
        .unwrap();
    // Through the index too, as somebody else's site would have it.
    let index = project.read("dist/site/releases.json");
    for (at, value) in [(3, 0x77), (8, 0xFF), (11, 0xFF), (28, 0xFF), (0, 0x00), (2, 0x40)] {
        let mut table = bytes.clone();
        table[at] = value;
        let old = xtask::store::sha256(&bytes).to_string();
        let new = xtask::store::sha256(&table).to_string();
        fs::write(project.path("dist/site").join(&path), &table).unwrap();
        project.write("dist/site/releases.json", index.replace(&old, &new));
        assert_eq!(project.xtask(&["check"]).status.code(), Some(1), "byte {at}");
    }
    for line in [
        "x, data, 0x40, 0x9000, 0x1000",
        "x, data, nvs, 0x9000, 4096M",
        "x, 0x77, 1, 0x9000, 0x1000",
    ] {
        project.write("partitions.csv", format!("{line}\n{}", crate::support::PARTITIONS));
        let output = project.xtask(&["build"]);
        assert!(matches!(output.status.code(), Some(0 | 1)), "{line}: {}", text(&output.stderr));
    }
}

#[test]
fn what_a_build_prints_does_not_matter() {
    let project = Project::new(&[]);
    project.write("made.bin", app_image(Chip::Esp32s2, "lamp", "2.0.0", 5000));
    let script = "printf '\\\\377\\\\n'; i=0; while [ $i -lt 3000 ]; do echo a long line of output number $i; i=$((i+1)); done; cp made.bin out.bin";
    project.write("towline.toml", format!("project = \"lamp\"\nbase-url = \"https://localhost/\"\n[targets.esp32s2]\nbuild = {{ command = [\"sh\", \"-c\", \"{script}\"], output = \"out.bin\" }}\n"));
    project.done(&["release"]);
}

#[test]
fn the_manifest_flag_does_not_change_the_release() {
    let project = released();
    let before = tree(&project.path("dist"));
    project.done(&["release", "--manifest", "towline.toml"]);
    assert_tree(&project.path("dist"), &before);
}

#[test]
fn runs_at_the_same_time_wait_for_each_other() {
    let project = released();
    let before = tree(&project.path("dist/site"));
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| project.done(&["site"]));
            scope.spawn(|| project.done(&["release"]));
        }
    });
    assert_tree(&project.path("dist/site"), &before);
}

#[cfg(unix)]
#[test]
fn a_site_behind_a_link_is_replaced_where_it_is() {
    let project = Project::new(&CHIPS);
    fs::create_dir_all(project.path("elsewhere")).unwrap();
    fs::create_dir_all(project.path("dist")).unwrap();
    std::os::unix::fs::symlink("../elsewhere", project.path("dist/site")).unwrap();
    project.build(&CHIPS, "1.0.0").done(&["release"]);
    assert!(project.path("dist/site").is_symlink());
    assert!(project.path("elsewhere/releases.json").exists());
}

#[test]
fn the_installer_is_not_offered_a_choice_that_it_cannot_make() {
    let project = Project::new(&[]);
    project.write("a.bin", app_image(Chip::Esp32c3, "lamp", "1.0.0", 1000));
    project.write("b.bin", app_image(Chip::Esp32c3, "lamp", "1.0.0", 2000));
    let target = |name: &str| {
        format!(
            "[targets.{name}]\nchip = \"esp32c3\"\nbuild.prebuilt = \"{name}.bin\"\npartition-table = \"partitions.csv\"\n"
        )
    };
    project.write(
        "towline.toml",
        format!(
            "project = \"lamp\"\nbase-url = \"https://localhost/\"\n{}{}",
            target("a"),
            target("b")
        ),
    );
    project.done(&["release"]);
    assert!(project.read("dist/site/manifests/stable.json").contains("\"builds\": []"));
}

#[test]
fn a_plan_sees_missing_targets_as_the_release_does() {
    let project = released();
    project.build(&CHIPS, "1.1.0");
    let missing = |arguments: &[&str]| {
        let plan = project.done(&[&["release", "--dry-run", "--json"], arguments].concat());
        serde_json::from_str::<serde_json::Value>(&plan).unwrap()["missing"].clone()
    };
    assert_eq!(missing(&["--targets", "esp32c3"]), serde_json::json!(["esp32s3"]));
    assert_eq!(missing(&["--drop-target", "esp32s3"]), serde_json::json!([]));
    let error = project.fails(&["release", "--dry-run", "--drop-target", "esp32s3,esp32c3"]);
    assert!(error.contains("no target is left"), "{error}");
}
