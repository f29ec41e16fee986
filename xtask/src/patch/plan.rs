//! Which patches a site is to have.
//!
//! ```text
//! release that a channel serves <- releases that its devices may run -> Wanted
//!                               <- nothing: the image compressed    -> Wanted
//! ```

use crate::{
    channel::Channels,
    config::Config,
    name::{ChannelName, TargetName},
    release::{Artifact, Record},
    site::below,
};
use std::collections::BTreeMap;
use towline_descriptor::{MAX_PATCHES, Sha256, Version};

/// A patch that a site is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted<'r> {
    /// The target.
    pub target: &'r TargetName,
    /// The release that it starts from; `None` for an image compressed.
    pub from: Option<&'r Record>,
    /// The release that it leads to.
    pub to: &'r Record,
}

impl<'r> Wanted<'r> {
    /// Returns the image that it starts from, if it needs one.
    pub fn old_image(&self) -> Option<&'r Artifact> {
        self.from.map(|from| &from.targets[self.target].app)
    }

    /// Returns the image that it leads to.
    pub fn new_image(&self) -> &'r Artifact {
        &self.to.targets[self.target].app
    }

    /// Returns the SHA-256 of what it starts from, and of what it leads to.
    pub fn images(&self) -> (Sha256, Sha256) {
        (self.old_image().map_or(Sha256::OF_NOTHING, |old| old.sha256), self.new_image().sha256)
    }
}

/// Returns the releases from which devices of a target that follow `channel` get
/// patches to `version`, those first that are wanted most: what towline.toml names,
/// then the newest before it.
///
/// Devices go over other releases on their way from those below `min_from`. A yanked
/// release counts: whoever runs it is to be led away from it.
pub fn bases<'r>(
    config: &Config,
    channels: &Channels,
    channel: &ChannelName,
    target: &TargetName,
    (version, min_from): (&Version, Option<&Version>),
    releases: &'r [Record],
) -> Vec<&'r Record> {
    let patches = &config.patches;
    let goes_there = |release: &&Record| {
        release.targets.contains_key(target)
            && release.version.precedence(version).is_lt()
            && min_from.is_none_or(|min_from| release.version.precedence(min_from).is_ge())
    };
    let is_named = |release: &&Record| {
        patches.also.iter().any(|also| also.precedence(&release.version).is_eq())
    };
    let named = releases.iter().rev().filter(is_named).filter(goes_there);
    let newest = below(channels, channel, target, version, releases);
    let newest = newest.into_iter().rev().filter(goes_there).take(patches.from);
    let room = MAX_PATCHES - usize::from(patches.compressed);
    named.chain(newest.filter(|release| !is_named(release))).take(room).collect()
}

/// Returns the patches to what a channel serves to a target, those first that are
/// wanted most: the image compressed is for all devices.
pub fn to_served<'r>(
    config: &Config,
    channels: &Channels,
    channel: &ChannelName,
    target: &'r TargetName,
    to: &'r Record,
    releases: &'r [Record],
) -> Vec<Wanted<'r>> {
    let goal = (&to.version, to.min_from.as_ref());
    let bases = bases(config, channels, channel, target, goal, releases).into_iter().map(Some);
    let compressed = config.patches.compressed.then_some(None);
    compressed.into_iter().chain(bases).map(|from| Wanted { target, from, to }).collect()
}

/// Returns the patches to all that channels serve, each once.
pub fn wanted<'r>(config: &Config, channels: &Channels, releases: &'r [Record]) -> Vec<Wanted<'r>> {
    let mut each_once = BTreeMap::new();
    for channel in config.channels.keys() {
        for (target, to) in crate::site::served_targets(channel, channels, releases) {
            let wanted = to_served(config, channels, channel, target, to, releases);
            each_once.extend(wanted.into_iter().map(|wanted| (wanted.images(), wanted)));
        }
    }
    each_once.into_values().collect()
}

/// Returns the versions that towline.toml names and that were never released.
pub fn unknown<'c>(config: &'c Config, releases: &[Record]) -> Vec<&'c Version> {
    let is_known = |version: &&Version| {
        releases.iter().any(|release| release.version.precedence(version).is_eq())
    };
    config.patches.also.iter().filter(|version| !is_known(version)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::tests::record;
    use std::path::Path;

    /// Returns from which releases the newest of these is patched on a channel.
    fn found(options: &str, channels: &str, channel: &str, versions: &[&str]) -> String {
        let text = format!(
            "project = \"lamp\"\nbase-url = \"https://example.org/\"\n[patches]\n{options}\n[targets.esp32c3]\nbuild.prebuilt = \"a.bin\"\n"
        );
        let config = Config::parse(Path::new("towline.toml"), &text).unwrap();
        let channels = Channels::parse(Path::new("channels.toml"), channels, &config).unwrap();
        let releases: Vec<_> = versions.iter().map(|v| record(v, &["esp32c3"])).collect();
        let (channel, target) = (channel.parse().unwrap(), "esp32c3".parse().unwrap());
        let to = channels.serves(&channel, &target, &releases).unwrap();
        let wanted = to_served(&config, &channels, &channel, &target, to, &releases);
        let from =
            wanted.iter().map(|wanted| wanted.from.map_or("nothing", |r| r.version.as_str()));
        from.collect::<Vec<_>>().join(" ")
    }

    const VERSIONS: [&str; 8] =
        ["1.0.0", "1.1.0", "1.2.0", "1.3.0", "1.4.0-rc.1", "1.4.0", "1.5.0", "1.6.0"];

    #[test]
    fn the_last_releases_of_a_channel_are_patched() {
        assert_eq!(found("", "", "stable", &VERSIONS), "nothing 1.5.0 1.4.0 1.3.0 1.2.0 1.1.0");
        assert_eq!(found("from = 3", "", "testing", &VERSIONS), "nothing 1.5.0 1.4.0 1.4.0-rc.1");
        assert_eq!(found("from = 1\ncompressed = false", "", "stable", &VERSIONS), "1.5.0");
        assert_eq!(found("", "", "stable", &["1.0.0"]), "nothing");
        assert_eq!(found("from = 0\ncompressed = false", "", "stable", &VERSIONS), "");
    }

    #[test]
    fn releases_that_are_named_come_before_the_newest() {
        let also = "from = 2\nalso = [\"1.4.0-rc.1\", \"v1.0.0\", \"1.5.0\", \"2.0.0\"]";
        assert_eq!(found(also, "", "stable", &VERSIONS), "nothing 1.5.0 1.4.0-rc.1 1.0.0 1.4.0");
    }

    #[test]
    fn a_descriptor_has_room_for_no_more() {
        let all = "from = 100";
        let many: Vec<_> = (0..20).map(|minor| format!("1.{minor}.0")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        assert_eq!(found(all, "", "stable", &many).split(' ').count(), MAX_PATCHES);
    }

    #[test]
    fn yanked_releases_are_left_and_pinned_ones_reached_by_patches() {
        let yanked = "[yanked]\n\"1.5.0\" = \"it smokes\"";
        assert_eq!(found("from = 1", yanked, "stable", &VERSIONS), "nothing 1.5.0");
        let pinned = "[channels.stable]\npin = \"1.2.0\"";
        assert_eq!(found("", pinned, "stable", &VERSIONS), "nothing 1.1.0 1.0.0");
    }

    #[test]
    fn devices_that_go_over_another_release_get_no_patch() {
        let config = "project = \"lamp\"\nbase-url = \"https://example.org/\"\n[targets.esp32c3]\nbuild.prebuilt = \"a.bin\"\n";
        let config = Config::parse(Path::new("towline.toml"), config).unwrap();
        let channels = Channels::parse(Path::new("channels.toml"), "", &config).unwrap();
        let releases: Vec<_> = VERSIONS.map(|version| record(version, &["esp32c3"])).into();
        let (stable, target) = ("stable".parse().unwrap(), "esp32c3".parse().unwrap());
        let min_from = "1.3.0".parse().unwrap();
        let goal = (&releases[7].version, Some(&min_from));
        let bases = bases(&config, &channels, &stable, &target, goal, &releases);
        let versions: Vec<_> = bases.iter().map(|release| release.version.as_str()).collect();
        assert_eq!(versions, ["1.5.0", "1.4.0", "1.3.0"]);
    }

    #[test]
    fn what_two_channels_serve_is_patched_once() {
        let config = "project = \"lamp\"\nbase-url = \"https://example.org/\"\n[patches]\nalso = [\"0.9.0\"]\n[targets.esp32c3]\nbuild.prebuilt = \"a.bin\"\n";
        let config = Config::parse(Path::new("towline.toml"), config).unwrap();
        let channels = Channels::parse(Path::new("channels.toml"), "", &config).unwrap();
        let mut releases: Vec<_> = ["1.0.0", "1.1.0"].map(|v| record(v, &["esp32c3"])).into();
        releases[1].targets[0].app.sha256 = Sha256([9; 32]);
        assert_eq!(wanted(&config, &channels, &releases).len(), 2);
        assert_eq!(unknown(&config, &releases)[0].as_str(), "0.9.0");
    }
}
