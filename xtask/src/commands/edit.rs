//! `promote`, `pin`, `follow` and `yank`: changes of which release a channel
//! serves, and what all changes of channels.toml have in common.

use crate::{
    channel::{Channels, Edit},
    cli::Global,
    disk::Disk,
    name::ChannelName,
    project::{Places, Project},
    release::Record,
    ui::{self, Hinted},
};
use anyhow::{Context, Result};
use semver::VersionReq;
use similar::{ChangeTag, TextDiff};
use std::process::ExitCode;
use towline_descriptor::Version;

/// Let a channel serve a release, byte for byte the one that was tested.
///
/// Pins the channel to the release in channels.toml. Nothing is built: the
/// channel then serves the very files that another channel serves already.
/// Devices only ever go up, so a version below the one that the channel serves
/// is refused.
#[derive(Debug, clap::Args)]
pub(crate) struct Promote {
    /// The release.
    version: Version,
    /// The channel.
    #[arg(long, value_name = "CHANNEL")]
    to: ChannelName,
    #[command(flatten)]
    common: Common,
}

/// Pin a channel to a release.
///
/// Unlike `promote` this may go down. Devices that run a newer version stay on
/// it: they install nothing older.
#[derive(Debug, clap::Args)]
pub(crate) struct Pin {
    /// The channel.
    channel: ChannelName,
    /// The release.
    version: Version,
    #[command(flatten)]
    common: Common,
}

/// Let a channel follow releases again.
#[derive(Debug, clap::Args)]
pub(crate) struct Follow {
    /// The channel.
    channel: ChannelName,
    /// Versions that it follows, such as `^1.2`.
    #[arg(default_value = "*", value_name = "REQUIREMENT")]
    requirement: VersionReq,
    /// Follow prereleases too.
    #[arg(long)]
    prereleases: bool,
    #[command(flatten)]
    common: Common,
}

/// Let no channel serve a release any more.
///
/// Channels fall back to the next release that matches their rule. Devices
/// that run the yanked release stay on it until a newer one appears; its files
/// stay on the site.
///
/// This is for good, and for all channels. To stop the release of one channel
/// until it is clear what is wrong: `cargo xtask rollout CHANNEL --pause`.
#[derive(Debug, clap::Args)]
pub(crate) struct Yank {
    /// The release.
    version: Version,
    /// Why, shown on the page.
    #[arg(long, default_value = "yanked", value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
pub(super) struct Common {
    /// Folder that keeps release records [default: dist/store].
    #[arg(long, value_name = "DIR")]
    store: Option<std::path::PathBuf>,
    /// Show the change without making it.
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn promote(global: &Global, args: &Promote) -> Result<ExitCode> {
    let project = open(global, &args.common)?;
    let releases = project.releases()?;
    let version = existing(&releases, &args.version)?;
    if let Some(served) =
        served_versions(&project, &project.channels()?, &args.to, &releases).first()
        && version.precedence(served).is_lt()
    {
        let message = format!("{} serves {served} already, which is newer than {version}", args.to);
        let hint = format!(
            "devices install nothing older; to pin all the same: `cargo xtask pin {} {version}`",
            args.to
        );
        return Err(Hinted::new(message, hint).into());
    }
    apply(&project, &Edit::Pin(args.to.clone(), version.clone()), &args.common)
}

pub(crate) fn pin(global: &Global, args: &Pin) -> Result<ExitCode> {
    let project = open(global, &args.common)?;
    let releases = project.releases()?;
    let version = existing(&releases, &args.version)?.clone();
    apply(&project, &Edit::Pin(args.channel.clone(), version), &args.common)
}

pub(crate) fn follow(global: &Global, args: &Follow) -> Result<ExitCode> {
    let project = open(global, &args.common)?;
    let edit = Edit::Follow {
        channel: args.channel.clone(),
        requirement: args.requirement.clone(),
        prereleases: args.prereleases,
    };
    apply(&project, &edit, &args.common)
}

pub(crate) fn yank(global: &Global, args: &Yank) -> Result<ExitCode> {
    let project = open(global, &args.common)?;
    let releases = project.releases()?;
    let version = existing(&releases, &args.version)?.clone();
    apply(&project, &Edit::Yank(version, args.reason.clone()), &args.common)
}

pub(super) fn open(global: &Global, common: &Common) -> Result<Project> {
    let places = Places { store: common.store.clone(), site_dir: None };
    Project::open(global.manifest.as_deref(), &places)
}

/// Returns the version of the release that is meant, as it is written there.
fn existing<'r>(releases: &'r [Record], version: &Version) -> Result<&'r Version> {
    let found = releases.iter().find(|release| release.version.precedence(version).is_eq());
    found.map(|release| &release.version).ok_or_else(|| {
        let known: Vec<_> = releases.iter().map(|release| release.version.to_string()).collect();
        let hint = if known.is_empty() {
            "there is none yet; make one with `cargo xtask release`".into()
        } else {
            format!("there are {}", known.join(", "))
        };
        Hinted::new(format!("there is no release {version}"), hint).into()
    })
}

/// Returns the versions that a channel serves, the newest first.
pub(super) fn served_versions<'r>(
    project: &Project,
    channels: &Channels,
    channel: &ChannelName,
    releases: &'r [Record],
) -> Vec<&'r Version> {
    let targets = project.config.targets.keys();
    let served = targets.filter_map(|target| channels.serves(channel, target, releases));
    let mut versions: Vec<_> = served.map(|record| &record.version).collect();
    versions.sort_by(|a, b| b.precedence(a));
    versions.dedup();
    versions
}

/// Refuses a channel that towline.toml does not name.
pub(crate) fn known(project: &Project, channel: &ChannelName) -> Result<()> {
    let known = &project.config.channels;
    if known.contains_key(channel) {
        return Ok(());
    }
    let names: Vec<_> = known.keys().map(ToString::to_string).collect();
    let message = format!("towline.toml has no channel `{channel}`");
    Err(Hinted::new(message, format!("it has {}", names.join(", "))).into())
}

/// Returns a channel's name with what it serves.
pub(super) fn headline(channel: &ChannelName, serves: &[&Version]) -> String {
    match serves {
        [] => format!("{channel} serves nothing yet"),
        versions => {
            let versions: Vec<_> = versions.iter().map(ToString::to_string).collect();
            format!("{channel} serves {}", versions.join(", "))
        }
    }
}

/// Makes the change, if its result is sound, and shows the difference.
pub(super) fn apply(project: &Project, edit: &Edit, common: &Common) -> Result<ExitCode> {
    let path = project.channels_path();
    let old = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).with_context(|| path.display().to_string()),
    };
    // A faulty file is reported with its line before it is touched; one that
    // only lacks a rule is what `follow` mends.
    let new = edit.apply(&old).with_context(|| path.display().to_string())?;
    let channels = Channels::parse(&path, &new, &project.config)?;
    if let Some((channel, reason)) = channels.stranded(&project.releases()?) {
        let message = format!("channel {channel} would serve nothing: {reason}");
        return Err(Hinted::new(
            message,
            format!("pin it to another release, or `cargo xtask follow {channel}`"),
        )
        .into());
    }
    if new == old {
        println!("{}: nothing to change", path.display());
        return Ok(ExitCode::SUCCESS);
    }
    println!("{}", path.display());
    for change in TextDiff::from_lines(&old, &new).iter_all_changes() {
        match change.tag() {
            ChangeTag::Delete => print!("- {change}"),
            ChangeTag::Insert => print!("+ {change}"),
            ChangeTag::Equal => print!("  {change}"),
        }
    }
    if !common.dry_run {
        Disk::default().write(&path, new.as_bytes())?;
        println!("\n{}", ui::named("next: `cargo xtask site` renders the site with it"));
    }
    Ok(ExitCode::SUCCESS)
}
