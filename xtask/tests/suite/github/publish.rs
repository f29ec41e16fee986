//! What `publish` leaves on GitHub, what it refuses, and what it waits for.

use super::{
    CHIPS, done,
    double::{Entry, GitHub, Host, READER, Refusal, Rules},
    facts, fails, on, recorded, run,
};
use crate::support::{Project, command, text};
use std::process::{Command, Stdio};
use towline_descriptor::Chip;

fn changes(log: &[Entry]) -> Vec<String> {
    let changes = log.iter().filter(|entry| entry.method != "GET");
    changes.map(|entry| format!("{} {}", entry.method, entry.path)).collect()
}

#[test]
fn artifacts_come_first_then_sums_then_the_record_then_all_is_public() {
    let (github, project) = (GitHub::start(), recorded(&CHIPS, &["1.0.0"]));
    let shown = done(&github, &project, &["publish"]);
    assert!(shown.ends_with("/octo/lamp/releases/tag/v1.0.0\n"), "{shown}");

    let [release] = &github.releases()[..] else { panic!("one release") };
    assert!(!release.draft && !release.prerelease && release.tag == "v1.0.0");
    assert!(release.body.starts_with("Brighter.\n\n| Target |"), "{}", release.body);
    assert_eq!((release.name.as_str(), github.latest().as_deref()), ("lamp 1.0.0", Some("v1.0.0")));
    let record = project.read("dist/store/releases/1.0.0.json");
    assert_eq!(release.asset("release.json").bytes, record);
    // Two targets with five artifacts each, sums and record.
    assert_eq!(release.assets.len(), 12);
    let names: Vec<_> = release.assets.iter().map(|asset| asset.name.as_str()).collect();
    assert_eq!(names[10..], ["SHA256SUMS", "release.json"]);
    let sums = String::from_utf8(release.asset("SHA256SUMS").bytes.to_vec()).unwrap();
    for asset in &release.assets[..10] {
        assert!(sums.contains(&format!("{}  {}\n", &asset.digest[7..], asset.name)), "{sums}");
    }

    let log = github.log();
    let made = changes(&log);
    assert_eq!(made.len(), 14, "{made:?}");
    assert!(made[0] == "POST /repos/octo/lamp/releases" && made[13].starts_with("PATCH "));
    let token = |entry: &Entry| entry.had_token == (entry.host != Host::Storage);
    assert!(log.iter().all(token), "{log:?}");
}

#[test]
fn a_second_run_changes_nothing() {
    let (github, project) = (GitHub::start(), recorded(&CHIPS[..1], &["1.0.0"]));
    done(&github, &project, &["publish"]);
    let before = github.releases();
    github.take_log();
    let output = run(&mut on(&github, &project, &["publish"]));
    assert!(text(&output.stderr).contains("v1.0.0 was complete: nothing to do"));
    assert_eq!((github.releases(), changes(&github.take_log())), (before, vec![]));
    let json = done(&github, &project, &["publish", "1.0.0", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["calls"], &json["draft"]), (&serde_json::json!([]), &false.into()));
}

#[test]
fn a_published_release_that_lacks_something_is_completed() {
    let (github, project) = (GitHub::start(), recorded(&CHIPS[..1], &["1.0.0"]));
    done(&github, &project, &["publish"]);
    let whole = facts(&github);
    github.change("v1.0.0", |release| release.assets.retain(|asset| asset.name != "SHA256SUMS"));
    github.take_log();
    let shown = done(&github, &project, &["publish", "--dry-run"]);
    assert!(shown.starts_with("POST assets: SHA256SUMS, "), "{shown}");
    assert_eq!(changes(&github.take_log()), Vec::<String>::new());
    done(&github, &project, &["publish"]);
    assert_eq!((facts(&github), changes(&github.take_log()).len()), (whole, 1));
}

#[test]
fn other_bytes_of_the_same_name_are_refused_before_anything_changes() {
    for has_digests in [true, false] {
        let (github, project) = (GitHub::start(), recorded(&CHIPS[..1], &["1.0.0"]));
        github.rule(|rules| rules.has_digests = has_digests);
        done(&github, &project, &["publish"]);
        github.take_log();
        for same_size in [true, false] {
            github.change("v1.0.0", |release| {
                let size = release.assets[0].bytes.len() - usize::from(!same_size);
                release.assets[0].bytes = vec![7; size].into();
                release.assets[0].digest = format!("sha256:{}", "7".repeat(64));
                release.assets.truncate(3);
            });
            let error = fails(&github, &project, &["publish"]);
            assert!(error.contains("with other bytes:\n  there "), "{error}");
            assert!(error.contains("hint: a release is immutable: raise the version"), "{error}");
            assert_eq!(changes(&github.take_log()), Vec::<String>::new());
        }
    }
}

#[test]
fn two_drafts_of_a_tag_come_together_and_lose_nothing() {
    let (github, project) = (GitHub::start(), recorded(&CHIPS[..1], &["1.0.0"]));
    done(&github, &project, &["publish"]);
    let whole = github.releases().remove(0);
    github.clear();
    let oldest = github.add("v1.0.0", true, &[]);
    github.add("v1.0.0", true, &[("manual.pdf", b"by hand")]);
    github.add("v1.0.0", true, &[("release.json", &whole.asset("release.json").bytes)]);
    github.add("v0.9.0", true, &[("other.bin", b"another release's")]);
    github.change("v1.0.0", |release| release.body = "Written by hand.".into());
    done(&github, &project, &["publish"]);
    let [release, other] = &github.releases()[..] else { panic!("{:?}", github.releases()) };
    assert_eq!((release.id, release.draft, other.draft), (oldest, false, true));
    assert_eq!(release.asset("manual.pdf").bytes, "by hand");
    assert_eq!(release.assets.len(), whole.assets.len() + 1);
    assert_eq!(release.body, "Written by hand.");
}

#[test]
fn the_latest_release_is_the_highest_that_is_no_prerelease() {
    let github = GitHub::start();
    let project = recorded(&CHIPS[..1], &["1.0.0", "1.1.0-rc.1", "1.10.0", "1.9.0"]);
    for (version, latest) in
        [("1.0.0", "v1.0.0"), ("1.1.0-rc.1", "v1.0.0"), ("1.10.0", "v1.10.0"), ("1.9.0", "v1.10.0")]
    {
        done(&github, &project, &["publish", version]);
        assert_eq!(github.latest().as_deref(), Some(latest));
    }
    let prerelease = |release: &super::double::Release| release.prerelease;
    assert_eq!(
        github.releases().iter().map(prerelease).collect::<Vec<_>>(),
        [false, true, false, false]
    );
}

#[test]
fn the_tag_of_the_workflow_names_the_version() {
    let (github, project) = (GitHub::start(), recorded(&CHIPS[..1], &["1.0.0", "1.1.0"]));
    let mut publish = on(&github, &project, &["publish"]);
    publish.env("GITHUB_REF_TYPE", "tag").env("GITHUB_REF_NAME", "v1.0.0");
    assert!(run(&mut publish).status.success());
    assert_eq!(github.releases()[0].tag, "v1.0.0");
    publish.env("GITHUB_REF_NAME", "v1.2.0");
    let output = run(&mut publish);
    assert!(text(&output.stderr).contains("error: no release 1.2.0 in "));
}

#[test]
fn drafts_are_found_on_any_page() {
    let (github, project) = (GitHub::start(), recorded(&CHIPS[..1], &["1.0.0"]));
    github.rule(|rules| *rules = Rules { page: 2, ..rules.clone() });
    let draft = github.add("v1.0.0", true, &[]);
    for version in 0..5 {
        github.add(&format!("v0.{version}.0"), false, &[]);
    }
    done(&github, &project, &["publish"]);
    assert_eq!(github.releases().len(), 6);
    assert_eq!(github.releases()[0].id, draft);
    assert!(!github.releases()[0].draft && github.releases()[0].assets.len() == 7);
}

/// Runs Git in the project's folder.
fn git(project: &Project, arguments: &[&str]) -> String {
    let who = ["-c", "user.name=Test", "-c", "user.email=test@example.org"];
    let output = Command::new("git")
        .current_dir(project.path("."))
        .args(who)
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout).trim().to_owned()
}

#[test]
fn a_release_is_published_from_the_commit_that_was_built() {
    let (github, project) = (GitHub::start(), Project::new(&CHIPS[..1]));
    project.write(".gitignore", "dist/\nimages/\n");
    git(&project, &["init", "--quiet"]);
    git(&project, &["add", "--all"]);
    git(&project, &["commit", "--quiet", "--message", "First light"]);
    let commit = git(&project, &["rev-parse", "HEAD"]);
    project.build(&CHIPS[..1], "1.0.0").done(&["release", "--no-site"]);

    github.push_tag("v1.0.0", "1111111111111111111111111111111111111111");
    let error = fails(&github, &project, &["publish"]);
    assert!(error.contains("tag v1.0.0 on GitHub is commit 1111"), "{error}");
    assert!(github.releases().is_empty());
    github.clear();
    done(&github, &project, &["publish"]);
    assert_eq!(github.tag("v1.0.0"), Some(commit));

    project.write("partitions.csv", project.read("partitions.csv") + "# changed\n");
    project.build(&CHIPS[..1], "1.1.0").done(&["release", "--no-site"]);
    let error = fails(&github, &project, &["publish"]);
    assert!(error.contains("built from changes that are not committed"), "{error}");
    assert!(error.contains("--allow-dirty"), "{error}");
    done(&github, &project, &["publish", "--allow-dirty"]);
    assert_eq!(github.latest().as_deref(), Some("v1.1.0"));
}

#[test]
fn who_may_not_write_is_told_what_is_needed() {
    let (github, project) = (GitHub::start(), recorded(&CHIPS[..1], &["1.0.0"]));
    let with = |token: &str| {
        let mut publish = on(&github, &project, &["publish"]);
        publish.env_remove("GITHUB_TOKEN").env("GH_TOKEN", token);
        let output = run(&mut publish);
        assert_eq!(output.status.code(), Some(1));
        text(&output.stderr)
    };
    for (token, expected) in [
        ("", "error: no token: neither GH_TOKEN nor GITHUB_TOKEN is set"),
        ("two words", "error: GH_TOKEN is no token"),
        ("ghs_ofAnotherTime", "401 Unauthorized: Bad credentials"),
        (READER, "403 Forbidden: Resource not accessible by integration"),
    ] {
        let error = with(token);
        assert!(error.contains(expected), "{error}");
        assert!(token.is_empty() || !error.contains(token), "{error}");
        assert!(error.contains("hint: "), "{error}");
    }
    assert!(with("").contains("`contents: write`") && with(READER).contains("`contents: write`"));
    assert!(github.releases().is_empty());
}

#[test]
fn a_token_is_not_sent_where_others_can_read_it() {
    let project = recorded(&CHIPS[..1], &["1.0.0"]);
    let mut publish = command(&project.path("."), &["publish"]);
    publish.env("GITHUB_REPOSITORY", "octo/lamp").env("GITHUB_TOKEN", "secret");
    let output = publish.env("GITHUB_API_URL", "http://192.0.2.1/api/v3").output().unwrap();
    let error = text(&output.stderr);
    assert!(error.contains("expected an https URL"), "{error}");
}

fn refusal(status: u16, headers: &[(&'static str, String)], message: &'static str) -> Refusal {
    Refusal { status, headers: headers.to_vec(), message }
}

#[test]
fn rate_limits_and_failures_are_waited_for() {
    let (github, project) = (GitHub::start(), recorded(&CHIPS[..1], &["1.0.0"]));
    let at_once = [("retry-after", "0".to_owned())];
    let primary =
        [("x-ratelimit-remaining", "0".to_owned()), ("x-ratelimit-reset", "1".to_owned())];
    // The first requests are the tag, the list, and the draft that is made.
    github.refuse(refusal(503, &at_once, "Service unavailable"));
    github.refuse(refusal(403, &primary, "API rate limit exceeded"));
    github.refuse(refusal(429, &at_once, "Too many requests"));
    github.refuse(refusal(403, &at_once, "You have exceeded a secondary rate limit"));
    github.refuse(refusal(502, &at_once, "Bad gateway"));
    let start = std::time::Instant::now();
    let output = run(&mut on(&github, &project, &["publish"]));
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    for status in ["503", "403", "429", "502"] {
        assert!(said.contains(status), "{status}: {said}");
    }
    assert!(start.elapsed().as_secs_f64() >= 1.0, "the primary limit is waited for");
    assert_eq!(github.releases()[0].assets.len(), 7);
    assert_eq!(github.releases().len(), 1);
}

#[test]
fn retry_after_is_kept() {
    let (github, project) = (GitHub::start(), recorded(&CHIPS[..1], &["1.0.0"]));
    github.refuse(refusal(429, &[("retry-after", "1".to_owned())], "Too many requests"));
    let start = std::time::Instant::now();
    done(&github, &project, &["publish"]);
    assert!(start.elapsed().as_secs_f64() >= 1.0);
    // Nobody waits for an hour.
    github.refuse(refusal(403, &[("retry-after", "7200".to_owned())], "secondary rate limit"));
    let error = fails(&github, &project, &["publish"]);
    assert!(error.contains("hint: GitHub's rate limit is used up; run it again later"), "{error}");
}

#[test]
fn github_enterprise_without_digests_is_published_to_as_well() {
    let (github, project) = (GitHub::enterprise(), recorded(&CHIPS[..1], &["1.0.0"]));
    assert!(github.api_url().ends_with("/api/v3"));
    done(&github, &project, &["publish"]);
    assert!(github.log().iter().all(|entry| entry.host != Host::Storage), "nothing to compare");
    github.take_log();
    // Another run knows nothing of the uploads and compares them.
    done(&github, &project, &["publish"]);
    let log = github.take_log();
    assert_eq!(log.iter().filter(|entry| entry.host == Host::Storage).count(), 7);
    assert!(changes(&log).is_empty());
}

#[test]
fn two_runs_at_once_make_one_release() {
    let (github, project) = (GitHub::start(), recorded(&[Chip::Esp32c3], &["1.0.0"]));
    done(&github, &project, &["publish"]);
    let alone = facts(&github);
    for _ in 0..4 {
        github.clear();
        let publish = || {
            let mut publish = on(&github, &project, &["publish", "--quiet"]);
            publish.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let runs = [publish(), publish(), publish()];
        for run in runs {
            let output = run.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", text(&output.stderr));
        }
        // One that lost the race to make a draft may have made one too many, and
        // discards it; nothing is there twice.
        assert_eq!(facts(&github), alone);
    }
}
