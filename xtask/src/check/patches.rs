//! Patches: shorter ways to an image, each of which has to end in its very bytes.

use super::{Code, Fault, Files, Finding, files::too_large, read_listed};
use crate::{
    patch::{Header, Profile, apply, header},
    site::{Index, IndexPatch, IndexRelease, IndexTarget},
    store::sha256,
};
use std::collections::BTreeMap;
use towline_descriptor::{Descriptor, Sha256, Version};

/// A patch, and the target whose image it leads to.
pub(super) struct Way<'i> {
    target: &'i IndexTarget,
    patch: &'i IndexPatch,
}

/// The patches of targets, by the file that each is applied to when that is read, with
/// the release of the file; and those whose file is nowhere.
#[derive(Default)]
pub(super) struct Ways<'i> {
    pub(super) from: BTreeMap<&'i str, (&'i IndexRelease, Vec<Way<'i>>)>,
    others: Vec<Way<'i>>,
}

impl<'i> Ways<'i> {
    pub(super) fn of(index: &'i Index, targets: &[(&'i IndexRelease, &'i IndexTarget)]) -> Self {
        let mut ways = Self::default();
        for (release, target) in targets {
            for patch in &target.patches {
                let way = Way { target, patch };
                let base = match patch.from_sha256 {
                    // A compressed image can be looked at with any file: with its own.
                    Sha256::OF_NOTHING => Some((*release, *target)),
                    from => image(index, from),
                };
                let base = base.and_then(|(of, base)| Some((of, base.app.path.as_deref()?)));
                match base {
                    Some((of, path)) => {
                        ways.from.entry(path).or_insert((of, Vec::new())).1.push(way);
                    }
                    None => ways.others.push(way),
                }
            }
        }
        ways
    }

    /// Checks those that nothing of the site can be applied to.
    pub(super) fn check_others(&self, files: &impl Files, index: &Index) -> Vec<Finding> {
        let was_held = |version: &Version| index.dropped.contains(version);
        let check = |way: &Way<'_>| {
            let (_, header) = read(files, way)?;
            let is_explained = way.patch.from.as_ref().is_some_and(was_held);
            let message = "starts from an image that no release has";
            Code::PatchBaseMissing.unless(is_explained, message)?;
            let starts_there = header.old_sha256 == way.patch.from_sha256.0[..8];
            let message = "starts from another image than the index says";
            Code::PatchBroken.unless(starts_there, message)
        };
        self.others.iter().filter_map(|way| way.found(check(way))).collect()
    }
}

impl Way<'_> {
    /// Applies the patch to a file that was read, and compares.
    pub(super) fn check(&self, files: &impl Files, bytes: &[u8], found: Sha256) -> Option<Finding> {
        let old = match self.patch.from_sha256 {
            Sha256::OF_NOTHING => &[],
            from if from == found => bytes,
            // Of a file that is not what it should be, that is told.
            _ => return None,
        };
        let check = || {
            let (patch, _) = read(files, self)?;
            let broken = |message: String| Code::PatchBroken.fault(message);
            let made = apply(old, &patch).map_err(|e| broken(format!("cannot be applied: {e}")))?;
            let message = "leads to other bytes than the image has";
            Code::PatchBroken.unless(sha256(&made) == self.target.app.sha256, message)
        };
        self.found(check())
    }

    fn found(&self, result: Result<(), Fault>) -> Option<Finding> {
        let path = self.patch.file.path.as_deref().unwrap_or_default();
        result.err().map(|fault| fault.of(path))
    }
}

/// Returns the target of a release whose image has this hash.
fn image(index: &Index, sha256: Sha256) -> Option<(&IndexRelease, &IndexTarget)> {
    index.releases.iter().find_map(|release| {
        Some((release, release.targets.iter().find(|target| target.app.sha256 == sha256)?))
    })
}

/// Reads a patch, and compares its header with what devices are told of it before they
/// fetch it.
fn read(files: &impl Files, way: &Way<'_>) -> Result<(Vec<u8>, Header), Fault> {
    let IndexPatch { alg, file, .. } = way.patch;
    let bytes = read_listed(files, file.path.as_deref().unwrap_or_default(), file)?;
    let profile = Profile::ALL.into_iter().find(|profile| profile.alg() == alg);
    let unknown = || format!("is a patch of a format that is not known here: {alg}");
    let profile = profile.ok_or_else(|| Code::NotChecked.fault(unknown()))?;
    let broken = |message: String| Code::PatchBroken.fault(message);
    let header = header(&bytes).map_err(|error| broken(error.to_string()))?;
    let (memory, most) = (header.params.memory(), profile.memory());
    let message = format!("needs {memory} bytes of memory, and {alg} promises at most {most}");
    Code::PatchBroken.unless(memory <= most, message)?;
    let (makes, image) = (header.new_size, way.target.app.size);
    let message = format!("makes {makes} bytes, and the image has {image}");
    Code::PatchBroken.unless(makes == image, message)?;
    // A few bytes can say that they make gigabytes.
    too_large(makes.into())?;
    let leads_there = header.new_sha256 == way.target.app.sha256.0[..8];
    Code::PatchBroken.unless(leads_there, "leads to another image than the index says")?;
    Ok((bytes, header))
}

/// Checks the patches of a descriptor against those of the index.
pub(super) fn check_descriptor(
    index: &Index,
    target: &IndexTarget,
    descriptor: &Descriptor<'_>,
) -> Result<(), Fault> {
    let is_listed = |named: &towline_descriptor::Patch<'_>| {
        let path = named.path.strip_prefix(index.base_url.as_str());
        target.patches.iter().any(|patch| {
            (patch.from_sha256, patch.alg.as_str()) == (named.from_sha256, named.alg)
                && (patch.file.size, patch.file.sha256) == (named.size, named.sha256)
                && path.is_some_and(|path| patch.file.path.as_deref() == Some(path))
        })
    };
    match descriptor.patches.iter().find(|patch| !is_listed(patch)) {
        None => Ok(()),
        Some(patch) => {
            let message = format!("its patch {} is not one that the index lists", patch.path);
            Err(Code::DescriptorPatch.fault(message))
        }
    }
}
