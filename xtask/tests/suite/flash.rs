//! A release goes onto a board: our command, and esptool, talk to an emulated
//! chip over a serial port.

use crate::{
    oracles::Oracles,
    support::{Project, text},
};
use serde_json::Value;
use std::{fs, process::Output};
use towline_descriptor::Chip;
use towline_rom::{Board, Faults, Options, Pty, SECTOR, State};
use xtask::{
    release::Role,
    site::{Index, IndexArtifact},
};

const CHIPS: [Chip; 3] = [Chip::Esp32, Chip::Esp32c3, Chip::Esp32s3];
/// The partition with settings in the table of the tests.
const NVS: std::ops::Range<usize> = 0x9000..0xD000;

/// A project that has released 1.0.0.
fn released(chips: &[Chip]) -> Project {
    let project = Project::new(chips);
    project.build(chips, "1.0.0").done(&["release"]);
    project
}

/// What the newest release puts onto a board: the files of its site.
fn parts(project: &Project, chip: Chip) -> Vec<(Role, u32, Vec<u8>)> {
    let site = project.path("dist/site");
    let index: Index = serde_json::from_str(&project.read("dist/site/releases.json")).unwrap();
    let release = index.releases.into_iter().next().unwrap();
    let target = release.targets.into_iter().find(|target| target.chip == chip).unwrap();
    let read = |file: &IndexArtifact| fs::read(site.join(file.path.as_ref().unwrap())).unwrap();
    target.parts.iter().map(|part| (part.role, part.offset, read(&part.file))).collect()
}

/// Connects a board that waits for a download, with something in all of its
/// flash.
fn used(options: Options) -> Pty {
    let mut board = Board::new(options).unwrap().in_download_mode();
    let size = board.options().flash_size;
    let content: Vec<u8> = (0..size).map(|at| (at >> 8 ^ at) as u8).collect();
    board.flash_mut().program(0, &content).unwrap();
    Pty::connect(board).unwrap()
}

fn content(port: &Pty) -> Vec<u8> {
    port.board().flash().bytes().to_vec()
}

/// Returns what flash has to be after `parts` were written over `before`.
fn written(before: &[u8], parts: &[(Role, u32, Vec<u8>)]) -> Vec<u8> {
    let mut flash = before.to_vec();
    for (_, offset, bytes) in parts {
        let start = *offset as usize;
        let sectors = bytes.len().next_multiple_of(SECTOR as usize);
        flash[start..start + sectors].fill(0xFF);
        flash[start..start + bytes.len()].copy_from_slice(bytes);
    }
    flash
}

fn flash(project: &Project, port: &Pty, arguments: &[&str]) -> Output {
    let path = port.path().to_str().unwrap();
    project.xtask(&[&["flash", "--port", path], arguments].concat())
}

#[track_caller]
fn done(output: &Output) -> Value {
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Returns the error of a command that has to fail.
#[track_caller]
fn error(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
    let error = text(&output.stderr);
    assert!(error.contains("hint: "), "{error}");
    error
}

#[test]
fn a_release_is_on_the_board_byte_for_byte_and_settings_stay() {
    let project = released(&CHIPS);
    for chip in CHIPS {
        let port = used(Options::new(chip));
        let before = content(&port);
        let outcome = done(&flash(&project, &port, &["--json"]));
        assert_eq!(outcome["chip"], chip.name());
        assert_eq!(outcome["target"], chip.name());
        assert_eq!(outcome["mac"], "7c:df:a1:00:12:34");
        assert_eq!((&outcome["written"], &outcome["verified"]), (&true.into(), &true.into()));
        // A pseudoterminal has no line that resets.
        assert_eq!(outcome["restarted"], false);

        let after = content(&port);
        assert!(after == written(&before, &parts(&project, chip)), "{chip}: flash differs");
        assert_eq!(after[NVS], before[NVS]);
        // And the board starts from it.
        let mut board = port.disconnect();
        board.take_output();
        board.reset();
        board.advance(std::time::Duration::from_millis(100));
        assert_eq!(board.state(), State::Firmware);
        assert!(text(&board.take_output()).ends_with("entry\r\n"));
    }
}

#[test]
fn erasing_takes_the_settings_too() {
    let project = released(&CHIPS);
    let port = used(Options::new(Chip::Esp32c3));
    let shown = flash(&project, &port, &["--erase"]);
    assert!(text(&shown.stdout).contains("esp32c3 1.0.0 is written and verified; press RESET"));
    let erased = vec![0xFF; 4 << 20];
    assert!(content(&port) == written(&erased, &parts(&project, Chip::Esp32c3)));
}

#[test]
fn a_second_flash_keeps_the_settings_of_the_first() {
    let project = released(&CHIPS);
    let port = used(Options::new(Chip::Esp32c3));
    done(&flash(&project, &port, &["--erase", "--json"]));
    port.board().flash_mut().program(NVS.start as u32, b"settings").unwrap();
    let before = content(&port);
    project.build(&CHIPS, "1.1.0").done(&["release"]);
    // The stub is gone, and with it its baud rate.
    assert_eq!(port.board().state(), State::Rom);
    assert_eq!(done(&flash(&project, &port, &["--json"]))["version"], "1.1.0");
    assert!(content(&port) == written(&before, &parts(&project, Chip::Esp32c3)));
    let old = flash(&project, &port, &["--version", "1.0.0", "--json"]);
    assert_eq!(done(&old)["version"], "1.0.0");
}

#[test]
fn a_wrong_chip_is_refused_before_anything_is_written() {
    let project = released(&CHIPS);
    let port = used(Options::new(Chip::Esp32c6));
    let before = content(&port);
    let shown = error(&flash(&project, &port, &["--target", "esp32c3"]));
    assert!(
        shown.contains("target esp32c3 is for an esp32c3, the board has an esp32c6"),
        "{shown}"
    );
    let shown = error(&flash(&project, &port, &[]));
    assert!(
        shown.contains("no release has parts for it (there are esp32, esp32c3, esp32s3)"),
        "{shown}"
    );
    let shown = error(&flash(&project, &port, &["--version", "9.9.9"]));
    assert!(shown.contains("there is no such release"), "{shown}");
    assert!(content(&port) == before);
}

#[test]
fn a_board_that_could_not_run_it_is_refused() {
    let project = released(&CHIPS);
    let c3 = || Options::new(Chip::Esp32c3);
    let refused = [
        (Options { flash_size: 2 << 20, ..c3() }, "is for 4 MiB of flash, the board has 2 MiB"),
        (Options { secure_boot: true, ..c3() }, "has secure boot"),
        (Options { flash_encryption: true, ..c3() }, "encrypts its flash"),
        (Options { secure_download: true, ..c3() }, "is in secure download mode"),
        (Options { secure_boot: true, ..Options::new(Chip::Esp32) }, "has secure boot"),
    ];
    for (options, reason) in refused {
        let port = used(options);
        let before = content(&port);
        let shown = error(&flash(&project, &port, &[]));
        assert!(shown.contains(reason), "{shown}");
        assert!(content(&port) == before, "{reason}");
    }
}

#[test]
fn settings_of_another_layout_are_not_overwritten() {
    let older = released(&CHIPS);
    older.write(
        "partitions.csv",
        "nvs, data, nvs, 0x9000, 0x6000\nfactory, app, factory, 0x10000, 0x100000\n",
    );
    older.build(&CHIPS, "2.0.0").done(&["release"]);
    let port = used(Options::new(Chip::Esp32c3));
    done(&flash(&older, &port, &["--erase", "--json"]));

    let project = released(&CHIPS);
    port.board().flash_mut().program(0xE800, b"settings").unwrap();
    let before = content(&port);
    let shown = error(&flash(&project, &port, &[]));
    let expected = "the otadata would overwrite settings in partition nvs";
    assert!(shown.contains(expected) && shown.contains("--erase"), "{shown}");
    assert!(content(&port) == before);

    // Nothing is lost where nothing was set.
    port.board().flash_mut().erase(0x9000, 0x6000).unwrap();
    done(&flash(&project, &port, &["--json"]));
}

#[test]
fn a_dry_run_writes_nothing() {
    let project = released(&CHIPS);
    let port = used(Options::new(Chip::Esp32));
    let before = content(&port);
    let outcome = done(&flash(&project, &port, &["--dry-run", "--erase", "--json"]));
    assert_eq!((&outcome["target"], &outcome["written"]), (&"esp32".into(), &false.into()));
    assert_eq!(outcome["parts"].as_array().unwrap().len(), 4);
    assert!(content(&port) == before);
}

#[test]
fn flash_that_is_not_what_was_written_is_reported() {
    let project = released(&CHIPS);
    let faults = Faults { corrupt_block: Some(2), ..Faults::default() };
    let port = used(Options { faults, ..Options::new(Chip::Esp32c3) });
    let shown = error(&flash(&project, &port, &[]));
    assert!(shown.contains("is not in flash as it was written"), "{shown}");
    // Whoever does not want to know is told that it was not looked at.
    let port = Pty::connect(port.disconnect().in_download_mode()).unwrap();
    let shown = text(&flash(&project, &port, &["--no-verify"]).stdout);
    assert!(shown.contains("esp32c3 1.0.0 is written, not verified"), "{shown}");
}

#[test]
fn a_port_that_cannot_be_used_is_told() {
    let project = released(&CHIPS);
    let shown = project.fails(&["flash", "--port", "/dev/no-such-port"]);
    assert!(shown.contains("there is no port /dev/no-such-port\nhint: "), "{shown}");
    let shown = project.fails(&["flash", "--port", "/dev/null"]);
    assert!(shown.contains("opening /dev/null"), "{shown}");
    let port = used(Options::new(Chip::Esp32c3));
    let other = serialport::new(port.path().to_str().unwrap(), 115_200).open().unwrap();
    let shown = error(&flash(&project, &port, &[]));
    assert!(shown.contains("is in use by another program"), "{shown}");
    drop(other);
    done(&flash(&project, &port, &["--dry-run", "--json"]));
}

#[test]
fn flash_that_cannot_be_erased_is_reported() {
    let project = released(&CHIPS);
    let faults = Faults { erase_fails_at: Some(0x8000), ..Faults::default() };
    let port = used(Options { faults, ..Options::new(Chip::Esp32c3) });
    let shown = error(&flash(&project, &port, &[]));
    assert!(shown.contains("writing the partition-table on /dev/"), "{shown}");
}

#[test]
fn a_connection_that_is_lost_is_reported_and_a_second_run_completes() {
    let project = released(&CHIPS);
    let mut port = used(Options::new(Chip::Esp32c3));
    // The stub alone is some 8 KB; the release is about 30 KB compressed.
    for count in [40, 5_000, 12_000, 20_000, 30_000] {
        let mut board = port.disconnect().in_download_mode();
        board.mend(Faults { unplugged_after: Some(count), ..Faults::default() });
        port = Pty::connect(board).unwrap();
        let shown = error(&flash(&project, &port, &[]));
        assert!(port.is_unplugged() && shown.contains(" on /dev/"), "{count}: {shown}");
    }
    let mut board = port.disconnect().in_download_mode();
    board.mend(Faults::default());
    let port = Pty::connect(board).unwrap();
    done(&flash(&project, &port, &["--json"]));
    let after = content(&port);
    for (role, offset, bytes) in parts(&project, Chip::Esp32c3) {
        assert!(after[offset as usize..][..bytes.len()] == bytes, "{role:?}");
    }
}

#[test]
fn a_chip_that_runs_its_firmware_is_not_reached_and_the_hint_says_how() {
    let project = released(&CHIPS);
    let mut board = Board::new(Options::new(Chip::Esp32c3)).unwrap();
    board.advance(std::time::Duration::from_secs(1));
    let port = Pty::connect(board).unwrap();
    let shown = error(&flash(&project, &port, &[]));
    assert!(shown.contains("no chip answers on /dev/"), "{shown}");
    assert!(shown.contains("hint: this port cannot reset the chip: hold BOOT"), "{shown}");
}

#[test]
fn several_targets_for_a_chip_are_told_apart_by_name_or_flash() {
    let project = Project::new(&[Chip::Esp32c3]);
    let mut config = project.read("towline.toml");
    config += "[targets.big]\nchip = \"esp32c3\"\nflash-size = \"8MB\"\nbuild.prebuilt = \"images/esp32c3.bin\"\n";
    project.write("towline.toml", config);
    project.build(&[Chip::Esp32c3], "1.0.0").done(&["release"]);
    let small = used(Options::new(Chip::Esp32c3));
    assert_eq!(done(&flash(&project, &small, &["--dry-run", "--json"]))["target"], "esp32c3");
    let large = used(Options { flash_size: 8 << 20, ..Options::new(Chip::Esp32c3) });
    let shown = error(&flash(&project, &large, &["--dry-run"]));
    assert!(shown.contains("several targets for an esp32c3: esp32c3, big"), "{shown}");
    let named = flash(&project, &large, &["--dry-run", "--json", "--target", "big"]);
    assert_eq!(done(&named)["target"], "big");
}

/// The emulated board is judged by esptool, which shares nothing with it.
#[test]
fn esptool_writes_verifies_and_reads_the_same_board() {
    let Some(oracles) = Oracles::find() else { return };
    let modelled = [Chip::Esp32, Chip::Esp32c2, Chip::Esp32c3, Chip::Esp32c6, Chip::Esp32s3];
    let project = released(&modelled);
    for chip in modelled {
        let parts = parts(&project, chip);
        let mut files = Vec::new();
        for (role, offset, bytes) in &parts {
            let file = project.path(role.as_str());
            fs::write(&file, bytes).unwrap();
            files.extend([format!("{offset:#x}"), file.display().to_string()]);
        }
        let files: Vec<_> = files.iter().map(String::as_str).collect();
        let keep = ["--flash-mode", "keep", "--flash-freq", "keep", "--flash-size", "keep"];
        for stub in [&["--baud", "460800"][..], &["--no-stub"]] {
            let port = used(Options::new(chip));
            let before = content(&port);
            let esptool = |port: &Pty, arguments: &[&str]| {
                let path = port.path().to_str().unwrap();
                let connect = ["--port", path, "--before", "no-reset", "--after", "no-reset"];
                let output = oracles.esptool([&connect, stub, arguments].concat());
                assert!(output.status.success(), "{chip}: {}", text(&output.stdout));
                text(&output.stdout)
            };
            let shown = esptool(&port, &[&["write-flash"], &keep[..], &files].concat());
            assert!(shown.contains(chip.family()), "{shown}");
            assert!(shown.contains("7c:df:a1:00"), "{shown}");
            assert_eq!(shown.matches("Hash of data verified").count(), parts.len(), "{shown}");
            assert!(content(&port) == written(&before, &parts), "{chip} {stub:?}");
            if stub[0] != "--no-stub" {
                let read = project.path("read");
                let file = read.to_str().unwrap();
                esptool(&port, &["read-flash", "0x3000", "0x8000", file]);
                assert!(fs::read(&read).unwrap() == content(&port)[0x3000..0xB000]);
            }

            // And what our command writes, esptool finds.
            let port = used(Options::new(chip));
            done(&flash(&project, &port, &["--json"]));
            esptool(&port, &[&["verify-flash"], &keep[..], &files].concat());
        }
    }
}
