//! Firmware with ESP-IDF and CMake.

use super::{Build, Files, Found, Framework, Target, folder_of, join, named};
use towline_descriptor::Chip;

/// What a project is called that CMake computes the name of.
const GUESSED: &str = "CMakeLists.txt computes the name of the project, and that of its folder is \
     a guess: look whether `build.output` in towline.toml is right";

pub(super) fn find(files: &Files, root: &str) -> Option<Found> {
    named(files, "CMakeLists.txt").find_map(|(path, text)| of_project(files, root, path, text))
}

fn of_project(files: &Files, root: &str, path: &str, text: &str) -> Option<Found> {
    if !text.contains("tools/cmake/project.cmake") {
        return None;
    }
    let dir = folder_of(path);
    let folder = if dir == "." { root } else { dir.rsplit('/').next()? };
    let name = project_name(text)?;
    let is_computed = name.contains('$');
    // ESP-IDF's examples name themselves so.
    let project = if is_computed { folder.replace(' ', "_") } else { name };
    let common = settings(files, &dir, &["sdkconfig", "sdkconfig.defaults"]);
    let variants: Vec<Chip> = Chip::ALL
        .iter()
        .copied()
        .filter(|chip| files.contains_key(&join(&dir, &format!("sdkconfig.defaults.{chip}"))))
        .collect();
    let told = common.iter().find_map(|(key, value)| {
        (*key == "CONFIG_IDF_TARGET").then(|| value.parse::<Chip>().ok()).flatten()
    });
    let targets = match (told, variants.as_slice()) {
        (None, [_, ..]) | (_, [_, _, ..]) => {
            variants.iter().map(|chip| variant(files, &dir, &project, *chip)).collect()
        }
        _ => {
            // idf.py builds for the ESP32 where nothing else is said.
            let chip = told.unwrap_or(Chip::Esp32);
            let build = Build::Command {
                command: words("idf.py build"),
                output: join(&dir, &format!("build/{project}.bin")),
                dir: dir.clone(),
            };
            let target = Target::new(chip.name(), (chip, told.is_none()), build);
            let own = format!("sdkconfig.defaults.{chip}");
            let settings = settings(files, &dir, &["sdkconfig", &own, "sdkconfig.defaults"]);
            vec![with_settings(target, files, &dir, &settings)]
        }
    };
    let version = "images carry PROJECT_VER, which has to be a semantic version: `set(PROJECT_VER \"1.0.0\")` before `project()`";
    Some(Found {
        framework: Framework::EspIdf,
        evidence: path.to_owned(),
        project: Some(project),
        targets,
        has_cargo: false,
        notes: [version].into_iter().chain(is_computed.then_some(GUESSED)).collect(),
    })
}

/// Builds for a chip that only the name of a file tells, apart from others.
fn variant(files: &Files, dir: &str, project: &str, chip: Chip) -> Target {
    let folder = format!("build/{chip}");
    let command =
        format!("idf.py -B {folder} -DIDF_TARGET={chip} -DSDKCONFIG={folder}/sdkconfig build");
    let build = Build::Command {
        command: words(&command),
        output: join(dir, &format!("{folder}/{project}.bin")),
        dir: dir.to_owned(),
    };
    let own = format!("sdkconfig.defaults.{chip}");
    let settings = settings(files, dir, &[&own, "sdkconfig.defaults"]);
    with_settings(Target::new(chip.name(), (chip, false), build), files, dir, &settings)
}

fn words(command: &str) -> Vec<String> {
    command.split(' ').map(str::to_owned).collect()
}

/// Returns the settings in these files of a project. What comes first counts.
fn settings<'a>(files: &'a Files, dir: &str, names: &[&str]) -> Vec<(&'a str, &'a str)> {
    let texts = names.iter().filter_map(|name| files.get(&join(dir, name)));
    let lines = texts.flat_map(|text| text.lines());
    lines
        .filter_map(|line| line.split_once('='))
        .map(|(k, v)| (k.trim(), v.trim().trim_matches('"')))
        .collect()
}

fn with_settings(
    mut target: Target,
    files: &Files,
    dir: &str,
    settings: &[(&str, &str)],
) -> Target {
    let value = |key: &str| settings.iter().find(|(k, _)| *k == key).map(|(_, value)| *value);
    let is_custom = value("CONFIG_PARTITION_TABLE_CUSTOM") == Some("y");
    let table = value("CONFIG_PARTITION_TABLE_CUSTOM_FILENAME").unwrap_or("partitions.csv");
    let table = join(dir, table);
    target.partition_table = (is_custom && files.contains_key(&table)).then_some(table);
    let offset = value("CONFIG_PARTITION_TABLE_OFFSET").and_then(|text| text.strip_prefix("0x"));
    let offset = offset.and_then(|digits| u32::from_str_radix(digits, 16).ok());
    target.partition_table_offset = offset.filter(|offset| *offset != 0x8000);
    target.flash_size = value("CONFIG_ESPTOOLPY_FLASHSIZE").map(str::to_owned);
    target
}

/// Returns what `project(...)` calls the project: a name, or what computes it.
fn project_name(text: &str) -> Option<String> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let mut arguments = lines.filter_map(|line| {
        let (command, rest) = line.split_once('(')?;
        command.trim().eq_ignore_ascii_case("project").then_some(rest)
    });
    let name = arguments.next_back()?.split([' ', ')', '\t']).find(|word| !word.is_empty())?;
    let name = name.trim_matches('"');
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{super::tests::files, *};

    const CMAKE: &str = "cmake_minimum_required(VERSION 3.16)\n\
        include($ENV{IDF_PATH}/tools/cmake/project.cmake)\nproject(lamp) # bright\n";

    #[test]
    fn project_chip_flash_and_table_are_read() {
        let settings = "CONFIG_IDF_TARGET=\"esp32s3\"\nCONFIG_ESPTOOLPY_FLASHSIZE=\"8MB\"\n\
            CONFIG_PARTITION_TABLE_CUSTOM=y\nCONFIG_PARTITION_TABLE_CUSTOM_FILENAME=\"parts.csv\"\n\
            CONFIG_PARTITION_TABLE_OFFSET=0x10000\n";
        let found = find(
            &files([
                ("CMakeLists.txt", CMAKE),
                ("sdkconfig.defaults", settings),
                ("parts.csv", ""),
            ]),
            "",
        )
        .unwrap();
        let [target] = found.targets.as_slice() else { panic!("{found:?}") };
        assert_eq!(found.project.as_deref(), Some("lamp"));
        assert_eq!((target.chip, target.is_guess), (Chip::Esp32s3, false));
        assert_eq!(target.flash_size.as_deref(), Some("8MB"));
        assert_eq!(target.partition_table.as_deref(), Some("parts.csv"));
        assert_eq!(target.partition_table_offset, Some(0x1_0000));
        let Build::Command { output, .. } = &target.build else { panic!("{target:?}") };
        assert_eq!(output, "build/lamp.bin");
    }

    #[test]
    fn a_project_for_several_chips_builds_them_apart() {
        let found = find(
            &files([
                ("fw/CMakeLists.txt", CMAKE),
                ("fw/sdkconfig.defaults.esp32c3", "CONFIG_ESPTOOLPY_FLASHSIZE=\"2MB\""),
                ("fw/sdkconfig.defaults.esp32", ""),
            ]),
            "",
        )
        .unwrap();
        let output = |target: &Target| match &target.build {
            Build::Command { output, dir, .. } => (output.clone(), dir.clone()),
            _ => panic!("{target:?}"),
        };
        let outputs: Vec<_> = found.targets.iter().map(output).collect();
        let expected =
            ["esp32", "esp32c3"].map(|chip| (format!("fw/build/{chip}/lamp.bin"), "fw".to_owned()));
        assert_eq!(outputs, expected);
        assert_eq!(found.targets[1].flash_size.as_deref(), Some("2MB"));
    }

    #[test]
    fn a_cmake_project_of_something_else_is_none_of_ours() {
        assert!(find(&files([("CMakeLists.txt", "project(desk)")]), "desk").is_none());
    }

    #[test]
    fn a_name_that_is_computed_is_guessed_to_be_that_of_the_folder() {
        let computed = CMAKE.replace("lamp", "${NAME}");
        for (path, name) in [("CMakeLists.txt", "desk_lamp"), ("a/fw/CMakeLists.txt", "fw")] {
            let found = find(&files([(path, &computed)]), "desk lamp").unwrap();
            assert_eq!(found.project.as_deref(), Some(name));
            let Build::Command { output, .. } = &found.targets[0].build else { panic!() };
            assert!(output.ends_with(&format!("build/{name}.bin")), "{output}");
            assert!(found.notes.contains(&GUESSED));
        }
        let found = find(&files([("CMakeLists.txt", CMAKE)]), "desk").unwrap();
        assert!(!found.notes.contains(&GUESSED));
    }

    #[test]
    fn the_settings_for_one_chip_alone_tell_the_chip() {
        let own = ("sdkconfig.defaults.esp32c6", "CONFIG_ESPTOOLPY_FLASHSIZE=\"8MB\"\n");
        let found = find(&files([("CMakeLists.txt", CMAKE), own]), "").unwrap();
        let [target] = found.targets.as_slice() else { panic!("{found:?}") };
        assert_eq!((target.chip, target.is_guess), (Chip::Esp32c6, false));
        assert_eq!(target.flash_size.as_deref(), Some("8MB"));
        let Build::Command { command, .. } = &target.build else { panic!() };
        assert!(command.contains(&"-DIDF_TARGET=esp32c6".to_owned()), "{command:?}");

        let told = ("sdkconfig.defaults", "CONFIG_IDF_TARGET=\"esp32c6\"\n");
        let found = find(&files([("CMakeLists.txt", CMAKE), own, told]), "").unwrap();
        assert_eq!(found.targets[0].flash_size.as_deref(), Some("8MB"));
        let Build::Command { command, .. } = &found.targets[0].build else { panic!() };
        assert_eq!(command, &["idf.py", "build"]);
    }

    #[test]
    fn without_any_setting_the_chip_is_a_guess() {
        let found = find(&files([("CMakeLists.txt", CMAKE)]), "").unwrap();
        assert_eq!((found.targets[0].chip, found.targets[0].is_guess), (Chip::Esp32, true));
    }
}
