//! `release`: the main job.

use super::{
    build::build_images,
    chosen_targets,
    notes::Choice,
    plan, print_json, site,
    updates::{self, PatchChoice, Update},
};
use crate::{
    build::expected_version,
    check::{Code, Finding, secrets::Published},
    cli::Global,
    config::FILE,
    installer::Installer,
    name::TargetName,
    project::{Places, Project},
    publish::{Draft, DraftError, TargetFacts, Words},
    release::{Admission, Record},
    site::{SiteError, refuse_foreign, size_text},
    source::Source,
    store::Store,
    ui::{Hinted, Ui, table},
};
use anyhow::Result;
use indexmap::IndexMap;
use serde::Serialize;
use std::process::ExitCode;
use towline_descriptor::Version;

/// Build a release of every target and publish it to the site.
///
/// Builds the firmware, and once the installer of the page (with Node), makes
/// and verifies the images, records the release in the store, lets the channels of channels.toml choose what they serve, and
/// renders the site. The new site is checked as its clients will use it and
/// then takes the place of the old one at once.
///
/// A release is immutable: the same version with other bytes is an error. A
/// run that was killed is completed by running it again.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Version of the release; must be the one that the images carry.
    #[arg(long, value_name = "VERSION")]
    version: Option<Version>,
    /// Release these targets only.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    targets: Vec<TargetName>,
    /// Leave out targets that the previous release had; their devices stay on
    /// it.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    drop_target: Vec<TargetName>,
    #[command(flatten)]
    notes: Choice,
    /// Oldest version whose settings this release understands. The page warns
    /// those who would keep the settings of an older one, and devices that run
    /// an older one go over a release between.
    #[arg(long, value_name = "VERSION")]
    min_from: Option<Version>,
    #[command(flatten)]
    patches: PatchChoice,
    #[command(flatten)]
    places: Places,
    /// Record the release and stop before the site: no key is needed, and nothing
    /// that builds run comes near one. `cargo xtask site` signs and publishes.
    #[arg(long)]
    no_site: bool,
    /// Show the plan and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// Print the record, or with --dry-run the plan, as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(global: &Global, args: &Args) -> Result<ExitCode> {
    let ui = global.ui();
    let mut project = Project::open(global.manifest.as_deref(), &args.places)?;
    args.patches.apply(&mut project.config);
    let config = &project.config;
    let mut targets = chosen_targets(config, &args.targets)?;
    targets.retain(|target| !args.drop_target.contains(target));
    anyhow::ensure!(!targets.is_empty(), "no target is left to release");
    // Faults of the state files show before the long work begins.
    let channels = project.channels()?;
    let notes = args.notes.read()?;
    if args.dry_run {
        let (version, releases) = (args.version.clone(), project.releases()?);
        let plan = plan::make(&project, &targets, &args.drop_target, version, &releases)?;
        plan::show(&plan, args.json)?;
        return Ok(ExitCode::SUCCESS);
    }
    let known = project.releases()?;
    let installer = match args.no_site {
        true => None,
        false => {
            refuse_foreign(&project.site_dir)?;
            site::require_key(&project, || {
                let version = expected_version(&config.targets[&targets[0]]);
                known.iter().any(|record| Some(&record.version) == version.as_ref())
            })?;
            Some(Installer::beside_program()?.built(ui)?)
        }
    };
    let source = Source::of(&config.root)?;
    let images = build_images(&project, &targets, &source, ui)?;
    let facts = |name: &TargetName| {
        let target = &config.targets[name];
        TargetFacts { chip: target.chip, flash_size: target.flash_size.size(), psram: target.psram }
    };
    let images: IndexMap<_, _> = images
        .into_iter()
        .map(|(name, images)| {
            let facts = facts(&name);
            (name, (images, facts))
        })
        .collect();
    let version = args.version.as_ref();
    let asked = Asked { notes: notes.is_given(), min_from: args.min_from.is_some() };
    let notes = images.first().and_then(|(_, (first, _))| notes.of(config, &first.version));
    let words = Words { notes, min_from: args.min_from.clone() };
    let draft = Draft::new(&config.project, &source, words, version, &project.releases()?, images)
        .map_err(|error| match error {
            DraftError::Asked { .. } => anyhow::Error::from(Hinted::new(
                error.to_string(),
                "set the version where the firmware has it, such as its Cargo.toml, or leave out --version",
            )),
            error => error.into(),
        })?;

    let is_known = known.iter().any(|record| record.version == draft.record.version);
    refuse_secrets(&project, &draft.record, draft.files(), is_known)?;

    let store = project.store();
    let lock = store.lock(|| ui.say("waiting for another run that changes the store"))?;
    let admission = draft.keep(&store, &store.records()?, &args.drop_target).map_err(with_hint)?;
    let releases = store.records()?;
    let (signer, index) = match &installer {
        // What is missing or damaged does not show before the site is made.
        None => {
            draft.put_artifacts(&store)?;
            (None, None)
        }
        Some(installer) => {
            ui.say("rendering and checking the site");
            let render = || -> Result<_> {
                let signer = site::signer(&project, &store, &releases, false)?;
                let written = site::write(
                    &project,
                    &store,
                    &channels,
                    &releases,
                    installer,
                    signer.as_ref(),
                    ui,
                )?;
                Ok((signer, written))
            };
            let (signer, written) = match render() {
                // An artifact is missing or damaged; those of this release are
                // at hand.
                Err(error) if is_of_artifacts(&error) => {
                    draft.put_artifacts(&store)?;
                    render()?
                }
                result => result?,
            };
            site::warn(&written.warnings);
            (signer, Some(written.index))
        }
    };
    drop(lock);

    let record = releases.iter().find(|r| r.version == draft.record.version).expect("kept above");
    let updates: Vec<Update> =
        index.iter().flat_map(|index| updates::updates(index, &record.version)).collect();
    if args.json {
        print_json(&Report { record, updates: &updates })?;
        if !args.no_site {
            site::tell(signer.as_ref());
        }
        return Ok(ExitCode::SUCCESS);
    }
    println!("{}", summary(record, &project, &channels, &releases));
    if !updates.is_empty() {
        println!("\n{}", updates::text(&updates));
    }
    tell(ui, admission, record, &draft.record, asked);
    ui.say("");
    if args.no_site {
        ui.say("next: sign and publish it with `cargo xtask site`");
        return Ok(ExitCode::SUCCESS);
    }
    site::tell(signer.as_ref());
    ui.say(format_args!(
        "next: try the page with `cargo xtask serve`, then publish {} as {}",
        project.site_dir.display(),
        config.base_url,
    ));
    Ok(ExitCode::SUCCESS)
}

/// The result for machines.
#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    record: &'a Record,
    /// What devices fetch for an update to it; empty where no channel serves it.
    updates: &'a [Update],
}

/// What of a release somebody asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) notes: bool,
    pub(super) min_from: bool,
}

/// Says what came of a release that may have been recorded before. `made` is what
/// it would have been recorded as.
pub(super) fn tell(ui: Ui, admission: Admission, record: &Record, made: &Record, asked: Asked) {
    if admission == Admission::Known {
        ui.say(format_args!(
            "\nrelease {} was recorded already, with the same bytes",
            record.version
        ));
        if record.notes != made.notes && asked.notes {
            ui.say("its notes stay as they were recorded");
        }
        if record.min_from != made.min_from && asked.min_from {
            let kept = record.min_from.as_ref().map_or("none", Version::as_str);
            ui.say(format_args!("its --min-from stays as it was recorded: {kept}"));
        }
    } else if record.dirty {
        ui.say("\nnote: the work tree has changes that are not committed");
    }
}

/// Refuses a release with secrets in its images or notes: what is recorded stays. In one
/// that is recorded already, only the project's own keys are worth an error. `files` are
/// those of the release, by their path on the site.
pub(super) fn refuse_secrets<'f>(
    project: &Project,
    record: &'f Record,
    files: impl Iterator<Item = (String, &'f [u8])>,
    is_known: bool,
) -> Result<()> {
    let secrets = site::secrets(project, project.chain()?.as_ref());
    let is_refused = |found: &Finding| match found.code {
        Code::RecordedSecretKey | Code::RecordedToken | Code::WifiCredentials => !is_known,
        code => code == Code::OwnSecretKey,
    };
    let notes = record.notes.iter().map(|notes| ("notes".to_owned(), notes.as_bytes()));
    let found = files
        .chain(notes)
        .flat_map(|(path, bytes)| secrets.find_all(Published::Recorded, &path, bytes));
    let leaks: Vec<_> = found.filter(is_refused).map(|found| format!("  {found}")).collect();
    if leaks.is_empty() {
        return Ok(());
    }
    let message =
        format!("the release has secrets, so nothing was recorded:\n{}", leaks.join("\n"));
    let hint = format!(
        "make it without; if everybody may have a key or token that is not the project's, say so in {FILE} with `[check]` and `not-secret = [\"firmware/{}\"]`",
        project.config.project
    );
    Err(Hinted::new(message, hint).into())
}

/// Returns whether writing the artifacts once more may mend an error.
fn is_of_artifacts(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(SiteError::Store(_) | SiteError::Problems(_)))
}

pub(super) fn with_hint(error: crate::publish::KeepError) -> anyhow::Error {
    use crate::{publish::KeepError::Rule, release::RuleError};
    let hint = match &error {
        Rule(RuleError::OtherBytes { .. } | RuleError::EqualPrecedence { .. }) => {
            "a release is immutable: raise the version of the firmware; to try things out, use `cargo xtask build` or another --store"
        }
        Rule(RuleError::MissingTargets { .. }) => {
            "build them too, or name those that end with --drop-target; their devices stay on the last release"
        }
        _ => return error.into(),
    };
    Hinted::new(error.to_string(), hint).into()
}

/// Lists what was released and which channels serve it.
pub(super) fn summary(
    record: &Record,
    project: &Project,
    channels: &crate::channel::Channels,
    releases: &[Record],
) -> String {
    let head = ["TARGET", "VERSION", "SIZE", "SLOT", "SHA-256", "CHANNELS"];
    let mut rows = vec![head.map(String::from)];
    for (name, target) in &record.targets {
        let full = target.slot_size.map(|slot| u64::from(target.app.size) * 100 / u64::from(slot));
        let serving = project.config.channels.keys().filter(|channel| {
            let served = channels.serves(channel, name, releases);
            served.is_some_and(|served| served.version == record.version)
        });
        let serving: Vec<_> = serving.map(ToString::to_string).collect();
        rows.push([
            name.to_string(),
            record.version.to_string(),
            size_text(target.app.size.into()),
            full.map_or("-".into(), |percent| format!("{percent} %")),
            target.app.sha256.to_string()[..16].to_owned(),
            if serving.is_empty() { "-".into() } else { serving.join(", ") },
        ]);
    }
    table(&rows)
}
