//! Checking a site of many releases against `sha256sum` of the same files, side by
//! side in one run, with the memory that each took at its peak.
//!
//! ```text
//! images --xtask release, 40 times--> store --xtask site--> site --.
//!                                         xtask check <------------+--> timed, in turns
//!                                         sha256sum <--------------'
//! ```
//!
//! `cargo bench -p xtask --bench check` prints times, their ratio and the memory,
//! and fails if a limit is exceeded. With `-- RELEASES` it makes a smaller site. What
//! counts is the unoptimised build, for `cargo xtask` runs that. Linux tells the
//! memory; elsewhere it is left out.

#[path = "support/content.rs"]
mod content;
#[path = "../tests/suite/firmware.rs"]
mod firmware;
#[path = "support/process.rs"]
mod process;

use content::{fill, sign};
use firmware::{PARTITIONS, app_image};
use process::{seconds, unoptimised_xtask, xtask};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};
use towline_descriptor::Chip;

/// Releases of the site, if it is not said.
const RELEASES: usize = 40;

/// Bytes of content of each app image: the site has 500 MB with those.
const CONTENT: usize = 440_000;

/// Rounds that count; one more comes before them.
const ROUNDS: usize = 5;

/// Most of the time of `sha256sum` that a check may take.
const TIME_LIMIT: f64 = 2.0;

/// Most KiB that it may take.
const MEMORY_LIMIT: u64 = 64 << 10;

fn main() -> ExitCode {
    let releases = env::args().skip(1).find_map(|text| text.parse().ok()).unwrap_or(RELEASES);
    let unoptimised = unoptimised_xtask();
    let optimised = Path::new(env!("CARGO_BIN_EXE_xtask"));
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let dir = dir.path();
    publish(optimised, dir, releases);
    let site = dir.join("dist/site");
    let files = files(&site);
    let bytes: u64 = files.iter().map(|file| file.metadata().unwrap().len()).sum();
    println!(
        "{releases} releases x {} targets: {} files, {:.1} MB",
        Chip::ALL.len(),
        files.len(),
        bytes as f64 / 1e6
    );

    let check = |binary: &Path| {
        let mut command = xtask(binary, &["check", "dist/site"]);
        command.current_dir(dir);
        command
    };
    let sums = || {
        let mut command = Command::new("sha256sum");
        command.args(&files);
        command
    };
    let mut runs = [
        Run::new("sha256sum, one process", sums()),
        Run::new("xtask check, dev profile: what `cargo xtask` runs", check(&unoptimised)),
        Run::new("xtask check, release profile", check(optimised)),
    ];
    for round in 0..=ROUNDS {
        for run in &mut runs {
            run.measure(round > 0);
        }
    }
    let theirs = runs[0].median();
    let mut is_met = true;
    for run in &runs {
        let (ratio, memory) = (run.median() / theirs, run.memory);
        println!(
            "{:52} {:6.3} s  {ratio:5.2} x  {:6.1} MiB",
            run.name,
            run.median(),
            memory as f64 / 1024.0
        );
        is_met &= ratio <= TIME_LIMIT && memory <= MEMORY_LIMIT;
    }
    println!("limits: {TIME_LIMIT} x, {} MiB", MEMORY_LIMIT >> 10);
    if is_met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A command, and what it took.
struct Run {
    name: &'static str,
    command: Command,
    seconds: Vec<f64>,
    /// The most KiB that it had at once.
    memory: u64,
}

impl Run {
    fn new(name: &'static str, command: Command) -> Self {
        Self { name, command, seconds: Vec::new(), memory: 0 }
    }

    fn measure(&mut self, counts: bool) {
        let command = self.command.stdin(Stdio::null()).stdout(Stdio::null());
        let start = Instant::now();
        let mut child = command.spawn().unwrap();
        let mut memory = 0;
        let status = loop {
            memory = peak(&child).unwrap_or_default().max(memory);
            match child.try_wait().unwrap() {
                Some(status) => break status,
                None => thread::sleep(Duration::from_millis(1)),
            }
        };
        assert!(status.success(), "{:?}", self.command);
        if counts {
            self.seconds.push(start.elapsed().as_secs_f64());
            self.memory = self.memory.max(memory);
        }
    }

    fn median(&self) -> f64 {
        let mut seconds = self.seconds.clone();
        seconds.sort_by(f64::total_cmp);
        seconds[seconds.len() / 2]
    }
}

/// Returns the most KiB that a process has had at once, while it runs.
fn peak(child: &Child) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// Publishes so many releases for all chips.
fn publish(binary: &Path, dir: &Path, releases: usize) {
    let mut config = "project = \"lamp\"\nbase-url = \"https://localhost/\"\n[defaults]\npartition-table = \"partitions.csv\"\n".to_owned();
    fs::create_dir(dir.join("images")).unwrap();
    for chip in Chip::ALL {
        config += &format!("[targets.{chip}]\nbuild.prebuilt = \"images/{chip}.bin\"\n");
        if *chip == Chip::Esp32h21 {
            config += "bootloader = \"images/esp32h21-bootloader.bin\"\n";
        }
    }
    config += "[site]\nmax-size = \"2GB\"\n";
    fs::write(dir.join("towline.toml"), config).unwrap();
    fs::write(dir.join("partitions.csv"), PARTITIONS).unwrap();
    let run = |arguments: &[&str]| seconds(xtask(binary, arguments).current_dir(dir));
    let mut seed = 0x9E37_79B9_7F4A_7C15;
    for number in 0..releases {
        for chip in Chip::ALL {
            let mut image = app_image(*chip, "lamp", &format!("1.{number}.0"), CONTENT);
            fill(&mut image, CONTENT, &mut seed);
            fs::write(dir.join(format!("images/{chip}.bin")), image).unwrap();
        }
        if number == 0 {
            // espflash has no bootloader for it; one that is sound will do.
            run(&["build", "--out", "parts", "--targets", "esp32h2"]);
            let mut bootloader = fs::read(dir.join("parts/esp32h2-bootloader.bin")).unwrap();
            bootloader[12..14].copy_from_slice(&Chip::Esp32h21.id().to_le_bytes());
            sign(&mut bootloader);
            fs::write(dir.join("images/esp32h21-bootloader.bin"), bootloader).unwrap();
        }
        run(&["release", "--no-site"]);
    }
    run(&["site"]);
}

/// Returns all files below a folder.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files
}
