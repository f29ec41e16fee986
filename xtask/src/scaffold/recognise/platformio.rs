//! Firmware with PlatformIO.

use super::{Build, Files, Found, Framework, Target, chip, folder_of, join, named};
use std::collections::BTreeMap;

/// The settings of each section.
type Sections = BTreeMap<String, BTreeMap<String, String>>;

/// How many sections, or settings, are followed from one to the next.
const DEPTH: usize = 32;

pub(super) fn find(files: &Files) -> Option<Found> {
    named(files, "platformio.ini").find_map(|(path, text)| of_project(files, path, text))
}

fn of_project(files: &Files, path: &str, text: &str) -> Option<Found> {
    let dir = folder_of(path);
    let sections = parse(text);
    let names = sections.keys().filter_map(|section| section.strip_prefix("env:"));
    let mut targets: Vec<_> =
        names.filter_map(|name| of_environment(files, &dir, &sections, name)).collect();
    let default = value(&sections, "platformio", "default_envs").unwrap_or_default();
    let is_default = |target: &Target| words(&default).any(|name| name == target.name);
    // The default may be no more than tests on the host.
    if targets.iter().any(is_default) {
        targets.retain(is_default);
    }
    if targets.is_empty() {
        return None;
    }
    Some(Found {
        framework: Framework::PlatformIo,
        evidence: path.to_owned(),
        project: None,
        targets,
        has_cargo: false,
        notes: vec![super::arduino::DESCRIPTOR],
    })
}

fn of_environment(files: &Files, dir: &str, sections: &Sections, name: &str) -> Option<Target> {
    let value = |key: &str| value(sections, &format!("env:{name}"), key);
    if !value("platform")?.contains("espressif32") {
        return None;
    }
    let mcu = value("board_build.mcu").and_then(|mcu| mcu.parse().ok());
    // An environment without a board is there to be extended.
    let chip = match mcu {
        Some(chip) => (chip, false),
        None => chip::of_board(&value("board")?),
    };
    let build = Build::Command {
        command: ["pio", "run", "--environment", name].map(str::to_owned).into(),
        dir: dir.to_owned(),
        output: join(dir, &format!(".pio/build/{name}/firmware.bin")),
    };
    let table = value("board_build.partitions").map(|table| join(dir, &table));
    Some(Target {
        // One of PlatformIO's own tables is no file of the repository.
        partition_table: table.filter(|table| files.contains_key(table)),
        flash_size: value("board_upload.flash_size").filter(|size| !size.contains('$')),
        ..Target::new(name, chip, build)
    })
}

/// Returns a setting with those that it names, `${section.key}`, in their places.
fn value(sections: &Sections, section: &str, key: &str) -> Option<String> {
    let mut text = written(sections, section, key)?.to_owned();
    // Settings may name each other, by a mistake.
    for _ in 0..DEPTH {
        let Some(start) = text.find("${") else { break };
        let Some(end) = text[start..].find('}').map(|length| start + length) else { break };
        let named = text[start + 2..end].split_once('.').and_then(|named| match named {
            ("this", "__env__") => section.strip_prefix("env:"),
            ("this", key) => written(sections, section, key),
            (other, key) => written(sections, other, key),
        });
        // What the environment says, only a build knows.
        let Some(named) = named else { break };
        text.replace_range(start..=end, named);
    }
    Some(text)
}

/// Looks a setting up where PlatformIO does: in the section, in those that it
/// extends, the last of them first, and in that of all environments.
fn written<'a>(sections: &'a Sections, section: &str, key: &str) -> Option<&'a str> {
    let common = section.starts_with("env:").then_some("env");
    let mut queue: Vec<&str> = common.into_iter().chain([section]).collect();
    // A section may extend itself, by a mistake.
    for _ in 0..DEPTH {
        let Some(settings) = sections.get(queue.pop()?) else { continue };
        if let Some(value) = settings.get(key) {
            return Some(value);
        }
        queue.extend(settings.get("extends").into_iter().flat_map(|names| words(names)));
    }
    None
}

fn words(list: &str) -> impl Iterator<Item = &str> {
    list.split([',', '\n']).map(str::trim).filter(|word| !word.is_empty())
}

fn parse(text: &str) -> Sections {
    let mut sections = Sections::new();
    let mut section = String::new();
    let mut last: Option<String> = None;
    for line in text.lines() {
        let is_indented = line.starts_with([' ', '\t']);
        let line = uncommented(line).trim();
        if line.is_empty() {
            continue;
        }
        let settings = sections.entry(section.clone()).or_default();
        if let Some(value) = last.as_ref().filter(|_| is_indented).and_then(|k| settings.get_mut(k))
        {
            // Lines that are indented continue a list, such as that of libraries.
            value.push('\n');
            value.push_str(line);
        } else if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            name.trim().clone_into(&mut section);
            sections.entry(section.clone()).or_default();
            last = None;
        } else if let Some((key, value)) = line.split_once('=') {
            let key = key.trim().to_owned();
            settings.insert(key.clone(), value.trim().to_owned());
            last = Some(key);
        }
    }
    sections
}

/// Returns a line without its comment, which begins the line or follows a blank.
fn uncommented(line: &str) -> &str {
    let is_comment = |(at, _): &(usize, &str)| *at == 0 || line[..*at].ends_with([' ', '\t']);
    let mut signs = line.match_indices(['#', ';']).filter(is_comment);
    signs.next().map_or(line, |(at, _)| &line[..at])
}

#[cfg(test)]
mod tests {
    use super::{super::tests::files, *};
    use towline_descriptor::Chip;

    #[test]
    fn each_environment_of_espressif_is_a_target() {
        let ini = "[platformio]\ndefault_envs = test\n\
            [env]\nplatform = espressif32 @ 6.9.0\nframework = arduino\n\
            [common]\nboard = lolin_s3\nboard_build.partitions = parts.csv\n\
            lib_deps =\n  platform = native\n\
            [env:a]\nboard = esp32dev ; the old one\nboard_build.partitions = min_spiffs.csv\n\
            [env:b]\nextends = common\nboard_upload.flash_size = 16MB\n\
            [env:c]\nboard = whatever\nboard_build.mcu = esp32c6\n\
            [env:d]\nboard = whatever\n\
            [env:test]\nplatform = native\n[env:loop]\nextends = env:loop\nplatform = other\n";
        let found = find(&files([("fw/platformio.ini", ini), ("fw/parts.csv", "")])).unwrap();
        let seen: Vec<_> = found
            .targets
            .iter()
            .map(|target| (target.name.as_str(), target.chip, target.is_guess))
            .collect();
        let expected = [
            ("a", Chip::Esp32, false),
            ("b", Chip::Esp32s3, false),
            ("c", Chip::Esp32c6, false),
            ("d", Chip::Esp32, true),
        ];
        assert_eq!(seen, expected);
        assert_eq!(found.targets[0].partition_table, None);
        assert_eq!(found.targets[1].partition_table.as_deref(), Some("fw/parts.csv"));
        assert_eq!(found.targets[1].flash_size.as_deref(), Some("16MB"));
        let Build::Command { output, dir, .. } = &found.targets[1].build else { panic!() };
        assert_eq!((output.as_str(), dir.as_str()), ("fw/.pio/build/b/firmware.bin", "fw"));
    }

    fn targets(ini: &str) -> Vec<(String, Chip, Option<String>)> {
        let found = find(&files([("platformio.ini", ini)]));
        let targets = found.into_iter().flat_map(|found| found.targets);
        targets.map(|target| (target.name, target.chip, target.flash_size)).collect()
    }

    #[test]
    fn settings_name_others_and_comments_follow_a_blank() {
        let ini = "[common]\nplatform = espressif32 # pinned\nchip = esp32${common.end}\nend = c6\n\
            size = 4MB#x\nloop = ${common.loop}\n\
            [base]\nboard = esp32dev\n[other]\nboard = esp32-s2\n\
            [env]\nplatform = ${common.platform}\n\
            [env:a]\nboard_build.mcu = ${common.chip}\t; new\nboard_upload.flash_size = ${common.size}\n\
            [env:b]\nextends = base, other\nboard_upload.flash_size = ${sysenv.SIZE}\n\
            [env:esp32c3]\nboard = ${this.__env__}\nboard_upload.flash_size = ${common.loop}\n\
            [env:base]\nbuild_flags = -Os\n";
        let expected = [
            ("a".to_owned(), Chip::Esp32c6, Some("4MB#x".to_owned())),
            ("b".to_owned(), Chip::Esp32s2, None),
            ("esp32c3".to_owned(), Chip::Esp32c3, None),
        ];
        assert_eq!(targets(ini), expected);
    }

    #[test]
    fn the_default_environments_are_the_targets() {
        let environments = "[env]\nplatform = espressif32\nboard = esp32dev\n\
            [env:a]\n[env:b]\n[env:c]\n[env:test]\nplatform = native\n";
        for (default, expected) in [
            ("c, a", &["a", "c"][..]),
            ("\n  b ; the new one\n  ; c\n\n  test", &["b"]),
            ("${common.envs}", &["a"]),
            ("test", &["a", "b", "c"]),
        ] {
            let ini = format!("[platformio]\ndefault_envs = {default}\n[common]\nenvs = a\n");
            let seen = targets(&(ini + environments));
            let names: Vec<_> = seen.iter().map(|(name, ..)| name.as_str()).collect();
            assert_eq!(names, expected, "{default}");
        }
    }
}
