//! Ids of devices, as people write them.

use std::str::FromStr;
use towline::place::device_hash;
use towline_descriptor::DeviceHash;

/// The id of a device: its MAC address, or what its firmware says instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceId(Vec<u8>);

/// The text is no id of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a device id is a MAC address such as 84:f7:03:00:00:01, or 1 to 255 bytes of other text without a colon"
)]
pub struct InvalidDeviceId;

impl DeviceId {
    /// Returns the id as lists of the devices of a project have it.
    pub fn hash(&self, project: &str) -> DeviceHash {
        device_hash(project, &self.0)
    }
}

impl FromStr for DeviceId {
    type Err = InvalidDeviceId;

    fn from_str(text: &str) -> Result<Self, InvalidDeviceId> {
        match mac(text) {
            Some(mac) => Ok(Self(mac.into())),
            // With a colon it is a MAC address that was not typed well.
            None if (1..=255).contains(&text.len()) && !text.contains(':') => Ok(Self(text.into())),
            None => Err(InvalidDeviceId),
        }
    }
}

/// Reads a MAC address: twelve hexadecimal digits, which may be parted by
/// colons or dashes.
fn mac(text: &str) -> Option<[u8; 6]> {
    let digits: String = match text.len() {
        12 => text.into(),
        17 => {
            let separator = text.chars().nth(2).filter(|c| matches!(c, ':' | '-'))?;
            let pairs: Vec<_> = text.split(separator).collect();
            (pairs.len() == 6 && pairs.iter().all(|pair| pair.len() == 2))
                .then(|| pairs.concat())?
        }
        _ => return None,
    };
    if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let number = u64::from_str_radix(&digits, 16).ok()?;
    let mut mac = [0; 6];
    mac.copy_from_slice(&number.to_be_bytes()[2..]);
    Some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(text: &str) -> Option<String> {
        Some(text.parse::<DeviceId>().ok()?.hash("lamp").to_string())
    }

    #[test]
    fn a_mac_address_is_the_same_however_it_is_written() {
        let expected = hash("84:f7:03:0a:00:01").unwrap();
        for text in ["84:F7:03:0A:00:01", "84-f7-03-0a-00-01", "84f7030a0001"] {
            assert_eq!(hash(text).unwrap(), expected, "{text}");
        }
        for text in ["84:f7-03:0a:00:01", "84:f7:03:0a:00", "zz:zz", "84:f7:03:0a:00:01:02"] {
            assert_eq!(hash(text), None, "{text}");
        }
    }

    #[test]
    fn other_ids_are_their_bytes() {
        assert_eq!(hash("a").unwrap(), "a6469053e35c0514");
        assert_eq!((hash(""), hash(&"x".repeat(256))), (None, None));
    }
}
