//! Hosts that misbehave in one way, and sites that are found at a URL.

use super::{
    foreign::{APP, DESCRIPTOR, MANIFEST, Site, found},
    host::{Answered, Asked, Certificates, Host},
    released,
};
use crate::support::{NOW, text, xtask};
use serde_json::json;
use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::TcpListener,
    path::Path,
    thread,
};

const SITE: &str = "https://a.example/lamp/";
const INDEX: &str = "releases.json";

/// A page that installs what the manifest says.
const PAGE: &str = r#"<!doctype html><esp-web-install-button manifest="web/manifest.json"></esp-web-install-button>"#;

/// Makes a sound site with a page.
fn sound() -> Site {
    let site = Site::new();
    site.write("index.html", PAGE);
    site
}

/// Checks what a host has at a URL. Nothing is kept of it unless it is said where.
fn check(host: &Host, url: &str, arguments: &[&str]) -> Vec<(String, String)> {
    let (address, root) = (host.address.to_string(), host.root.path().to_str().unwrap());
    let fixed = [url, "--now", NOW, "--connect", &address, "--ca", root];
    found(Path::new("/"), &[&fixed, arguments].concat())
}

fn expected(found: &[(&str, &str)]) -> Vec<(String, String)> {
    found.iter().map(|(code, path)| ((*code).to_owned(), (*path).to_owned())).collect()
}

#[test]
fn what_others_publish_is_found_from_their_page_with_few_requests_each_once() {
    let site = sound();
    site.write("web/my app.bin", site.part("app"));
    site.edit(MANIFEST, |m| m["builds"][0]["parts"][3]["path"] = "my%20app.bin".into());
    let host = Host::new(site.dir.path(), &Certificates::default(), |_, _| ());
    for url in [SITE, "https://a.example/lamp/index.html"] {
        assert_eq!(check(&host, url, &[]), []);
        let log = host.take_log();
        let whole = log.iter().filter(|(_, asked)| !asked.headers.contains_key("range"));
        let paths: Vec<_> = whole.map(|(_, asked)| asked.path.as_str()).collect();
        assert_eq!(paths.len(), paths.iter().collect::<BTreeSet<_>>().len(), "{paths:?}");
        assert!(paths.contains(&"/lamp/web/my%20app.bin"), "{paths:?}");
        assert!(paths.len() <= 70 && log.len() == paths.len() + 1, "{}", log.len());
    }
    site.edit(MANIFEST, |m| m["builds"][0]["chipFamily"] = "ESP32C3".into());
    site.edit(DESCRIPTOR, |d| drop(d.as_object_mut().unwrap().remove("sha256")));
    let codes: BTreeSet<_> = check(&host, SITE, &[]).into_iter().collect();
    let both = expected(&[("chip-family-unknown", MANIFEST), ("unauthenticated", DESCRIPTOR)]);
    assert_eq!(codes, both.into_iter().collect());
    fs::rename(site.path("web"), site.path("other")).unwrap();
    let at_page = expected(&[("link-broken", "index.html"), ("unauthenticated", DESCRIPTOR)]);
    assert_eq!(check(&host, SITE, &[]), at_page);
    fs::remove_dir_all(site.path("ota")).unwrap();
    fs::remove_file(site.path("index.html")).unwrap();
    assert_eq!(check(&host, SITE, &[]), expected(&[("file-missing", INDEX)]));
}

#[test]
fn a_page_in_a_folder_leads_to_documents_of_any_name() {
    let site = sound();
    fs::rename(site.path(MANIFEST), site.path("web/lamp.txt")).unwrap();
    assert_eq!(found(site.dir.path(), &["."]), expected(&[("link-broken", "index.html")]));
    site.write("index.html", PAGE.replace("manifest.json", "lamp.txt"));
    assert_eq!(found(site.dir.path(), &["."]), []);
    site.edit("web/lamp.txt", |m| m["builds"][0]["chipFamily"] = "ESP32C3".into());
    assert_eq!(
        found(site.dir.path(), &["."]),
        expected(&[("chip-family-unknown", "web/lamp.txt")])
    );
}

#[test]
fn an_image_is_checked_alone_as_a_file_and_at_a_url() {
    let site = sound();
    let dir = site.dir.path();
    let host = Host::new(dir, &Certificates::default(), |_, _| ());
    let url = format!("https://a.example/lamp/{APP}");
    assert_eq!(found(dir, &[APP]), []);
    assert_eq!(check(&host, &url, &[]), []);
    assert_eq!(host.take_log().len(), 1);
    site.replace(APP, |app| app[20_000] ^= 1);
    let at = |found: Vec<(String, String)>| found.into_iter().map(|f| f.0).collect::<Vec<_>>();
    assert_eq!(at(found(dir, &[APP])), ["image-checksum"]);
    assert_eq!(at(check(&host, &url, &[])), ["image-checksum"]);
    site.write(APP, "text");
    assert_eq!(at(found(dir, &[APP])), ["image-malformed"]);
    site.write(APP, PAGE);
    assert_eq!(at(found(dir, &[APP])), ["html-instead"]);
    assert_eq!(at(check(&host, "https://a.example/lamp/no.bin", &[])), ["file-missing"]);
}

type Change = fn(&Asked, &mut Answered);

/// What is found where one answer is wrong.
const ANSWERS: &[(&[(&str, &str)], Change)] = &[
    (&[("html-instead", MANIFEST)], |asked, answered| {
        if asked.path.ends_with("web/app.bin") {
            answered.page();
        }
    }),
    (&[("html-instead", "index.html")], |asked, answered| {
        if asked.path.ends_with("manifest.json") {
            answered.page();
        }
    }),
    (&[("link-broken", MANIFEST)], |asked, answered| {
        if asked.path.ends_with("web/app.bin") {
            answered.status = 404;
        }
    }),
    (&[("link-broken", MANIFEST)], |asked, answered| {
        if asked.path.ends_with("web/app.bin") {
            answered.headers.insert("content-length", "1000000".into());
            answered.ends = true;
        }
    }),
    (&[("length-missing", DESCRIPTOR)], |asked, answered| {
        if asked.path.ends_with(DESCRIPTOR) {
            answered.headers.insert("transfer-encoding", "chunked".into());
        }
    }),
    // Browsers can do without.
    (&[], |asked, answered| {
        if asked.path.contains("/web/") {
            answered.headers.insert("transfer-encoding", "chunked".into());
        }
    }),
    (&[("content-encoded", DESCRIPTOR)], |asked, answered| {
        if asked.path.ends_with(APP) {
            answered.headers.insert("content-encoding", "gzip".into());
        }
    }),
    (&[("cache-long", DESCRIPTOR)], |asked, answered| {
        if asked.path.ends_with(DESCRIPTOR) {
            answered.headers.insert("cache-control", "max-age=86400".into());
        }
    }),
    // An image of one version never changes.
    (&[], |asked, answered| {
        if asked.path.ends_with(APP) {
            answered.headers.insert("cache-control", "max-age=31536000, immutable".into());
        }
    }),
    (&[("redirect", DESCRIPTOR)], |asked, answered| {
        if asked.path.ends_with(DESCRIPTOR) {
            answered.redirect(format!("{}?v=1", asked.path));
        }
    }),
    (&[("redirect", DESCRIPTOR)], |asked, answered| {
        if asked.path.contains(APP) {
            answered.redirect(asked.path.clone());
        }
    }),
    (&[("redirect-long", APP)], |asked, answered| {
        if asked.path.ends_with(APP) {
            answered.redirect(format!("{}?{}", asked.path, "x".repeat(600)));
        }
    }),
    // Browsers and the clients of ESP-IDF follow.
    (&[], |asked, answered| {
        if asked.path.ends_with(".bin") {
            answered.redirect(format!("{}?v=1", asked.path));
        }
    }),
    (&[("range-missing", APP)], |asked, answered| {
        if asked.headers.contains_key("range") {
            answered.status = 200;
        }
    }),
    (&[("range-missing", APP)], |asked, answered| {
        if asked.headers.contains_key("range") {
            answered.body[0] ^= 1;
        }
    }),
    // A connection that is kept may be gone when it is needed.
    (&[], |_, answered| answered.ends = true),
    // Others have an answer for everything.
    (&[], |_, answered| {
        if answered.status == 404 {
            answered.page();
        }
    }),
    (&[], |asked, answered| {
        if answered.status == 404 && !asked.path.ends_with("/lamp/") {
            answered.redirect("/lamp/");
        }
    }),
];

#[test]
fn each_wrong_answer_of_a_host_is_found_by_its_code() {
    let site = sound();
    for (number, (codes, change)) in ANSWERS.iter().enumerate() {
        let host = Host::new(site.dir.path(), &Certificates::default(), change);
        assert_eq!(check(&host, SITE, &[]), expected(codes), "row {number}");
    }
}

#[test]
fn what_lies_on_another_host_is_followed_and_its_troubles_are_its_own() {
    let site = sound();
    let elsewhere = "https://b.example/lamp/web/app.bin";
    site.edit(MANIFEST, |m| m["builds"][0]["parts"][3]["path"] = elsewhere.into());
    let with = |change: Change| {
        let host = Host::new(site.dir.path(), &Certificates::default(), change);
        check(&host, SITE, &[])
    };
    assert_eq!(with(|_, _| ()), []);
    let closed: Change = |asked, answered| {
        if asked.host == "b.example" {
            answered.headers.remove("access-control-allow-origin");
        }
    };
    assert_eq!(with(closed), expected(&[("cors-missing", elsewhere)]));
    // Some hosts answer with the origin that asks.
    let named: Change = |asked, answered| {
        if asked.host == "b.example" {
            let origin = asked.headers.get("origin").cloned().unwrap_or_default();
            answered.headers.insert("access-control-allow-origin", origin);
        }
    };
    assert_eq!(with(named), []);
    let gone: Change = |asked, answered| {
        if asked.host == "b.example" {
            answered.status = 404;
        }
    };
    assert_eq!(with(gone), expected(&[("link-broken", MANIFEST)]));
    for trouble in [
        (|asked, answered| {
            if asked.host == "b.example" {
                answered.status = 503;
            }
        }) as Change,
        |asked, answered| {
            if asked.host == "b.example" {
                answered.status = 403;
            }
        },
        |asked, answered| answered.breaks = asked.host == "b.example",
    ] {
        assert_eq!(with(trouble), expected(&[("not-checked", MANIFEST)]));
    }
    // A page needs leave for the manifest too, and for what that leads to.
    site.edit(MANIFEST, |m| m["builds"][0]["parts"][3]["path"] = "app.bin".into());
    site.write("index.html", PAGE.replace("web/", "https://b.example/lamp/web/"));
    assert_eq!(with(|_, _| ()), []);
    let found: Vec<_> = with(closed).into_iter().map(|(code, _)| code).collect();
    assert_eq!(found, ["cors-missing"; 5]);
    site.write("index.html", PAGE);
    site.edit(MANIFEST, |m| m["builds"][0]["parts"][3]["path"] = elsewhere.into());
    let folder = expected(&[("not-checked", MANIFEST)]);
    fs::remove_file(site.path("web/app.bin")).unwrap();
    assert_eq!(super::foreign::found(site.dir.path(), &["."]), folder);
    assert_eq!(super::foreign::found(site.dir.path(), &[".", "--offline"]), folder);
}

#[test]
fn certificates_are_judged_as_devices_do() {
    let site = sound();
    for (code, certificates) in [
        ("certificate-untrusted", Certificates { sends_intermediate: false, ..<_>::default() }),
        ("certificate-name", Certificates { name: "c.example", ..<_>::default() }),
        ("certificate-expired", Certificates { days: [-90, -1], ..<_>::default() }),
        ("certificate-expires-soon", Certificates { days: [-80, 10], ..<_>::default() }),
        // Those that live for a few days are always young.
        ("", Certificates { days: [-2, 4], ..<_>::default() }),
    ] {
        let host = Host::new(site.dir.path(), &certificates, |_, _| ());
        let path = if code.ends_with("soon") { "a.example" } else { INDEX };
        let told = expected(&[(code, path)]);
        let found = check(&host, SITE, &[]);
        assert_eq!(found, if code.is_empty() { Vec::new() } else { told });
    }
}

#[test]
fn a_host_that_speaks_old_tls_alone_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for mut tcp in listener.incoming().flatten() {
            let _ = tcp.read(&mut [0; 1024]);
            // The alert `protocol_version`.
            let _ = tcp.write_all(&[21, 3, 1, 0, 2, 2, 70]);
        }
    });
    let found = found(Path::new("/"), &[SITE, "--connect", &address]);
    assert_eq!(found, expected(&[("tls-too-old", INDEX)]));
}

#[test]
fn what_was_fetched_once_is_asked_for_by_its_tag_and_serves_without_a_host() {
    let site = sound();
    let cache = tempfile::tempdir().unwrap();
    let kept = ["--cache", cache.path().to_str().unwrap()];
    let offline = ["--offline", kept[0], kept[1]];
    let host = Host::new(site.dir.path(), &Certificates::default(), |_, _| ());
    assert_eq!(check(&host, SITE, &kept), []);
    assert!(!host.take_log().iter().any(|(status, _)| *status == 304));
    assert_eq!(check(&host, SITE, &kept), []);
    let log = host.take_log();
    assert!(log.iter().any(|(status, _)| *status == 304));
    assert!(!log.iter().any(|(status, _)| *status == 200), "{log:?}");
    assert_eq!(check(&host, SITE, &offline), []);
    assert!(host.take_log().is_empty());
    // What has changed is fetched, and what a disk has changed is not believed.
    site.edit(MANIFEST, |m| m["builds"][0]["chipFamily"] = "ESP32C3".into());
    assert_eq!(check(&host, SITE, &offline), []);
    let wrong = expected(&[("chip-family-unknown", MANIFEST)]);
    assert_eq!(check(&host, SITE, &kept), wrong);
    assert_eq!(check(&host, SITE, &offline), wrong);
    for entry in cache.path().read_dir().unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        if let Some(byte) = bytes.last_mut() {
            *byte ^= 1;
        }
        fs::write(path, bytes).unwrap();
    }
    assert_eq!(check(&host, SITE, &kept), wrong);
    // Of what was never fetched, nothing can be told.
    let output =
        xtask(Path::new("/"), &["check", "https://b.example/", offline[0], offline[1], offline[2]]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("is not in the cache"), "{}", text(&output.stderr));
}

/// What is found of a site of Towline where one answer is wrong.
const OURS: &[(&[(&str, &str)], Change)] = &[
    (&[], |_, _| ()),
    (&[("etag-missing", "ota/stable/esp32c3.json")], |_, answered| {
        answered.headers.remove("etag");
    }),
    (&[("cache-long", "ota/stable/esp32c3.json")], |asked, answered| {
        if asked.path.contains("/ota/stable/") {
            answered.headers.insert("cache-control", "max-age=7200".into());
        }
    }),
    (&[("redirect", "ota/stable/esp32c3.json")], |asked, answered| {
        if asked.path.ends_with("stable/esp32c3.json") {
            answered.redirect(format!("{}?v=1", asked.path));
        }
    }),
    (&[("length-missing", "ota/stable/esp32c3.json")], |asked, answered| {
        if asked.path.ends_with("stable/esp32c3.json") {
            answered.headers.insert("transfer-encoding", "chunked".into());
        }
    }),
    // No device fetches pages: their host may have them under shorter names, and send
    // them in chunks.
    (&[], |asked, answered| {
        if asked.path.ends_with(".html") {
            answered.redirect(format!("{}?short", asked.path));
        } else if asked.path.ends_with("?short") || asked.path.contains("/assets/") {
            answered.headers.insert("transfer-encoding", "chunked".into());
        }
    }),
    (&[("redirect", "404.html")], |asked, answered| {
        if asked.path.ends_with("404.html") {
            answered.redirect("https://b.example/lamp/404.html");
        }
    }),
    (&[("file-unreadable", "404.html")], |asked, answered| {
        if asked.path.ends_with("404.html") {
            answered.status = 500;
        }
    }),
    // More than the devices of Towline have room for.
    (&[("file-unreadable", "ota/stable/esp32c3.json")], |asked, answered| {
        if asked.path.ends_with("stable/esp32c3.json") {
            answered.headers.insert("content-security-policy", "x".repeat(3000));
        }
    }),
    (&[("host-unreachable", "404.html")], |asked, answered| {
        answered.breaks = asked.path.ends_with("404.html");
    }),
    (&[("absence-answered", "root/2.json")], |_, answered| {
        if answered.status == 404 {
            answered.page();
        }
    }),
];

#[test]
fn each_wrong_answer_for_a_site_of_ours_is_found_by_its_code() {
    let project = released();
    project.done(&["keys", "init"]);
    project.done(&["site"]);
    let folder = project.path("dist/site");
    for (number, (codes, change)) in OURS.iter().enumerate() {
        let host = Host::new(&folder, &Certificates::default(), change);
        assert_eq!(check(&host, SITE, &[]), expected(codes), "row {number}");
    }
}

#[test]
fn the_index_of_a_site_at_a_url_leads_nowhere_else() {
    let project = released();
    let folder = project.path("dist/site");
    let index = folder.join(INDEX);
    let whole: serde_json::Value = serde_json::from_slice(&fs::read(&index).unwrap()).unwrap();
    let host = Host::new(&folder, &Certificates::default(), |_, _| ());
    for outside in [
        "../outside",
        "%2e%2e/outside",
        "/outside",
        "//b.example/outside",
        "http://127.0.0.1:9/outside",
        "https://a.example/lamp/outside",
        "outside?v=1",
        "outside#1",
    ] {
        let mut json = whole.clone();
        json["files"][outside] = json!({ "size": 1, "sha256": "0".repeat(64) });
        fs::write(&index, json.to_string()).unwrap();
        assert_eq!(check(&host, SITE, &[]), expected(&[("path-outside", outside)]));
        let log = host.take_log();
        assert!(!log.iter().any(|(_, asked)| asked.path.contains("outside")), "{log:?}");
    }
}

#[test]
fn a_site_in_a_folder_has_files_and_none_outside() {
    let project = released();
    let index = project.path("dist/site/releases.json");
    let whole = fs::read(&index).unwrap();
    let mut json: serde_json::Value = serde_json::from_slice(&whole).unwrap();
    let outside = json!({ "size": 1, "sha256": "0".repeat(64) });
    json["files"]["../outside"] = outside;
    fs::write(&index, json.to_string()).unwrap();
    let found_now = || found(&project.path("dist"), &["site", "--now", NOW]);
    assert_eq!(found_now(), expected(&[("path-outside", "../outside")]));
    fs::write(&index, whole).unwrap();
    fs::remove_file(project.path("dist/site/404.html")).unwrap();
    fs::create_dir(project.path("dist/site/404.html")).unwrap();
    assert_eq!(found_now(), expected(&[("file-unreadable", "404.html")]));
}
