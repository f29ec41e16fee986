//! The page that people see, rendered from a template.

use super::{SiteError, descriptor_path, index, served_targets};
use crate::{
    channel::Channels,
    config::{Channel, Config},
    name::ChannelName,
    release::{Record, Role},
    store::sha256,
};
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value, value::Serde};
use serde::Serialize;
use std::collections::BTreeMap;

const TEMPLATE: &str = include_str!("../../../templates/pages/index.html.j2");
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
}

#[derive(Serialize)]
struct PageChannel<'a> {
    name: &'a str,
    description: Option<&'a str>,
    manifest: String,
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
    version: String,
    prerelease: bool,
    yanked: Option<String>,
    released: String,
    notes: Option<String>,
    channels: Vec<String>,
    commit: Option<String>,
    targets: Vec<PageTarget>,
}

#[derive(Serialize)]
struct PageTarget {
    target: String,
    chip: String,
    chip_name: String,
    version: String,
    released: String,
    notes: Option<String>,
    flash_size: u32,
    slot_size: Option<u32>,
    secure_version: u32,
    app: PageFile,
    factory: Option<PageFile>,
    parts: Vec<PagePart>,
}

#[derive(Serialize)]
struct PagePart {
    role: Role,
    offset: u32,
    #[serde(flatten)]
    file: PageFile,
}

#[derive(Serialize)]
struct PageFile {
    file: String,
    path: String,
    size: u32,
    sha256: String,
}

/// Renders the page and its assets into `files`.
pub(super) fn render(
    config: &Config,
    channels: &Channels,
    releases: &[Record],
    files: &mut BTreeMap<String, Vec<u8>>,
) -> Result<(), SiteError> {
    let mut asset = |stem: &str, extension: &str, text: &str| {
        let hash = sha256(text.as_bytes()).to_string();
        let path = format!("assets/{stem}-{}.{extension}", &hash[..8]);
        files.insert(path.clone(), text.as_bytes().to_vec());
        path
    };
    let assets = Assets { style: asset("style", "css", STYLE), icon: asset("icon", "svg", ICON) };
    let context = Context {
        title: &config.title,
        project: config.project.as_str(),
        description: config.description.as_deref(),
        base_url: &config.base_url,
        signed: false,
        assets,
        channels: config.channels.iter().map(|c| channel(c, channels, releases)).collect(),
        releases: releases.iter().rev().map(|r| release(r, config, channels, releases)).collect(),
    };
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.add_filter("size", |bytes: u64| size_text(bytes));
    environment.add_filter("hex", |offset: u32| format!("{offset:#x}"));
    environment.add_filter("short", |hash: &str| hash.chars().take(12).collect::<String>());
    environment.add_template("index.html", TEMPLATE)?;
    let page = environment.get_template("index.html")?.render(Value::from(Serde(context)))?;
    files.insert("index.html".into(), page.into_bytes());
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
) -> PageChannel<'a> {
    let targets = served_targets(name, channels, releases).into_iter().map(|(target, record)| {
        let release = index::release(record, channels);
        let shown = release.targets.iter().find(|shown| shown.target == *target);
        PageServed {
            descriptor: descriptor_path(name, target),
            target: page_target(&release, shown.expect("the record has the target")),
        }
    });
    PageChannel {
        name: name.as_str(),
        description: channel.description.as_deref(),
        manifest: format!("manifests/{name}.json"),
        targets: targets.collect(),
    }
}

fn release(
    record: &Record,
    config: &Config,
    channels: &Channels,
    releases: &[Record],
) -> PageRelease {
    let release = index::release(record, channels);
    let serves = |channel: &&ChannelName| {
        let served = served_targets(channel, channels, releases);
        served.iter().any(|(_, served)| served.version == record.version)
    };
    PageRelease {
        channels: config.channels.keys().filter(serves).map(ToString::to_string).collect(),
        targets: release.targets.iter().map(|target| page_target(&release, target)).collect(),
        version: release.version.to_string(),
        prerelease: release.prerelease,
        yanked: release.yanked,
        released: release.released,
        notes: release.notes,
        commit: release.commit,
    }
}

fn page_target(release: &index::IndexRelease, target: &index::IndexTarget) -> PageTarget {
    PageTarget {
        target: target.target.to_string(),
        chip: target.chip.to_string(),
        chip_name: target.chip_family.clone(),
        version: release.version.to_string(),
        released: release.released.clone(),
        notes: release.notes.clone(),
        flash_size: target.flash_size,
        slot_size: target.slot_size,
        secure_version: target.secure_version,
        app: page_file(&target.app),
        factory: target.factory.as_ref().map(page_file),
        parts: target
            .parts
            .iter()
            .map(|part| PagePart {
                role: part.role,
                offset: part.offset,
                file: page_file(&part.file),
            })
            .collect(),
    }
}

fn page_file(file: &index::IndexArtifact) -> PageFile {
    let path = file.path.clone().unwrap_or_default();
    PageFile {
        file: path.rsplit('/').next().unwrap_or_default().to_owned(),
        path,
        size: file.size,
        sha256: file.sha256.to_string(),
    }
}
