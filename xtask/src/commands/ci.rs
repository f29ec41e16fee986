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
    sync::{Condvar, Mutex},
    thread,
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
    /// How many steps run at once: 1, or 2 of those that do not build in one folder.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=2))]
    jobs: u8,
}

/// One check: a command that a person can run too.
struct Step {
    name: &'static str,
    command: Vec<String>,
    /// This program, which takes the place of `cargo xtask`: that would wait for
    /// those that build in the same folder.
    xtask: Option<PathBuf>,
    dir: PathBuf,
    env: Vec<(&'static str, PathBuf)>,
    needs: &'static [Tools],
    lane: Lane,
    /// The step that has to end before this one begins.
    after: Option<&'static str>,
}

/// What a step is busy with. Two steps of one lane never run at once: cargo
/// would let one of them wait for the other's target folder.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lane {
    /// Builds the host's workspace.
    Host,
    /// Builds what runs on a chip, or with instrumentation.
    Firmware,
    /// The page, in a browser, which mostly waits.
    Page,
}

/// How far a step is.
enum Progress {
    Waits,
    Runs,
    Ended(Outcome),
}

/// How a step went.
struct Outcome {
    passed: bool,
    time: Duration,
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

    fn on(self, lane: Lane) -> Self {
        Self { lane, ..self }
    }

    fn after(self, step: &'static str) -> Self {
        Self { after: Some(step), ..self }
    }

    fn shown(&self) -> String {
        format!("\n== {}: {}", self.name, self.command.join(" "))
    }

    fn command(&self) -> Command {
        let (program, args) = match &self.xtask {
            Some(xtask) => (xtask.as_path(), &self.command[2..]),
            None => (Path::new(&self.command[0]), &self.command[1..]),
        };
        let mut command = toolchain::command(program);
        command
            .args(args)
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

    /// Runs the step beside another one; what it says is seen when it has ended.
    fn run_beside(&self, ui: Ui) -> Outcome {
        ui.say(format_args!("{} (beside the others)", self.shown()));
        let start = Instant::now();
        let (passed, said) = match self.command().stdin(Stdio::null()).output() {
            Ok(output) => (output.status.success(), [output.stdout, output.stderr].concat()),
            Err(error) => (false, format!("{}\n", self.not_started(&error)).into_bytes()),
        };
        let outcome = Outcome { passed, time: start.elapsed() };
        ui.say(self.shown());
        // There is nobody to tell where it cannot be said.
        let _ = io::stderr().write_all(&said);
        outcome
    }

    fn not_started(&self, error: &io::Error) -> String {
        format!("cannot run {} in {}: {error}", self.command[0], self.dir.display())
    }
}

/// Refuses other repositories: they have neither the steps nor what these need.
pub(super) fn require_own(root: &Path) -> Result<(), Hinted> {
    if root.join("firmware/fuzz/Cargo.toml").is_file() {
        return Ok(());
    }
    Err(Hinted::new(
        "this checks the repository of Towline itself",
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
    let outcomes = run_all(&steps, args.jobs, ui);
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
/// order. What the first of those that run at once says is seen as it comes, what
/// the other one says when it has ended.
fn run_all(steps: &[Step], jobs: u8, ui: Ui) -> Vec<Outcome> {
    let progress = Mutex::new(steps.iter().map(|_| Progress::Waits).collect::<Vec<_>>());
    let ended = Condvar::new();
    let work = |run: &dyn Fn(&Step) -> Outcome| {
        let mut states = progress.lock().expect("no step panics");
        while states.iter().any(|state| matches!(state, Progress::Waits)) {
            let Some(at) = next(steps, &states) else {
                states = ended.wait(states).expect("no step panics");
                continue;
            };
            states[at] = Progress::Runs;
            drop(states);
            let outcome = run(&steps[at]);
            states = progress.lock().expect("no step panics");
            states[at] = Progress::Ended(outcome);
            ended.notify_all();
        }
    };
    thread::scope(|scope| {
        if jobs > 1 {
            scope.spawn(|| work(&|step| step.run_beside(ui)));
        }
        work(&|step| step.run(ui));
    });
    let states = progress.into_inner().expect("no step panics").into_iter();
    states
        .map(|state| match state {
            Progress::Ended(outcome) => outcome,
            Progress::Waits | Progress::Runs => unreachable!("each was run"),
        })
        .collect()
}

/// Returns the first step that may begin now.
fn next(steps: &[Step], states: &[Progress]) -> Option<usize> {
    let all = || steps.iter().zip(states);
    let is_free =
        |lane| !all().any(|(step, state)| step.lane == lane && matches!(state, Progress::Runs));
    let is_over =
        |name| all().all(|(step, state)| step.name != name || matches!(state, Progress::Ended(_)));
    all().position(|(step, state)| {
        matches!(state, Progress::Waits) && is_free(step.lane) && step.after.is_none_or(is_over)
    })
}

fn steps(root: &Path) -> Vec<Step> {
    let firmware = root.join("firmware");
    let esp = root.join("firmware/esp");
    let fuzz = root.join("firmware/fuzz");
    let site = root.join("site");
    let oracles = tools::oracles_dir(root).join("bin");
    let automation = root.join(".github");
    let program = env::current_exe().unwrap_or_default();
    let xtask = "cargo xtask";
    let step = |name, command: &str, dir: &Path, env: &[(&'static str, &Path)]| Step {
        name,
        command: command.split(' ').map(str::to_owned).collect(),
        xtask: command.starts_with(xtask).then(|| program.clone()),
        dir: dir.to_owned(),
        env: env.iter().map(|(key, value)| (*key, value.to_path_buf())).collect(),
        needs: &[],
        lane: Lane::Host,
        after: None,
    };
    let chromium = tools::chromium().unwrap_or_default();
    let deny = ("RUSTDOCFLAGS", Path::new("-Dwarnings"));
    let oracle = |name: &str| oracles.join(name).display().to_string();
    let store = root.join("target/ci/store");
    let published = root.join("target/ci/site");
    let clippy = |chip: &str, triple: &str| {
        format!("cargo clippy --locked --release --features {chip} --target {triple} -- -Dwarnings")
    };
    vec![
        step("format", "cargo fmt --all --check", root, &[]),
        step("format-firmware", "cargo fmt --all --check", &firmware, &[]).on(Lane::Firmware),
        step(
            "clippy",
            "cargo clippy --locked --workspace --all-targets --all-features -- -Dwarnings",
            root,
            &[],
        ),
        step("clippy-esp32c3", &clippy("esp32c3", "riscv32imc-unknown-none-elf"), &esp, &[])
            .on(Lane::Firmware)
            .needing(&[Tools::Firmware]),
        step("clippy-esp32c6", &clippy("esp32c6", "riscv32imac-unknown-none-elf"), &esp, &[])
            .on(Lane::Firmware)
            .needing(&[Tools::Firmware]),
        step(
            "clippy-virt",
            "cargo clippy --locked --release -p towline-tls -p towline-virt \
             --features towline-virt/boot,towline-virt/plain \
             --target riscv32imac-unknown-none-elf -- -Dwarnings",
            &firmware,
            &[],
        )
        .on(Lane::Firmware)
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
        .on(Lane::Firmware)
        .needing(&[Tools::Firmware]),
        step("check", &format!("{xtask} check {} --json", published.display()), root, &[])
            .on(Lane::Firmware)
            .after("release"),
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
        .on(Lane::Page)
        .after("check")
        .needing(&[Tools::Page]),
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
            .on(Lane::Firmware)
            .needing(&[Tools::Firmware, Tools::Machine]),
        step("virt-trust", &format!("{xtask} virt trust"), root, &[])
            .on(Lane::Firmware)
            .needing(&[Tools::Firmware, Tools::Machine]),
        step("virt-attacks", &format!("{xtask} virt attacks"), root, &[])
            .on(Lane::Firmware)
            .needing(&[Tools::Firmware, Tools::Machine]),
        step("virt-powercut", &format!("{xtask} virt powercut --cuts 20 --seed 7"), root, &[])
            .on(Lane::Firmware)
            .needing(&[Tools::Firmware, Tools::Machine]),
        step("virt-figures", &format!("{xtask} virt figures"), root, &[])
            .on(Lane::Firmware)
            .needing(&[Tools::Firmware, Tools::Machine]),
        step("format-fuzz", "cargo fmt --check", &fuzz, &[]).on(Lane::Firmware),
        step("fuzz", "./smoke", &fuzz, &[]).on(Lane::Firmware).needing(&[Tools::Fuzz]),
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
        Step {
            name,
            command,
            xtask: None,
            dir: dir.to_owned(),
            env: Vec::new(),
            needs: &[],
            lane: Lane::Host,
            after: None,
        }
    }

    fn passed(steps: &[Step], jobs: u8) -> Vec<bool> {
        run_all(steps, jobs, Ui::new(true)).iter().map(|outcome| outcome.passed).collect()
    }

    /// Waits for a file that another step makes.
    const WAIT: &str =
        "n=0; until [ -e there ]; do n=$((n+1)); [ $n -lt 600 ] || exit 1; sleep 0.1; done";

    /// The first one ends only if the third one runs while it does.
    #[test]
    fn steps_of_two_lanes_run_at_once_and_none_that_fails_stops_another() {
        let dir = tempfile::tempdir().unwrap();
        let steps = [
            step("wait", WAIT, dir.path()).on(Lane::Page),
            step("fail", "exit 3", dir.path()),
            step("make", "touch there", dir.path()),
        ];
        assert_eq!(passed(&steps, 2), [true, false, true]);
    }

    #[test]
    fn steps_of_one_lane_and_steps_that_need_another_run_one_after_the_other() {
        let dir = tempfile::tempdir().unwrap();
        let alone = "mkdir alone && sleep 0.2 && rmdir alone";
        let steps = [
            step("page", "[ -e there ]", dir.path()).on(Lane::Page).after("make"),
            step("one", alone, dir.path()),
            step("two", alone, dir.path()),
            step("make", "sleep 0.2; touch there", dir.path()).on(Lane::Firmware),
            step("alone", "true", dir.path()).after("a step that was not asked for"),
        ];
        for jobs in [1, 2] {
            assert_eq!(passed(&steps, jobs), [true; 5], "{jobs} at once");
            std::fs::remove_file(dir.path().join("there")).unwrap();
        }
    }

    #[test]
    fn a_step_that_cannot_be_started_has_failed_and_the_others_run() {
        let dir = tempfile::tempdir().unwrap();
        let missing = || Step { command: vec!["./missing".into()], ..step("no", "", dir.path()) };
        let steps = [missing().on(Lane::Page), missing(), step("last", "true", dir.path())];
        assert_eq!(passed(&steps, 2), [false, false, true]);
    }

    #[test]
    fn other_repositories_are_refused() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        assert!(require_own(root).is_ok());
        assert!(require_own(tempfile::tempdir().unwrap().path()).is_err());
    }

    #[test]
    fn the_page_waits_for_a_site_that_was_checked() {
        let steps = steps(Path::new("/nowhere"));
        let after = |name| steps.iter().find(|step| step.name == name).unwrap().after;
        assert_eq!((after("page"), after("check")), (Some("check"), Some("release")));
        let on = |lane| steps.iter().filter(move |step| step.lane == lane).map(|step| step.name);
        assert_eq!(on(Lane::Page).collect::<Vec<_>>(), ["page"]);
        assert!(on(Lane::Host).eq([
            "format",
            "clippy",
            "test",
            "generated",
            "docs",
            "actionlint",
            "zizmor"
        ]));
    }
}
