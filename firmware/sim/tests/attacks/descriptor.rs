//! Descriptors that are malformed, or offer what must not be installed.

use crate::device::{DESCRIPTOR, Device, HOST, NEW, Offer, image, new_image, origin};
use towline::{
    Reason, UpdateError,
    descriptor::{DocumentError, MAX_DOCUMENT, UrlError, json::JsonError},
};

/// Returns what a device says of a descriptor; nothing else is fetched.
#[track_caller]
fn fault(descriptor: impl Into<Vec<u8>>) -> UpdateErrorKind {
    let descriptor = descriptor.into();
    let (mut device, mut host) = (Device::new(), origin(descriptor.clone(), &new_image()));
    let error = device.refuses_at_once(&mut host);
    assert!(host.sent <= descriptor.len(), "more than the descriptor was fetched");
    device.follows(&mut sound(), NEW);
    match error {
        UpdateError::Descriptor(error) => UpdateErrorKind::Descriptor(error),
        UpdateError::Url(error) => UpdateErrorKind::Url(error),
        error => panic!("not of the descriptor: {error}"),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum UpdateErrorKind {
    Descriptor(DocumentError),
    Url(UrlError),
}

/// Returns why a device that runs `running` stays although it is offered this;
/// nothing but the descriptor is fetched.
#[track_caller]
fn reason(running: &str, offer: &Offer) -> Reason {
    let mut host = offer.origin(&new_image());
    let reason = Device::running(running).stays(&mut host);
    assert_eq!(host.sent, offer.json().len());
    reason
}

fn offer() -> Offer {
    Offer::of(NEW, &new_image())
}

fn sound() -> towline_sim::Origin {
    offer().origin(&new_image())
}

#[test]
fn a13_malformed_json_is_refused() {
    use UpdateErrorKind::Descriptor;
    let sound = offer().json();
    let changed = |from: &str, to: &str| {
        assert!(sound.contains(from));
        sound.replace(from, to)
    };
    for document in [
        String::new(),
        "null".into(),
        format!("[{sound}]"),
        format!("{sound}{sound}"),
        format!("{sound},"),
        format!("\u{feff}{sound}"),
        sound[..sound.len() - 1].to_owned(),
        sound[1..].to_owned(),
        changed(":1,", ":01,"),
        changed(":1,", ":+1,"),
        changed(":1,", ":,"),
        changed("\"lamp\"", "'lamp'"),
        changed("\"lamp\"", "\"la\nmp\""),
        changed("\"lamp\"", "\"lamp\\\""),
        changed("\"lamp\"", "\"\\ud800\""),
        changed("\"lamp\"", "\"lamp\"/* */"),
        changed("\"fmt\"", "fmt"),
    ] {
        assert_eq!(fault(document.as_str()), Descriptor(JsonError::Syntax.into()), "{document}");
    }
    let mut latin = sound.into_bytes();
    latin[10] = 0xE4;
    assert_eq!(fault(latin), Descriptor(JsonError::Encoding.into()));
}

#[test]
fn a13_deep_nesting_is_refused() {
    use UpdateErrorKind::Descriptor;
    for (open, close) in [("[", "]"), ("{\"x\":", "}")] {
        let deep = |levels: usize| {
            let value = format!("{}1{}", open.repeat(levels), close.repeat(levels));
            offer().with("new", value).json()
        };
        assert_eq!(fault(deep(500)), Descriptor(JsonError::TooDeep.into()));
        let unclosed = format!("{{\"x\":{}", open.repeat(700));
        assert_eq!(fault(unclosed), Descriptor(JsonError::TooDeep.into()));
        Device::new().follows(&mut origin(deep(10), &new_image()), NEW);
    }
}

#[test]
fn a13_a_duplicate_key_is_refused() {
    for key in ["version", "path", "project", "chip_id", "size", "sha256", "channel"] {
        let sound = offer().json();
        let start = sound.find(&format!("\"{key}\"")).unwrap();
        let value = sound[start..].split([',', '}']).next().unwrap();
        // Spelled the same, and spelled with an escape.
        let escaped = format!("\"\\u{:04x}{}", key.as_bytes()[0], &value[2..]);
        for again in [value, &escaped] {
            let document = format!("{{{again},{}", &sound[1..]);
            assert_eq!(fault(document), UpdateErrorKind::Descriptor(DocumentError::Duplicate(key)),);
        }
    }
}

#[test]
fn a13_nul_is_refused() {
    let syntax = || UpdateErrorKind::Descriptor(JsonError::Syntax.into());
    let sound = offer().json();
    assert_eq!(fault(format!("{sound}\0")), syntax());
    assert_eq!(fault(format!("\0{sound}")), syntax());
    for text in ["lamp\0", "lamp\\u0000", "\0"] {
        assert_eq!(fault(offer().with("project", format!("\"{text}\"")).json()), syntax());
    }
}

#[test]
fn a14_an_oversize_descriptor_is_refused() {
    let padded = |len: usize| {
        let sound = offer().with("notes", "\"\"").json();
        let notes = "x".repeat(len - sound.len());
        offer().with("notes", format!("\"{notes}\"")).json()
    };
    let too_large = UpdateErrorKind::Descriptor(DocumentError::TooLarge);
    assert_eq!(fault(padded(MAX_DOCUMENT + 1)), too_large);
    assert_eq!(fault(padded(1_000_000)), too_large);
    Device::new().follows(&mut origin(padded(MAX_DOCUMENT), &new_image()), NEW);
}

#[test]
fn a23_a_url_that_readers_could_understand_differently_is_refused() {
    use UrlError::{Host, NotHttps, Path, Port};
    for (path, error) in [
        ("/app.bin", NotHttps),
        ("app.bin", NotHttps),
        ("//updates.example/app.bin", NotHttps),
        ("http://updates.example/app.bin", NotHttps),
        ("file:///app.bin", NotHttps),
        ("https://updates.example/../app.bin", Path),
        ("https://updates.example/fw/./app.bin", Path),
        ("https://updates.example/fw/..", Path),
        ("https://updates.example/%2e%2e/app.bin", Path),
        ("https://updates.example/fw/%2E%2E%2Fapp.bin", Path),
        ("https://updates.example/fw%5c..%5capp.bin", Path),
        ("https://updates.example/fw//app.bin", Path),
        ("https://updates.example/app.bin?x=1", Path),
        ("https://updates.example/app.bin#x", Path),
        ("https://updates.example/app.bin\\r\\nX-Evil: 1", Path),
        ("https://updates.example/app.bin HTTP/1.1", Path),
        ("https://updates.example\\\\@evil.example/app.bin", Host),
        ("https://evil@updates.example/app.bin", Host),
        ("https://updates.example:x@evil.example/app.bin", Port),
        ("https://b\u{fc}cher.example/app.bin", Host),
        ("https://updates.ex\u{430}mple/app.bin", Host),
        ("https://xn--bcher-kva.example/app.bin", Host),
        ("https://XN--bcher-kva.example/app.bin", Host),
        ("https://%75pdates.example/app.bin", Host),
        ("https://updates.example:443:443/app.bin", Port),
        ("https://updates.example:65536/app.bin", Port),
        ("https://updates.example", Path),
        ("", NotHttps),
    ] {
        let document = offer().with("path", format!("\"{path}\"")).json();
        assert_eq!(fault(document), UpdateErrorKind::Url(error), "{path}");
    }
    // JSON may write a plain URL with escapes.
    let path = format!("\"https:\\/\\/{HOST}\\u002fapp.bin\"");
    Device::new().follows(&mut offer().with("path", path).origin(&new_image()), NEW);
}

#[test]
fn a24_build_metadata_is_no_higher_version() {
    for (running, offered) in [
        ("1.1.0", "1.1.0+2"),
        ("1.1.0+1", "1.1.0+2"),
        ("1.1.0+9", "1.1.0"),
        ("v1.1.0", "1.1.0+z"),
        ("1.1.0-rc.1", "1.1.0-rc.1+2"),
    ] {
        let offer = Offer::of(offered, &new_image());
        assert_eq!(reason(running, &offer), Reason::UpToDate, "{running} -> {offered}");
    }
}

#[test]
fn a25_rc_2_comes_before_rc_10_and_that_before_the_release() {
    let longest = "1.1.0-rc.10+0123456789abcdefghi";
    assert_eq!(longest.len(), 31);
    let chain =
        ["1.1.0-alpha", "1.1.0-rc.2", longest, "v1.1.0", "1.1.1-1", "1.1.1-a", "1.2.0", "10.0.0"];
    let mut device = Device::running("1.0.9");
    for version in chain {
        let image = image(version, 10_000);
        device.follows(&mut Offer::of(version, &image).origin(&image), version);
    }
    for (index, running) in chain.iter().enumerate() {
        for lower in &chain[..index] {
            let offer = Offer::of(lower, &new_image());
            assert_eq!(reason(running, &offer), Reason::Downgrade, "{running} -> {lower}");
        }
    }
}

#[test]
fn a25_versions_with_leading_zeros_two_vs_or_32_bytes_are_refused() {
    for version in [
        "01.1.0",
        "1.01.0",
        "1.1.00",
        "1.1.0-rc.02",
        "vv1.1.0",
        "V1.1.0",
        "1.1",
        "1.1.0.0",
        "1.1.0-",
        "1.1.0-rc..1",
        "1.1.0+",
        " 1.1.0",
        "1.1.0 ",
        "1.1.-1",
        "18446744073709551616.0.0",
        "1.1.0-rc.10+0123456789abcdefghij",
        "1.1.0-0123456789012345678901234567890123456789",
        "",
    ] {
        assert_eq!(
            fault(offer().with("version", format!("\"{version}\"")).json()),
            UpdateErrorKind::Descriptor(DocumentError::Invalid("version")),
            "{version}"
        );
    }
    assert_eq!("1.1.0-rc.10+0123456789abcdefghij".len(), 32);
}

#[test]
fn a26_a_downgrade_is_refused() {
    for (running, offered) in [("1.1.1", NEW), ("1.1.0", "1.1.0-rc.9"), ("2.0.0", "1.99.99")] {
        let offer = Offer::of(offered, &new_image());
        assert_eq!(reason(running, &offer), Reason::Downgrade, "{running} -> {offered}");
    }
}

#[test]
fn a26_an_equal_version_with_other_bytes_is_not_installed() {
    let other = image(NEW, 50_000);
    assert_eq!(reason(NEW, &Offer::of(NEW, &other)), Reason::UpToDate);
    // Nor does a release change while it waits for the reset.
    let mut device = Device::new();
    device.poll(&mut sound()).unwrap();
    let mut host = Offer::of(NEW, &new_image()).origin(&new_image());
    assert_eq!(device.stays(&mut host), Reason::AwaitingReset);
    assert!(
        host.answer(&format!("GET {DESCRIPTOR} HTTP/1.1\r\n\r\n")).starts_with(b"HTTP/1.1 200")
    );
}
