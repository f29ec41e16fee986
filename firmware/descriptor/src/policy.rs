//! Who gets a release, and when: the part of a descriptor that holds it back.

use crate::{
    Sha256, Version,
    document::{DocumentError, set},
    hex,
    json::{self, Value},
};
use core::{fmt, str::FromStr};

/// Most intermediate releases of a descriptor.
pub const MAX_STEPS: usize = 3;

/// Most groups that a release is kept to.
pub const MAX_GROUPS: usize = 8;

/// Most devices that a release is kept to.
pub const MAX_DEVICES: usize = 32;

/// The longest custom metadata in bytes of JSON.
pub const MAX_METADATA: usize = 512;

/// An intermediate release, for devices that are too old for the offered one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Step<'a> {
    /// Its version.
    pub version: Version,
    /// URL of its app image.
    pub path: &'a str,
    /// Size of the image in bytes.
    pub size: u32,
    /// SHA-256 of the whole image.
    pub sha256: Sha256,
    /// Anti-rollback version of the image.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub secure_version: Option<u32>,
    /// Lowest version that may go to this one.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub min_from: Option<Version>,
}

/// How far a release is rolled out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Rollout {
    /// The part of all devices that gets it.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Share::is_all"))]
    pub percent: Share,
    /// Whether nobody gets it for now.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "core::ops::Not::not"))]
    pub paused: bool,
}

/// A part of all devices, in hundredths of a percent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u16);

/// A percentage is a number from 0 to 100 with at most two decimals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidShare;

/// A part of the local day; it may cross midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Window {
    /// First minute, counted from midnight.
    pub start: u16,
    /// Last minute, included.
    pub end: u16,
}

/// How much a release matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "lowercase"))]
pub enum Priority {
    /// As any other.
    #[default]
    Normal,
    /// It does not wait for the daily window.
    Urgent,
}

/// The id of a device, hashed so that a list of them does not name them at
/// once. Who knows an id, or tries all, can still tell whether it is listed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceHash(pub [u8; 8]);

/// When and to whom a release goes, beyond its [`Rollout`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Policy<'a> {
    /// First second, since 1970, at which it may be installed.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub not_before: Option<u64>,
    /// Last second, since 1970, at which it may be installed.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub not_after: Option<u64>,
    /// Part of the day in which it may be installed.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub window: Option<Window>,
    /// Whether a user has to agree.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "core::ops::Not::not"))]
    pub approval: bool,
    /// How much it matters.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Priority::is_normal"))]
    pub priority: Priority,
    /// Groups that it is for; with `devices` empty too, it is for all.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "heapless::Vec::is_empty"))]
    pub groups: heapless::Vec<&'a str, MAX_GROUPS, u8>,
    /// Devices that it is for.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "heapless::Vec::is_empty"))]
    pub devices: heapless::Vec<DeviceHash, MAX_DEVICES, u8>,
    /// Whether devices that come from another channel may go down to it.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "core::ops::Not::not"))]
    pub downgrade: bool,
    /// A JSON object for the application, as text.
    #[cfg_attr(
        feature = "serde",
        serde(skip_serializing_if = "Option::is_none", serialize_with = "raw_json")
    )]
    pub metadata: Option<&'a str>,
}

impl Rollout {
    /// The rollout to all devices.
    pub const ALL: Self = Self { percent: Share::ALL, paused: false };
}

impl Policy<'_> {
    /// The policy that holds nothing back.
    pub const NONE: Self = Self {
        not_before: None,
        not_after: None,
        window: None,
        approval: false,
        priority: Priority::Normal,
        groups: heapless::Vec::new(),
        devices: heapless::Vec::new(),
        downgrade: false,
        metadata: None,
    };
}

impl Share {
    /// All devices.
    pub const ALL: Self = Self(10_000);

    /// Takes hundredths of a percent, at most 10,000 of them.
    pub fn from_hundredths(hundredths: u16) -> Option<Self> {
        (hundredths <= Self::ALL.0).then_some(Self(hundredths))
    }

    /// Returns hundredths of a percent.
    pub fn hundredths(self) -> u16 {
        self.0
    }

    /// Returns whether these are all devices.
    pub fn is_all(&self) -> bool {
        *self == Self::ALL
    }
}

impl Default for Share {
    fn default() -> Self {
        Self::ALL
    }
}

impl FromStr for Share {
    type Err = InvalidShare;

    fn from_str(text: &str) -> Result<Self, InvalidShare> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str| {
            let sound = (1..=3).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
            if sound { text.parse::<u16>().map_err(|_| InvalidShare) } else { Err(InvalidShare) }
        };
        let fraction = match decimals.len() {
            1 => digits(decimals)? * 10,
            2 => digits(decimals)?,
            _ => return Err(InvalidShare),
        };
        let whole = digits(whole)?;
        if whole > 100 {
            return Err(InvalidShare);
        }
        Self::from_hundredths(whole * 100 + fraction).ok_or(InvalidShare)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, hundredths) = (self.0 / 100, self.0 % 100);
        match (hundredths / 10, hundredths % 10) {
            (0, 0) => write!(f, "{whole}"),
            (tenths, 0) => write!(f, "{whole}.{tenths}"),
            _ => write!(f, "{whole}.{hundredths:02}"),
        }
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} %")
    }
}

impl fmt::Display for InvalidShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a percentage is a number from 0 to 100 with at most two decimals")
    }
}

impl core::error::Error for InvalidShare {}

impl Window {
    /// Minutes of a day.
    pub const DAY: u16 = 24 * 60;

    /// Returns whether the minute of the day lies in the window.
    pub fn contains(self, minute: u16) -> bool {
        if self.start <= self.end {
            (self.start..=self.end).contains(&minute)
        } else {
            minute >= self.start || minute <= self.end
        }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { start, end } = self;
        write!(f, "{:02}:{:02}-{:02}:{:02}", start / 60, start % 60, end / 60, end % 60)
    }
}

impl Priority {
    /// Returns whether this is the one that needs no mention.
    pub fn is_normal(&self) -> bool {
        *self == Self::Normal
    }
}

impl FromStr for DeviceHash {
    type Err = InvalidDeviceHash;

    fn from_str(text: &str) -> Result<Self, InvalidDeviceHash> {
        hex::decode(text).map(Self).ok_or(InvalidDeviceHash)
    }
}

/// The text is not 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidDeviceHash;

impl fmt::Display for InvalidDeviceHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a hashed device id is written as 16 hexadecimal digits")
    }
}

impl core::error::Error for InvalidDeviceHash {}

impl fmt::Display for DeviceHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex::write(f, &self.0)
    }
}

impl fmt::Debug for DeviceHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Reads the steps of a descriptor.
pub(crate) fn parse_steps<'a>(
    value: Value<'a>,
    steps: &mut heapless::Vec<Step<'a>, MAX_STEPS, u8>,
) -> Result<(), DocumentError> {
    let invalid = DocumentError::Invalid("steps");
    let Value::Nested(list) = value else { return Err(invalid) };
    steps.clear();
    json::read_array(list, |value| {
        let Value::Nested(object) = value else { return Err(invalid) };
        let mut version = None;
        let mut path = None;
        let mut size = None;
        let mut sha256 = None;
        let mut secure_version = None;
        let mut min_from = None;
        json::read_object(object, |key, value| match key {
            "version" => set(&mut version, "steps.version", parsed(value)),
            "path" => set(&mut path, "steps.path", value.into_str()),
            "size" => set(&mut size, "steps.size", value.as_number()),
            "sha256" => set(&mut sha256, "steps.sha256", digest(value)),
            "secure_version" => set(&mut secure_version, "steps.secure_version", value.as_number()),
            "min_from" => set(&mut min_from, "steps.min_from", parsed(value)),
            _ => Ok(()),
        })?;
        let step = Step {
            version: version.ok_or(DocumentError::Missing("steps.version"))?,
            path: path.ok_or(DocumentError::Missing("steps.path"))?,
            size: size.ok_or(DocumentError::Missing("steps.size"))?,
            sha256: sha256.ok_or(DocumentError::Missing("steps.sha256"))?,
            secure_version,
            min_from,
        };
        steps.push(step).map_err(|_| invalid)
    })
}

/// Reads how far a release is rolled out.
pub(crate) fn parse_rollout(value: Value<'_>) -> Result<Rollout, DocumentError> {
    let Value::Nested(object) = value else { return Err(DocumentError::Invalid("rollout")) };
    let mut percent = None;
    let mut paused = None;
    json::read_object(object, |key, value| match key {
        "percent" => set(&mut percent, "rollout.percent", value.as_number()),
        "paused" => set(&mut paused, "rollout.paused", value.as_bool()),
        _ => Ok(()),
    })?;
    Ok(Rollout { percent: percent.unwrap_or_default(), paused: paused.unwrap_or_default() })
}

/// Reads a policy.
pub(crate) fn parse_policy<'a>(
    value: Value<'a>,
    policy: &mut Policy<'a>,
) -> Result<(), DocumentError> {
    let Value::Nested(object) = value else { return Err(DocumentError::Invalid("policy")) };
    let mut window = None;
    let mut approval = None;
    let mut priority = None;
    let mut downgrade = None;
    *policy = Policy::default();
    json::read_object(object, |key, value| match key {
        "not_before" => set(&mut policy.not_before, "policy.not_before", value.as_number()),
        "not_after" => set(&mut policy.not_after, "policy.not_after", value.as_number()),
        "window" => set(&mut window, "policy.window", parse_window(value)),
        "approval" => set(&mut approval, "policy.approval", value.as_bool()),
        "priority" => set(&mut priority, "policy.priority", parse_priority(value)),
        "groups" => list(&mut policy.groups, "policy.groups", value, Value::into_str),
        "devices" => list(&mut policy.devices, "policy.devices", value, parsed),
        "downgrade" => set(&mut downgrade, "policy.downgrade", value.as_bool()),
        "metadata" => set(&mut policy.metadata, "policy.metadata", parse_metadata(value)),
        _ => Ok(()),
    })?;
    policy.window = window;
    policy.approval = approval.unwrap_or_default();
    policy.priority = priority.unwrap_or_default();
    policy.downgrade = downgrade.unwrap_or_default();
    Ok(())
}

fn parse_window(value: Value<'_>) -> Option<Window> {
    let Value::Nested(object) = value else { return None };
    let mut start = None;
    let mut end = None;
    json::read_object(object, |key, value| {
        let minute = value.as_number().filter(|minute| *minute < Window::DAY);
        match key {
            "start" => set(&mut start, "start", minute),
            "end" => set(&mut end, "end", minute),
            _ => Ok(()),
        }
    })
    .ok()?;
    Some(Window { start: start?, end: end? })
}

fn parse_priority(value: Value<'_>) -> Option<Priority> {
    // One that is not known must not keep a device from what it needs.
    let is_urgent = value.into_str()? == "urgent";
    Some(if is_urgent { Priority::Urgent } else { Priority::Normal })
}

fn parse_metadata(value: Value<'_>) -> Option<&str> {
    let Value::Nested(text) = value else { return None };
    let sound = text.starts_with(b"{") && text.len() <= MAX_METADATA;
    core::str::from_utf8(text).ok().filter(|_| sound)
}

/// Reads a list of at least one element: an empty one might mean all or none.
fn list<'a, T, const N: usize>(
    list: &mut heapless::Vec<T, N, u8>,
    name: &'static str,
    value: Value<'a>,
    element: impl Fn(Value<'a>) -> Option<T>,
) -> Result<(), DocumentError> {
    let invalid = DocumentError::Invalid(name);
    let Value::Nested(text) = value else { return Err(invalid) };
    if !list.is_empty() {
        return Err(DocumentError::Duplicate(name));
    }
    let read = json::read_array(text, |value| {
        list.push(element(value).ok_or(invalid)?).map_err(|_| invalid)
    });
    if read.is_err() || list.is_empty() { Err(invalid) } else { Ok(()) }
}

/// Parses a string.
pub(crate) fn parsed<T: FromStr>(value: Value<'_>) -> Option<T> {
    value.into_str()?.parse().ok()
}

/// Parses a digest in either of its forms.
pub(crate) fn digest(value: Value<'_>) -> Option<Sha256> {
    let text = value.into_str()?;
    text.parse().or_else(|_| Sha256::from_base64url(text)).ok()
}

#[cfg(feature = "serde")]
mod serde_impl {
    use super::{DeviceHash, Share};
    use serde::{Serialize, Serializer, ser::Error};
    use serde_json::value::RawValue;

    /// Writes text that is JSON as what it says.
    pub(super) fn raw_json<S: Serializer>(
        text: &Option<&str>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let raw: Option<&RawValue> =
            text.map(serde_json::from_str).transpose().map_err(S::Error::custom)?;
        raw.serialize(serializer)
    }

    impl Serialize for Share {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            match self.hundredths() {
                whole if whole % 100 == 0 => serializer.serialize_u16(whole / 100),
                hundredths => serializer.serialize_f64(f64::from(hundredths) / 100.0),
            }
        }
    }

    impl Serialize for DeviceHash {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_str(self)
        }
    }
}

#[cfg(feature = "serde")]
use serde_impl::raw_json;

#[cfg(test)]
mod tests {
    use super::*;
    use std::{string::ToString, vec::Vec};

    fn policy(text: &str) -> Result<(), DocumentError> {
        parse_policy(Value::Nested(&mut text.as_bytes().to_vec()), &mut Policy::default())
    }

    #[test]
    fn a_whole_policy_is_read() {
        let mut text = br#"{"not_before":1,"not_after":2,"window":{"start":1380,"end":270},
            "approval":true,"priority":"urgent","groups":["beta","g\u0061mma"],
            "devices":["0123456789abcdef"],"downgrade":true,"metadata":{"a":[1,"}"]},"new":0}"#
            .to_vec();
        let mut policy = Policy::default();
        parse_policy(Value::Nested(&mut text), &mut policy).unwrap();
        assert_eq!((policy.not_before, policy.not_after), (Some(1), Some(2)));
        assert_eq!(policy.window.unwrap().to_string(), "23:00-04:30");
        assert!(policy.approval && policy.downgrade && policy.priority == Priority::Urgent);
        assert_eq!(policy.groups, ["beta", "gamma"]);
        assert_eq!(policy.devices[0].to_string(), "0123456789abcdef");
        assert_eq!(policy.metadata, Some(r#"{"a":[1,"}"]}"#));
    }

    #[test]
    fn faults_are_named() {
        let devices = |count: usize| {
            let list: Vec<_> = (0..count).map(|i| std::format!("\"{i:016x}\"")).collect();
            std::format!("{{\"devices\":[{}]}}", list.join(","))
        };
        assert_eq!(policy(&devices(MAX_DEVICES)), Ok(()));
        let long = std::format!("{{\"metadata\":{{\"a\":\"{}\"}}}}", "x".repeat(MAX_METADATA));
        for (text, field) in [
            (r#"{"window":{"start":1440,"end":0}}"#, "policy.window"),
            (r#"{"window":{"start":0}}"#, "policy.window"),
            (r#"{"window":{"start":0,"end":1,"end":2}}"#, "policy.window"),
            (r#"{"groups":[]}"#, "policy.groups"),
            (r#"{"groups":["a","b","c","d","e","f","g","h","i"]}"#, "policy.groups"),
            (r#"{"groups":"beta"}"#, "policy.groups"),
            (r#"{"devices":["0123"]}"#, "policy.devices"),
            (&devices(MAX_DEVICES + 1), "policy.devices"),
            (r#"{"metadata":[]}"#, "policy.metadata"),
            (&long, "policy.metadata"),
            (r#"{"approval":1}"#, "policy.approval"),
            (r#"{"not_before":-1}"#, "policy.not_before"),
        ] {
            assert_eq!(policy(text), Err(DocumentError::Invalid(field)), "{text}");
        }
        assert_eq!(
            policy(r#"{"approval":true,"approval":false}"#),
            Err(DocumentError::Duplicate("policy.approval"))
        );
    }

    #[test]
    fn a_priority_that_is_not_known_is_normal() {
        let mut text = *br#"{"priority":"cosmic"}"#;
        let mut policy = Policy::default();
        parse_policy(Value::Nested(&mut text), &mut policy).unwrap();
        assert_eq!(policy.priority, Priority::Normal);
    }

    #[test]
    fn shares_have_two_decimals() {
        for (text, hundredths) in [
            ("0", 0),
            ("100", 10_000),
            ("100.00", 10_000),
            ("12.5", 1250),
            ("0.01", 1),
            ("7.05", 705),
        ] {
            assert_eq!(text.parse().map(Share::hundredths), Ok(hundredths), "{text}");
        }
        for text in
            ["", "101", "100.01", "1.234", "-1", "1e1", ".5", "1.", "+1", "999", "1000", "nan"]
        {
            assert_eq!(text.parse::<Share>(), Err(InvalidShare), "{text}");
        }
        for text in ["0", "100", "12.5", "0.01", "7.05"] {
            assert_eq!(text.parse::<Share>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn windows_may_cross_midnight_and_include_their_end() {
        let day = Window { start: 120, end: 270 };
        let night = Window { start: 1380, end: 60 };
        for (window, minute, inside) in [
            (day, 119, false),
            (day, 120, true),
            (day, 270, true),
            (day, 271, false),
            (night, 1379, false),
            (night, 1380, true),
            (night, 0, true),
            (night, 60, true),
            (night, 61, false),
        ] {
            assert_eq!(window.contains(minute), inside, "{window} {minute}");
        }
    }
}
