//! The Rust toolchains of this machine.

use crate::{
    build::is_xtensa,
    keys::{CHANNEL_KEY, KEYS, PASSPHRASE},
};
use anyhow::{Context, Result, bail};
use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
};

/// Returns a command that is not told the project's secrets: what a build runs is
/// the work of many. Nor is it told of this program's package by `cargo run`: build
/// scripts that look at that would run anew, and all that depends on them.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    // The last three let a step of a workflow speak for the workflow.
    let tokens = [
        "GITHUB_TOKEN",
        "GH_TOKEN",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
        "ACTIONS_ID_TOKEN_REQUEST_URL",
        "ACTIONS_RUNTIME_TOKEN",
    ];
    for secret in [CHANNEL_KEY, PASSPHRASE, KEYS].into_iter().chain(tokens) {
        command.env_remove(secret);
    }
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|of_package| text.starts_with(of_package)) {
            command.env_remove(&name);
        }
    }
    command.env_remove("OUT_DIR");
    command
}

/// Runs a command and returns what it prints.
///
/// # Errors
/// If it cannot be run or fails.
pub fn capture(program: &str, arguments: &[&str], dir: &Path) -> Result<String> {
    let shown = || format!("{program} {}", arguments.join(" "));
    let output = command(program)
        .args(arguments)
        .current_dir(dir)
        .env_remove("RUSTUP_TOOLCHAIN")
        .output()
        .with_context(|| format!("cannot run `{}`", shown()))?;
    if !output.status.success() {
        bail!("`{}` failed: {}", shown(), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Returns cargo's home folder.
///
/// # Errors
/// If neither `CARGO_HOME` nor `HOME` is set.
pub fn cargo_home() -> Result<PathBuf> {
    if let Some(home) = std::env::var_os("CARGO_HOME") {
        return Ok(home.into());
    }
    let home = std::env::home_dir().context("neither CARGO_HOME nor HOME is set")?;
    Ok(home.join(".cargo"))
}

/// Returns the folder of the toolchain that is used in `dir`.
///
/// # Errors
/// If there is no rustc.
pub fn sysroot(dir: &Path) -> Result<PathBuf> {
    capture("rustc", &["--print", "sysroot"], dir).map(PathBuf::from)
}

/// Returns the commit of the compiler that is used in `dir`.
///
/// # Errors
/// If there is no rustc.
pub fn commit(dir: &Path) -> Result<String> {
    let version = capture("rustc", &["--version", "--verbose"], dir)?;
    let hash = version.lines().find_map(|line| line.strip_prefix("commit-hash: "));
    hash.map(str::to_owned).context("rustc does not tell its commit")
}

/// Returns whether firmware for `triple` can be built in `dir`.
pub fn has_target(triple: &str, dir: &Path) -> bool {
    if is_xtensa(triple) {
        return capture("rustc", &["+esp", "--version"], dir).is_ok();
    }
    // rustup's own list needs rustup; the library's folder tells the same of
    // any toolchain.
    sysroot(dir).is_ok_and(|root| root.join("lib/rustlib").join(triple).join("lib").is_dir())
}

/// Returns the command that installs what `triple` needs.
pub fn install_command(triple: &str) -> Vec<String> {
    let words: &[&str] = if is_xtensa(triple) {
        &["sh", "-c", "cargo install espup --locked && espup install"]
    } else {
        &["rustup", "target", "add", triple]
    };
    words.iter().map(ToString::to_string).collect()
}

/// Returns the variables that builds for Xtensa chips need, as espup left them to be
/// sourced; none where it did not.
pub fn espup_environment() -> Vec<(String, String)> {
    let file = std::env::var_os("ESPUP_EXPORT_FILE").map(PathBuf::from);
    let file = file.or_else(|| Some(std::env::home_dir()?.join("export-esp.sh")));
    let script = file.and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
    exports(&script, &std::env::var("PATH").unwrap_or_default())
}

/// Reads lines such as `export PATH="/esp/bin:$PATH"`.
fn exports(script: &str, path: &str) -> Vec<(String, String)> {
    let mut path = path.to_owned();
    let export = |line: &str| {
        let (name, value) = line.trim().strip_prefix("export ")?.split_once('=')?;
        let value = value.trim().trim_matches('"').replace("$PATH", &path);
        if name == "PATH" {
            path.clone_from(&value);
        }
        Some((name.to_owned(), value))
    };
    script.lines().filter_map(export).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_espup_exports_is_read() {
        let script = "# made by espup\nexport LIBCLANG_PATH=\"/esp/clang/lib\"\nexport PATH=\"/esp/bin:$PATH\"\n. /x\nexport PATH=\"/esp/more:$PATH\"\n";
        let expected = [
            ("LIBCLANG_PATH", "/esp/clang/lib"),
            ("PATH", "/esp/bin:/usr/bin"),
            ("PATH", "/esp/more:/esp/bin:/usr/bin"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(exports(script, "/usr/bin"), expected);
        assert_eq!(exports("", "/usr/bin"), []);
    }
}
