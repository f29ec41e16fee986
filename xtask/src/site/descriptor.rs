//! Descriptors: what a channel offers to the devices of a target.

use super::{artifact_path, json};
use crate::{
    config::Config,
    name::{ChannelName, TargetName},
    release::{Record, Role},
    signing::{Signer, SigningError},
};
use towline_descriptor::{Descriptor, MAX_DOCUMENT, MAX_NOTES, Policy, Rollout};

/// Renders the descriptor of what `record` has for the target `name`.
pub(super) fn render(
    config: &Config,
    channel: &ChannelName,
    record: &Record,
    name: &TargetName,
    signer: Option<&Signer>,
) -> Result<Vec<u8>, SigningError> {
    let target = &record.targets[name];
    let path = artifact_path(record, name, Role::App, &target.app);
    let url = format!("{}{path}", config.base_url);
    let mut descriptor = Descriptor {
        version: record.version.clone(),
        path: &url,
        fmt: Some(towline_descriptor::FORMAT),
        project: Some(record.project.as_str()),
        target: Some(name.as_str()),
        channel: Some(channel.as_str()),
        chip: Some(target.chip.name()),
        chip_id: Some(target.chip.id()),
        size: Some(target.app.size),
        sha256: Some(target.app.sha256),
        secure_version: Some(target.secure_version),
        seq: None,
        issued: None,
        expires: None,
        min_from: None,
        steps: Default::default(),
        rollout: Rollout::default(),
        policy: Policy::default(),
        notes: None,
        patches: Default::default(),
    };
    let write = |descriptor: &Descriptor<'_>| match signer {
        Some(signer) => signer.seal(channel, name, descriptor),
        None => Ok(json(descriptor)),
    };
    let notes = record.notes.as_deref().unwrap_or_default();
    let mut limit = MAX_NOTES;
    while limit > 0 {
        descriptor.notes = shorten(notes, limit);
        let text = write(&descriptor)?;
        if text.len() <= MAX_DOCUMENT {
            return Ok(text);
        }
        // Escapes made the notes longer than they look.
        limit /= 2;
    }
    descriptor.notes = None;
    write(&descriptor)
}

/// Returns the start of `notes`, at most `limit` bytes of it.
fn shorten(notes: &str, limit: usize) -> Option<&str> {
    let notes = &notes[..notes.floor_char_boundary(limit)];
    (!notes.is_empty()).then_some(notes)
}
