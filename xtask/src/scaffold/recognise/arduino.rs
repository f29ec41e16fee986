//! Sketches, built by arduino-cli.

use super::{Build, Files, Found, Framework, Target, chip, folder_of, join};

/// What an image of Arduino's libraries says of itself, and how to mend it.
pub(super) const DESCRIPTOR: &str = "an image built on Arduino's libraries is named after them: \
     define `esp_app_desc` in the firmware, with `project_name` and a semantic `version` of its own";

pub(super) fn find(files: &Files) -> Option<Found> {
    let mut sketches: Vec<_> = files.keys().filter(|path| is_sketch(path)).collect();
    sketches.sort_by_key(|path| path.matches('/').count());
    let sketch = sketches.first()?;
    let dir = folder_of(sketch);
    let file = sketch.rsplit('/').next()?;
    let settings = files.get(&join(&dir, "sketch.yaml")).map(String::as_str).unwrap_or_default();
    let build = |name: &str, arguments: [&str; 2]| {
        let out = format!("build/{name}");
        let command = ["arduino-cli", "compile", arguments[0], arguments[1], "--output-dir", &out];
        Build::Command {
            command: command.map(str::to_owned).into(),
            dir: dir.clone(),
            output: join(&dir, &format!("{out}/{file}.bin")),
        }
    };
    let of_board = |fqbn: &str| chip::of_board(fqbn.split(':').nth(2).unwrap_or_default());
    let mut targets: Vec<_> = profiles(settings)
        .into_iter()
        .map(|(name, fqbn)| Target::new(name, of_board(fqbn), build(name, ["--profile", name])))
        .collect();
    if targets.is_empty() {
        let told = settings.lines().find_map(|line| line.strip_prefix("default_fqbn:"));
        let fqbn = told.map(unquoted).filter(|fqbn| fqbn.starts_with("esp32:"));
        let (chip, is_guess) = fqbn.map_or((towline_descriptor::Chip::Esp32, true), of_board);
        let build = build(chip.name(), ["--fqbn", fqbn.unwrap_or("esp32:esp32:esp32")]);
        targets.push(Target::new(chip.name(), (chip, is_guess), build));
    }
    let table = join(&dir, "partitions.csv");
    if files.contains_key(&table) {
        targets.iter_mut().for_each(|target| target.partition_table = Some(table.clone()));
    }
    Some(Found {
        framework: Framework::Arduino,
        evidence: sketch.to_string(),
        project: file.strip_suffix(".ino").map(str::to_owned),
        targets,
        has_cargo: false,
        notes: vec![DESCRIPTOR],
    })
}

/// Returns whether a file is the one that gives a sketch its name: that of its
/// folder. At the root of a repository any is.
fn is_sketch(path: &str) -> bool {
    let Some(stem) = path.strip_suffix(".ino") else { return false };
    match stem.rsplit_once('/') {
        Some((folder, name)) => folder.rsplit('/').next() == Some(name),
        None => true,
    }
}

/// Returns the profiles of a sketch for these chips, with their boards.
fn profiles(yaml: &str) -> Vec<(&str, &str)> {
    let mut profiles = Vec::new();
    let mut name = None;
    let lines = yaml.lines().skip_while(|line| line.trim_end() != "profiles:").skip(1);
    for line in lines.take_while(|line| line.is_empty() || line.starts_with([' ', '#'])) {
        let indent = line.len() - line.trim_start().len();
        let line = line.trim();
        if indent == 2 {
            name = line.strip_suffix(':');
        } else if let (Some(name), Some(fqbn)) = (name, line.strip_prefix("fqbn:"))
            && unquoted(fqbn).starts_with("esp32:")
        {
            profiles.push((name, unquoted(fqbn)));
        }
    }
    profiles
}

fn unquoted(value: &str) -> &str {
    value.trim().trim_matches(['"', '\''])
}

#[cfg(test)]
mod tests {
    use super::{super::tests::files, *};
    use towline_descriptor::Chip;

    #[test]
    fn each_profile_is_a_target() {
        let yaml = "profiles:\n  desk:\n    fqbn: esp32:esp32:esp32c3\n    platforms:\n      - platform: esp32:esp32 (3.0.7)\n\
            \x20 wall:\n    fqbn: \"esp32:esp32:lolin_s3:PSRAM=opi\"\n  uno:\n    fqbn: arduino:avr:uno\ndefault_profile: desk\n";
        let found = find(&files([("lamp/lamp.ino", ""), ("lamp/sketch.yaml", yaml)])).unwrap();
        assert_eq!(found.project.as_deref(), Some("lamp"));
        let seen: Vec<_> =
            found.targets.iter().map(|target| (target.name.as_str(), target.chip)).collect();
        assert_eq!(seen, [("desk", Chip::Esp32c3), ("wall", Chip::Esp32s3)]);
        let Build::Command { command, output, .. } = &found.targets[0].build else { panic!() };
        assert_eq!(output, "lamp/build/desk/lamp.ino.bin");
        assert_eq!(command[2..4], ["--profile", "desk"]);
    }

    #[test]
    fn without_profiles_the_default_board_counts() {
        let yaml = "default_fqbn: esp32:esp32:esp32s2\n";
        let found = find(&files([("lamp.ino", ""), ("sketch.yaml", yaml)])).unwrap();
        assert_eq!((found.targets[0].chip, found.targets[0].is_guess), (Chip::Esp32s2, false));
        let found = find(&files([("lamp.ino", "")])).unwrap();
        assert!(found.targets[0].is_guess);
        assert!(find(&files([("examples/other.ino", "")])).is_none());
    }
}
