//! The workflows and actions of this repository: what they may do, that they
//! are pinned, and that all they run are commands that work.

mod chain;

use crate::support::repository;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// A workflow, or an action.
pub(crate) struct File {
    /// Its path in the repository.
    path: String,
    text: String,
    yaml: Value,
}

/// A step with the name of its job.
struct Step<'f> {
    job: &'f str,
    step: &'f Value,
}

impl File {
    fn read(path: &str) -> Self {
        let text = fs::read_to_string(repository().join(path)).unwrap();
        let yaml = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
        Self { path: path.to_owned(), text, yaml }
    }

    fn workflow(name: &str) -> Self {
        Self::read(&format!(".github/workflows/{name}.yml"))
    }

    fn jobs(&self) -> impl Iterator<Item = (&str, &Value)> {
        let jobs = self.yaml["jobs"].as_object().into_iter().flatten();
        jobs.map(|(name, job)| (name.as_str(), job))
    }

    fn steps(&self) -> impl Iterator<Item = Step<'_>> {
        let jobs = self.jobs().chain([("", &self.yaml["runs"])]);
        jobs.flat_map(|(job, yaml)| {
            yaml["steps"].as_array().into_iter().flatten().map(move |step| Step { job, step })
        })
    }

    /// Returns what it runs: a line of the shell each.
    fn runs(&self) -> impl Iterator<Item = &str> {
        self.steps().filter_map(|step| step.step["run"].as_str())
    }
}

/// Returns the names of what is in a folder of the repository, in order.
fn names(folder: &str) -> Vec<String> {
    let entries = repository().join(folder).read_dir().unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn workflows() -> Vec<File> {
    let names = names(".github/workflows");
    names.iter().map(|name| File::read(&format!(".github/workflows/{name}"))).collect()
}

fn all() -> Vec<File> {
    let actions = names(".github/actions");
    let actions =
        actions.iter().map(|name| File::read(&format!(".github/actions/{name}/action.yml")));
    workflows().into_iter().chain(actions).collect()
}

#[test]
fn workflows_have_no_permissions_but_those_of_a_job() {
    let writing = BTreeMap::from([
        (("release", "publish"), vec!["attestations", "contents", "id-token"]),
        (("release", "pages"), vec!["id-token", "pages"]),
        (("pages", "deploy"), vec!["id-token", "pages"]),
        (("refresh", "pages"), vec!["id-token", "pages"]),
        (("device-release", "release"), vec!["attestations", "contents", "id-token", "pages"]),
        (("device-pages", "pages"), vec!["id-token", "pages"]),
        (("device-refresh", "refresh"), vec!["id-token", "pages"]),
    ]);
    for file in workflows() {
        let name = Path::new(&file.path).file_stem().unwrap().to_str().unwrap();
        assert_eq!(file.yaml["permissions"], serde_json::json!({}), "{name}");
        for (job, yaml) in file.jobs() {
            let granted = yaml["permissions"].as_object().unwrap();
            let mut written: Vec<_> = granted
                .iter()
                .filter(|(_, level)| *level == "write")
                .map(|(p, _)| p.as_str())
                .collect();
            written.sort_unstable();
            let expected = writing.get(&(name, job)).cloned().unwrap_or_default();
            assert_eq!(written, expected, "{name}: {job}");
            let others = granted.iter().filter(|(_, level)| *level != "write");
            for (permission, level) in others {
                assert_eq!(
                    (permission.as_str(), level),
                    ("contents", &"read".into()),
                    "{name}: {job}"
                );
            }
            if yaml["steps"].is_array() {
                assert!(yaml["timeout-minutes"].is_u64(), "{name}: {job} may run for ever");
            }
        }
    }
}

/// Actions of others are pinned by commit, with their version beside; our own are
/// those of the very commit that runs, which `$/` stands for.
#[test]
fn every_action_is_pinned() {
    let mut known = BTreeMap::new();
    for file in all() {
        for line in file.text.lines().filter(|line| !line.trim_start().starts_with('#')) {
            let Some((_, uses)) = line.split_once("uses: ") else { continue };
            if let Some(path) = uses.strip_prefix("$/") {
                let path = repository().join(path);
                assert!(
                    path.is_file() || path.join("action.yml").is_file(),
                    "{}: {uses}",
                    file.path
                );
                continue;
            }
            let (action, version) = uses.split_once(" # v").unwrap_or_else(|| panic!("{uses}"));
            let (name, commit) = action.split_once('@').unwrap();
            let is_commit = commit.len() == 40 && commit.bytes().all(|b| b.is_ascii_hexdigit());
            assert!(is_commit && version.split('.').count() == 3, "{}: {uses}", file.path);
            let first = known.entry(name.to_owned()).or_insert_with(|| action.to_owned());
            assert_eq!(first, action, "{}", file.path);
        }
        for step in file
            .steps()
            .filter(|s| s.step["uses"].as_str().is_some_and(|u| u.starts_with("actions/checkout")))
        {
            let keeps = &step.step["with"]["persist-credentials"];
            assert_eq!(keeps, &Value::Bool(false), "{}: {}", file.path, step.job);
        }
    }
    assert!(known.len() >= 8, "{known:?}");
}

#[test]
fn what_is_run_is_one_command_without_expressions() {
    for file in all() {
        for run in file.runs() {
            let is_plain =
                run.lines().count() == 1 && !run.contains(['|', '&', ';', '<', '>', '`', '{', '(']);
            assert!(is_plain, "{}: {run}", file.path);
            let is_ours = ["$TOWLINE ", "$PLAN ", "$MERGE ", "$SITE ", "$CHECK ", ".ci/run"];
            let sets_up = ["rustup toolchain install ", "cargo install "];
            let is_action = file.path.starts_with(".github/actions/");
            // What installs a framework is said by the project, to builds alone.
            let prepares = run == "bash -c \"$PREPARE\""
                && [".github/workflows/preview.yml", ".github/workflows/release.yml"]
                    .contains(&file.path.as_str());
            let is_known = prepares
                || is_ours.iter().any(|start| run.starts_with(start))
                || is_action && sets_up.iter().any(|start| run.starts_with(start));
            assert!(is_known, "{}: {run}", file.path);
        }
    }
}

#[test]
fn secrets_are_told_to_the_step_that_needs_them_alone() {
    let told = |secret: &str| {
        let mut told = BTreeSet::new();
        for file in all() {
            for Step { job, step } in file.steps().filter(|s| s.step.to_string().contains(secret)) {
                let run = step["run"].as_str().unwrap_or_default();
                told.insert(format!(
                    "{job}: {}",
                    run.split(' ').take(2).collect::<Vec<_>>().join(" ")
                ));
            }
            assert!(!file.yaml["env"].to_string().contains(secret), "{}", file.path);
            for (_, job) in file.jobs() {
                assert!(!job["env"].to_string().contains(secret), "{}", file.path);
            }
        }
        told.into_iter().collect::<Vec<_>>()
    };
    assert_eq!(told("secrets."), ["site: $SITE --from"]);
    let token = [
        "plan: $PLAN --from",
        "plan: $TOWLINE plan",
        "publish: $MERGE --from",
        "publish: $TOWLINE publish",
        "site: $SITE --from",
    ];
    assert_eq!(told("github.token"), token);
}

#[test]
fn a_release_is_published_once_all_of_it_is_built_and_one_after_the_other() {
    let release = File::workflow("release");
    let job = |name: &str| &release.yaml["jobs"][name];
    assert_eq!(job("build")["needs"], "plan");
    assert_eq!(job("publish")["needs"], serde_json::json!(["plan", "build"]));
    assert_eq!(job("pages")["needs"], "publish");
    for (name, yaml) in release.jobs() {
        // With a condition of its own, a job could run although another failed.
        assert!(yaml["if"].is_null() && yaml["continue-on-error"].is_null(), "{name}");
    }
    for waiting in [&job("publish")["concurrency"], &File::workflow("pages").yaml["concurrency"]] {
        assert_eq!(waiting["cancel-in-progress"], false);
        assert_eq!(waiting["queue"], "max");
        assert!(!waiting["group"].as_str().unwrap().contains("${{"), "{waiting}");
    }
}

#[test]
fn nothing_of_an_earlier_run_gets_into_what_is_published() {
    for name in ["release", "refresh"] {
        assert!(!File::workflow(name).text.contains("cache"), "{name}");
    }
    // But for files that are named by their hash, and hashed again.
    let pages = File::workflow("pages").text;
    assert_eq!(pages.matches("actions/cache").count(), 1);
    assert!(pages.contains("            dist/store/artifacts\n            dist/store/patches\n"));
}

#[test]
fn each_reusable_workflow_shows_a_call_that_grants_what_it_needs() {
    for name in ["release", "pages", "refresh", "preview"] {
        let file = File::workflow(name);
        let shown: Vec<_> = file.text.lines().map_while(|line| line.strip_prefix('#')).collect();
        let start = shown.iter().position(|line| line.starts_with("   on:")).unwrap();
        let shown = shown[start..].iter().take_while(|line| line.starts_with("   "));
        let shown = shown.map(|line| format!("{}\n", &line[3..])).collect::<String>();
        let shown: Value = serde_saphyr::from_str(&shown).unwrap();
        let ours = File::workflow(&format!("device-{name}")).yaml;
        let uses = format!("towline-fw/towline/.github/workflows/{name}.yml@COMMIT");
        assert_eq!(shown["jobs"][name]["uses"], uses.as_str());
        for key in ["permissions", "secrets"] {
            assert_eq!(shown["jobs"][name][key], ours["jobs"][name][key], "{name}: {key}");
        }
    }
}
