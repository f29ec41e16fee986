//! The ways of devices once more, with nothing decided on paper: the client that
//! devices run polls over HTTPS and writes to simulated flash.

use super::{Code, End, Fault, Files, Finding, UpdatePath, read_index};
use crate::site::{Index, IndexTarget, descriptor_path};
use std::io;
use towline::{Identity, Outcome, Trust, ed25519};
use towline_host::EmbeddedRoot;
use towline_sim::{Device, DeviceError, Net, Poll};

/// What was simulated, and what was found by that.
#[derive(Debug, Default)]
pub struct Simulated {
    /// Devices that were simulated.
    pub devices: usize,
    /// Those that did something else than what was to be expected.
    pub findings: Vec<Finding>,
}

/// Returns the URL that a site says it is served at.
pub fn base_url(files: &impl Files) -> Option<String> {
    read_index(files).ok().map(|index| index.base_url)
}

/// Why a device could not be simulated.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Fault(Fault),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Device(#[from] DeviceError),
}

/// Flashes a device for each path with the release where it starts, and lets it poll
/// until it stays. Paths whose release the site does not hold, or has no parts for a
/// first flash of, are left out. `root` is what the firmware trusts; `done` is called
/// after each path.
pub fn simulate(
    files: &impl Files,
    paths: &[UpdatePath],
    net: &mut Net,
    root: Option<&EmbeddedRoot>,
    mut done: impl FnMut(),
) -> Simulated {
    let mut simulated = Simulated::default();
    // What is wrong with it was told.
    let Ok(index) = read_index(files) else { return simulated };
    for path in paths.iter().filter(|path| path.end != End::Loop) {
        if let Some(target) = flashable(&index, path) {
            simulated.devices += 1;
            let fault = match follow(files, &index, path, target, net, root) {
                Ok(way) => differs(path, &way),
                Err(failure) => Some(format!("a device on {}: {failure}", path.from)),
            };
            let file = descriptor_path(&path.channel, &path.target);
            simulated.findings.extend(fault.map(|text| Code::SimulationDiffers.of(file, text)));
        }
        done();
    }
    simulated
}

/// Returns what a device that runs the release of a path was flashed with.
fn flashable<'i>(index: &'i Index, path: &UpdatePath) -> Option<&'i IndexTarget> {
    let release = index.releases.iter().find(|release| release.version == path.from)?;
    release.targets.iter().find(|t| t.target == path.target && !t.parts.is_empty())
}

/// What a device installed, and what it said in the end.
struct Way {
    installed: Vec<String>,
    end: String,
}

fn follow(
    files: &impl Files,
    index: &Index,
    path: &UpdatePath,
    target: &IndexTarget,
    net: &mut Net,
    root: Option<&EmbeddedRoot>,
) -> Result<Way, Failure> {
    let folder = tempfile::tempdir()?;
    let read = |file: &Option<String>| files.read(file.as_deref().unwrap_or_default());
    let parts = target.parts.iter().map(|part| Ok((part.offset, read(&part.file.path)?)));
    let parts: Vec<_> = parts.collect::<Result<_, _>>().map_err(Failure::Fault)?;
    let parts = parts.iter().map(|(offset, bytes)| (*offset, bytes.as_slice()));
    let flash = folder.path().join("flash.bin");
    let mut device = Device::provision(&flash, target.flash_size, parts)?;
    let url = format!("{}{}", index.base_url, descriptor_path(&path.channel, &path.target));
    let poll = Poll {
        url: &url,
        device: Identity {
            target: Some(path.target.as_str()),
            channel: Some(path.channel.as_str()),
            ..Identity::default()
        },
        trust: root.map(|root| Trust { root: &root.payload, roots: &root.roots, verify: ed25519 }),
        ..Poll::default()
    };
    let mut installed = Vec::new();
    // One more than there should be shows that it would go on.
    while installed.len() <= path.legs.len() {
        match device.update(net, poll, |_| {})? {
            Outcome::Stay(reason) => return Ok(Way { installed, end: reason.to_string() }),
            Outcome::Installed { version, .. } => installed.push(version.to_string()),
        }
    }
    Ok(Way { installed, end: "it would go on".into() })
}

/// Compares what a device did with what was to be expected.
fn differs(path: &UpdatePath, way: &Way) -> Option<String> {
    let legs = match path.held {
        Some(_) => &[][..],
        None => &path.legs,
    };
    let listed = |versions: &[&str]| match versions {
        [] => "nothing".to_owned(),
        versions => versions.join(", then "),
    };
    let expected: Vec<_> = legs.iter().map(|leg| leg.version.as_str()).collect();
    let installed: Vec<_> = way.installed.iter().map(String::as_str).collect();
    (expected != installed).then(|| {
        format!(
            "a device on {} installed {} and was to install {}: {}",
            path.from,
            listed(&installed),
            listed(&expected),
            way.end
        )
    })
}
