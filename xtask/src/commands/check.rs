//! `check`: opens a site as its clients do.

mod place;

use super::site;
use crate::{
    check::{
        Allow, CODES, Code, Finding, Findings, Severity, Start, Terms, draw_paths,
        report::{Format, Report, Style},
        secrets::{self, Secrets},
    },
    cli::Global,
    config,
    disk::Disk,
    keys::{KEYS, KeyError, KeyFolder},
    project::{Places, Project},
    signing,
    site::INDEX,
    source::DAY,
    ui::{self, Hinted},
};
use anyhow::{Context, Result, bail};
use place::Place;
use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Check a site as its clients will use it, whatever made it.
///
/// Opens every descriptor with the parser of the device, checks every image as
/// the bootloader does, compares sizes, hashes, chips, projects and versions,
/// and looks where each part of a first flash would be written. Verifies roots
/// and signatures as devices do, and looks for secret keys in the site, and in
/// the repository of a project whose site is in a folder. Of a site that Towline
/// did not make, it checks manifests of esp-web-tools, with the `ota` of ESPHome or
/// without, descriptors that are a version and a path, and images; at a URL, those
/// that its page names or that are where others have theirs, on other hosts too.
/// Lists all that it finds, each with a code. Exit code 0: no problem, 1: problems, 2: it could not be
/// checked.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder or URL of the site, or a manifest, descriptor or image of it: a file, or
    /// a URL that ends in .json or .bin [default: dist/site].
    #[arg(value_name = "DIR | URL | FILE")]
    site: Option<String>,
    /// Trust the certificates in this PEM file too.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Connect to this address whatever the host is, such as that of `cargo
    /// xtask serve --https`.
    #[arg(long, value_name = "ADDRESS:PORT")]
    connect: Option<SocketAddr>,
    /// Open no connection: of a URL, go by what the cache has.
    #[arg(long)]
    offline: bool,
    /// Keep what is fetched in this folder, to ask only for what has changed
    /// [default: `towline/check` of the user's cache; none with --connect or --ca, and
    /// none for plain http].
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Fetch everything anew, and keep nothing of it.
    #[arg(long, conflicts_with_all = ["cache", "offline"])]
    no_cache: bool,
    /// Compare with the site that is published now: what is signed must not go
    /// backwards.
    #[arg(long, value_name = "DIR | URL", group = "old")]
    against: Option<String>,
    /// Compare with the site at the base-url of towline.toml; there may be none yet.
    #[arg(long, group = "old")]
    published: bool,
    /// Let what has this code pass, everywhere or in a file or folder, and say why:
    /// `--allow gone:ota/testing/=ended`. What is to pass for good belongs into
    /// `[check]` of towline.toml: `allow = { "CODE:PATH" = "REASON" }`.
    #[arg(long, value_name = "CODE[:PATH]=REASON")]
    allow: Vec<Allow>,
    /// Leave out what is allowed: not every reader of SARIF knows that it is, GitHub for
    /// one.
    #[arg(long)]
    hide_allowed: bool,
    /// Days that signatures have to count for yet [default: a quarter of their
    /// time].
    #[arg(long, value_name = "N")]
    min_days: Option<u16>,
    /// Go by this time, in seconds since 1970, instead of the clock's.
    #[arg(long, value_name = "UNIX", hide = true)]
    now: Option<u64>,
    /// How to write what was found: for people (with `--quiet` in short), for
    /// scripts, for tools that read SARIF 2.1.0, or as annotations of a workflow run.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
    /// The same as `--format json`: `{"problems":[{"path":…,"code":…,"severity":…,"message":…}]}`,
    /// with `"offset"` where it is known; `"warnings"`, `"notes"` and `"allowed"`
    /// alike if there are some, and with signatures `"expires"`, the first second
    /// since 1970 at which one does not count any more.
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Tell too what a device on each release would do now: what it installs, one
    /// after the other, what it downloads, and where that ends.
    #[arg(long)]
    paths: bool,
    /// Let a device on each release poll, with the client that devices run and a file
    /// as flash; a site in a folder is served for that on this machine.
    #[arg(long)]
    simulate: bool,
    /// Draw the ways of all devices into this file.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Explain a code and check nothing; without a code, list all.
    #[arg(long, value_name = "CODE", num_args = 0..=1)]
    explain: Option<Option<Code>>,
}

pub(crate) fn run(global: &Global, args: &Args) -> Result<ExitCode> {
    match args.explain {
        None => check(global, args),
        Some(code) => {
            print!("{}", ui::named(code.map_or(CODES, Code::page)));
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn check(global: &Global, args: &Args) -> Result<ExitCode> {
    let name = match &args.site {
        Some(name) => name.clone(),
        None => {
            let places = Places { store: None, site_dir: None };
            let project = Project::open(global.manifest.as_deref(), &places)?;
            project.site_dir.display().to_string()
        }
    };
    let is_here = !name.contains("://");
    let is_folder = is_here && Path::new(&name).is_dir();
    let project = open(global, is_here.then(|| Path::new(&name)))?;
    let chain = project.as_ref().map(Project::chain).transpose()?;
    let secrets = match (&project, &chain) {
        (Some(project), Some(chain)) => site::secrets(project, chain.as_ref()),
        _ => Secrets::default(),
    };
    let of_project = project
        .as_ref()
        .zip(chain.as_ref())
        .map(|(project, chain)| (&project.config.project, chain.as_ref()));
    if is_here && !Path::new(&name).exists() {
        let hint = "`cargo xtask release` and `cargo xtask site` make the site of a project";
        return Err(Hinted::new(format!("{name} is not there"), hint).into());
    }
    if is_here && !is_folder && !Path::new(&name).is_file() {
        bail!("{name} is neither a folder nor a file");
    }
    let here;
    let named = if is_here && Path::new(&name).is_file() {
        // What a document leads to may be beside its folder.
        here = Path::new(&name).canonicalize()?.display().to_string();
        here.as_str()
    } else {
        name.as_str()
    };
    let (root, part) = split(named);
    let is_page = |path: &&str| !is_here && ends(path, ".html");
    let (page, document) = (part.filter(is_page), part.filter(|path| !is_page(path)));
    let base = (!is_here).then(|| format!("{}/", root.trim_end_matches('/')));
    let terms = Terms {
        // Not that of a reproducible build: devices go by the true one.
        now: args.now.unwrap_or_else(signing::clock),
        project: of_project,
        secrets: &secrets,
        known: &BTreeSet::new(),
        min_left: args.min_days.map(|days| u64::from(days) * DAY),
        start: Some(Start { document, page, base: base.as_deref() }),
    };
    let bar = global.ui().spinner("fetching");
    let place = Place::new(root, args, &bar)?;
    let mut findings = place.inspect(&terms)?;
    bar.finish_and_clear();
    refuse_unreachable(&name, document.unwrap_or(INDEX), &findings, args.offline)?;
    if is_here && document.is_some() {
        name_as_typed(&mut findings)?;
    }
    if args.against.is_some() || args.published || args.paths || args.simulate || args.svg.is_some()
    {
        require_index(&name, &place, &findings)?;
    }
    let published = match (&args.against, &project) {
        (None, Some(project)) if args.published => Some(&project.config.base_url),
        (None, None) if args.published => bail!("--published needs a project, to know where"),
        (against, _) => against.as_ref(),
    };
    if let Some(published) = published {
        findings.add(place.against(&Place::new(published, args, &bar)?));
    }
    if let Some(project) = project.as_ref().filter(|_| is_folder) {
        let results = [project.store_dir.as_path(), project.site_dir.as_path()];
        let root = &project.config.root;
        findings.add(secrets::in_repository(root, &results, &secrets)?);
        let folder = KeyFolder::of(root, project.config.project.as_str());
        if let Err(error @ KeyError::InRepository { .. }) = folder {
            findings.add([Code::KeysInRepository.of(KEYS, error.to_string())]);
        }
    }
    if args.simulate {
        findings.add(place.simulate(&findings.paths, project.as_ref(), args, global.ui())?);
    }
    let of_project = project.as_ref().map_or(&[][..], |project| &project.config.check.allow.0);
    let unused = unused(findings.allow(of_project), config::FILE)
        .chain(unused(findings.allow(&args.allow), "--allow"));
    let unused: Vec<_> = unused.collect();
    findings.add(unused);
    if args.hide_allowed {
        findings.all.retain(|finding| finding.allowed.is_none());
    }
    let style = Style { colour: ui::has_colour(), short: global.quiet };
    let format = if args.json { Format::Json } else { args.format };
    if let Some(path) = &args.svg {
        let title = project.as_ref().map_or(name.as_str(), |project| &project.config.title);
        let drawn = draw_paths(title, &findings.paths);
        Disk::default()
            .write(path, drawn.as_bytes())
            .with_context(|| path.display().to_string())?;
    }
    let report =
        Report { site: &name, findings: &findings, now: terms.now, with_paths: args.paths };
    print!("{}", report.write(format, style));
    let is_sound = findings.of(Severity::Error).next().is_none();
    Ok(if is_sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Splits what was named, a URL or a whole path, into a site and the file in it
/// that was meant. The index of a site means all of it.
fn split(name: &str) -> (&str, Option<&str>) {
    if let Some(root) = name.strip_suffix(INDEX).filter(|root| root.ends_with('/')) {
        return (root, None);
    }
    if let Some((scheme, rest)) = name.split_once("://") {
        return match rest.split_once('/') {
            Some((host, path)) if ends(path, ".json") || ends(path, ".bin") => {
                (&name[..scheme.len() + "://".len() + host.len()], Some(path))
            }
            Some((_, path)) if ends(path, ".html") => {
                let page = path.rsplit('/').next().unwrap_or_default();
                (&name[..name.len() - page.len()], Some(page))
            }
            _ => (name, None),
        };
    }
    match name.strip_prefix('/') {
        Some(path) if Path::new(name).is_file() => ("/", Some(path)),
        _ => (name, None),
    }
}

/// Returns whether the path of a URL ends so.
fn ends(path: &str, end: &str) -> bool {
    path.split(['?', '#']).next().is_some_and(|path| path.ends_with(end))
}

/// Refuses a site that nothing can be told of: its first file cannot be asked for.
fn refuse_unreachable(
    name: &str,
    first: &str,
    findings: &Findings,
    is_offline: bool,
) -> Result<()> {
    let is_it = |f: &&Finding| f.code == Code::HostUnreachable && f.place.file == first;
    match findings.all.iter().find(is_it) {
        None => Ok(()),
        Some(finding) => {
            let hint = match is_offline {
                true => "check it once without --offline: then it is kept",
                false => {
                    "is the address right, and the host up? --ca trusts a certificate of your own"
                }
            };
            Err(Hinted::new(format!("{name} cannot be reached: {}", finding.message), hint).into())
        }
    }
}

/// Names files from the current folder on, where they are in it; they were looked at from
/// the top.
fn name_as_typed(findings: &mut Findings) -> Result<()> {
    let here = std::env::current_dir()?.canonicalize()?;
    for finding in &mut findings.all {
        let whole = Path::new("/").join(&finding.place.file);
        let place = whole.strip_prefix(&here).unwrap_or(&whole);
        finding.place.file = place.display().to_string();
    }
    Ok(())
}

/// Refuses to go on with what only the index of a site tells, where there is none.
fn require_index(name: &str, place: &Place, findings: &Findings) -> Result<()> {
    if place.base_url().is_some() || findings.all.iter().any(|f| f.place.file == INDEX) {
        return Ok(());
    }
    let message = format!("{name} has no {INDEX}, the index of a site of Towline");
    let hint = "leave out --against, --published, --paths, --svg and --simulate";
    Err(Hinted::new(message, hint).into())
}

/// Tells what there was nothing to allow for.
fn unused(allowed: Vec<&Allow>, place: &str) -> impl Iterator<Item = Finding> {
    allowed.into_iter().map(move |allow| {
        let message = format!("nothing of {allow} was found ({})", allow.reason());
        Code::AllowUnused.of(place, message)
    })
}

/// Returns the project that is named, or the one that a site is of: the nearest
/// above its folder, or above the current one.
fn open(global: &Global, site: Option<&Path>) -> Result<Option<Project>> {
    let places = Places { store: None, site_dir: None };
    if global.manifest.is_some() {
        return Project::open(global.manifest.as_deref(), &places).map(Some);
    }
    let start = std::path::absolute(site.unwrap_or(Path::new(".")))?;
    let above = start.ancestors().map(|dir| dir.join(config::FILE)).find(|path| path.is_file());
    above.map(|manifest| Project::open(Some(&manifest), &places)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_told_from_a_site() {
        let site = "https://a.example/lamp/";
        assert_eq!(split(site), (site, None));
        let expected = ("https://a.example:8443", Some("lamp/web/manifest.json"));
        assert_eq!(split("https://a.example:8443/lamp/web/manifest.json"), expected);
        assert_eq!(split("https://a.example/lamp/releases.json"), (site, None));
        assert_eq!(split("https://a.example/lamp/install.html"), (site, Some("install.html")));
        let image = ("https://a.example", Some("lamp/a.bin?v=2"));
        assert_eq!(split("https://a.example/lamp/a.bin?v=2"), image);
        assert_eq!(split("src"), ("src", None));
        let program = std::env::current_exe().unwrap().display().to_string();
        assert_eq!(split(&program), ("/", program.strip_prefix('/')));
    }
}
