//! `sim rollout`: who gets what when, before anything is published.

use crate::{
    cli::Global,
    commands::{chosen_targets, edit::known, print_json},
    disk::Disk,
    name::{ChannelName, TargetName},
    patch::cache::Patches,
    project::{Places, Project},
    release::Record,
    rollout::{Board, Duration, Fleet, Report, Run, Stage, chart, headline, phases, simulate, svg},
    ui::Hinted,
};
use anyhow::{Context, Result};
use std::{
    path::PathBuf,
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};
use towline_descriptor::{Share, Version};

/// Show who would get a release when, for a fleet on paper.
///
/// Every device of the fleet polls as a real one does, and the device's own
/// code decides what it installs, from the descriptors that would be
/// published: percentage, windows, dates, approval and steps are those of the
/// channel. Nothing is published or changed.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Plan a rollout in three steps:
  cargo xtask sim rollout stable --target esp32c3 \\
      --stage 0h=5% --stage 24h=25% --stage 72h=100% --svg rollout.svg
Rehearse stopping it:
  cargo xtask sim rollout stable --target esp32c3 --stage 0h=25% --stage 6h=pause")]
pub(crate) struct Args {
    /// The channel.
    channel: ChannelName,
    /// The target.
    #[arg(long, value_name = "NAME")]
    target: TargetName,
    /// How many devices there are.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    devices: u32,
    /// Time between two polls of a device, a tenth more or less.
    #[arg(long, value_name = "TIME", default_value = "24h")]
    period: Duration,
    /// Change the rollout at a time from the start: 24h=25%, or `pause` or
    /// `resume` for the percentage. Until the first, that of the channel holds.
    #[arg(long = "stage", value_name = "TIME=PERCENT")]
    stages: Vec<Stage>,
    /// How long to look on [default: a week, or four days more than the last
    /// stage].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: Option<u32>,
    /// What the fleet runs: 1.2.0=60%, several times. The rest runs the newest
    /// release before the offered one.
    #[arg(long = "from", value_name = "VERSION=SHARE")]
    from: Vec<Run>,
    /// Part of the fleet that is switched off, in percent.
    #[arg(long, value_name = "SHARE", default_value = "0")]
    offline: Share,
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
    /// Print the course as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    places: Places,
}

pub(crate) fn run(global: &Global, args: &Args) -> Result<ExitCode> {
    let project = Project::open(global.manifest.as_deref(), &args.places)?;
    known(&project, &args.channel)?;
    chosen_targets(&project.config, std::slice::from_ref(&args.target))?;
    let releases = project.releases()?;
    let channels = project.channels()?;
    let nothing = || {
        let message = format!("{} serves nothing to {}", args.channel, args.target);
        Hinted::new(message, "make a release with `cargo xtask release`")
    };
    let record = channels.serves(&args.channel, &args.target, &releases).ok_or_else(nothing)?;
    let config = &project.config;
    let phases = phases(
        config,
        &channels,
        &releases,
        &args.channel,
        &args.target,
        &args.stages,
        &Patches::default(),
    )?
    .ok_or_else(nothing)?;
    let fleet = Fleet {
        devices: args.devices,
        period: args.period,
        span: span(args),
        start: args.start.map_or_else(today, Ok)?,
        runs: runs(&args.from, || {
            newest_before(&releases, &args.target, &record.version)
                .ok_or_else(|| none_before(&args.target, &record.version).into())
        })?,
        offline: args.offline,
        agree_after: args.agree_after,
        seed: args.seed,
    };
    anyhow::ensure!(
        args.period.seconds() >= 60,
        "--period: devices that poll more than once a minute are no fleet but an attack"
    );
    let project_name = config.project.as_str();
    let board = Board::of(project_name, &args.channel, &args.target, record);
    let course = simulate(&fleet, &board, &phases);
    if let Some(path) = &args.svg {
        let drawn = svg(&course, &fleet, &board, &phases);
        Disk::default()
            .write(path, drawn.as_bytes())
            .with_context(|| path.display().to_string())?;
    }
    if args.json {
        print_json(&Report::of(&course))?;
        return Ok(ExitCode::SUCCESS);
    }
    println!("{}\n", headline(&course, &fleet, &board));
    print!("{}", chart(&course, &phases));
    if let Some(path) = &args.svg {
        println!("\n{}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

fn span(args: &Args) -> Duration {
    let last = args.stages.iter().map(|stage| stage.at.seconds().div_ceil(86_400)).max();
    let days = args.days.unwrap_or_else(|| {
        last.map_or(7, |days| u32::try_from(days + 4).unwrap_or(3650).clamp(7, 3650))
    });
    Duration::from_days(days)
}

/// Returns what the fleet runs, so that it adds up to all of it; `before` is what
/// the rest runs.
pub(crate) fn runs(given: &[Run], before: impl FnOnce() -> Result<Version>) -> Result<Vec<Run>> {
    let mut runs = given.to_vec();
    let given: u32 = runs.iter().map(|run| u32::from(run.share.hundredths())).sum();
    let rest = u32::from(Share::ALL.hundredths()).checked_sub(given);
    let rest = rest.context("--from: the shares add up to more than 100 %")?;
    if let Some(share) = u16::try_from(rest).ok().filter(|rest| *rest > 0) {
        let share = Share::from_hundredths(share).context("at most all")?;
        runs.push(Run { version: before()?, share });
    }
    Ok(runs)
}

/// Returns the newest release of a target before a version.
pub(crate) fn newest_before(
    releases: &[Record],
    target: &TargetName,
    version: &Version,
) -> Option<Version> {
    releases
        .iter()
        .filter(|release| release.targets.contains_key(target))
        .filter(|release| release.version.precedence(version).is_lt())
        .max_by(|a, b| a.version.precedence(&b.version))
        .map(|release| release.version.clone())
}

/// Says that nobody knows what the fleet runs.
pub(crate) fn none_before(target: &TargetName, version: &Version) -> Hinted {
    let message = format!("there is no release of {target} before {version}");
    Hinted::new(message, "say what the fleet runs: `--from 0.9.0=100%`")
}

/// Returns the second at which the day began: that of `SOURCE_DATE_EPOCH`, or
/// the clock's.
pub(crate) fn today() -> Result<u64> {
    let now = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text.parse().with_context(|| format!("SOURCE_DATE_EPOCH={text}"))?,
        Err(_) => SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
    };
    Ok(now - now % 86_400)
}

pub(crate) fn parse_day(text: &str) -> Result<u64, String> {
    let day = format!("{text}T00:00:00Z").parse().map_err(|_| "expected a day: 2026-12-24")?;
    crate::channel::unix_seconds(&day).map_err(Into::into)
}
