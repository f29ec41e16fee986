//! `channels.toml`: which release each channel serves.
//!
//! A channel follows releases by a rule or is pinned to one. Which release a
//! target's devices are offered is a pure function of the rule and the
//! records, so promoting never builds anything. A channel also has [`Terms`] on
//! which it offers whatever release it serves.

mod device;
mod edit;
mod terms;
pub mod words;

pub use device::{DeviceId, InvalidDeviceId};
pub use edit::{Edit, EditError, PolicyChange};
pub(crate) use terms::unix_seconds;
pub use terms::{Policy, Terms, moment_text, window};

use crate::{
    config::{Config, ConfigError},
    name::{ChannelName, TargetName},
    release::Record,
};
use indexmap::IndexMap;
use semver::VersionReq;
use serde::Deserialize;
use std::{collections::BTreeMap, fmt, ops::Range, path::Path, sync::LazyLock};
use terms::{Fault, RawPolicy, RawRollout};
use toml::Spanned;
use towline_descriptor::Version;

/// Name of the file.
pub const FILE: &str = "channels.toml";

/// The state of all channels of a project.
#[derive(Clone, Debug)]
pub struct Channels {
    /// Rules, in the order of towline.toml.
    pub rules: IndexMap<ChannelName, Rule>,
    /// Terms of the channels that have some.
    terms: IndexMap<ChannelName, Terms>,
    /// Releases that no channel serves, with the reason.
    pub yanked: BTreeMap<String, String>,
}

/// How a channel chooses its release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The newest release that matches.
    Follow {
        /// Versions that match.
        requirement: VersionReq,
        /// Whether prereleases match too.
        prereleases: bool,
    },
    /// This release and no other.
    Pin(Version),
}

impl Rule {
    /// Returns the rule of a channel that the file does not name: `stable`
    /// follows releases, `testing` follows everything.
    fn default_of(channel: &ChannelName) -> Option<Self> {
        let follow = |prereleases| Self::Follow { requirement: VersionReq::STAR, prereleases };
        match channel.as_str() {
            "stable" => Some(follow(false)),
            "testing" => Some(follow(true)),
            _ => None,
        }
    }

    /// Returns whether the channel may serve `version`.
    pub fn matches(&self, version: &Version) -> bool {
        match self {
            Self::Pin(pinned) => pinned.precedence(version).is_eq(),
            Self::Follow { prereleases: false, .. } if version.is_prerelease() => false,
            Self::Follow { requirement, .. } => {
                let Ok(mut version) = semver::Version::parse(version.without_v()) else {
                    return false;
                };
                // A requirement like ^1.2 speaks of releases: a prerelease
                // belongs where the release will be.
                let whole = requirement.matches(&version);
                version.pre = semver::Prerelease::EMPTY;
                whole || requirement.matches(&version)
            }
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pin(version) => write!(f, "pinned to {version}"),
            Self::Follow { requirement, prereleases } => {
                write!(f, "follows {requirement}")?;
                f.write_str(if *prereleases { " with prereleases" } else { "" })
            }
        }
    }
}

impl Channels {
    /// Returns the release that `channel` offers to devices of `target`.
    ///
    /// A target that newer releases have dropped stays on the last one that
    /// had it.
    pub fn serves<'r>(
        &self,
        channel: &ChannelName,
        target: &TargetName,
        releases: &'r [Record],
    ) -> Option<&'r Record> {
        releases
            .iter()
            .filter(|release| release.targets.contains_key(target))
            .filter(|release| self.takes(channel, &release.version))
            .max_by(|a, b| a.version.precedence(&b.version))
    }

    /// Returns whether `channel` may serve the release of this version.
    pub fn takes(&self, channel: &ChannelName, version: &Version) -> bool {
        self.rules.get(channel).is_some_and(|rule| rule.matches(version))
            && !self.is_yanked(version)
    }

    /// Returns the terms on which `channel` offers whatever it serves.
    pub fn terms(&self, channel: &ChannelName) -> &Terms {
        static NONE: LazyLock<Terms> = LazyLock::new(Terms::default);
        self.terms.get(channel).unwrap_or(&NONE)
    }

    /// Replaces the terms of a channel.
    #[must_use]
    pub fn on_terms(mut self, channel: &ChannelName, terms: Terms) -> Self {
        self.terms.insert(channel.clone(), terms);
        self
    }

    /// Returns a channel that is pinned to a release that it cannot serve, with
    /// the reason: its devices would find nothing.
    pub fn stranded(&self, releases: &[Record]) -> Option<(&ChannelName, String)> {
        self.rules.iter().find_map(|(channel, rule)| {
            let Rule::Pin(version) = rule else { return None };
            let exists = releases.iter().any(|r| r.version.precedence(version).is_eq());
            let reason = match self.yank_reason(version) {
                _ if !exists => format!("there is no release {version}"),
                Some(reason) => format!("release {version} was yanked: {reason}"),
                None => return None,
            };
            Some((channel, reason))
        })
    }

    /// Returns the reason why a release was yanked, if it was.
    pub fn yank_reason(&self, version: &Version) -> Option<&str> {
        let same = |text: &str| Version::parse(text).is_ok_and(|v| v.precedence(version).is_eq());
        self.yanked.iter().find(|(text, _)| same(text)).map(|(_, reason)| reason.as_str())
    }

    fn is_yanked(&self, version: &Version) -> bool {
        self.yank_reason(version).is_some()
    }

    /// Reads the state of the channels that `config` names; a file that is not
    /// there is an empty one.
    ///
    /// # Errors
    /// [`ConfigError`], pointing at the fault.
    pub fn read(path: &Path, config: &Config) -> Result<Self, ConfigError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => {
                return Err(ConfigError::at(path, "", None, format!("cannot be read: {error}")));
            }
        };
        Self::parse(path, &text, config)
    }

    /// Parses `text`, the content of `path`.
    ///
    /// # Errors
    /// [`ConfigError`], pointing at the fault.
    pub fn parse(path: &Path, text: &str, config: &Config) -> Result<Self, ConfigError> {
        let raw: Raw =
            toml::from_str(text).map_err(|error| ConfigError::toml(path, text, &error))?;
        let fault =
            |span: Option<Range<usize>>, message| ConfigError::at(path, text, span, message);
        if let Some(unknown) =
            raw.channels.keys().find(|c| !config.channels.contains_key(c.get_ref()))
        {
            let message = format!(
                "channel `{}` is not in towline.toml; add [channels.{0}] there",
                unknown.get_ref()
            );
            return Err(fault(Some(unknown.span()), message));
        }
        let mut channels: IndexMap<ChannelName, RawRule> =
            raw.channels.into_iter().map(|(name, rule)| (name.into_inner(), rule)).collect();
        let mut rules = IndexMap::new();
        let mut terms = IndexMap::new();
        for name in config.channels.keys() {
            let raw = channels.swap_remove(name).unwrap_or_default();
            let (rule, of_channel) =
                raw.check().map_err(|(span, message)| fault(Some(span), message))?;
            let Some(rule) = rule.or_else(|| Rule::default_of(name)) else {
                let message = format!(
                    "channel `{name}` of towline.toml has no rule; run `cargo xtask follow {name}`"
                );
                return Err(fault(None, message));
            };
            rules.insert(name.clone(), rule);
            terms.insert(name.clone(), of_channel);
        }
        let mut yanked = BTreeMap::new();
        for (version, reason) in raw.yanked {
            if let Err(error) = Version::parse(version.get_ref()) {
                return Err(fault(Some(version.span()), error.to_string()));
            }
            yanked.insert(version.into_inner(), reason);
        }
        Ok(Self { rules, terms, yanked })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "the state of channels")]
struct Raw {
    #[serde(default)]
    channels: IndexMap<Spanned<ChannelName>, RawRule>,
    #[serde(default)]
    yanked: IndexMap<Spanned<String>, String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    follow: Option<VersionReq>,
    prereleases: Option<Spanned<bool>>,
    pin: Option<Spanned<Version>>,
    rollout: Option<RawRollout>,
    policy: Option<RawPolicy>,
}

impl RawRule {
    /// Returns the rule, if there is one, and the terms.
    fn check(self) -> Result<(Option<Rule>, Terms), Fault> {
        let rule = match (self.pin, self.follow, self.prereleases) {
            (None, None, None) => None,
            (Some(version), None, None) => Some(Rule::Pin(version.into_inner())),
            (Some(version), ..) => {
                return Err((version.span(), "a channel is pinned or follows, not both".into()));
            }
            (None, requirement, prereleases) => Some(Rule::Follow {
                requirement: requirement.unwrap_or(VersionReq::STAR),
                prereleases: prereleases.is_some_and(Spanned::into_inner),
            }),
        };
        let rollout = self.rollout.unwrap_or_default().check()?;
        let policy = self.policy.unwrap_or_default().check()?;
        Ok((rule, Terms { rollout, policy }))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::release::tests::record;

    fn config(channels: &str) -> Config {
        let text = format!(
            "project = \"lamp\"\nbase-url = \"https://example.org/\"\n{channels}[targets.esp32c3]\nbuild.prebuilt = \"a.bin\"\n"
        );
        Config::parse(Path::new("towline.toml"), &text).unwrap()
    }

    /// Parses a channels.toml of a project with the channels of old.
    pub(crate) fn parse(text: &str) -> Result<Channels, String> {
        Channels::parse(Path::new("channels.toml"), text, &config("")).map_err(|e| e.to_string())
    }

    fn serves(text: &str, channel: &str) -> Option<String> {
        let releases: Vec<_> =
            ["0.9.0", "1.0.0", "1.1.0", "2.0.0-rc.1"].map(|v| record(v, &["esp32c3"])).into();
        let channels = parse(text).unwrap();
        let release =
            channels.serves(&channel.parse().unwrap(), &"esp32c3".parse().unwrap(), &releases);
        release.map(|release| release.version.to_string())
    }

    #[test]
    fn without_a_file_stable_has_releases_and_testing_everything() {
        assert_eq!(serves("", "stable").unwrap(), "1.1.0");
        assert_eq!(serves("", "testing").unwrap(), "2.0.0-rc.1");
    }

    #[test]
    fn rules_choose_the_newest_that_matches() {
        assert_eq!(serves("[channels.stable]\nfollow = \"<1.1\"", "stable").unwrap(), "1.0.0");
        assert_eq!(
            serves("[channels.stable]\nfollow = \"^1\"\nprereleases = true", "stable").unwrap(),
            "1.1.0"
        );
        assert_eq!(
            serves("[channels.stable]\nfollow = \"^2\"\nprereleases = true", "stable").unwrap(),
            "2.0.0-rc.1"
        );
        assert_eq!(serves("[channels.stable]\npin = \"0.9.0\"", "stable").unwrap(), "0.9.0");
        assert_eq!(serves("[channels.stable]\npin = \"3.0.0\"", "stable"), None);
    }

    #[test]
    fn a_yanked_release_is_served_nowhere() {
        let text = "[yanked]\n\"1.1.0\" = \"bad\"";
        assert_eq!(serves(text, "stable").unwrap(), "1.0.0");
        let pinned = format!("{text}\n[channels.stable]\npin = \"1.1.0\"");
        assert_eq!(serves(&pinned, "stable"), None);
    }

    #[test]
    fn a_dropped_target_stays_on_its_last_release() {
        let releases = [record("1.0.0", &["esp32c3", "esp32c6"]), record("1.1.0", &["esp32c3"])];
        let channels = parse("").unwrap();
        let serves = |target: &str| {
            let release =
                channels.serves(&"stable".parse().unwrap(), &target.parse().unwrap(), &releases);
            release.unwrap().version.to_string()
        };
        assert_eq!((serves("esp32c6").as_str(), serves("esp32c3").as_str()), ("1.0.0", "1.1.0"));
    }

    #[test]
    fn errors_point_at_the_fault() {
        for (text, expected) in [
            ("[channels.beta]\n", "channels.toml:1:11: channel `beta` is not in towline.toml"),
            (
                "[channels.stable]\npin = \"1.0.0\"\nfollow = \"*\"",
                "channels.toml:2:7: a channel is pinned or follows",
            ),
            ("[channels.stable]\npin = \"1.0\"", "channels.toml:2:7: not a semantic version"),
            ("[channels.stable]\nfollow = \"x y\"", "channels.toml:2:10: "),
            ("[yanked]\n\"1\" = \"x\"", "channels.toml:2:1: not a semantic version"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(expected), "{error}\nexpected: {expected}");
        }
        let error = Channels::parse(Path::new("c"), "", &config("[channels.beta]\n")).unwrap_err();
        assert!(error.to_string().contains("cargo xtask follow beta"), "{error}");
    }
}
