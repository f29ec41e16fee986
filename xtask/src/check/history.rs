//! The releases of a site one after the other, and its channels beside each other.

use super::{Code, Finding, rules::channels::is_behind};
use crate::site::{Index, IndexRelease, ServedTarget};

/// Finds what goes backwards from release to release, and from channel to channel.
pub(super) fn check(index: &Index) -> Vec<Finding> {
    let mut found = falls(index);
    found.extend(behind(index));
    found
}

/// Finds what a channel serves and boards with an older release refuse, as it counts as
/// rolled back. What none serves misleads nobody.
fn falls(index: &Index) -> Vec<Finding> {
    let mut found = Vec::new();
    for served in index.channels.iter().flat_map(|channel| &channel.targets) {
        let of = |release: &IndexRelease| {
            release.targets.iter().find(|t| t.target == served.target).map(|t| t.secure_version)
        };
        let release = index.releases.iter().find(|release| release.version == served.version);
        let Some(now) = release.and_then(of) else { continue };
        let is_older = |release: &&IndexRelease| {
            release.yanked.is_none() && release.version.precedence(&served.version).is_lt()
        };
        let older = index.releases.iter().filter(is_older);
        let highest = older.filter_map(|release| Some((of(release)?, &release.version)));
        if let Some((then, older)) = highest.max_by_key(|(secure, _)| *secure)
            && then > now
        {
            let version = &served.version;
            let message =
                format!("serves {version} with secure_version {now}, release {older} has {then}");
            found.push(Code::SecureVersionFalls.of(&served.descriptor, message));
        }
    }
    found
}

/// Finds channels for those who want to be ahead that are not.
fn behind(index: &Index) -> Vec<Finding> {
    // What is no release is another fault.
    let is_known = |served: &ServedTarget| {
        index.releases.iter().any(|release| release.version == served.version)
    };
    let all = || {
        index.channels.iter().flat_map(|channel| channel.targets.iter().map(move |t| (channel, t)))
    };
    let served = || all().filter(|(_, served)| is_known(served));
    let mut found = Vec::new();
    for (channel, target) in served() {
        let version = target.version.as_str();
        for (other, theirs) in served().filter(|(_, theirs)| theirs.target == target.target) {
            let stable = theirs.version.as_str();
            if is_behind((channel.name.as_str(), version), (other.name.as_str(), stable)) {
                let message = format!("serves {version}, and {} already {stable}", other.name);
                found.push(Code::ChannelOrder.of(&target.descriptor, message));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// Returns the index of a site with these releases, each with its anti-rollback
    /// version, the highest first; and what its channels serve.
    fn index(releases: &[(&str, u32)], served: &[(&str, &str)]) -> Index {
        let releases = releases.iter().map(|(version, secure)| {
            let target = json!({
                "target": "esp32c3", "chip": "esp32c3", "chip_family": "ESP32-C3",
                "flash_size": 4_194_304, "psram": null, "slot_size": 1_000_000,
                "secure_version": secure, "parts": [], "factory": null,
                "app": { "path": format!("{version}.bin"), "size": 1, "sha256": "0".repeat(64) },
            });
            json!({
                "version": version, "prerelease": false, "yanked": null, "released": "2026-11-22",
                "notes": null, "min_from": null, "commit": null, "targets": [target],
            })
        });
        let channels = served.iter().map(|(channel, version)| {
            let descriptor = format!("ota/{channel}/esp32c3.json");
            let target = json!({
                "target": "esp32c3", "version": version, "descriptor": descriptor,
            });
            json!({ "name": channel, "description": null, "manifest": "", "targets": [target] })
        });
        let index = json!({
            "fmt": 1, "project": "lamp", "title": "Lamp", "base_url": "https://example.org/",
            "channels": channels.collect::<Vec<_>>(), "releases": releases.collect::<Value>(),
            "files": {},
        });
        serde_json::from_value(index).unwrap()
    }

    fn told(index: &Index) -> Vec<String> {
        check(index).iter().map(|finding| format!("{}[{}]", finding.code, finding)).collect()
    }

    #[test]
    fn anti_rollback_versions_never_fall() {
        assert_eq!(told(&index(&[("1.2.0", 1), ("1.1.0", 1), ("1.0.0", 0)], &[])), [""; 0]);
        let falling = [("1.3.0", 1), ("1.2.0", 0), ("1.1.0", 1), ("1.0.0", 0)];
        assert_eq!(
            told(&index(&falling, &[("stable", "1.2.0")])),
            [
                "secure-version-falls[ota/stable/esp32c3.json: serves 1.2.0 with secure_version 0, release 1.1.0 has 1]"
            ]
        );
        // A mended release of before is above one that no channel serves any more.
        assert_eq!(told(&index(&falling, &[("stable", "1.3.0")])), [""; 0]);
    }

    #[test]
    fn a_channel_that_is_behind_the_stable_one_is_told() {
        let releases = [("1.2.0-rc.1", 0), ("1.1.0", 0), ("1.1.0-rc.1", 0)];
        let serving = |testing| index(&releases, &[("stable", "1.1.0"), ("testing", testing)]);
        for sound in ["1.1.0", "1.2.0-rc.1"] {
            assert_eq!(told(&serving(sound)), [""; 0]);
        }
        assert_eq!(
            told(&serving("1.1.0-rc.1")),
            [
                "channel-order[ota/testing/esp32c3.json: serves 1.1.0-rc.1, and stable already 1.1.0]"
            ]
        );
    }
}
