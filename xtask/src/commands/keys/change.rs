//! Changes of keys: each makes the next root.

use super::{Ring, Which, changes, hinted};
use crate::{
    cli::Global,
    commands::print_json,
    keys::{
        Kind, Passphrase, PublicKey, SecretKey,
        chain::{Added, ChainError, Signed, file_name},
        root::{Change, ChangeError, Root},
    },
    ui::Hinted,
};
use anyhow::Result;
use std::{
    num::NonZeroU8,
    path::{Path, PathBuf},
};
use towline_descriptor::{
    KeyId,
    root::{ANY_CHANNEL, ROOT_ROLE},
};

/// Add a key: a new one, or the public key of somebody else.
#[derive(Debug, clap::Args)]
pub(super) struct Add {
    /// File with the public key in PEM, or its 64 hexadecimal digits; a new key
    /// is made if there is none.
    #[arg(value_name = "PUBLIC_KEY")]
    public_key: Option<String>,
    #[command(flatten)]
    which: Which,
    /// Let so many keys of the role be needed from now on.
    #[arg(long, value_name = "COUNT")]
    threshold: Option<NonZeroU8>,
    #[command(flatten)]
    common: Common,
}

/// Replace a key by a new one in one step.
///
/// Nothing but the root key is needed to replace a channel key: a lost or stolen
/// one is replaced in this way too.
#[derive(Debug, clap::Args)]
pub(super) struct Rotate {
    /// The key that goes, where the role has several.
    #[arg(value_name = "KEYID")]
    old: Option<KeyId>,
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    common: Common,
}

/// Take a key out of all roles.
///
/// Devices refuse it as soon as they have seen the new root, or anything signed
/// with another key. A channel whose last own key goes has the keys of all
/// channels from then on.
#[derive(Debug, clap::Args)]
pub(super) struct Revoke {
    /// The key, as `cargo xtask keys list` names it.
    #[arg(value_name = "KEYID")]
    id: KeyId,
    /// Let so many keys of its role be needed from now on.
    #[arg(long, value_name = "COUNT")]
    threshold: Option<NonZeroU8>,
    #[command(flatten)]
    common: Common,
}

/// Change how many keys of a role have to sign.
#[derive(Debug, clap::Args)]
pub(super) struct Threshold {
    /// So many.
    #[arg(value_name = "COUNT")]
    count: NonZeroU8,
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
struct Common {
    /// Sign with the root key in this file too.
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
    /// Show the change without making it.
    #[arg(long)]
    dry_run: bool,
    /// Print what was made as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn add(global: &Global, args: &Add) -> Result<()> {
    let ring = Ring::open_to_change(global, args.common.json)?;
    let role = args.which.role(&ring.project)?;
    let threshold = args
        .threshold
        .map(|threshold| Change::Threshold { role: role.clone(), threshold: threshold.get() });
    let add = |key| -> Vec<Change> {
        let add = Change::Add { role: role.clone(), key };
        std::iter::once(add).chain(threshold.clone()).collect()
    };
    match &args.public_key {
        Some(given) => {
            let key = PublicKey::from_file_or_hex(given).map_err(hinted)?;
            step(&ring, &add(key), Vec::new(), &args.common)
        }
        None => with_new_key(&ring, args.which.kind(), add, &args.common),
    }
}

pub(super) fn rotate(global: &Global, args: &Rotate) -> Result<()> {
    let ring = Ring::open_to_change(global, args.common.json)?;
    let role = args.which.known_role(&ring)?;
    let root = &ring.newest()?.root;
    let Some(keys) = root.roles.get(&role).map(|role| &role.keys) else {
        let roles: Vec<_> = root.roles.keys().map(String::as_str).collect();
        let message = format!("no keys are those of `{role}` alone");
        let hint = match &args.which.channel {
            Some(channel) => format!(
                "give it one with `cargo xtask keys add --channel {channel}`, or rotate that of all channels without --channel"
            ),
            None => format!("name one with --channel; there are keys of {}", roles.join(", ")),
        };
        return Err(Hinted::new(message, hint).into());
    };
    let old = match (args.old, keys.as_slice()) {
        (Some(old), _) => old,
        (None, [only]) => only.id(),
        (None, several) => {
            let ids: Vec<_> = several.iter().map(|key| key.id().to_string()).collect();
            let message = format!("`{role}` has several keys");
            return Err(Hinted::new(message, format!("name one of {}", ids.join(", "))).into());
        }
    };
    let replace = |new| vec![Change::Replace { role: role.clone(), old, new }];
    with_new_key(&ring, args.which.kind(), replace, &args.common)
}

pub(super) fn revoke(global: &Global, args: &Revoke) -> Result<()> {
    let ring = Ring::open_to_change(global, args.common.json)?;
    let root = &ring.newest()?.root;
    let of_key: Vec<_> = root
        .roles
        .iter()
        .filter(|(_, role)| role.keys.iter().any(|key| key.id() == args.id))
        .collect();
    let threshold = match (args.threshold, of_key.as_slice()) {
        (Some(threshold), [(role, _)]) => {
            Some(Change::Threshold { role: (*role).clone(), threshold: threshold.get() })
        }
        (Some(_), [_, _, ..]) => {
            let roles: Vec<_> = of_key.iter().map(|(name, _)| name.as_str()).collect();
            let message = format!("{} is in the roles {}", args.id, roles.join(", "));
            let hint = "change the number of each before with `cargo xtask keys threshold`";
            return Err(Hinted::new(message, hint).into());
        }
        _ => None,
    };
    // A channel that is gone needs no keys, and one that is not may have those
    // of all channels.
    let has_others = |role: &str| {
        let is_served = ring.project.config.channels.keys().any(|name| name.as_str() == role);
        ![ROOT_ROLE, ANY_CHANNEL].contains(&role)
            && (!is_served || root.roles.contains_key(ANY_CHANNEL))
            && root.roles.len() > 2
    };
    let last = of_key.iter().find(|(name, role)| role.keys.len() == 1 && !has_others(name));
    if let Some((role, _)) = last {
        let role = *role;
        let option = option_of(role);
        let error = ChangeError::Last { role: role.clone(), key: args.id };
        let hint = format!("replace it in one step with `cargo xtask keys rotate{option}`");
        return Err(Hinted::new(error.to_string(), hint).into());
    }
    let changes: Vec<_> = std::iter::once(Change::Remove(args.id)).chain(threshold).collect();
    step(&ring, &changes, Vec::new(), &args.common)
}

pub(super) fn threshold(global: &Global, args: &Threshold) -> Result<()> {
    let ring = Ring::open_to_change(global, args.common.json)?;
    let role = args.which.known_role(&ring)?;
    let change = Change::Threshold { role, threshold: args.count.get() };
    step(&ring, &[change], Vec::new(), &args.common)
}

/// Returns the option that names a role.
fn option_of(role: &str) -> String {
    match role {
        ROOT_ROLE => " --root".to_owned(),
        ANY_CHANNEL => String::new(),
        channel => format!(" --channel {channel}"),
    }
}

/// Makes a change with a new key.
fn with_new_key(
    ring: &Ring,
    kind: Kind,
    changes: impl Fn(PublicKey) -> Vec<Change>,
    common: &Common,
) -> Result<()> {
    ring.refuse_waiting()?;
    // What cannot be fails before a key is made.
    let any = SecretKey::generate().map_err(hinted)?.public();
    Signed::new(ring.newest()?.root.next(&changes(any), ring.now()?).map_err(with_hint)?)
        .map_err(too_large)?;
    if common.dry_run {
        return step(ring, &changes(any), Vec::new(), common);
    }
    let passphrase = match kind {
        Kind::Root => Some(Passphrase::of_new_keys().map_err(hinted)?),
        Kind::Channel => None,
    };
    let (key, file) = ring.new_key(kind, passphrase.as_ref(), &[])?;
    step(ring, &changes(key.public()), vec![(key, file)], common)
}

/// Makes the next root, signed with the keys at hand.
fn step(
    ring: &Ring,
    changed: &[Change],
    new: Vec<(SecretKey, PathBuf)>,
    common: &Common,
) -> Result<()> {
    ring.refuse_waiting()?;
    let before = &ring.newest()?.root;
    let next = before.next(changed, ring.now()?).map_err(with_hint)?;
    let lines = changes(Some(before), &next);
    ring.tell(format_args!("root {} -> {}", before.version, next.version));
    lines.iter().for_each(|line| ring.tell(line));
    let mut signed = Signed::new(next).map_err(too_large)?;
    if common.dry_run {
        if common.json {
            print_json(&serde_json::json!({
                "dry_run": true, "version": signed.root.version,
                "file": ring.roots.join(file_name(signed.root.version)), "changes": lines,
            }))?;
        }
        return Ok(());
    }
    let (opened, files): (Vec<_>, Vec<_>) = new.into_iter().unzip();
    ring.sign(&mut signed, Some(before), &opened, &common.key)?;
    let added = ring.add(&signed, Some(before))?;
    for (key, file) in opened.iter().zip(&files) {
        ring.ui.say(format_args!("new key {}: {}", key.public().id(), file.display()));
    }
    if common.json {
        print_json(&report(&signed, &added, &lines, &files))?;
    }
    if let Added::Complete(path) = &added {
        tell_next(ring, path, Some(before), &signed.root, &files);
    }
    Ok(())
}

/// Describes a step for machines.
pub(super) fn report(
    signed: &Signed,
    added: &Added,
    changes: &[String],
    files: &[PathBuf],
) -> serde_json::Value {
    let (path, lacking) = match added {
        Added::Complete(path) => (path, Vec::new()),
        Added::Partial(path, lacking) => (path, lacking.clone()),
    };
    let lacking = lacking.iter().map(|lacking| {
        let keys: Vec<_> = lacking.keys.iter().map(ToString::to_string).collect();
        serde_json::json!({ "of": lacking.of, "count": lacking.count, "keys": keys })
    });
    serde_json::json!({
        "version": signed.root.version, "file": path, "changes": changes,
        "lacking": lacking.collect::<Vec<_>>(), "new_keys": files,
    })
}

/// Says what is to be done with a new root.
pub(super) fn tell_next(
    ring: &Ring,
    path: &Path,
    before: Option<&Root>,
    root: &Root,
    new_files: &[PathBuf],
) {
    ring.ui.say(format_args!("\n{} is the newest root\nnext:", ring.show(path)));
    ring.ui.say(format_args!("  git add {} && git commit", ring.show(path)));
    tell_secret(ring, before, root);
    for file in new_files {
        if file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("root-")) {
            ring.ui
                .say(format_args!("  move {} to a medium that you keep offline", file.display()));
        }
    }
    ring.ui.say("  `cargo xtask site` publishes it and signs what the channels serve");
}

/// Says what the secret of CI has to hold, if that is not what it held before:
/// all channel keys, not only the one that is new.
pub(super) fn tell_secret(ring: &Ring, before: Option<&Root>, root: &Root) {
    let (old, keys) = (before.map(Root::channel_keys).unwrap_or_default(), root.channel_keys());
    if old == keys {
        return;
    }
    let files = ring.folder.files().unwrap_or_default();
    let file_of = |key: &PublicKey| files.iter().find(|file| file.id == key.id());
    let at_hand: Vec<_> = keys.iter().filter_map(file_of).map(|f| f.path.display()).collect();
    let at_hand: Vec<_> = at_hand.iter().map(ToString::to_string).collect();
    if !at_hand.is_empty() {
        let what = if at_hand.len() == 1 { "this file" } else { "these files" };
        let paths = at_hand.join(" ");
        ring.ui.say(format_args!(
            "  the CI secret TOWLINE_CHANNEL_KEY gets the content of {what}: cat {paths}"
        ));
    }
    for key in keys.iter().filter(|key| file_of(key).is_none()) {
        let id = key.id();
        ring.ui.say(format_args!("  the file of channel key {id} is elsewhere: add its content"));
    }
    for key in old.iter().filter(|key| !keys.contains(key)) {
        ring.ui.say(format_args!("  channel key {} goes out of the secret", key.id()));
    }
}

/// Says what to do about a root that devices would not read.
pub(super) fn too_large(error: ChainError) -> anyhow::Error {
    let hint = "revoke keys that are not used any more, or let channels share them";
    Hinted::new(error.to_string(), hint).into()
}

fn with_hint(error: ChangeError) -> anyhow::Error {
    let hint = match &error {
        ChangeError::Known { .. } => "`cargo xtask keys list` shows what there is",
        ChangeError::Unknown(_) | ChangeError::NotInRole { .. } => {
            "`cargo xtask keys list` shows the ids of the keys"
        }
        ChangeError::NoRole(_) => "`cargo xtask keys list` shows the roles",
        ChangeError::Last { .. } => "replace it in one step with `cargo xtask keys rotate`",
        ChangeError::BelowThreshold { .. } => {
            "add or rotate a key instead, or change the number with --threshold"
        }
        ChangeError::InvalidRole(_) => "name a channel of towline.toml",
        ChangeError::TooManySignatures(_) => {
            "lower the number that has to sign first, with `cargo xtask keys threshold --root`"
        }
        ChangeError::TooMany => "revoke keys that are not used any more",
        ChangeError::BothKinds(_) => "make another key with `cargo xtask keys new`",
    };
    Hinted::new(error.to_string(), hint).into()
}
