//! Every way in which power can fail during an update.
//!
//! ```text
//! for each scenario (bootloader, boot selection before, verdict on the update)
//!   for each flash operation of the whole life of an update
//!     for each way in which it can be torn
//!       cut there, then go on until the device rests
//! ```
//!
//! A life is: boot, guard, poll, download (over connections that are lost),
//! write, read back, activate; boot, guard, self-test, accept or not; poll
//! again. What is downloaded is the image as it is, compressed, a patch, or a
//! patch that turns out broken. After every reset a complete verified image has to run, none
//! that was not accepted unmonitored, and at the end the device has to be up to
//! date, or back on the old image if the new one is bad.
//!
//! On a signed channel, whose keys were replaced meanwhile, it must never know
//! less of them than it knew after the reset before.

mod signed;

use crate::{
    bootloader::{BootError, Kind, boot},
    clock::Counted,
    memory::{Cut, Memory, MemoryError, Torn},
    origin::Origin,
    patch::patch,
    sample::{Table, program_image, with_secure_version},
};
use embassy_futures::block_on;
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use signed::{Channel, Remembered};
use std::{fmt, sync::Mutex};
use towline::{
    Buffers, Form, Guard, Identity, LastPoll, Limits, Ota, OtaError, Outcome, Reason, Reset, Trust,
    UpdateError, Updater,
    descriptor::Chip,
    otadata::{Label, Record, SECTOR, Stage, State},
    schedule::Jitter,
};

const OLD: &str = "1.0.0";
const NEW: &str = "1.1.0";
/// Eleven sectors, and more than one step of the journal.
const NEW_LEN: usize = 41_000;
const OLD_LEN: usize = 12_000;
/// Where the connection is lost once in each attempt.
const LOST_AFTER: usize = 24_000;
/// The same for what is smaller: beyond any descriptor.
const LOST_EARLY_AFTER: usize = 5_000;
/// Bytes of the image in a block of a patch: several within a step of the
/// journal, none of which ends where a step does.
const BLOCK: usize = 9_001;
const MOST_BOOTS: usize = 16;

/// What surrounds an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// The bootloader.
    pub bootloader: Kind,
    /// What is there before.
    pub before: Before,
    /// What becomes of the new image.
    pub verdict: Verdict,
    /// Whether the channel is signed.
    pub signed: bool,
    /// What the channel serves beside the image.
    pub serves: Serves,
}

/// What a channel serves beside the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serves {
    /// Nothing.
    Plain,
    /// The image compressed.
    Compressed,
    /// A patch from what runs, and the image compressed.
    Patch,
    /// A patch that is damaged at its end.
    BrokenPatch,
}

/// Boot selection before the update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// Blank; `ota_0` runs.
    Blank,
    /// `ota_0` runs and is recorded.
    First,
    /// `ota_1` runs, and `ota_0` holds an older image.
    Second,
    /// `ota_0` runs; an earlier update was rolled back.
    RolledBack,
    /// `ota_0` runs; the bootloader came back to it, for `ota_1` is corrupt.
    FellBack,
    /// Blank; the factory app runs.
    Factory,
}

/// What becomes of the new image in its first boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It accepts itself.
    Accept,
    /// It rolls itself back.
    Reject,
    /// It hangs until the watchdog resets it.
    Hang,
}

/// How much is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One cut, at every operation and torn in every way.
    OneCut,
    /// Two cuts, on a sampled grid.
    TwoCuts,
}

/// What was tried, and what failed.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Number of scenarios.
    pub scenarios: usize,
    /// Number of flash operations in all of them.
    pub operations: usize,
    /// Number of lives with one cut or two.
    pub cases: usize,
    /// What went wrong, each with all that is needed to repeat it.
    pub failures: Vec<String>,
}

/// Why a life ended early.
#[derive(Debug)]
enum Stop {
    PowerCut,
    Violation(String),
}

/// The channel that serves the new image, and the images.
struct World {
    origins: [Origin; 4],
    /// Signed channels: with the image alone, and with a patch.
    signed: [Channel; 2],
    old: Vec<u8>,
    new: Vec<u8>,
    older: Vec<u8>,
}

impl Scenario {
    /// Returns all scenarios.
    pub fn all() -> Vec<Self> {
        let bootloaders = [Kind::Stock, Kind::Rollback];
        let befores = [
            Before::Blank,
            Before::First,
            Before::Second,
            Before::RolledBack,
            Before::FellBack,
            Before::Factory,
        ];
        let mut all = Vec::new();
        for bootloader in bootloaders {
            for before in befores {
                for verdict in [Verdict::Accept, Verdict::Reject, Verdict::Hang] {
                    all.push(Self {
                        bootloader,
                        before,
                        verdict,
                        signed: false,
                        serves: Serves::Plain,
                    });
                }
            }
        }
        for (before, serves) in [
            (Before::First, Serves::Compressed),
            (Before::Second, Serves::Patch),
            (Before::Factory, Serves::Patch),
            (Before::First, Serves::BrokenPatch),
        ] {
            let (bootloader, verdict) = (Kind::Rollback, Verdict::Accept);
            all.push(Self { bootloader, before, verdict, signed: false, serves });
        }
        for verdict in [Verdict::Accept, Verdict::Reject, Verdict::Hang] {
            let bootloader = Kind::AntiRollback { secure_version: 1 };
            let (before, serves) = (Before::Second, Serves::Plain);
            all.push(Self { bootloader, before, verdict, signed: false, serves });
            for (bootloader, serves) in bootloaders.into_iter().zip([serves, Serves::Patch]) {
                let before = Before::First;
                all.push(Self { bootloader, before, verdict, signed: true, serves });
            }
        }
        all
    }

    fn table(self) -> Table {
        Table { slots: 2, slot_size: 0x10000, factory: self.before == Before::Factory }
    }
}

/// Tries all scenarios. `progress` is told how many of them are done.
///
/// # Panics
/// If `progress` does.
pub fn run(scope: Scope, progress: impl Fn(usize, usize) + Sync) -> Summary {
    let world = World::new();
    let scenarios = Scenario::all();
    let total = Mutex::new(Summary { scenarios: scenarios.len(), ..Summary::default() });
    let done = Mutex::new(0);
    scenarios.par_iter().for_each(|scenario| {
        let summary = try_scenario(&world, *scenario, scope);
        let mut total = total.lock().expect("no thread panics");
        total.operations += summary.operations;
        total.cases += summary.cases;
        total.failures.extend(summary.failures);
        drop(total);
        let mut done = done.lock().expect("no thread panics");
        *done += 1;
        progress(*done, scenarios.len());
    });
    total.into_inner().expect("no thread panics")
}

fn try_scenario(world: &World, scenario: Scenario, scope: Scope) -> Summary {
    let start = world.device(scenario);
    let mut summary = Summary::default();
    let mut flash = start.clone();
    flash.power_on(None);
    let mut life = Life::of(scenario);
    if let Err(stop) = live(world, scenario, &mut flash, &mut life) {
        summary.failures.push(format!("{scenario:?} without a cut: {stop}"));
        return summary;
    }
    let operations = flash.operations();
    summary.operations = operations as usize;
    if life.form != Some(scenario.serves.form()) {
        summary.failures.push(format!("{scenario:?} without a cut: came as {:?}", life.form));
    }
    let mut try_cuts = |cuts: &[Cut]| {
        summary.cases += 1;
        if let Err(violation) = survive(world, scenario, start.clone(), cuts) {
            summary.failures.push(format!("{scenario:?} {cuts:?}: {violation}"));
        }
    };
    // What takes long to make is torn in a part of the ways at each operation, and
    // in the next part at the next one.
    let sparse = if scenario.serves == Serves::Plain { 1 } else { 4 };
    match scope {
        Scope::OneCut => {
            for operation in 0..operations {
                let kinds = Torn::KINDS.into_iter().skip(operation as usize % sparse);
                for torn in kinds.step_by(sparse) {
                    try_cuts(&[Cut { operation, torn }]);
                }
            }
        }
        Scope::TwoCuts => {
            // The grid moves with the scenario and the kind, so that together
            // they meet every operation.
            let kinds = Torn::KINDS.iter().enumerate();
            for (index, first) in kinds.clone().step_by(3) {
                for (other, second) in kinds.clone().skip(index % 5).step_by(5) {
                    for a in (index as u32 % 13..operations).step_by(13 * sparse) {
                        for b in (other as u32 % 17..operations).step_by(17) {
                            let first = Cut { operation: a, torn: *first };
                            try_cuts(&[first, Cut { operation: b, torn: *second }]);
                        }
                    }
                }
            }
        }
    }
    summary
}

/// Cuts the power at each of `cuts`, counted from the start after the one
/// before, and goes on until the device rests.
fn survive(
    world: &World,
    scenario: Scenario,
    mut flash: Memory,
    cuts: &[Cut],
) -> Result<(), String> {
    let mut life = Life::of(scenario);
    for cut in cuts.iter().copied().map(Some).chain([None]) {
        flash.power_on(cut);
        match live(world, scenario, &mut flash, &mut life) {
            Ok(()) => return Ok(()),
            Err(Stop::PowerCut) => {}
            Err(Stop::Violation(violation)) => return Err(violation),
        }
    }
    Err("the power was cut although it was on".into())
}

/// What was done to the new image so far.
#[derive(Default)]
struct Life {
    accept_begun: bool,
    accepted: bool,
    /// The form in which the update came at last.
    form: Option<Form>,
    /// Trials that were begun; a cut may cost the memory of one.
    trials: usize,
    /// What the device remembered of the channel at last.
    remembered: Remembered,
    /// Whether the channel was signed anew since the device came to rest.
    refreshed: bool,
}

impl Serves {
    /// Returns the form in which a device gets the image.
    fn form(self) -> Form {
        match self {
            Self::Plain | Self::BrokenPatch => Form::Plain,
            Self::Compressed => Form::Compressed,
            Self::Patch => Form::Patch,
        }
    }
}

impl Life {
    fn of(scenario: Scenario) -> Self {
        let remembered = if scenario.signed { Remembered::FIRST } else { Remembered::default() };
        Self { remembered, ..Self::default() }
    }

    /// Reads what the device remembers, which must not be less than before.
    fn remember(&mut self, flash: &Memory) -> Result<(), Stop> {
        let now = Remembered::read(flash);
        if !now.is_after(self.remembered) {
            let text = format!("the device remembers {now:?} after {:?}", self.remembered);
            return Err(Stop::Violation(text));
        }
        self.remembered = now;
        Ok(())
    }
}

/// Runs the device until it rests: up to date, or back on the old image.
fn live(
    world: &World,
    scenario: Scenario,
    flash: &mut Memory,
    life: &mut Life,
) -> Result<(), Stop> {
    let violation = |text: String| Err(Stop::Violation(text));
    let mut reset = Reset::Power;
    for _ in 0..MOST_BOOTS {
        let booted = match boot(flash, scenario.bootloader) {
            Err(BootError::Flash(MemoryError::PowerCut)) => return Err(Stop::PowerCut),
            Err(error) => return violation(format!("bricked: {error}")),
            Ok(booted) => booted,
        };
        if scenario.signed {
            life.remember(flash)?;
        }
        let version = booted.head.app.version.to_string();
        let image = world.image(&version);
        if flash.bytes()[booted.offset() as usize..][..image.len()] != *image {
            return violation(format!("{version} runs from {} and is not whole", booted.slot));
        }
        let is_new = version == NEW;
        let mut ota = Ota::open(&mut *flash, booted.offset())
            .map_err(|error| Stop::Violation(format!("cannot open the slots: {error}")))?;
        let guard = ota.guard(reset).map_err(stop)?;
        reset = Reset::Other;
        if is_new && guard == Guard::Settled && !life.accept_begun {
            return violation(format!("{version} runs unmonitored, {}", booted.state));
        }
        if is_new && guard != Guard::Settled && life.accepted {
            return violation(format!("{version} was accepted, and now: {guard}"));
        }
        if !is_new && life.accepted {
            return violation(format!("{version} runs although {NEW} was accepted"));
        }
        match guard {
            Guard::RolledBack { .. } => continue,
            Guard::Trial | Guard::Stranded if is_new => match scenario.verdict {
                Verdict::Accept => {
                    life.accept_begun = true;
                    ota.accept().map_err(stop)?;
                    life.accepted = true;
                }
                Verdict::Reject => {
                    life.trials += 1;
                    ota.rollback().map_err(stop)?;
                    continue;
                }
                Verdict::Hang => {
                    life.trials += 1;
                    continue;
                }
            },
            Guard::Trial | Guard::Stranded => {
                return violation(format!("{version} was running before, and now: {guard}"));
            }
            Guard::Settled | Guard::DidNotBoot { .. } => {}
        }
        match poll(world.origin(scenario, life), world.trust(scenario), &mut ota)? {
            Outcome::Installed { form, .. } => {
                life.form = Some(form);
                continue;
            }
            Outcome::Stay(Reason::AwaitingReset) => continue,
            Outcome::Stay(Reason::UpToDate) if is_new => {}
            Outcome::Stay(Reason::RolledBack)
                if scenario.verdict != Verdict::Accept && life.trials > 0 => {}
            Outcome::Stay(reason) => return violation(format!("{version} stays: {reason}")),
        }
        if !scenario.signed {
            return Ok(());
        }
        life.remember(flash)?;
        if life.refreshed {
            return match life.remembered {
                Remembered::LAST => Ok(()),
                remembered => violation(format!("the device remembers {remembered:?} at the end")),
            };
        }
        life.refreshed = true;
    }
    violation(format!("no rest after {MOST_BOOTS} boots"))
}

fn poll(
    mut origin: Origin,
    trust: Option<Trust<'_>>,
    ota: &mut Ota<&mut Memory>,
) -> Result<Outcome, Stop> {
    let outcome = block_on(
        Updater {
            ota,
            net: &mut origin,
            clock: &Counted::default(),
            device: Identity {
                target: Some("desk"),
                channel: Some("stable"),
                ..Identity::default()
            },
            trust,
            by_user: false,
            limits: Limits::DEFAULT,
            jitter: &mut Jitter::new(1),
            last: &mut LastPoll::default(),
            buffers: &mut Buffers::new(),
        }
        .update("https://example.org/ota/stable/desk.json", |_| {}),
    );
    outcome.map_err(|error| match error {
        UpdateError::Ota(error) => stop(error),
        error => Stop::Violation(format!("the update failed: {error}")),
    })
}

fn stop(error: OtaError<MemoryError>) -> Stop {
    match error {
        OtaError::Flash(MemoryError::PowerCut) => Stop::PowerCut,
        error => Stop::Violation(format!("the client failed: {error}")),
    }
}

impl World {
    fn new() -> Self {
        let image = |version, len| {
            with_secure_version(program_image(Chip::Esp32c3, "lamp", version, len), 1)
        };
        let new = image(NEW, NEW_LEN);
        let old = image(OLD, OLD_LEN);
        let hash = |bytes: &[u8]| {
            Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect::<String>()
        };
        let fields = |version: &str, image: &[u8]| {
            format!(
                r#""version":"{version}","path":"https://example.org/new.bin","fmt":1,
                "project":"lamp","target":"desk","channel":"stable","chip":"esp32c3","chip_id":5,
                "size":{},"sha256":"{}""#,
                image.len(),
                hash(image)
            )
        };
        let (of_old, of_new) = (fields(OLD, &old), fields(NEW, &new));
        let compressed = patch(&[], &new, BLOCK);
        let patched = patch(&old, &new, BLOCK);
        let mut broken = patched.clone();
        *broken.last_mut().expect("a patch has bytes") ^= 1;
        let entry = |path: &str, from: &[u8], file: &[u8]| {
            format!(
                r#"{{"from_sha256":"{}","alg":"twp1-small","path":"https://example.org{path}",
                "size":{},"sha256":"{}"}}"#,
                hash(from),
                file.len(),
                hash(file)
            )
        };
        let whole = entry("/new.twp", &[], &compressed);
        let from_old = entry("/old.twp", &old, &patched);
        let from_old_broken = entry("/broken.twp", &old, &broken);
        let patches = [
            String::new(),
            format!(r#","patches":[{whole}]"#),
            format!(r#","patches":[{whole},{from_old}]"#),
            format!(r#","patches":[{whole},{from_old_broken}]"#),
        ];
        let mut images = Origin::default();
        for (path, bytes) in [
            ("/new.bin", &new),
            ("/new.twp", &compressed),
            ("/old.twp", &patched),
            ("/broken.twp", &broken),
        ] {
            images.serve(path, bytes.clone());
        }
        let mut early = images.clone();
        early.loses_after = Some(LOST_EARLY_AFTER);
        images.loses_after = Some(LOST_AFTER);
        let offered = format!("{of_new}{}", patches[2]);
        let signed = [
            Channel::new([OLD, &of_old], [NEW, &of_new], &images),
            Channel::new([OLD, &of_old], [NEW, &offered], &early),
        ];
        let origins = patches.map(|patches| {
            let mut origin = if patches.is_empty() { images.clone() } else { early.clone() };
            origin.serve("/ota/stable/desk.json", format!("{{{of_new}{patches}}}").into());
            origin
        });
        Self {
            origins,
            signed,
            new,
            old,
            older: program_image(Chip::Esp32c3, "lamp", "0.9.0", OLD_LEN / 2),
        }
    }

    /// Returns what the channel serves.
    fn origin(&self, scenario: Scenario, life: &Life) -> Origin {
        match (scenario.signed, life.refreshed) {
            (false, _) => self.origins[scenario.serves as usize].clone(),
            (true, false) => self.channel(scenario).offering.clone(),
            (true, true) => self.channel(scenario).refreshed.clone(),
        }
    }

    fn channel(&self, scenario: Scenario) -> &Channel {
        &self.signed[usize::from(scenario.serves != Serves::Plain)]
    }

    fn trust(&self, scenario: Scenario) -> Option<Trust<'_>> {
        scenario.signed.then(|| self.channel(scenario).trust())
    }

    fn image(&self, version: &str) -> &[u8] {
        match version {
            NEW => &self.new,
            OLD => &self.old,
            _ => &self.older,
        }
    }

    /// Returns the flash of a device before the update.
    fn device(&self, scenario: Scenario) -> Memory {
        let table = scenario.table();
        let mut flash = Memory::new(table.flash_size());
        flash.burn(0x8000, &table.to_bytes());
        let record = |flash: &mut Memory, sector: u32, record: Record| {
            flash.burn(Table::OTADATA + sector * SECTOR, &record.to_bytes());
        };
        let old = if scenario.before == Before::Second { 1 } else { 0 };
        if scenario.before == Before::Factory {
            flash.burn(table.offset(2), &self.old);
        } else {
            flash.burn(table.offset(old), &self.old);
        }
        let valid = |seq| Record::new(seq, State::Valid);
        match scenario.before {
            Before::Blank | Before::Factory => {}
            Before::First => record(&mut flash, 0, valid(1)),
            Before::Second => {
                flash.burn(table.offset(0), &self.older);
                record(&mut flash, 0, valid(1));
                record(&mut flash, 1, valid(2));
            }
            Before::RolledBack => {
                flash.burn(table.offset(1), &self.older);
                let rejected =
                    Record::new(2, State::Aborted).labelled(Label::new(Stage::Rejected, None));
                record(&mut flash, 0, valid(3));
                record(&mut flash, 1, rejected);
            }
            Before::FellBack => {
                flash.burn(table.offset(1), &self.older[..2000]);
                record(&mut flash, 0, valid(1));
                record(&mut flash, 1, valid(2));
            }
        }
        if scenario.signed {
            let mut ota = Ota::open(&mut flash, table.offset(old)).expect("a sound image runs");
            let outcome =
                poll(self.channel(scenario).earlier.clone(), self.trust(scenario), &mut ota);
            assert!(matches!(outcome, Ok(Outcome::Stay(Reason::UpToDate))), "{outcome:?}");
            assert_eq!(Remembered::read(&flash), Remembered::FIRST);
        }
        flash
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PowerCut => f.write_str("the power was cut"),
            Self::Violation(text) => f.write_str(text),
        }
    }
}
