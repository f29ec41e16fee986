//! Bytes on a serial line, amid which Improv packets may be: the same ones are
//! found however the bytes are split, and each can be read as a command.
#![no_main]

use libfuzzer_sys::fuzz_target;
use towline_app::improv::Parser;

/// Returns the packets in `bytes`, which come in pieces that long.
fn packets(bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut parser = Parser::new();
    let mut found = Vec::new();
    for byte in bytes {
        parser.push(*byte);
        while let Some(packet) = parser.packet() {
            if let Some(Ok(command)) = packet.command() {
                let _ = command.id();
            }
            found.push((packet.kind, packet.data.to_vec()));
        }
    }
    found
}

fuzz_target!(|data: &[u8]| {
    let found = packets(data);
    // What was found is there, in this order, rubbish before it or not.
    let mut rest = data;
    for (kind, content) in &found {
        let needle = [b"IMPROV".as_slice(), &[1, *kind, content.len() as u8], content].concat();
        let at = rest.windows(needle.len()).position(|part| part == needle);
        rest = &rest[at.expect("a packet that is not there") + needle.len()..];
    }
    // Log output in front changes nothing.
    assert_eq!(packets(&[b"INFO - wifi: IMPRO\n", data].concat()), found);
});
