//! The terms of a channel in plain words: for its page and for the terminal.

use super::{Policy, Terms, moment_text};
use crate::name::GroupName;
use towline_descriptor::{Priority, Rollout};

/// Says how far a release is rolled out.
pub fn rollout(Rollout { percent, paused }: Rollout) -> String {
    match (paused, percent.is_all()) {
        (false, true) => "Offered to all devices.".into(),
        (false, false) => format!("Offered to {percent} % of all devices so far."),
        (true, true) => "Paused: offered to no device for now.".into(),
        (true, false) => format!(
            "Paused: offered to no device for now, and to {percent} % of all devices when it goes on."
        ),
    }
}

/// Says when a release goes and to whom, a sentence for each condition.
pub fn policy(policy: &Policy) -> Vec<String> {
    let mut words = Vec::new();
    if policy.is_for_members() {
        words.push(format!("Only for {}.", members(policy)));
    }
    match (policy.not_before.map(moment_text), policy.not_after.map(moment_text)) {
        (None, None) => {}
        (Some(from), None) => words.push(format!("Installed from {from} on.")),
        (None, Some(until)) => words.push(format!("Installed until {until}.")),
        (Some(from), Some(until)) => words.push(format!("Installed from {from} until {until}.")),
    }
    if policy.approval {
        words.push("Waits on each device until its user agrees.".into());
    }
    if policy.priority == Priority::Urgent {
        words.push("Urgent: waits for no time of day.".into());
    } else if let Some(window) = policy.window.filter(|_| !policy.approval) {
        // A user who agrees gets it at any hour.
        let window = window.to_string().replace('-', " to ");
        words.push(format!(
            "Installed from {window}, local time of the device, unless its user asks for it earlier."
        ));
    }
    if policy.downgrade {
        words.push("Devices that come from another channel may go down to it.".into());
    }
    words
}

/// Says all that holds a release back; nothing if nothing does.
pub fn terms(terms: &Terms) -> Vec<String> {
    let mut words = Vec::new();
    if terms.rollout != Rollout::default() {
        words.push(rollout(terms.rollout));
    }
    words.extend(policy(&terms.policy));
    words
}

fn members(policy: &Policy) -> String {
    let mut parts = Vec::new();
    match policy.groups.as_slice() {
        [] => {}
        [group] => parts.push(format!("devices of the group {group}")),
        [groups @ .., last] => {
            let groups: Vec<_> = groups.iter().map(GroupName::as_str).collect();
            parts.push(format!("devices of the groups {} and {last}", groups.join(", ")));
        }
    }
    match policy.devices.len() {
        0 => {}
        1 => parts.push("one device that is listed".into()),
        count => parts.push(format!("{count} devices that are listed")),
    }
    parts.join(", and for ")
}

#[cfg(test)]
mod tests {
    use super::super::tests::parse;
    use super::*;

    fn said(text: &str) -> Vec<String> {
        terms(parse(text).unwrap().terms(&"stable".parse().unwrap()))
    }

    #[test]
    fn what_holds_nothing_back_needs_no_words() {
        assert!(said("").is_empty());
        assert!(said("[channels.stable.policy]\nmetadata = { a = 1 }\n").is_empty());
    }

    #[test]
    fn every_condition_is_said() {
        let text = "[channels.stable.rollout]\npercent = 12.5\npaused = true\n\
             [channels.stable.policy]\nnot-before = 2026-12-24T18:00:00+01:00\n\
             window = \"23:00-04:30\"\napproval = true\ngroups = [\"beta\", \"staff\", \"us\"]\n\
             devices = [\"0123456789abcdef\"]\ndowngrade = true\n";
        assert_eq!(
            said(text),
            [
                "Paused: offered to no device for now, and to 12.5 % of all devices when it goes on.",
                "Only for devices of the groups beta, staff and us, and for one device that is listed.",
                "Installed from 2026-12-24 17:00 UTC on.",
                "Waits on each device until its user agrees.",
                "Devices that come from another channel may go down to it.",
            ]
        );
        let alone = said(&text.replace("approval = true\n", ""));
        let window = "Installed from 23:00 to 04:30, local time of the device, unless its user asks for it earlier.";
        assert!(alone.iter().any(|words| words == window), "{alone:?}");
        let urgent = text.replace("approval = true", "priority = \"urgent\"");
        let urgent = said(&urgent);
        assert!(urgent.contains(&"Urgent: waits for no time of day.".to_owned()));
        assert!(!urgent.iter().any(|words| words.contains("23:00")), "{urgent:?}");
    }
}
