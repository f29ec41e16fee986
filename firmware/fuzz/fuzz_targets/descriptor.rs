//! Descriptors, URLs and versions from the network, against the readers that
//! everybody else has.
#![no_main]

use libfuzzer_sys::fuzz_target;
use towline::descriptor::{Descriptor, MAX_VERSION, Url, Version};

fuzz_target!(|data: &[u8]| {
    descriptor(data);
    if let Ok(text) = core::str::from_utf8(data) {
        url(text);
        version(text);
    }
});

fn descriptor(data: &[u8]) {
    let mut document = data.to_vec();
    let Ok(descriptor) = Descriptor::parse(&mut document) else { return };
    let theirs: serde_json::Value =
        serde_json::from_slice(data).expect("what a device accepts is JSON");
    assert_eq!(theirs["version"], descriptor.version.as_str());
    assert_eq!(theirs["path"], descriptor.path);
    for (field, value) in [
        ("project", descriptor.project),
        ("target", descriptor.target),
        ("channel", descriptor.channel),
        ("chip", descriptor.chip),
        ("notes", descriptor.notes),
    ] {
        assert_eq!(theirs.get(field).and_then(|value| value.as_str()), value, "{field}");
    }
    for (field, value) in [
        ("fmt", descriptor.fmt),
        ("chip_id", descriptor.chip_id.map(u64::from)),
        ("size", descriptor.size.map(u64::from)),
        ("secure_version", descriptor.secure_version.map(u64::from)),
    ] {
        assert_eq!(theirs.get(field).and_then(serde_json::Value::as_u64), value, "{field}");
    }
    let _ = descriptor.chip();
    url(descriptor.path);
}

fn url(text: &str) {
    let Ok(url) = Url::parse(text) else { return };
    let port = url.port();
    let written = [format!("https://{}:{port}{}", url.host(), url.path())];
    let plain = format!("https://{}{}", url.host(), url.path());
    assert!(
        url.port() == 443 && text == plain || written.contains(&without_zeros(text)),
        "{text} is not {written:?}"
    );
}

/// Returns the URL with the port as a number is written.
fn without_zeros(text: &str) -> String {
    let rest = &text["https://".len()..];
    match rest.split_once(':') {
        Some((host, rest)) => format!("https://{host}:{}", rest.trim_start_matches('0')),
        None => text.to_owned(),
    }
}

fn version(text: &str) {
    let (a, b) = text.split_once('\n').unwrap_or((text, "1.0.0-rc.1"));
    let read = |text: &str| {
        let ours = Version::parse(text).ok();
        let theirs = semver::Version::parse(text.strip_prefix('v').unwrap_or(text)).ok();
        if text.len() <= MAX_VERSION {
            assert_eq!(ours.is_some(), theirs.is_some(), "{text}");
        }
        Some((ours?, theirs.expect("what a device accepts is semver")))
    };
    if let (Some((a, theirs_a)), Some((b, theirs_b))) = (read(a), read(b)) {
        assert_eq!(a.precedence(&b), theirs_a.cmp_precedence(&theirs_b));
    }
}
