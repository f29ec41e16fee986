//! `fleet simulate`: what a fleet asks of its host, and how it fares.

use crate::{
    check::{Folder, Remote},
    cli::Global,
    commands::{
        edit::known,
        print_json,
        sim::rollout::{newest_before, none_before, parse_day, runs, today},
    },
    disk::Disk,
    fleet::{Outage, Published, Report, World, published, simulate, svg, table},
    name::{ChannelName, TargetName},
    patch::{Profile, cache::Cache, plan},
    project::{Places, Project},
    release::TargetRecord,
    rollout::{Board, Duration, Fleet, Phase, Run, Stage, chart, headline, phases},
    ui::Hinted,
};
use anyhow::{Context, Result};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};
use towline_descriptor::{Chip, Sha256, Share, Version};

/// Let a fleet update in virtual time, from a host with limits.
///
/// Every device polls, waits and tries again as a real one does: the device's own
/// code decides what it installs and when it asks next. Made up are the fleet, how
/// fast it downloads, and what goes wrong. The same seed gives the same course.
/// Nothing is published or changed; patches that had to be made are kept in the store.
///
/// Bytes are those of HTTP: TLS adds some kilobytes to each request.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
See what a release to 100,000 devices asks of the host:
  cargo xtask fleet simulate --devices 100000 --hours 24 --svg fleet.svg
The same with a host that sends 200 Mbit/s and answers 50 requests a second:
  cargo xtask fleet simulate --devices 100000 --bandwidth 200 --most-requests 50
A blackout at noon, and a release that fails on 2 % of all devices:
  cargo xtask fleet simulate --power-cut 12h=30m --bad 2")]
pub(crate) struct Args {
    /// The channel.
    #[arg(long, value_name = "NAME", default_value = "stable")]
    channel: ChannelName,
    /// The target [default: the only one that the channel serves].
    #[arg(long, value_name = "NAME")]
    target: Option<TargetName>,
    /// The release that the channel serves, as if later ones were not there yet
    /// [default: the one that it serves].
    #[arg(long, value_name = "VERSION")]
    release: Option<Version>,
    /// Take what is published, in this folder or at this URL, instead of what the
    /// project would publish.
    #[arg(long, value_name = "DIR | URL", conflicts_with_all = ["release", "stages"])]
    site: Option<String>,
    /// How many devices there are.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    devices: u32,
    /// How long to look on, in hours.
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=2160))]
    hours: u32,
    /// Time between two polls of a device, a tenth more or less.
    #[arg(long, value_name = "TIME", default_value = "6h")]
    period: Duration,
    /// Change the rollout at a time from the start: 24h=25%, or `pause` or
    /// `resume` for the percentage. Until the first, that of the channel holds.
    #[arg(long = "stage", value_name = "TIME=PERCENT")]
    stages: Vec<Stage>,
    /// What the fleet runs: 1.2.0=60%, several times. The rest runs the newest
    /// release before the offered one.
    #[arg(long = "from", value_name = "VERSION=SHARE")]
    from: Vec<Run>,
    /// Part of the fleet that is switched off all the time, in percent.
    #[arg(long, value_name = "SHARE", default_value = "0")]
    offline: Share,
    /// Part of the fleet that is switched off for eight hours each day.
    #[arg(long, value_name = "SHARE", default_value = "0")]
    daily_off: Share,
    /// Part of all downloads that break off somewhere.
    #[arg(long, value_name = "SHARE", default_value = "2")]
    broken: Share,
    /// Part of the fleet on which the release fails its self-test.
    #[arg(long, value_name = "SHARE", default_value = "0")]
    bad: Share,
    /// All power fails at a time from the start, for a while: 12h=30m. Several
    /// times.
    #[arg(long = "power-cut", value_name = "TIME=TIME")]
    power_cuts: Vec<Outage>,
    /// The host does not answer from a time on, for a while: 6h=2h. Several times.
    #[arg(long, value_name = "TIME=TIME")]
    host_down: Vec<Outage>,
    /// Most requests a second that the host answers; the others get 429 [default:
    /// all].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    most_requests: Option<u32>,
    /// Most that the host sends, in Mbit/s [default: as much as devices take].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    bandwidth: Option<u64>,
    /// What a device takes at most, in kB/s: its radio, or its flash.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    device_rate: u64,
    /// Devices know no patches, and fetch whole images.
    #[arg(long)]
    no_patches: bool,
    /// Time that users take on average to agree, where the channel asks them.
    #[arg(long, value_name = "TIME", default_value = "24h")]
    agree_after: Duration,
    /// First day, which begins in UTC [default: today].
    #[arg(long, value_name = "DATE", value_parser = parse_day)]
    start: Option<u64>,
    /// What decides all that is left to chance.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Draw it into this file too.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Print the course and the load as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    places: Places,
}

pub(crate) fn run(global: &Global, args: &Args) -> Result<ExitCode> {
    anyhow::ensure!(
        args.period.seconds() >= 60,
        "--period: devices that poll more than once a minute are no fleet but an attack"
    );
    let scene = match &args.site {
        Some(site) => Scene::of_site(site, args)?,
        None => Scene::of_project(global, args)?,
    };
    let fleet = Fleet {
        devices: args.devices,
        period: args.period,
        span: Duration::from_seconds(u64::from(args.hours) * 3600),
        start: args.start.map_or_else(today, Ok)?,
        runs: runs(&args.from, || scene.before())?,
        offline: args.offline,
        agree_after: args.agree_after,
        seed: args.seed,
    };
    let world = World {
        fleet,
        most_requests: args.most_requests,
        bandwidth: args.bandwidth.map(|megabits| megabits * 125_000),
        device_rate: args.device_rate * 1000,
        // What is published is what the devices of the project can apply.
        patch_memory: if args.no_patches { 0 } else { Profile::Large.memory() },
        images: scene.images.clone(),
        host_down: args.host_down.clone(),
        power_cuts: args.power_cuts.clone(),
        broken: args.broken,
        bad: args.bad,
        daily_off: args.daily_off,
    };
    let Scene { phases, base_url, .. } = &scene;
    let board = Board {
        project: &scene.project,
        channel: &args.channel,
        target: &scene.target,
        chip: scene.chip,
        slot_size: scene.slot_size.unwrap_or(u32::MAX),
    };
    let bar = global.ui().steps(world.fleet.span.seconds() / 60, "simulating");
    let (course, load) = simulate(&world, &board, phases, |seconds| bar.set_position(seconds / 60));
    bar.finish_and_clear();
    if let Some(path) = &args.svg {
        let drawn = svg(&course, &load, &world, &board, phases);
        Disk::default()
            .write(path, drawn.as_bytes())
            .with_context(|| path.display().to_string())?;
    }
    if args.json {
        print_json(&Report::of(&course, &load, &world))?;
        return Ok(ExitCode::SUCCESS);
    }
    println!("{}\n", headline(&course, &world.fleet, &board));
    println!("{}", chart(&course, phases));
    println!("{}", table(&course, &load, &world, base_url));
    if let Some(path) = &args.svg {
        println!("\n{}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// What the fleet meets, and what it runs.
struct Scene {
    project: String,
    base_url: String,
    target: TargetName,
    chip: Chip,
    slot_size: Option<u32>,
    offered: Version,
    before: Option<Version>,
    phases: Vec<Phase>,
    /// SHA-256 of the images of all releases.
    images: Vec<(Version, Sha256)>,
}

impl Scene {
    /// Takes what a project would publish.
    fn of_project(global: &Global, args: &Args) -> Result<Self> {
        let project = Project::open(global.manifest.as_deref(), &args.places)?;
        known(&project, &args.channel)?;
        let mut releases = project.releases()?;
        if let Some(newest) = &args.release {
            releases.retain(|release| release.version.precedence(newest).is_le());
        }
        let channels = project.channels()?;
        let config = &project.config;
        let serves =
            |target: &&TargetName| channels.serves(&args.channel, target, &releases).is_some();
        let target = match &args.target {
            Some(target) => target,
            None => only(config.targets.keys().filter(serves), &args.channel)?,
        };
        let nothing = || {
            let message = format!("{} serves nothing to {target}", args.channel);
            Hinted::new(message, "make a release with `cargo xtask release`")
        };
        let record = channels.serves(&args.channel, target, &releases).ok_or_else(nothing)?;
        let offered = &record.version;
        if let Some(release) = args.release.as_ref().filter(|v| v.precedence(offered).is_ne()) {
            let message = format!("{} does not take {release} for {target}", args.channel);
            let hint = format!("without it, it serves {offered}; `cargo xtask plan` lists all");
            return Err(Hinted::new(message, hint).into());
        }
        let wanted = plan::wanted(config, &channels, &releases).into_iter();
        let wanted: Vec<_> = wanted.filter(|wanted| wanted.target == target).collect();
        let ui = global.ui();
        let lock = || ui.say("waiting for another run that changes the store");
        let _lock = project.store().lock(lock)?;
        let cache = Cache::new(&project.store_dir, &Disk::default());
        let profile = config.patches.profile;
        let (patches, _) = cache.get(&wanted, profile, &project.store(), ui)?;
        let (channel, stages) = (&args.channel, &args.stages);
        let phases = phases(config, &channels, &releases, channel, target, stages, &patches)?;
        let images = releases.iter().filter_map(|release| {
            Some((release.version.clone(), release.targets.get(target)?.app.sha256))
        });
        let TargetRecord { chip, slot_size, .. } = record.targets[target];
        Ok(Self {
            project: config.project.to_string(),
            base_url: config.base_url.clone(),
            target: target.clone(),
            chip,
            slot_size,
            offered: offered.clone(),
            before: newest_before(&releases, target, offered),
            phases: phases.ok_or_else(nothing)?,
            images: images.collect(),
        })
    }

    /// Takes what is published.
    fn of_site(site: &str, args: &Args) -> Result<Self> {
        let target = args.target.as_ref();
        let published = if site.contains("://") {
            published(&Remote::new(site, None)?, &args.channel, target)
        } else {
            published(&Folder::new(Path::new(site)), &args.channel, target)
        };
        let published = published.with_context(|| site.to_owned())?;
        let Published {
            project,
            base_url,
            target,
            chip,
            slot_size,
            offered,
            before,
            phase,
            images,
        } = published;
        let phases = vec![phase];
        Ok(Self { project, base_url, target, chip, slot_size, offered, before, phases, images })
    }

    fn before(&self) -> Result<Version> {
        self.before.clone().ok_or_else(|| none_before(&self.target, &self.offered).into())
    }
}

fn only<'t>(
    mut served: impl Iterator<Item = &'t TargetName>,
    channel: &ChannelName,
) -> Result<&'t TargetName> {
    let nothing = || {
        let message = format!("{channel} serves nothing");
        Hinted::new(message, "make a release with `cargo xtask release`")
    };
    let first = served.next().ok_or_else(nothing)?;
    let others: Vec<_> = served.map(TargetName::as_str).collect();
    if others.is_empty() {
        return Ok(first);
    }
    let message = format!("{channel} serves {first}, {}", others.join(", "));
    Err(Hinted::new(message, "choose one with `--target`").into())
}
