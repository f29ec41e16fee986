//! A board as the page has it: messages and time in, messages out.

use super::session::{Reply, Session};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use std::time::Duration;
use towline_app::improv::Parser;
use towline_descriptor::Chip;
use towline_sim::sample::{Table, app_image};

const NVS: u32 = 0x9000;
const MS: Duration = Duration::from_millis(1);

/// A page with its board, and what it received on the line.
struct Page {
    session: Session,
    now: Duration,
    line: Vec<u8>,
    texts: Vec<Value>,
}

impl Page {
    fn new(query: &str) -> Self {
        let session = Session::new(query).unwrap();
        Self { session, now: Duration::ZERO, line: Vec::new(), texts: Vec::new() }
    }

    /// Lets time go by as the front does, tick by tick.
    fn wait(&mut self, milliseconds: u32) {
        for _ in 0..milliseconds {
            self.now += MS;
            self.session.advance(self.now);
            self.collect();
        }
    }

    fn collect(&mut self) {
        for reply in self.session.replies() {
            match reply {
                Reply::Bytes(bytes) => self.line.extend(bytes),
                Reply::Text(text) => self.texts.push(serde_json::from_str(&text).unwrap()),
            }
        }
    }

    fn ask(&mut self, message: Value) -> Value {
        let mut message = message;
        message["id"] = 7.into();
        self.session.take_text(&message.to_string());
        self.collect();
        let at = self.texts.iter().rposition(|answer| answer["id"] == 7).expect("an answer");
        self.texts.remove(at)
    }

    fn send(&mut self, bytes: &[u8]) {
        self.session.take_bytes(bytes);
        self.collect();
    }

    fn printed(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned()
    }

    fn burn(&mut self, offset: u32, bytes: &[u8]) {
        let answer = self.ask(json!({ "write": [offset, BASE64_STANDARD.encode(bytes)] }));
        assert_eq!(answer["ok"], true);
    }

    fn state(&mut self) -> Value {
        self.ask(json!({ "state": true }))["state"].clone()
    }

    /// Returns the packets of Improv on the line: type and data.
    fn packets(&mut self) -> Vec<(u8, Vec<u8>)> {
        let mut parser = Parser::new();
        let mut found = Vec::new();
        for byte in std::mem::take(&mut self.line) {
            parser.push(byte);
            while let Some(packet) = parser.packet() {
                found.push((packet.kind, packet.data.to_vec()));
            }
        }
        found
    }
}

/// Returns a page whose board has an app in its flash, and an open port.
fn flashed(query: &str) -> Page {
    let mut page = Page::new(query);
    let table = Table { slots: 2, slot_size: 0x10_0000, factory: false };
    let mut nvs = vec![0xAA, 0x50, 1, 2];
    nvs.extend(NVS.to_le_bytes());
    nvs.extend(0x4000_u32.to_le_bytes());
    nvs.resize(32, 0);
    page.burn(0, &[0xE9, 1, 2, 3]);
    page.burn(0x8000, &[nvs, table.to_bytes()].concat());
    page.burn(table.offset(0), &app_image(Chip::Esp32c3, "lamp", "1.2.0", 9000));
    assert_eq!(page.ask(json!({ "open": 115_200 }))["ok"], true);
    page
}

fn rpc(command: u8, texts: &[&str]) -> Vec<u8> {
    let data: Vec<u8> =
        texts.iter().flat_map(|text| [&[text.len() as u8], text.as_bytes()].concat()).collect();
    let mut packet = b"IMPROV\x01\x03".to_vec();
    packet.extend([data.len() as u8 + 2, command, data.len() as u8]);
    packet.extend(data);
    let sum = packet.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    packet.extend([sum, b'\n']);
    packet
}

fn sync() -> Vec<u8> {
    let mut frame = vec![0xC0, 0, 8, 36, 0, 0, 0, 0, 0, 7, 7, 0x12, 0x20];
    frame.extend([0x55; 32]);
    frame.push(0xC0);
    frame
}

#[test]
fn a_query_makes_its_board_and_nothing_else_does() {
    for query in [
        "",
        "chip=esp32s3&flash=16MB&psram=8MB&wiring=usb&paced=1&held=1",
        "chip=esp32&secure_download=1&secure_boot=1&encrypted=1",
    ] {
        assert!(Session::new(query).is_ok(), "{query}");
    }
    for query in [
        "chip=esp8266",
        "chip=esp32p4",
        "flash=3MB",
        "flash=0",
        "flash=64MB",
        "flash=4",
        "flash=99999999MB",
        "paced=yes",
        "wiring=jtag",
        "colour=red",
        "chip",
    ] {
        assert!(Session::new(query).is_err(), "{query}");
    }
}

#[test]
fn a_message_that_is_none_is_answered_with_an_error() {
    let mut page = Page::new("");
    for text in
        ["", "{}", "[]", "{\"close\":false}", "{\"faults\":{\"gremlins\":true}}", "{\"id\":1}"]
    {
        page.session.take_text(text);
        page.collect();
        assert!(page.texts.pop().unwrap()["error"].is_string(), "{text}");
    }
    assert!(page.ask(json!({ "read": [0x40_0000, 1] }))["error"].is_string());
    assert!(page.ask(json!({ "write": [0, "not base64"] }))["error"].is_string());
    assert_eq!(page.ask(json!({ "read": [0, 3] }))["flash"], "////");
}

#[test]
fn a_chip_is_driven_into_its_loader_and_answers_at_once() {
    let mut page = Page::new("chip=esp32c3");
    page.wait(50);
    assert_eq!(page.printed(), "", "a closed port hears nothing");
    page.ask(json!({ "open": 115_200 }));
    page.ask(json!({ "signals": { "dtr": false, "rts": true } }));
    assert_eq!(page.state(), "reset");
    page.wait(100);
    page.ask(json!({ "signals": { "dtr": true, "rts": false } }));
    page.wait(50);
    page.ask(json!({ "signals": { "dtr": false, "rts": false } }));
    assert!(page.printed().ends_with("waiting for download\r\n"));
    page.send(&sync());
    assert_eq!(page.line.iter().filter(|byte| **byte == 0xC0).count(), 16);
    assert_eq!(page.state(), "rom");
}

#[test]
fn paced_bytes_take_their_time_both_ways() {
    let mut page = Page::new("held=1&paced=1");
    page.wait(50);
    page.ask(json!({ "open": 9600 }));
    page.send(&sync());
    // 46 bytes there, and 8 answers of 14 bytes back.
    let there = 46 * 10 * 1000 / 9600;
    page.wait(there);
    assert!(page.line.is_empty());
    page.wait(8 * 14 * 10 * 1000 / 9600 / 2);
    assert!((40..80).contains(&page.line.len()), "{}", page.line.len());
    page.wait(8 * 14 * 10 * 1000 / 9600 / 2 + 3);
    assert_eq!(page.line.len(), 8 * 14);
}

#[test]
fn a_busy_port_and_a_pulled_cable_do_not_open() {
    let mut page = Page::new("");
    page.ask(json!({ "faults": { "busy": true } }));
    assert_eq!(page.ask(json!({ "open": 115_200 }))["error"], "busy");
    page.ask(json!({ "faults": {} }));
    assert_eq!(page.ask(json!({ "open": 115_200 }))["ok"], true);
    page.ask(json!({ "plug": false }));
    assert_eq!(page.texts.pop().unwrap(), json!({ "unplugged": true }));
    assert_eq!(page.ask(json!({ "open": 115_200 }))["error"], "unplugged");
    page.ask(json!({ "plug": true }));
    assert_eq!(page.ask(json!({ "open": 115_200 }))["ok"], true);
}

#[test]
fn a_cable_that_is_pulled_half_way_is_told_once() {
    let mut page = Page::new("held=1");
    page.wait(50);
    page.ask(json!({ "open": 115_200 }));
    page.ask(json!({ "faults": { "unplugged_after": 60 } }));
    page.send(&sync());
    assert!(page.texts.is_empty());
    page.send(&sync());
    page.wait(20);
    assert_eq!(page.texts, [json!({ "unplugged": true })]);
    // Mended faults leave the cable where it is.
    page.ask(json!({ "faults": {} }));
    assert_eq!(page.ask(json!({ "open": 115_200 }))["error"], "unplugged");
}

#[test]
fn an_app_prints_a_log_of_each_level_with_what_its_descriptor_says() {
    let mut page = flashed("");
    page.wait(600);
    let log = page.printed();
    for part in [
        "\x1b[0;32mI (118) boot: Loaded app from partition at offset 0x10000\x1b[0m\r\n",
        "Project name:     lamp",
        "App version:      1.2.0",
        "\x1b[0;33mW (",
        "\x1b[0;31mE (",
        "\r\nD (",
        "\r\nV (",
    ] {
        assert!(log.contains(part), "{part:?} in {log}");
    }
    assert_eq!(page.state(), "firmware");
}

#[test]
fn flash_without_a_sound_app_says_that_nothing_boots() {
    let mut page = flashed("");
    page.burn(0x1_0800, &[0; 16]);
    page.wait(600);
    let log = page.printed();
    assert!(log.contains("No bootable app") && !log.contains("Project name"), "{log}");
}

#[test]
fn improv_finds_networks_refuses_a_wrong_password_and_leads_to_the_page() {
    let mut page = flashed("");
    page.wait(600);
    page.printed();

    page.send(&rpc(2, &[]));
    assert_eq!(page.packets(), [(1, vec![2])], "it is ready");
    page.send(&rpc(3, &[]));
    let info = page.packets();
    assert!(info[0].1.windows(4).any(|word| word == b"lamp"), "{info:?}");
    assert!(info[0].1.windows(8).any(|word| word == b"ESP32-C3"), "{info:?}");

    page.send(&rpc(4, &[]));
    page.wait(700);
    let networks = page.packets();
    assert_eq!(networks.len(), 5, "four, and the end");
    assert!(networks.iter().any(|(_, data)| data.ends_with(b"\x02NO")));

    page.send(&rpc(1, &["Towline", "wrong"]));
    assert_eq!(page.packets(), [(1, vec![3])], "it tries");
    page.wait(1100);
    assert_eq!(page.packets(), [(2, vec![3]), (1, vec![2])]);

    page.send(&rpc(1, &["Towline", "right"]));
    assert_eq!(page.packets(), [(2, vec![0]), (1, vec![3])]);
    page.wait(900);
    assert_eq!(page.packets(), [], "it takes a second");
    page.wait(200);
    let packets = page.packets();
    assert_eq!(packets[0], (1, vec![4]));
    let url = String::from_utf8(packets[1].1[3..].to_vec()).unwrap();
    let address = url.strip_prefix("http://").unwrap().strip_suffix('/').unwrap();
    let mut device = std::net::TcpStream::connect(address).unwrap();
    let request = format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    std::io::Write::write_all(&mut device, request.as_bytes()).unwrap();
    let shown = std::io::read_to_string(device).unwrap();
    assert!(shown.starts_with("HTTP/1.1 200 OK"), "{shown}");

    // It knows the network after a reset, until its settings are erased.
    page.ask(json!({ "reset": true }));
    page.wait(600);
    page.send(&rpc(2, &[]));
    assert_eq!(page.packets()[0], (1, vec![4]));
    page.burn(NVS, &[0xFF; 64]);
    page.ask(json!({ "reset": true }));
    page.wait(600);
    page.send(&rpc(2, &[]));
    assert_eq!(page.packets()[0], (1, vec![2]));
}
