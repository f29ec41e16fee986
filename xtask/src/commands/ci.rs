//! `ci`: all checks of this repository.

use super::doctor;
use crate::{
    cli::Global,
    project::{Places, Project},
    toolchain,
    tools::{self, Finding},
    ui::{Ui, table},
};
use anyhow::{Result, bail};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

/// Run all checks: format, lints, firmware, tests, docs, page and workflows.
///
/// Installs what they need first. This is what runs on every change of this
/// repository.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run these steps only; `clippy` is each step whose name begins with it.
    #[arg(long, value_delimiter = ',', value_name = "STEPS")]
    only: Vec<String>,
    /// List the steps.
    #[arg(long)]
    list: bool,
}

/// One check: a command that a person can run too.
struct Step {
    name: &'static str,
    command: Vec<String>,
    dir: PathBuf,
    env: Vec<(&'static str, PathBuf)>,
    needs: &'static [Tools],
}

/// What a step needs beside Rust.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tools {
    /// What building the firmware and the page needs.
    Firmware,
    /// The Python environment with independent implementations and linters.
    Oracles,
    /// The program `cargo generate`.
    Template,
    /// Node, the packages of the page, a browser.
    Page,
    /// The compiler of the fuzzing engine, which is C++.
    Fuzz,
    /// The emulated machine.
    Machine,
}

impl Tools {
    fn look(self, project: &Project, root: &Path) -> Vec<Finding> {
        match self {
            Self::Firmware => tools::for_release(&project.config),
            Self::Oracles => tools::for_oracles(root),
            Self::Template => tools::for_template(root),
            Self::Page => tools::for_page(root),
            Self::Fuzz => tools::for_fuzz(),
            Self::Machine => tools::for_machine(),
        }
    }
}

impl Step {
    /// Returns whether the step, or the group of steps that it belongs to, is called that.
    fn is(&self, name: &str) -> bool {
        self.name == name || self.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('-'))
    }

    fn needing(self, needs: &'static [Tools]) -> Self {
        Self { needs, ..self }
    }
}

pub(crate) fn run(global: &Global, args: &Args) -> Result<ExitCode> {
    let ui = global.ui();
    let places = Places { store: None, site_dir: None };
    let project = Project::open(global.manifest.as_deref(), &places)?;
    let root = project.config.root.canonicalize()?;
    let mut steps = steps(&root);
    if args.list {
        for step in &steps {
            println!("{:16} {}", step.name, step.command.join(" "));
        }
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(unknown) = args.only.iter().find(|name| !steps.iter().any(|step| step.is(name))) {
        bail!("there is no step `{unknown}`; `cargo xtask ci --list` lists them");
    }
    steps.retain(|step| args.only.is_empty() || args.only.iter().any(|name| step.is(name)));

    let needed = [
        Tools::Firmware,
        Tools::Oracles,
        Tools::Template,
        Tools::Page,
        Tools::Fuzz,
        Tools::Machine,
    ];
    let needed =
        needed.map(|tools| steps.iter().any(|step| step.needs.contains(&tools)).then_some(tools));
    let look = || -> Vec<Finding> {
        let needed = needed.iter().flatten();
        tools::each_once(needed.flat_map(|tools| tools.look(&project, &root)).collect())
    };
    doctor::fix(&look(), ui)?;
    let missing: Vec<_> = look().into_iter().filter(|finding| !finding.ok).collect();
    if !missing.is_empty() {
        let lines = missing.iter().map(|finding| format!("  {}: {}", finding.what, finding.detail));
        bail!("missing, and not to be skipped:\n{}", lines.collect::<Vec<_>>().join("\n"));
    }

    if steps.iter().any(|step| step.name == "release") {
        // Releases of earlier commits would bar the one that is tested.
        match std::fs::remove_dir_all(root.join("target/ci")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    let mut rows = vec![["STEP", "RESULT", "TIME"].map(String::from)];
    let mut failed = 0;
    for step in &steps {
        let (passed, time) = run_step(step, ui)?;
        failed += usize::from(!passed);
        let result = if passed { "passed" } else { "FAILED" };
        rows.push([step.name.into(), result.into(), format!("{:.1} s", time.as_secs_f64())]);
    }
    println!("\n{}\n{} passed, {failed} failed", table(&rows), steps.len() - failed);
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn run_step(step: &Step, ui: Ui) -> Result<(bool, Duration)> {
    ui.say(format_args!("\n== {}: {}", step.name, step.command.join(" ")));
    let start = Instant::now();
    let status = toolchain::command(&step.command[0])
        .args(&step.command[1..])
        .current_dir(&step.dir)
        .envs(step.env.iter().map(|(key, value)| (key, value)))
        .env_remove("RUSTUP_TOOLCHAIN")
        .status()?;
    Ok((status.success(), start.elapsed()))
}

fn steps(root: &Path) -> Vec<Step> {
    let firmware = root.join("firmware");
    let esp = root.join("firmware/esp");
    let fuzz = root.join("firmware/fuzz");
    let site = root.join("site");
    let oracles = tools::oracles_dir(root).join("bin");
    let workflows = root.join(".github/workflows");
    let step = |name, command: &str, dir: &Path, env: &[(&'static str, &Path)]| Step {
        name,
        command: command.split(' ').map(str::to_owned).collect(),
        dir: dir.to_owned(),
        env: env.iter().map(|(key, value)| (*key, value.to_path_buf())).collect(),
        needs: &[],
    };
    let chromium = tools::chromium().unwrap_or_default();
    let program = std::env::current_exe().unwrap_or_default();
    let deny = ("RUSTDOCFLAGS", Path::new("-Dwarnings"));
    let oracle = |name: &str| oracles.join(name).display().to_string();
    let xtask = "cargo xtask";
    let store = root.join("target/ci/store");
    let published = root.join("target/ci/site");
    let clippy = |chip: &str, triple: &str| {
        format!("cargo clippy --locked --release --features {chip} --target {triple} -- -Dwarnings")
    };
    vec![
        step("format", "cargo fmt --all --check", root, &[]),
        step("format-firmware", "cargo fmt --all --check", &firmware, &[]),
        step(
            "clippy",
            "cargo clippy --locked --workspace --all-targets --all-features -- -Dwarnings",
            root,
            &[],
        ),
        step("clippy-esp32c3", &clippy("esp32c3", "riscv32imc-unknown-none-elf"), &esp, &[])
            .needing(&[Tools::Firmware]),
        step("clippy-esp32c6", &clippy("esp32c6", "riscv32imac-unknown-none-elf"), &esp, &[])
            .needing(&[Tools::Firmware]),
        step(
            "clippy-virt",
            "cargo clippy --locked --release -p towline-tls -p towline-virt \
             --features towline-virt/boot,towline-virt/plain \
             --target riscv32imac-unknown-none-elf -- -Dwarnings",
            &firmware,
            &[],
        )
        .needing(&[Tools::Firmware]),
        step(
            "release",
            &format!(
                "{xtask} release --store {} --site-dir {}",
                store.display(),
                published.display()
            ),
            root,
            &[],
        )
        .needing(&[Tools::Firmware]),
        step("check", &format!("{xtask} check {} --json", published.display()), root, &[]),
        step("test", "cargo test --locked --workspace --all-features", root, &[]).needing(&[
            Tools::Firmware,
            Tools::Oracles,
            Tools::Template,
        ]),
        step(
            "generated",
            "cargo test --locked --workspace --all-features --test suite -- --ignored \
             scaffold::generated --nocapture",
            root,
            &[],
        )
        .needing(&[Tools::Firmware]),
        step("virt-update", &format!("{xtask} virt update"), root, &[])
            .needing(&[Tools::Firmware, Tools::Machine]),
        step("virt-trust", &format!("{xtask} virt trust"), root, &[])
            .needing(&[Tools::Firmware, Tools::Machine]),
        step("virt-attacks", &format!("{xtask} virt attacks"), root, &[])
            .needing(&[Tools::Firmware, Tools::Machine]),
        step("virt-powercut", &format!("{xtask} virt powercut --cuts 20 --seed 7"), root, &[])
            .needing(&[Tools::Firmware, Tools::Machine]),
        step("virt-figures", &format!("{xtask} virt figures"), root, &[])
            .needing(&[Tools::Firmware, Tools::Machine]),
        step("format-fuzz", "cargo fmt --check", &fuzz, &[]),
        step("fuzz", "./smoke", &fuzz, &[]).needing(&[Tools::Fuzz]),
        step("docs", "cargo doc --locked --workspace --no-deps --all-features", root, &[deny]),
        step(
            "page",
            "npm test",
            &site,
            &[
                ("SITE_DIR", &published),
                ("STORE_DIR", &store),
                ("CHROMIUM", &chromium),
                ("XTASK", &program),
            ],
        )
        .needing(&[Tools::Page]),
        step("actionlint", &format!("{} -no-color", oracle("actionlint")), root, &[])
            .needing(&[Tools::Oracles]),
        step(
            "zizmor",
            &format!("{} --offline {}", oracle("zizmor"), workflows.display()),
            root,
            &[],
        )
        .needing(&[Tools::Oracles]),
    ]
}
