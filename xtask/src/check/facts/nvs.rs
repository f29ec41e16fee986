//! Wi-Fi credentials in the settings of a board that was read out: ESP-IDF's NVS, as
//! its guide "Non-Volatile Storage Library" lays it out in flash.
//!
//! ```text
//! page     header 32 | states of the entries 32 | 126 entries of 32
//! header   state 4 | sequence number 4 | version 1 | unused 19 | crc of bytes 4 to 28
//! entry    namespace 1 | type 1 | span 1 | chunk 1 | crc of the others 4 | key 16 | data 8
//! data     of a text or blob: size 2 | unused 2 | crc of the value 4; it is in the next entries
//! ```
//!
//! The states are not looked at: what is erased keeps its bytes until its page is.

use crc::{Algorithm, Crc};
use std::collections::BTreeSet;

const PAGE: usize = 4096;
const ENTRY: usize = 32;
/// Bytes of a page before its entries.
const HEAD: usize = 64;

/// States of a page that is in use: active, full, and being emptied.
const USED: [u32; 3] = [0xFFFF_FFFE, 0xFFFF_FFFC, 0xFFFF_FFF8];

const U8: u8 = 0x01;
/// Text, blob, and part of a blob.
const VALUES: [u8; 3] = [0x21, 0x41, 0x42];

/// Where the Wi-Fi driver keeps what the station connects to.
const NAMESPACE: &[u8] = b"nvs.net80211";

/// `crc32_le(UINT32_MAX, …)` of the ROM: zlib's polynomial, started at 0.
const CHECKSUM: Crc<u32> = Crc::<u32>::new(&Algorithm { init: 0, ..crc::CRC_32_ISO_HDLC });

/// An entry, with what is behind it on its page.
struct Entry<'a> {
    /// Where it is in the file.
    at: usize,
    head: &'a [u8],
    value: &'a [u8],
}

impl Entry<'_> {
    fn key(&self) -> &[u8] {
        let key = &self.head[8..24];
        key.split(|byte| *byte == 0).next().unwrap_or(key)
    }

    /// Returns its text or blob if it is whole.
    fn value(&self) -> Option<&[u8]> {
        let size = u16::from_le_bytes([self.head[24], self.head[25]]);
        let value = self.value.get(..size.into()).filter(|_| VALUES.contains(&self.head[1]))?;
        (CHECKSUM.checksum(value) == word(self.head, 28)).then_some(value)
    }

    /// Returns whether a network or its password has been set.
    fn is_set(&self) -> bool {
        let first = match (self.key(), self.value()) {
            // Behind its length.
            (b"sta.ssid", Some(ssid)) => ssid.get(4),
            (b"sta.pswd", Some(password)) => password.first(),
            _ => None,
        };
        first.is_some_and(|byte| !matches!(byte, 0 | 0xFF))
    }
}

/// Finds where a file holds the credentials of a Wi-Fi network, and what of them.
pub(in crate::check) fn wifi(bytes: &[u8]) -> Option<(usize, &'static str)> {
    let entries: Vec<_> = entries(bytes).collect();
    let is_named = |entry: &&Entry<'_>| entry.head[..2] == [0, U8] && entry.key() == NAMESPACE;
    let spaces: BTreeSet<u8> = entries.iter().filter(is_named).map(|e| e.head[24]).collect();
    let mut set = entries.iter().filter(|e| spaces.contains(&e.head[0]) && e.is_set());
    let first = set.next()?;
    let has_password = first.key() == b"sta.pswd" || set.any(|entry| entry.key() == b"sta.pswd");
    Some((first.at, if has_password { "the password" } else { "the name" }))
}

/// Returns the entries of all pages that are one by their crc.
fn entries(bytes: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    let pages = bytes.chunks_exact(PAGE).enumerate().filter(|(_, page)| is_page(page));
    pages.flat_map(|(number, page)| {
        let heads = page.chunks_exact(ENTRY).enumerate().skip(HEAD / ENTRY);
        let heads = heads.filter(|(_, head)| {
            let mut digest = CHECKSUM.digest();
            digest.update(&head[..4]);
            digest.update(&head[8..]);
            digest.finalize() == word(head, 4)
        });
        heads.map(move |(at, head)| {
            let at = at * ENTRY;
            Entry { at: number * PAGE + at, head, value: &page[at + ENTRY..] }
        })
    })
}

fn is_page(page: &[u8]) -> bool {
    USED.contains(&word(page, 0)) && CHECKSUM.checksum(&page[4..28]) == word(page, 28)
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |word| u32::from_le_bytes(*word))
}
