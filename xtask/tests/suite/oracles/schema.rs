//! `releases.json` against its schema.

use super::{Oracles, flashable_chips};
use crate::support::{Project, app_image, repository};
use serde_json::{Value, json};
use std::fs;
use towline_descriptor::Chip;
use xtask::tools;

fn schema() -> Value {
    let path = repository().join("site/schema/releases-1.json");
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Returns the faults of each document. A strict validation refuses fields
/// that the schema does not name.
fn validate(oracles: &Oracles, strict: bool, documents: &[Value]) -> Vec<Vec<String>> {
    validate_by(oracles, &schema(), strict, documents)
}

fn validate_by(
    oracles: &Oracles,
    schema: &Value,
    strict: bool,
    documents: &[Value],
) -> Vec<Vec<String>> {
    let question = json!({ "schema": schema, "strict": strict, "documents": documents });
    let faults: Vec<Vec<String>> = oracles.ask("schema.py", &question);
    assert_eq!(faults.len(), documents.len());
    faults
}

/// Proves that the schema allows these indexes, and that it names all their
/// fields.
pub(super) fn assert_valid(oracles: &Oracles, indexes: &[Value]) {
    for strict in [false, true] {
        for (index, faults) in indexes.iter().zip(validate(oracles, strict, indexes)) {
            assert!(faults.is_empty(), "{faults:#?}\n{index:#}");
        }
    }
}

fn index_of(project: &Project) -> Value {
    serde_json::from_str(&project.read("dist/site/releases.json")).unwrap()
}

/// Three channels, of which one has a description, in front of the defaults.
const CHANNELS: &str = "\
[channels.stable]
[channels.testing]
description = 'For \"testers\".'
[channels.lab]
[defaults]";

/// A project with a prerelease, which `stable` does not serve, a yanked
/// release, notes, a channel that serves nothing, and conditions for an install.
fn eventful() -> Project {
    let chips = [Chip::Esp32, Chip::Esp32c6];
    let project = Project::new(&chips);
    let config = project.read("towline.toml").replace("[defaults]", CHANNELS);
    let config = config.replace("[targets.esp32]", "[targets.esp32]\npsram = \"4MB\"");
    project.write("towline.toml", format!("{config}[installer]\nimprov = false\n"));
    project.write("channels.toml", "[channels.lab]\nfollow = \"^99\"\n");
    project.write("notes.txt", "Brighter.\n<b>Not bold.</b>\n");
    project.build(&chips, "v1.0.0").done(&["release"]);
    project.build(&chips, "1.1.0+build.7").done(&["release", "--notes", "notes.txt"]);
    project.build(&chips, "2.0.0-rc.1").done(&["release", "--min-from", "1.1.0"]);
    project.done(&["yank", "1.1.0", "--reason", "it hums"]);
    project.done(&["site"]);
    project
}

/// A project that publishes app images only, of every chip, and so far a
/// prerelease.
fn apps_only() -> Project {
    let project = Project::new(Chip::ALL);
    let config = project.read("towline.toml").replace("partition-table = \"partitions.csv\"\n", "");
    project.write("towline.toml", config);
    project.build(Chip::ALL, "0.1.0-alpha").done(&["release"]);
    project
}

#[test]
fn the_schema_names_every_field_of_every_index() {
    let Some(oracles) = Oracles::find() else { return };
    let chips = flashable_chips();
    let plain = Project::new(&chips);
    plain.build(&chips, "1.0.0").done(&["release"]);
    let (eventful, apps_only) = (eventful(), apps_only());
    let indexes = [&plain, &eventful, &apps_only].map(index_of);

    // They are as different as they are meant to be.
    let [plain, eventful, apps_only] = &indexes;
    assert_eq!(plain["releases"][0]["targets"].as_array().unwrap().len(), chips.len());
    assert_eq!(eventful["channels"][2]["targets"], json!([]));
    assert_eq!(eventful["releases"][0]["prerelease"], true);
    assert_eq!(eventful["improv"], false);
    assert_eq!(eventful["releases"][0]["min_from"], "1.1.0");
    assert_eq!(eventful["releases"][0]["targets"][0]["psram"], 4 << 20);
    assert_eq!(eventful["releases"][1]["yanked"], "it hums");
    assert_eq!(eventful["releases"][1]["notes"], "Brighter.\n<b>Not bold.</b>");
    assert_eq!(apps_only["channels"][0]["targets"], json!([]));
    assert_eq!(apps_only["releases"][0]["targets"][0]["factory"], Value::Null);
    assert_valid(&oracles, &indexes);
}

#[test]
fn the_frozen_index_is_valid() {
    let Some(oracles) = Oracles::find() else { return };
    assert_valid(&oracles, &[serde_json::from_str(FROZEN).unwrap()]);
}

/// An index as sites had it before there were conditions for an install.
const FROZEN: &str = include_str!("../../frozen/releases-1.json");

/// Fields that came after sites without them were published.
const LATER: [&str; 6] = ["improv", "min_from", "patches", "policy", "psram", "rollout"];

/// A small index that has every kind of object.
fn small() -> Value {
    let project = Project::new(&[Chip::Esp32c3]);
    project.write("images/esp32c3.bin", app_image(Chip::Esp32c3, "lamp", "1.0.0", 100));
    project.done(&["rollout", "stable", "--percent", "12.5"]);
    project.done(&["policy", "stable", "--window", "23:00-04:30", "--group", "beta"]);
    project.done(&["policy", "stable", "--from", "2026-12-01", "--until", "2026-12-31"]);
    project.done(&["release"]);
    index_of(&project)
}

/// Returns the JSON pointer of every value below `value`.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    let inner: Vec<(String, &Value)> = match value {
        Value::Object(map) => {
            let escape = |key: &str| key.replace('~', "~0").replace('/', "~1");
            map.iter().map(|(key, value)| (escape(key), value)).collect()
        }
        Value::Array(list) => {
            list.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect()
        }
        _ => Vec::new(),
    };
    for (key, value) in inner {
        let at = format!("{at}/{key}");
        pointers(value, &at, found);
        found.push(at);
    }
}

#[test]
fn an_index_that_lacks_a_field_or_has_another_type_in_it_is_refused() {
    let Some(oracles) = Oracles::find() else { return };
    let index = small();
    let mut all = Vec::new();
    pointers(&index, "", &mut all);
    let mut broken = Vec::new();
    for pointer in &all {
        let mut changed = index.clone();
        let place = changed.pointer_mut(pointer).unwrap();
        *place = if place.is_array() { json!({}) } else { json!([[]]) };
        broken.push((format!("{pointer} of another type"), changed));

        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let mut changed = index.clone();
        // Files come and go; fields of objects do not.
        if parent != "/files"
            && !LATER.contains(&key)
            && let Value::Object(fields) = changed.pointer_mut(parent).unwrap()
        {
            fields.remove(key).unwrap();
            broken.push((format!("{pointer} missing"), changed));
        }
    }
    assert!(broken.len() > 100, "{}", broken.len());
    let (what, broken): (Vec<_>, Vec<_>) = broken.into_iter().unzip();
    for (what, faults) in what.iter().zip(validate(&oracles, false, &broken)) {
        assert!(!faults.is_empty(), "{what}");
    }
}

#[test]
fn an_index_with_a_wrong_value_is_refused() {
    let Some(oracles) = Oracles::find() else { return };
    let index = small();
    let app = index["releases"][0]["targets"][0]["app"].clone();
    let sha256 = app["sha256"].as_str().unwrap();
    let wrong = [
        ("/fmt", json!(2)),
        ("/fmt", json!("1")),
        ("/project", json!("../lamp")),
        ("/project", json!("a..b")),
        ("/project", json!("-lamp")),
        ("/project", json!("a".repeat(32))),
        ("/base_url", json!("http://localhost/")),
        ("/base_url", json!("https://localhost/fw")),
        ("/channels/0/manifest", json!("/manifests/stable.json")),
        ("/channels/0/targets/0/descriptor", json!("ota/../../etc/passwd")),
        ("/channels/0/targets/0/version", json!("1.0")),
        ("/channels/0/rollout/percent", json!(100.5)),
        ("/channels/0/policy/window/end", json!(1440)),
        ("/channels/0/policy/not_after", json!(-1)),
        ("/releases/0/version", json!("1.0.0-")),
        ("/releases/0/version", json!("1.0.0-rc.01")),
        ("/releases/0/version", json!(format!("1.0.0-{}", "a".repeat(26)))),
        ("/releases/0/prerelease", json!("false")),
        ("/releases/0/yanked", json!(true)),
        ("/releases/0/released", json!("2026-13-01")),
        ("/releases/0/released", json!(1_790_000_000)),
        ("/releases/0/commit", json!("main")),
        ("/releases/0/targets", json!([])),
        ("/releases/0/targets/0/chip", json!("ESP32-C3")),
        ("/releases/0/targets/0/chip_family", json!("esp32c3")),
        ("/releases/0/targets/0/flash_size", json!("4MB")),
        ("/releases/0/targets/0/flash_size", json!(0)),
        ("/releases/0/targets/0/slot_size", json!(0x1D_0000_u64 << 16)),
        ("/releases/0/targets/0/secure_version", json!(-1)),
        ("/releases/0/targets/0/app/path", json!("")),
        ("/releases/0/targets/0/app/path", json!("firmware//app.bin")),
        ("/releases/0/targets/0/app/path", json!("https://localhost/app.bin")),
        ("/releases/0/targets/0/app/size", json!(1.5)),
        ("/releases/0/targets/0/app/sha256", json!(sha256.to_uppercase())),
        ("/releases/0/targets/0/app/sha256", json!(sha256[..63])),
        ("/improv", json!("yes")),
        ("/releases/0/min_from", json!("1.0")),
        ("/releases/0/targets/0/psram", json!("8MB")),
        ("/releases/0/targets/0/psram", json!(0)),
        ("/releases/0/targets/0/parts/0/role", json!("boot")),
        ("/releases/0/targets/0/parts/0/offset", json!("0x0")),
        ("/releases/0/targets/0/parts/0/offset", json!(0x100)),
        ("/releases/0/targets/0/parts/0/offset", json!(1_u64 << 32)),
        ("/files", json!({ "../index.html": { "size": 1, "sha256": sha256 } })),
        ("/files", json!({ "index.html": { "size": 1 } })),
    ];
    let documents: Vec<_> = wrong
        .iter()
        .map(|(pointer, value)| {
            let mut index = index.clone();
            *index.pointer_mut(pointer).unwrap() = value.clone();
            index
        })
        .collect();
    for ((pointer, value), faults) in wrong.iter().zip(validate(&oracles, false, &documents)) {
        assert!(!faults.is_empty(), "{pointer} = {value}");
    }
}

#[test]
fn an_index_with_fields_of_tomorrow_is_valid() {
    let Some(oracles) = Oracles::find() else { return };
    let index = small();
    let mut all = vec![String::new()];
    pointers(&index, "", &mut all);
    let mut extended = index.clone();
    for pointer in all {
        // What `files` has are files.
        if pointer != "/files"
            && let Some(Value::Object(fields)) = extended.pointer_mut(&pointer)
        {
            fields.insert("tomorrow".into(), json!({ "of": ["any", 1, null] }));
        }
    }
    assert_ne!(index, extended);
    let [lenient, strict] =
        [false, true].map(|strict| validate(&oracles, strict, std::slice::from_ref(&extended)));
    assert_eq!(lenient, [Vec::<String>::new()]);
    // The strict validation is one.
    assert!(!strict[0].is_empty());
}

/// Fails for a field that the schema does not describe in one sentence.
fn assert_described(schema: &Value, at: &str) {
    if let Some(properties) = schema["properties"].as_object() {
        for (name, field) in properties {
            let description = field["description"].as_str().unwrap_or_default();
            assert!(description.ends_with('.'), "{at}/{name}: `{description}`");
            assert_eq!(description.matches(". ").count(), 0, "{at}/{name}: one sentence");
        }
    }
    for (name, inner) in schema["$defs"].as_object().into_iter().flatten() {
        assert_described(inner, name);
    }
}

#[test]
fn the_schema_describes_every_field_in_one_sentence() {
    assert_described(&schema(), "");
}

/// Places in files, many kinds of findings, allowed ones, and none.
#[test]
fn what_check_writes_is_sarif_by_its_schema() {
    let Some(oracles) = Oracles::find() else { return };
    let schemas = tools::oracles_dir(repository()).join("node_modules/@microsoft/jest-sarif/lib");
    let schema = fs::read(schemas.join("schemas/sarif-2.1.0-rtm.5.json")).unwrap();
    let schema: Value = serde_json::from_slice(&schema).unwrap();
    let project = eventful();
    let sarif = |options: &[&str]| -> Value {
        let output = project.xtask(&[&["check", "--format", "sarif"], options].concat());
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let mut documents = vec![sarif(&[])];
    fs::remove_file(project.path("dist/site/404.html")).unwrap();
    let index = project.read("dist/site/releases.json");
    let moved = index.replace("\"offset\": 65536", "\"offset\": 36864");
    project.write("dist/site/releases.json", moved.replace("\"esp32c6\",", "\"esp32c3\","));
    documents.push(sarif(&[]));
    documents.push(sarif(&["--allow", "file-missing=the host has its own"]));
    let results = |document: &Value| document["runs"][0]["results"].as_array().unwrap().len();
    // Devices on the yanked release, and those that nothing leads on, are worth a word.
    let found = documents[0]["runs"][0]["results"].as_array().unwrap();
    assert!(found.iter().all(|result| result["level"] != "error"), "{found:?}");
    assert!(documents[1].to_string().contains("byteOffset") && results(&documents[1]) > 5);
    let faults = validate_by(&oracles, &schema, false, &documents);
    assert_eq!(faults, vec![Vec::<String>::new(); 3], "{:#}", documents[1]);
    let mut broken = documents.remove(1);
    broken["runs"][0]["results"][0]["level"] = "fatal".into();
    assert!(!validate_by(&oracles, &schema, false, &[broken])[0].is_empty());
}
