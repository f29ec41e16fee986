//! From a tag to a site: every line that the workflows run, run here, on a project
//! in Git with prebuilt images, against a double of GitHub.

use super::{File, all};
use crate::{
    github::double::{GitHub, TOKEN},
    signing::channel_key,
    support::{NOW, Project, text, tree},
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::{Command, Output},
    sync::Mutex,
    thread,
};
use towline_descriptor::Chip;
use xtask::serve::{Identity, Server};

const CHIPS: [Chip; 3] = [Chip::Esp32c6, Chip::Esp32c3, Chip::Esp32s3];

/// What only a runner of GitHub can do, or GitHub itself.
const ELSEWHERE: [&str; 3] = [
    ".ci/run",
    "cargo install --git \"$REPOSITORY\" --rev \"$REVISION\" --locked xtask --bin towline",
    "rustup toolchain install stable --profile minimal --component clippy,rustfmt",
];

/// A project in Git, and the values of the expressions of its workflow run.
struct Runner {
    project: Project,
    github: GitHub,
    values: Mutex<BTreeMap<String, String>>,
    ran: Mutex<BTreeSet<String>>,
}

impl Runner {
    fn new() -> Self {
        let project = Project::new(&CHIPS);
        let github = GitHub::start();
        let runner = Self { project, github, values: Mutex::default(), ran: Mutex::default() };
        runner.git(&["init", "-q", "-b", "main", "."]);
        runner.set("inputs.command", env!("CARGO_BIN_EXE_xtask"));
        runner.set("github.token", TOKEN);
        runner.set("inputs.refresh && '--refresh' || ''", "");
        runner.set("secrets.TOWLINE_CHANNEL_KEY", "");
        runner.set("inputs.options", "");
        runner.set("inputs.plan-options", "");
        runner.set("inputs.prepare", "");
        runner.set("inputs.check-options", "");
        runner.set("inputs.target", "esp32c3");
        runner
    }

    fn git(&self, arguments: &[&str]) {
        let user = ["-c", "user.name=lamp", "-c", "user.email=lamp@example.org"];
        let mut git = Command::new("git");
        git.args(user).args(arguments).current_dir(self.project.path("."));
        git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        let output = git.output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    }

    /// Commits the images of a version, and tags it.
    fn tag(&self, version: &str, subject: &str) -> &Self {
        self.project.build(&CHIPS, version);
        self.git(&["add", "towline.toml", "partitions.csv", "images"]);
        self.git(&["commit", "-qm", subject]);
        self.git(&["tag", &format!("v{version}")]);
        self.set("github.ref_name", &format!("v{version}"));
        self
    }

    /// Gives the project keys; that of its channels is a secret of the repository.
    fn sign(&self) {
        self.project.done(&["keys", "init"]);
        let file = channel_key(&self.project);
        self.set("secrets.TOWLINE_CHANNEL_KEY", &fs::read_to_string(&file).unwrap());
        fs::remove_file(file).unwrap();
        self.git(&["add", "root"]);
    }

    fn set(&self, expression: &str, value: &str) {
        self.values.lock().unwrap().insert(expression.to_owned(), value.to_owned());
    }

    /// Returns a text with its expressions evaluated.
    fn evaluate(&self, text: &str) -> String {
        let values = self.values.lock().unwrap();
        let mut parts = text.split("${{");
        let mut evaluated = parts.next().unwrap().to_owned();
        for part in parts {
            let (expression, rest) = part.split_once("}}").unwrap();
            let value = values.get(expression.trim());
            evaluated += value.unwrap_or_else(|| panic!("the value of {expression}"));
            evaluated += rest;
        }
        evaluated
    }

    /// Returns whether a step is to run: it has no condition, or one that holds.
    fn wants(&self, step: &Value) -> bool {
        let Some(condition) = step["if"].as_str() else { return true };
        let is_equal = condition.contains(" == ");
        let (expression, value) =
            condition.split_once(if is_equal { " == " } else { " != " }).unwrap();
        (self.value(expression) == value.trim_matches('\'')) == is_equal
    }

    /// Runs a step as a runner does, and takes its outputs over.
    fn step(&self, step: &Value) -> Output {
        let run = step["run"].as_str().unwrap();
        self.ran.lock().unwrap().insert(run.to_owned());
        let env = step["env"].as_object().into_iter().flatten();
        let env = env.map(|(name, value)| (name, self.evaluate(value.as_str().unwrap())));
        let files = tempfile::tempdir().unwrap();
        let [outputs, summary] = ["outputs", "summary"].map(|name| files.path().join(name));
        let output = Command::new("bash")
            .args(["--noprofile", "--norc", "-eo", "pipefail", "-c", run])
            .current_dir(self.project.path("."))
            .env("GITHUB_OUTPUT", &outputs)
            .env("GITHUB_STEP_SUMMARY", &summary)
            .env("GITHUB_REF_TYPE", self.value("ref_type"))
            .env("TOWLINE_KEYS", self.project.keys(""))
            .env_remove("SOURCE_DATE_EPOCH")
            .envs(self.github.variables())
            .env_remove("GITHUB_TOKEN")
            .env_remove("GH_TOKEN")
            .envs(env)
            .output()
            .unwrap();
        let id = step["id"].as_str().unwrap_or_default();
        for line in fs::read_to_string(outputs).unwrap_or_default().lines() {
            let (name, value) = line.split_once('=').unwrap();
            self.set(&format!("steps.{id}.outputs.{name}"), value);
            self.set(&format!("needs.{id}.outputs.{name}"), value);
        }
        self.set("summary", &fs::read_to_string(summary).unwrap_or_default());
        output
    }

    /// Runs what a job runs, but for what is done elsewhere; ends at the first failure.
    fn job(&self, file: &File, job: &str) -> Result<(), String> {
        let steps = file.steps().filter(|step| step.job == job && !step.step["run"].is_null());
        for step in steps.filter(|step| !ELSEWHERE.contains(&step.step["run"].as_str().unwrap())) {
            if !self.wants(step.step) {
                continue;
            }
            let output = self.step(step.step);
            if !output.status.success() {
                return Err(text(&output.stderr));
            }
        }
        Ok(())
    }

    fn value(&self, expression: &str) -> String {
        self.values.lock().unwrap().get(expression).cloned().unwrap_or_default()
    }

    fn matrix(&self) -> Vec<String> {
        let matrix: Value = serde_json::from_str(&self.value("needs.plan.outputs.matrix")).unwrap();
        let jobs = matrix["include"].as_array().unwrap().iter();
        jobs.map(|job| job["target"].as_str().unwrap().to_owned()).collect()
    }

    /// Runs the jobs `plan` and `build` of a release, and hands their parts on.
    fn build(&self, release: &File) {
        self.job(release, "plan").unwrap();
        let _ = fs::remove_dir_all(self.project.path("parts"));
        fs::create_dir(self.project.path("parts")).unwrap();
        for target in self.matrix() {
            self.set("matrix.target", &target);
            self.job(release, "build").unwrap();
            let part = self.project.path(format!("parts/part-{target}"));
            fs::rename(self.project.path("part"), part).unwrap();
        }
    }

    /// Serves a folder where the site is to be published; there is none yet.
    fn serve(&self) {
        let identity = Identity::new(&["localhost".into()]).unwrap();
        let (host, ca) = (self.project.path("host"), self.project.path("ca.pem"));
        fs::create_dir(&host).unwrap();
        fs::write(&ca, &identity.authority).unwrap();
        let any = "127.0.0.1:0".parse().unwrap();
        let server = Server::bind(any, &host, "/", Some(&identity)).unwrap();
        let address = server.address().unwrap();
        thread::spawn(move || server.run(|_| {}));
        self.set("inputs.check-options", &format!("--connect {address} --ca {}", ca.display()));
    }

    /// Runs the job that renders the site, and publishes it.
    fn deploy(&self, pages: &File) {
        self.job(pages, "site").unwrap();
        for (path, bytes) in tree(&self.project.path("public")) {
            let path = self.project.path("host").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }
}

#[test]
fn a_tag_becomes_a_checked_site_by_the_lines_of_the_workflows() {
    let runner = Runner::new();
    let [release, pages, preview] = ["release", "pages", "preview"].map(File::workflow);
    let setup = File::read(".github/actions/setup/action.yml");
    runner.serve();
    runner.sign();

    // The first push, before the first release.
    runner.job(&pages, "site").unwrap();
    assert_eq!(runner.value("steps.site.outputs.rendered"), "false");
    assert_eq!(
        runner.value("summary"),
        "There is no release in octo/lamp yet, and so no site to deploy.\n"
    );
    assert!(!runner.project.path("public").exists());
    // After a tag that would be a fault.
    runner.set("ref_type", "tag");
    let error = runner.job(&pages, "site").unwrap_err();
    assert!(error.contains("no release in octo/lamp"), "{error}");

    runner.tag("1.0.0", "First light");
    runner.job(&setup, "").unwrap();
    runner.job(&preview, "plan").unwrap();
    runner.set("matrix.target", "esp32c6");
    runner.set("inputs.prepare", "false || mkdir prepared");
    runner.job(&preview, "build").unwrap();
    assert!(runner.project.path("preview/esp32c6-app.bin").is_file());
    fs::remove_dir(runner.project.path("prepared")).unwrap();
    runner.set("inputs.prepare", "");

    runner.build(&release);
    assert_eq!(runner.matrix(), ["esp32c6", "esp32c3", "esp32s3"]);
    assert_eq!(runner.value("needs.plan.outputs.version"), "1.0.0");
    assert!(runner.value("summary").is_empty() && !runner.project.path("store").exists());
    runner.job(&release, "publish").unwrap();
    runner.deploy(&pages);
    assert_eq!(runner.value("steps.site.outputs.rendered"), "true");

    runner.tag("1.1.0", "feat: a second lamp");
    runner.set("inputs.options", "--min-from 1.0.0");
    runner.build(&release);
    // Each job has a machine of its own.
    fs::remove_dir_all(runner.project.path("store")).unwrap();
    fs::remove_dir_all(runner.project.path("dist")).unwrap();
    runner.job(&release, "publish").unwrap();
    runner.deploy(&pages);
    let index: Value = serde_json::from_str(&runner.project.read("host/releases.json")).unwrap();
    assert_eq!(index["releases"].as_array().unwrap().len(), 2);
    let descriptor = runner.project.read("host/ota/stable/esp32c3.json");
    assert!(descriptor.contains("\"signatures\""), "{descriptor}");
    let record: Value =
        serde_json::from_str(&runner.project.read("store/releases/1.1.0.json")).unwrap();
    assert_eq!(record["notes"], "New\n- a second lamp");
    assert_eq!((&record["min_from"], &record["dirty"]), (&"1.0.0".into(), &false.into()));
    let targets: Vec<_> = record["targets"].as_object().unwrap().keys().collect();
    assert_eq!(targets.len(), 3);

    let ran = runner.ran.into_inner().unwrap();
    let ran: BTreeSet<_> = ran.iter().map(String::as_str).chain(ELSEWHERE).collect();
    let files = all();
    let lines: BTreeSet<_> = files.iter().flat_map(File::runs).collect();
    assert_eq!(lines.difference(&ran).collect::<Vec<_>>(), Vec::<&&str>::new());
}

#[test]
fn a_target_that_failed_publishes_nothing() {
    let runner = Runner::new();
    let release = File::workflow("release");
    runner.tag("1.0.0", "First light").build(&release);
    fs::remove_dir_all(runner.project.path("parts/part-esp32c3")).unwrap();
    let error = runner.job(&release, "publish").unwrap_err();
    assert!(error.contains("no part has esp32c3: a release is of all targets"), "{error}");
    assert!(!runner.project.path("store").exists() && runner.github.releases().is_empty());
}

#[test]
fn a_tag_that_the_firmware_has_not_stops_the_release_at_once() {
    let runner = Runner::new();
    runner.tag("1.0.0", "First light");
    for tag in ["v1.0.1", "nightly", "v1.0.0\nmatrix={}"] {
        runner.set("github.ref_name", tag);
        let error = runner.job(&File::workflow("release"), "plan").unwrap_err();
        assert!(
            error.contains(&format!("the tag is {tag}")) && error.contains("v1.0.0"),
            "{error}"
        );
        assert_eq!(runner.value("steps.plan.outputs.matrix"), "");
    }
}

#[test]
fn the_summary_shows_targets_channels_and_notes() {
    let runner = Runner::new();
    runner.project.write("CHANGELOG.md", "# Changelog\n\n## [1.0.0]\n\n- Light.\n");
    runner.tag("1.0.0", "First light");
    let plan = File::workflow("preview");
    let steps: Vec<_> = plan.steps().filter(|step| step.step["id"] == "plan").collect();
    assert!(runner.step(steps[0].step).status.success());
    let summary = runner.value("summary");
    for shown in ["## `lamp` `1.0.0`", "| `esp32s3` |", "| `stable` |", "**`1.0.0`**", "- Light."] {
        assert!(summary.contains(shown), "{summary}");
    }
}

/// The time of these projects is that of their commits.
#[test]
fn releases_built_by_the_workflow_and_at_a_desk_are_the_same() {
    let runner = Runner::new();
    let release = File::workflow("release");
    runner.tag("1.0.0", "First light").build(&release);
    runner.job(&release, "publish").unwrap();
    let at_a_desk = ["release", "--no-site", "--store", "desk"];
    let date =
        serde_json::from_str::<Value>(&runner.project.read("store/releases/1.0.0.json")).unwrap();
    let date = date["source_date"].to_string();
    assert_ne!(date, NOW);
    let output = runner.project.xtask_with(&at_a_desk, &[("SOURCE_DATE_EPOCH", &date)]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for folder in ["artifacts", "releases"] {
        let files = |store: &str| tree(&runner.project.path(store).join(folder));
        assert_eq!(files("store"), files("desk"), "{folder}");
    }
}
