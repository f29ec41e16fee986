//! Signing a root that waits for signatures, wherever the keys are.

use super::{Ring, change, changes};
use crate::{
    cli::Global,
    commands::print_json,
    keys::chain::{self, Added, Signed},
    ui::Hinted,
};
use anyhow::{Context, Result};
use std::{fs, path::PathBuf};

/// Sign a change of keys that waits for signatures.
///
/// Works on any machine that has the repository and a root key; the file is
/// public and can travel in any way. Read what it changes before you type the
/// passphrase. With the last signature it becomes the newest root.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The file [default: root/<N>.json.partial].
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Sign with the root key in this file too.
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
    /// Print what became of it as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<()> {
    let ring = Ring::open_to_change(global, args.json)?;
    let newest = ring.chain.as_ref().map(|chain| &chain.newest().root);
    let number = newest.map_or(0, |root| root.version);
    let own = chain::partial_path(&ring.roots, number + 1);
    let path = args.file.clone().unwrap_or_else(|| own.clone());
    let mut signed = match &args.file {
        None => chain::waiting(&ring.roots, number)?.ok_or_else(|| {
            let message = format!("no root waits for signatures: there is no {}", ring.show(&own));
            Hinted::new(message, "name the file if it is elsewhere")
        })?,
        Some(path) => {
            let text = fs::read(path).with_context(|| path.display().to_string())?;
            Signed::parse(&text, &path.display().to_string())?
        }
    };
    if signed.root.project != ring.project.config.project {
        anyhow::bail!("{}: is of project {}", path.display(), signed.root.project);
    }
    if signed.root.version != number + 1 {
        let message = format!(
            "{}: is root {}, and the newest is {number}",
            path.display(),
            signed.root.version
        );
        let hint = "only the next one can be signed; pull the repository, or make the change anew";
        return Err(Hinted::new(message, hint).into());
    }
    let lines = changes(newest, &signed.root);
    ring.tell(format_args!("root {number} -> {}", signed.root.version));
    lines.iter().for_each(|line| ring.tell(line));
    let before = signed.to_file();
    ring.sign(&mut signed, newest, &[], &args.key)?;
    let lacking = signed.lacking(newest);
    let is_elsewhere = path.canonicalize().ok() != own.canonicalize().ok();
    if before == signed.to_file() && !lacking.is_empty() {
        let keys = lacking.iter().flat_map(|lacking| &lacking.keys);
        let keys: Vec<_> = keys.map(ToString::to_string).collect();
        let message =
            format!("none of the root keys that are missing is at hand: {}", keys.join(", "));
        let hint = format!(
            "name the folder of one with the variable {}, or its file with --key",
            crate::keys::KEYS
        );
        return Err(Hinted::new(message, hint).into());
    }
    if is_elsewhere {
        ring.disk.write(&path, &signed.to_file())?;
    }
    let added = if is_elsewhere && !lacking.is_empty() {
        ring.tell(format_args!("{}: signed; it waits for more signatures", path.display()));
        Added::Partial(path, lacking)
    } else {
        ring.add(&signed, newest)?
    };
    if args.json {
        print_json(&change::report(&signed, &added, &lines, &[]))?;
    }
    if let Added::Complete(path) = &added {
        change::tell_next(&ring, path, newest, &signed.root, &[]);
    }
    Ok(())
}
