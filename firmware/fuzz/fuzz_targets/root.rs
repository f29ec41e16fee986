//! Roots, against the reader that everybody else has.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use towline::descriptor::{Role, Root, root::MAX_ROOT};

fuzz_target!(|data: &[u8]| {
    let mut payload = data.to_vec();
    let Ok(root) = Root::parse(&mut payload, "stable") else { return };
    assert!(data.len() <= MAX_ROOT);
    let theirs: Value = serde_json::from_slice(data).expect("what a device accepts is JSON");
    assert_eq!(theirs["fmt"], 1);
    assert_eq!(theirs["project"], root.project);
    assert_eq!(theirs["version"], root.version);
    assert!(root.version > 0);
    same(&theirs["roles"]["root"], &root.root);
    let channel = theirs["roles"].get("stable").or_else(|| theirs["roles"].get("*"));
    assert_eq!(channel.is_some(), root.channel.is_some());
    if let (Some(theirs), Some(ours)) = (channel, &root.channel) {
        same(theirs, ours);
    }
});

fn same(theirs: &Value, ours: &Role) {
    assert_eq!(theirs["threshold"], ours.threshold);
    assert!(ours.is_sound());
    assert!((1..=ours.keys.len()).contains(&ours.threshold.into()));
    let keys = theirs["keys"].as_array().expect("a list");
    assert_eq!(keys.len(), ours.keys.len());
    for (theirs, ours) in keys.iter().zip(&ours.keys) {
        assert!(theirs.as_str().expect("a text").eq_ignore_ascii_case(&ours.to_string()));
    }
}
