//! `rollout`: how far a channel's release goes.

use super::{
    edit::{self, Common, served_versions},
    print_json,
};
use crate::{
    channel::{Edit, words},
    cli::Global,
    name::ChannelName,
};
use anyhow::Result;
use serde::Serialize;
use std::process::ExitCode;
use towline_descriptor::{Rollout, Share, Version};

/// Roll a channel's release out in steps, hold it, or show how far it is.
///
/// Every device has a place of its own for each release, by chance and for
/// good: raising the percentage only adds devices. Lowering it takes no
/// firmware away, but those that have not updated yet wait.
///
/// The rollout belongs to the channel and holds for whatever release it
/// serves: a new release starts at the same percentage, and stays paused until
/// it is resumed. `cargo xtask sim rollout` shows beforehand who gets what
/// when.
///
/// To stop a bad release: `--pause` offers it to nobody and leaves everything
/// else as it is; `cargo xtask yank VERSION` withdraws it for good, on every
/// channel. Either takes effect once the site is published. Devices that have
/// installed it already keep it until a newer release appears.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The channel.
    channel: ChannelName,
    /// Part of all devices that gets the release, 0 to 100 with at most two
    /// decimals; 100 removes the line.
    #[arg(long, value_name = "N")]
    percent: Option<Share>,
    /// Offer the release to nobody for now.
    #[arg(long, conflicts_with = "resume")]
    pause: bool,
    /// Offer it again, to as many devices as before.
    #[arg(long)]
    resume: bool,
    /// Print the state as JSON.
    #[arg(long, conflicts_with_all = ["percent", "pause", "resume"])]
    json: bool,
    #[command(flatten)]
    common: Common,
}

/// The state of a rollout.
#[derive(Serialize)]
struct State<'a> {
    channel: &'a ChannelName,
    percent: Share,
    paused: bool,
    /// Versions that the channel serves, the newest first.
    serves: Vec<&'a Version>,
}

pub(crate) fn run(global: &Global, args: &Args) -> Result<ExitCode> {
    let project = edit::open(global, &args.common)?;
    edit::known(&project, &args.channel)?;
    let paused = (args.pause || args.resume).then_some(args.pause);
    if args.percent.is_some() || paused.is_some() {
        let channel = args.channel.clone();
        let edit = Edit::Rollout { channel, percent: args.percent, paused };
        return edit::apply(&project, &edit, &args.common);
    }
    let channels = project.channels()?;
    let releases = project.releases()?;
    let rollout = channels.terms(&args.channel).rollout;
    let serves = served_versions(&project, &channels, &args.channel, &releases);
    if args.json {
        let Rollout { percent, paused } = rollout;
        print_json(&State { channel: &args.channel, percent, paused, serves })?;
    } else {
        println!("{}", edit::headline(&args.channel, &serves));
        println!("  {}", words::rollout(rollout));
    }
    Ok(ExitCode::SUCCESS)
}
