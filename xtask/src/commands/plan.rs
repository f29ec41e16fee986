//! `plan`: what a release would do.

use super::{chosen_targets, notes::Chosen, print_json, site::From};
use crate::{
    build::{expected_version, lock::refuse_stale},
    cli::Global,
    name::TargetName,
    plan::{Plan, TagError, plan, tagged},
    project::{Places, Project},
    release::Record,
    store::Lock,
    toolchain,
    ui::{Hinted, table},
    workflow,
};
use anyhow::Result;
use std::process::ExitCode;
use towline_descriptor::Version;

/// Show what a release would do, without doing it.
///
/// Lists what would be built and with which command, what would have to be
/// installed first, and what each channel would serve afterwards. The version
/// is read from the cargo packages and prebuilt images; a target that is built
/// by another command says it only once it is built.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Plan these targets only.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub(crate) targets: Vec<TargetName>,
    /// Leave out targets that the previous release had; their devices stay on it.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    drop_target: Vec<TargetName>,
    /// Version to plan for, where the images do not say it yet.
    #[arg(long, value_name = "VERSION")]
    pub(crate) version: Option<Version>,
    /// Tag that the release is to have, such as v1.2.0; must be the one of the
    /// version that the firmware has.
    #[arg(long, value_name = "TAG", conflicts_with = "version")]
    tag: Option<String>,
    /// Where the releases are that this one follows on.
    #[arg(long, value_enum, default_value_t, value_name = "PLACE")]
    from: From,
    #[command(flatten)]
    places: Places,
    /// How to print the plan.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Print the plan as JSON; `include` is a matrix for a workflow.
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// In a step of a GitHub workflow: set its outputs `version` and `matrix`, and
    /// add the plan to the summary of the job.
    #[arg(long)]
    github: bool,
}

/// How a plan is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Tables for a terminal.
    Text,
    /// As JSON.
    Json,
    /// Markdown of the size of a comment.
    Markdown,
}

pub(crate) fn run(global: &Global, args: &Args) -> Result<ExitCode> {
    let project = Project::open(global.manifest.as_deref(), &args.places)?;
    let config = &project.config;
    let mut targets = chosen_targets(config, &args.targets)?;
    targets.retain(|target| !args.drop_target.contains(target));
    let version = match &args.tag {
        Some(tag) => {
            let version =
                |name: &TargetName| Some((name.clone(), expected_version(&config.targets[name])?));
            let versions = targets.iter().filter_map(version);
            refuse_stale(config, &targets)?;
            Some(tagged(&config.github.tag_prefix, tag, versions).map_err(hinted)?)
        }
        None => args.version.clone(),
    };
    let ui = global.ui();
    let _lock: Option<Lock> = match args.from {
        From::Store => None,
        #[cfg(feature = "github")]
        From::Github => Some(
            project.store().lock(|| ui.say("waiting for another run that changes the store"))?,
        ),
    };
    let releases = args.from.records(&project, ui)?;
    let plan = make(&project, &targets, &args.drop_target, version, &releases)?;
    let notes = || plan.version.as_ref().and_then(|version| Chosen::Automatic.of(config, version));
    if args.github {
        let version = plan.version.as_ref().map(ToString::to_string).unwrap_or_default();
        let matrix = serde_json::json!({ "include": plan.include }).to_string();
        workflow::set_outputs(&[("version", &version), ("matrix", &matrix)])?;
        workflow::add_to_summary(&plan.markdown(notes().as_deref()))?;
    }
    match args.format {
        Format::Markdown => print!("{}", plan.markdown(notes().as_deref())),
        format => show(&plan, args.json || format == Format::Json)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn hinted(error: TagError) -> anyhow::Error {
    let hint = match &error {
        TagError::OtherVersion { expected, .. } => format!(
            "set the version where the firmware has it, such as its Cargo.toml, commit, and tag that commit; or tag this one {expected}"
        ),
        TagError::NotOfRelease { .. } => {
            "`[github]` and `tag-prefix` in towline.toml say what they start with".into()
        }
    };
    Hinted::new(error.to_string(), hint).into()
}

/// Makes the plan for these targets of a project, others being dropped.
pub(crate) fn make(
    project: &Project,
    targets: &[TargetName],
    dropped: &[TargetName],
    version: Option<Version>,
    releases: &[Record],
) -> Result<Plan> {
    let config = &project.config;
    let version =
        version.or_else(|| targets.iter().find_map(|t| expected_version(&config.targets[t])));
    let has = |triple: &str| toolchain::has_target(triple, &config.root);
    let mut plan = plan(config, &project.channels()?, releases, targets, version, has);
    plan.missing.retain(|target| !dropped.contains(target));
    plan.store.clone_from(&project.store_dir);
    plan.site_dir.clone_from(&project.site_dir);
    Ok(plan)
}

/// Prints a plan.
pub(crate) fn show(plan: &Plan, json: bool) -> Result<()> {
    if json {
        return print_json(plan);
    }
    let text = |version: &Option<Version>| version.as_ref().map_or("-".into(), ToString::to_string);
    println!(
        "{} {}",
        plan.project,
        plan.version.as_ref().map_or("(version as built)".into(), ToString::to_string)
    );
    println!("newest release so far: {}\n", text(&plan.newest));
    let mut rows = vec![["TARGET", "CHIP", "BUILD", "NEEDS"].map(String::from)];
    for target in &plan.targets {
        let build = match &target.command {
            Some(command) => format!("{} (in {})", command.join(" "), target.from.display()),
            None => format!("prebuilt {}", target.from.display()),
        };
        let needs = target.needs.clone().unwrap_or_else(|| "-".into());
        rows.push([target.name.to_string(), target.chip.to_string(), build, needs]);
    }
    println!("{}\n", table(&rows));
    let mut rows = vec![["CHANNEL", "RULE", "NOW", "THEN", "PATCHES FROM"].map(String::from)];
    for channel in &plan.channels {
        let from: Vec<_> = channel.patches_from.iter().map(ToString::to_string).collect();
        rows.push([
            channel.name.clone(),
            channel.rule.clone(),
            text(&channel.now),
            text(&channel.then),
            if from.is_empty() { "-".into() } else { from.join(", ") },
        ]);
    }
    println!("{}\n", table(&rows));
    if !plan.missing.is_empty() {
        let names: Vec<_> = plan.missing.iter().map(TargetName::as_str).collect();
        println!("missing, and to be named with --drop-target: {}\n", names.join(", "));
    }
    println!("store {}\nsite  {}", plan.store.display(), plan.site_dir.display());
    Ok(())
}
