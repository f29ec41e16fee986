//! What a channel serves: descriptors for devices, and a manifest for esp-web-tools.

use super::{
    Code, Fault, Finding,
    discover::{Manifest, Part},
    not_listed, patches, terms,
    trust::{Contents, Trust},
};
use crate::site::{Index, IndexChannel, IndexRelease, IndexTarget, ServedTarget};
use towline::{Decision, Running, decide};
use towline_descriptor::{Descriptor, Version};

/// Checks what a channel serves. Returns when the first of its descriptors expires,
/// too.
pub(super) fn check(
    index: &Index,
    channel: &IndexChannel,
    contents: &Contents<'_>,
    trust: &Trust<'_>,
) -> (Vec<Finding>, Option<u64>) {
    let mut found = Vec::new();
    let mut expires = None;
    let file = |path: &str| contents.get(path).ok_or_else(not_listed);
    for served in &channel.targets {
        let path = &served.descriptor;
        let result = file(path).and_then(|content| {
            // What cannot be read was told.
            let Ok(bytes) = content else { return Ok(()) };
            let end = trust.verify(&channel.name, bytes)?;
            expires = [expires, end].into_iter().flatten().min();
            check_descriptor(index, channel, served, bytes)
        });
        found.extend(result.err().map(|fault| fault.of(path)));
    }
    let path = &channel.manifest;
    let result = file(path).and_then(|content| match content {
        Ok(bytes) => check_manifest(index, channel, bytes),
        Err(_) => Ok(()),
    });
    found.extend(result.err().map(|fault| fault.of(path)));
    (found, expires)
}

fn check_descriptor(
    index: &Index,
    channel: &IndexChannel,
    served: &ServedTarget,
    bytes: &[u8],
) -> Result<(), Fault> {
    let mut document = bytes.to_vec();
    let invalid = |error: &dyn ToString| Code::DescriptorInvalid.fault(error.to_string());
    let mut descriptor = Descriptor::parse(&mut document).map_err(|error| invalid(&error))?;
    let is_version = descriptor.version == served.version;
    Code::DescriptorVersion.unless(is_version, "version is not the one of the index")?;
    let release = index.releases.iter().find(|r| r.version == served.version);
    let unknown = |message: &str| Code::ReleaseUnknown.fault(message);
    let release: &IndexRelease = release.ok_or_else(|| unknown("there is no such release"))?;
    Code::YankedServed.unless(release.yanked.is_none(), "the release was yanked")?;
    let target = release.targets.iter().find(|t| t.target == served.target);
    let target = target.ok_or_else(|| unknown("the release has no such target"))?;
    let app = target.app.path.as_deref().unwrap_or_default();
    Code::DescriptorPath.unless(
        descriptor.path.strip_prefix(index.base_url.as_str()) == Some(app),
        "path is not that of the release's image on this site",
    )?;
    towline_descriptor::Url::parse(descriptor.path)
        .map_err(|error| Code::DescriptorPath.fault(format!("path: {error}")))?;
    let is_size = descriptor.size == Some(target.app.size);
    Code::DescriptorImage.unless(is_size, "size is not that of the image")?;
    let is_hash = descriptor.sha256 == Some(target.app.sha256);
    Code::DescriptorImage.unless(is_hash, "sha256 is not that of the image")?;
    patches::check_descriptor(index, target, &descriptor)?;
    terms::check(index, channel, served, release, &descriptor)?;
    terms::release_from(&mut descriptor);
    let running = Running {
        project: index.project.as_str(),
        version: Version::parse("0.0.0-0").ok(),
        chip: target.chip,
        target: Some(served.target.as_str()),
        channel: Some(channel.name.as_str()),
        id: &[],
        groups: &[],
        now: None,
        utc_offset: 0,
        by_user: false,
        switched: false,
        secure_version: 0,
        // An image that does not fit is told of itself.
        slot_size: u32::MAX,
    };
    match decide(&running, &descriptor) {
        Decision::Install(_) => Ok(()),
        Decision::Stay(reason) => {
            Err(Code::UpdateRefused.fault(format!("a device would not install it: {reason}")))
        }
    }
}

fn check_manifest(index: &Index, channel: &IndexChannel, bytes: &[u8]) -> Result<(), Fault> {
    let manifest: Manifest = serde_json::from_slice(bytes)
        .map_err(|error| Code::ManifestInvalid.fault(error.to_string()))?;
    let version = manifest.version.ok_or_else(|| Code::ManifestInvalid.fault("has no version"))?;
    let release = index.releases.iter().find(|release| release.version.as_str() == version);
    let Some(release) = release else {
        let is_empty = channel.targets.is_empty() && manifest.builds.is_empty();
        return Code::ManifestVersion.unless(is_empty, "there is no release of its version");
    };
    for build in &manifest.builds {
        let parts = |target: &IndexTarget| {
            let same = |part: &Part| {
                target.parts.iter().any(|known| {
                    known.offset == part.offset
                        && known.file.path.as_deref() == part.path.strip_prefix("../")
                })
            };
            target.chip_family == build.family
                && target.parts.len() == build.parts.len()
                && build.parts.iter().all(same)
        };
        if !release.targets.iter().any(parts) {
            let family = &build.family;
            let version = &release.version;
            return Err(Code::ManifestParts
                .fault(format!("the parts for {family} are not those of release {version}")));
        }
    }
    Ok(())
}
