//! Publishing 13 chips on 3 channels from prebuilt images, against esptool and
//! a short Python script, side by side in one run.
//!
//! ```text
//! images --xtask release--> store, site --.
//! images --publish.py-----> site ---------+--> compared byte for byte, then timed
//! ```
//!
//! `cargo bench -p xtask --bench publish` prints the times and ratios, and fails
//! if a limit is exceeded or the two sites differ. Times are wall times of whole
//! processes. What counts is the unoptimised build, for `cargo xtask` runs that.
//! It needs the Python environment of the tests, target/oracles.
//!
//! A release is immutable, and its version is in every image. A re-run with one
//! target changed is therefore a new release of that target beside the others,
//! which stay on theirs. What is run again too: a release that was killed before
//! its record, a channel that was promoted, and a release that is there already.

#[path = "support/content.rs"]
mod content;
#[path = "../tests/suite/firmware.rs"]
mod firmware;
#[path = "support/process.rs"]
mod process;

use ::xtask::tools;
use content::{fill, sign};
use firmware::{PARTITIONS, app_image};
use process::{cargo, repository, seconds, unoptimised_xtask, xtask};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    thread,
};
use towline_descriptor::Chip;

const PROJECT: &str = "lamp";
const VERSION: &str = "1.0.0";
const BASE_URL: &str = "https://localhost/";
const CHANNELS: [&str; 3] = ["stable", "testing", "nightly"];

/// Bytes of content of each app image, as many as firmware with Wi-Fi has.
const CONTENT: usize = 1_600_000;

/// Rounds that count; one more comes before them.
const ROUNDS: usize = 7;

/// Most of the time of the Python script that a first release may take.
const FULL_LIMIT: f64 = 0.2;

/// Most of the time of a first release that a re-run may take.
const AGAIN_LIMIT: f64 = 0.3;

/// Most seconds that `--help` may take.
const HELP_LIMIT: f64 = 0.3;

/// Who publishes.
const PYTHON: &str = "Python script with esptool";
const DEV: &str = "xtask, dev profile: what `cargo xtask` runs";
const RELEASE: &str = "xtask, release profile";

/// What is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Run {
    ProcessPerTarget,
    InProcess,
    First,
    OneTarget,
    Killed,
    Promoted,
    Unchanged,
    Help,
    CargoHelp,
}

const PYTHON_RUNS: [Run; 2] = [Run::ProcessPerTarget, Run::InProcess];

impl Run {
    const fn as_str(self) -> &'static str {
        match self {
            Self::ProcessPerTarget => "a process per target",
            Self::InProcess => "esptool imported once",
            Self::First => "first release",
            Self::OneTarget => "one target changed",
            Self::Killed => "completion of a killed run",
            Self::Promoted => "promote, then site",
            Self::Unchanged => "the same release again",
            Self::Help => "the binary alone",
            Self::CargoHelp => "with cargo",
        }
    }
}

fn main() -> ExitCode {
    let python = tools::oracles_dir(repository()).join("bin/python");
    if !python.exists() {
        eprintln!("target/oracles is missing: `cargo xtask ci --only test` installs it");
        return ExitCode::FAILURE;
    }
    let unoptimised = unoptimised_xtask();
    let project = Project::new(&unoptimised);
    let mut times = Times::default();
    for round in 0..=ROUNDS {
        if round == 1 {
            times = Times::default();
        }
        // Every round is removed, lest each write to memory that no one has
        // touched before.
        let results = project.path("results");
        let [ours, optimised, one_by_one, at_once] =
            ["dev", "release", "processes", "in-process"].map(|name| results.join(name));
        let mut runs: [&dyn Fn(&mut Times); 4] = [
            &|times| project.publish(&unoptimised, &ours, times),
            &|times| project.python(&python, Run::ProcessPerTarget, &one_by_one, times),
            &|times| project.publish_optimised(&optimised, times),
            &|times| project.python(&python, Run::InProcess, &at_once, times),
        ];
        // None always finds the caches as the same other one left them.
        runs.rotate_left(round % 4);
        for run in runs {
            run(&mut times);
        }
        // The first release again: the other site has gone on since.
        let first = ours.with_extension("killed").join("site");
        for theirs in [&one_by_one, &at_once] {
            compare(&first, theirs);
        }
        fs::remove_dir_all(results).unwrap();
    }
    for _ in 0..ROUNDS {
        times.add(DEV, Run::Help, seconds(&mut xtask(&unoptimised, &["--help"])));
        times.add(DEV, Run::CargoHelp, seconds(&mut cargo(&["xtask", "--help"])));
    }
    if report(&times) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A project, and what both sides publish of it.
struct Project {
    dir: tempfile::TempDir,
}

impl Project {
    /// Makes the images of all chips, and lets `binary` make the parts that the
    /// Python script is given.
    fn new(binary: &Path) -> Self {
        // Where a project's own results would be, not in memory.
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let project = Self { dir };
        let mut config = format!(
            "project = \"{PROJECT}\"\nbase-url = \"{BASE_URL}\"\n[defaults]\npartition-table = \"partitions.csv\"\n",
        );
        for channel in CHANNELS {
            config += &format!("[channels.{channel}]\n");
        }
        let mut seed = 0x9E37_79B9_7F4A_7C15;
        fs::create_dir(project.path("images")).unwrap();
        for chip in Chip::ALL {
            config += &format!("[targets.{chip}]\nbuild.prebuilt = \"images/{chip}.bin\"\n");
            if *chip == Chip::Esp32h21 {
                config += "bootloader = \"images/esp32h21-bootloader.bin\"\n";
            }
            let mut image = app_image(*chip, PROJECT, VERSION, CONTENT);
            fill(&mut image, CONTENT, &mut seed);
            fs::write(project.path(format!("images/{chip}.bin")), image).unwrap();
        }
        fs::write(project.path("towline.toml"), config).unwrap();
        fs::write(project.path("partitions.csv"), PARTITIONS).unwrap();
        fs::write(project.path("channels.toml"), following()).unwrap();

        // espflash has no bootloader for it; one that is sound will do.
        let build = |targets: &str| {
            let arguments = ["build", "--out", "parts", "--targets", targets];
            seconds(xtask(binary, &arguments).current_dir(project.dir.path()));
        };
        build("esp32h2");
        let mut bootloader = fs::read(project.path("parts/esp32h2-bootloader.bin")).unwrap();
        bootloader[12..14].copy_from_slice(&Chip::Esp32h21.id().to_le_bytes());
        sign(&mut bootloader);
        fs::write(project.path("images/esp32h21-bootloader.bin"), bootloader).unwrap();
        build(&Chip::ALL.iter().map(|chip| chip.name()).collect::<Vec<_>>().join(","));
        fs::write(project.path("plan.json"), project.plan().to_string()).unwrap();
        project
    }

    /// Returns what the Python script is told.
    fn plan(&self) -> Value {
        let target = |chip: &Chip| {
            let parts = [
                ("bootloader", chip.bootloader_offset()),
                ("partition-table", 0x8000),
                ("otadata", 0xD000),
                ("app", 0x1_0000),
            ];
            let part = |(role, offset): (&str, u32)| {
                let file = self.path(format!("parts/{chip}-{role}.bin"));
                json!({ "role": role, "offset": offset, "file": file })
            };
            json!({
                "target": chip,
                "chip": chip,
                "chip_id": chip.id(),
                "family": chip.family(),
                "parts": parts.map(part),
            })
        };
        json!({
            "project": PROJECT,
            "title": PROJECT,
            "version": VERSION,
            "base_url": BASE_URL,
            "channels": CHANNELS,
            "targets": sorted_by_name().iter().map(target).collect::<Vec<_>>(),
        })
    }

    fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(path)
    }

    /// Runs the publisher with its results in `dist`, and returns the seconds
    /// that it took.
    fn xtask(&self, binary: &Path, arguments: &[&str], dist: &Path) -> f64 {
        let mut command = xtask(binary, arguments);
        command.current_dir(self.dir.path()).arg("--store").arg(dist.join("store"));
        if arguments[0] != "promote" {
            command.arg("--site-dir").arg(dist.join("site"));
        }
        seconds(&mut command)
    }

    /// Times the first release, and everything that is run again after it.
    fn publish(&self, binary: &Path, dist: &Path, times: &mut Times) {
        let mut run = |run, commands: &[&[&str]], dist: &Path| {
            let seconds = commands.iter().map(|arguments| self.xtask(binary, arguments, dist));
            times.add(DEV, run, seconds.sum());
        };
        run(Run::First, &[&["release"]], dist);
        let site = tree(&dist.join("site"));

        run(Run::Unchanged, &[&["release"]], dist);
        assert!(site == tree(&dist.join("site")), "an unchanged re-run changed the site");

        run(Run::Promoted, &[&["promote", VERSION, "--to", "stable"], &["site"]], dist);
        fs::write(self.path("channels.toml"), following()).unwrap();

        let changed = Chip::Esp32c3;
        let image = self.path(format!("images/{changed}.bin"));
        let old = fs::read(&image).unwrap();
        let mut new = app_image(changed, PROJECT, "1.0.1", CONTENT);
        fill(&mut new, CONTENT, &mut 0x2545_F491_4F6C_DD1D);
        fs::write(&image, new).unwrap();
        let others = Chip::ALL.iter().filter(|chip| **chip != changed).map(|chip| chip.name());
        let others = others.collect::<Vec<_>>().join(",");
        run(Run::OneTarget, &[&["release", "--drop-target", &others]], dist);
        fs::write(&image, old).unwrap();
        let descriptor = fs::read_to_string(dist.join("site/ota/stable/esp32c3.json")).unwrap();
        assert!(descriptor.contains("\"version\": \"1.0.1\""), "{descriptor}");

        // As a run leaves it that is killed before the images of its last
        // target.
        let killed = dist.with_extension("killed");
        fs::create_dir_all(killed.join("store/artifacts")).unwrap();
        let last = Chip::ALL.last().unwrap();
        let missing = ["app", "factory"].map(|role| {
            let image = fs::read(self.path(format!("parts/{last}-{role}.bin"))).unwrap();
            hex(&Sha256::digest(image))
        });
        for entry in dist.join("store/artifacts").read_dir().unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if !missing.contains(&name) {
                let artifact = Path::new("store/artifacts").join(name);
                fs::copy(dist.join(&artifact), killed.join(&artifact)).unwrap();
            }
        }
        run(Run::Killed, &[&["release"]], &killed);
        assert!(site == tree(&killed.join("site")), "a completed run made another site");
    }

    /// Times the first release by the optimised build.
    fn publish_optimised(&self, dist: &Path, times: &mut Times) {
        let binary = Path::new(env!("CARGO_BIN_EXE_xtask"));
        times.add(RELEASE, Run::First, self.xtask(binary, &["release"], dist));
    }

    /// Times the Python script.
    fn python(&self, python: &Path, run: Run, site: &Path, times: &mut Times) {
        let mut command = Command::new(python);
        // As nothing of the user's Python environment changes it.
        command.arg("-I").arg(repository().join("xtask/benches/publish.py"));
        command.arg(self.path("plan.json")).arg(site);
        if run == Run::InProcess {
            command.arg("--in-process");
        }
        times.add(PYTHON, run, seconds(&mut command));
    }
}

/// Compares what the two sides published.
fn compare(ours: &Path, theirs: &Path) {
    let (ours, theirs) = (tree(ours), tree(theirs));
    let of = |site: &BTreeMap<PathBuf, Vec<u8>>, folder: &str| -> BTreeMap<_, _> {
        let files = site.iter().filter(|(path, _)| path.starts_with(folder));
        files.map(|(path, bytes)| (path.clone(), bytes.clone())).collect()
    };
    // Five artifacts a target, their hashes in their names; and our sums.
    let mut artifacts = of(&ours, "firmware");
    artifacts.retain(|path, _| path.extension().is_some_and(|extension| extension == "bin"));
    assert_eq!(artifacts.len(), Chip::ALL.len() * 5);
    assert!(artifacts == of(&theirs, "firmware"), "the artifacts differ");
    let descriptors = Chip::ALL.len() * CHANNELS.len();
    for (folder, count) in [("ota", descriptors), ("manifests", CHANNELS.len())] {
        let parse = |site| -> BTreeMap<_, Value> {
            let files = of(site, folder).into_iter();
            files.map(|(path, text)| (path, serde_json::from_slice(&text).unwrap())).collect()
        };
        let ours = parse(&ours);
        assert_eq!(ours.len(), count);
        assert_eq!(ours, parse(&theirs));
    }
}

/// Returns the chips as a manifest lists them.
fn sorted_by_name() -> Vec<Chip> {
    let mut chips = Chip::ALL.to_vec();
    chips.sort_by_key(|chip| chip.name());
    chips
}

/// Returns the channels.toml of channels that all serve the newest release.
fn following() -> String {
    CHANNELS.map(|channel| format!("[channels.{channel}]\nfollow = \"*\"\n")).concat()
}

/// Returns every file below `dir` with its bytes.
fn tree(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = fs::read(&path).unwrap();
                files.insert(path.strip_prefix(dir).unwrap().to_owned(), bytes);
            }
        }
    }
    files
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Seconds of every run in the order of the rounds, by who ran what.
#[derive(Default)]
struct Times(BTreeMap<(&'static str, Run), Vec<f64>>);

impl Times {
    fn add(&mut self, who: &'static str, run: Run, seconds: f64) {
        self.0.entry((who, run)).or_default().push(seconds);
    }

    fn median(&self, who: &'static str, run: Run) -> f64 {
        sorted(self.0[&(who, run)].iter().copied())[ROUNDS / 2]
    }

    /// Returns the median of the ratios of a run to another of the same round:
    /// what else the machine does changes from round to round.
    fn ratio(&self, run: (&'static str, Run), other: (&'static str, Run)) -> f64 {
        let pairs = self.0[&run].iter().zip(&self.0[&other]);
        sorted(pairs.map(|(run, other)| run / other))[ROUNDS / 2]
    }

    /// Returns median and range as a row of the report.
    fn row(&self, who: &'static str, run: Run) -> String {
        let seconds = sorted(self.0[&(who, run)].iter().copied());
        let (lowest, highest) = (seconds[0], seconds[ROUNDS - 1]);
        let median = seconds[ROUNDS / 2];
        format!("  {:27} {median:.3} ({lowest:.3} to {highest:.3})", run.as_str())
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// Prints times and ratios. Returns whether all limits are kept.
fn report(times: &Times) -> bool {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let (chips, channels, megabytes) = (Chip::ALL.len(), CHANNELS.len(), CONTENT as f64 / 1e6);
    println!(
        "\n{chips} chips, {channels} channels, app images of {megabytes} MB; {cores} cores, {ROUNDS} rounds"
    );
    println!("wall time of whole processes in seconds: median (lowest to highest)");
    println!("ratios are medians of the ratios within a round");

    println!("\n{PYTHON}");
    for run in PYTHON_RUNS {
        println!("{}", times.row(PYTHON, run));
    }
    let mut kept = true;
    let mut judge = |what: &str, ratio: f64, limit: f64| {
        kept &= ratio <= limit;
        let verdict = if ratio <= limit { "kept" } else { "EXCEEDED" };
        println!("    {what:27} {ratio:.2} x  limit {limit}: {verdict}");
    };
    let show = |what: &str, ratio: f64| println!("    {what:27} {ratio:.2} x");
    let of_python = |who, run| times.ratio((who, Run::First), (PYTHON, run));
    let of_first = |run| times.ratio((DEV, run), (DEV, Run::First));

    println!("\n{DEV}\n{}", times.row(DEV, Run::First));
    judge("of a process per target", of_python(DEV, Run::ProcessPerTarget), FULL_LIMIT);
    show("of esptool imported once", of_python(DEV, Run::InProcess));
    println!("{}", times.row(DEV, Run::OneTarget));
    judge("of the first release", of_first(Run::OneTarget), AGAIN_LIMIT);
    for run in [Run::Promoted, Run::Unchanged, Run::Killed] {
        println!("{}", times.row(DEV, run));
        show("of the first release", of_first(run));
    }

    println!("\n{RELEASE}\n{}", times.row(RELEASE, Run::First));
    show("of a process per target", of_python(RELEASE, Run::ProcessPerTarget));
    show("of esptool imported once", of_python(RELEASE, Run::InProcess));

    println!("\n--help, dev profile\n{}", times.row(DEV, Run::CargoHelp));
    println!("{}", times.row(DEV, Run::Help));
    kept && times.median(DEV, Run::Help) <= HELP_LIMIT
}
