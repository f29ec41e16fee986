//! Patches as a site has them.

use super::{index::IndexPatch, release_path};
use crate::{
    name::TargetName,
    patch::{Profile, plan::Wanted},
    release::{Artifact, Record},
    site::IndexArtifact,
};
use std::cmp::Reverse;
use towline_descriptor::{Patch, Sha256, Version};

/// Ends the names of patches.
pub(super) const EXTENSION: &str = ".twp";

/// A patch that a descriptor names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Published {
    target: TargetName,
    to: Version,
    from: Option<Version>,
    from_sha256: Sha256,
    alg: &'static str,
    /// Its path on the site; it holds the start of the hash, so that a name never has
    /// other bytes.
    path: String,
    url: String,
    artifact: Artifact,
}

impl Published {
    pub(super) fn of(
        base_url: &str,
        wanted: &Wanted<'_>,
        profile: Profile,
        artifact: &Artifact,
    ) -> Self {
        let Wanted { target, from, to } = *wanted;
        let hash = &artifact.sha256.to_string()[..12];
        let from = from.map(|from: &Record| from.version.clone());
        let what = from.as_ref().map_or("compressed".into(), |from| format!("from-{from}"));
        let path = format!("{}{target}-{what}-{hash}{EXTENSION}", release_path(to));
        Self {
            target: target.clone(),
            to: to.version.clone(),
            from,
            from_sha256: wanted.images().0,
            alg: profile.alg(),
            url: format!("{base_url}{path}"),
            path,
            artifact: artifact.clone(),
        }
    }

    /// Returns what its descriptor says of it.
    pub(super) fn to_wire(&self) -> Patch<'_> {
        Patch {
            from_sha256: self.from_sha256,
            alg: self.alg,
            path: &self.url,
            size: self.artifact.size,
            sha256: self.artifact.sha256,
        }
    }

    /// Returns its path on the site, and its bytes.
    pub(super) fn file(&self) -> (&str, &Artifact) {
        (&self.path, &self.artifact)
    }
}

/// Returns what the index says of the patches of a target of a release: the image
/// compressed, then those from other releases, the newest first.
pub(super) fn listed(
    patches: &[Published],
    target: &TargetName,
    release: &Version,
) -> Vec<IndexPatch> {
    let of_target = |patch: &&Published| patch.target == *target && patch.to == *release;
    let mut of_target: Vec<_> = patches.iter().filter(of_target).collect();
    of_target.sort_by(|a, b| match (&a.from, &b.from) {
        (Some(a), Some(b)) => b.precedence(a),
        (a, b) => Reverse(a.is_none()).cmp(&Reverse(b.is_none())),
    });
    let listed = |patch: &Published| {
        let (path, Artifact { size, sha256 }) = patch.file();
        IndexPatch {
            from: patch.from.clone(),
            from_sha256: patch.from_sha256,
            alg: patch.alg.to_owned(),
            file: IndexArtifact { path: Some(path.to_owned()), size: *size, sha256: *sha256 },
        }
    };
    let mut listed: Vec<_> = of_target.into_iter().map(listed).collect();
    listed.dedup();
    listed
}
