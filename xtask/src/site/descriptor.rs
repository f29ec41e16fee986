//! Descriptors: what a channel offers to the devices of a target.
//!
//! ```text
//! Offer::of -> Offer (owns the texts) -> Offer::make -> Descriptor -> plain    (a file)
//!                                                                  -> payload  (to be signed)
//! ```

use super::{
    SiteError, artifact_path, json,
    patches::Published,
    steps::{self, Way},
};
use crate::{
    channel::{Channels, Terms},
    config::Config,
    name::{ChannelName, TargetName},
    patch::{
        cache::Patches,
        plan::{self, Wanted},
    },
    release::{Record, Role},
};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use serde::{Serialize, Serializer};
use towline_descriptor::{
    Descriptor, MAX_DOCUMENT, MAX_NOTES, Patch, Policy, Rollout, Sha256, Step, Version,
    envelope::DESCRIPTOR_TYPE,
};

/// What a channel offers to the devices of a target, with the texts that its
/// descriptor borrows.
#[derive(Debug)]
pub struct Offer<'r> {
    config: &'r Config,
    channel: &'r ChannelName,
    target: &'r TargetName,
    record: &'r Record,
    terms: &'r Terms,
    url: String,
    way: Way<'r>,
    /// URL of each step.
    step_urls: Vec<String>,
    /// Patches to the release, those first that are wanted most.
    patches: Vec<Published>,
}

/// Bytes of the notes that go before the last of the patches.
const LEAST_NOTES: usize = 256;

/// The form in which a descriptor is published, which decides how much fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Without signatures.
    Plain,
    /// In an envelope with as many signatures.
    Sealed {
        /// How many.
        signatures: usize,
    },
}

impl<'r> Offer<'r> {
    /// Makes the offer of a channel, if it serves the target.
    pub fn of(
        config: &'r Config,
        channels: &'r Channels,
        releases: &'r [Record],
        channel: &'r ChannelName,
        target: &'r TargetName,
        patches: &Patches,
    ) -> Option<Self> {
        let record = channels.serves(channel, target, releases)?;
        let way = steps::way(channels, channel, target, record, releases);
        let url = |record: &Record| {
            let app = &record.targets[target].app;
            format!("{}{}", config.base_url, artifact_path(record, target, Role::App, app))
        };
        let step_urls = way.steps.iter().map(|step| url(step)).collect();
        let terms = channels.terms(channel);
        let wanted = plan::to_served(config, channels, channel, target, record, releases);
        let published = |wanted: &Wanted<'_>| {
            let artifact = patches.published(wanted)?;
            Some(Published::of(&config.base_url, wanted, patches.profile(), artifact))
        };
        let patches = wanted.iter().filter_map(published).collect();
        let url = url(record);
        Some(Self { config, channel, target, record, terms, url, way, step_urls, patches })
    }

    /// Returns the target whose devices it is for.
    pub fn target(&self) -> &'r TargetName {
        self.target
    }

    /// Returns the release that is offered.
    pub fn record(&self) -> &'r Record {
        self.record
    }

    /// Returns versions whose devices find no way to the release, if there are
    /// some, lowest first.
    pub fn left_behind(&self) -> &[&'r Version] {
        &self.way.left_behind
    }

    /// Returns the patches that a descriptor of this offer names.
    pub(super) fn patches_in(&self, descriptor: &Descriptor<'_>) -> &[Published] {
        &self.patches[..descriptor.patches.len()]
    }

    /// Makes the descriptor, without `seq`, `issued` and `expires`. So that it fits in
    /// `form`, its notes are shortened, and patches left out, the last first.
    ///
    /// # Errors
    /// [`SiteError::TooLong`] if it does not fit without notes and patches either.
    pub fn make(&self, form: Form) -> Result<Descriptor<'_>, SiteError> {
        let target = &self.record.targets[self.target];
        let steps = self.way.steps.iter().zip(&self.step_urls).map(|(step, url)| {
            let target = &step.targets[self.target];
            Step {
                version: step.version.clone(),
                path: url,
                size: target.app.size,
                sha256: target.app.sha256,
                secure_version: Some(target.secure_version),
                min_from: step.min_from.clone(),
            }
        });
        let mut descriptor = Descriptor {
            version: self.record.version.clone(),
            path: &self.url,
            fmt: Some(towline_descriptor::FORMAT),
            project: Some(self.config.project.as_str()),
            target: Some(self.target.as_str()),
            channel: Some(self.channel.as_str()),
            chip: Some(target.chip.name()),
            chip_id: Some(target.chip.id()),
            size: Some(target.app.size),
            sha256: Some(target.app.sha256),
            secure_version: Some(target.secure_version),
            seq: None,
            issued: None,
            expires: None,
            min_from: self.record.min_from.clone(),
            steps: steps.collect(),
            rollout: self.terms.rollout,
            policy: self.terms.policy.wire(),
            notes: None,
            patches: self.patches.iter().map(Published::to_wire).collect(),
        };
        let notes = self.record.notes.as_deref().unwrap_or_default();
        descriptor.notes = shorten(notes, LEAST_NOTES);
        while form.size(&descriptor) > MAX_DOCUMENT && descriptor.patches.pop().is_some() {}
        descriptor.notes = None;
        let bare = form.size(&descriptor);
        if bare > MAX_DOCUMENT {
            return Err(SiteError::TooLong {
                channel: self.channel.clone(),
                target: self.target.clone(),
                bytes: bare,
            });
        }
        let mut limit = MAX_NOTES.min(notes.len());
        while limit > 0 {
            descriptor.notes = shorten(notes, limit);
            let excess = form.size(&descriptor).saturating_sub(MAX_DOCUMENT);
            if excess == 0 {
                return Ok(descriptor);
            }
            // Escapes and base64 make notes longer than they look, never
            // shorter.
            limit = limit.saturating_sub(excess.div_ceil(8));
        }
        descriptor.notes = None;
        Ok(descriptor)
    }
}

impl Form {
    /// Returns the size in bytes of the file that holds a descriptor.
    fn size(self, descriptor: &Descriptor<'_>) -> usize {
        let Self::Sealed { signatures } = self else { return plain(descriptor).len() };
        // As many digits as seconds since 1970 have for the next centuries.
        let stamp = Some(99_999_999_999);
        let stamped =
            Descriptor { seq: stamp, issued: stamp, expires: stamp, ..descriptor.clone() };
        let signature = serde_json::json!({ "keyid": "0".repeat(16), "sig": "A".repeat(88) });
        let envelope = serde_json::json!({
            "version": descriptor.version, "path": descriptor.path,
            "payloadType": DESCRIPTOR_TYPE, "payload": "", "signatures": vec![signature; signatures],
        });
        // And a line end.
        envelope.to_string().len() + payload(&stamped).len().div_ceil(3) * 4 + 1
    }
}

/// Writes the file of a descriptor that nobody signs.
pub fn plain(descriptor: &Descriptor<'_>) -> Vec<u8> {
    json(descriptor)
}

/// Writes the bytes of a descriptor that are signed: compact, with short
/// digests, and without the name of the chip, whose id is there.
///
/// # Panics
/// If the metadata of the policy is not JSON.
pub fn payload(descriptor: &Descriptor<'_>) -> Vec<u8> {
    let Descriptor { policy, rollout, .. } = descriptor;
    let payload = Payload {
        fmt: descriptor.fmt,
        project: descriptor.project,
        target: descriptor.target,
        chip_id: descriptor.chip_id,
        channel: descriptor.channel,
        version: &descriptor.version,
        path: descriptor.path,
        size: descriptor.size,
        sha256: descriptor.sha256.map(Short),
        secure_version: descriptor.secure_version,
        seq: descriptor.seq,
        issued: descriptor.issued,
        expires: descriptor.expires,
        min_from: descriptor.min_from.as_ref(),
        steps: descriptor.steps.iter().map(PayloadStep::of).collect(),
        rollout: (*rollout != Rollout::default()).then_some(*rollout),
        policy: (*policy != Policy::default()).then_some(policy),
        notes: descriptor.notes,
        patches: descriptor.patches.iter().map(PayloadPatch::of).collect(),
    };
    serde_json::to_vec(&payload).expect("plain data")
}

/// A digest as base64url: 43 characters.
struct Short(Sha256);

impl Serialize for Short {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_URL_SAFE_NO_PAD.encode(self.0.0))
    }
}

#[derive(Serialize)]
struct Payload<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    fmt: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    project: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chip_id: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
    version: &'a Version,
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<Short>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secure_version: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issued: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_from: Option<&'a Version>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    steps: Vec<PayloadStep<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rollout: Option<Rollout>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<&'a Policy<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notes: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    patches: Vec<PayloadPatch<'a>>,
}

#[derive(Serialize)]
struct PayloadStep<'a> {
    version: &'a Version,
    path: &'a str,
    size: u32,
    sha256: Short,
    #[serde(skip_serializing_if = "Option::is_none")]
    secure_version: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_from: Option<&'a Version>,
}

impl<'a> PayloadStep<'a> {
    fn of(step: &'a Step<'_>) -> Self {
        Self {
            version: &step.version,
            path: step.path,
            size: step.size,
            sha256: Short(step.sha256),
            secure_version: step.secure_version,
            min_from: step.min_from.as_ref(),
        }
    }
}

#[derive(Serialize)]
struct PayloadPatch<'a> {
    from_sha256: Short,
    alg: &'a str,
    path: &'a str,
    size: u32,
    sha256: Short,
}

impl<'a> PayloadPatch<'a> {
    fn of(patch: &'a Patch<'_>) -> Self {
        Self {
            from_sha256: Short(patch.from_sha256),
            alg: patch.alg,
            path: patch.path,
            size: patch.size,
            sha256: Short(patch.sha256),
        }
    }
}

/// Returns the start of `notes`, at most `limit` bytes of it: whole lines, unless
/// that would leave out most of it.
fn shorten(notes: &str, limit: usize) -> Option<&str> {
    let mut start = &notes[..notes.floor_char_boundary(limit)];
    if start.len() < notes.len()
        && let Some(end) = notes[..notes.ceil_char_boundary(limit + 1)].rfind('\n')
        && end > limit / 2
    {
        start = &notes[..end.min(start.len())];
    }
    (!start.is_empty()).then_some(start)
}

#[cfg(test)]
mod tests;
