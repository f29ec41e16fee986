//! `ci`: all checks of this repository.

use super::doctor;
use crate::{
    cli::Global,
    project::{Places, Project},
    toolchain,
    tools::{self, Finding},
    ui::{self, Hinted, Ui, table},
};
use anyhow::{Result, bail};
use std::{
    env,
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    thread::{self, ScopedJoinHandle},
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
    /// How many steps run at once: 1, or 2 for those that mostly wait to run beside
    /// the others.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=2))]
    jobs: u8,
}

/// One check: a command that a person can run too.
struct Step {
    name: &'static str,
    command: Vec<String>,
    dir: PathBuf,
    env: Vec<(&'static str, PathBuf)>,
    needs: &'static [Tools],
    /// Whether it mostly waits, so that it may run beside those that follow it.
    waits: bool,
}

/// How a step went.
struct Outcome {
    passed: bool,
    time: Duration,
}

/// A step that runs beside others, and what it says.
type Beside<'scope> = ScopedJoinHandle<'scope, (Outcome, Vec<u8>)>;

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

    fn waiting(self) -> Self {
        Self { waits: true, ..self }
    }

    fn shown(&self) -> String {
        format!("\n== {}: {}", self.name, self.command.join(" "))
    }

    fn command(&self) -> Command {
        let mut command = toolchain::command(&self.command[0]);
        command
            .args(&self.command[1..])
            .current_dir(&self.dir)
            .envs(self.env.iter().map(|(key, value)| (key, value)))
            .env_remove("RUSTUP_TOOLCHAIN");
        command
    }

    /// Runs the step; what it says is seen as it comes.
    fn run(&self, ui: Ui) -> Outcome {
        ui.say(self.shown());
        let start = Instant::now();
        let passed = match self.command().status() {
            Ok(status) => status.success(),
            Err(error) => {
                ui::warn(self.not_started(&error));
                false
            }
        };
        Outcome { passed, time: start.elapsed() }
    }

    /// Runs the step silently; returns what it said too.
    fn run_silently(&self) -> (Outcome, Vec<u8>) {
        let start = Instant::now();
        let (passed, said) = match self.command().stdin(Stdio::null()).output() {
            Ok(output) => (output.status.success(), [output.stdout, output.stderr].concat()),
            Err(error) => (false, format!("{}\n", self.not_started(&error)).into_bytes()),
        };
        (Outcome { passed, time: start.elapsed() }, said)
    }

    fn not_started(&self, error: &io::Error) -> String {
        format!("cannot run {} in {}: {error}", self.command[0], self.dir.display())
    }
}

/// Refuses other repositories: they have neither the steps nor what these need.
fn require_own(root: &Path) -> Result<(), Hinted> {
    if root.join("firmware/fuzz/Cargo.toml").is_file() {
        return Ok(());
    }
    Err(Hinted::new(
        "`ci` checks the repository of Towline itself",
        "in a project of your own: `cargo xtask release --dry-run`, `check`",
    ))
}

pub(crate) fn run(global: &Global, args: &Args) -> Result<ExitCode> {
    let ui = global.ui();
    let places = Places { store: None, site_dir: None };
    let project = Project::open(global.manifest.as_deref(), &places)?;
    let root = project.config.root.canonicalize()?;
    require_own(&root)?;
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
    let outcomes = run_all(&steps, args.jobs, ui)?;
    let mut rows = vec![["STEP", "RESULT", "TIME"].map(String::from)];
    rows.extend(steps.iter().zip(&outcomes).map(|(step, outcome)| {
        let result = if outcome.passed { "passed" } else { "FAILED" };
        [step.name.into(), result.into(), format!("{:.1} s", outcome.time.as_secs_f64())]
    }));
    let failed = outcomes.iter().filter(|outcome| !outcome.passed).count();
    println!("\n{}\n{} passed, {failed} failed", table(&rows), steps.len() - failed);
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs all steps, whether one fails or not, and returns how they went in their
/// order. One of those that wait runs beside the others that come after it; its
/// output is shown when it has ended.
fn run_all(steps: &[Step], jobs: u8, ui: Ui) -> Result<Vec<Outcome>> {
    thread::scope(|scope| {
        let mut outcomes: Vec<Option<Outcome>> = steps.iter().map(|_| None).collect();
        let mut beside: Option<(usize, Beside<'_>)> = None;
        let join = |beside: Option<(usize, Beside<'_>)>, outcomes: &mut Vec<_>| {
            let Some((at, handle)) = beside else { return Ok(()) };
            let (outcome, said) = handle.join().expect("it does not panic");
            ui.say(steps[at].shown());
            io::stderr().write_all(&said)?;
            outcomes[at] = Some(outcome);
            anyhow::Ok(())
        };
        for (at, step) in steps.iter().enumerate() {
            let is_last = at + 1 == steps.len();
            if jobs == 1 || !step.waits || is_last {
                outcomes[at] = Some(step.run(ui));
                continue;
            }
            join(beside.take(), &mut outcomes)?;
            ui.say(format_args!("{} (beside the others)", step.shown()));
            beside = Some((at, scope.spawn(|| step.run_silently())));
        }
        join(beside, &mut outcomes)?;
        Ok(outcomes.into_iter().map(|outcome| outcome.expect("each was run")).collect())
    })
}

fn steps(root: &Path) -> Vec<Step> {
    let firmware = root.join("firmware");
    let esp = root.join("firmware/esp");
    let fuzz = root.join("firmware/fuzz");
    let site = root.join("site");
    let oracles = tools::oracles_dir(root).join("bin");
    let automation = root.join(".github");
    let step = |name, command: &str, dir: &Path, env: &[(&'static str, &Path)]| Step {
        name,
        command: command.split(' ').map(str::to_owned).collect(),
        dir: dir.to_owned(),
        env: env.iter().map(|(key, value)| (*key, value.to_path_buf())).collect(),
        needs: &[],
        waits: false,
    };
    let chromium = tools::chromium().unwrap_or_default();
    let program = env::current_exe().unwrap_or_default();
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
        .needing(&[Tools::Page])
        .waiting(),
        step("test", "cargo test --locked --workspace --all-features", root, &[]).needing(&[
            Tools::Firmware,
            Tools::Oracles,
            Tools::Template,
        ]),
        step(
            "generated",
            "cargo test --locked --workspace --all-features --test suite -- \
             --ignored scaffold::generated --nocapture",
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
        step("actionlint", &format!("{} -no-color", oracle("actionlint")), root, &[])
            .needing(&[Tools::Oracles]),
        step(
            "zizmor",
            &format!("{} --offline {}", oracle("zizmor"), automation.display()),
            root,
            &[],
        )
        .needing(&[Tools::Oracles]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &'static str, script: &str, dir: &Path) -> Step {
        let command = ["sh", "-c", script].map(str::to_owned).into();
        Step { name, command, dir: dir.to_owned(), env: Vec::new(), needs: &[], waits: false }
    }

    /// The first one ends only if the second one runs while it does.
    #[test]
    fn a_step_that_waits_runs_beside_those_that_follow_and_none_stops_another() {
        let dir = tempfile::tempdir().unwrap();
        let wait =
            "n=0; until [ -e there ]; do n=$((n+1)); [ $n -lt 600 ] || exit 1; sleep 0.1; done";
        let steps = || {
            vec![
                step("wait", wait, dir.path()).waiting(),
                step("fail", "exit 3", dir.path()),
                step("make", "touch there", dir.path()),
                // Alone at the end there is nothing to run beside.
                step("last", "true", dir.path()).waiting(),
            ]
        };
        let passed = |jobs| {
            let outcomes = run_all(&steps(), jobs, Ui::new(true)).unwrap();
            outcomes.iter().map(|outcome| outcome.passed).collect::<Vec<_>>()
        };
        assert_eq!(passed(2), [true, false, true, true]);
        // One after the other, in their order.
        std::fs::remove_file(dir.path().join("there")).unwrap();
        let steps =
            [step("make", "touch there", dir.path()), step("wait", wait, dir.path()).waiting()];
        let outcomes = run_all(&steps, 1, Ui::new(true)).unwrap();
        assert!(outcomes.iter().all(|outcome| outcome.passed));
    }

    #[test]
    fn a_step_that_cannot_be_started_has_failed_and_the_others_run() {
        let dir = tempfile::tempdir().unwrap();
        let missing = || Step { command: vec!["./missing".into()], ..step("no", "", dir.path()) };
        let steps = [missing().waiting(), missing(), step("last", "true", dir.path())];
        let outcomes = run_all(&steps, 2, Ui::new(true)).unwrap();
        let passed: Vec<_> = outcomes.iter().map(|outcome| outcome.passed).collect();
        assert_eq!(passed, [false, false, true]);
    }

    #[test]
    fn other_repositories_are_refused() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        assert!(require_own(root).is_ok());
        assert!(require_own(tempfile::tempdir().unwrap().path()).is_err());
    }

    #[test]
    fn the_page_runs_beside_the_tests_once_there_is_a_site() {
        let steps = steps(Path::new("/nowhere"));
        let at = |name| steps.iter().position(|step| step.name == name).unwrap();
        assert!(at("release") < at("check") && at("check") < at("page") && at("page") < at("test"));
        let waiting: Vec<_> = steps.iter().filter(|s| s.waits).map(|s| s.name).collect();
        assert_eq!(waiting, ["page"]);
    }
}
