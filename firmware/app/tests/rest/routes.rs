//! Each route, with each of its answers.

use crate::rig::{OCTETS, Rig, Setup, TOKEN, answer, image};
use base64::Engine as _;
use serde_json::json;
use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpListener},
};
use towline::{Slot, descriptor::Chip};
use towline_sim::{SelfTest, sample::app_image};

const JSON: &str = "application/json";

/// A static host on loopback; returns its URL. The network of the device leaves
/// TLS out on loopback.
fn site(files: impl FnOnce(&str) -> HashMap<String, Vec<u8>>) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let files = files(&url);
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = BufReader::new(socket.unwrap());
            let mut line = String::new();
            socket.read_line(&mut line).unwrap();
            while !matches!(line.as_str(), "\r\n" | "") {
                let path = line.strip_prefix("GET ").and_then(|line| line.split(' ').next());
                if let Some(path) = path {
                    let found = files.get(path);
                    let status = if found.is_some() { "200 OK" } else { "404 Not Found" };
                    let body = found.map_or(&[][..], |body| body);
                    let head =
                        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
                    socket.get_mut().write_all(&[head.as_bytes(), body].concat()).unwrap();
                }
                line.clear();
                socket.read_line(&mut line).unwrap();
            }
        }
    });
    url
}

/// A channel that offers an image.
fn offering(version: &str, image: &[u8], stated: &[u8]) -> Setup {
    holding(version, image, stated, json!({}))
}

/// A channel that offers an image, with further fields in its descriptor.
fn holding(version: &str, image: &[u8], stated: &[u8], more: serde_json::Value) -> Setup {
    use sha2::Digest as _;
    let sha256: String =
        sha2::Sha256::digest(stated).iter().map(|byte| format!("{byte:02x}")).collect();
    let url = site(|url| {
        let mut descriptor = json!({
            "version": version, "path": format!("{url}/app.bin"), "fmt": 1, "project": "lamp",
            "chip": "esp32c3", "chip_id": 5, "size": stated.len(), "sha256": sha256,
        });
        let fields = more.as_object().unwrap().clone();
        descriptor.as_object_mut().unwrap().extend(fields);
        let descriptor = descriptor.to_string().into_bytes();
        HashMap::from([("/stable.json".into(), descriptor), ("/app.bin".into(), image.to_vec())])
    });
    let channels =
        vec![("stable", format!("{url}/stable.json")), ("testing", format!("{url}/testing.json"))];
    Setup { channels, ..Setup::default() }
}

fn post(rig: &Rig, path: &str) -> (u16, String) {
    let answer = rig.post(&format!("/api/v1/{path}"), OCTETS, b"");
    (answer.status, answer.text().to_owned())
}

#[test]
fn firmware_tells_of_every_slot() {
    let rig = Rig::new();
    let info = rig.json("/api/v1/firmware");
    assert_eq!((&info["running"], &info["next_boot"]), (&json!("ota_0"), &json!("ota_0")));
    let slots = info["slots"].as_array().unwrap();
    assert_eq!(slots.len(), 2);
    let expected = json!({
        "partition": "ota_0", "state": "valid", "project": "lamp", "version": "1.0.0",
        "date": "", "time": "", "secure_version": 0, "idf_version": "",
    });
    assert_eq!(slots[0], expected);
    assert_eq!(slots[1], json!({ "partition": "ota_1", "state": "undefined" }));
}

#[test]
fn upload_installs_and_restarts() {
    let rig = Rig::new();
    let answer = rig.upload(&image("1.1.0"));
    assert_eq!((answer.status, answer.text()), (200, "OK"));
    assert_eq!(rig.json("/api/v1/firmware/progress")["activity"], "restart");
    assert_eq!(rig.json("/api/v1/firmware")["next_boot"], "ota_1");
    assert_eq!(post(&rig, "restart").0, 409, "it is about to");
    assert_eq!(rig.booted(), ("1.1.0".into(), Slot::Ota(1)));
    let idle = json!({ "activity": "idle", "received": 0, "size": 0 });
    assert_eq!(rig.json("/api/v1/firmware/progress"), idle);
    let info = rig.json("/api/v1/firmware");
    assert_eq!((&info["running"], &info["slots"][1]["state"]), (&json!("ota_1"), &json!("valid")));
}

#[test]
fn an_older_version_may_be_pushed_by_hand() {
    let rig = Rig::new();
    assert_eq!(rig.upload(&image("0.9.0")).status, 200);
    assert_eq!(rig.booted(), ("0.9.0".into(), Slot::Ota(1)));
}

#[test]
fn uploaded_firmware_that_fails_is_rolled_back() {
    let rig = Rig::with(Setup { self_test: SelfTest::Fails, ..Setup::default() });
    assert_eq!(rig.upload(&image("1.1.0")).status, 200);
    assert_eq!(rig.booted(), ("1.0.0".into(), Slot::Ota(0)));
    assert_eq!(rig.json("/api/v1/firmware")["slots"][1]["state"], "aborted");
}

#[test]
fn upload_asks_for_the_body_only_when_it_is_admitted() {
    let rig = Rig::new();
    let body = image("1.1.0");
    let head = rig.head("/api/v1/firmware/upload", OCTETS, body.len());
    let expecting = head.replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n");
    let mut socket = rig.connect();
    socket.write_all(expecting.replace(TOKEN, "wrong").as_bytes()).unwrap();
    assert_eq!(answer(&mut socket).status, 401);
    let mut socket = rig.connect();
    socket.write_all(expecting.as_bytes()).unwrap();
    let mut interim = [0; 25];
    socket.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    socket.write_all(&body).unwrap();
    assert_eq!(answer(&mut socket).status, 200);
}

#[test]
fn channels_are_listed_and_selected() {
    let rig = Rig::with(offering("1.0.0", b"", b""));
    assert_eq!(rig.json("/api/v1/firmware/channels"), json!(["stable", "testing"]));
    assert_eq!(rig.json("/api/v1/firmware/channel"), "stable");
    let select = |body: &[u8]| {
        let answer = rig.post("/api/v1/firmware/channel", "application/json; charset=utf-8", body);
        (answer.status, answer.text().to_owned())
    };
    assert_eq!(select(b"\"testing\""), (200, "OK".into()));
    assert_eq!(rig.json("/api/v1/firmware/channel"), "testing");
    for body in [
        &b"\"nightly\""[..],
        b"\"\"",
        b"testing",
        b"[\"stable\"]",
        b"{}",
        b"1",
        b"null",
        b"",
        b"\"stable",
        b"\"stable\"x",
        b"\"stab\\u006ce\"",
        b"\"\xFF\"",
        b"\"stable\\",
    ] {
        assert_eq!(select(body).0, 400, "{}", body.escape_ascii());
    }
    assert_eq!(select(&[b' '; 129]).0, 413);
    assert_eq!(rig.json("/api/v1/firmware/channel"), "testing");
    assert_eq!(post(&rig, "restart").0, 200);
    rig.booted();
    assert_eq!(rig.json("/api/v1/firmware/channel"), "testing", "the choice is kept");
}

#[test]
fn check_update_tells_both_versions() {
    let rig = Rig::with(offering("1.1.0", b"", b"x"));
    let expected = json!({ "available": "1.1.0", "current": "1.0.0", "reason": null });
    assert_eq!(rig.json("/api/v1/firmware/check-update"), expected);
}

#[test]
fn check_update_tells_why_an_offer_is_not_installed() {
    for (version, reason) in
        [("1.0.0", "up to date"), ("0.9.0", "the channel offers an older version")]
    {
        let rig = Rig::with(offering(version, b"", b"x"));
        assert_eq!(rig.json("/api/v1/firmware/check-update")["reason"], reason);
        assert_eq!(post(&rig, "firmware/update"), (200, format!("OK: {reason}\n")));
    }
}

#[test]
fn the_page_tells_what_was_offered_last() {
    let rig = Rig::with(offering("1.1.0", b"", b"x"));
    let page = || rig.get("/").text().to_owned();
    assert!(!page().contains("is offered"));
    rig.json("/api/v1/firmware/check-update");
    assert!(page().contains("<p><strong>1.1.0</strong> is offered.</p>"), "{}", page());
    assert!(page().contains(">Install 1.1.0</button>"), "{}", page());

    let rig = Rig::with(offering("0.9.0", b"", b"x"));
    rig.json("/api/v1/firmware/check-update");
    let page = rig.get("/").text().to_owned();
    assert!(page.contains("0.9.0</strong> is offered: the channel offers an older"), "{page}");
    assert!(!page.contains(">Install 0.9.0</button>"), "{page}");
}

#[test]
fn a_release_waits_for_the_approval_that_an_update_is() {
    let image = image("1.1.0");
    let more = json!({ "policy": { "approval": true }, "notes": "Cures <b>cold</b> starts." });
    let rig = Rig::with(holding("1.1.0", &image, &image, more));
    let reason = "the release waits for a user to agree";
    assert_eq!(rig.json("/api/v1/firmware/check-update")["reason"], reason);
    let page = rig.get("/").text().to_owned();
    assert!(page.contains(&format!("1.1.0</strong> is offered: {reason}.")), "{page}");
    assert!(page.contains(">Cures &lt;b&gt;cold&lt;/b&gt; starts.<"), "{page}");
    assert!(page.contains(">Install 1.1.0</button>"), "{page}");
    assert_eq!(post(&rig, "firmware/update"), (200, "OK".into()));
    assert_eq!(rig.booted(), ("1.1.0".into(), Slot::Ota(1)));
    assert!(!rig.get("/").text().contains("is offered"));
}

#[test]
fn what_holds_a_release_back_beside_approval_holds_it_back_from_users_too() {
    for (more, reason) in [
        (json!({ "rollout": { "paused": true } }), "the release is paused"),
        (json!({ "rollout": { "percent": 0 } }), "the release has not come to this device yet"),
        (json!({ "policy": { "groups": ["beta"] } }), "the release is for other devices"),
        (json!({ "policy": { "not_before": 9_000_000_000_u64 } }), "the release may not be"),
        (json!({ "policy": { "not_after": 1, "approval": true } }), "the time in which"),
        (json!({ "min_from": "1.0.5" }), "what runs is too old"),
    ] {
        let image = image("1.1.0");
        let rig = Rig::with(holding("1.1.0", &image, &image, more));
        let told = rig.json("/api/v1/firmware/check-update")["reason"].as_str().unwrap().to_owned();
        assert!(told.starts_with(reason), "{told}");
        assert!(!rig.get("/").text().contains(">Install 1.1.0</button>"), "{reason}");
        assert_eq!(post(&rig, "firmware/update"), (200, format!("OK: {told}\n")));
    }
}

#[test]
fn a_release_for_a_group_is_installed_once_the_device_is_in_it() {
    let image = image("1.1.0");
    let rig =
        Rig::with(holding("1.1.0", &image, &image, json!({ "policy": { "groups": ["beta"] } })));
    assert_eq!(rig.post("/api/v1/firmware/groups", JSON, b"\"alpha,beta\"").status, 200);
    assert_eq!(rig.json("/api/v1/firmware/check-update")["reason"], json!(null));
    assert_eq!(post(&rig, "firmware/update"), (200, "OK".into()));
    assert_eq!(rig.booted(), ("1.1.0".into(), Slot::Ota(1)));
}

#[test]
fn groups_are_set_and_kept() {
    let rig = Rig::new();
    let set = |body: &str| rig.post("/api/v1/firmware/groups", JSON, body.as_bytes()).status;
    let groups = || rig.json("/api/v1/firmware/groups");
    assert_eq!(groups(), "");
    assert_eq!(set("\"beta,Floor-2.east\""), 200);
    assert_eq!(groups(), "beta,Floor-2.east");
    for wrong in [
        "\"beta,\"",
        "\",beta\"",
        "\"a b\"",
        "\"a,,b\"",
        "\"<b>\"",
        "\"\\u0061\"",
        "[\"beta\"]",
        "7",
        "",
        &format!("\"{}\"", "a".repeat(97)),
        "\"a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q\"",
    ] {
        assert_eq!(set(wrong), 400, "{wrong}");
    }
    assert_eq!(post(&rig, "restart").0, 200);
    rig.booted();
    assert_eq!(groups(), "beta,Floor-2.east");
    assert_eq!(set("\"\""), 200, "in none");
    assert_eq!(groups(), "");
}

#[test]
fn a_device_is_in_as_many_groups_as_it_admits() {
    let image = image("1.1.0");
    let policy = json!({ "policy": { "groups": ["p"] } });
    let rig = Rig::with(holding("1.1.0", &image, &image, policy));
    let set = |names: &str| {
        let body = format!("\"{names}\"");
        rig.post("/api/v1/firmware/groups", JSON, body.as_bytes()).status
    };
    assert_eq!(set("a,b,c"), 200);
    let offer = || rig.json("/api/v1/firmware/check-update");
    assert_eq!(offer()["reason"], "the release is for other devices");
    assert!(rig.get("/").text().contains("is offered"));
    assert_eq!(set("a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p"), 200);
    assert!(!rig.get("/").text().contains("is offered"), "that was for another device");
    assert_eq!(offer()["reason"], json!(null), "the last of them counts");
}

#[test]
fn check_update_without_an_answer_of_the_host_is_404() {
    let rig = Rig::new();
    let answer = rig.get("/api/v1/firmware/check-update");
    assert_eq!(answer.status, 404);
    assert!(answer.text().starts_with("Cannot Fetch Latest Version Info: "), "{}", answer.text());
}

#[test]
fn update_installs_what_the_channel_offers() {
    let image = image("1.1.0");
    let rig = Rig::with(offering("1.1.0", &image, &image));
    assert_eq!(post(&rig, "firmware/update"), (200, "OK".into()));
    assert_eq!(rig.booted(), ("1.1.0".into(), Slot::Ota(1)));
    assert_eq!(post(&rig, "firmware/update"), (200, "OK: up to date\n".into()));
    assert_eq!(rig.json("/api/v1/firmware/progress")["activity"], "idle");
}

#[test]
fn update_without_an_answer_of_the_host_is_520() {
    let rig = Rig::new();
    let before = rig.flash();
    let answer = rig.post("/api/v1/firmware/update", OCTETS, b"");
    assert_eq!((answer.status, &*answer.reason), (520, "Cannot Fetch Latest Version Info"));
    assert!(rig.flash() == before);
}

#[test]
fn update_to_a_faulty_image_is_521() {
    let (good, other) = (image("1.1.0"), app_image(Chip::Esp32c3, "fan", "1.1.0", 100_000));
    let rig = Rig::with(offering("1.1.0", &other[..good.len()], &good));
    let before = rig.flash();
    let answer = rig.post("/api/v1/firmware/update", OCTETS, b"");
    assert_eq!((answer.status, &*answer.reason), (521, "Failed To Upgrade Firmware"));
    assert!(answer.text().contains("another project"), "{}", answer.text());
    assert!(rig.flash() == before);
}

#[test]
fn rollback_goes_back_or_says_that_it_cannot() {
    let rig = Rig::new();
    let (status, text) = post(&rig, "firmware/rollback");
    assert_eq!(status, 409);
    assert!(text.starts_with("No Other Firmware To Roll Back To"), "{text}");
    rig.upload(&image("1.1.0"));
    rig.booted();
    assert_eq!(post(&rig, "firmware/rollback"), (200, "OK".into()));
    assert_eq!(rig.booted(), ("1.0.0".into(), Slot::Ota(0)));
}

#[test]
fn accept_is_harmless_when_nothing_is_on_trial() {
    assert_eq!(post(&Rig::new(), "firmware/accept"), (200, "OK".into()));
}

#[test]
fn factory_reset_blanks_boot_selection() {
    let rig = Rig::new();
    rig.upload(&image("1.1.0"));
    rig.booted();
    assert_eq!(post(&rig, "factory-reset"), (200, "OK".into()));
    assert_eq!(rig.booted(), ("1.0.0".into(), Slot::Ota(0)));
}

#[test]
fn restart_restarts() {
    let rig = Rig::new();
    assert_eq!(post(&rig, "restart"), (200, "OK".into()));
    assert_eq!(rig.booted(), ("1.0.0".into(), Slot::Ota(0)));
}

#[test]
fn a_body_where_none_belongs_is_refused() {
    let rig = Rig::new();
    assert_eq!(rig.post("/api/v1/restart", JSON, b"{}").status, 400);
}

#[test]
fn unknown_paths_and_methods() {
    let rig = Rig::new();
    for path in ["/x", "/api", "/api/v1", "/api/v1/", "/api/v2/firmware", "/firmware", "//", "*"] {
        assert_eq!(rig.get(path).status, 404, "{path}");
    }
    assert_eq!(rig.get("/api/v1/firmware?x=1").status, 200, "a query is ignored");
    for (path, allow) in [("/api/v1/restart", "POST"), ("/api/v1/firmware/upload", "POST")] {
        let answer = rig.get(path);
        assert_eq!((answer.status, answer.header("allow")), (405, Some(allow)));
    }
    for (path, allow) in [("/", "GET"), ("/api/v1/firmware", "GET")] {
        let answer = rig.post(path, JSON, b"{}");
        assert_eq!((answer.status, answer.header("allow")), (405, Some(allow)));
    }
}

#[test]
fn the_policy_of_the_page_names_its_style_and_script() {
    use sha2::Digest as _;
    let answer = Rig::new().get("/");
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("text/html; charset=utf-8"))
    );
    let policy = answer.header("content-security-policy").unwrap();
    for tag in ["style", "script"] {
        let (_, rest) = answer.text().split_once(&format!("<{tag}>")).unwrap();
        let (text, _) = rest.split_once(&format!("</{tag}>")).unwrap();
        let digest = base64::engine::general_purpose::STANDARD.encode(sha2::Sha256::digest(text));
        let wanted = format!("{tag}-src 'sha256-{digest}'");
        assert!(policy.contains(&wanted), "put this digest into page.rs: {wanted}");
    }
    assert!(policy.starts_with("default-src 'none'; "), "{policy}");
}

#[test]
fn the_page_shows_slots_and_lets_no_text_of_an_image_be_markup() {
    let running = app_image(Chip::Esp32c3, "<script>&\"", "1.0.0</li>", 1000);
    let rig = Rig::with(Setup { running, ..Setup::default() });
    let answer = rig.get("/");
    let page = answer.text();
    assert!(page.contains("&lt;script&gt;&amp;&quot; 1.0.0&lt;/li&gt;"), "{page}");
    assert!(page.contains("<strong>ota_1</strong>: <small>empty"), "{page}");
    assert_eq!(page.matches("<script>").count(), 1);
}
