//! On which terms a channel offers its release: how far that is rolled out,
//! when it goes, and to whom.
//!
//! Terms belong to the channel and hold for whatever release it serves: a new
//! release starts at the same percentage, and a channel that is paused stays
//! so until it is resumed.

use crate::name::GroupName;
use serde::Deserialize;
use std::ops::Range;
use time::{Date, Duration, Month, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};
use toml::{Spanned, value::Datetime};
use towline_descriptor::{
    self as wire, Descriptor, DeviceHash, Priority, Rollout, Share, Window,
    policy::{MAX_DEVICES, MAX_GROUPS, MAX_METADATA},
};

/// On which terms a channel offers its release.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// How far the release is rolled out.
    pub rollout: Rollout,
    /// When it goes, and to whom.
    pub policy: Policy,
}

/// When a release goes, and to whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// First second, since 1970, at which it may be installed.
    pub not_before: Option<u64>,
    /// Last second, since 1970, at which it may be installed.
    pub not_after: Option<u64>,
    /// Part of the local day in which it may be installed.
    pub window: Option<Window>,
    /// Whether a user has to agree.
    pub approval: bool,
    /// How much it matters.
    pub priority: Priority,
    /// Groups that it is for; with `devices` empty too, it is for all.
    pub groups: Vec<GroupName>,
    /// Devices that it is for.
    pub devices: Vec<DeviceHash>,
    /// Whether devices that come from another channel may go down to it.
    pub downgrade: bool,
    /// A JSON object for the application, compact.
    pub metadata: Option<String>,
}

/// A fault of the file: where, and what.
pub(super) type Fault = (Range<usize>, String);

impl Policy {
    /// Returns the policy as descriptors have it.
    pub fn wire(&self) -> wire::Policy<'_> {
        wire::Policy {
            not_before: self.not_before,
            not_after: self.not_after,
            window: self.window,
            approval: self.approval,
            priority: self.priority,
            // Never more than fit: they were counted when they were read.
            groups: self.groups.iter().map(GroupName::as_str).take(MAX_GROUPS).collect(),
            devices: self.devices.iter().copied().take(MAX_DEVICES).collect(),
            downgrade: self.downgrade,
            metadata: self.metadata.as_deref(),
        }
    }

    /// Returns whether it holds nothing back and says nothing.
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// Returns whether it is for some devices only.
    pub fn is_for_members(&self) -> bool {
        !self.groups.is_empty() || !self.devices.is_empty()
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "how far the release is rolled out")]
pub(super) struct RawRollout {
    percent: Option<Spanned<toml::Value>>,
    #[serde(default)]
    paused: bool,
}

impl RawRollout {
    pub(super) fn check(self) -> Result<Rollout, Fault> {
        let percent = match self.percent {
            None => Share::ALL,
            Some(percent) => share(percent.get_ref()).ok_or_else(|| {
                (percent.span(), "expected a number from 0 to 100 with at most two decimals".into())
            })?,
        };
        Ok(Rollout { percent, paused: self.paused })
    }
}

fn share(value: &toml::Value) -> Option<Share> {
    match value {
        toml::Value::Integer(number) => number.to_string().parse().ok(),
        // The shortest text that means this number: what was written.
        toml::Value::Float(number) => number.to_string().parse().ok(),
        _ => None,
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "a policy")]
pub(super) struct RawPolicy {
    not_before: Option<Spanned<Datetime>>,
    not_after: Option<Spanned<Datetime>>,
    window: Option<Spanned<String>>,
    #[serde(default)]
    approval: bool,
    priority: Option<Spanned<String>>,
    groups: Option<Spanned<Vec<Spanned<String>>>>,
    devices: Option<Spanned<Vec<Spanned<String>>>>,
    #[serde(default)]
    downgrade: bool,
    metadata: Option<Spanned<toml::Table>>,
}

impl RawPolicy {
    pub(super) fn check(self) -> Result<Policy, Fault> {
        let moment = |at: &Spanned<Datetime>| {
            unix_seconds(at.get_ref()).map_err(|message| (at.span(), message.to_owned()))
        };
        let not_before = self.not_before.as_ref().map(moment).transpose()?;
        let not_after = self.not_after.as_ref().map(moment).transpose()?;
        if let (Some(from), Some(until), Some(at)) = (not_before, not_after, &self.not_after)
            && until < from
        {
            return Err((at.span(), "ends before not-before: nobody would get it".into()));
        }
        let parse = |text: Spanned<String>| (text.span(), text.into_inner());
        let window = self.window.map(parse).map(|(span, text)| {
            window(&text).ok_or_else(|| (span, "expected a window such as \"02:00-04:30\"".into()))
        });
        let priority = self.priority.map(parse).map(|(span, text)| match text.as_str() {
            "urgent" => Ok(Priority::Urgent),
            "normal" => Ok(Priority::Normal),
            _ => Err((span, "expected \"normal\" or \"urgent\"".to_owned())),
        });
        let groups = self.groups.map_or(Ok(Vec::new()), |groups| {
            members(groups, MAX_GROUPS, "groups", |text| {
                text.parse::<GroupName>().map_err(|error| error.to_string())
            })
        })?;
        let devices = self.devices.map_or(Ok(Vec::new()), |devices| {
            members(devices, MAX_DEVICES, "devices", |text| {
                text.parse::<DeviceHash>().map_err(|error| {
                    format!("{error}; `cargo xtask policy CHANNEL --device ID` writes it")
                })
            })
        })?;
        let metadata = self.metadata.map(|table| {
            let span = table.span();
            metadata(table.get_ref()).map_err(|message| (span, message))
        });
        Ok(Policy {
            not_before,
            not_after,
            window: window.transpose()?,
            approval: self.approval,
            priority: priority.transpose()?.unwrap_or_default(),
            groups,
            devices,
            downgrade: self.downgrade,
            metadata: metadata.transpose()?,
        })
    }
}

/// Takes a list, if it names between one and `most` and each of them once.
fn members<T: PartialEq>(
    list: Spanned<Vec<Spanned<String>>>,
    most: usize,
    what: &str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, Fault> {
    let span = list.span();
    if list.get_ref().is_empty() {
        let message = format!("an empty list would be for nobody; leave out `{what}` for everyone");
        return Err((span, message));
    }
    if list.get_ref().len() > most {
        return Err((span, format!("a descriptor has room for {most} {what}")));
    }
    let mut taken = Vec::new();
    for member in list.into_inner() {
        let value = parse(member.get_ref()).map_err(|message| (member.span(), message))?;
        if taken.contains(&value) {
            return Err((member.span(), "named twice".into()));
        }
        taken.push(value);
    }
    Ok(taken)
}

/// Parses a window such as `02:00-04:30`.
pub fn window(text: &str) -> Option<Window> {
    let minute = |text: &str| {
        let (hour, minute) = text.split_once(':')?;
        let number = |text: &str, end: u16| {
            let digits = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
            text.parse::<u16>().ok().filter(|number| digits && *number < end)
        };
        Some(number(hour, 24)? * 60 + number(minute, 60)?)
    };
    let (start, end) = text.split_once('-')?;
    Some(Window { start: minute(start)?, end: minute(end)? })
}

/// Returns the seconds since 1970 of a time of the file; parts of a second do
/// not count.
pub(crate) fn unix_seconds(datetime: &Datetime) -> Result<u64, &'static str> {
    let expected = "expected a date and time with its offset, such as 2026-12-24T18:00:00+01:00";
    let (Some(date), Some(time), Some(offset)) = (datetime.date, datetime.time, datetime.offset)
    else {
        return Err(expected);
    };
    let moment = || {
        let month = Month::try_from(date.month).ok()?;
        let date = Date::from_calendar_date(date.year.into(), month, date.day).ok()?;
        let second = time.second.unwrap_or(0);
        let time = Time::from_hms(time.hour, time.minute, second).ok()?;
        let minutes = match offset {
            toml::value::Offset::Z => 0,
            toml::value::Offset::Custom { minutes } => minutes,
        };
        PrimitiveDateTime::new(date, time)
            .assume_utc()
            .checked_sub(Duration::minutes(minutes.into()))
    };
    let moment: OffsetDateTime = moment().ok_or(expected)?;
    u64::try_from(moment.unix_timestamp()).map_err(|_| "lies before 1970")
}

/// Returns a moment as people read it, such as `2026-12-24 17:00 UTC`.
pub fn moment_text(seconds: u64) -> String {
    let moment = i64::try_from(seconds).ok().map(OffsetDateTime::from_unix_timestamp);
    let Some(Ok(moment)) = moment.map(|m| m.map(|m| m.to_offset(UtcOffset::UTC))) else {
        return format!("second {seconds} since 1970");
    };
    let (date, time) = (moment.date(), moment.time());
    let seconds = if time.second() == 0 { String::new() } else { format!(":{:02}", time.second()) };
    format!(
        "{}-{:02}-{:02} {:02}:{:02}{seconds} UTC",
        date.year(),
        u8::from(date.month()),
        date.day(),
        time.hour(),
        time.minute()
    )
}

/// Writes a table as JSON, if devices can read it.
fn metadata(table: &toml::Table) -> Result<String, String> {
    let text = serde_json::Value::Object(object(table)?).to_string();
    if text.len() > MAX_METADATA {
        return Err(format!("has {} bytes as JSON; there is room for {MAX_METADATA}", text.len()));
    }
    // The devices' own parser has the last word.
    let mut document =
        format!(r#"{{"version":"0.0.0","path":"","policy":{{"metadata":{text}}}}}"#).into_bytes();
    match Descriptor::parse(&mut document) {
        Ok(read) if read.policy.metadata == Some(&text) => Ok(text),
        Ok(_) => Err("devices would not read the same".into()),
        Err(error) => Err(format!("devices could not read it: {error}")),
    }
}

fn object(table: &toml::Table) -> Result<serde_json::Map<String, serde_json::Value>, String> {
    table.iter().map(|(key, value)| Ok((key.clone(), json(value)?))).collect()
}

fn json(value: &toml::Value) -> Result<serde_json::Value, String> {
    Ok(match value {
        toml::Value::String(text) => text.as_str().into(),
        toml::Value::Integer(number) => (*number).into(),
        toml::Value::Float(number) => serde_json::Number::from_f64(*number)
            .ok_or_else(|| format!("JSON has no number {number}"))?
            .into(),
        toml::Value::Boolean(value) => (*value).into(),
        toml::Value::Datetime(moment) => moment.to_string().into(),
        toml::Value::Array(list) => list.iter().map(json).collect::<Result<Vec<_>, _>>()?.into(),
        toml::Value::Table(table) => object(table)?.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::parse;
    use super::*;

    fn stable(text: &str) -> Terms {
        parse(text).unwrap().terms(&"stable".parse().unwrap()).clone()
    }

    #[test]
    fn a_channel_without_terms_offers_to_everyone_at_once() {
        assert_eq!(stable(""), Terms::default());
        assert_eq!(
            stable("[channels.stable.rollout]\n[channels.stable.policy]\n"),
            Terms::default()
        );
    }

    #[test]
    fn all_terms_are_read() {
        let terms = stable(
            "[channels.stable.rollout]\npercent = 12.5\npaused = true\n\
             [channels.stable.policy]\nnot-before = 2026-12-24T18:00:00+01:00\n\
             not-after = 2026-12-31T23:59:59Z\nwindow = \"23:00-04:30\"\napproval = true\n\
             priority = \"urgent\"\ngroups = [\"beta\", \"staff\"]\ndevices = [\"0123456789abcdef\"]\n\
             downgrade = true\nmetadata = { url = \"https://e.org\", sizes = [1, 2.5], at = 2026-01-01 }\n",
        );
        assert_eq!((terms.rollout.percent.hundredths(), terms.rollout.paused), (1250, true));
        let policy = &terms.policy;
        assert_eq!(
            (policy.not_before, policy.not_after),
            (Some(1_798_131_600), Some(1_798_761_599))
        );
        assert_eq!(moment_text(1_798_131_600), "2026-12-24 17:00 UTC");
        assert_eq!(policy.window.unwrap().to_string(), "23:00-04:30");
        assert!(policy.approval && policy.downgrade && policy.priority == Priority::Urgent);
        assert_eq!(policy.wire().groups, ["beta", "staff"]);
        assert_eq!(policy.devices[0].to_string(), "0123456789abcdef");
        let metadata = r#"{"at":"2026-01-01","sizes":[1,2.5],"url":"https://e.org"}"#;
        assert_eq!(policy.metadata.as_deref(), Some(metadata));
    }

    #[test]
    fn terms_leave_the_rule_of_the_channel_as_it_is() {
        let channels = parse("[channels.testing.rollout]\npercent = 5\n").unwrap();
        let testing = "testing".parse().unwrap();
        assert_eq!(channels.rules[&testing].to_string(), "follows * with prereleases");
        assert_eq!(channels.terms(&testing).rollout.percent.to_string(), "5");
    }

    #[test]
    fn errors_point_at_the_fault() {
        let devices =
            format!("devices = {:?}", (0..33).map(|i| format!("{i:016x}")).collect::<Vec<_>>());
        let long = format!("metadata = {{ text = \"{}\" }}", "x".repeat(510));
        for (section, line, expected) in [
            ("rollout", "percent = 101", "2:11: expected a number from 0 to 100"),
            ("rollout", "percent = 1.234", "2:11: expected a number from 0 to 100"),
            ("rollout", "percent = \"25\"", "2:11: expected a number from 0 to 100"),
            ("rollout", "percent = nan", "2:11: expected a number from 0 to 100"),
            ("rollout", "percentage = 1", "2:1: unknown field `percentage`, expected"),
            ("policy", "window = \"2:00-4:30\"", "2:10: expected a window such as"),
            ("policy", "window = \"02:00-24:00\"", "2:10: expected a window such as"),
            ("policy", "window = \"02:00\"", "2:10: expected a window such as"),
            ("policy", "not-before = 2026-12-24", "2:14: expected a date and time with its offset"),
            ("policy", "not-before = 2026-12-24T18:00:00", "2:14: expected a date and time"),
            ("policy", "not-before = 1969-12-24T18:00:00Z", "2:14: lies before 1970"),
            (
                "policy",
                "not-before = 2026-12-24T18:00:00Z\nnot-after = 2026-12-24T18:00:00+01:00",
                "3:13: ends before not-before",
            ),
            ("policy", "priority = \"high\"", "2:12: expected \"normal\" or \"urgent\""),
            ("policy", "groups = []", "2:10: an empty list would be for nobody"),
            ("policy", "groups = [\"a\", \"b\", \"a\"]", "2:21: named twice"),
            ("policy", "groups = [\"a b\"]", "2:11: a name has 1 to 31 letters"),
            (
                "policy",
                "groups = [\"a\",\"b\",\"c\",\"d\",\"e\",\"f\",\"g\",\"h\",\"i\"]",
                "2:10: a descriptor has room for 8 groups",
            ),
            ("policy", "devices = [\"a1:b2\"]", "2:12: a hashed device id is written as 16"),
            ("policy", &devices, "2:11: a descriptor has room for 32 devices"),
            ("policy", &long, "2:12: has 521 bytes as JSON; there is room for 512"),
            ("policy", "metadata = { a = inf }", "2:12: JSON has no number inf"),
            ("policy", "metadata = { a = \"\\u0000\" }", "2:12: devices could not read it"),
            ("policy", "metadata = 1", "2:12: invalid type"),
        ] {
            let text = format!("[channels.stable.{section}]\n{line}\n");
            let error = parse(&text).unwrap_err();
            let expected = format!("channels.toml:{expected}");
            assert!(error.starts_with(&expected), "{error}\nexpected: {expected}");
        }
    }
}
