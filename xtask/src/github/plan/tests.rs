use super::*;
use crate::github::model::State;
use towline_descriptor::Sha256;

fn goal() -> Goal {
    let file = |name: &str, seed: u8, stage| File {
        name: name.into(),
        artifact: Artifact { size: u32::from(seed), sha256: Sha256([seed; 32]) },
        stage,
    };
    Goal {
        tag: "v1.0.0".into(),
        version: "1.0.0".parse().unwrap(),
        name: "lamp 1.0.0".into(),
        body: String::new(),
        commit: None,
        prerelease: false,
        files: vec![
            file("a.bin", 1, Stage::Artifacts),
            file("SHA256SUMS", 2, Stage::Sums),
            file("release.json", 3, Stage::Record),
        ],
    }
}

fn asset(id: u64, name: &str, seed: u8) -> Asset {
    let digest = Some(format!("sha256:{}", Sha256([seed; 32])));
    Asset { id, name: name.into(), state: State::Uploaded, size: seed.into(), digest }
}

fn release(id: u64, draft: bool, assets: &[Asset]) -> Release {
    Release {
        id,
        tag_name: "v1.0.0".into(),
        draft,
        prerelease: false,
        body: None,
        html_url: String::new(),
        upload_url: String::new(),
        assets: assets.to_vec(),
    }
}

fn all() -> [Asset; 3] {
    [asset(11, "a.bin", 1), asset(12, "SHA256SUMS", 2), asset(13, "release.json", 3)]
}

fn planned(releases: &[Release]) -> Vec<String> {
    let found = Found { releases: releases.to_vec(), ..Found::default() };
    plan(&goal(), &found).unwrap().calls.iter().map(ToString::to_string).collect()
}

const UPLOADS: [&str; 3] = [
    "POST assets: a.bin, 1 bytes",
    "POST assets: SHA256SUMS, 2 bytes",
    "POST assets: release.json, 3 bytes",
];
const PUBLISH: &str = "PATCH releases: publish, the latest";

#[test]
fn artifacts_come_before_sums_and_these_before_the_record() {
    let created = [&["POST releases: a draft of v1.0.0"], &UPLOADS[..], &[PUBLISH]].concat();
    assert_eq!(planned(&[]), created);
    assert_eq!(planned(&[release(1, true, &[])]), created[1..]);
}

#[test]
fn what_is_there_is_not_uploaded_again() {
    assert_eq!(planned(&[release(1, true, &all())]), [PUBLISH]);
    assert!(planned(&[release(1, false, &all())]).is_empty());
    assert_eq!(planned(&[release(1, false, &all()[..2])]), UPLOADS[2..]);
}

#[test]
fn an_upload_that_broke_off_is_made_anew() {
    let mut assets = all();
    assets[1].state = State::Starter;
    assets[1].size = 0;
    let deleted = "DELETE releases/assets/12: the upload of SHA256SUMS broke off";
    assert_eq!(planned(&[release(1, true, &assets)]), [deleted, UPLOADS[1], PUBLISH]);
}

#[test]
fn other_bytes_are_an_error_before_anything_is_done() {
    let refused = |assets: &[Asset]| {
        let releases = vec![release(1, true, assets)];
        plan(&goal(), &Found { releases, ..Found::default() }).unwrap_err().to_string()
    };
    let error = refused(&[asset(11, "a.bin", 9)]);
    let hash = |seed: u8| Sha256([seed; 32]).to_string();
    assert!(error.contains(&hash(9)) && error.contains(&hash(1)), "{error}");
    let mut longer = asset(11, "a.bin", 1);
    (longer.size, longer.digest) = (7, None);
    assert!(refused(&[longer]).contains("7 bytes"));
}

#[test]
fn without_hashes_assets_are_compared_once() {
    let mut assets = all();
    assets.iter_mut().for_each(|asset| asset.digest = None);
    let releases = vec![release(1, false, &assets)];
    assert_eq!(planned(&releases).len(), 3);
    let found = Found { releases, compared: [11, 12, 13].into(), ..Found::default() };
    assert!(plan(&goal(), &found).unwrap().calls.is_empty());
}

#[test]
fn drafts_of_one_tag_come_together_in_the_oldest_or_the_published_one() {
    let (first, second) = (release(1, true, &all()[..1]), release(2, true, &all()[..2]));
    let expected = ["DELETE releases/2: a draft too many", UPLOADS[1], UPLOADS[2], PUBLISH];
    assert_eq!(planned(&[second.clone(), first]), expected);
    assert_eq!(
        planned(&[release(1, true, &[]), release(2, false, &all())]),
        ["DELETE releases/1: a draft too many"]
    );
}

#[test]
fn what_a_person_put_into_a_draft_is_not_lost() {
    let foreign = asset(21, "manual.pdf", 5);
    let releases = [release(1, true, &all()), release(2, true, std::slice::from_ref(&foreign))];
    let carried = "GET releases/assets/21, POST assets: carry manual.pdf over, 5 bytes";
    let discarded = "DELETE releases/2: a draft too many";
    assert_eq!(planned(&releases), [carried, discarded, PUBLISH]);

    let mut has_it = releases.clone();
    has_it[0].assets.push(Asset { id: 14, ..foreign });
    assert_eq!(planned(&has_it), [discarded, PUBLISH]);
    has_it[0].assets[3].digest = Some(format!("sha256:{}", Sha256([6; 32])));
    let found = Found { releases: has_it.into(), ..Found::default() };
    assert!(matches!(plan(&goal(), &found), Err(PlanError::Doubled { .. })));
}

#[test]
fn the_latest_is_the_highest_that_is_no_prerelease() {
    let publish = |version: &str, highest: &str| {
        let version: Version = version.parse().unwrap();
        let goal = Goal { prerelease: version.is_prerelease(), version, ..goal() };
        let highest = Some(highest.parse().unwrap());
        let releases = vec![release(1, true, &all())];
        let plan = plan(&goal, &Found { releases, highest, ..Found::default() }).unwrap();
        plan.calls[0].clone()
    };
    let is = |prerelease, latest| Call::Publish { prerelease, latest };
    assert_eq!(publish("1.10.0", "1.9.0"), is(false, true));
    assert_eq!(publish("1.8.1", "1.9.0"), is(false, false));
    assert_eq!(publish("2.0.0-rc.1", "1.9.0"), is(true, false));
}
