//! A plan as Markdown, of the size of a comment.

use super::{Plan, PlannedChannel, PlannedTarget};
use crate::name::TargetName;
use towline_descriptor::Version;

/// The longest notes that are shown, in characters. A comment on GitHub has at most
/// 65,536.
const MAX_NOTES: usize = 8 * 1024;

impl Plan {
    /// Returns the plan as Markdown, with the notes that the release would have.
    ///
    /// Whoever opens a pull request says what is in it: all of it is shown as text.
    pub fn markdown(&self, notes: Option<&str>) -> String {
        let version = match &self.version {
            Some(version) => format!(" {}", code(version)),
            None => ", version as built".to_owned(),
        };
        let mut text = format!("## {}{version}", code(&self.project));
        text += &format!("\n\nNewest release so far: {}\n\n", or_dash(self.newest.as_ref()));
        text += "| target | chip | build | needs |\n|---|---|---|---|\n";
        text.extend(self.targets.iter().map(target_row));
        text += "\n| channel | rule | now | then |\n|---|---|---|---|\n";
        text.extend(self.channels.iter().map(channel_row));
        if !self.missing.is_empty() {
            let names: Vec<_> = self.missing.iter().map(TargetName::as_str).map(code).collect();
            text += &format!(
                "\n**Missing:** {}. The release before had them; name those that end with `--drop-target`.\n",
                names.join(", ")
            );
        }
        if let Some(notes) = notes {
            text += "\nNotes:\n\n";
            text.extend(quoted(notes));
        }
        text
    }
}

fn target_row(target: &PlannedTarget) -> String {
    let build = match &target.command {
        Some(command) => code(command.join(" ")),
        None => format!("prebuilt {}", code(target.from.display())),
    };
    let needs = target.needs.as_ref().map_or("-".into(), code);
    format!("| {} | {} | {build} | {needs} |\n", code(&target.name), target.chip)
}

fn channel_row(channel: &PlannedChannel) -> String {
    let (now, then) = (or_dash(channel.now.as_ref()), or_dash(channel.then.as_ref()));
    let then = if now == then { then } else { format!("**{then}**") };
    format!("| {} | {} | {now} | {then} |\n", code(&channel.name), code(&channel.rule))
}

fn or_dash(version: Option<&Version>) -> String {
    version.map_or("-".into(), code)
}

/// Returns a text as code in a cell of a table. There a bar ends a cell even
/// in code, and backticks end the code.
fn code(text: impl ToString) -> String {
    let text = text.to_string();
    let plain = |c: char| match c {
        '`' => '\'',
        '|' => '\u{a6}',
        c if c.is_control() => ' ',
        c => c,
    };
    format!("`{}`", text.chars().map(plain).collect::<String>())
}

/// Returns the lines of a text as a block of code, in a fence that none of
/// them closes.
fn quoted(text: &str) -> [String; 3] {
    let cut = text.char_indices().nth(MAX_NOTES);
    let text = match cut {
        Some((at, _)) => format!("{}\u{2026}", &text[..at]),
        None => text.to_owned(),
    };
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(longest.max(2) + 1);
    [format!("{fence}text\n"), text + "\n", fence + "\n"]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{channel::Channels, config::Config, plan::plan, release::tests::record};
    use proptest::prelude::*;
    use std::path::Path;

    fn example() -> Plan {
        let config = "project = \"lamp\"\nbase-url = \"https://example.org/\"\n[targets.esp32c3]\nbuild.cargo = \"firmware\"\n[targets.esp32s3]\nbuild = { command = [\"make\", \"a|b`c\"], output = \"x\" }\n[targets.esp32]\nbuild.cargo = \"firmware\"\n";
        let config = Config::parse(Path::new("/p/towline.toml"), config).unwrap();
        let channels = Channels::parse(Path::new("channels.toml"), "", &config).unwrap();
        let targets: Vec<_> = config.targets.keys().cloned().collect();
        let releases = [record("1.0.0", &["esp32c3", "esp32s3", "esp32c6"])];
        let version = Some("1.1.0-rc.1".parse().unwrap());
        plan(&config, &channels, &releases, &targets, version, |_| true)
    }

    #[test]
    fn a_plan_as_markdown_shows_targets_channels_and_what_is_missing() {
        insta::assert_snapshot!(example().markdown(Some("New\n- ```a fence```\n| a | b |")));
    }

    #[test]
    fn the_jobs_of_a_matrix_say_what_they_need() {
        let json = serde_json::to_value(example()).unwrap();
        let expected = serde_json::json!([
            { "target": "esp32c3", "chip": "esp32c3", "toolchain": "stable", "triple": "riscv32imc-unknown-none-elf" },
            { "target": "esp32s3", "chip": "esp32s3", "toolchain": "stable", "triple": null },
            { "target": "esp32", "chip": "esp32", "toolchain": "esp", "triple": "xtensa-esp32-none-elf" },
        ]);
        assert_eq!(json["include"], expected);
    }

    proptest! {
        #[test]
        fn notes_stay_in_their_fence(notes in "(`|~|a|\n|\\PC){0,60}") {
            let [open, text, close] = quoted(&notes);
            let fence = close.trim_end();
            prop_assert!(open.starts_with(fence) && !text.contains(fence));
        }
    }
}
