//! Signing what 3 channels serve to 13 targets.
//!
//! `cargo bench -p xtask --bench signing` prints the times, and fails if signing
//! takes longer than the limit: rendering a site of a project with keys, all
//! signed anew, against the same without keys. Times are wall times of whole
//! processes of the unoptimised build, for `cargo xtask` runs that.

#[path = "../tests/suite/firmware.rs"]
mod firmware;
#[path = "support/process.rs"]
mod process;

use firmware::{PARTITIONS, app_image};
use process::{seconds, unoptimised_xtask, xtask};
use std::{
    fs,
    path::Path,
    process::{Command, ExitCode},
};
use tempfile::TempDir;
use towline_descriptor::Chip;

/// Rounds that count; one more comes before them.
const ROUNDS: usize = 7;

/// Most seconds that signing 39 descriptors may take.
const LIMIT: f64 = 0.2;

const CHANNELS: [&str; 3] = ["stable", "testing", "nightly"];

fn main() -> ExitCode {
    let binary = unoptimised_xtask();
    let [plain, signed] = [project(), project()];
    seconds(&mut run(&binary, &signed, &["keys", "init"]));
    let [first_plain, first_signed] =
        [&plain, &signed].map(|project| seconds(&mut run(&binary, project, &["release"])));
    let mut times = Vec::new();
    for _ in 0..=ROUNDS {
        let plain = seconds(&mut run(&binary, &plain, &["site"]));
        let kept = seconds(&mut run(&binary, &signed, &["site"]));
        let anew = seconds(&mut run(&binary, &signed, &["site", "--refresh"]));
        times.push([plain, kept, anew]);
    }
    times.remove(0);
    println!("{} targets, {} channels, {ROUNDS} rounds", Chip::ALL.len(), CHANNELS.len());
    println!("first release, once: {first_plain:.3} s without keys, {first_signed:.3} s with keys");
    println!("rendering the site, median of whole processes in seconds");
    for (column, name) in
        ["without keys", "with keys, all kept", "with keys, all signed anew"].iter().enumerate()
    {
        println!("  {name:27} {:.3}", median(times.iter().map(|row| row[column])));
    }
    let signing = median(times.iter().map(|[plain, _, anew]| anew - plain));
    let verdict = if signing <= LIMIT { "kept" } else { "EXCEEDED" };
    println!("  {:27} {signing:.3}  limit {LIMIT}: {verdict}", "signing");
    if signing <= LIMIT { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Makes a project with a target for each chip.
fn project() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let write = |path: &str, bytes: &[u8]| fs::write(dir.path().join(path), bytes).unwrap();
    fs::create_dir_all(dir.path().join("project/images")).unwrap();
    let mut config = String::from("project = \"lamp\"\nbase-url = \"https://localhost/\"\n");
    let mut channels = String::new();
    for channel in CHANNELS {
        config += &format!("[channels.{channel}]\n");
        channels += &format!("[channels.{channel}]\nfollow = \"*\"\n");
    }
    for chip in Chip::ALL {
        config += &format!("[targets.{chip}]\nbuild.prebuilt = \"images/{chip}.bin\"\n");
        // espflash has no bootloader for it.
        if *chip != Chip::Esp32h21 {
            config += "partition-table = \"partitions.csv\"\n";
        }
        write(&format!("project/images/{chip}.bin"), &app_image(*chip, "lamp", "1.0.0", 40_000));
    }
    write("project/towline.toml", config.as_bytes());
    write("project/partitions.csv", PARTITIONS.as_bytes());
    write("project/channels.toml", channels.as_bytes());
    dir
}

fn run(binary: &Path, project: &TempDir, arguments: &[&str]) -> Command {
    let mut command = xtask(binary, arguments);
    command
        .current_dir(project.path().join("project"))
        .env("TOWLINE_KEYS", project.path().join("keys"))
        .env("TOWLINE_ROOT_PASSPHRASE", "correct horse battery");
    command
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
