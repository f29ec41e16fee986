//! The way up for devices that are too old for the release that is offered.
//!
//! ```text
//! offered 3.0.0 (from 2.0.0) <- 2.4.0 (from 1.5.0) <- 1.9.0 (from any)
//!                               steps[0]              steps[1]
//! ```

use crate::{
    channel::{Channels, Rule},
    name::{ChannelName, TargetName},
    release::Record,
};
use towline_descriptor::{Version, policy::MAX_STEPS};

/// How devices of a target come to the offered release.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Way<'r> {
    /// Intermediate releases, the newest first. Each takes versions that the
    /// one before it does not.
    pub(super) steps: Vec<&'r Record>,
    /// Versions below all of them: their devices find no way.
    pub(super) left_behind: Vec<&'r Version>,
}

/// Finds the way to `offered` through `releases`.
///
/// Each step is the newest release that has the target, was not yanked, may
/// follow on the step before it, and takes versions from further below. One
/// that is a prerelease counts only where devices get prereleases anyway.
pub(super) fn way<'r>(
    channels: &Channels,
    channel: &ChannelName,
    target: &TargetName,
    offered: &Record,
    releases: &'r [Record],
) -> Way<'r> {
    let Some(mut lowest) = offered.min_from.as_ref() else { return Way::default() };
    let below = below(channels, channel, target, &offered.version, releases);
    let mut steps = Vec::new();
    while steps.len() < MAX_STEPS {
        let leads_on = |release: &&&Record| {
            let goes_deeper = |min_from: &Version| min_from.precedence(lowest).is_lt();
            release.version.precedence(lowest).is_ge()
                && release.min_from.as_ref().is_none_or(goes_deeper)
                && channels.yank_reason(&release.version).is_none()
        };
        let newest = below.iter().filter(leads_on).max_by(|a, b| a.version.precedence(&b.version));
        let Some(step) = newest.copied() else { break };
        steps.push(step);
        match &step.min_from {
            None => return Way { steps, left_behind: Vec::new() },
            Some(min_from) => lowest = min_from,
        }
    }
    // Whoever runs a yanked release is to be led away from it too.
    let too_old = below.iter().filter(|release| release.version.precedence(lowest).is_lt());
    let mut left_behind: Vec<_> = too_old.map(|release| &release.version).collect();
    left_behind.sort_by(|a, b| a.precedence(b));
    Way { steps, left_behind }
}

/// Returns the releases below `offered` that devices of a target may run which follow
/// the channel, lowest version first: prereleases only where they get them anyway.
pub(crate) fn below<'r>(
    channels: &Channels,
    channel: &ChannelName,
    target: &TargetName,
    offered: &Version,
    releases: &'r [Record],
) -> Vec<&'r Record> {
    let follows_prereleases =
        matches!(channels.rules.get(channel), Some(Rule::Follow { prereleases: true, .. }));
    let with_prereleases = follows_prereleases || offered.is_prerelease();
    releases
        .iter()
        .filter(|release| release.targets.contains_key(target))
        .filter(|release| release.version.precedence(offered).is_lt())
        .filter(|release| with_prereleases || !release.version.is_prerelease())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{channel::tests::parse, release::tests::record};

    /// Makes releases, each with the lowest version that it takes.
    fn releases(list: &[(&str, Option<&str>)]) -> Vec<Record> {
        let release = |(version, min_from): &(&str, Option<&str>)| {
            let mut record = record(version, &["esp32c3"]);
            record.min_from = min_from.map(|text| text.parse().unwrap());
            record
        };
        list.iter().map(release).collect()
    }

    /// Returns the versions of the steps to the last of these releases, and of
    /// those that are left behind.
    fn found(channels: &str, channel: &str, list: &[(&str, Option<&str>)]) -> (String, String) {
        let releases = releases(list);
        let offered = releases.last().unwrap();
        let (channel, target) = (channel.parse().unwrap(), "esp32c3".parse().unwrap());
        let way = way(&parse(channels).unwrap(), &channel, &target, offered, &releases);
        let text = |versions: Vec<&Version>| {
            versions.iter().map(|version| version.as_str()).collect::<Vec<_>>().join(" ")
        };
        (text(way.steps.iter().map(|step| &step.version).collect()), text(way.left_behind))
    }

    fn pair(steps: &str, left_behind: &str) -> (String, String) {
        (steps.into(), left_behind.into())
    }

    #[test]
    fn a_release_that_takes_all_needs_no_steps() {
        let list = [("1.0.0", None), ("2.0.0", None)];
        assert_eq!(found("", "stable", &list), pair("", ""));
    }

    #[test]
    fn a_step_is_for_those_too_whose_release_is_not_known_here() {
        let list = [("1.0.0", None), ("2.0.0", Some("1.0.0"))];
        assert_eq!(found("", "stable", &list), pair("1.0.0", ""));
    }

    #[test]
    fn the_newest_release_that_takes_older_ones_is_the_step() {
        let list = [
            ("1.0.0", None),
            ("2.0.0", None),
            ("2.1.0", None),
            ("2.2.0", Some("2.0.0")),
            ("3.0.0", Some("2.0.0")),
        ];
        assert_eq!(found("", "stable", &list), pair("2.1.0", ""));
        let yanked = "[yanked]\n\"2.1.0\" = \"bad\"\n";
        assert_eq!(found(yanked, "stable", &list), pair("2.0.0", ""));
    }

    #[test]
    fn steps_lead_on_from_one_to_the_next() {
        let list =
            [("0.9.0", None), ("1.0.0", None), ("2.0.0", Some("1.0.0")), ("3.0.0", Some("2.0.0"))];
        assert_eq!(found("", "stable", &list), pair("2.0.0 1.0.0", ""));
    }

    #[test]
    fn a_way_of_more_than_three_steps_is_none() {
        let list = [
            ("0.9.0", None),
            ("1.0.0", None),
            ("2.0.0", Some("1.0.0")),
            ("3.0.0", Some("2.0.0")),
            ("4.0.0", Some("3.0.0")),
            ("5.0.0", Some("4.0.0")),
        ];
        assert_eq!(found("", "stable", &list), pair("4.0.0 3.0.0 2.0.0", "0.9.0"));
    }

    #[test]
    fn who_finds_no_way_is_named() {
        let list = [("1.0.0", None), ("1.1.0", None), ("3.0.0", Some("2.0.0"))];
        assert_eq!(found("", "stable", &list), pair("", "1.0.0 1.1.0"));
        let yanked = "[yanked]\n\"1.1.0\" = \"bad\"\n";
        assert_eq!(found(yanked, "stable", &list), pair("", "1.0.0 1.1.0"));
    }

    #[test]
    fn prereleases_are_steps_only_where_they_are_served() {
        let list = [("1.0.0", None), ("2.0.0-rc.1", None), ("3.0.0", Some("2.0.0-rc.1"))];
        assert_eq!(found("", "stable", &list), pair("", "1.0.0"));
        assert_eq!(found("", "testing", &list), pair("2.0.0-rc.1", ""));
        let list = [("1.0.0", None), ("2.0.0-rc.1", None), ("3.0.0-rc.1", Some("2.0.0-rc.1"))];
        let pinned = "[channels.stable]\npin = \"3.0.0-rc.1\"\n";
        assert_eq!(found(pinned, "stable", &list), pair("2.0.0-rc.1", ""));
    }

    #[test]
    fn a_release_without_the_target_is_no_step() {
        let mut releases = releases(&[("1.0.0", None), ("2.0.0", None), ("3.0.0", Some("2.0.0"))]);
        releases[1].targets.clear();
        let channels = parse("").unwrap();
        let (stable, target) = ("stable".parse().unwrap(), "esp32c3".parse().unwrap());
        let way = way(&channels, &stable, &target, &releases[2], &releases);
        assert!(way.steps.is_empty());
        assert_eq!(way.left_behind, [&releases[0].version]);
    }
}
