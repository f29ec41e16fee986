//! `policy`: when a channel's release goes, and to whom.

use super::{
    edit::{self, Common, served_versions},
    print_json,
};
use crate::{
    channel::{DeviceId, Edit, PolicyChange, moment_text, unix_seconds, window, words},
    cli::Global,
    name::{ChannelName, GroupName},
    signing,
};
use anyhow::Result;
use clap::builder::BoolishValueParser;
use serde::Serialize;
use std::process::ExitCode;
use toml_edit::Datetime;
use towline_descriptor::{self as wire, DeviceHash, Priority, Version, Window};

/// Change when a channel's release goes and to whom, or show it.
///
/// The policy is part of what devices read, and they keep to it themselves. It
/// belongs to the channel and holds for whatever release it serves. What is
/// not named stays as it is; without options the policy is shown.
///
/// Where there is a date or a window, a device that does not know the time
/// installs nothing until it does. Whoever asks for an update on the device's
/// page or API has thereby agreed, at any hour.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The channel.
    channel: ChannelName,
    #[command(flatten)]
    change: Change,
    /// Print the policy as JSON.
    #[arg(long, conflicts_with = "Change")]
    json: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
#[group(multiple = true)]
struct Change {
    /// Install in this part of the day only, by the local time of each device;
    /// the last minute is part of it, and it may cross midnight.
    #[arg(long, value_name = "HH:MM-HH:MM", value_parser = parse_window, conflicts_with = "no_window")]
    window: Option<Window>,
    /// Install at any hour.
    #[arg(long)]
    no_window: bool,
    /// Install from this date on: 2026-12-24T18:00:00+01:00, or a day, which
    /// then starts in UTC.
    #[arg(long, value_name = "DATE", value_parser = parse_start)]
    from: Option<Datetime>,
    /// Install until this date; a day ends in UTC.
    #[arg(long, value_name = "DATE", value_parser = parse_end)]
    until: Option<Datetime>,
    /// Drop both dates; --from and --until may set others at once.
    #[arg(long)]
    always: bool,
    /// Let each device wait until its user agrees, who then gets it at any
    /// hour; `=false` ends that.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    approval: Option<bool>,
    /// How much it matters: an urgent release does not wait for the window.
    #[arg(long, value_enum)]
    priority: Option<PriorityName>,
    /// Offer it to the devices of this group too, and to others no more unless
    /// they are named. Firmware says which groups it is in.
    #[arg(long = "group", value_name = "NAME", value_delimiter = ',')]
    groups: Vec<GroupName>,
    /// Offer it to this device too: a MAC address, or the id that its firmware
    /// gives it. Only its hash is written.
    #[arg(long = "device", value_name = "ID")]
    devices: Vec<DeviceId>,
    /// Offer it to this device too, by the hash of its id.
    #[arg(long = "device-hash", value_name = "HASH", value_delimiter = ',')]
    device_hashes: Vec<DeviceHash>,
    /// Drop all groups and devices: it is for everyone. With --group or
    /// --device at once, it is for those and no others.
    #[arg(long)]
    everyone: bool,
    /// Let devices that come from another channel go down to the release.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    downgrade: Option<bool>,
    /// Hand this JSON object to the application of each device.
    #[arg(long, value_name = "JSON", value_parser = parse_object, conflicts_with = "no_metadata")]
    metadata: Option<Object>,
    /// Hand over nothing.
    #[arg(long)]
    no_metadata: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum PriorityName {
    /// As any other.
    Normal,
    /// Does not wait for the window.
    Urgent,
}

type Object = serde_json::Map<String, serde_json::Value>;

/// The policy of a channel.
#[derive(Serialize)]
struct State<'a> {
    channel: &'a ChannelName,
    policy: wire::Policy<'a>,
    /// Versions that the channel serves, the newest first.
    serves: Vec<&'a Version>,
}

pub(crate) fn run(global: &Global, args: &Args) -> Result<ExitCode> {
    let project = edit::open(global, &args.common)?;
    edit::known(&project, &args.channel)?;
    let change = args.change.of_project(project.config.project.as_str());
    if change != PolicyChange::default() {
        let ui = global.ui();
        for warning in args.change.warnings(signing::now()?) {
            ui.say(format_args!("warning: {warning}"));
        }
        let edit = Edit::Policy(args.channel.clone(), change);
        return edit::apply(&project, &edit, &args.common);
    }
    let channels = project.channels()?;
    let releases = project.releases()?;
    let policy = &channels.terms(&args.channel).policy;
    let serves = served_versions(&project, &channels, &args.channel, &releases);
    if args.json {
        print_json(&State { channel: &args.channel, policy: policy.wire(), serves })?;
        return Ok(ExitCode::SUCCESS);
    }
    println!("{}", edit::headline(&args.channel, &serves));
    let mut words = words::policy(policy);
    if words.is_empty() {
        words.push("For every device, at any time.".into());
    }
    words.extend(policy.metadata.iter().map(|json| format!("Metadata: {json}")));
    for line in words {
        println!("  {line}");
    }
    for device in &policy.devices {
        println!("  Listed: {device}");
    }
    Ok(ExitCode::SUCCESS)
}

impl Change {
    /// Returns what is possible and hardly meant.
    fn warnings(&self, now: u64) -> Vec<String> {
        let mut warnings = Vec::new();
        let until = self.until.as_ref().and_then(|until| unix_seconds(until).ok());
        if let Some(until) = until.filter(|until| *until < now) {
            let moment = moment_text(until);
            warnings.push(format!("--until {moment} is past: nobody gets the release any more"));
        }
        if let Some(window) = self.window {
            // The last minute is part of it.
            let minutes = (1440 + window.end - window.start) % 1440 + 1;
            if minutes < 60 {
                warnings.push(format!(
                    "--window {window} has {minutes} minute(s) of a day: a device that is off or busy then misses it"
                ));
            }
        }
        warnings
    }

    fn of_project(&self, project: &str) -> PolicyChange {
        let hashed = self.devices.iter().map(|device| device.hash(project));
        PolicyChange {
            window: if self.no_window { Some(None) } else { self.window.map(Some) },
            always: self.always,
            not_before: self.from,
            not_after: self.until,
            approval: self.approval,
            priority: self.priority.map(|priority| match priority {
                PriorityName::Normal => Priority::Normal,
                PriorityName::Urgent => Priority::Urgent,
            }),
            everyone: self.everyone,
            groups: self.groups.clone(),
            devices: hashed.chain(self.device_hashes.iter().copied()).collect(),
            downgrade: self.downgrade,
            metadata: if self.no_metadata { Some(None) } else { self.metadata.clone().map(Some) },
        }
    }
}

fn parse_window(text: &str) -> Result<Window, &'static str> {
    window(text).ok_or("expected a window such as 02:00-04:30")
}

fn parse_start(text: &str) -> Result<Datetime, String> {
    parse_date(text, "T00:00:00Z")
}

fn parse_end(text: &str) -> Result<Datetime, String> {
    parse_date(text, "T23:59:59Z")
}

/// Reads a date with time and offset, or a day that is completed to one.
fn parse_date(text: &str, of_day: &str) -> Result<Datetime, String> {
    let parse = |text: &str| text.parse::<Datetime>().map_err(|error| error.to_string());
    let date = parse(text)?;
    match (date.date, date.time, date.offset) {
        (Some(_), Some(_), Some(_)) => Ok(date),
        (Some(_), None, None) => parse(&format!("{text}{of_day}")),
        _ => Err("expected a day, or a date and time with its offset from UTC, such as 2026-12-24T18:00:00+01:00".into()),
    }
}

fn parse_object(text: &str) -> Result<Object, String> {
    serde_json::from_str(text).map_err(|error| format!("expected a JSON object: {error}"))
}
