//! A release of 6 targets on GitHub, without the time of compilers.
//!
//! ```text
//! images --release--> store --publish--> GitHub's double --site --from github--> site
//! ```
//!
//! `cargo bench -p xtask --bench github` prints the times, and fails if the first
//! release takes longer than the limit, or a run with nothing changed downloads
//! anything. Times are wall times of whole processes of the unoptimised build, for
//! `cargo xtask` runs that. Loopback has no distance: on the way to the real GitHub
//! each request takes longer, and there are as many as are printed.

#[path = "../tests/suite/github/double.rs"]
mod double;
#[path = "../tests/suite/firmware.rs"]
mod firmware;
#[path = "support/process.rs"]
mod process;

use double::{GitHub, Host};
use firmware::{PARTITIONS, app_image};
use process::{seconds, unoptimised_xtask, xtask};
use std::{fs, path::Path, process::ExitCode};
use tempfile::TempDir;
use towline_descriptor::Chip;

/// Rounds that count; one more comes before them.
const ROUNDS: usize = 5;

/// Most seconds that a release may take, from images to the site.
const LIMIT: f64 = 10.0;

const CHIPS: [Chip; 6] =
    [Chip::Esp32, Chip::Esp32s2, Chip::Esp32s3, Chip::Esp32c2, Chip::Esp32c3, Chip::Esp32c6];

/// Bytes of an app image.
const CONTENT: usize = 1_600_000;

const STEPS: [(&str, &[&str]); 4] = [
    ("release --no-site", &["release", "--no-site"]),
    ("publish", &["publish"]),
    ("site --from github", &["site", "--from", "github", "--store", "cache"]),
    ("the same, nothing changed", &["site", "--from", "github", "--store", "cache"]),
];

fn main() -> ExitCode {
    let binary = unoptimised_xtask();
    let mut rounds: Vec<_> = (0..=ROUNDS).map(|_| release(&binary)).collect();
    rounds.remove(0);
    println!(
        "{} targets, images of {} MB, {ROUNDS} rounds; median of whole processes in seconds",
        CHIPS.len(),
        CONTENT as f64 / 1e6
    );
    for (step, (name, _)) in STEPS.iter().enumerate() {
        let time = median(rounds.iter().map(|round| round[step].seconds));
        let Step { requests, downloads, .. } = rounds[0][step];
        println!("  {name:27} {time:.3}  {requests} requests, {downloads} downloads");
    }
    let all = median(rounds.iter().map(|round| round[..3].iter().map(|step| step.seconds).sum()));
    let is_quiet = rounds.iter().all(|round| round[3].downloads == 0);
    let verdict = |is_kept: bool| if is_kept { "kept" } else { "EXCEEDED" };
    println!("  {:27} {all:.3}  limit {LIMIT}: {}", "the first three", verdict(all <= LIMIT));
    println!("  nothing changed, nothing downloaded: {}", verdict(is_quiet));
    if all <= LIMIT && is_quiet { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What a step took.
struct Step {
    seconds: f64,
    requests: usize,
    downloads: usize,
}

/// Makes a release from images to the site, in a project of its own.
fn release(binary: &Path) -> Vec<Step> {
    let (github, project) = (GitHub::start(), project());
    let run = |(_, arguments): &(&str, &[&str])| {
        let mut command = xtask(binary, arguments);
        command.current_dir(project.path()).env_remove("GH_TOKEN").envs(github.variables());
        command.env("TOWLINE_KEYS", project.path().with_extension("keys"));
        let seconds = seconds(&mut command);
        let log = github.take_log();
        let downloads = log.iter().filter(|entry| entry.host == Host::Storage).count();
        Step { seconds, requests: log.len(), downloads }
    };
    STEPS.iter().map(run).collect()
}

fn project() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let write = |path: &str, bytes: &[u8]| fs::write(dir.path().join(path), bytes).unwrap();
    fs::create_dir(dir.path().join("images")).unwrap();
    let mut config = String::from(
        "project = \"lamp\"\nbase-url = \"https://localhost/\"\n[defaults]\npartition-table = \"partitions.csv\"\n",
    );
    for chip in CHIPS {
        config += &format!("[targets.{chip}]\nbuild.prebuilt = \"images/{chip}.bin\"\n");
        write(&format!("images/{chip}.bin"), &app_image(chip, "lamp", "1.0.0", CONTENT));
    }
    write("towline.toml", config.as_bytes());
    write("partitions.csv", PARTITIONS.as_bytes());
    dir
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
