//! Making patches, beside detools, bsdiff and xz, side by side in one run.
//!
//! ```text
//! firmware of this repository --one change, cargo--> two images --.
//! images of others (../shared/data) -------------------------------+--> ours, theirs
//! ```
//!
//! `cargo xtask bench patch` prints sizes, times and memory, and fails if a limit is
//! exceeded. It builds the firmware of an ESP32-C3 and a C6 as it is, with one line of
//! it changed, with older dependencies, and with signed channels; the images stay in
//! target/bench-patch. `-- FOLDER` takes pairs from a folder instead of building them:
//! files called `NAME-old.bin` and `NAME-new.bin`.
//!
//! Times are the best of some rounds: of whole processes, which is what people wait
//! for and what counts, and of the functions alone. Memory is what a process has at its
//! peak that does nothing else. What counts is the unoptimised build, for `cargo xtask`
//! runs that.

#[path = "support/pairs.rs"]
mod pairs;
#[path = "support/process.rs"]
mod process;

use ::xtask::{
    patch::{Profile, apply, make},
    tools,
    ui::table,
};
use pairs::Pair;
use process::{repository, seconds, unoptimised_xtask, xtask};
use serde_json::{Value, json};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Instant,
};
use tempfile::TempDir;

/// Rounds; the fastest of each method counts.
const ROUNDS: usize = 3;

/// Most of the size of detools with heatshrink that the small profile may have.
const SMALL_LIMIT: f64 = 0.9;
/// Most of the size of detools with lzma that the large profile may have.
const LARGE_LIMIT: f64 = 1.0;
/// Most of the time of detools.
const TIME_LIMIT: f64 = 0.5;
/// Most memory, in sizes of the new image.
const MEMORY_LIMIT: f64 = 20.0;

/// The argument that makes this program do one thing only, to be measured.
const ONE: &str = "--one";

/// Methods of others, as the script knows them. Of the lookaheads of heatshrink the one
/// counts that gives the smallest patch.
const OTHERS: [&str; 6] = ["heatshrink-7", "heatshrink-8", "heatshrink-11", "lzma", "bsdiff", "xz"];

/// How one method did.
#[derive(Clone, Debug, Default)]
struct Result {
    method: &'static str,
    size: f64,
    /// Seconds of the process.
    process: f64,
    /// Seconds of the function.
    function: f64,
    /// Seconds that processors worked for the function.
    used: f64,
    /// Bytes of memory at its peak; 0 where nobody looked.
    memory: f64,
}

/// The programs that are measured.
struct Programs {
    python: PathBuf,
    xtask: PathBuf,
    dir: TempDir,
}

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).filter(|text| text != "--bench").collect();
    if let [one, alg, old, new, result] = &arguments[..]
        && one == ONE
    {
        make_one(alg, old, new, result);
        return ExitCode::SUCCESS;
    }
    let python = tools::oracles_dir(repository()).join("bin/python");
    if !python.exists() {
        eprintln!("target/oracles is missing: `cargo xtask bench patch` installs it");
        return ExitCode::FAILURE;
    }
    let pairs = match arguments.first() {
        Some(folder) => pairs::in_folder(Path::new(folder)),
        None => pairs::of_others().into_iter().chain(pairs::of_ours()).collect(),
    };
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let programs = Programs { python, xtask: unoptimised_xtask(), dir };
    let mut is_met = !pairs.is_empty();
    let head =
        ["PAIR", "METHOD", "BYTES", "OF IMAGE", "RATIO", "S", "RATIO", "ALONE", "CPU", "MEMORY"];
    let mut rows = vec![head.map(str::to_owned)];
    for pair in &pairs {
        eprintln!("{}", pair.name);
        is_met &= programs.measure(pair, &mut rows);
    }
    println!("{}", table(&rows));
    println!(
        "limits: small {SMALL_LIMIT} x heatshrink, large {LARGE_LIMIT} x lzma, time {TIME_LIMIT} x, \
         memory {MEMORY_LIMIT} x image; of the image: a line {} %, dependencies {} %",
        pairs::LINE_LIMIT,
        pairs::DEPENDENCIES_LIMIT,
    );
    if is_met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Programs {
    /// Measures a pair, adds its rows, and returns whether the limits are kept.
    fn measure(&self, pair: &Pair, rows: &mut Vec<[String; 10]>) -> bool {
        let image = pair.new.metadata().unwrap().len() as f64;
        let best = |run: &dyn Fn() -> Result| {
            let runs = (0..ROUNDS).map(|_| run());
            runs.reduce(Result::better).expect("there are rounds")
        };
        let theirs = OTHERS.map(|method| best(&|| self.theirs(method, pair)));
        let ours = Profile::ALL.map(|profile| best(&|| self.ours(profile, pair)));

        let [windows @ .., lzma, _, _] = &theirs;
        let smallest = windows.iter().min_by(|a, b| a.size.total_cmp(&b.size)).unwrap();
        let mut is_met = true;
        for (our, (their, limit)) in ours.iter().zip([(smallest, SMALL_LIMIT), (lzma, LARGE_LIMIT)])
        {
            let (size, time) = (our.size / their.size, our.process / their.process);
            is_met &= size <= limit && time <= TIME_LIMIT && our.memory <= MEMORY_LIMIT * image;
            is_met &= pair.most.is_none_or(|most| our.size * 100.0 <= image * most);
            rows.push(our.row(pair, image, [size, time].map(|ratio| format!("{ratio:.2}"))));
        }
        rows.extend(theirs.iter().map(|their| their.row(pair, image, Default::default())));
        is_met
    }

    fn ours(&self, profile: Profile, pair: &Pair) -> Result {
        let patch = self.dir.path().join("patch").display().to_string();
        let mut make = xtask(&self.xtask, &["patch", "make", "--output", &patch, "--profile"]);
        make.arg(if profile == Profile::Small { "small" } else { "large" })
            .args([&pair.old, &pair.new]);
        let process = seconds(&mut make);
        let mut alone = Command::new(env::current_exe().unwrap());
        alone.args([ONE, profile.alg()]).args([&pair.old, &pair.new]);
        Result { process, ..self.result(profile.alg(), &mut alone) }
    }

    fn theirs(&self, method: &'static str, pair: &Pair) -> Result {
        let mut python = Command::new(&self.python);
        python.arg(repository().join("xtask/benches/patch.py"));
        python.arg(method).args([&pair.old, &pair.new]);
        self.result(method, &mut python)
    }

    /// Runs a command that writes its result to the file that is its last argument.
    fn result(&self, method: &'static str, command: &mut Command) -> Result {
        let path = self.dir.path().join("result");
        let process = seconds(command.arg(&path));
        let result: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        let [size, function, used, memory] = ["size", "seconds", "used", "memory"]
            .map(|name| result[name].as_f64().unwrap_or_default());
        Result { method, size, process, function, used, memory }
    }
}

impl Result {
    /// Returns the better one of two rounds.
    fn better(self, other: Self) -> Self {
        Self {
            process: self.process.min(other.process),
            function: self.function.min(other.function),
            used: self.used.min(other.used),
            memory: self.memory.max(other.memory),
            ..self
        }
    }

    fn row(&self, pair: &Pair, image: f64, [size, time]: [String; 2]) -> [String; 10] {
        let memory = match self.memory {
            0.0 => String::new(),
            memory => format!("{:.1} x", memory / image),
        };
        [
            pair.name.clone(),
            self.method.to_owned(),
            self.size.to_string(),
            format!("{:.2} %", self.size * 100.0 / image),
            size,
            format!("{:.3}", self.process),
            time,
            format!("{:.3}", self.function),
            format!("{:.3}", self.used),
            memory,
        ]
    }
}

/// Makes one patch, and writes what it took.
fn make_one(alg: &str, old: &str, new: &str, result: &str) {
    let profile = Profile::ALL.into_iter().find(|profile| profile.alg() == alg).unwrap();
    let (old, new) = (fs::read(old).unwrap(), fs::read(new).unwrap());
    let start = Instant::now();
    let patch = make(&old, &new, profile).unwrap();
    let seconds = start.elapsed().as_secs_f64();
    let (used, memory) = (used().unwrap_or_default(), peak().unwrap_or_default());
    assert_eq!(apply(&old, &patch).unwrap(), new);
    let took = json!({ "size": patch.len(), "seconds": seconds, "used": used, "memory": memory });
    fs::write(result, took.to_string()).unwrap();
}

/// Returns the seconds that processors worked for this process, as Linux tells in
/// hundredths.
fn used() -> Option<f64> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    let times = text.rsplit(')').next()?.split_whitespace().skip(11).take(2);
    Some(times.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0)
}

/// Returns the most bytes of memory that this process had, as Linux tells.
fn peak() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? << 10)
}
