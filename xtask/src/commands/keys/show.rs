//! What keys there are, and their public halves for firmware and for people.

use super::Ring;
use crate::{
    cli::Global,
    commands::print_json,
    keys::{CHANNEL_KEY, KeyFile, PublicKey, chain},
    signing::minisig,
    ui::table,
};
use anyhow::Result;
use std::{collections::BTreeMap, path::PathBuf};
use towline_descriptor::KeyId;

/// List the keys, what they sign for, and whether their secrets are at hand.
#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// Print them as JSON.
    #[arg(long)]
    json: bool,
}

/// Print the newest root as firmware embeds it.
///
/// `cargo xtask build` and `release` hand it to firmware in a file that the
/// variable TOWLINE_ROOT names.
#[derive(Debug, clap::Args)]
pub(super) struct Export {
    /// Write to this file; with --minisign to this folder, a file for each key.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print the public channel keys as minisign reads them instead.
    #[arg(long)]
    minisign: bool,
}

pub(super) fn list(global: &Global, args: &List) -> Result<()> {
    let ring = Ring::open(global)?;
    let newest = &ring.newest()?.root;
    let files = ring.folder.files()?;
    // What the variable holds is told even if files cannot be read.
    let variable: Vec<KeyId> = match std::env::var(CHANNEL_KEY) {
        Ok(text) if !text.trim().is_empty() => crate::keys::keys_of_variable(&text)
            .map(|keys| keys.iter().map(|key| key.public().id()).collect())
            .map_err(super::hinted)?,
        _ => Vec::new(),
    };
    let secret = |id: KeyId| {
        let file = files.iter().find(|file| file.id == id).map(|f| f.path.display().to_string());
        file.or_else(|| variable.contains(&id).then(|| CHANNEL_KEY.to_owned()))
    };
    let waiting = chain::waiting(&ring.roots, newest.version)?;
    if args.json {
        let roles: BTreeMap<_, _> = newest
            .roles
            .iter()
            .map(|(name, role)| {
                let keys = role.keys.iter().map(|key| {
                    serde_json::json!({
                        "keyid": key.id().to_string(), "key": key, "secret": secret(key.id()),
                    })
                });
                let keys: Vec<_> = keys.collect();
                (name, serde_json::json!({ "threshold": role.threshold, "keys": keys }))
            })
            .collect();
        return print_json(&serde_json::json!({
            "version": newest.version, "issued": newest.issued, "roles": roles,
            "waiting": waiting.map(|signed| signed.root.version),
        }));
    }
    let mut rows = vec![["KEY", "ROLE", "NEEDED", "SECRET"].map(String::from)];
    for (name, role) in &newest.roles {
        for key in &role.keys {
            rows.push([
                key.id().to_string(),
                name.clone(),
                format!("{} of {}", role.threshold, role.keys.len()),
                secret(key.id()).unwrap_or_else(|| "-".into()),
            ]);
        }
    }
    let in_use = |file: &&KeyFile| {
        newest.roles.values().flat_map(|role| &role.keys).any(|key| key.id() == file.id)
    };
    for file in files.iter().filter(|file| !in_use(file)) {
        let role = match ring.chain()?.knows(file.id) {
            true => "(revoked)",
            false if file.is_new => "(of an interrupted run)",
            false => "(not used yet)",
        };
        let path = file.path.display().to_string();
        rows.push([file.id.to_string(), role.into(), "-".into(), path]);
    }
    println!("root {} of {}\n{}", newest.version, newest.project, table(&rows));
    for file in &files {
        if let Some(named) = file.named {
            let (path, id) = (file.path.display(), file.id);
            ring.ui.say(format_args!("warning: {path}: holds {id}, not {named}"));
        }
    }
    if let Some(signed) = waiting {
        let path = chain::partial_path(&ring.roots, signed.root.version);
        println!("{} waits for signatures", ring.show(&path));
    }
    Ok(())
}

pub(super) fn export(global: &Global, args: &Export) -> Result<()> {
    let ring = Ring::open(global)?;
    let newest = ring.newest()?;
    if !args.minisign {
        match &args.out {
            None => println!("{}", String::from_utf8_lossy(&newest.payload)),
            Some(path) => {
                ring.disk.write(path, &newest.payload)?;
                println!("{}", path.display());
            }
        }
        return Ok(());
    }
    let keys: Vec<PublicKey> = newest.root.channel_keys();
    for key in keys {
        match &args.out {
            None => print!("{}", minisig::public_key(&key)),
            Some(folder) => {
                ring.disk.create_dir(folder)?;
                let path = folder.join(format!("{}.pub", key.id()));
                ring.disk.write(&path, minisig::public_key(&key).as_bytes())?;
                println!("{}", path.display());
            }
        }
    }
    Ok(())
}
