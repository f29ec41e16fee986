//! A device's place in the order in which the devices of a project get a
//! release.
//!
//! ```text
//! place = SHA-256(len(id) id project 0x00 version)[..4] * 10000 / 2^32
//!
//! 0          2500                                            10000
//! |-- 25 % --|  no device that is in at 25 % is out at 26 %
//! ```
//!
//! The place depends on the release, so that it is not always the same devices
//! that come first. The publisher draws with the same functions.

use crate::descriptor::{DeviceHash, policy::Share};
use sha2::{Digest, Sha256};

/// Most bytes of a device id that count.
const LONGEST_ID: usize = 255;

/// Returns the place of a device for one release: 0 to 9999.
pub fn place(id: &[u8], project: &str, version: &str) -> u16 {
    let id = &id[..id.len().min(LONGEST_ID)];
    let digest = Sha256::new()
        .chain_update([id.len() as u8])
        .chain_update(id)
        .chain_update(project)
        .chain_update([0])
        .chain_update(version)
        .finalize();
    let random = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
    ((u64::from(random) * 10_000) >> 32) as u16
}

/// Returns whether a device is among the first `share` of all. One without an
/// id has no place, and is among them only when all are.
pub fn in_rollout(id: &[u8], project: &str, version: &str, share: Share) -> bool {
    share.is_all() || (!id.is_empty() && place(id, project, version) < share.hundredths())
}

/// Returns the id of a device as lists of devices name it.
pub fn device_hash(project: &str, id: &[u8]) -> DeviceHash {
    let digest = Sha256::new().chain_update(project).chain_update([0]).chain_update(id).finalize();
    let mut hash = [0; 8];
    hash.copy_from_slice(&digest[..8]);
    DeviceHash(hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    const DEVICES: u32 = 100_000;

    /// The MAC addresses of one maker, as they are sold.
    fn ids() -> impl Iterator<Item = [u8; 6]> {
        (0..DEVICES).map(|index| {
            let [_, a, b, c] = index.to_be_bytes();
            [0x84, 0xF7, 0x03, a, b, c]
        })
    }

    /// Returns how far counts are from equal ones.
    fn chi_squared(counts: &[u32]) -> f64 {
        let expected = f64::from(DEVICES) / counts.len() as f64;
        counts.iter().map(|count| (f64::from(*count) - expected).powi(2) / expected).sum()
    }

    #[test]
    fn places_are_spread_evenly() {
        for version in ["1.0.0", "1.0.1", "2.0.0-rc.1"] {
            let mut counts = [0; 100];
            ids().for_each(|id| counts[usize::from(place(&id, "lamp", version)) / 100] += 1);
            // 99 degrees of freedom: more is chance once in 10,000 times, and
            // so is less, which would be a suspicious regularity.
            let chi_squared = chi_squared(&counts);
            assert!((54.0..158.0).contains(&chi_squared), "{version}: {chi_squared}");
        }
    }

    #[test]
    fn who_comes_first_in_one_release_does_not_in_the_next() {
        for [a, b] in [["1.0.0", "1.0.1"], ["1.1.0-rc.1", "1.1.0"]] {
            let mut counts = [0; 100];
            ids().for_each(|id| {
                let [a, b] = [a, b].map(|v| usize::from(place(&id, "lamp", v)) / 1000);
                counts[a * 10 + b] += 1;
            });
            let chi_squared = chi_squared(&counts);
            assert!((54.0..158.0).contains(&chi_squared), "{a} {b}: {chi_squared}");
        }
    }

    #[test]
    fn a_share_is_that_share_of_the_devices() {
        for hundredths in [1, 50, 1000, 2500, 9999] {
            let share = Share::from_hundredths(hundredths).unwrap();
            let count = ids().filter(|id| in_rollout(id, "lamp", "1.0.0", share)).count() as f64;
            let expected = f64::from(DEVICES) * f64::from(hundredths) / 10_000.0;
            let deviation = (expected * (1.0 - f64::from(hundredths) / 10_000.0)).sqrt();
            assert!((count - expected).abs() < 4.0 * deviation + 1.0, "{share}: {count}");
        }
        let count = |share| ids().filter(|id| in_rollout(id, "lamp", "1.0.0", share)).count();
        assert_eq!(count(Share::ALL), DEVICES as usize);
        assert_eq!(count(Share::from_hundredths(0).unwrap()), 0);
    }

    #[test]
    fn places_never_change() {
        let places: Vec<_> =
            [&b"\x84\xf7\x03\0\0\x01"[..], b"a", b""].map(|id| place(id, "lamp", "1.4.0")).into();
        assert_eq!(places, [2540, 7475, 1800]);
        assert_eq!(std::format!("{}", device_hash("lamp", b"a")), "a6469053e35c0514");
    }

    #[test]
    fn a_device_without_an_id_gets_what_all_get() {
        assert!(!in_rollout(b"", "lamp", "1.0.0", Share::from_hundredths(9999).unwrap()));
        assert!(in_rollout(b"", "lamp", "1.0.0", Share::ALL));
    }

    proptest! {
        #[test]
        fn raising_the_percentage_only_adds_devices(
            id in proptest::collection::vec(any::<u8>(), 1..300),
            version in "[0-9]\\.[0-9]\\.[0-9]",
            lower in 0..=10_000_u16,
            more in 0..=10_000_u16,
        ) {
            let share = |hundredths: u16| Share::from_hundredths(hundredths.min(10_000)).unwrap();
            if in_rollout(&id, "lamp", &version, share(lower)) {
                prop_assert!(in_rollout(&id, "lamp", &version, share(lower + more)));
            }
        }

        #[test]
        fn parts_are_not_taken_for_one_another(id in "[a-z]{2,8}", project in "[a-z]{2,8}") {
            let moved = std::format!("{}{project}", &id[id.len() - 1..]);
            let shorter = &id[..id.len() - 1];
            let places = |version| {
                (place(id.as_bytes(), &project, version), place(shorter.as_bytes(), &moved, version))
            };
            prop_assert!(["1.0.0", "1.0.1", "1.0.2"].map(places).iter().any(|(a, b)| a != b));
        }
    }
}
