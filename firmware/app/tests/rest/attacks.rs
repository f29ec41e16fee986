//! What the API withstands. Each test is named for the attack; none of them
//! may change a byte of flash, unless it says so.

use crate::rig::{OCTETS, Rig, Setup, TOKEN, answer, image};
use std::{io::Write, net::Shutdown};
use towline::{Slot, descriptor::Chip};
use towline_sim::sample::{app_image, seal, with_secure_version};

const UPLOAD: &str = "/api/v1/firmware/upload";

/// All requests that change something.
const CHANGES: [&str; 7] = [
    UPLOAD,
    "/api/v1/firmware/update",
    "/api/v1/firmware/channel",
    "/api/v1/firmware/accept",
    "/api/v1/firmware/rollback",
    "/api/v1/factory-reset",
    "/api/v1/restart",
];

/// Sends a sound upload with other header lines than it should have, and
/// returns status and text. Flash must not have changed.
fn refused(rig: &Rig, path: &str, lines: &str) -> (u16, String) {
    let before = rig.flash();
    let body = image("1.1.0");
    let head = format!("POST {path} HTTP/1.1\r\nContent-Length: {}\r\n{lines}\r\n", body.len());
    let answer = rig.send(&[head.as_bytes(), &body].concat());
    assert!(rig.flash() == before, "{path} changed flash: {lines}");
    assert!(!rig.has_booted(), "{path} restarted the device: {lines}");
    (answer.status, answer.text().to_owned())
}

fn host(rig: &Rig) -> String {
    format!("Host: {}\r\nContent-Type: {OCTETS}\r\n", rig.address)
}

#[test]
fn no_token() {
    let rig = Rig::new();
    for path in CHANGES {
        let (status, text) = refused(&rig, path, &host(&rig));
        assert_eq!(status, 401, "{path}");
        assert!(text.contains("Authorization: Bearer"), "{text}");
    }
}

#[test]
fn wrong_token() {
    let rig = Rig::new();
    let prefix = &TOKEN[..TOKEN.len() - 1];
    for value in [
        "Bearer wrong".into(),
        "Bearer ".into(),
        "Bearer".into(),
        format!("Bearer {prefix}"),
        format!("Bearer {TOKEN}x"),
        format!("Basic {TOKEN}"),
        TOKEN.into(),
    ] {
        for path in CHANGES {
            let lines = format!("{}Authorization: {value}\r\n", host(&rig));
            assert_eq!(refused(&rig, path, &lines).0, 401, "{value} {path}");
        }
    }
}

#[test]
fn no_token_was_ever_set() {
    let rig = Rig::with(Setup { token: None, ..Setup::default() });
    for path in CHANGES {
        for line in ["", "Authorization: Bearer \r\n", "Authorization: Bearer x\r\n"] {
            let (status, text) = refused(&rig, path, &(host(&rig) + line));
            assert_eq!(status, 403, "{path}");
            assert!(text.contains("TOWLINE_TOKEN"), "it says how to set one: {text}");
        }
    }
}

#[test]
fn cross_site_post() {
    let rig = Rig::new();
    let own = format!("http://{}", rig.address);
    for line in [
        "Origin: http://evil.example".into(),
        "Origin: null".into(),
        format!("Origin: {own}.evil.example"),
        format!("Origin: {own}0"),
        format!("Origin: {}", rig.address),
        "Sec-Fetch-Site: cross-site".into(),
        "Sec-Fetch-Site: same-site".into(),
        format!("Origin: {own}\r\nSec-Fetch-Site: cross-site"),
    ] {
        for path in CHANGES {
            let lines = format!("{}Authorization: Bearer {TOKEN}\r\n{line}\r\n", host(&rig));
            let (status, text) = refused(&rig, path, &lines);
            assert_eq!(status, 403, "{line} {path}");
            assert!(text.contains("another site"), "{text}");
        }
    }
}

#[test]
fn cross_site_preflight() {
    let rig = Rig::new();
    let preflight = format!(
        "OPTIONS {UPLOAD} HTTP/1.1\r\nHost: {}\r\nOrigin: http://evil.example\r\n\
         Access-Control-Request-Method: POST\r\n\r\n",
        rig.address
    );
    let answer = rig.send(preflight.as_bytes());
    assert_eq!(answer.status, 405);
    assert_eq!(answer.header("access-control-allow-origin"), None);
}

#[test]
fn a_foreign_name_that_leads_here() {
    let rig = Rig::new();
    for name in ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "1.2.3", "", "[::1"] {
        let lines = format!("Host: {name}\r\nAuthorization: Bearer {TOKEN}\r\n");
        for path in CHANGES {
            assert_eq!(refused(&rig, path, &lines).0, 403, "{name}");
        }
        let get = rig.send(format!("GET / HTTP/1.1\r\nHost: {name}\r\n\r\n").as_bytes());
        assert_eq!(get.status, 403, "reading is refused too: {name}");
    }
    for name in ["127.0.0.1", "LOCALHOST:8080", "192.0.2.7:80", "[2001:db8::1]:80", "[::1]"] {
        let get = rig.send(format!("GET / HTTP/1.1\r\nHost: {name}\r\n\r\n").as_bytes());
        assert_eq!(get.status, 200, "{name}");
    }
    assert_eq!(rig.send(b"GET / HTTP/1.1\r\n\r\n").status, 400);
}

#[test]
fn wrong_content_type() {
    let rig = Rig::new();
    let host = format!("Host: {}\r\nAuthorization: Bearer {TOKEN}\r\n", rig.address);
    for line in [
        "",
        "Content-Type: text/plain\r\n",
        "Content-Type: application/x-www-form-urlencoded\r\n",
        "Content-Type: multipart/form-data; boundary=application/octet-stream\r\n",
        "Content-Type: application/json\r\n",
    ] {
        assert_eq!(refused(&rig, UPLOAD, &(host.clone() + line)).0, 415, "{line}");
    }
    for line in ["", "Content-Type: text/plain\r\n", "Content-Type: application/octet-stream\r\n"] {
        let channel = "/api/v1/firmware/channel";
        assert_eq!(refused(&rig, channel, &(host.clone() + line)).0, 415, "{line}");
    }
}

/// Sends a head and no body.
fn head_only(rig: &Rig, length: &str) -> u16 {
    let before = rig.flash();
    let head = format!(
        "POST {UPLOAD} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Type: {OCTETS}\r\n{length}\r\n",
        rig.address
    );
    let status = rig.send(head.as_bytes()).status;
    assert!(rig.flash() == before, "{length} changed flash");
    status
}

#[test]
fn missing_length() {
    let rig = Rig::new();
    assert_eq!(head_only(&rig, ""), 411);
    assert_eq!(head_only(&rig, "Transfer-Encoding: chunked\r\n"), 411);
}

#[test]
fn ambiguous_length() {
    let rig = Rig::new();
    for length in [
        "Content-Length: 10\r\nContent-Length: 10\r\n",
        "Content-Length: 10\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 10\r\n",
        "Content-Length: +10\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 0x10\r\n",
        "Content-Length: \r\n",
        "Content-Length: 10, 10\r\n",
    ] {
        assert_eq!(head_only(&rig, length), 400, "{length}");
    }
}

#[test]
fn length_larger_than_the_slot() {
    let rig = Rig::new();
    for length in [0x6_0001, 4_294_967_295, 4_294_967_296, u64::MAX] {
        assert_eq!(head_only(&rig, &format!("Content-Length: {length}\r\n")), 413, "{length}");
    }
    assert_eq!(head_only(&rig, "Content-Length: 99999999999999999999999\r\n"), 413);
}

#[test]
fn a_refused_upload_is_answered_before_its_body_comes() {
    let rig = Rig::new();
    let head = rig.head(UPLOAD, OCTETS, 0x6_0000).replace(TOKEN, "wrong");
    assert_eq!(rig.send(head.as_bytes()).status, 401);
}

#[test]
fn two_uploads_at_once() {
    let rig = Rig::new();
    let (before, body) = (rig.flash(), image("1.1.0"));
    let mut first = rig.connect();
    first.write_all(rig.head(UPLOAD, OCTETS, body.len()).as_bytes()).unwrap();
    first.write_all(&body[..100]).unwrap();
    while rig.json("/api/v1/firmware/progress")["received"] != 100 {}
    assert_eq!(rig.json("/api/v1/firmware/progress")["activity"], "upload");

    assert_eq!(rig.upload(&body).status, 409);
    for path in ["update", "accept", "rollback"] {
        assert_eq!(rig.post(&format!("/api/v1/firmware/{path}"), OCTETS, b"").status, 409);
    }
    assert_eq!(rig.post("/api/v1/restart", OCTETS, b"").status, 409);
    assert_eq!(rig.get("/api/v1/firmware/check-update").status, 409);
    assert!(rig.flash() == before);
    assert_eq!(rig.json("/api/v1/firmware")["running"], "ota_0", "reading goes on meanwhile");

    first.write_all(&body[100..]).unwrap();
    assert_eq!(answer(&mut first).status, 200, "the first is not disturbed");
    assert_eq!(rig.booted(), ("1.1.0".into(), Slot::Ota(1)));
}

#[test]
fn stalled_upload() {
    let rig = Rig::new();
    let (before, body) = (rig.flash(), image("1.1.0"));
    let mut socket = rig.connect();
    socket.write_all(rig.head(UPLOAD, OCTETS, body.len()).as_bytes()).unwrap();
    socket.write_all(&body[..100]).unwrap();
    let answer = answer(&mut socket);
    assert_eq!((answer.status, &*answer.reason), (522, "Failed To Receive Firmware"));
    assert!(answer.text().contains("nothing came for 10 seconds"), "{}", answer.text());
    assert!(rig.flash() == before);
    assert_eq!(rig.upload(&body).status, 200, "the slots are free again");
}

#[test]
fn dripping_upload() {
    let rig = Rig::new();
    let (before, body) = (rig.flash(), image("1.1.0"));
    let mut socket = rig.connect();
    let mut sender = socket.try_clone().unwrap();
    let head = rig.head(UPLOAD, OCTETS, body.len());
    let dripping = std::thread::spawn(move || {
        sender.write_all(head.as_bytes()).unwrap();
        for byte in body {
            if sender.write_all(&[byte]).is_err() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    });
    let answer = answer(&mut socket);
    assert_eq!(answer.status, 522);
    assert!(answer.text().contains("less than 2 KiB"), "{}", answer.text());
    assert!(rig.flash() == before);
    drop(socket);
    dripping.join().unwrap();
}

#[test]
fn interrupted_upload() {
    let rig = Rig::new();
    let (before, body) = (rig.flash(), image("1.1.0"));
    for sent in [0, 1, 287, 511] {
        let mut socket = rig.connect();
        socket.write_all(rig.head(UPLOAD, OCTETS, body.len()).as_bytes()).unwrap();
        socket.write_all(&body[..sent]).unwrap();
        socket.shutdown(Shutdown::Write).unwrap();
        assert_eq!(answer(&mut socket).status, 522);
        assert!(rig.flash() == before, "{sent} bytes do not tell what the image is");
    }
    let mut socket = rig.connect();
    socket.write_all(rig.head(UPLOAD, OCTETS, body.len()).as_bytes()).unwrap();
    socket.write_all(&body[..60_000]).unwrap();
    socket.shutdown(Shutdown::Write).unwrap();
    assert_eq!(answer(&mut socket).status, 522);
    assert_eq!(rig.post("/api/v1/restart", OCTETS, b"").status, 200);
    assert_eq!(rig.booted(), ("1.0.0".into(), Slot::Ota(0)), "half an image does not boot");
    assert_eq!(rig.upload(&body).status, 200);
    assert_eq!(rig.booted(), ("1.1.0".into(), Slot::Ota(1)));
}

#[test]
fn images_that_are_none_or_for_others() {
    let rig = Rig::new();
    let before = rig.flash();
    let head = |chip, project, version| app_image(chip, project, version, 5000);
    for (what, image) in [
        ("not an image", b"<html>".repeat(200)),
        ("empty", Vec::new()),
        ("one byte", vec![0xE9]),
        ("another project", head(Chip::Esp32c3, "fan", "1.1.0")),
        ("another chip", head(Chip::Esp32s3, "lamp", "1.1.0")),
        ("no app descriptor", {
            let mut image = head(Chip::Esp32c3, "lamp", "1.1.0");
            image[32] ^= 0xFF;
            seal(image)
        }),
    ] {
        let answer = rig.upload(&image);
        assert_eq!((answer.status, &*answer.reason), (523, "Invalid Firmware File"), "{what}");
        assert!(answer.text().starts_with("Invalid Firmware File: "), "{what}: {}", answer.text());
        assert!(rig.flash() == before, "{what}");
    }
}

#[test]
fn an_image_that_anti_rollback_bars() {
    let running = with_secure_version(image("1.0.0"), 2);
    let rig = Rig::with(Setup { running, ..Setup::default() });
    let before = rig.flash();
    assert_eq!(rig.upload(&with_secure_version(image("1.1.0"), 1)).status, 523);
    assert!(rig.flash() == before);
    assert_eq!(rig.upload(&with_secure_version(image("1.1.0"), 2)).status, 200);
}

/// Here the spare slot is written, for only its end shows that it is damaged.
#[test]
fn damaged_image() {
    let rig = Rig::new();
    let mut damaged = image("1.1.0");
    damaged[50_000] ^= 1;
    let mut longer = image("1.1.0");
    longer.extend([0; 16]);
    let mut shorter = image("1.1.0");
    shorter.truncate(50_000);
    for image in [damaged, longer, shorter] {
        assert_eq!(rig.upload(&image).status, 523);
        assert_eq!(rig.json("/api/v1/firmware")["next_boot"], "ota_0");
        assert_eq!(rig.post("/api/v1/restart", OCTETS, b"").status, 200);
        assert_eq!(rig.booted(), ("1.0.0".into(), Slot::Ota(0)));
    }
}

#[test]
fn more_body_than_stated() {
    let rig = Rig::new();
    let body = image("1.1.0");
    let head = rig.head(UPLOAD, OCTETS, body.len());
    let next = b"POST /api/v1/factory-reset HTTP/1.1\r\n\r\n";
    let answer = rig.send(&[head.as_bytes(), &body, next].concat());
    assert_eq!(answer.status, 200, "what follows is neither written nor obeyed");
    assert_eq!(rig.booted(), ("1.1.0".into(), Slot::Ota(1)));
}

#[test]
fn heads_that_are_none() {
    let rig = Rig::new();
    let before = rig.flash();
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(3000));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(100));
    let twice = "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n";
    for (bytes, status) in [
        (&b"\x16\x03\x01\x02\x00\x01\x00\x01\xFC"[..], 400),
        (b"GET / HTTP/9\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: \xFF\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA b: c\r\n\r\n", 400),
        (twice.as_bytes(), 400),
        (long.as_bytes(), 431),
        (many.as_bytes(), 431),
        (b"GET / HTTP/1.1\r\nHost: 127", 408),
    ] {
        assert_eq!(rig.send(bytes).status, status, "{:?}", bytes.escape_ascii().to_string());
    }
    assert!(rig.flash() == before);
}

#[test]
fn silent_connections_do_not_keep_others_out() {
    let rig = Rig::new();
    let silent: Vec<_> = (0..4).map(|_| rig.connect()).collect();
    assert_eq!(rig.get("/").status, 200);
    drop(silent);
}
