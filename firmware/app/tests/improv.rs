//! Improv as a client sees it: the packets are compared with those that
//! `improv-wifi-serial-sdk` 2.8.1 writes and reads.

use embassy_futures::block_on;
use proptest::prelude::*;
use towline_app::improv::{
    BadHostname, CannotConnect, Command, CommandError, DeviceInfo, Error, Frame, MAX_NETWORKS,
    Network, Parser, Provision, Results, Service, State, Text, is_hostname,
};

/// A packet as the client writes it.
fn packet(kind: u8, data: &[u8]) -> Vec<u8> {
    let mut packet = b"IMPROV\x01".to_vec();
    packet.extend([kind, u8::try_from(data.len()).unwrap()]);
    packet.extend(data);
    let sum = packet.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    packet.extend([sum, b'\n']);
    packet
}

fn rpc(command: u8, data: &[u8]) -> Vec<u8> {
    let mut rpc = vec![command, u8::try_from(data.len()).unwrap()];
    rpc.extend(data);
    packet(3, &rpc)
}

fn text(text: &str) -> Vec<u8> {
    [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
}

/// Returns all packets in a stream: type and data.
fn packets(stream: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut parser = Parser::new();
    let mut found = Vec::new();
    for byte in stream {
        parser.push(*byte);
        while let Some(packet) = parser.packet() {
            found.push((packet.kind, packet.data.to_vec()));
        }
    }
    found
}

fn command(stream: &[u8]) -> Vec<Result<String, CommandError>> {
    let mut parser = Parser::new();
    let mut found = Vec::new();
    for byte in stream {
        parser.push(*byte);
        while let Some(packet) = parser.packet() {
            found.extend(packet.command().map(|result| result.map(|c| format!("{c:?}"))));
        }
    }
    found
}

#[test]
fn the_packet_of_the_published_example_is_read() {
    // `requestCurrentState()` of the client, byte by byte.
    let bytes = [0x49, 0x4D, 0x50, 0x52, 0x4F, 0x56, 0x01, 0x03, 0x02, 0x02, 0x00, 0xE5, 0x0A];
    assert_eq!(rpc(2, &[]), bytes);
    assert_eq!(command(&bytes), [Ok("CurrentState".into())]);
}

#[test]
fn every_command_is_read() {
    let settings = [text("home"), text("secret")].concat();
    for (bytes, expected) in [
        (rpc(1, &settings), "WifiSettings { ssid: \"home\", password: \"secret\" }"),
        (rpc(2, &[]), "CurrentState"),
        (rpc(3, &[]), "DeviceInfo"),
        (rpc(4, &[]), "Networks"),
        (rpc(5, &[]), "Hostname(None)"),
        (rpc(5, b"lamp"), "Hostname(Some(\"lamp\"))"),
        (rpc(6, &[]), "DeviceName(None)"),
        (rpc(6, "Küche".as_bytes()), "DeviceName(Some(\"Küche\"))"),
        (rpc(7, &[]), "NetworkState"),
    ] {
        assert_eq!(command(&bytes), [Ok(expected.to_owned())]);
    }
}

#[test]
fn malformed_commands_are_told_apart_from_unknown_ones() {
    let invalid = [
        packet(3, &[]),
        packet(3, &[2]),
        packet(3, &[2, 1]),
        packet(3, &[2, 0, 0]),
        rpc(2, &[0]),
        rpc(1, &[]),
        rpc(1, &[4, b'h']),
        rpc(1, &text("home")),
        rpc(1, &[0, 0]),
        rpc(1, &[1, 0xFF, 0]),
        rpc(5, &[0xC3]),
    ];
    for bytes in invalid {
        assert_eq!(command(&bytes), [Err(CommandError::Invalid)], "{bytes:x?}");
    }
    assert_eq!(command(&rpc(99, &[])), [Err(CommandError::Unknown)]);
}

#[test]
fn a_packet_is_found_among_log_output_and_in_broken_packets() {
    let wanted = rpc(3, &[]);
    let found = [(3, vec![3, 0])];
    let mut damaged = wanted.clone();
    damaged[9] ^= 1;
    for before in [
        b"I (312) boot: IMPROVED\r\n".to_vec(),
        b"IMPROV".to_vec(),
        b"IMPIMPRO".to_vec(),
        b"IMPROV\x02".to_vec(),
        wanted[..10].to_vec(),
        damaged,
    ] {
        let stream = [&before[..], &wanted].concat();
        // A packet that was cut short swallows what follows up to its length.
        let stream = [stream, wanted.clone()].concat();
        let packets = packets(&stream);
        assert!(packets.ends_with(&found), "{before:x?}: {packets:x?}");
    }
}

#[test]
fn a_long_false_start_does_not_lose_the_packets_within() {
    let mut stream = b"IMPROV\x01\x03\xFF".to_vec();
    for _ in 0..30 {
        stream.extend(rpc(3, &[]));
    }
    assert_eq!(packets(&stream).len(), 30);
}

#[test]
fn longest_texts_are_cut_between_characters() {
    let long = "ü".repeat(200);
    let frame = Results::of(3).with("ab").with(&long).with("lost").frame();
    let packets = packets(frame.as_bytes());
    let [(4, data)] = &packets[..] else { panic!("{packets:?}") };
    assert_eq!((data.len(), data[1], data[5]), (255, 253, 248));
    assert_eq!(std::str::from_utf8(&data[6..254]).unwrap(), "ü".repeat(124));
    assert_eq!(data[254], 0, "the text that found no room is empty");
}

/// A device without a radio.
struct Bench {
    connected: bool,
    hostname: Text,
    name: Text,
}

fn short(name: &str) -> Text {
    Text::try_from(name).unwrap()
}

impl Provision for Bench {
    fn info(&self) -> DeviceInfo<'_> {
        DeviceInfo { firmware: "lamp", version: "1.2.0", chip: "ESP32-C3" }
    }

    fn is_connected(&self) -> bool {
        self.connected
    }

    fn url(&self) -> Option<Text> {
        self.connected.then(|| short("http://192.0.2.7/"))
    }

    async fn connect(&mut self, ssid: &str, password: &str) -> Result<(), CannotConnect> {
        self.connected = (ssid, password) == ("home", "secret");
        if self.connected { Ok(()) } else { Err(CannotConnect) }
    }

    async fn scan(&mut self) -> heapless::Vec<Network, MAX_NETWORKS> {
        let network = |ssid: &str, rssi, secured| Network {
            ssid: heapless::String::try_from(ssid).unwrap(),
            rssi,
            secured,
        };
        [network("home", -48, true), network("café", -128, false)].into_iter().collect()
    }

    fn hostname(&self) -> Text {
        self.hostname.clone()
    }

    async fn set_hostname(&mut self, name: &str) -> Result<(), BadHostname> {
        self.hostname = Text::try_from(name).map_err(|_| BadHostname)?;
        Ok(())
    }

    fn name(&self) -> Text {
        self.name.clone()
    }

    async fn set_name(&mut self, name: &str) -> Result<(), BadHostname> {
        self.name = Text::try_from(name).map_err(|_| BadHostname)?;
        Ok(())
    }
}

fn service() -> Service<Bench> {
    Service::new(Bench { connected: false, hostname: short("lamp"), name: short("Lamp") })
}

/// Sends bytes and returns the answers.
fn ask(service: &mut Service<Bench>, bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut line = Vec::new();
    block_on(service.receive(bytes, &mut line)).unwrap();
    packets(&line)
}

fn result(command: u8, texts: &[&str]) -> (u8, Vec<u8>) {
    let texts = texts.iter().flat_map(|t| text(t)).collect::<Vec<_>>();
    (4, [&[command, u8::try_from(texts.len()).unwrap()], &texts[..]].concat())
}

fn state(state: u8) -> (u8, Vec<u8>) {
    (1, vec![state])
}

fn error(error: u8) -> (u8, Vec<u8>) {
    (2, vec![error])
}

#[test]
fn wifi_is_set_and_the_url_of_the_device_comes_back() {
    let mut service = service();
    assert_eq!(ask(&mut service, &rpc(2, &[])), [state(2)]);
    let settings = [text("home"), text("secret")].concat();
    let url = "http://192.0.2.7/";
    assert_eq!(ask(&mut service, &rpc(1, &settings)), [state(3), state(4), result(1, &[url])]);
    assert_eq!(ask(&mut service, &rpc(2, &[])), [state(4), result(2, &[url])]);
    assert_eq!(ask(&mut service, &rpc(7, &[])), [result(7, &["3", url])]);
}

#[test]
fn a_wrong_password_is_an_error_that_the_next_command_clears() {
    let mut service = service();
    let settings = [text("home"), text("wrong")].concat();
    assert_eq!(ask(&mut service, &rpc(1, &settings)), [state(3), error(3), state(2)]);
    assert_eq!(ask(&mut service, &rpc(7, &[])), [error(0), result(7, &["2"])]);
    assert_eq!(ask(&mut service, &rpc(7, &[])), [result(7, &["2"])]);
}

#[test]
fn a_scan_ends_with_an_empty_result() {
    let expected =
        [result(4, &["home", "-48", "YES"]), result(4, &["café", "-128", "NO"]), result(4, &[])];
    assert_eq!(ask(&mut service(), &rpc(4, &[])), expected);
}

#[test]
fn names_are_told_and_changed() {
    let mut service = service();
    assert_eq!(
        ask(&mut service, &rpc(3, &[])),
        [result(3, &["lamp", "1.2.0", "ESP32-C3", "Lamp"])]
    );
    assert_eq!(ask(&mut service, &rpc(5, &[])), [result(5, &["lamp"])]);
    assert_eq!(ask(&mut service, &rpc(5, b"desk-2")), [result(5, &["desk-2"])]);
    assert_eq!(ask(&mut service, &rpc(5, b"a b")), [error(5)]);
    assert_eq!(ask(&mut service, &rpc(6, b"My desk")), [error(0), result(6, &["My desk"])]);
}

#[test]
fn malformed_and_unknown_commands_are_answered_with_their_error() {
    let mut service = service();
    assert_eq!(ask(&mut service, &rpc(2, &[7])), [error(1)]);
    assert_eq!(ask(&mut service, &rpc(99, &[])), [error(2)]);
}

#[test]
fn packets_of_devices_are_not_answered() {
    let mut service = service();
    for kind in [0, 1, 2, 4, 5, 255] {
        assert_eq!(ask(&mut service, &packet(kind, &[2, 0])), []);
    }
}

#[test]
fn answers_stand_on_lines_of_their_own() {
    // The client looks for packets at the start of lines only.
    let frame = Frame::state(State::Ready);
    assert_eq!(frame.as_bytes(), [b"\n", &packet(1, &[2])[..]].concat());
    assert_eq!(Frame::error(Error::Unknown).as_bytes()[1..], packet(2, &[255]));
}

#[test]
fn names_of_hosts_follow_rfc_1123() {
    for name in ["a", "lamp-2", "2lamp", &"a".repeat(63)] {
        assert!(is_hostname(name), "{name}");
    }
    for name in ["", "-a", "a-", "a.b", "a b", "ä", "a_b", &"a".repeat(64)] {
        assert!(!is_hostname(name), "{name}");
    }
}

fn rubbish() -> impl Strategy<Value = Vec<u8>> {
    // Bytes of the magic are frequent, so that false starts are tried.
    let byte = prop_oneof![any::<u8>(), proptest::sample::select(b"IMPROV\x01\x03\n".to_vec())];
    proptest::collection::vec(byte, 0..400)
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in rubbish()) {
        let mut line = Vec::new();
        block_on(service().receive(&bytes, &mut line)).unwrap();
        for (_, data) in packets(&bytes) {
            prop_assert!(data.len() <= 255);
        }
    }

    #[test]
    fn it_does_not_matter_where_a_stream_is_split(
        pieces in proptest::collection::vec(
            prop_oneof![rubbish(), Just(rpc(3, &[])), Just(rpc(5, b"lamp"))], 0..6),
        cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..6),
    ) {
        let stream = pieces.concat();
        let whole = ask(&mut service(), &stream);
        let mut at: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        at.extend([0, stream.len()]);
        at.sort_unstable();
        let mut split = service();
        let answers: Vec<_> =
            at.windows(2).flat_map(|cut| ask(&mut split, &stream[cut[0]..cut[1]])).collect();
        prop_assert_eq!(answers, whole);
    }

    #[test]
    fn what_is_written_is_read_back(
        kind in any::<u8>(), data in proptest::collection::vec(any::<u8>(), 0..=255),
    ) {
        prop_assert_eq!(packets(&packet(kind, &data)), [(kind, data)]);
    }
}

/// The commands as the client numbers them.
#[test]
fn commands_have_the_numbers_of_the_client() {
    let numbers = [
        Command::WifiSettings { ssid: "", password: "" },
        Command::CurrentState,
        Command::DeviceInfo,
        Command::Networks,
        Command::Hostname(None),
        Command::DeviceName(None),
        Command::NetworkState,
    ];
    assert_eq!(numbers.map(|command| command.id()), [1, 2, 3, 4, 5, 6, 7]);
}
