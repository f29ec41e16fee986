//! The first keys of a project.

use super::{Ring, change, hinted, role_of};
use crate::{
    cli::Global,
    commands::print_json,
    keys::{
        KeyError, Kind, Passphrase, PublicKey, SecretKey,
        chain::{Added, Signed, file_name},
        root::{Role, Root},
    },
    name::ChannelName,
    ui::Hinted,
};
use anyhow::Result;
use std::{num::NonZeroU8, path::PathBuf};
use towline_descriptor::{
    envelope::MAX_KEYS,
    root::{ANY_CHANNEL, ROOT_ROLE},
};

/// Make the first keys of the project: from then on its descriptors are signed.
///
/// Makes a root key, encrypted with a passphrase, and a channel key for CI, and
/// writes root/1.json, which names their public halves. The passphrase is asked
/// for on the terminal, or taken from the variable TOWLINE_ROOT_PASSPHRASE.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Make so many root keys.
    #[arg(long, value_name = "COUNT", default_value = "1")]
    root_keys: NonZeroU8,
    /// Let so many root keys be needed to change keys.
    #[arg(long, value_name = "COUNT", default_value = "1")]
    threshold: NonZeroU8,
    /// Make a key for this channel alone, beside the one for all others.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    channel: Vec<ChannelName>,
    /// Say what would be made, and make nothing.
    #[arg(long)]
    dry_run: bool,
    /// Print what was made as JSON.
    #[arg(long)]
    json: bool,
}

/// Make a key that no root names yet, and print its public half.
///
/// For somebody who is to hold a key: their public key goes to the one who runs
/// `cargo xtask keys add`, the secret never leaves them.
#[derive(Debug, clap::Args)]
pub(super) struct New {
    /// Make a root key, encrypted with a passphrase.
    #[arg(long)]
    root: bool,
}

pub(super) fn make(global: &Global, args: &New) -> Result<()> {
    let ring = Ring::open_to_change(global, false)?;
    let kind = if args.root { Kind::Root } else { Kind::Channel };
    let passphrase = args.root.then(Passphrase::of_new_keys).transpose().map_err(hinted)?;
    let key = SecretKey::generate().map_err(hinted)?;
    let file = ring.folder.keep(&key, kind, passphrase.as_ref(), &ring.disk).map_err(hinted)?;
    println!("{}", key.public());
    let option = if args.root { " --root" } else { "" };
    ring.ui.say(format_args!(
        "{} is secret; the line above is public\nnext: `cargo xtask keys add{option} {}`",
        file.path.display(),
        key.public()
    ));
    Ok(())
}

pub(super) fn run(global: &Global, args: &Args) -> Result<()> {
    let ring = Ring::open_to_change(global, args.json)?;
    if let Some(chain) = &ring.chain {
        let message = format!("the project has keys already: root {}", chain.newest().root.version);
        let hint =
            "see them with `cargo xtask keys list`; change them with `add`, `rotate` and `revoke`";
        return Err(Hinted::new(message, hint).into());
    }
    if args.threshold > args.root_keys {
        let message =
            format!("{} root key(s) cannot give {} signatures", args.root_keys, args.threshold);
        return Err(Hinted::new(message, "raise --root-keys, or lower --threshold").into());
    }
    anyhow::ensure!(
        usize::from(args.root_keys.get()) <= MAX_KEYS,
        "a project has {MAX_KEYS} root keys at most"
    );
    let mut roles = args
        .channel
        .iter()
        .map(|channel| role_of(&ring.project, channel))
        .collect::<Result<Vec<_>>>()?;
    // Channels without a key of their own need one too.
    if ring.project.config.channels.keys().any(|name| !roles.iter().any(|r| r == name.as_str())) {
        roles.insert(0, ANY_CHANNEL.into());
    }
    roles.dedup();
    let path = ring.roots.join(file_name(1));
    let root = |root_keys: Vec<PublicKey>, channel_keys: Vec<PublicKey>| -> Result<Signed> {
        let role = |threshold, keys| Role { threshold, keys };
        let channels = channel_keys.into_iter().map(|key| role(1, vec![key]));
        let root_role = (ROOT_ROLE.to_owned(), role(args.threshold.get(), root_keys));
        let all = roles.iter().cloned().zip(channels).chain([root_role]).collect();
        let root = Root::first(ring.project.config.project.clone(), ring.now()?, all);
        root.check()?;
        Signed::new(root).map_err(change::too_large)
    };
    // What cannot be fails before a key is made.
    let any = |count: usize| {
        (0..count).map(|_| Ok(SecretKey::generate()?.public())).collect::<Result<_, KeyError>>()
    };
    root(any(args.root_keys.get().into()).map_err(hinted)?, any(roles.len()).map_err(hinted)?)?;
    if args.dry_run {
        if args.json {
            return print_json(&serde_json::json!({
                "dry_run": true, "root": path, "version": 1, "folder": ring.folder.path(),
                "root_keys": args.root_keys, "channel_keys": roles,
            }));
        }
        let folder = ring.folder.path().display();
        println!("{} root key(s) in {folder}, encrypted", args.root_keys);
        println!("a channel key for each of {} in {folder}", roles.join(", "));
        println!("{}", ring.show(&path));
        return Ok(());
    }
    let passphrase = Passphrase::of_new_keys().map_err(hinted)?;
    let mut taken = Vec::new();
    let mut key = |kind: Kind, passphrase: Option<&Passphrase>| -> Result<(SecretKey, PathBuf)> {
        let (key, file) = ring.new_key(kind, passphrase, &taken)?;
        taken.push(key.public().id());
        Ok((key, file))
    };
    let root_keys = (0..args.root_keys.get())
        .map(|_| key(Kind::Root, Some(&passphrase)))
        .collect::<Result<Vec<_>>>()?;
    let channel_keys = roles
        .iter()
        .map(|role| key(Kind::Channel, None).map(|(key, file)| (role, key, file)))
        .collect::<Result<Vec<_>>>()?;

    let mut signed = root(
        root_keys.iter().map(|(key, _)| key.public()).collect(),
        channel_keys.iter().map(|(_, key, _)| key.public()).collect(),
    )?;
    root_keys.iter().for_each(|(key, _)| signed.sign(key));
    let added = ring.add(&signed, None)?;
    debug_assert!(matches!(added, Added::Complete(_)));

    if args.json {
        let file = |role: &str, key: &SecretKey, file: &PathBuf| {
            serde_json::json!({
                "role": role, "keyid": key.public().id().to_string(),
                "key": key.public(), "file": file,
            })
        };
        let roots = root_keys.iter().map(|(key, path)| file(ROOT_ROLE, key, path));
        let channels = channel_keys.iter().map(|(role, key, path)| file(role, key, path));
        return print_json(&serde_json::json!({
            "root": path, "version": 1, "keys": roots.chain(channels).collect::<Vec<_>>(),
        }));
    }
    println!("{}", ring.show(&path));
    for (key, file) in &root_keys {
        println!("root key {}: {}", key.public().id(), file.display());
    }
    for (role, key, file) in &channel_keys {
        let of = if *role == ANY_CHANNEL { "all channels" } else { role };
        println!("channel key {} of {of}: {}", key.public().id(), file.display());
    }
    ring.ui.say("\nnext:");
    ring.ui.say(format_args!("  git add {} && git commit", ring.show(&ring.roots)));
    change::tell_secret(&ring, None, &signed.root);
    ring.ui
        .say("  move the root key file to a medium that you keep offline, and keep a copy of it");
    ring.ui.say("  `cargo xtask site` signs what the channels serve");
    ring.ui.say("  the next release brings the keys to devices: those that run older firmware trust the host as before");
    Ok(())
}
