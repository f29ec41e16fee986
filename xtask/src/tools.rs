//! Tools that this machine needs, and how to get them.

use crate::{
    build::{self, Build},
    config::Config,
    image::espflash_chip,
    name::TargetName,
    toolchain::{self, capture},
};
use serde::Serialize;
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// The oldest Node.js that bundles the installer of the page and tests it.
pub const NODE: &str = "20.19";

/// npm as a program is called: on Windows it is a script.
pub const NPM: &str = if cfg!(windows) { "npm.cmd" } else { "npm" };

/// A tool or file, and whether it is there.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What it is.
    pub what: String,
    /// Whether it is there.
    pub ok: bool,
    /// What was found, or what is missing.
    pub detail: String,
    /// The command that mends it; `None` where only a person can.
    pub mend: Option<Vec<String>>,
}

impl Finding {
    fn ok(what: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { what: what.into(), ok: true, detail: detail.into(), mend: None }
    }

    fn missing(what: impl Into<String>, detail: impl Into<String>, mend: &[&str]) -> Self {
        let mend: Vec<_> = mend.iter().map(ToString::to_string).collect();
        let mend = (!mend.is_empty()).then_some(mend);
        Self { what: what.into(), ok: false, detail: detail.into(), mend }
    }
}

/// Looks at what releases of a project need.
pub fn for_release(config: &Config) -> Vec<Finding> {
    let targets: Vec<_> = config.targets.keys().cloned().collect();
    for_installer().into_iter().chain(for_targets(config, &targets)).collect()
}

/// Looks at what building these targets needs.
pub fn for_targets(config: &Config, targets: &[TargetName]) -> Vec<Finding> {
    let mut findings = vec![version_of("git", &["--version"], "git")];
    let mut triples = Vec::new();
    for (name, target) in targets.iter().map(|name| (name, &config.targets[name])) {
        let what = |what: &str| format!("{name}: {what}");
        match &target.build {
            Build::Cargo { dir, .. } => {
                findings.push(exists(what("cargo package"), &dir.join("Cargo.toml")));
                if let Some(triple) = build::cargo_triple(target)
                    && !triples.contains(&triple)
                {
                    triples.push(triple);
                    findings.push(rust_target(triple, &config.root));
                    let known = |new: &Finding| findings.iter().any(|old| old.what == new.what);
                    let c_code: Vec<_> =
                        for_c_code(dir).into_iter().filter(|new| !known(new)).collect();
                    findings.extend(c_code);
                }
            }
            Build::Command { command, dir, .. } => {
                let program = &command[0];
                findings.push(match find_program(program, dir) {
                    Some(path) => Finding::ok(what(program), path.display().to_string()),
                    None => Finding::missing(what(program), "not in PATH", &[]),
                });
            }
            Build::Prebuilt(file) => findings.push(exists(what("prebuilt image"), file)),
        }
        if let Some(table) = &target.partition_table {
            findings.push(exists(what("partition table"), table));
        }
        match &target.bootloader {
            Some(bootloader) => findings.push(exists(what("bootloader"), bootloader)),
            None if espflash_chip(target.chip).is_none() && target.partition_table.is_some() => {
                let detail = format!(
                    "espflash bundles none for {}; name one with `bootloader`",
                    target.chip
                );
                findings.push(Finding::missing(what("bootloader"), detail, &[]));
            }
            None => {}
        }
    }
    findings
}

/// Looks at what runs independent implementations that are written in Python.
pub fn for_python(root: &Path) -> Vec<Finding> {
    // Debian's Python comes without what makes environments.
    let venv = ["-c", "import ensurepip, platform; print(platform.python_version())"];
    vec![version_of("python3", &venv, "python3-venv"), oracles(root)]
}

/// Looks at what the tests need beside that: independent implementations.
pub fn for_oracles(root: &Path) -> Vec<Finding> {
    let others = [
        version_of("minisign", &["-v"], "minisign"),
        version_of("openssl", &["version"], "openssl"),
        found("nginx", nginx(), "nginx-light"),
        found("mandoc", find_program("mandoc", Path::new(".")), "mandoc"),
    ];
    for_python(root).into_iter().chain(others).collect()
}

/// Returns the web server, which Debian keeps out of the path of users.
pub fn nginx() -> Option<PathBuf> {
    let path = find_program("nginx", Path::new("."));
    path.or_else(|| Some("/usr/sbin/nginx".into()).filter(|path: &PathBuf| path.is_file()))
}

/// Looks at what the tests of the page need.
pub fn for_page(root: &Path) -> Vec<Finding> {
    let chromium = match chromium() {
        Some(path) => Finding::ok("chromium", path.display().to_string()),
        None => apt("chromium", "a browser for the tests of the page", "chromium"),
    };
    for_installer().into_iter().chain([chromium, page_packages(root)]).collect()
}

/// Looks at what bundles the installer of the page.
pub fn for_installer() -> Vec<Finding> {
    vec![node(), version_of(NPM, &["--version"], "npm")]
}

fn node() -> Finding {
    let found = version_of("node", &["--version"], "nodejs");
    if found.ok && !is_at_least(&found.detail, NODE) {
        // What the package would install is no newer.
        let detail = format!("{} is older than {NODE}; see https://nodejs.org", found.detail);
        return Finding::missing("node", detail, &[]);
    }
    found
}

/// Compares versions by major and minor number; a leading `v` does not count.
fn is_at_least(version: &str, least: &str) -> bool {
    let numbers = |text: &str| -> Option<(u32, u32)> {
        let (major, rest) = text.trim_start_matches('v').split_once('.')?;
        Some((major.parse().ok()?, rest.split('.').next()?.parse().ok()?))
    };
    numbers(version).is_some_and(|version| Some(version) >= numbers(least))
}

/// Drops findings that were made before: several jobs need the same tools.
pub fn each_once(mut findings: Vec<Finding>) -> Vec<Finding> {
    let mut known = BTreeSet::new();
    findings.retain(|finding| known.insert(finding.what.clone()));
    findings
}

/// Looks at what the fuzz targets need.
pub fn for_fuzz() -> Vec<Finding> {
    vec![version_of("c++", &["--version"], "g++")]
}

/// Looks at what the emulated machine needs.
pub fn for_machine() -> Vec<Finding> {
    vec![version_of(crate::virt::QEMU, &["--version"], "qemu-system-misc")]
}

/// Returns the browser that the tests of the page use.
pub fn chromium() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("CHROMIUM") {
        return Some(path.into());
    }
    ["chromium", "chromium-browser", "google-chrome"]
        .iter()
        .find_map(|name| find_program(name, Path::new(".")))
}

/// Returns the folder of the Python environment with the oracles.
pub fn oracles_dir(root: &Path) -> PathBuf {
    root.join("target/oracles")
}

/// Looks at the program `cargo generate`, which our template has to work with: that
/// of the lock file, made of packages that are built anyway.
pub fn for_template(root: &Path) -> Vec<Finding> {
    let (what, program) = ("cargo-generate", cargo_generate(root));
    let lock = std::fs::read_to_string(root.join("Cargo.lock")).unwrap_or_default();
    let is_locked = |said: &String| {
        let version = said.rsplit(' ').next().unwrap_or_default();
        lock.contains(&format!("name = \"{what}\"\nversion = \"{version}\"\n"))
    };
    let said = capture(&program.to_string_lossy(), &["generate", "--version"], root);
    vec![match said.ok().filter(is_locked) {
        Some(version) => Finding::ok(what, version),
        None => {
            let manifest = root.join("Cargo.toml").display().to_string();
            let build = ["cargo", "build", "--locked", "--manifest-path", &manifest];
            let mend = [&build[..], &["--package", what, "--bin", what]].concat();
            Finding::missing(what, "not built", &mend)
        }
    }]
}

/// Returns where the program `cargo generate` is built.
pub fn cargo_generate(root: &Path) -> PathBuf {
    root.join("target/debug/cargo-generate").with_extension(std::env::consts::EXE_EXTENSION)
}

fn oracles(root: &Path) -> Finding {
    let dir = oracles_dir(root);
    let requirements = root.join("xtask/tests/oracles/requirements.txt");
    // The environment keeps a copy of what was installed into it.
    let wanted = std::fs::read(&requirements).unwrap_or_default();
    if std::fs::read(dir.join("requirements.txt")).is_ok_and(|installed| installed == wanted) {
        return Finding::ok("python oracles", dir.display().to_string());
    }
    // What is needed from npm is named in a comment.
    let script = "python3 -m venv \"$0\" && \"$0/bin/pip\" install --quiet --requirement \"$1\" && npm install --silent --no-save --ignore-scripts --prefix \"$0\" $(sed -n 's/^# npm: //p' \"$1\") && cp \"$1\" \"$0/\"";
    let (dir, requirements) = (dir.display().to_string(), requirements.display().to_string());
    Finding::missing("python oracles", "not installed", &["sh", "-c", script, &dir, &requirements])
}

fn page_packages(root: &Path) -> Finding {
    let site = root.join("site");
    let newer = |a: &str, b: &str| {
        let modified = |path: &str| site.join(path).metadata().and_then(|m| m.modified());
        matches!((modified(a), modified(b)), (Ok(a), Ok(b)) if a >= b)
    };
    if newer("node_modules/.package-lock.json", "package-lock.json") {
        return Finding::ok("npm packages of site/", "installed");
    }
    let site = site.display().to_string();
    Finding::missing(
        "npm packages of site/",
        "not installed",
        &[NPM, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", &site],
    )
}

fn rust_target(triple: &str, root: &Path) -> Finding {
    let what = format!("rust target {triple}");
    if toolchain::has_target(triple, root) {
        return Finding::ok(what, "installed");
    }
    let command = toolchain::install_command(triple);
    let command: Vec<_> = command.iter().map(String::as_str).collect();
    Finding::missing(what, "not installed", &command)
}

/// Looks at what C code needs that is built along with the firmware in `dir`,
/// such as that of mbedtls: its lock file tells.
fn for_c_code(dir: &Path) -> Vec<Finding> {
    let lock = dir.ancestors().map(|dir| dir.join("Cargo.lock")).find(|lock| lock.is_file());
    let lock = lock.and_then(|lock| std::fs::read_to_string(lock).ok()).unwrap_or_default();
    let has = |package: &str| lock.contains(&format!("name = \"{package}\"\n"));
    let mut findings = Vec::new();
    if has("cmake") {
        findings.push(version_of("clang", &["--version"], "clang"));
        findings.push(version_of("cmake", &["--version"], "cmake"));
        findings.push(version_of("ninja", &["--version"], "ninja-build"));
    }
    if has("bindgen") {
        findings.push(match libclang() {
            Some(path) => Finding::ok("libclang", path.display().to_string()),
            None => apt("libclang", "bindings to C code need it", "libclang-dev"),
        });
    }
    findings
}

/// Returns a library of clang, where `bindgen` looks for it.
fn libclang() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("LIBCLANG_PATH") {
        return Some(path.into());
    }
    let entries = |dir: &Path| {
        let entries = dir.read_dir().into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let mut folders = entries(Path::new("/usr/lib"));
    folders.extend(folders.clone().into_iter().map(|dir| dir.join("lib")));
    folders.iter().flat_map(|dir| entries(dir)).find(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("libclang") && !name.starts_with("libclang-cpp") && name.contains(".so")
    })
}

fn exists(what: String, path: &Path) -> Finding {
    let shown = path.display().to_string();
    if path.exists() {
        Finding::ok(what, shown)
    } else {
        Finding::missing(what, format!("{shown} is missing"), &[])
    }
}

fn version_of(program: &str, arguments: &[&str], package: &str) -> Finding {
    match capture(program, arguments, Path::new(".")) {
        Ok(version) => Finding::ok(program, version.lines().next().unwrap_or_default()),
        Err(_) => apt(program, "not found", package),
    }
}

fn found(program: &str, path: Option<PathBuf>, package: &str) -> Finding {
    match path {
        Some(path) => Finding::ok(program, path.display().to_string()),
        None => apt(program, "not found", package),
    }
}

/// Describes something that Debian has as a package.
fn apt(what: &str, detail: &str, package: &str) -> Finding {
    let install =
        format!("apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes {package}");
    if is_root() {
        Finding::missing(what, detail, &["sh", "-c", &install])
    } else if may_become_root() {
        Finding::missing(what, detail, &["sudo", "--non-interactive", "sh", "-c", &install])
    } else {
        let detail = format!("{detail}; as root: {install}");
        Finding::missing(what, detail, &[])
    }
}

#[cfg(target_os = "linux")]
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[cfg(not(target_os = "linux"))]
fn is_root() -> bool {
    false
}

/// Returns whether commands may be run as root without a password, as on the machines
/// that GitHub lends.
fn may_become_root() -> bool {
    capture("sudo", &["--non-interactive", "true"], Path::new(".")).is_ok()
}

/// Returns where a program is that is called from `dir`.
fn find_program(name: &str, dir: &Path) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(dir.join(name)).filter(|path| path.is_file());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_node_are_compared_as_numbers() {
        for (version, enough) in [
            ("v20.19.0", true),
            ("v20.20.2", true),
            ("v22.0.0", true),
            ("v100.1.0", true),
            ("v20.9.0", false),
            ("v18.20.4", false),
            ("v9.99.0", false),
            ("", false),
            ("nonsense", false),
        ] {
            assert_eq!(is_at_least(version, NODE), enough, "{version}");
        }
    }
}
