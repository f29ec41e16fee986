//! Firmware with PlatformIO.

use super::{Build, Files, Found, Framework, Target, chip, folder_of, join, named};
use std::collections::BTreeMap;

/// The settings of each section.
type Sections = BTreeMap<String, BTreeMap<String, String>>;

pub(super) fn find(files: &Files) -> Option<Found> {
    named(files, "platformio.ini").find_map(|(path, text)| of_project(files, path, text))
}

fn of_project(files: &Files, path: &str, text: &str) -> Option<Found> {
    let dir = folder_of(path);
    let sections = parse(text);
    let names = sections.keys().filter_map(|section| section.strip_prefix("env:"));
    let targets: Vec<_> =
        names.filter_map(|name| of_environment(files, &dir, &sections, name)).collect();
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
    let value = |key: &str| value(sections, &format!("env:{name}"), key, 0);
    if !value("platform")?.contains("espressif32") {
        return None;
    }
    let board = value("board").unwrap_or_default();
    let chip = match value("board_build.mcu").and_then(|mcu| mcu.parse().ok()) {
        Some(chip) => (chip, false),
        None => chip::of_board(board),
    };
    let build = Build::Command {
        command: ["pio", "run", "--environment", name].map(str::to_owned).into(),
        dir: dir.to_owned(),
        output: join(dir, &format!(".pio/build/{name}/firmware.bin")),
    };
    let table = value("board_build.partitions").map(|table| join(dir, table));
    Some(Target {
        // One of PlatformIO's own tables is no file of the repository.
        partition_table: table.filter(|table| files.contains_key(table)),
        flash_size: value("board_upload.flash_size").map(str::to_owned),
        ..Target::new(name, chip, build)
    })
}

/// Looks a setting up where PlatformIO does: in the section, in those that it
/// extends, and in that of all environments.
fn value<'a>(sections: &'a Sections, section: &str, key: &str, depth: usize) -> Option<&'a str> {
    let own = sections.get(section);
    if let Some(value) = own.and_then(|settings| settings.get(key)) {
        return Some(value);
    }
    // A section may extend itself, by a mistake.
    let extended = own.and_then(|settings| settings.get("extends")).filter(|_| depth < 8);
    let mut extended = extended.into_iter().flat_map(|names| names.split(','));
    let inherited = extended.find_map(|name| value(sections, name.trim(), key, depth + 1));
    inherited.or_else(|| sections.get("env")?.get(key).map(String::as_str))
}

fn parse(text: &str) -> Sections {
    let mut sections = Sections::new();
    let mut section = String::new();
    for line in text.lines() {
        // Lines that are indented continue a list, such as that of libraries.
        if line.starts_with([' ', '\t', ';', '#']) {
            continue;
        }
        let line = line.split(" ;").next().unwrap_or_default().trim();
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            name.trim().clone_into(&mut section);
            sections.entry(section.clone()).or_default();
        } else if let Some((key, value)) = line.split_once('=') {
            let settings = sections.entry(section.clone()).or_default();
            settings.insert(key.trim().to_owned(), value.trim().to_owned());
        }
    }
    sections
}

#[cfg(test)]
mod tests {
    use super::{super::tests::files, *};
    use towline_descriptor::Chip;

    #[test]
    fn each_environment_of_espressif_is_a_target() {
        let ini = "[platformio]\ndefault_envs = a\n\
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
}
