//! `push`: an image to a device on the network.

use super::print_json;
use crate::{
    cli::Global,
    name::TargetName,
    project::{Places, Project},
    push::{Address, Device, Outcome, PushError, Status, Token},
    store::Store,
    ui::Hinted,
};
use anyhow::{Context, Result};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};
use towline::image::{self, HEAD_LEN, Head};

/// Environment variable that holds the token.
pub(crate) const TOKEN: &str = "TOWLINE_TOKEN";

/// Send an image to a device on the network, and wait until it runs there.
///
/// The device needs the REST API of towline-app and a token. The token is read
/// from the environment variable TOWLINE_TOKEN or from a file, never from the
/// command line, where others could see it. It travels unencrypted: push on
/// networks that you trust.
///
/// Exit code 1 if the image was refused, or if the device rolled it back.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// Name or address of the device, such as lamp.local or 192.168.1.7.
    #[arg(value_name = "ADDRESS")]
    device: Address,
    /// Send the image of this target from the newest release that has it
    /// [default: the only target].
    #[arg(long, value_name = "NAME")]
    target: Option<TargetName>,
    /// Send this app image.
    #[arg(long, value_name = "FILE", conflicts_with = "target")]
    image: Option<PathBuf>,
    /// File that holds the token [default: the variable TOWLINE_TOKEN].
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Longest time to wait for the device to come back, and for the image to
    /// accept itself.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    timeout: u64,
    /// Do not wait for the device to come back.
    #[arg(long, conflicts_with = "timeout")]
    no_wait: bool,
    /// Print the outcome as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    places: Places,
}

const EXAMPLES: &str = "\
Try it without a board:
  cargo xtask sim flash --target esp32c3 --version 1.0.0
  export TOWLINE_TOKEN=a-token-of-16-or-more
  cargo xtask sim serve &
  cargo xtask push 127.0.0.1:8081 --target esp32c3";

pub(crate) fn run(global: &Global, args: &Args) -> Result<ExitCode> {
    let ui = global.ui();
    let (name, image) = image(global, args)?;
    let head =
        image.first_chunk::<HEAD_LEN>().context("the file is shorter than the head of an image");
    let fault = || format!("{name} is not an app image");
    let head = head.and_then(|head| Ok(Head::parse(head)?)).with_context(fault)?;
    image::check(&image).with_context(fault)?;
    let device = Device { address: args.device.clone(), token: token(args.token_file.as_deref())? };

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let before = runtime.block_on(device.status()).map_err(hinted)?;
    let (project, version) = (head.app.project_name.as_str(), head.app.version.as_str());
    let runs = before.running_slot().and_then(|slot| slot.project.as_deref());
    if runs.is_some_and(|runs| runs != project) {
        let message = format!(
            "{name} is of the project `{project}`, {} runs `{}`",
            args.device,
            runs.unwrap_or_default()
        );
        return Err(Hinted::new(
            message,
            "push an image of the same project; another one needs a full flash over USB",
        )
        .into());
    }
    ui.say(format_args!(
        "{} runs {} from {}; sending {version}",
        args.device,
        before.version(),
        before.running
    ));
    let bar = ui.bytes(image.len() as u64);
    let shown = bar.clone();
    let sent = runtime.block_on(device.upload(image, move |sent| shown.set_position(sent)));
    bar.finish_and_clear();
    sent.map_err(hinted)?;
    if args.no_wait {
        if args.json {
            print_json(&report(&before, version, &serde_json::json!({ "outcome": "uploaded" })))?;
        } else {
            println!("{version} is installed; {} restarts", args.device);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let spinner = ui.spinner(format!("{version} is installed; {} restarts", args.device));
    let wait = device.wait(&before, Duration::from_secs(args.timeout), |said| {
        spinner.set_message(said.to_owned());
    });
    let outcome = runtime.block_on(wait);
    spinner.finish_and_clear();
    if args.json {
        print_json(&report(&before, version, &serde_json::to_value(&outcome)?))?;
    }
    match outcome {
        Outcome::Runs { version: runs, slot } if runs == version => {
            if !args.json {
                println!("{} runs {version} from {slot}", args.device);
            }
            Ok(ExitCode::SUCCESS)
        }
        outcome => Err(failure(&args.device, version, &before, &outcome).into()),
    }
}

/// Says why the image does not run, and what to do.
fn failure(device: &Address, pushed: &str, before: &Status, outcome: &Outcome) -> Hinted {
    match outcome {
        Outcome::Runs { version, slot } => Hinted::new(
            format!("{device} runs {version} from {slot}, not the {pushed} that was sent"),
            "somebody else updated it meanwhile; look at its page, then push again",
        ),
        Outcome::RolledBack { version, .. } => Hinted::new(
            format!(
                "the device came back with the old version {version}: it rolled back, or {pushed} did not boot"
            ),
            "look at the log of the device to see why the new firmware did not accept itself",
        ),
        Outcome::OnTrial { version, slot } => Hinted::new(
            format!("{device} runs {version} from {slot} on trial; it has not accepted itself yet"),
            "give it more time with --timeout; if it does not, its next restart brings back the old version",
        ),
        Outcome::NotBack => Hinted::new(
            format!("{device} ran {}, took {pushed} and did not come back", before.version()),
            "it may have got another address; otherwise look at its log over USB",
        ),
    }
}

fn report(before: &Status, pushed: &str, outcome: &serde_json::Value) -> serde_json::Value {
    let mut report = outcome.clone();
    report["pushed"] = pushed.into();
    report["before"] = serde_json::json!({ "version": before.version(), "slot": before.running });
    report
}

fn hinted(error: PushError) -> Hinted {
    let message = match &error {
        PushError::Connect(_, cause) => format!("{error}: {cause}"),
        _ => error.to_string(),
    };
    Hinted::new(message, error.hint())
}

/// Returns the image to send, and what to call it.
fn image(global: &Global, args: &Args) -> Result<(String, Vec<u8>)> {
    if let Some(path) = &args.image {
        let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
        return Ok((path.display().to_string(), bytes));
    }
    let project = Project::open(global.manifest.as_deref(), &args.places)?;
    let target = match &args.target {
        Some(target) => target.clone(),
        None => {
            let mut targets = project.config.targets.keys();
            match (targets.next(), targets.next()) {
                (Some(only), None) => only.clone(),
                _ => {
                    let names: Vec<_> =
                        project.config.targets.keys().map(TargetName::as_str).collect();
                    let hint = format!("name it with --target: {}", names.join(", "));
                    return Err(Hinted::new("the project has several targets", hint).into());
                }
            }
        }
    };
    let releases = project.releases()?;
    let release = releases.iter().rfind(|release| release.targets.contains_key(&target));
    let release = release.ok_or_else(|| {
        let message = format!("there is no release of {target}");
        Hinted::new(message, "make one with `cargo xtask release`, or name a file with --image")
    })?;
    let bytes = project.store().artifact(&release.targets[&target].app)?;
    Ok((format!("{target} {}", release.version), bytes))
}

/// Reads the token from a file or the environment.
fn token(file: Option<&Path>) -> Result<Token> {
    let text = match file {
        Some(path) => std::fs::read_to_string(path).with_context(|| path.display().to_string())?,
        None => std::env::var(TOKEN).map_err(|_| {
            Hinted::new(
                "changing a device needs its token",
                format!("set the variable {TOKEN}, or name a file that holds it with --token-file"),
            )
        })?,
    };
    Token::new(&text).ok_or_else(|| {
        Hinted::new(
            "the token is empty or has characters that a header cannot hold",
            "set the one that is set on the device",
        )
        .into()
    })
}
