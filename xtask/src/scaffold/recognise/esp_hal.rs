//! Firmware in Rust with esp-hal.

use super::{Build, Files, Found, Framework, Target, folder_of, join, named};
use crate::build::triple;
use toml::{Table, Value};
use towline_descriptor::Chip;

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
    Some(Found {
        framework: Framework::EspHal,
        evidence: path.to_owned(),
        project: Some(package.to_owned()),
        targets,
        has_cargo: !is_espressifs(files, &dir),
        notes: vec!["the firmware follows its channel once it calls the package `towline-device`"],
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

/// Returns whether cargo is Espressif's in the folder where it would build the
/// publisher: that one may build everything from source, for chips only.
fn is_espressifs(files: &Files, dir: &str) -> bool {
    let channel = |path: &str| {
        let file: Table = files.get(path)?.parse().ok()?;
        Some(file.get("toolchain")?.get("channel")?.as_str()? == "esp")
    };
    dir == "." && channel("rust-toolchain.toml").unwrap_or(false)
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
    fn with_espressifs_cargo_there_is_no_xtask() {
        let manifest = format!(
            "{PACKAGE}[dependencies]\nesp-hal = {{ version = \"1\", features = [\"esp32\"] }}\n"
        );
        let toolchain = "[toolchain]\nchannel = \"esp\"\n";
        let found = find(&files([("Cargo.toml", &manifest), ("rust-toolchain.toml", toolchain)]));
        assert!(!found.unwrap().has_cargo);
        assert!(find(&files([("Cargo.toml", &manifest)])).unwrap().has_cargo);
    }
}
