//! `site`: the site from records alone.

use super::updates::PatchChoice;
#[cfg(feature = "github")]
use crate::github::{Place, Token, api::Api, store::GithubStore};
use crate::{
    channel::Channels,
    check::secrets::Secrets,
    cli::Global,
    disk::Disk,
    installer::{Bundle, Installer},
    keys::{CHANNEL_KEY, Held, KEYS, Kind, SecretKey, chain::Chain, hinted, root::Root},
    patch::{cache::Cache, plan},
    project::{Places, Project},
    release::Record,
    signing::{self, Signer, SigningError, Standing, artifacts},
    site::{Index, Keep, SiteError, render},
    source::DAY,
    store::Store,
    ui::{self, Hinted, Ui},
    workflow,
};
use anyhow::Result;
use std::{env, fmt::Display, process::ExitCode};

/// Render the site from the release records, without building firmware.
///
/// Run it after channels.toml has changed. The same records, configuration and
/// channels give the same bytes on any machine. The new site is checked before
/// it takes the place of the old one.
///
/// With `--from github` the releases are those that the project has published on
/// GitHub. The folder of the store keeps what was downloaded: an unchanged run
/// downloads nothing. Releases that are in the folder alone are not rendered.
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
    #[command(flatten)]
    patches: PatchChoice,
    /// Where the releases are.
    #[arg(long, value_enum, default_value_t, value_name = "PLACE")]
    from: From,
    /// In a step of a GitHub workflow: set its output `rendered`. It is `false` where
    /// nothing has been released yet, which is no error then.
    #[arg(long)]
    github: bool,
}

/// Where the releases of a project are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum From {
    /// In the folder of the store.
    #[default]
    Store,
    /// On GitHub.
    #[cfg(feature = "github")]
    Github,
}

impl From {
    /// Returns the records of all releases that are there, lowest version first. For
    /// those on GitHub the store has to be locked.
    pub(crate) fn records(self, project: &Project, ui: Ui) -> Result<Vec<Record>> {
        match self {
            Self::Store => project.releases(),
            #[cfg(feature = "github")]
            Self::Github => Ok(listed(project, ui)?.records()?),
        }
    }
}

pub(crate) fn run(global: &Global, args: &Args) -> Result<ExitCode> {
    let mut project = Project::open(global.manifest.as_deref(), &args.places)?;
    args.patches.apply(&mut project.config);
    let ui = global.ui();
    // What is missing here shows before the long work begins.
    if args.from == From::Store && project.releases()?.is_empty() {
        return nothing_to_render(&project.store_dir.display(), "release", args.github);
    }
    let installer = Installer::beside_program()?.built(ui)?;
    let _lock =
        project.store().lock(|| ui.say("waiting for another run that changes the store"))?;
    match args.from {
        From::Store => render_from(&project, &project.store(), &installer, args.refresh, ui)?,
        #[cfg(feature = "github")]
        From::Github => {
            let store = listed(&project, ui)?;
            let releases = store.records()?;
            if releases.is_empty() {
                let place = Place::of(&project.config)?.repository;
                // After a tag there has to be one; and releases that are not ours, for
                // their tags or records, are no beginning.
                let is_tag = env::var_os("GITHUB_REF_TYPE").is_some_and(|kind| kind == "tag");
                let is_beginning = args.github && !is_tag && store.ignored().is_empty();
                return nothing_to_render(&place, "publish", is_beginning);
            }
            store.fetch(&held(&project, &releases)?, ui)?;
            render_from(&project, &store, &installer, args.refresh, ui)?;
        }
    }
    if args.github {
        workflow::set_outputs(&[("rendered", "true")])?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Renders the site of the releases of a store.
fn render_from(
    project: &Project,
    store: &impl Store,
    installer: &Bundle,
    refresh: bool,
    ui: Ui,
) -> Result<()> {
    let releases = store.records()?;
    let channels = project.channels()?;
    let signer = signer(project, store, &releases, refresh)?;
    let written = write(project, store, &channels, &releases, installer, signer.as_ref(), ui)?;
    warn(&written.warnings);
    println!("{}", project.site_dir.display());
    tell(signer.as_ref());
    Ok(())
}

/// Ends where nothing has been released yet: a site of nothing is an error, but for
/// a workflow, which runs from the first push on.
fn nothing_to_render(place: &dyn Display, command: &str, is_beginning: bool) -> Result<ExitCode> {
    let message = format!("no release in {place}");
    if !is_beginning {
        let hint = format!("make one with `cargo xtask {command}`");
        return Err(Hinted::new(message, hint).into());
    }
    workflow::set_outputs(&[("rendered", "false")])?;
    workflow::add_to_summary(&format!("There is {message} yet, and so no site to deploy.\n"))?;
    println!("{message} yet");
    Ok(ExitCode::SUCCESS)
}

/// Opens the releases on GitHub, with their records at hand.
#[cfg(feature = "github")]
fn listed(project: &Project, ui: Ui) -> Result<GithubStore> {
    let place = Place::of(&project.config)?;
    ui.say(format_args!("fetching the releases of {}", place.repository));
    let token = Token::of_environment()?;
    let api = || Ok(Api::new(place, token, ui)?);
    let (name, disk) = (&project.config.project, Disk::default());
    let store = GithubStore::open(api, name, &project.store_dir, &disk)?;
    if !store.ignored().is_empty() {
        let tags = store.ignored().join(", ");
        ui.say(format_args!("left out, for they have no record or another tag: {tags}"));
    }
    Ok(store)
}

/// Makes the signer of a project with the keys at hand; `None` if the project
/// has no keys.
pub(crate) fn signer(
    project: &Project,
    store: &impl Store,
    releases: &[Record],
    refresh: bool,
) -> Result<Option<Signer>> {
    let standing = Standing::read(&project.site_dir)?;
    let Some(chain) = project.chain()? else {
        standing.refuse_unsigned()?;
        refuse_keys_without_root(project)?;
        return Ok(None);
    };
    let root = chain.newest().root.clone();
    let keys = keys_at_hand(project, &root)?;
    let now = signing::now()?;
    let valid = u64::from(project.config.signing.valid_days.get()) * DAY;
    let signatures = artifacts::sign(
        &held(project, releases)?,
        &root,
        &keys,
        store,
        &project.store_dir.join("signatures"),
        &Disk::default(),
    )?;
    let signer = Signer::new(chain, keys, standing, now, valid, refresh)?;
    Ok(Some(signer.with_signatures(signatures)))
}

/// Returns the releases that the site may have a place for: nothing is read of the
/// others.
fn held(project: &Project, releases: &[Record]) -> Result<Vec<Record>> {
    let channels = project.channels()?;
    let keep = Keep::of(&project.config, &channels, releases);
    Ok(keep.with(keep.most(project.config.site.max_size)).releases)
}

/// Returns the channel keys at hand that a root names, and tells of those in the
/// variable that it does not name.
fn keys_at_hand(project: &Project, root: &Root) -> Result<Vec<SecretKey>> {
    let public = root.channel_keys();
    let is_named = |id| public.iter().any(|key| key.id() == id);
    let keys = project.key_folder()?.channel_keys(is_named).map_err(hinted)?;
    let text = env::var(CHANNEL_KEY).unwrap_or_default();
    for held in Held::all_in(&text, CHANNEL_KEY).unwrap_or_default() {
        let id = held.read(CHANNEL_KEY).map_err(hinted)?.public().id();
        if !is_named(id) {
            ui::warn(format_args!(
                "{CHANNEL_KEY} holds the key {id}, which root {} names for no channel",
                root.version
            ));
        }
    }
    Ok(keys)
}

/// Returns what no public file of a project with these roots may have.
pub(crate) fn secrets(project: &Project, chain: Option<&Chain>) -> Secrets {
    // Without a folder there are no keys at hand to look for.
    let secrets = project.key_folder().map(|folder| Secrets::of(&folder)).unwrap_or_default();
    let roots = chain.into_iter().flat_map(Chain::links);
    let roles = roots.flat_map(|link| link.root.roles.values());
    let named = roles.flat_map(|role| role.keys.iter().copied());
    secrets.naming(named).except_in(&project.config.check.not_secret)
}

/// Refuses what could not be signed in the end, before the long work begins.
///
/// `is_recorded` says whether the release is known already: its signatures may be
/// too.
pub(crate) fn require_key(project: &Project, is_recorded: impl FnOnce() -> bool) -> Result<()> {
    let Some(chain) = project.chain()? else { return refuse_keys_without_root(project) };
    let root = &chain.newest().root;
    if !keys_at_hand(project, root)?.is_empty() || is_recorded() {
        return Ok(());
    }
    let no_key = SigningError::NoKey {
        what: "a release".into(),
        threshold: 1,
        at_hand: 0,
        keys: root.channel_keys().iter().map(|key| key.id().to_string()).collect(),
    };
    let hint = "`cargo xtask release --no-site` needs no key; `cargo xtask site` then signs";
    Err(Hinted::new(no_key.to_string(), hint).into())
}

/// Refuses to publish without signatures where there are keys to sign with: the
/// folder of roots got lost on the way.
fn refuse_keys_without_root(project: &Project) -> Result<()> {
    let is_set = std::env::var(CHANNEL_KEY).is_ok_and(|text| !text.trim().is_empty());
    let folder = project.key_folder().ok();
    let file = folder
        .and_then(|folder| folder.files().ok())
        .and_then(|files| files.into_iter().find(|file| file.kind == Kind::Channel));
    let place = match file {
        _ if is_set => CHANNEL_KEY.to_owned(),
        Some(file) => file.path.display().to_string(),
        None => return Ok(()),
    };
    Err(Hinted::new(
        format!("{place} holds a channel key, and root/1.json is missing: nothing would be signed"),
        format!(
            "bring back the folder root/ beside towline.toml, which belongs in the repository; of a project that is to have no keys, unset {CHANNEL_KEY}, and let {KEYS} name another folder"
        ),
    )
    .into())
}

/// Says what a person should know of the signatures.
pub(crate) fn tell(signer: Option<&Signer>) {
    let Some(signer) = signer else {
        ui::warn(
            "the project has no keys: devices trust whoever controls its host; `cargo xtask keys init` makes some",
        );
        return;
    };
    let earliest = signer.now().saturating_add(signer.valid() / 2);
    let now = signing::clock();
    if earliest < now {
        ui::warn(
            "SOURCE_DATE_EPOCH is long past: descriptors that were signed by it expire soon, or have already; unset it for `site`",
        );
    }
}

/// Says what the publisher ought to know of a site.
pub(crate) fn warn(warnings: &[String]) {
    warnings.iter().for_each(ui::warn);
}

/// A site that was written.
pub(crate) struct Written {
    /// What is on it.
    pub(crate) index: Index,
    /// What the publisher ought to know of it.
    pub(crate) warnings: Vec<String>,
}

/// Renders, writes and checks the site of a project, with the patches to what its
/// channels serve.
pub(crate) fn write(
    project: &Project,
    store: &impl Store,
    channels: &Channels,
    releases: &[Record],
    installer: &Bundle,
    signer: Option<&Signer>,
    ui: Ui,
) -> Result<Written, SiteError> {
    if let Some((channel, reason)) = channels.stranded(releases) {
        return Err(SiteError::Stranded { channel: channel.clone(), reason });
    }
    let config = &project.config;
    let wanted = plan::wanted(config, channels, releases);
    let cache = Cache::new(&project.store_dir, &Disk::default());
    let (patches, unmade) = cache.get(&wanted, config.patches.profile, store, ui)?;
    let mut site = render(config, channels, releases, &patches, installer, signer)?;
    site.warnings.extend(unmade.iter().map(ToString::to_string));
    site.warnings.extend(plan::unknown(config, releases).iter().map(|version| {
        format!("`also` of `[patches]` in towline.toml names {version}, which was never released")
    }));
    let receipts = project.store_dir.join(".checked.json");
    let secrets = secrets(project, signer.map(Signer::chain));
    let (folder, allowed) = (&project.site_dir, &config.check.allow.0);
    let known = site.write(store, folder, &receipts, &secrets, allowed, &Disk::default())?;
    let warnings = site.warnings.into_iter().chain(known.iter().map(ToString::to_string));
    Ok(Written { index: site.index, warnings: warnings.collect() })
}
