use super::*;
use crate::{
    release::tests::record,
    store::{artifact_of, sha256},
};
use std::{collections::BTreeMap, fs};
use towline_sim::sample::app_image;

const NAMES: [&str; 3] = ["esp32c6", "esp32c3", "esp32s3"];

fn names() -> [TargetName; 3] {
    NAMES.map(|name| name.parse().unwrap())
}

fn part(path: &str, version: &str, targets: &[&str]) -> Part {
    Part { path: path.into(), record: record(version, targets) }
}

fn merged(parts: &[Part], dropped: &[&str]) -> Result<Record, MergeError> {
    let dropped: Vec<_> = dropped.iter().map(|name| name.parse().unwrap()).collect();
    merge(parts, &names(), &dropped)
}

#[test]
fn targets_come_in_the_order_of_the_configuration() {
    let parts = [part("b", "1.0.0", &["esp32s3", "esp32c3"]), part("a", "1.0.0", &["esp32c6"])];
    let record = merged(&parts, &[]).unwrap();
    assert_eq!(record.targets.keys().map(TargetName::as_str).collect::<Vec<_>>(), NAMES);
    assert_eq!(record, crate::release::tests::record("1.0.0", &NAMES));
}

#[test]
fn a_target_that_is_missing_stops_the_release_unless_it_is_dropped() {
    let parts = [part("a", "1.0.0", &["esp32c6"]), part("b", "1.0.0", &["esp32s3"])];
    let error = merged(&parts, &[]).unwrap_err();
    assert!(
        matches!(&error, MergeError::Missing { missing } if missing == &["esp32c3"]),
        "{error}"
    );
    assert_eq!(merged(&parts, &["esp32c3"]).unwrap().targets.len(), 2);
    assert!(matches!(merged(&[], &[]), Err(MergeError::Empty)));
}

#[test]
fn a_target_comes_from_one_part() {
    let parts = [part("a", "1.0.0", &["esp32c6", "esp32c3"]), part("b", "1.0.0", &["esp32c3"])];
    let error = merged(&parts, &[]).unwrap_err();
    assert_eq!(error.to_string(), "target esp32c3 is in both a and b");
    let error = merged(&[part("a", "1.0.0", &["esp32h2"])], &NAMES).unwrap_err();
    assert_eq!(error.to_string(), "a: target esp32h2 is not in towline.toml");
}

#[test]
fn parts_are_of_one_source() {
    let other = |change: &dyn Fn(&mut Record)| {
        let mut parts = [part("a", "1.0.0", &NAMES[..1]), part("b", "1.0.0", &NAMES[1..])];
        change(&mut parts[1].record);
        merged(&parts, &[]).unwrap_err().to_string()
    };
    type Change = dyn Fn(&mut Record);
    let cases: [(&str, &Change); 6] = [
        ("the project differs: a has lamp, b has fan", &|r| r.project = "fan".parse().unwrap()),
        ("the version differs: a has 1.0.0, b has 1.0.1", &|r| {
            r.version = "1.0.1".parse().unwrap();
        }),
        ("the commit differs: a has 0123456789abcdef0123456789abcdef01234567, b has none", &|r| {
            r.commit = None;
        }),
        ("the time of the source differs: a has 1790000000, b has 1", &|r| r.source_date = 1),
        (
            "the state of the work tree differs: a has none, b has changes that are not committed",
            &|r| r.dirty = true,
        ),
        ("--min-from differs: a has none, b has 0.9.0", &|r| {
            r.min_from = Some("0.9.0".parse().unwrap());
        }),
    ];
    for (expected, change) in cases {
        assert_eq!(other(change), expected);
    }
}

/// Two parts of real images, and a store.
struct Fleet {
    dir: tempfile::TempDir,
    parts: Vec<Part>,
}

impl Fleet {
    fn new(version: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let parts = NAMES[1..].iter().map(|name| {
            let path = dir.path().join(name);
            let store = DirectoryStore::new(&path, Disk::default());
            let _lock = store.lock(|| {}).unwrap();
            let mut record = record(version, &[name]);
            let image = app_image(name.parse().unwrap(), "lamp", version, 3000);
            let put = |bytes: &[u8]| {
                let artifact = artifact_of(bytes).unwrap();
                store.put_artifact(&artifact, bytes).unwrap();
                artifact
            };
            let target = &mut record.targets[0];
            target.app = put(&image);
            for part in &mut target.parts {
                part.artifact =
                    if part.role == Role::App { target.app.clone() } else { put(b"part") };
            }
            target.factory = Some(put(format!("factory of {name}").as_bytes()));
            store.put_record(&record).unwrap();
            Part::read(&path).unwrap()
        });
        let parts = parts.collect();
        Self { dir, parts }
    }

    fn merged(&self) -> Result<Merged, MergeError> {
        Merged::new(&self.parts, &names()[1..], &[], |_| Words::default())
    }

    fn keep(&self, disk: Disk) -> anyhow::Result<Admission> {
        let store = DirectoryStore::new(&self.dir.path().join("store"), disk);
        let _lock = store.lock(|| {})?;
        Ok(self.merged()?.keep(&store, &store.records()?, &[])?)
    }

    /// What is in the store under its final name.
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let folders =
            ["artifacts", "releases"].map(|name| self.dir.path().join("store").join(name));
        let entries = folders.iter().filter_map(|folder| folder.read_dir().ok()).flatten();
        let files = entries.map(|entry| entry.unwrap().path()).map(|path| {
            (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(path).unwrap())
        });
        files.filter(|(name, _)| !name.starts_with('.')).collect()
    }
}

#[test]
fn a_merge_that_is_killed_at_any_step_is_completed_by_the_next() {
    let whole = Fleet::new("1.0.0");
    assert_eq!(whole.keep(Disk::default()).unwrap(), Admission::New);
    let expected = whole.files();
    for steps in 0.. {
        let fleet = Fleet::new("1.0.0");
        let is_done = fleet.keep(Disk::killed_after(steps)).is_ok();
        let cut = fleet.files();
        for (name, bytes) in &cut {
            assert_eq!(expected.get(name), Some(bytes), "{name} after {steps} steps");
        }
        // The record is the last that is written.
        let has_record = cut.contains_key("1.0.0.json");
        assert_eq!(has_record, cut.len() == expected.len(), "after {steps} steps");
        let again = fleet.keep(Disk::default()).unwrap();
        assert_eq!(again == Admission::Known, has_record, "after {steps} steps");
        assert_eq!(fleet.files(), expected, "after {steps} steps");
        if is_done {
            assert!(steps > 15, "{steps}");
            break;
        }
    }
}

#[test]
fn an_artifact_that_is_not_what_the_record_says_is_refused() {
    let fleet = Fleet::new("1.0.0");
    let target = &fleet.parts[0].record.targets[0];
    let path = fleet.parts[0].path.join("artifacts").join(target.app.sha256.to_string());
    fs::write(&path, "other").unwrap();
    assert!(matches!(fleet.merged(), Err(MergeError::Store(StoreError::Damaged { .. }))));
    fs::remove_file(&path).unwrap();
    assert!(matches!(fleet.merged(), Err(MergeError::Store(StoreError::Io { .. }))));

    let refused = |change: &dyn Fn(&mut Record)| {
        let mut fleet = Fleet::new("1.0.0");
        change(&mut fleet.parts[0].record);
        fleet.merged().unwrap_err().to_string()
    };
    let error = refused(&|record| record.targets[0].app.size += 1);
    assert!(error.contains("the record says"), "{error}");
    let error = refused(&|record| record.targets[0].chip = towline_descriptor::Chip::Esp32c2);
    assert!(error.contains("is for chip id 5, the record says esp32c2"), "{error}");
    let error = refused(&|record| record.targets[0].app = artifact_of(b"part").unwrap());
    assert!(error.contains(&sha256(b"part").to_string()[..12]), "{error}");

    let mut fleet = Fleet::new("1.0.0");
    for part in &mut fleet.parts {
        part.record.version = "1.1.0".parse().unwrap();
    }
    let error = fleet.merged().unwrap_err().to_string();
    assert!(error.contains("is lamp 1.0.0, the record says lamp 1.1.0"), "{error}");
}

#[test]
fn a_folder_with_another_number_of_releases_is_no_part() {
    let dir = tempfile::tempdir().unwrap();
    let error = Part::read(&dir.path().join("none")).unwrap_err().to_string();
    assert!(error.ends_with("none: 0 releases, where a part has one"), "{error}");
    let store = DirectoryStore::new(dir.path(), Disk::default());
    let _lock = store.lock(|| {}).unwrap();
    for version in ["1.0.0", "1.1.0"] {
        store.put_record(&record(version, &NAMES)).unwrap();
    }
    assert!(matches!(Part::read(dir.path()), Err(MergeError::NotOne { found: 2, .. })));
}
