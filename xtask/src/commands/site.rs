//! `site`: the site from records alone.

use crate::{
    channel::Channels,
    cli::Global,
    disk::Disk,
    installer::{Bundle, Installer},
    project::{Places, Project},
    release::Record,
    site::{SiteError, render},
    ui::{Hinted, Ui},
};
use anyhow::Result;
use std::process::ExitCode;

/// Render the site from the release records, without building firmware.
///
/// Run it after channels.toml has changed. The same records, configuration and
/// channels give the same bytes on any machine. The new site is checked before
/// it takes the place of the old one.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    places: Places,
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
    let warnings = write(&project, &project.channels()?, &releases, &installer)?;
    warn(ui, &warnings);
    println!("{}", project.site_dir.display());
    Ok(ExitCode::SUCCESS)
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
) -> Result<Vec<String>, SiteError> {
    if let Some((channel, reason)) = channels.stranded(releases) {
        return Err(SiteError::Stranded { channel: channel.clone(), reason });
    }
    let site = render(&project.config, channels, releases, installer)?;
    let receipts = project.store_dir.join(".checked.json");
    site.write(&project.store(), &project.site_dir, &receipts, &Disk::default())?;
    Ok(site.warnings)
}
