//! `publish` is killed at every request that it makes, and run again.

use super::{
    done,
    double::{GitHub, Moment},
    facts, on, recorded,
};
use std::{process::Stdio, thread, time::Duration};
use towline_descriptor::Chip;

/// Kills a run at a request. Returns whether it came that far.
fn killed(
    github: &GitHub,
    project: &crate::support::Project,
    request: usize,
    moment: Moment,
) -> bool {
    github.cut_at(request, moment);
    let mut run = on(github, project, &["publish", "--quiet"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let was_killed = loop {
        if github.is_cut() {
            run.kill().unwrap();
            run.wait().unwrap();
            break true;
        }
        if let Some(status) = run.try_wait().unwrap() {
            assert!(status.success());
            break false;
        }
        thread::sleep(Duration::from_millis(1));
    };
    github.uncut();
    was_killed
}

/// Whatever request a run is killed at, and whether that was carried out or not:
/// the next run ends as if nothing had happened.
fn at_every_request(moment: Moment) {
    let (github, project) = (GitHub::start(), recorded(&[Chip::Esp32c3], &["1.0.0"]));
    done(&github, &project, &["publish"]);
    let (undisturbed, requests) = (facts(&github), github.log().len());
    assert!(requests > 14, "{requests}");
    for request in 0.. {
        github.clear();
        if !killed(&github, &project, request, moment) {
            // Uploads at once may take another order, and never more requests.
            assert_eq!(request, requests, "{moment:?}");
            break;
        }
        let public = github.releases().iter().any(|release| !release.draft);
        assert!(!public || facts(&github) == undisturbed, "{moment:?} {request}");
        done(&github, &project, &["publish"]);
        assert_eq!(facts(&github), undisturbed, "{moment:?} {request}");
    }
}

#[test]
fn a_run_that_is_killed_before_any_request_is_completed_by_the_next() {
    at_every_request(Moment::Before);
}

#[test]
fn a_run_that_is_killed_in_the_middle_of_any_upload_is_completed_by_the_next() {
    at_every_request(Moment::Midway);
}

#[test]
fn a_run_that_is_killed_before_any_answer_is_completed_by_the_next() {
    at_every_request(Moment::After);
}
