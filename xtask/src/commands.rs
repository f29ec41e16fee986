//! The commands: one file each, with its arguments and what it does.

pub(crate) mod bench;
pub(crate) mod build;
pub(crate) mod check;
pub(crate) mod ci;
pub(crate) mod completions;
pub(crate) mod doctor;
pub(crate) mod edit;
pub(crate) mod flash;
pub(crate) mod fleet;
#[cfg(feature = "new")]
pub(crate) mod generate;
#[cfg(feature = "new")]
pub(crate) mod init;
pub(crate) mod keys;
pub(crate) mod man;
pub(crate) mod merge;
#[cfg(feature = "new")]
pub(crate) mod new;
pub(crate) mod nginx;
pub(crate) mod notes;
pub(crate) mod patch;
pub(crate) mod plan;
pub(crate) mod policy;
#[cfg(feature = "github")]
pub(crate) mod publish;
pub(crate) mod push;
pub(crate) mod release;
pub(crate) mod rollout;
pub(crate) mod serve;
pub(crate) mod sim;
pub(crate) mod site;
mod updates;
pub(crate) mod virt;

use crate::{config::Config, name::TargetName, ui::Hinted};
use anyhow::Result;
use serde::Serialize;
#[cfg(feature = "new")]
use towline_descriptor::Chip;

/// Prints a result for machines.
pub(crate) fn print_json(value: &impl Serialize) -> Result<()> {
    println!("{}", serde_json::to_string(value)?);
    Ok(())
}

/// Parses the name of a chip.
#[cfg(feature = "new")]
pub(crate) fn chip(name: &str) -> Result<Chip, String> {
    let names = || Chip::ALL.iter().map(|chip| chip.name()).collect::<Vec<_>>().join(", ");
    name.parse().map_err(|_| format!("no chip of the family: {}", names()))
}

/// Returns the targets that were asked for, or all.
pub(crate) fn chosen_targets(config: &Config, asked: &[TargetName]) -> Result<Vec<TargetName>> {
    let known: Vec<_> = config.targets.keys().cloned().collect();
    if asked.is_empty() {
        return Ok(known);
    }
    for target in asked {
        if !known.contains(target) {
            let names: Vec<_> = known.iter().map(TargetName::as_str).collect();
            let message = format!("towline.toml has no target `{target}`");
            return Err(Hinted::new(message, format!("it has {}", names.join(", "))).into());
        }
    }
    Ok(known.into_iter().filter(|target| asked.contains(target)).collect())
}
