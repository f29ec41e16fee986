//! Building the firmware of targets.

pub mod lock;

pub use crate::config::Build;
use crate::{
    config::{Config, Target},
    name::{ChannelName, TargetName},
    toolchain,
};
use anyhow::{Context, Result, bail};
use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::Stdio,
    thread,
};
use towline::image::Head;
use towline_descriptor::{Chip, Version};

/// A build as a command line, decided before anything runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildCommand {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Folder to run it in.
    pub dir: PathBuf,
    /// Where its result is.
    pub output: Output,
}

/// Where the result of a build is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// The command leaves this file.
    File(PathBuf),
    /// Cargo says it.
    Cargo {
        /// Target triple.
        triple: String,
        /// Where cargo puts what it builds: apart for each target, so that
        /// they build side by side and none takes the file of another.
        target_dir: PathBuf,
    },
}

/// Returns the target triple of a chip's firmware.
pub fn triple(chip: Chip) -> &'static str {
    match chip {
        Chip::Esp32 => "xtensa-esp32-none-elf",
        Chip::Esp32s2 => "xtensa-esp32s2-none-elf",
        Chip::Esp32s3 => "xtensa-esp32s3-none-elf",
        Chip::Esp32c2 | Chip::Esp32c3 => "riscv32imc-unknown-none-elf",
        Chip::Esp32p4 | Chip::Esp32h4 | Chip::Esp32s31 => "riscv32imafc-unknown-none-elf",
        _ => "riscv32imac-unknown-none-elf",
    }
}

/// Returns whether a triple needs Espressif's own toolchain.
pub fn is_xtensa(triple: &str) -> bool {
    triple.starts_with("xtensa-")
}

/// Returns the triple that cargo builds a target for; `None` if it does not.
pub fn cargo_triple(target: &Target) -> Option<&str> {
    match &target.build {
        Build::Cargo { triple: own, .. } => Some(own.as_deref().unwrap_or(triple(target.chip))),
        _ => None,
    }
}

/// Returns the version that a build will have, where that is known before:
/// the one of the cargo package or of the prebuilt image.
pub fn expected_version(target: &Target) -> Option<Version> {
    match &target.build {
        Build::Cargo { dir, package, .. } => {
            let arguments = ["metadata", "--no-deps", "--format-version", "1"];
            let metadata = toolchain::capture("cargo", &arguments, dir).ok()?;
            let metadata: serde_json::Value = serde_json::from_str(&metadata).ok()?;
            let manifest = dir.join("Cargo.toml").canonicalize().ok()?;
            let is_meant = |candidate: &&serde_json::Value| match package {
                Some(name) => candidate["name"] == name.as_str(),
                None => candidate["manifest_path"].as_str().map(Path::new) == Some(&manifest),
            };
            let package = metadata["packages"].as_array()?.iter().find(is_meant)?;
            package["version"].as_str()?.parse().ok()
        }
        Build::Prebuilt(file) => {
            let image = std::fs::read(file).ok()?;
            Head::parse(image.first_chunk()?).ok()?.app.version.as_str().parse().ok()
        }
        Build::Command { .. } => None,
    }
}

/// Returns the command that builds a target; `None` if it is prebuilt.
pub fn command(name: &TargetName, target: &Target) -> Option<BuildCommand> {
    match &target.build {
        Build::Prebuilt(_) => None,
        Build::Command { command, dir, output } => Some(BuildCommand {
            command: command.clone(),
            dir: dir.clone(),
            output: Output::File(output.clone()),
        }),
        Build::Cargo { dir, package, features, triple: own } => {
            let triple = own.as_deref().unwrap_or(triple(target.chip));
            let target_dir = dir.join("target/towline").join(name.as_str());
            let mut command = vec!["cargo".to_owned()];
            let mut push =
                |arguments: &[&str]| command.extend(arguments.iter().map(ToString::to_string));
            if is_xtensa(triple) {
                push(&["+esp"]);
            }
            push(&["build", "--release", "--target", triple]);
            if workspace_of(dir).join("Cargo.lock").exists() {
                push(&["--locked"]);
            }
            if is_xtensa(triple) {
                push(&["-Zbuild-std=core,alloc"]);
            }
            if let Some(package) = package {
                push(&["--package", package]);
            }
            if !features.is_empty() {
                push(&["--features", &features.join(",")]);
            }
            Some(BuildCommand {
                command,
                dir: dir.clone(),
                output: Output::Cargo { triple: triple.to_owned(), target_dir },
            })
        }
    }
}

/// Environment variable that names the file with the root that firmware trusts.
const ROOT: &str = "TOWLINE_ROOT";

/// Returns the variables that a build is given: what firmware has to know to
/// follow its channels.
///
/// `root` is the file with the keys that the firmware trusts, if the project has
/// some.
pub fn environment(
    config: &Config,
    name: &TargetName,
    root: Option<&Path>,
) -> Vec<(&'static str, String)> {
    let channels: Vec<_> = config.channels.keys().map(ChannelName::as_str).collect();
    let mut environment = vec![
        ("TOWLINE_BASE_URL", config.base_url.clone()),
        ("TOWLINE_TARGET", name.to_string()),
        ("TOWLINE_CHANNELS", channels.join(",")),
    ];
    // Absolute: builds run in folders of their own.
    let mut push = |variable, path: &Path| {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        environment.push((variable, path.display().to_string()));
    };
    if let Some(ca) = &config.ca {
        push("TOWLINE_CA", ca);
    }
    if let Some(root) = root {
        push(ROOT, root);
    }
    environment
}

/// Builds a target and returns the ELF file or app image. `line` is given each
/// line that the build writes.
///
/// # Errors
/// If the command cannot be run, fails, or leaves nothing.
pub fn run(
    config: &Config,
    name: &TargetName,
    source_date: i64,
    root: Option<&Path>,
    line: &(dyn Fn(&str) + Sync),
) -> Result<PathBuf> {
    let target = &config.targets[name];
    let build = match (&target.build, command(name, target)) {
        (Build::Prebuilt(file), _) => return Ok(file.clone()),
        (_, build) => build.context("only a prebuilt target has no command")?,
    };
    let mut command = toolchain::command(&build.command[0]);
    command
        .args(&build.command[1..])
        .current_dir(&build.dir)
        .env("SOURCE_DATE_EPOCH", source_date.to_string())
        // Of a project without keys nothing is to be verified.
        .env_remove(ROOT)
        .envs(environment(config, name, root))
        // Of the cargo that runs us, not of the one we run.
        .env_remove("CARGO")
        .env_remove("RUSTUP_TOOLCHAIN")
        // They would replace the flags of the project's configuration.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Output::Cargo { triple, target_dir } = &build.output {
        if is_xtensa(triple) {
            command.envs(toolchain::espup_environment());
        }
        // The folders of registries are known once the packages are there.
        line("fetching packages");
        let mut fetch = vec!["fetch", "--target", triple];
        if is_xtensa(triple) {
            fetch.insert(0, "+esp");
        }
        if build.command.iter().any(|argument| argument == "--locked") {
            fetch.push("--locked");
        }
        toolchain::capture("cargo", &fetch, &build.dir)
            .with_context(|| format!("target {name}"))?;
        command
            .args(["--message-format", "json-render-diagnostics"])
            .arg("--config")
            .arg(remap_paths(triple, &build.dir)?)
            .env("CARGO_TARGET_DIR", target_dir);
    }
    let shown = build.command.join(" ");
    let mut child = command.spawn().with_context(|| {
        format!("target {name}: cannot run `{shown}` in {}", build.dir.display())
    })?;
    let stderr = child.stderr.take().context("stderr is piped")?;
    let stdout = child.stdout.take().context("stdout is piped")?;
    let (errors, printed) = thread::scope(|scope| {
        let errors = scope.spawn(|| read_lines(stderr, line));
        let printed = read_lines(stdout, &|_| {});
        (errors.join().unwrap_or_default(), printed)
    });
    let status = child.wait()?;
    if !status.success() {
        // Other tools report their errors on either.
        let log = match build.output {
            Output::Cargo { .. } => errors,
            Output::File(_) => [printed, errors].concat(),
        };
        bail!("target {name}: `{shown}` failed ({status})\n{}", log.join("\n"));
    }
    match build.output {
        Output::File(output) if output.exists() => Ok(output),
        Output::File(output) => {
            bail!("target {name}: `{shown}` did not leave {}", output.display())
        }
        Output::Cargo { .. } => executable(&printed)
            .with_context(|| format!("target {name}: `{shown}` built no executable, or several")),
    }
}

fn read_lines(from: impl Read, line: &(dyn Fn(&str) + Sync)) -> Vec<String> {
    // To the end, whatever the bytes are: a build whose output is not read is
    // killed.
    let lines = BufReader::new(from).split(b'\n').map_while(Result::ok);
    lines
        .map(|bytes| String::from_utf8_lossy(&bytes).trim_end().to_owned())
        .inspect(|text| line(text))
        .collect()
}

/// Returns the one executable that cargo's messages name.
fn executable(messages: &[String]) -> Option<PathBuf> {
    let mut executables = messages.iter().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(PathBuf::from(message["executable"].as_str()?))
    });
    let executable = executables.next()?;
    executables.next().is_none().then_some(executable)
}

/// Returns the cargo configuration that keeps the paths of this machine out of
/// the firmware: the same source gives the same bytes anywhere, and nobody's
/// home folder is published.
///
/// Cargo reads either `target.<triple>.rustflags` or `build.rustflags`: the
/// flags are added to those that the project itself uses.
fn remap_paths(triple: &str, dir: &Path) -> Result<String> {
    let dir = dir.canonicalize().with_context(|| dir.display().to_string())?;
    // rustc calls the standard library /rustc/<commit> unless its source is
    // installed.
    let library = toolchain::sysroot(&dir)?.join("lib/rustlib/src/rust");
    let home = toolchain::cargo_home()?;
    let mut prefixes = vec![
        (repository_of(&dir), "/source".to_owned()),
        (library, format!("/rustc/{}", toolchain::commit(&dir)?)),
        (home.clone(), "/cargo".to_owned()),
    ];
    // A registry's folder is named after the registry, and a mirror has
    // another name. The last prefix that matches counts. Packages stay as they
    // are: their paths stand in the firmware, where each byte is paid for.
    let registries = home.join("registry/src").read_dir().into_iter().flatten().flatten();
    let mut registries: Vec<_> = registries.map(|entry| entry.path()).collect();
    registries.sort();
    let sources = registries.into_iter().chain(checkouts(triple, &dir)?);
    prefixes.extend(sources.map(|path| (path, String::new())));
    let flags: Vec<String> = prefixes
        .iter()
        .map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display()))
        .collect();
    let key = match has_target_flags(triple, &dir, &home) {
        true => format!("target.{triple}.rustflags"),
        false => "build.rustflags".to_owned(),
    };
    Ok(format!("{key}={}", serde_json::to_string(&flags)?))
}

/// Returns the repositories, other than that of `dir`, that packages are built
/// from: those of dependencies with a `path` or from Git.
fn checkouts(triple: &str, dir: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut arguments = vec!["metadata", "--format-version", "1", "--filter-platform", triple];
    if is_xtensa(triple) {
        arguments.insert(0, "+esp");
    }
    let metadata = toolchain::capture("cargo", &arguments, dir)?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let folders = packages
        .filter(|package| {
            package["source"].as_str().is_none_or(|source| source.starts_with("git+"))
        })
        .filter_map(|package| Path::new(package["manifest_path"].as_str()?).parent());
    let own = repository_of(dir);
    Ok(folders.map(repository_of).filter(|repository| *repository != own).collect())
}

/// Returns the root of the workspace that the package in a folder belongs to:
/// where its lock file is.
fn workspace_of(dir: &Path) -> &Path {
    let is_root = |dir: &&Path| {
        let manifest = std::fs::read_to_string(dir.join("Cargo.toml")).unwrap_or_default();
        manifest.parse().is_ok_and(|manifest: toml::Table| manifest.contains_key("workspace"))
    };
    dir.ancestors().find(is_root).unwrap_or(dir)
}

/// Returns whether a configuration of cargo that counts in `dir` has flags for
/// a target.
fn has_target_flags(triple: &str, dir: &Path, cargo_home: &Path) -> bool {
    let folders = dir.ancestors().map(|dir| dir.join(".cargo")).chain([cargo_home.to_owned()]);
    let files = folders.flat_map(|dir| [dir.join("config.toml"), dir.join("config")]);
    files.into_iter().any(|file| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let config: toml::Table = text.parse().unwrap_or_default();
        let targets = config.get("target").and_then(toml::Value::as_table);
        targets.into_iter().flatten().any(|(name, target)| {
            (name == triple || name.starts_with("cfg(")) && target.get("rustflags").is_some()
        })
    })
}

/// Returns the root of the repository that a folder is in, or the folder.
fn repository_of(dir: &Path) -> PathBuf {
    dir.ancestors().find(|dir| dir.join(".git").exists()).unwrap_or(dir).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn firmware_is_told_where_its_channels_are() {
        let text = "project = \"lamp\"\nbase-url = \"https://example.org/fw\"\nca = \"own.pem\"\n\
                    [channels.beta]\n[channels.stable]\n[targets.esp32c3]\nbuild.cargo = \"fw\"\n";
        let config = Config::parse(Path::new("/p/towline.toml"), text).unwrap();
        let (name, _) = config.targets.first().unwrap();
        let expected = [
            ("TOWLINE_BASE_URL", "https://example.org/fw/".to_owned()),
            ("TOWLINE_TARGET", "esp32c3".to_owned()),
            ("TOWLINE_CHANNELS", "beta,stable".to_owned()),
            ("TOWLINE_CA", "/p/own.pem".to_owned()),
        ];
        assert_eq!(environment(&config, name, None), expected);
        let root = environment(&config, name, Some(Path::new("/p/dist/build/root.json")));
        assert_eq!(root[4], ("TOWLINE_ROOT", "/p/dist/build/root.json".to_owned()));
    }

    #[test]
    fn the_lock_file_that_counts_is_the_one_of_the_workspace() {
        let dir = tempfile::tempdir().unwrap();
        let firmware = dir.path().join("firmware");
        let member = firmware.join("esp");
        std::fs::create_dir_all(&member).unwrap();
        for (folder, manifest) in
            [(dir.path(), "[workspace]"), (&firmware, "[package]"), (&member, "[package]")]
        {
            std::fs::write(folder.join("Cargo.toml"), manifest).unwrap();
        }
        assert_eq!(workspace_of(&member), dir.path());
        std::fs::write(firmware.join("Cargo.toml"), "[package]\n[workspace]").unwrap();
        assert_eq!(workspace_of(&member), firmware);
    }

    #[test]
    fn flags_are_added_to_those_that_the_project_uses() {
        let dir = tempfile::tempdir().unwrap();
        let (project, home) = (dir.path().join("project"), dir.path().join("home"));
        std::fs::create_dir_all(project.join(".cargo")).unwrap();
        let triple = triple(Chip::Esp32c3);
        for (config, expected) in [
            ("", false),
            ("[build]\nrustflags = [\"-Ca\"]", false),
            ("[target.riscv32imac-unknown-none-elf]\nrustflags = [\"-Ca\"]", false),
            ("[target.riscv32imc-unknown-none-elf]\nrunner = \"x\"", false),
            ("[target.riscv32imc-unknown-none-elf]\nrustflags = [\"-Ca\"]", true),
            ("[target.'cfg(target_os = \"none\")']\nrustflags = [\"-Ca\"]", true),
        ] {
            std::fs::write(project.join(".cargo/config.toml"), config).unwrap();
            assert_eq!(has_target_flags(triple, &project, &home), expected, "{config}");
        }
    }
}
