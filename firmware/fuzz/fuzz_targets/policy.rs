//! Policies: what is installed is what the policy allows, read by the reader
//! that everybody else has.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use towline::{
    Decision, Running, decide,
    descriptor::{Chip, Descriptor},
    place::{device_hash, place},
};
use towline_fuzz::Input;

const NOON: u64 = 1_800_014_400;

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let flags = input.byte();
    let id = [input.byte()];
    let fields = String::from_utf8_lossy(input.rest()).into_owned();
    let document = format!(
        "{{\"version\":\"1.1.0\",\"path\":\"https://example.org/a.bin\",\"size\":1,\
         \"sha256\":\"{}\",{fields}}}",
        "0".repeat(64)
    );
    let mut bytes = document.clone().into_bytes();
    let Ok(descriptor) = Descriptor::parse(&mut bytes) else { return };
    let theirs: Value = serde_json::from_str(&document).expect("what a device accepts is JSON");
    let running = Running {
        project: "lamp",
        version: ["1.0.0", "1.0.9", "1.2.0", "dirty"][usize::from(flags >> 6)].parse().ok(),
        chip: Chip::Esp32c3,
        target: Some("desk"),
        channel: Some("stable"),
        id: if flags & 1 == 0 { &id } else { &[] },
        groups: if flags & 2 == 0 { &["beta"] } else { &[] },
        now: (flags & 4 == 0).then_some(NOON),
        utc_offset: 0,
        by_user: flags & 8 != 0,
        switched: flags & 16 != 0,
        secure_version: 0,
        slot_size: 1000,
    };
    let Decision::Install(offer) = decide(&running, &descriptor) else { return };
    let policy = &theirs["policy"];
    let is_true = |value: &Value| value == &Value::Bool(true);
    assert!(!is_true(&theirs["rollout"]["paused"]));
    if let Some(percent) = theirs["rollout"].get("percent").and_then(Value::as_f64) {
        let place = f64::from(place(running.id, "lamp", "1.1.0"));
        assert!(percent >= 100.0 || !running.id.is_empty() && place < percent * 100.0 + 0.5);
    }
    for (field, ok) in [
        ("not_before", running.now.zip(policy["not_before"].as_u64()).is_some_and(|(a, b)| a >= b)),
        ("not_after", running.now.zip(policy["not_after"].as_u64()).is_some_and(|(a, b)| a <= b)),
        ("approval", running.by_user || !is_true(&policy["approval"])),
        (
            "window",
            running.by_user
                || policy["priority"] == "urgent"
                || running.now.is_some() && inside(&policy["window"]),
        ),
    ] {
        assert!(policy.get(field).is_none() || ok, "{field}");
    }
    let list = |field: &str| policy[field].as_array().cloned().unwrap_or_default();
    let (groups, devices) = (list("groups"), list("devices"));
    let hash = Value::from(device_hash("lamp", running.id).to_string());
    assert!(
        groups.is_empty() && devices.is_empty()
            || groups.iter().any(|group| running.groups.iter().any(|own| group == own))
            || devices.iter().any(|device| {
                device.as_str().is_some_and(|text| hash == text.to_ascii_lowercase().as_str())
            })
    );
    if let Some(version) = &running.version
        && offer.version.precedence(version).is_le()
    {
        assert!(running.switched && is_true(&policy["downgrade"]));
    }
});

/// Returns whether the window includes noon.
fn inside(window: &Value) -> bool {
    let minute = |field: &str| window[field].as_u64();
    let (Some(start), Some(end)) = (minute("start"), minute("end")) else { return false };
    if start <= end { (start..=end).contains(&720) } else { start <= 720 || 720 <= end }
}
