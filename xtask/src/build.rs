//! Building the firmware of targets.

pub use crate::config::Build;
use crate::{config::Target, name::TargetName, toolchain};
use anyhow::{Context, Result, bail};
use std::{
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Command, Stdio},
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
    /// Where cargo puts what it builds, by target, so that targets build side
    /// by side; `None` for other commands.
    pub target_dir: Option<PathBuf>,
    /// The file that it leaves; `None` where cargo says it.
    pub output: Option<PathBuf>,
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
            target_dir: None,
            output: Some(output.clone()),
        }),
        Build::Cargo { dir, package, features, triple: own } => {
            let triple = own.as_deref().unwrap_or(triple(target.chip));
            // Not by triple: chips share one, and a build leaves one file.
            let target_dir = dir.join("target/towline").join(name.as_str());
            let mut command = vec!["cargo".to_owned()];
            let mut push =
                |arguments: &[&str]| command.extend(arguments.iter().map(ToString::to_string));
            if is_xtensa(triple) {
                push(&["+esp"]);
            }
            push(&["build", "--release", "--locked", "--target", triple]);
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
                target_dir: Some(target_dir),
                output: None,
            })
        }
    }
}

/// Builds a target and returns the ELF file or app image. `line` is given each
/// line that the build writes.
///
/// # Errors
/// If the command cannot be run, fails, or leaves nothing.
pub fn run(
    name: &TargetName,
    target: &Target,
    source_date: i64,
    line: &(dyn Fn(&str) + Sync),
) -> Result<PathBuf> {
    let Some(build) = command(name, target) else {
        let Build::Prebuilt(file) = &target.build else {
            unreachable!("only prebuilt has no command")
        };
        return Ok(file.clone());
    };
    let mut command = Command::new(&build.command[0]);
    command
        .args(&build.command[1..])
        .current_dir(&build.dir)
        .env("SOURCE_DATE_EPOCH", source_date.to_string())
        // Of the cargo that runs us, not of the one we run.
        .env_remove("CARGO")
        .env_remove("RUSTUP_TOOLCHAIN")
        // They would replace the flags of the project's configuration.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(target_dir) = &build.target_dir {
        let triple = triple_of(&build);
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
    let stderr = child.stderr.take().expect("piped");
    let mut stdout = child.stdout.take().expect("piped");
    let (log, printed) = thread::scope(|scope| {
        let log = scope.spawn(move || {
            let lines = BufReader::new(stderr).lines().map_while(Result::ok);
            lines.inspect(|text| line(text)).collect::<Vec<_>>()
        });
        let mut printed = String::new();
        let result = stdout.read_to_string(&mut printed).map(|_| printed);
        (log.join().expect("reads lines"), result)
    });
    let status = child.wait()?;
    if !status.success() {
        bail!("target {name}: `{shown}` failed ({status})\n{}", log.join("\n"));
    }
    match build.output {
        Some(output) if output.exists() => Ok(output),
        Some(output) => bail!("target {name}: `{shown}` did not leave {}", output.display()),
        None => executable(&printed?)
            .with_context(|| format!("target {name}: `{shown}` built no executable, or several")),
    }
}

fn triple_of(build: &BuildCommand) -> &str {
    let at = build.command.iter().position(|a| a == "--target").expect("cargo gets a triple");
    &build.command[at + 1]
}

/// Returns the one executable that cargo's messages name.
fn executable(messages: &str) -> Option<PathBuf> {
    let mut executables = messages.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(PathBuf::from(message["executable"].as_str()?))
    });
    let executable = executables.next()?;
    executables.next().is_none().then_some(executable)
}

/// Returns the cargo configuration that keeps the paths of this machine out of
/// the firmware: the same source gives the same bytes anywhere, and nobody's
/// home folder is published. It is added to the flags of the project's own
/// `.cargo/config.toml`.
fn remap_paths(triple: &str, dir: &Path) -> Result<String> {
    let dir = dir.canonicalize().with_context(|| dir.display().to_string())?;
    // rustc calls the standard library /rustc/<commit> unless its source is
    // installed.
    let library = toolchain::sysroot(&dir)?.join("lib/rustlib/src/rust");
    let flags: Vec<String> = [
        (toolchain::cargo_home()?, "/cargo".to_owned()),
        (repository_of(&dir), "/source".to_owned()),
        (library, format!("/rustc/{}", toolchain::commit(&dir)?)),
    ]
    .iter()
    .map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display()))
    .collect();
    Ok(format!("target.{triple}.rustflags={}", serde_json::to_string(&flags)?))
}

/// Returns the root of the repository that a folder is in, or the folder.
fn repository_of(dir: &Path) -> PathBuf {
    dir.ancestors().find(|dir| dir.join(".git").exists()).unwrap_or(dir).to_owned()
}
