//! Attacks on signed channels: what a host can try whose keys are not the
//! project's, or no longer.
//!
//! ```text
//! case: a new device -> poll -> poll -> ...   each from power on, with the site
//!                                             as somebody left it
//! ```
//!
//! The releases are real, and published as `release` does; what is signed, by
//! whom, and what is put in its place is up to each case.

mod cases;
mod roots;

use super::{
    Bench, NAME, Programs, Scheme, VERSIONS,
    signer::{Signer, envelope},
};
use crate::{
    ui::{Ui, table},
    virt::End,
};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::{
    fs,
    path::Path,
    time::{Duration, Instant, SystemTime},
};
use towline_descriptor::envelope::{DESCRIPTOR_TYPE, ROOT_TYPE};

/// Longest time of a run.
const PATIENCE: Duration = Duration::from_secs(60);

/// The key of the root, those of the channel, and one that nobody knows.
pub(super) const ROOT: u8 = 1;
pub(super) const STABLE: u8 = 10;
const SECOND: u8 = 11;
const STRANGER: u8 = 99;

/// Where the slot begins that updates go to.
const SPARE: u64 = 0x1E_0000;

pub(super) const DESCRIPTOR: &str = "dist/site/ota/stable/virt.json";
pub(super) const ROOTS: &str = "dist/site/root";

/// What is tried on a new device, named by its number in the list of attacks.
struct Case {
    name: &'static str,
    factory: Factory,
    polls: Vec<Poll>,
}

/// What a device is made with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Factory {
    First,
    /// Whose image says that those of a lower secure version may not boot.
    Secured,
}

/// The site when the device is switched on, and what comes of it.
#[derive(Default)]
struct Poll {
    descriptor: String,
    /// Roots by the numbers that they are published under.
    roots: Vec<(u32, String)>,
    /// Further settings of the device.
    settings: &'static str,
    /// What is done before.
    tamper: Option<Tamper>,
    expected: Expected,
}

/// What is changed beside the documents of the site.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tamper {
    /// A byte of the image at the host, and of each other form of it.
    Host,
    /// A byte of the image in the spare slot.
    Slot,
}

/// What a device does.
#[derive(Clone, Default)]
enum Expected {
    /// It installs the second release.
    #[default]
    Installs,
    /// It stays, and says so.
    Stays(&'static str),
    /// It refuses what it is told, and says so.
    Refuses(&'static str),
    /// It boots what it had.
    BootsOld,
}

impl Expected {
    fn shown(&self) -> String {
        match self {
            Self::Installs => "installs the release".into(),
            Self::Stays(why) => format!("stays: {why}"),
            Self::Refuses(why) => format!("refuses: {why}"),
            Self::BootsOld => "boots the image that it had".into(),
        }
    }
}

/// What the releases are, and who signs.
struct Stage {
    /// What `release` said of each release, the first and the second.
    releases: [Value; 2],
    now: u64,
}

impl Stage {
    /// Returns what is signed of the second release.
    fn payload(&self, seq: u64) -> Value {
        self.dated(1, seq)
    }

    /// Returns what is signed while there is nothing to install.
    fn current(&self, seq: u64) -> Value {
        self.dated(0, seq)
    }

    fn dated(&self, release: usize, seq: u64) -> Value {
        let mut payload = self.releases[release].clone();
        payload["seq"] = seq.into();
        payload["issued"] = (self.now - 60).into();
        payload["expires"] = (self.now + 86_400).into();
        payload
    }
}

/// Signs what a descriptor says, as it should be.
pub(super) fn signed(payload: &Value, keys: &[u8]) -> String {
    let keys: Vec<_> = keys.iter().map(|key| Signer::new(*key)).collect();
    let keys: Vec<_> = keys.iter().collect();
    envelope(DESCRIPTOR_TYPE, payload.to_string().as_bytes(), &keys)
        .with("version", payload["version"].clone())
        .with("path", payload["path"].clone())
        .to_string()
}

/// Keys that may do something, as a root names them.
pub(super) fn role(threshold: u8, keys: &[u8]) -> Value {
    let keys: Vec<_> = keys.iter().map(|key| Signer::new(*key).key().to_string()).collect();
    json!({ "threshold": threshold, "keys": keys })
}

/// The payload of a root.
pub(super) fn root(version: u32, root: Value, stable: Value) -> Value {
    json!({
        "fmt": 1, "project": NAME, "version": version, "issued": 1_790_000_000,
        "roles": { "root": root, "stable": stable },
    })
}

/// The root that devices are built with.
pub(super) fn first_root() -> Value {
    root(1, role(1, &[ROOT]), role(1, &[STABLE]))
}

/// Signs a root.
pub(super) fn published(root: &Value, keys: &[u8]) -> String {
    let keys: Vec<_> = keys.iter().map(|key| Signer::new(*key)).collect();
    let keys: Vec<_> = keys.iter().collect();
    envelope(ROOT_TYPE, root.to_string().as_bytes(), &keys).to_string()
}

/// Tries each attack on a device of its own.
pub(super) fn run(programs: &Programs, root: &Path, ui: Ui) -> Result<()> {
    let start = Instant::now();
    let bench = Bench::new(programs, root, Scheme::Https)?;
    let release = |elf| -> Result<Value> {
        bench.release(elf)?;
        let descriptor = fs::read(bench.dir.join(DESCRIPTOR))?;
        Ok(serde_json::from_slice(&descriptor)?)
    };
    let releases = [release(&programs.first)?, release(&programs.second)?];
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let stage = Stage { releases, now };
    let field = Field {
        told: fs::read_to_string(&bench.machine.settings)?,
        first: bench.images(&programs.first)?.factory().context("there is a partition table")?,
        secured: secured(&bench, &programs.first)?,
        files: image_files(&bench, &stage)?,
        bench: &bench,
    };
    let mut rows = vec![["ATTACK", "DEVICE"].map(String::from)];
    let mut failures = Vec::new();
    for case in cases::all(&stage) {
        ui.say(case.name);
        let last = case.polls.last().map(|poll| poll.expected.shown());
        let shown = match field.play(&case, ui) {
            Ok(()) => last.unwrap_or_default(),
            Err(error) => {
                failures.push(format!("{}: {error:#}", case.name));
                "DOES OTHERWISE".into()
            }
        };
        rows.push([case.name.into(), shown]);
    }
    println!("{}", table(&rows));
    ensure!(failures.is_empty(), "{}", failures.join("\n\n"));
    println!("{} attacks in {:.0} s", rows.len() - 1, start.elapsed().as_secs_f64());
    Ok(())
}

/// Makes the images of a program that says that lower secure versions may not
/// boot.
fn secured(bench: &Bench, elf: &Path) -> Result<Vec<u8>> {
    const MAGIC: [u8; 4] = 0xABCD_5432_u32.to_le_bytes();
    let mut bytes = fs::read(elf)?;
    let place = bytes.windows(4).position(|window| window == MAGIC);
    let place = place.context("the program has no app descriptor")?;
    bytes[place + 4] = 1;
    let changed = bench.dir.join("secured.elf");
    fs::write(&changed, bytes)?;
    bench.images(&changed)?.factory().context("there is a partition table")
}

/// Returns the files of the second release's image: itself, compressed, and as patches.
fn image_files(bench: &Bench, stage: &Stage) -> Result<Vec<(std::path::PathBuf, Vec<u8>)>> {
    let path = stage.releases[1]["path"].as_str().context("the release has a path")?;
    let (_, path) = path.split_once("/firmware/").context("the image lies in the site")?;
    let file = bench.dir.join("dist/site/firmware").join(path);
    let folder = file.parent().context("it lies in a folder")?;
    let mut files = vec![file.clone()];
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        files.extend(Some(entry?.path()).filter(|path| path.extension() == Some("twp".as_ref())));
    }
    let read = |file: std::path::PathBuf| {
        let bytes = fs::read(&file).with_context(|| file.display().to_string())?;
        Ok((file, bytes))
    };
    files.into_iter().map(read).collect()
}

/// Where cases are played.
struct Field<'b> {
    bench: &'b Bench,
    told: String,
    first: Vec<u8>,
    secured: Vec<u8>,
    files: Vec<(std::path::PathBuf, Vec<u8>)>,
}

impl Field<'_> {
    fn play(&self, case: &Case, ui: Ui) -> Result<()> {
        let machine = &self.bench.machine;
        machine.flash(match case.factory {
            Factory::First => &self.first,
            Factory::Secured => &self.secured,
        })?;
        for (index, poll) in case.polls.iter().enumerate() {
            self.prepare(poll)?;
            let mut console = Vec::new();
            let end = machine.run(PATIENCE, |line| {
                ui.say(format_args!("  {line}"));
                console.push(line.to_owned());
            })?;
            let second = VERSIONS[1];
            let (wanted, line) = match poll.expected {
                Expected::Installs => (End::Finished, format!("app: installed {second} in ota_1")),
                Expected::Stays(why) => (End::Finished, format!("app: stays: {why}")),
                Expected::Refuses(why) => (End::Failed, format!("app: {why}")),
                Expected::BootsOld => (End::Finished, "guard: ota_1 did not boot".into()),
            };
            ensure!(
                end == wanted && console.iter().any(|said| said.contains(&line)),
                "poll {}: the device should have said `{line}`:\n{}",
                index + 1,
                console.join("\n")
            );
            let keeps = !matches!(poll.expected, Expected::Installs | Expected::BootsOld);
            ensure!(
                !keeps || poll.tamper.is_some() || self.spare()?.iter().all(|byte| *byte == 0xFF),
                "poll {}: something was written to the spare slot",
                index + 1
            );
        }
        Ok(())
    }

    /// Leaves site and device as a poll finds them.
    fn prepare(&self, poll: &Poll) -> Result<()> {
        let dir = &self.bench.dir;
        fs::write(dir.join(DESCRIPTOR), &poll.descriptor)?;
        let roots = dir.join(ROOTS);
        if roots.exists() {
            fs::remove_dir_all(&roots)?;
        }
        fs::create_dir_all(&roots)?;
        for (number, root) in &poll.roots {
            fs::write(roots.join(format!("{number}.json")), root)?;
        }
        for (file, mut bytes) in self.files.clone() {
            if poll.tamper == Some(Tamper::Host) {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
            }
            fs::write(file, bytes)?;
        }
        if poll.tamper == Some(Tamper::Slot) {
            self.flip(SPARE + self.files[0].1.len() as u64 / 2)?;
        }
        let url = self.told.lines().find_map(|line| line.strip_prefix("url="));
        let (base, _) = url.and_then(|url| url.split_once("ota/")).context("there is a URL")?;
        let settings = format!(
            "{}root={}\nroots={base}root/\npower=off\n{}",
            self.told,
            first_root(),
            poll.settings
        );
        Ok(fs::write(&self.bench.machine.settings, settings)?)
    }

    /// Returns the start of the spare slot.
    fn spare(&self) -> Result<[u8; 4096]> {
        use std::os::unix::fs::FileExt as _;
        let mut start = [0; 4096];
        fs::File::open(&self.bench.machine.flash)?.read_exact_at(&mut start, SPARE)?;
        Ok(start)
    }

    /// Flips a bit of the flash.
    fn flip(&self, offset: u64) -> Result<()> {
        use std::os::unix::fs::FileExt as _;
        let flash = fs::File::options().read(true).write(true).open(&self.bench.machine.flash)?;
        let mut byte = [0];
        flash.read_exact_at(&mut byte, offset)?;
        byte[0] ^= 1;
        Ok(flash.write_all_at(&byte, offset)?)
    }
}
