//! `merge`: one release of several parts.

use super::{
    notes::Choice,
    print_json,
    release::{Asked, refuse_secrets, summary, tell, with_hint},
    site::From,
};
use crate::{
    cli::Global,
    merge::{MergeError, Merged, Part},
    name::TargetName,
    project::{Places, Project},
    publish::Words,
    store::{Store, StoreMut},
    ui::Hinted,
};
use anyhow::Result;
use std::{path::PathBuf, process::ExitCode};
use towline_descriptor::Version;

/// Put a release together whose targets were built apart.
///
/// Each part is the store of a `cargo xtask release --no-site --targets NAME
/// --store PART`, run somewhere else on the same commit. All targets of
/// towline.toml have to be there: a target that failed publishes nothing. Every
/// artifact is verified, the rules of releases hold as for `cargo xtask release`, and
/// the release is recorded in the store.
///
/// A run that was killed is completed by running it again.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folders of the parts.
    #[arg(required = true, value_name = "PART")]
    parts: Vec<PathBuf>,
    /// Leave out targets of towline.toml, or targets that the previous release had;
    /// their devices stay on it.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    drop_target: Vec<TargetName>,
    #[command(flatten)]
    notes: Choice,
    /// Oldest version whose settings this release understands, where the parts do
    /// not say it.
    #[arg(long, value_name = "VERSION")]
    min_from: Option<Version>,
    /// Where the releases are that this one follows on, beside those of the store.
    #[arg(long, value_enum, default_value_t, value_name = "PLACE")]
    from: From,
    /// Folder that keeps release records and artifacts [default: dist/store].
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Print the record as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(global: &Global, args: &Args) -> Result<ExitCode> {
    let ui = global.ui();
    let places = Places { store: args.store.clone(), site_dir: None };
    let project = Project::open(global.manifest.as_deref(), &places)?;
    let config = &project.config;
    let channels = project.channels()?;
    let notes = args.notes.read()?;
    let asked = Asked { notes: notes.is_given(), min_from: args.min_from.is_some() };

    let parts = args.parts.iter().map(|path| Part::read(path)).collect::<Result<Vec<_>, _>>();
    let merged = parts.and_then(|parts| {
        Merged::new(&parts, config.targets.keys(), &args.drop_target, |record| Words {
            notes: notes.of(config, &record.version),
            min_from: args.min_from.clone(),
        })
    });
    let merged = merged.map_err(hinted)?;
    let made = &merged.record;
    anyhow::ensure!(
        made.project == config.project,
        "the parts are of project {}, towline.toml says {}",
        made.project,
        config.project
    );
    let is_known = project.releases()?.iter().any(|record| record.version == made.version);
    refuse_secrets(&project, made, merged.files(), is_known)?;

    let store = project.store();
    let lock = store.lock(|| ui.say("waiting for another run that changes the store"))?;
    let kept = store.records()?;
    let mut elsewhere = args.from.records(&project, ui)?;
    elsewhere.retain(|record| kept.iter().all(|kept| kept.version != record.version));
    let mut existing = [kept, elsewhere.clone()].concat();
    existing.sort_by(|a, b| a.version.precedence(&b.version));
    let admission = merged.keep(&store, &existing, &args.drop_target).map_err(with_hint)?;
    // What is missing or damaged of a release that was recorded before.
    merged.put_artifacts(&store)?;
    if let Some(record) = elsewhere.iter().find(|record| record.version == made.version) {
        store.put_record(record)?;
    }
    let releases = store.records()?;
    drop(lock);

    let record = releases.iter().find(|r| r.version == made.version).expect("kept above");
    if args.json {
        print_json(record)?;
        return Ok(ExitCode::SUCCESS);
    }
    println!("{}", summary(record, &project, &channels, &releases));
    tell(ui, admission, record, made, asked);
    ui.say("\nnext: `cargo xtask site` renders and signs the site, `cargo xtask publish` makes the GitHub Release");
    Ok(ExitCode::SUCCESS)
}

fn hinted(error: MergeError) -> anyhow::Error {
    let hint = match &error {
        MergeError::NotOne { .. } => {
            "make each part in an empty folder: `cargo xtask release --no-site --targets NAME --store PART`"
        }
        MergeError::Differs { .. } => "build all parts of one commit, with the same options",
        MergeError::Missing { .. } => {
            "build them too, or name those that end with --drop-target; their devices stay on the last release"
        }
        _ => return error.into(),
    };
    Hinted::new(error.to_string(), hint).into()
}
