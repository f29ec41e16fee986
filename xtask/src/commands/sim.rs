//! `sim`: a device on this machine.

mod serve;

use super::print_json;
use crate::{
    cli::Global,
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
use towline::Outcome;
use towline_descriptor::Version;
use towline_sim::{Device, Net, Scheme};

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

pub(crate) fn run(global: &Global, args: &Args) -> Result<ExitCode> {
    match &args.command {
        Command::Flash(args) => flash(global, args)?,
        Command::Update(args) => update(global, args)?,
        Command::Info(args) => info(args)?,
        Command::Serve(args) => return serve::run(global, args),
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
    println!("{}: {}", args.flash.display(), running(&mut device)?);
    Ok(())
}

fn update(global: &Global, args: &Update) -> Result<()> {
    let ui = global.ui();
    let url = match (&args.url, &args.target) {
        (Some(url), _) => url.clone(),
        (None, target) => {
            let places = Places { store: None, site_dir: None };
            let config = Project::open(global.manifest.as_deref(), &places)?.config;
            let target = target.as_ref().context("either --url or --target")?;
            format!("{}{}", config.base_url, descriptor_path(&args.channel, target))
        }
    };
    let mut device = open(&args.flash)?;
    let mut net = Net::new(Scheme::Https, args.ca.as_deref())?.rehearsed_at(args.connect);
    ui.say(running(&mut device)?);
    let bar = ui.bytes(0);
    let outcome = device.update(&mut net, &url, |progress| {
        bar.set_length(progress.size.into());
        bar.set_position(progress.received.into());
    });
    bar.finish_and_clear();
    let outcome = outcome.with_context(|| format!("updating from {url}"))?;
    let runs = device.boot()?.head.app.version;
    if args.json {
        return print_json(&match &outcome {
            Outcome::Stay(reason) => {
                serde_json::json!({ "installed": null, "reason": reason.to_string(), "runs": runs.as_str() })
            }
            Outcome::Installed { version, slot } => {
                serde_json::json!({ "installed": version, "slot": slot, "runs": runs.as_str() })
            }
        });
    }
    match outcome {
        Outcome::Stay(reason) => println!("nothing installed: {reason}"),
        Outcome::Installed { version, slot } => {
            println!("installed {version} in ota_{slot}");
            println!("after reset: {}", running(&mut device)?);
        }
    }
    Ok(())
}

fn info(args: &Info) -> Result<()> {
    let booted = open(&args.flash)?.boot()?;
    let app = &booted.head.app;
    if args.json {
        return print_json(&serde_json::json!({
            "project": app.project_name.as_str(), "version": app.version.as_str(),
            "chip": booted.head.header.chip().map(towline_descriptor::Chip::name),
            "slot": booted.slot, "state": booted.state.to_string(),
        }));
    }
    println!("{}", running(&mut open(&args.flash)?)?);
    Ok(())
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

fn running(device: &mut Device) -> Result<String> {
    let booted = device.boot()?;
    let app = &booted.head.app;
    let partition = booted.partition();
    Ok(format!("runs {} {} from {partition} ({})", app.project_name, app.version, booted.state))
}
