//! Settings of a board as ESP-IDF writes them to flash, put together by its guide
//! "Non-Volatile Storage Library": <https://docs.espressif.com/projects/esp-idf/en/stable/esp32/api-reference/storage/nvs_flash.html>

use crc::{Algorithm, CRC_32_ISO_HDLC, Crc};

const CHECKSUM: Crc<u32> = Crc::<u32>::new(&Algorithm { init: 0, ..CRC_32_ISO_HDLC });

/// Returns a page, active and the first, with these blobs in a namespace. `state` is
/// that of their entries: 0b10 written, 0b00 erased.
pub(crate) fn page(namespace: &str, blobs: &[(&str, &[u8])], state: u8) -> Vec<u8> {
    let mut entries = entry([0, 0x01, 1, 0xFF], namespace, &[1]);
    for (key, blob) in blobs {
        let rows = blob.len().div_ceil(32);
        let mut data = vec![0xFF; 8];
        data[..2].copy_from_slice(&(blob.len() as u16).to_le_bytes());
        data[4..].copy_from_slice(&CHECKSUM.checksum(blob).to_le_bytes());
        entries.extend(entry([1, 0x42, rows as u8 + 1, 0], key, &data));
        entries.extend_from_slice(blob);
        entries.resize(entries.len().next_multiple_of(32), 0xFF);
        let mut index = vec![0xFF; 8];
        index[..4].copy_from_slice(&(blob.len() as u32).to_le_bytes());
        index[4..6].copy_from_slice(&[1, 0]);
        entries.extend(entry([1, 0x48, 1, 0xFF], key, &index));
    }
    let mut header = vec![0xFE, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0xFE];
    header.resize(28, 0xFF);
    let crc = CHECKSUM.checksum(&header[4..]);
    header.extend(crc.to_le_bytes());
    let mut states = [0xFF; 32];
    for at in 0..entries.len() / 32 {
        states[at / 4] &= !(0b11 << (at % 4 * 2)) | (state << (at % 4 * 2));
    }
    let mut page = [&header[..], &states, &entries].concat();
    page.resize(4096, 0xFF);
    page
}

fn entry(fields: [u8; 4], key: &str, data: &[u8]) -> Vec<u8> {
    let mut rest = key.as_bytes().to_vec();
    rest.resize(16, 0);
    rest.extend_from_slice(data);
    rest.resize(24, 0xFF);
    let crc = CHECKSUM.checksum(&[&fields[..], &rest].concat());
    [&fields[..], &crc.to_le_bytes(), &rest].concat()
}

/// Returns the settings of a board on this network, as its Wi-Fi driver keeps them: a
/// name behind its length, and a password.
pub(crate) fn of_network(ssid: &str, password: &str, state: u8) -> Vec<u8> {
    let mut name = (ssid.len() as u32).to_le_bytes().to_vec();
    name.extend_from_slice(ssid.as_bytes());
    name.resize(36, 0);
    let mut secret = password.as_bytes().to_vec();
    secret.resize(65, 0);
    page("nvs.net80211", &[("sta.ssid", &name), ("sta.pswd", &secret)], state)
}
