//! `publish`.

use super::print_json;
use crate::{
    cli::Global,
    github::{
        Place, Token,
        api::Api,
        local::Local,
        model::Release,
        plan::{Call, PlanError},
        publish::{self, PublishError},
        runtime, with_hint,
    },
    project::{Places, Project},
    release::Record,
    ui::{self, Hinted, Ui},
};
use anyhow::Result;
use clap::ValueEnum;
use serde::Serialize;
use std::{path::PathBuf, process::ExitCode};
use towline_descriptor::Version;

/// Publish a release of the store as a GitHub Release.
///
/// Makes a draft for the tag of the version, uploads the artifacts, their sums and
/// the record, and publishes it when all is there. What GitHub has already is not
/// uploaded again, so a run that was killed is completed by running it again; the
/// same name with other bytes is an error. `cargo xtask site --from github` then
/// renders the site from what is published.
///
/// The token is read from GH_TOKEN or GITHUB_TOKEN; it needs to write the contents
/// of the repository (`permissions:` with `contents: write` in a workflow).
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Version to publish [default: that of the tag in GITHUB_REF_NAME, else the
    /// newest of the store].
    version: Option<Version>,
    /// Folder that keeps release records and artifacts [default: dist/store].
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Whether GitHub marks it as a prerelease.
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    prerelease: Prerelease,
    /// Publish a release that was built from changes which are not committed.
    #[arg(long)]
    allow_dirty: bool,
    /// Show the calls that are left to make, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Prerelease {
    /// If its version says so.
    #[default]
    Auto,
    /// It is one.
    Yes,
    /// It is none.
    No,
}

/// The result for machines.
#[derive(Serialize)]
struct Report<'a> {
    repository: String,
    tag: &'a str,
    version: &'a Version,
    prerelease: bool,
    /// Where people find it; `None` before there is one.
    url: Option<&'a str>,
    draft: bool,
    /// What was done, or with --dry-run would be.
    calls: &'a [Call],
}

pub(crate) fn run(global: &Global, args: &Args) -> Result<ExitCode> {
    let ui = global.ui();
    let places = Places { store: args.store.clone(), site_dir: None };
    let project = Project::open(global.manifest.as_deref(), &places)?;
    let place = Place::of(&project.config)?;
    let token = Token::of_environment()?;
    let record = chosen(&project, &place, args)?;
    refuse_dirty(&record, args.allow_dirty)?;
    if token.is_none() && !args.dry_run {
        return Err(Hinted::new(
            "no token: neither GH_TOKEN nor GITHUB_TOKEN is set",
            "in a workflow, give the job `permissions:` with `contents: write` and the step `env:` with `GH_TOKEN: ${{ github.token }}`; at a desk, use a token that may read and write the contents of the repository",
        )
        .into());
    }
    let is_prerelease = match args.prerelease {
        Prerelease::Auto => record.version.is_prerelease(),
        Prerelease::Yes => true,
        Prerelease::No => false,
    };
    let store = project.store();
    let title = &project.config.title;
    let local = Local::new(&record, &store, &place, title, is_prerelease)?;
    let hinted = |error| match error {
        PublishError::Api(error) | PublishError::Denied(error) => with_hint(&place, error),
        error => explained(error),
    };
    let runtime = runtime()?;
    let _inside = runtime.enter();
    let api = Api::new(place.clone(), token, ui)?;
    runtime.block_on(check_tag(&api, &local)).map_err(hinted)?;
    let report = |release: Option<&Release>, calls: &[Call]| -> Result<()> {
        let report = Report {
            repository: place.repository.to_string(),
            tag: &local.goal.tag,
            version: &record.version,
            prerelease: is_prerelease,
            url: release.map(|release| release.html_url.as_str()),
            draft: release.is_none_or(|release| release.draft),
            calls,
        };
        if args.json { print_json(&report) } else { show(&report, args.dry_run, ui) }
    };
    if args.dry_run {
        if !api.has_token() {
            ui::warn("without a token drafts are not seen");
        }
        let plan = runtime.block_on(publish::preview(&api, &local.goal)).map_err(hinted)?;
        report(plan.release.as_ref(), &plan.calls)?;
        return Ok(ExitCode::SUCCESS);
    }
    ui.say(format_args!("publishing {} to {}", local.goal.tag, place.repository));
    let done = runtime.block_on(publish::publish(&api, &local, ui)).map_err(hinted)?;
    report(Some(&done.release), &done.calls)?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the release that was asked for, or the tag is of, or the newest.
fn chosen(project: &Project, place: &Place, args: &Args) -> Result<Record> {
    let releases = project.releases()?;
    let variable = |name| std::env::var(name).unwrap_or_default();
    let tagged = || {
        let is_tag = variable("GITHUB_REF_TYPE") == "tag";
        is_tag.then(|| place.tags.version(&variable("GITHUB_REF_NAME"))).flatten()
    };
    let Some(version) = args.version.clone().or_else(tagged) else {
        let newest = releases.into_iter().next_back();
        return newest.ok_or_else(|| {
            let message = format!("no release in {}", project.store_dir.display());
            Hinted::new(message, "make one with `cargo xtask release`").into()
        });
    };
    let mut of_version =
        releases.into_iter().filter(|record| record.version.without_v() == version.without_v());
    of_version.next().ok_or_else(|| {
        let message = format!("no release {version} in {}", project.store_dir.display());
        Hinted::new(message, "make it with `cargo xtask release`, or put its parts together with `cargo xtask merge`").into()
    })
}

/// Refuses what nobody can build again.
fn refuse_dirty(record: &Record, is_allowed: bool) -> Result<()> {
    if !record.dirty || is_allowed {
        return Ok(());
    }
    Err(Hinted::new(
        format!("release {} was built from changes that are not committed", record.version),
        "commit them and release again under a new version, or publish it all the same with --allow-dirty",
    )
    .into())
}

/// Checks what the tag says, and tells what GitHub will do without one.
async fn check_tag(api: &Api, local: &Local<'_>) -> Result<(), PublishError> {
    let (goal, has_tag) = (&local.goal, publish::check_tag(api, &local.goal).await?);
    match (&goal.commit, has_tag) {
        (Some(_), _) => {}
        (None, true) => ui::warn(format_args!(
            "the release names no commit, so nobody knows whether {} is its source",
            goal.tag
        )),
        (None, false) => ui::warn(format_args!(
            "the release names no commit: GitHub makes the tag {} at its default branch",
            goal.tag
        )),
    }
    Ok(())
}

fn explained(error: PublishError) -> anyhow::Error {
    let hint = match &error {
        PublishError::Plan(PlanError::OtherBytes { .. }) => {
            "a release is immutable: raise the version of the firmware; what is only a draft may be deleted on GitHub"
        }
        PublishError::Plan(_) => "delete one of the two drafts on GitHub",
        PublishError::Tag { .. } => {
            "release from the commit of the tag, or raise the version and tag the commit of the release"
        }
        PublishError::Arrived { .. } => {
            "delete the file on GitHub and run it again; if it happens again, something between changes uploads"
        }
        _ => return error.into(),
    };
    Hinted::new(error.to_string(), hint).into()
}

fn show(report: &Report<'_>, is_preview: bool, ui: Ui) -> Result<()> {
    let (tag, repository) = (report.tag, &report.repository);
    if is_preview {
        match report.calls {
            [] => println!("{tag} is complete in {repository}: nothing to do"),
            calls => calls.iter().for_each(|call| println!("{call}")),
        }
        return Ok(());
    }
    let uploads = report.calls.iter().filter(|call| matches!(call, Call::Upload { .. })).count();
    match (report.calls, uploads) {
        ([], _) => ui.say(format_args!("{tag} was complete: nothing to do")),
        (_, 0) => ui.say(format_args!("published {tag}; all files were there")),
        _ => ui.say(format_args!("published {tag}: {uploads} files uploaded")),
    }
    println!("{}", report.url.unwrap_or_default());
    Ok(())
}
