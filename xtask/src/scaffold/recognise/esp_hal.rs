//! Firmware in Rust with esp-hal.

use super::{Build, Files, Found, Framework, Target, folder_of, join, named};
use crate::build::triple;
use toml::{Table, Value};
use towline_descriptor::Chip;

const DEVICE: &str = "the firmware follows its channel once it calls the package `towline-device`";

/// Why there is no xtask.
const NO_XTASK: &str = "the toolchain that this repository pins, or `build-std` in \
     .cargo/config.toml, is for chips alone or too old: the publisher is a program";

pub(super) fn find(files: &Files) -> Option<Found> {
    named(files, "Cargo.toml").find_map(|(path, text)| of_package(files, path, text))
}

fn of_package(files: &Files, path: &str, text: &str) -> Option<Found> {
    let manifest: Table = text.parse().ok()?;
    let package = manifest.get("package")?.get("name")?.as_str()?;
    let own = manifest.get("dependencies")?.get("esp-hal")?;
    let dir = folder_of(path);
    let workspace = || dependency_of_workspace(files);
    let chips = |dependency: &Value| -> Vec<Chip> {
        let features = dependency.get("features").and_then(Value::as_array).into_iter().flatten();
        features.filter_map(|feature| feature.as_str()?.parse().ok()).collect()
    };
    // The chip of the dependency itself, or a feature of the package for each.
    let mut fixed = chips(own);
    if own.get("workspace").is_some() {
        fixed.extend(workspace().iter().flat_map(chips));
    }
    let features = manifest.get("features").and_then(Value::as_table);
    let features = features.into_iter().flat_map(Table::keys);
    let chosen: Vec<Chip> = features.filter_map(|feature| feature.parse().ok()).collect();
    let build = |features: Vec<String>| Build::Cargo { dir: dir.clone(), features };
    let mut targets: Vec<_> = match (fixed.as_slice(), chosen.as_slice()) {
        ([chip, ..], _) => vec![Target::new(chip.name(), (*chip, false), build(vec![]))],
        ([], []) => {
            let (chip, is_guess) = of_triple(files, &dir);
            vec![Target::new(chip.name(), (chip, is_guess), build(vec![]))]
        }
        ([], chips) => {
            let target = |chip: &Chip| {
                Target::new(chip.name(), (*chip, false), build(vec![chip.name().to_owned()]))
            };
            chips.iter().map(target).collect()
        }
    };
    let table = join(&dir, "partitions.csv");
    if files.contains_key(&table) {
        targets.iter_mut().for_each(|target| target.partition_table = Some(table.clone()));
    }
    let has_cargo = builds_for_host(files);
    Some(Found {
        framework: Framework::EspHal,
        evidence: path.to_owned(),
        project: Some(package.to_owned()),
        targets,
        has_cargo,
        notes: [DEVICE].into_iter().chain((!has_cargo).then_some(NO_XTASK)).collect(),
    })
}

fn dependency_of_workspace(files: &Files) -> Option<Value> {
    let manifest: Table = files.get("Cargo.toml")?.parse().ok()?;
    manifest.get("workspace")?.get("dependencies")?.get("esp-hal").cloned()
}

/// Returns the chip that cargo's configuration builds for. RISC-V chips share
/// their triples: there it is the commonest one.
fn of_triple(files: &Files, dir: &str) -> (Chip, bool) {
    let configs = [join(dir, ".cargo/config.toml"), ".cargo/config.toml".to_owned()];
    let target = configs.iter().find_map(|path| {
        let config: Table = files.get(path)?.parse().ok()?;
        Some(config.get("build")?.get("target")?.as_str()?.to_owned())
    });
    let common = [Chip::Esp32, Chip::Esp32s2, Chip::Esp32s3, Chip::Esp32c3, Chip::Esp32c6];
    let chip = common.into_iter().find(|chip| target.as_deref() == Some(triple(*chip)));
    let chip = chip.unwrap_or(Chip::Esp32c3);
    (chip, !triple(chip).starts_with("xtensa-"))
}

/// Returns whether cargo at the root builds programs for the host too, such as the
/// publisher. The one of Espressif builds for chips; so does what builds everything
/// from source; an older one cannot build the publisher.
fn builds_for_host(files: &Files) -> bool {
    let config: Option<Table> = files.get(".cargo/config.toml").and_then(|text| text.parse().ok());
    let unstable = config.as_ref().and_then(|config| config.get("unstable"));
    let builds_std = unstable.is_some_and(|unstable| unstable.get("build-std").is_some());
    !builds_std && pinned(files).is_none_or(|channel| is_new_enough(&channel))
}

/// Returns the toolchain that the root of the repository asks for.
fn pinned(files: &Files) -> Option<String> {
    let text = files.get("rust-toolchain").or_else(|| files.get("rust-toolchain.toml"))?;
    match text.parse::<Table>() {
        Ok(file) => Some(file.get("toolchain")?.get("channel")?.as_str()?.to_owned()),
        // The file may hold no more than the name.
        Err(_) => Some(text.trim().to_owned()),
    }
}

/// Returns whether a toolchain is the newest of its kind, or of a version that our
/// packages are for.
fn is_new_enough(channel: &str) -> bool {
    let numbers = |version: &str| -> Option<Vec<u32>> {
        version.split('.').map(|number| number.parse().ok()).collect()
    };
    let (version, rest) = channel.split_once('-').unwrap_or((channel, ""));
    match version {
        "stable" | "beta" | "nightly" => !rest.starts_with(|c: char| c.is_ascii_digit()),
        version => numbers(version) >= numbers(env!("CARGO_PKG_RUST_VERSION")),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::files, *};

    const PACKAGE: &str = "[package]\nname = \"lamp\"\nversion = \"1.2.0\"\n";

    fn chips(found: &Found) -> Vec<(&str, bool)> {
        found.targets.iter().map(|target| (target.chip.name(), target.is_guess)).collect()
    }

    #[test]
    fn the_chip_is_a_feature_of_the_dependency_or_of_the_package_or_the_triple() {
        let fixed = format!(
            "{PACKAGE}[dependencies]\nesp-hal = {{ version = \"1\", features = [\"esp32s3\", \"unstable\"] }}\n"
        );
        let found = find(&files([("Cargo.toml", &fixed), ("partitions.csv", "")])).unwrap();
        assert_eq!(chips(&found), [("esp32s3", false)]);
        assert_eq!(found.project.as_deref(), Some("lamp"));
        assert_eq!(found.targets[0].partition_table.as_deref(), Some("partitions.csv"));

        let choice = format!(
            "{PACKAGE}[features]\nesp32c3 = []\nesp32c6 = []\nlog = []\n[dependencies]\nesp-hal = \"1\"\n"
        );
        let found =
            find(&files([("fw/Cargo.toml", &choice), ("Cargo.toml", "[workspace]")])).unwrap();
        assert_eq!(chips(&found), [("esp32c3", false), ("esp32c6", false)]);
        let build = Build::Cargo { dir: "fw".into(), features: vec!["esp32c3".into()] };
        assert_eq!(found.targets[0].build, build);

        let none = format!("{PACKAGE}[dependencies]\nesp-hal = \"1\"\n");
        for (triple, expected) in [
            ("xtensa-esp32s2-none-elf", ("esp32s2", false)),
            ("riscv32imac-unknown-none-elf", ("esp32c6", true)),
        ] {
            let config = format!("[build]\ntarget = \"{triple}\"\n");
            let found = find(&files([("Cargo.toml", &none), (".cargo/config.toml", &config)]));
            assert_eq!(chips(&found.unwrap()), [expected]);
        }
    }

    #[test]
    fn a_workspace_says_the_chip_for_its_packages() {
        let found = find(&files([
            (
                "Cargo.toml",
                "[workspace.dependencies]\nesp-hal = { version = \"1\", features = [\"esp32c6\"] }",
            ),
            ("app/Cargo.toml", &format!("{PACKAGE}[dependencies]\nesp-hal.workspace = true\n")),
        ]));
        assert_eq!(chips(&found.unwrap()), [("esp32c6", false)]);
    }

    #[test]
    fn without_a_cargo_for_the_host_there_is_no_xtask() {
        let manifest = format!(
            "{PACKAGE}[dependencies]\nesp-hal = {{ version = \"1\", features = [\"esp32\"] }}\n"
        );
        let has_cargo = |path: &str, text: &str| {
            let found = find(&files([("fw/Cargo.toml", &manifest), (path, text)])).unwrap();
            assert_eq!(found.notes.contains(&NO_XTASK), !found.has_cargo);
            found.has_cargo
        };
        for (channel, expected) in [
            ("stable", true),
            ("stable-x86_64-unknown-linux-gnu", true),
            ("nightly", true),
            ("nightly-2024-06-01", false),
            ("1.88", false),
            ("1.94.1", false),
            (env!("CARGO_PKG_RUST_VERSION"), true),
            ("1.100.0", true),
            ("esp", false),
        ] {
            let pin = format!("[toolchain]\nchannel = \"{channel}\"\n");
            assert_eq!(has_cargo("rust-toolchain.toml", &pin), expected, "{channel}");
            assert_eq!(has_cargo("rust-toolchain", &format!("{channel}\n")), expected, "{channel}");
            // What is pinned for the firmware alone does not count at the root.
            assert!(has_cargo("fw/rust-toolchain.toml", &pin));
        }
        let config = "[unstable]\nbuild-std = [\"core\"]\n";
        assert!(!has_cargo(".cargo/config.toml", config));
        assert!(has_cargo("fw/.cargo/config.toml", config));
        assert!(has_cargo("README.md", ""));
    }
}
