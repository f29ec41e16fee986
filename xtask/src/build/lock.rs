//! Lock files of firmware that cargo builds.

use super::{expected_version, workspace_of};
use crate::{
    config::{Build, Config, Target},
    name::TargetName,
    ui::Hinted,
};
use std::{fs, path::PathBuf};
use toml::{Table, Value};

/// Refuses lock files that `--locked` would be refused with: the version of the
/// firmware was raised, and the lock file still has the one before.
///
/// # Errors
/// Naming the first one, with the command that mends it.
pub fn refuse_stale(config: &Config, targets: &[TargetName]) -> Result<(), Hinted> {
    let stale = |target| stale(&config.targets[target]);
    let Some(lock) = targets.iter().find_map(stale) else { return Ok(()) };
    let manifest = lock.with_file_name("Cargo.toml");
    Err(Hinted::new(
        format!("{} is not of the version that the firmware has", lock.display()),
        format!(
            "commit what this changes: cargo update --workspace --manifest-path {}",
            manifest.display()
        ),
    ))
}

fn stale(target: &Target) -> Option<PathBuf> {
    let Build::Cargo { dir, package, .. } = &target.build else { return None };
    let read = |path: PathBuf| fs::read_to_string(path).ok()?.parse::<Table>().ok();
    let lock = workspace_of(dir).join("Cargo.lock");
    let locked = read(lock.clone())?;
    let name = match package {
        Some(package) => package.clone(),
        None => read(dir.join("Cargo.toml"))?["package"].get("name")?.as_str()?.to_owned(),
    };
    let version = expected_version(target)?;
    (!has(&locked, &name, version.as_str())).then_some(lock)
}

/// Returns whether a lock file has a package of the workspace in a version.
fn has(locked: &Table, name: &str, version: &str) -> bool {
    let text = |package: &Value, key| package.get(key).and_then(Value::as_str).map(str::to_owned);
    let packages = locked.get("package").and_then(Value::as_array).into_iter().flatten();
    packages.into_iter().any(|package| {
        package.get("source").is_none()
            && text(package, "name").as_deref() == Some(name)
            && text(package, "version").as_deref() == Some(version)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_packages_of_the_workspace_count() {
        let locked = "[[package]]\nname = \"lamp\"\nversion = \"0.1.0\"\n\
                      [[package]]\nname = \"fan\"\nversion = \"0.2.0\"\nsource = \"registry\"\n";
        let locked = locked.parse().unwrap();
        assert!(has(&locked, "lamp", "0.1.0"));
        for (name, version) in [("lamp", "0.2.0"), ("fan", "0.2.0"), ("owl", "0.1.0")] {
            assert!(!has(&locked, name, version), "{name} {version}");
        }
        assert!(!has(&Table::new(), "lamp", "0.1.0"));
    }
}
