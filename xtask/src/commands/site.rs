//! `site`: the site from records alone.

use crate::{
    channel::Channels,
    cli::Global,
    disk::Disk,
    installer::{Bundle, Installer},
    keys::hinted,
    project::{Places, Project},
    release::Record,
    signing::{self, Signer, Standing, artifacts},
    site::{SiteError, render},
    ui::{Hinted, Ui},
};
use anyhow::Result;
use std::process::ExitCode;

/// Seconds of a day.
const DAY: u64 = 24 * 60 * 60;

/// Render the site from the release records, without building firmware.
///
/// Run it after channels.toml has changed. The same records, configuration and
/// channels give the same bytes on any machine. The new site is checked before
/// it takes the place of the old one.
///
/// In a project with keys, what the channels serve is signed. What stands in the
/// folder of the site and says the same is kept while it is less than half
/// through its time, so that an unchanged run changes nothing.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    places: Places,
    /// Sign everything anew, so that it counts for its whole time from now on.
    ///
    /// For a scheduled run: signed descriptors expire.
    #[arg(long)]
    refresh: bool,
}

pub(crate) fn run(global: &Global, args: &Args) -> Result<ExitCode> {
    let project = Project::open(global.manifest.as_deref(), &args.places)?;
    let releases = project.releases()?;
    if releases.is_empty() {
        let message = format!("no release in {}", project.store_dir.display());
        return Err(Hinted::new(message, "make one with `cargo xtask release`").into());
    }
    let ui = global.ui();
    let installer = Installer::beside_program()?.built(ui)?;
    let _lock =
        project.store().lock(|| ui.say("waiting for another run that changes the store"))?;
    let channels = project.channels()?;
    let signer = signer(&project, &releases, args.refresh)?;
    let warnings = write(&project, &channels, &releases, &installer, signer.as_ref())?;
    warn(ui, &warnings);
    println!("{}", project.site_dir.display());
    tell(signer.as_ref(), ui);
    Ok(ExitCode::SUCCESS)
}

/// Makes the signer of a project with the keys at hand; `None` if the project
/// has no keys.
pub(crate) fn signer(
    project: &Project,
    releases: &[Record],
    refresh: bool,
) -> Result<Option<Signer>> {
    let standing = Standing::read(&project.site_dir)?;
    let Some(chain) = project.chain()? else {
        standing.refuse_unsigned()?;
        return Ok(None);
    };
    let root = chain.newest().root.clone();
    let public = root.channel_keys();
    let folder = project.key_folder()?;
    let wanted = |id| public.iter().any(|key| key.id() == id);
    let keys = folder.channel_keys(wanted).map_err(hinted)?;
    let now = signing::now()?;
    let valid = u64::from(project.config.signing.valid_days.get()) * DAY;
    let signatures = artifacts::sign(
        releases,
        &root,
        &keys,
        &project.store(),
        &project.store_dir.join("signatures"),
        &Disk::default(),
    )?;
    let signer = Signer::new(chain, keys, standing, now, valid, refresh)?;
    Ok(Some(signer.with_signatures(signatures)))
}

/// Says what a person should know of the signatures.
pub(crate) fn tell(signer: Option<&Signer>, ui: Ui) {
    let Some(signer) = signer else {
        ui.say(
            "warning: the project has no keys: devices trust whoever controls its host; `cargo xtask keys init` makes some",
        );
        return;
    };
    let (earliest, now) = (signer.now() + signer.valid() / 2, signing::clock());
    if earliest < now {
        ui.say(
            "warning: SOURCE_DATE_EPOCH is long past: descriptors that were signed by it expire soon, or have already; unset it for `site`",
        );
    }
}

/// Says what the publisher ought to know of a site.
pub(crate) fn warn(ui: Ui, warnings: &[String]) {
    for warning in warnings {
        ui.say(format_args!("warning: {warning}"));
    }
}

/// Renders, writes and checks the site of a project. Returns its warnings.
pub(crate) fn write(
    project: &Project,
    channels: &Channels,
    releases: &[Record],
    installer: &Bundle,
    signer: Option<&Signer>,
) -> Result<Vec<String>, SiteError> {
    if let Some((channel, reason)) = channels.stranded(releases) {
        return Err(SiteError::Stranded { channel: channel.clone(), reason });
    }
    let site = render(&project.config, channels, releases, installer, signer)?;
    let receipts = project.store_dir.join(".checked.json");
    site.write(&project.store(), &project.site_dir, &receipts, &Disk::default())?;
    Ok(site.warnings)
}
