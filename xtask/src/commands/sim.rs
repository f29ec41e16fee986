//! `sim`: a device on this machine, or a fleet on paper.

pub(crate) mod rollout;
mod serve;

use super::print_json;
use crate::{
    cli::Global,
    keys::chain,
    name::{ChannelName, TargetName},
    project::{Places, Project},
    site::descriptor_path,
    store::Store,
    ui::Hinted,
};
use anyhow::{Context, Result};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};
use towline::{Form, Identity, Outcome, Trust, ed25519};
use towline_descriptor::Version;
use towline_host::EmbeddedRoot;
use towline_sim::{
    Device, Kind, Net, Poll, Scheme, SelfTest, Started,
    powercut::{self, Scope},
};

/// Run a device on this machine: the real update client, with a file as flash.
///
/// Shows what devices will do with a release before any of them meets it.
#[derive(Debug, clap::Args)]
#[command(after_long_help = REHEARSAL)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

const REHEARSAL: &str = "\
Rehearse an update with the site that is not published yet:
  cargo xtask sim flash --target esp32c3 --version 1.0.0
  cargo xtask serve --https &
  cargo xtask sim update --channel stable --target esp32c3 \\
      --connect 127.0.0.1:8080 --ca dist/serve-ca.pem";

#[derive(Debug, clap::Subcommand)]
enum Command {
    Flash(Flash),
    Update(Update),
    Info(Info),
    Serve(serve::Args),
    Rollback(Rollback),
    Rollout(rollout::Args),
    Powercut(PowerCut),
}

/// Make a device: write the parts of a release to a blank flash file.
#[derive(Debug, clap::Args)]
struct Flash {
    /// The target.
    #[arg(long, value_name = "NAME")]
    target: TargetName,
    /// The release [default: the newest].
    #[arg(long, value_name = "VERSION")]
    version: Option<Version>,
    /// The flash file to make.
    #[arg(long, value_name = "FILE", default_value = "flash.bin")]
    flash: PathBuf,
    /// Overwrite the flash file if it is there.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    places: Places,
}

/// Let the device poll its channel, and install what it is offered.
///
/// The certificate of the host is checked as on a device.
#[derive(Debug, clap::Args)]
struct Update {
    /// URL of the descriptor.
    #[arg(long, required_unless_present = "target")]
    url: Option<String>,
    /// Take the URL of this target from towline.toml.
    #[arg(long, value_name = "NAME", conflicts_with = "url")]
    target: Option<TargetName>,
    /// Take the URL of this channel.
    #[arg(long, value_name = "NAME", default_value = "stable", conflicts_with = "url")]
    channel: ChannelName,
    /// Connect to this address whatever the host is, such as that of `cargo
    /// xtask serve --https`.
    #[arg(long, value_name = "ADDRESS:PORT")]
    connect: Option<SocketAddr>,
    /// The flash file.
    #[arg(long, value_name = "FILE", default_value = "flash.bin")]
    flash: PathBuf,
    /// Trust the certificates in this PEM file too.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The root that its firmware was built with, as `cargo xtask keys export`
    /// writes it [default: the newest of the project].
    #[arg(long, value_name = "FILE", requires = "target")]
    root: Option<PathBuf>,
    /// How the self-test of the new firmware ends.
    #[arg(long, value_enum, default_value = "passes")]
    self_test: Test,
    /// The bootloader of the device.
    #[arg(long, value_enum, default_value = "stock")]
    bootloader: Bootloader,
    /// Print the outcome as JSON.
    #[arg(long)]
    json: bool,
}

/// Show what the device runs.
#[derive(Debug, clap::Args)]
struct Info {
    /// The flash file.
    #[arg(long, value_name = "FILE", default_value = "flash.bin")]
    flash: PathBuf,
    /// Print it as JSON.
    #[arg(long)]
    json: bool,
}

/// Go back to the release that ran before.
#[derive(Debug, clap::Args)]
struct Rollback {
    /// The flash file.
    #[arg(long, value_name = "FILE", default_value = "flash.bin")]
    flash: PathBuf,
}

/// Cut the power at every flash operation of an update, torn in every way, and
/// see that each device boots and gets up to date.
///
/// Cases that fail are printed with all that is needed to repeat them.
#[derive(Debug, clap::Args)]
struct PowerCut {
    /// Print the figures as JSON.
    #[arg(long)]
    json: bool,
}

/// How the bootloader of the device was built.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Bootloader {
    /// As espflash bundles it: without rollback.
    Stock,
    /// With rollback.
    Rollback,
}

impl Bootloader {
    fn kind(self) -> Kind {
        match self {
            Self::Stock => Kind::Stock,
            Self::Rollback => Kind::Rollback,
        }
    }
}

/// How the self-test of new firmware ends.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Test {
    /// It works.
    Passes,
    /// It does not work, and the firmware rolls itself back.
    Fails,
    /// The firmware hangs until the watchdog resets the device.
    Hangs,
}

impl Test {
    fn outcome(self) -> SelfTest {
        match self {
            Self::Passes => SelfTest::Passes,
            Self::Fails => SelfTest::Fails,
            Self::Hangs => SelfTest::Hangs,
        }
    }
}

pub(crate) fn run(global: &Global, args: &Args) -> Result<ExitCode> {
    match &args.command {
        Command::Flash(args) => flash(global, args)?,
        Command::Update(args) => update(global, args)?,
        Command::Info(args) => info(args)?,
        Command::Serve(args) => return serve::run(global, args),
        Command::Rollback(args) => rollback(args)?,
        Command::Rollout(args) => return rollout::run(global, args),
        Command::Powercut(args) => return powercut(global, args),
    }
    Ok(ExitCode::SUCCESS)
}

fn flash(global: &Global, args: &Flash) -> Result<()> {
    let project = Project::open(global.manifest.as_deref(), &args.places)?;
    let releases = project.releases()?;
    let meant =
        |version: &Version| args.version.as_ref().is_none_or(|v| v.precedence(version).is_eq());
    let release = releases
        .iter()
        .rfind(|release| meant(&release.version) && release.targets.contains_key(&args.target))
        .ok_or_else(|| {
            Hinted::new(
                "there is no such release of this target",
                "make one with `cargo xtask release`",
            )
        })?;
    let target = &release.targets[&args.target];
    if target.parts.is_empty() {
        let message = format!(
            "release {} has no parts for a first flash of {}",
            release.version, args.target
        );
        return Err(
            Hinted::new(message, "give the target a partition table in towline.toml").into()
        );
    }
    if args.flash.exists() && !args.force {
        let message = format!("{} exists", args.flash.display());
        return Err(Hinted::new(message, "name another file, or overwrite it with --force").into());
    }
    let store = project.store();
    let parts = target.parts.iter().map(|part| Ok((part.offset, store.artifact(&part.artifact)?)));
    let parts = parts.collect::<Result<Vec<_>>>()?;
    let parts = parts.iter().map(|(offset, bytes)| (*offset, bytes.as_slice()));
    let mut device = Device::provision(&args.flash, target.flash_size, parts)?;
    println!("{}: {}", args.flash.display(), running(&mut device.start()?));
    Ok(())
}

fn update(global: &Global, args: &Update) -> Result<()> {
    let ui = global.ui();
    let (url, root) = match (&args.url, &args.target) {
        (Some(url), _) => (url.clone(), None),
        (None, target) => {
            let places = Places { store: None, site_dir: None };
            let project = Project::open(global.manifest.as_deref(), &places)?;
            let target = target.as_ref().context("either --url or --target")?;
            let url =
                format!("{}{}", project.config.base_url, descriptor_path(&args.channel, target));
            (url, embedded_root(&project, args.root.as_deref())?)
        }
    };
    let mut device = open(&args.flash)?;
    device.bootloader = args.bootloader.kind();
    device.self_test = args.self_test.outcome();
    let mut net = Net::new(Scheme::Https, args.ca.as_deref())?.rehearsed_at(args.connect);
    ui.say(running(&mut device.start()?));
    let poll = Poll {
        url: &url,
        device: Identity {
            target: args.target.as_ref().map(TargetName::as_str),
            channel: args.target.is_some().then(|| args.channel.as_str()),
            ..Identity::default()
        },
        trust: root.as_ref().map(|root| Trust {
            root: &root.payload,
            roots: &root.roots,
            verify: ed25519,
        }),
        ..Poll::default()
    };
    let bar = ui.bytes(0);
    let outcome = device.update(&mut net, poll, |progress| {
        bar.set_length(progress.size.into());
        bar.set_position(progress.received.into());
    });
    bar.finish_and_clear();
    let outcome = outcome.with_context(|| format!("updating from {url}"))?;
    let mut started = device.start()?;
    if args.json {
        let runs = started.ota.app().version.to_string();
        return print_json(&match &outcome {
            Outcome::Stay(reason) => {
                serde_json::json!({ "installed": null, "reason": reason.to_string(), "runs": runs })
            }
            Outcome::Installed { version, slot, form, fetched } => serde_json::json!({
                "installed": version, "slot": slot.to_string(), "runs": runs,
                "form": form.to_string(), "fetched": fetched,
                "boots": started.guards.iter().map(ToString::to_string).collect::<Vec<_>>(),
            }),
        });
    }
    match outcome {
        Outcome::Stay(reason) => println!("nothing installed: {reason}"),
        Outcome::Installed { version, slot, form, fetched } => {
            println!("installed {version} in {slot}");
            match form {
                Form::Plain => println!("fetched {fetched} bytes"),
                Form::Compressed => println!("fetched {fetched} bytes, compressed"),
                Form::Patch => println!("fetched {fetched} bytes, a patch"),
            }
            for guard in &started.guards {
                println!("reset: {guard}");
            }
            println!("{}", running(&mut started));
        }
    }
    Ok(())
}

/// Returns the root in the firmware of a device: the one in a file, or the
/// newest of the project; `None` if the project has no keys.
pub(crate) fn embedded_root(
    project: &Project,
    file: Option<&Path>,
) -> Result<Option<EmbeddedRoot>> {
    let payload = match file {
        Some(path) => Some(std::fs::read(path).with_context(|| path.display().to_string())?),
        None => project.chain()?.map(|chain| chain.newest().payload.clone()),
    };
    let roots = format!("{}{}/", project.config.base_url, chain::FOLDER);
    Ok(payload.map(|payload| EmbeddedRoot { payload, roots }))
}

fn info(args: &Info) -> Result<()> {
    let mut device = open(&args.flash)?;
    let Started { booted, mut ota, .. } = device.start()?;
    let info = ota.info()?;
    let mut slots = Vec::new();
    for slot in ota.layout().partitions() {
        slots.extend(ota.slot_info(slot)?);
    }
    if args.json {
        let slots = slots.iter().map(|slot| {
            let app = slot.app.as_ref().ok();
            serde_json::json!({
                "slot": slot.slot.to_string(), "state": slot.state.to_string(),
                "offset": slot.region.offset, "size": slot.region.size,
                "project": app.map(|app| app.project_name.as_str()),
                "version": app.map(|app| app.version.as_str()),
                "date": app.map(|app| app.date.as_str()), "time": app.map(|app| app.time.as_str()),
                "secure_version": app.map(|app| app.secure_version),
                "idf_version": app.map(|app| app.idf_version.as_str()),
            })
        });
        return print_json(&serde_json::json!({
            "project": ota.app().project_name.as_str(), "version": ota.app().version.as_str(),
            "chip": ota.chip().name(), "slot": info.running.to_string(),
            "next_boot": info.next_boot.to_string(), "state": booted.state.to_string(),
            "slots": slots.collect::<Vec<_>>(),
        }));
    }
    for slot in &slots {
        let mark = match slot.slot {
            slot if slot == info.running => "runs",
            slot if slot == info.next_boot => "next",
            _ => "",
        };
        let held = match &slot.app {
            Ok(app) => format!("{} {}", app.project_name, app.version),
            Err(error) => error.to_string(),
        };
        println!("{mark:<5}{:<9}{:<15}{held}", slot.slot.to_string(), slot.state);
    }
    Ok(())
}

fn rollback(args: &Rollback) -> Result<()> {
    let mut device = open(&args.flash)?;
    let from = device.start()?.ota.app().version.to_string();
    device.start()?.ota.rollback().with_context(|| format!("rolling back {from}"))?;
    println!("rolled back {from}\n{}", running(&mut device.start()?));
    Ok(())
}

fn powercut(global: &Global, args: &PowerCut) -> Result<ExitCode> {
    let ui = global.ui();
    let mut failed = 0;
    let mut results = Vec::new();
    for (scope, what) in [(Scope::OneCut, "one cut"), (Scope::TwoCuts, "two cuts")] {
        let bar = ui.steps(0, what);
        let summary = powercut::run(scope, |done, all| {
            bar.set_length(all as u64);
            bar.set_position(done as u64);
        });
        bar.finish_and_clear();
        for failure in &summary.failures {
            eprintln!("{failure}");
        }
        failed += summary.failures.len();
        if !args.json {
            println!(
                "{what:<9}{:>8} cases of {} scenarios, {} failures",
                summary.cases,
                summary.scenarios,
                summary.failures.len()
            );
        }
        results.push(serde_json::json!({
            "cuts": what, "scenarios": summary.scenarios, "operations": summary.operations,
            "cases": summary.cases, "failures": summary.failures,
        }));
    }
    if args.json {
        print_json(&results)?;
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn open(flash: &Path) -> Result<Device> {
    if !flash.exists() {
        let message = format!("there is no flash file {}", flash.display());
        return Err(Hinted::new(
            message,
            "make a device with `cargo xtask sim flash --target NAME`",
        )
        .into());
    }
    Ok(Device::open(flash)?)
}

fn running(started: &mut Started<'_>) -> String {
    let app = started.ota.app();
    let booted = &started.booted;
    format!("runs {} {} from {}", app.project_name, app.version, booted.slot)
}
