//! The page that people see, rendered from a template.

use super::{
    IndexTarget, NOT_FOUND, SiteError, descriptor_path, index, patches::Published, served_targets,
};
use crate::{
    channel::{Channels, words},
    config::{Channel, Config},
    installer::Bundle,
    name::{ChannelName, TargetName},
    release::Record,
    source::date_text,
    store::sha256,
};
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value, value::Serde};
use serde::Serialize;
use std::collections::BTreeMap;
use towline_descriptor::{Rollout, Version};

const TEMPLATE: &str = include_str!("../../../templates/pages/index.html.j2");
const NOT_FOUND_TEMPLATE: &str = include_str!("../../../templates/pages/404.html.j2");
const STYLE: &str = include_str!("../../../site/assets/style.css");
const ICON: &str = include_str!("../../../site/assets/icon.svg");

/// What the template is given.
#[derive(Serialize)]
struct Context<'a> {
    title: &'a str,
    project: &'a str,
    description: Option<&'a str>,
    base_url: &'a str,
    signed: bool,
    assets: Assets,
    channels: Vec<PageChannel<'a>>,
    releases: Vec<PageRelease>,
}

#[derive(Serialize)]
struct Assets {
    style: String,
    icon: String,
    /// The installer's.
    script: String,
    installer_style: String,
    licenses: String,
}

#[derive(Serialize)]
struct PageChannel<'a> {
    name: &'a str,
    description: Option<&'a str>,
    manifest: String,
    /// Whether it is offered to no device for now.
    paused: bool,
    /// The part of all devices that gets it, in percent; `None` for all.
    percent: Option<String>,
    /// What holds its release back, a sentence each.
    terms: Vec<String>,
    targets: Vec<PageServed>,
}

/// A target as a channel serves it.
#[derive(Serialize)]
struct PageServed {
    descriptor: String,
    #[serde(flatten)]
    target: PageTarget,
}

#[derive(Serialize)]
struct PageRelease {
    version: Version,
    prerelease: bool,
    yanked: Option<String>,
    released: String,
    notes: Option<String>,
    min_from: Option<Version>,
    channels: Vec<String>,
    commit: Option<String>,
    targets: Vec<PageTarget>,
}

/// A target with what its release says for all of them.
#[derive(Serialize)]
struct PageTarget {
    version: Version,
    released: String,
    notes: Option<String>,
    #[serde(flatten)]
    target: IndexTarget,
}

/// Renders the page and its assets into `files`.
pub(super) fn render(
    config: &Config,
    channels: &Channels,
    releases: &[Record],
    patches: &[Published],
    installer: &Bundle,
    files: &mut BTreeMap<String, Vec<u8>>,
) -> Result<(), SiteError> {
    let in_assets = |name: &str| format!("assets/{name}");
    files.extend(installer.published.iter().map(|(name, bytes)| (in_assets(name), bytes.clone())));
    let mut asset = |stem: &str, extension: &str, text: &str| {
        let hash = sha256(text.as_bytes()).to_string();
        let path = format!("assets/{stem}-{}.{extension}", &hash[..8]);
        files.insert(path.clone(), text.as_bytes().to_vec());
        path
    };
    let assets = Assets {
        style: asset("style", "css", STYLE),
        icon: asset("icon", "svg", ICON),
        script: in_assets(&installer.script),
        installer_style: in_assets(&installer.style),
        licenses: in_assets(&installer.licenses),
    };
    let context = Context {
        title: &config.title,
        project: config.project.as_str(),
        description: config.description.as_deref(),
        base_url: &config.base_url,
        signed: false,
        assets,
        channels: config.channels.iter().map(|c| channel(c, channels, releases, patches)).collect(),
        releases: releases.iter().rev().map(|r| release(r, config, channels, releases)).collect(),
    };
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.add_filter("size", |bytes: u64| size_text(bytes));
    environment.add_filter("hex", |offset: u32| format!("{offset:#x}"));
    environment.add_filter("short", |hash: &str| hash.chars().take(12).collect::<String>());
    environment.add_filter("file_name", |path: &str| path.rsplit('/').next().map(str::to_owned));
    environment.add_template("index.html", TEMPLATE)?;
    environment.add_template(NOT_FOUND, NOT_FOUND_TEMPLATE)?;
    let context = Value::from(Serde(context));
    for page in ["index.html", NOT_FOUND] {
        let text = environment.get_template(page)?.render(&context)?;
        files.insert(page.into(), text.into_bytes());
    }
    Ok(())
}

/// Returns a size as people read it, such as `681.6 KiB`.
#[expect(clippy::cast_precision_loss, reason = "sizes of images are far below 2^52")]
pub fn size_text(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.2} MiB", bytes as f64 / 1_048_576.0),
    }
}

fn channel<'a>(
    (name, channel): (&'a ChannelName, &'a Channel),
    channels: &Channels,
    releases: &[Record],
    patches: &[Published],
) -> PageChannel<'a> {
    let targets =
        served_targets(name, channels, releases).into_iter().map(|(target, record)| PageServed {
            descriptor: descriptor_path(name, target),
            target: page_target(record, target, patches),
        });
    let terms = channels.terms(name);
    let Rollout { percent, paused } = terms.rollout;
    PageChannel {
        name: name.as_str(),
        description: channel.description.as_deref(),
        manifest: format!("manifests/{name}.json"),
        paused,
        percent: (!percent.is_all()).then(|| percent.to_string()),
        terms: words::terms(terms),
        targets: targets.collect(),
    }
}

fn release(
    record: &Record,
    config: &Config,
    channels: &Channels,
    releases: &[Record],
) -> PageRelease {
    let release = index::release(record, channels, &[]);
    let serves = |channel: &&ChannelName| {
        let served = served_targets(channel, channels, releases);
        served.iter().any(|(_, served)| served.version == record.version)
    };
    PageRelease {
        channels: config.channels.keys().filter(serves).map(ToString::to_string).collect(),
        targets: record.targets.keys().map(|target| page_target(record, target, &[])).collect(),
        version: release.version,
        prerelease: release.prerelease,
        yanked: release.yanked,
        released: release.released,
        notes: release.notes,
        min_from: release.min_from,
        commit: release.commit,
    }
}

fn page_target(record: &Record, target: &TargetName, patches: &[Published]) -> PageTarget {
    PageTarget {
        version: record.version.clone(),
        released: date_text(record.source_date),
        notes: record.notes.clone(),
        target: index::target(record, target, patches),
    }
}
