//! Changes of channels.toml that leave its comments and order as they are.

use crate::name::{ChannelName, GroupName};
use semver::VersionReq;
use toml_edit::{Datetime, TableLike, Value};
use towline_descriptor::{DeviceHash, Priority, Share, Version, Window};

/// A change of channels.toml.
#[derive(Clone, Debug)]
pub enum Edit {
    /// Pin a channel to a release.
    Pin(ChannelName, Version),
    /// Let a channel follow releases.
    Follow {
        /// The channel.
        channel: ChannelName,
        /// Versions that match.
        requirement: VersionReq,
        /// Whether prereleases match too.
        prereleases: bool,
    },
    /// Let no channel serve a release any more.
    Yank(Version, String),
    /// Roll a channel's release out further, or hold it.
    Rollout {
        /// The channel.
        channel: ChannelName,
        /// The part of all devices that gets it.
        percent: Option<Share>,
        /// Whether nobody gets it for now.
        paused: Option<bool>,
    },
    /// Change when and to whom a channel's release goes.
    Policy(ChannelName, PolicyChange),
}

/// A change of a channel's policy; what it does not name stays.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PolicyChange {
    /// The window, or none.
    pub window: Option<Option<Window>>,
    /// Drop both dates before others are set.
    pub always: bool,
    /// When it starts to be valid.
    pub not_before: Option<Datetime>,
    /// When it ceases to be.
    pub not_after: Option<Datetime>,
    /// Whether a user has to agree.
    pub approval: Option<bool>,
    /// How much it matters.
    pub priority: Option<Priority>,
    /// Drop all groups and devices before others are added.
    pub everyone: bool,
    /// Groups to add.
    pub groups: Vec<GroupName>,
    /// Devices to add.
    pub devices: Vec<DeviceHash>,
    /// Whether devices of other channels may go down.
    pub downgrade: Option<bool>,
    /// The metadata, or none.
    pub metadata: Option<Option<serde_json::Map<String, serde_json::Value>>>,
}

impl Edit {
    /// Applies the change to the text of channels.toml; comments and order
    /// stay.
    ///
    /// # Errors
    /// [`EditError`].
    pub fn apply(&self, text: &str) -> Result<String, EditError> {
        let mut document: toml_edit::DocumentMut = text.parse()?;
        match self {
            Self::Pin(channel, version) => {
                let rule = table(&mut document, &["channels", channel.as_str()])?;
                rule.remove("follow");
                rule.remove("prereleases");
                rule.insert("pin", toml_edit::value(version.as_str()));
            }
            Self::Follow { channel, requirement, prereleases } => {
                let rule = table(&mut document, &["channels", channel.as_str()])?;
                rule.remove("pin");
                rule.insert("follow", toml_edit::value(requirement.to_string()));
                rule.remove("prereleases");
                if *prereleases {
                    rule.insert("prereleases", toml_edit::value(true));
                }
            }
            Self::Yank(version, reason) => {
                let yanked = table(&mut document, &["yanked"])?;
                yanked.insert(version.as_str(), toml_edit::value(reason));
            }
            Self::Rollout { channel, percent, paused } => {
                let path = ["channels", channel.as_str(), "rollout"];
                let rollout = table(&mut document, &path)?;
                if let Some(percent) = percent {
                    set(rollout, "percent", (!percent.is_all()).then(|| percent_value(*percent)));
                }
                if let Some(paused) = paused {
                    set(rollout, "paused", paused.then(|| true.into()));
                }
                remove_if_empty(&mut document, &path)?;
            }
            Self::Policy(channel, change) => {
                let path = ["channels", channel.as_str(), "policy"];
                change.apply(table(&mut document, &path)?)?;
                remove_if_empty(&mut document, &path)?;
            }
        }
        Ok(document.to_string())
    }
}

impl PolicyChange {
    fn apply(&self, policy: &mut dyn TableLike) -> Result<(), EditError> {
        if self.always {
            policy.remove("not-before");
            policy.remove("not-after");
        }
        for (key, moment) in [("not-before", self.not_before), ("not-after", self.not_after)] {
            if let Some(moment) = moment {
                set(policy, key, Some(moment.into()));
            }
        }
        if let Some(window) = self.window {
            set(policy, "window", window.map(|window| window.to_string().into()));
        }
        for (key, flag) in [("approval", self.approval), ("downgrade", self.downgrade)] {
            if let Some(flag) = flag {
                set(policy, key, flag.then(|| true.into()));
            }
        }
        if let Some(priority) = self.priority {
            set(policy, "priority", (!priority.is_normal()).then(|| "urgent".into()));
        }
        if self.everyone {
            policy.remove("groups");
            policy.remove("devices");
        }
        add(policy, "groups", &self.groups)?;
        add(policy, "devices", &self.devices)?;
        match &self.metadata {
            None => {}
            Some(None) => set(policy, "metadata", None),
            Some(Some(object)) => {
                let table = inline_table(object, "--metadata")?;
                set(policy, "metadata", Some(table.into()));
            }
        }
        Ok(())
    }
}

/// Why channels.toml cannot be changed.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// It is not TOML.
    #[error(transparent)]
    Toml(#[from] toml_edit::TomlError),
    /// Something else stands where a table belongs.
    #[error("`{0}` is not a table")]
    NotATable(String),
    /// Something else stands where a list belongs.
    #[error("`{0}` is not a list")]
    NotAList(&'static str),
    /// A value has no place in TOML.
    #[error("{0}: {1} cannot be written as TOML")]
    NotToml(String, serde_json::Value),
}

/// Returns the table at `path`, made where it is missing.
fn table<'d>(
    document: &'d mut toml_edit::DocumentMut,
    path: &[&str],
) -> Result<&'d mut dyn toml_edit::TableLike, EditError> {
    let fault = |key: &str| EditError::NotATable(key.to_owned());
    let mut item = document.as_item_mut();
    for (depth, key) in path.iter().enumerate() {
        let is_last = depth + 1 == path.len();
        let parent = item.as_table_like_mut().ok_or_else(|| fault(key))?;
        item = parent.entry(key).or_insert_with(|| {
            let mut table = toml_edit::Table::new();
            table.set_implicit(!is_last);
            toml_edit::Item::Table(table)
        });
    }
    item.as_table_like_mut().ok_or_else(|| fault(path[path.len() - 1]))
}

/// Sets the value of a key, or removes the key. What stands after the value, as
/// a comment does, stays.
fn set(table: &mut dyn TableLike, key: &str, value: Option<Value>) {
    let Some(mut value) = value else {
        table.remove(key);
        return;
    };
    match table.get_mut(key).and_then(toml_edit::Item::as_value_mut) {
        Some(old) => {
            *value.decor_mut() = old.decor().clone();
            *old = value;
        }
        None => {
            table.remove(key);
            table.insert(key, toml_edit::Item::Value(value));
        }
    }
}

/// Adds those to a list that it does not have.
fn add(
    table: &mut dyn TableLike,
    key: &'static str,
    members: &[impl ToString],
) -> Result<(), EditError> {
    if members.is_empty() {
        return Ok(());
    }
    let list = table.entry(key).or_insert(toml_edit::value(toml_edit::Array::new()));
    let list = list.as_array_mut().ok_or(EditError::NotAList(key))?;
    for member in members.iter().map(ToString::to_string) {
        if !list.iter().any(|known| known.as_str() == Some(&member)) {
            list.push(member);
        }
    }
    Ok(())
}

/// Removes a table that says nothing any more, unless a comment stands above
/// it.
fn remove_if_empty(
    document: &mut toml_edit::DocumentMut,
    path: &[&str; 3],
) -> Result<(), EditError> {
    let parent = table(document, &path[..2])?;
    let Some(item) = parent.get(path[2]) else { return Ok(()) };
    let has_comment = item.as_table().is_some_and(|table| {
        table.decor().prefix().and_then(|text| text.as_str()).is_some_and(|text| text.contains('#'))
    });
    if item.as_table_like().is_some_and(TableLike::is_empty) && !has_comment {
        parent.remove(path[2]);
    }
    Ok(())
}

fn percent_value(percent: Share) -> Value {
    match percent.hundredths() {
        whole if whole % 100 == 0 => i64::from(whole / 100).into(),
        hundredths => (f64::from(hundredths) / 100.0).into(),
    }
}

fn inline_table(
    object: &serde_json::Map<String, serde_json::Value>,
    place: &str,
) -> Result<toml_edit::InlineTable, EditError> {
    let member = |(key, value): (&String, _)| {
        Ok((toml_edit::Key::new(key), toml_value(value, &format!("{place}.{key}"))?))
    };
    object.iter().map(member).collect()
}

fn toml_value(value: &serde_json::Value, place: &str) -> Result<Value, EditError> {
    use serde_json::Value as Json;
    let fault = || EditError::NotToml(place.to_owned(), value.clone());
    Ok(match value {
        Json::Null => return Err(fault()),
        Json::Bool(value) => (*value).into(),
        Json::Number(number) => match (number.as_i64(), number.is_f64(), number.as_f64()) {
            (Some(number), ..) => number.into(),
            (None, true, Some(number)) => number.into(),
            _ => return Err(fault()),
        },
        Json::String(text) => text.as_str().into(),
        Json::Array(list) => {
            let list = list.iter().map(|value| toml_value(value, place));
            list.collect::<Result<toml_edit::Array, _>>()?.into()
        }
        Json::Object(object) => inline_table(object, place)?.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Rule, tests::parse};
    use super::*;

    #[test]
    fn edits_keep_comments_and_are_read_back() {
        let text = "# Ours.\n[channels.stable] # careful\nfollow = \"^1\" # one\n\n[channels.testing]\nprereleases = true\n";
        let stable: ChannelName = "stable".parse().unwrap();
        let pinned = Edit::Pin(stable.clone(), "1.0.0".parse().unwrap()).apply(text).unwrap();
        assert_eq!(
            pinned,
            "# Ours.\n[channels.stable] # careful\npin = \"1.0.0\"\n\n[channels.testing]\nprereleases = true\n"
        );
        let follow = Edit::Follow {
            channel: stable.clone(),
            requirement: "^2".parse().unwrap(),
            prereleases: false,
        };
        let followed = follow.apply(&pinned).unwrap();
        assert!(followed.contains("follow = \"^2\"") && !followed.contains("pin"), "{followed}");
        let yanked = Edit::Yank("1.0.0".parse().unwrap(), "bad".into()).apply("").unwrap();
        assert_eq!(yanked, "[yanked]\n\"1.0.0\" = \"bad\"\n");
        assert_eq!(parse(&pinned).unwrap().rules[&stable], Rule::Pin("1.0.0".parse().unwrap()));
    }

    fn stable() -> ChannelName {
        "stable".parse().unwrap()
    }

    fn rollout(percent: Option<&str>, paused: Option<bool>) -> Edit {
        let percent = percent.map(|text| text.parse().unwrap());
        Edit::Rollout { channel: stable(), percent, paused }
    }

    #[test]
    fn a_rollout_is_a_line_that_comes_and_goes() {
        let text = "# Ours.\n[channels.stable] # careful\nfollow = \"^1\" # one\n\n[channels.testing]\nprereleases = true\n";
        let quarter = rollout(Some("25"), None).apply(text).unwrap();
        assert_eq!(
            quarter,
            "# Ours.\n[channels.stable] # careful\nfollow = \"^1\" # one\n\n[channels.stable.rollout]\npercent = 25\n\n[channels.testing]\nprereleases = true\n"
        );
        let held = rollout(None, Some(true)).apply(&quarter).unwrap();
        assert!(held.contains("percent = 25\npaused = true\n"), "{held}");
        let terms = parse(&held).unwrap().terms(&stable()).rollout;
        assert_eq!((terms.percent.to_string().as_str(), terms.paused), ("25", true));
        let resumed = rollout(None, Some(false)).apply(&held).unwrap();
        assert_eq!(resumed, quarter);
        assert_eq!(rollout(Some("100"), None).apply(&resumed).unwrap(), text);
        assert_eq!(rollout(Some("100"), Some(false)).apply("").unwrap(), "");
    }

    #[test]
    fn comments_beside_and_above_stay() {
        let text = "# In waves.\n[channels.stable.rollout]\n# Since Monday.\npercent = 25 # a quarter\npaused = true\n";
        let half = rollout(Some("12.5"), Some(false)).apply(text).unwrap();
        assert_eq!(
            half,
            "# In waves.\n[channels.stable.rollout]\n# Since Monday.\npercent = 12.5 # a quarter\n"
        );
        let all = rollout(Some("100"), None).apply(&half).unwrap();
        assert_eq!(all, "# In waves.\n[channels.stable.rollout]\n");
        let inline = "channels.stable = { follow = \"^1\", rollout = { percent = 5 } }\n";
        let raised = rollout(Some("6"), None).apply(inline).unwrap();
        assert_eq!(raised, "channels.stable = { follow = \"^1\", rollout = { percent = 6 } }\n");
    }

    #[test]
    fn a_policy_is_written_and_read_back() {
        let serde_json::Value::Object(metadata) =
            serde_json::json!({"url": "https://e.org", "n": [1, 0.5, {"a b": true}]})
        else {
            panic!()
        };
        let change = PolicyChange {
            window: Some(Some(Window { start: 120, end: 270 })),
            not_before: Some("2026-12-01T00:00:00Z".parse().unwrap()),
            not_after: Some("2026-12-31T23:59:59+01:00".parse().unwrap()),
            approval: Some(true),
            priority: Some(Priority::Urgent),
            groups: vec!["beta".parse().unwrap()],
            devices: vec![DeviceHash([1; 8])],
            downgrade: Some(true),
            metadata: Some(Some(metadata)),
            ..Default::default()
        };
        let written = Edit::Policy(stable(), change).apply("").unwrap();
        assert_eq!(
            written,
            "[channels.stable.policy]\nnot-before = 2026-12-01T00:00:00Z\n\
             not-after = 2026-12-31T23:59:59+01:00\nwindow = \"02:00-04:30\"\napproval = true\n\
             downgrade = true\npriority = \"urgent\"\ngroups = [\"beta\"]\n\
             devices = [\"0101010101010101\"]\n\
             metadata = { n = [1, 0.5, { \"a b\" = true }], url = \"https://e.org\" }\n"
        );
        let policy = parse(&written).unwrap().terms(&stable()).policy.clone();
        let metadata = r#"{"n":[1,0.5,{"a b":true}],"url":"https://e.org"}"#;
        assert_eq!(policy.metadata.as_deref(), Some(metadata));
        assert!(policy.is_for_members() && policy.approval && policy.downgrade);

        let more = PolicyChange {
            groups: vec!["beta".parse().unwrap(), "staff".parse().unwrap()],
            ..Default::default()
        };
        let more = Edit::Policy(stable(), more).apply(&written).unwrap();
        assert!(more.contains("groups = [\"beta\", \"staff\"]\n"), "{more}");

        let nothing = PolicyChange {
            window: Some(None),
            always: true,
            approval: Some(false),
            priority: Some(Priority::Normal),
            everyone: true,
            downgrade: Some(false),
            metadata: Some(None),
            ..Default::default()
        };
        assert_eq!(Edit::Policy(stable(), nothing).apply(&more).unwrap(), "");
    }

    #[test]
    fn what_toml_cannot_say_is_named() {
        for (value, place) in
            [("null", "--metadata.a"), ("[1, {\"b\": 18446744073709551615}]", "--metadata.a.b")]
        {
            let object = serde_json::from_str(&format!("{{\"a\": {value}}}")).unwrap();
            let change = PolicyChange { metadata: Some(Some(object)), ..Default::default() };
            let error = Edit::Policy(stable(), change).apply("").unwrap_err().to_string();
            assert!(error.starts_with(place), "{error}");
        }
        let error = rollout(Some("5"), None).apply("channels.stable.rollout = 5").unwrap_err();
        assert_eq!(error.to_string(), "`rollout` is not a table");
    }
}
