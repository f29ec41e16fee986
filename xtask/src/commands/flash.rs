//! `flash`: a release onto a board.

use super::print_json;
use crate::{
    cli::Global,
    flash::{self, FlashError, FlashPart, Found, board::Board, port},
    name::TargetName,
    project::{Places, Project},
    release::{Record, Role, TargetRecord},
    store::Store,
    ui::{Hinted, Ui, table},
};
use anyhow::{Context, Result};
use serde_json::json;
use std::{path::PathBuf, process::ExitCode};
use towline_descriptor::Version;

/// Write a release to a board over USB: its first flash.
///
/// Finds the board, looks which chip it has, and writes the parts of the
/// target for that chip: bootloader, partition table, app, and a blank boot
/// selection. Settings on the board stay. Nothing is written to a board that
/// the release is not for.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The serial port [default: the only one with a board].
    #[arg(long, short, value_name = "PORT")]
    port: Option<String>,
    /// The target [default: the only one for the chip].
    #[arg(long, value_name = "NAME")]
    target: Option<TargetName>,
    /// The release [default: the newest].
    #[arg(long, value_name = "VERSION")]
    version: Option<Version>,
    /// Baud rate for writing.
    #[arg(long, value_name = "RATE", default_value_t = 460_800,
        value_parser = clap::value_parser!(u32).range(9600..=4_000_000))]
    baud: u32,
    /// Erase the whole flash first, settings too.
    #[arg(long)]
    erase: bool,
    /// Do not read back what was written.
    #[arg(long)]
    no_verify: bool,
    /// Look at the board and say what would be written.
    #[arg(long)]
    dry_run: bool,
    /// Print the outcome as JSON.
    #[arg(long)]
    json: bool,
    /// Folder that keeps release records and artifacts [default: dist/store].
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
}

/// What is to be written, and what for.
struct Chosen<'a> {
    record: &'a Record,
    name: &'a TargetName,
    target: &'a TargetRecord,
    parts: Vec<FlashPart>,
}

pub(crate) fn run(global: &Global, args: &Args) -> Result<ExitCode> {
    let ui = global.ui();
    let places = Places { store: args.store.clone(), site_dir: None };
    let project = Project::open(global.manifest.as_deref(), &places)?;
    let releases = project.releases()?;
    let is_meant = |record: &&Record| {
        args.version.as_ref().is_none_or(|version| version.precedence(&record.version).is_eq())
            && args.target.as_ref().is_none_or(|target| record.targets.contains_key(target))
    };
    if !releases.iter().any(|record| is_meant(&record)) {
        let targets = |record: &Record| {
            let names: Vec<_> = record.targets.keys().map(TargetName::as_str).collect();
            format!("\n  {}: {}", record.version, names.join(", "))
        };
        let there: String = releases.iter().map(targets).collect();
        let hint = match there.is_empty() {
            true => "make one with `cargo xtask release`".into(),
            false => format!("releases that are there, and their targets:{there}"),
        };
        return Err(Hinted::new("there is no such release", hint).into());
    }

    let there = serialport::available_ports().context("listing the serial ports")?;
    let port = port::choose(there, args.port.as_deref()).map_err(hinted)?;
    ui.say(format!("port {} {}", port.path, port.label()).trim_end());
    let spinner = ui.spinner("connecting");
    let board = Board::connect(&port, args.baud);
    spinner.finish_and_clear();
    let mut board = board.map_err(hinted)?;
    // Whatever it is refused for, the board goes on with what it has.
    let looked = look(&mut board, &project, &releases, args, ui);
    let (found, chosen) = match looked {
        Ok(looked) => looked,
        Err(error) => {
            board.restart();
            return Err(error);
        }
    };
    if !args.dry_run {
        write(&mut board, &chosen.parts, args, ui)?;
    }
    let restarted = board.restart();
    show(&port, &found, &chosen, args, restarted)?;
    Ok(ExitCode::SUCCESS)
}

/// Looks at the board, and chooses and checks what is to be written.
fn look<'a>(
    board: &mut Board,
    project: &Project,
    releases: &'a [Record],
    args: &Args,
    ui: Ui,
) -> Result<(Found, Chosen<'a>)> {
    let found = board.look().map_err(hinted)?;
    ui.say(describe(&found));
    let (record, name, target) =
        flash::choose(releases, &found, args.version.as_ref(), args.target.as_ref())
            .map_err(hinted)?;
    let store = project.store();
    let part = |part: &crate::release::Part| {
        let bytes = store.artifact(&part.artifact)?;
        Ok(FlashPart { role: part.role, offset: part.offset, bytes })
    };
    let mut parts = target.parts.iter().map(part).collect::<Result<Vec<_>>>()?;
    flash::order(&mut parts);
    flash::admit(&found, &parts).map_err(hinted)?;
    let table = parts.iter().find(|part| part.role == Role::PartitionTable);
    if let Some(offset) = table.map(|part| part.offset).filter(|_| !args.erase) {
        let partitions = board.partitions(offset).map_err(hinted)?;
        for (part, partition) in flash::touched(&parts, &partitions) {
            if !board.is_blank(partition.offset(), partition.size()).map_err(hinted)? {
                let partition = partition.name();
                let part = part.role.as_str();
                return Err(hinted(FlashError::Settings { part, partition }));
            }
        }
    }
    Ok((found, Chosen { record, name, target, parts }))
}

fn write(board: &mut Board, parts: &[FlashPart], args: &Args, ui: Ui) -> Result<()> {
    if args.erase {
        let spinner = ui.spinner("erasing the whole flash");
        let erased = board.erase();
        spinner.finish_and_clear();
        erased.map_err(hinted)?;
        ui.say("erased the whole flash");
    }
    for part in parts {
        let bar = ui.bytes(part.bytes.len() as u64);
        bar.set_prefix(part.role.as_str());
        let written = board.write(part, &mut |bytes| bar.set_position(bytes));
        bar.finish_and_clear();
        written.map_err(hinted)?;
        let (name, len, offset) = (part.role.as_str(), part.bytes.len(), part.offset);
        ui.say(format_args!("wrote {name}, {len} bytes at {offset:#x}"));
    }
    if !args.no_verify {
        let spinner = ui.spinner("verifying");
        let verified = parts.iter().try_for_each(|part| board.verify(part));
        spinner.finish_and_clear();
        verified.map_err(hinted)?;
    }
    Ok(())
}

fn show(
    port: &port::Candidate,
    found: &Found,
    chosen: &Chosen<'_>,
    args: &Args,
    restarted: bool,
) -> Result<()> {
    let written = !args.dry_run;
    let verified = written && !args.no_verify;
    if args.json {
        let part = |part: &crate::release::Part| {
            json!({
                "role": part.role, "offset": part.offset,
                "size": part.artifact.size, "sha256": part.artifact.sha256,
            })
        };
        return print_json(&json!({
            "port": port.path, "chip": found.chip, "mac": found.mac,
            "revision": found.revision.map(|(major, minor)| format!("{major}.{minor}")),
            "flash_size": found.flash_size,
            "target": chosen.name, "version": chosen.record.version,
            "parts": chosen.target.parts.iter().map(part).collect::<Vec<_>>(),
            "erased": written && args.erase, "written": written, "verified": verified,
            "restarted": restarted,
        }));
    }
    let mut rows = vec![["PART", "OFFSET", "SIZE"].map(String::from)];
    rows.extend(chosen.target.parts.iter().map(|part| {
        let size = part.artifact.size.to_string();
        [part.role.as_str().into(), format!("{:#x}", part.offset), size]
    }));
    println!("{}", table(&rows));
    let release = format!("{} {}", chosen.name, chosen.record.version);
    let done = match (written, verified) {
        (false, _) => "would be written",
        (true, true) => "is written and verified",
        (true, false) => "is written, not verified",
    };
    let next = match (restarted, written) {
        (true, true) => "; the board runs it now",
        (true, false) => "; the board runs on",
        (false, _) => "; press RESET to start the board",
    };
    println!("{release} {done}{next}");
    Ok(())
}

fn describe(found: &Found) -> String {
    let mut text = found.chip.family().to_owned();
    if let Some((major, minor)) = found.revision {
        text += &format!(" revision {major}.{minor}");
    }
    if let Some(mac) = &found.mac {
        text += &format!(", MAC {mac}");
    }
    format!("{text}, {} KiB of flash", found.flash_size / 1024)
}

/// Gives an error its hint, and keeps what it comes from.
fn hinted(error: FlashError) -> anyhow::Error {
    Hinted::new(error.to_string(), error.hint()).because(error).into()
}
