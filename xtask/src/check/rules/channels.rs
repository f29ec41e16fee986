//! In which order channels are.

use semver::Version;

/// The channel for all.
const STABLE: &str = "stable";

/// Channels for those who want to be ahead.
const AHEAD: [&str; 9] =
    ["testing", "beta", "rc", "alpha", "nightly", "dev", "edge", "bleeding-edge", "canary"];

/// Returns whether a folder of this name is a channel for certain.
pub(super) fn is_channel(name: &str) -> bool {
    name == STABLE || AHEAD.contains(&name)
}

/// Returns whether a channel that is meant to be ahead of the stable one is behind it.
/// Of other channels, and of versions that say nothing of their order, nobody knows.
pub(in crate::check) fn is_behind(
    (channel, version): (&str, &str),
    (other, stable): (&str, &str),
) -> bool {
    if other != STABLE || !AHEAD.contains(&channel) {
        return false;
    }
    let parse = |text: &str| Version::parse(text.strip_prefix('v').unwrap_or(text)).ok();
    let (Some(version), Some(stable)) = (parse(version), parse(stable)) else { return false };
    let core = |version: &Version| (version.major, version.minor, version.patch);
    // What `git describe` makes of commits after a release counts as before it.
    let is_before = ["alpha", "beta", "rc"].iter().any(|s| version.pre.starts_with(s));
    core(&version) < core(&stable) || is_before && version < stable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_behind_where_versions_say_so_for_certain() {
        for (channel, version, stable, expected) in [
            ("testing", "1.0.0", "1.1.0", true),
            ("testing", "v1.0.0", "1.1.0", true),
            ("beta", "1.1.0-rc.2", "1.1.0", true),
            ("beta", "1.1.0-rc.2", "1.1.0-rc.1", false),
            ("testing", "1.1.0", "1.1.0", false),
            ("nightly", "1.1.0-5-g0123abc", "1.1.0", false),
            ("nightly", "2026.1", "2026.2", false),
            ("classic", "1.0.0", "1.1.0", false),
        ] {
            let behind = is_behind((channel, version), (STABLE, stable));
            assert_eq!(behind, expected, "{channel} {version} {stable}");
        }
        assert!(!is_behind((STABLE, "1.0.0"), ("testing", "1.1.0")));
    }
}
