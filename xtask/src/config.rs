//! `towline.toml`: what a project publishes.
//!
//! The file is parsed once into types that cannot be wrong; every error names
//! file, line, column and what was expected.

mod check;
mod error;
pub(crate) mod github;
mod keep;
mod patches;
mod psram;

pub use check::{Check, PublicPath};
pub use error::ConfigError;
pub use github::{ApiUrl, GitHub, Repository, TagPrefix};
pub use keep::{InvalidSize, Keep, Size};
pub use patches::Patches;

use crate::name::{ChannelName, ProjectName, TargetName};
use espflash::flasher::{FlashFrequency, FlashMode, FlashSize};
use indexmap::IndexMap;
use psram::Psram;
use serde::Deserialize;
use std::{
    num::{NonZeroU16, NonZeroUsize},
    ops::Range,
    path::{Path, PathBuf},
};
use toml::Spanned;
use towline::layout::PARTITION_TABLE_OFFSET;
use towline_descriptor::{Chip, Url};

/// Name of the configuration file.
pub const FILE: &str = "towline.toml";

/// The longest base URL in bytes: descriptors and requests hold it.
const MAX_BASE_URL: usize = 512;

/// A project's configuration, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Folder of the file; all paths in it start there.
    pub root: PathBuf,
    /// `project_name` of every image.
    pub project: ProjectName,
    /// Name for people; the project's where none is given.
    pub title: String,
    /// One sentence for the page.
    pub description: Option<String>,
    /// Where the site is served, with a slash at its end.
    pub base_url: String,
    /// A PEM file with a certificate authority of the project's own, which its
    /// firmware trusts beside the public ones.
    pub ca: Option<PathBuf>,
    /// Channels in the order of the file.
    pub channels: IndexMap<ChannelName, Channel>,
    /// How boards are installed from the page.
    pub installer: Installer,
    /// How descriptors are signed, in a project with keys.
    pub signing: Signing,
    /// What a check lets pass.
    pub check: Check,
    /// Where releases are published on GitHub.
    pub github: GitHub,
    /// Which releases the site holds.
    pub site: Keep,
    /// Which shorter ways to them it offers.
    pub patches: Patches,
    /// Targets in the order of the file.
    pub targets: IndexMap<TargetName, Target>,
}

/// A channel that the project has.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    /// One sentence for the page.
    pub description: Option<String>,
    /// How many of the newest releases that it takes the site holds; what
    /// [`Keep`] says where not given.
    pub keep: Option<NonZeroUsize>,
}

/// What the page needs to know to install a board.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Installer {
    /// Whether the firmware sets up Wi-Fi by Improv over the serial line.
    pub improv: bool,
}

impl Default for Installer {
    fn default() -> Self {
        Self { improv: true }
    }
}

/// How descriptors are signed.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Signing {
    /// Days that a signed descriptor counts for.
    pub valid_days: NonZeroU16,
}

impl Default for Signing {
    fn default() -> Self {
        Self { valid_days: const { NonZeroU16::new(30).expect("30 is not 0") } }
    }
}

/// A board variant.
#[derive(Clone, Debug)]
pub struct Target {
    /// The chip.
    pub chip: Chip,
    /// How its firmware comes about.
    pub build: Build,
    /// Partition table, CSV or binary. Without it a target has only an app
    /// image: updates work, a first flash does not.
    pub partition_table: Option<PathBuf>,
    /// Flash offset in bytes of the partition table.
    pub partition_table_offset: u32,
    /// Size of the flash chip.
    pub flash_size: FlashSize,
    /// PSRAM in bytes that the board has to have.
    pub psram: Option<u32>,
    /// How the flash chip is read; the chip's default where not given.
    pub flash_mode: Option<FlashMode>,
    /// Clock of the flash chip; the chip's default where not given.
    pub flash_freq: Option<FlashFrequency>,
    /// Second-stage bootloader of one's own; the one that espflash bundles
    /// where not given.
    pub bootloader: Option<PathBuf>,
}

/// How firmware comes about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Build {
    /// `cargo build --release` in a folder.
    Cargo {
        /// Folder of the package.
        dir: PathBuf,
        /// Package, where the folder has several.
        package: Option<String>,
        /// Features to switch on.
        features: Vec<String>,
        /// Target triple; that of the chip where not given.
        triple: Option<String>,
    },
    /// Any command that leaves an ELF file or an app image.
    Command {
        /// Program and arguments.
        command: Vec<String>,
        /// Folder to run it in.
        dir: PathBuf,
        /// The file that it leaves.
        output: PathBuf,
    },
    /// An ELF file or app image that is already there.
    Prebuilt(PathBuf),
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "a project's configuration")]
struct Raw {
    project: ProjectName,
    title: Option<String>,
    description: Option<String>,
    base_url: Spanned<String>,
    ca: Option<PathBuf>,
    #[serde(default)]
    channels: IndexMap<ChannelName, Channel>,
    #[serde(default)]
    installer: Installer,
    #[serde(default)]
    signing: Signing,
    #[serde(default)]
    check: Check,
    #[serde(default)]
    github: GitHub,
    #[serde(default)]
    site: Keep,
    #[serde(default)]
    patches: Patches,
    #[serde(default)]
    defaults: RawDefaults,
    targets: Spanned<IndexMap<Spanned<TargetName>, RawTarget>>,
}

/// What targets have where they do not say otherwise.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawDefaults {
    partition_table: Option<PathBuf>,
    partition_table_offset: Option<Spanned<u32>>,
    flash_size: Option<FlashSize>,
    flash_mode: Option<FlashMode>,
    flash_freq: Option<FlashFrequency>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawTarget {
    chip: Option<Chip>,
    build: Spanned<RawBuild>,
    partition_table: Option<PathBuf>,
    partition_table_offset: Option<Spanned<u32>>,
    flash_size: Option<FlashSize>,
    flash_mode: Option<FlashMode>,
    flash_freq: Option<FlashFrequency>,
    psram: Option<Spanned<Psram>>,
    bootloader: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBuild {
    cargo: Option<PathBuf>,
    package: Option<String>,
    features: Option<Vec<String>>,
    triple: Option<String>,
    command: Option<Vec<String>>,
    dir: Option<PathBuf>,
    output: Option<PathBuf>,
    prebuilt: Option<PathBuf>,
}

impl Config {
    /// Reads the configuration at `path`.
    ///
    /// # Errors
    /// [`ConfigError`], pointing at the fault.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError::at(path, "", None, format!("cannot be read: {error}")))?;
        Self::parse(path, &text)
    }

    /// Parses `text`, the content of `path`.
    ///
    /// # Errors
    /// [`ConfigError`], pointing at the fault.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let raw: Raw =
            toml::from_str(text).map_err(|error| ConfigError::toml(path, text, &error))?;
        let fault = |span: Range<usize>, message: String| {
            Err(ConfigError::at(path, text, Some(span), message))
        };

        let mut base_url = raw.base_url.get_ref().clone();
        if !base_url.ends_with('/') {
            base_url.push('/');
        }
        if base_url.len() > MAX_BASE_URL {
            let message = format!("base-url: longer than {MAX_BASE_URL} bytes");
            return fault(raw.base_url.span(), message);
        }
        if let Err(error) = Url::parse(&base_url) {
            return fault(raw.base_url.span(), format!("base-url: {error}"));
        }
        if raw.targets.get_ref().is_empty() {
            return fault(raw.targets.span(), "expected at least one target".into());
        }
        let root = match path.parent() {
            Some(root) if !root.as_os_str().is_empty() => root.to_owned(),
            _ => PathBuf::from("."),
        };
        let mut targets = IndexMap::new();
        for (name, target) in raw.targets.into_inner() {
            let span = name.span();
            match target.check(&root, name.get_ref(), &raw.defaults) {
                Ok(target) => targets.insert(name.into_inner(), target),
                Err((inner, message)) => return fault(inner.unwrap_or(span), message),
            };
        }
        let channels = if raw.channels.is_empty() { default_channels() } else { raw.channels };
        let ca = raw.ca.map(|ca| root.join(ca));
        Ok(Self {
            root,
            title: raw.title.unwrap_or_else(|| raw.project.to_string()),
            project: raw.project,
            description: raw.description,
            base_url,
            ca,
            channels,
            installer: raw.installer,
            signing: raw.signing,
            check: raw.check,
            github: raw.github,
            site: raw.site,
            patches: raw.patches,
            targets,
        })
    }
}

fn default_channels() -> IndexMap<ChannelName, Channel> {
    let name = |name: &str| name.parse().expect("a plain name");
    let channel = |description: &str| Channel { description: Some(description.into()), keep: None };
    IndexMap::from([
        (name("stable"), channel("Releases for everyone.")),
        (name("testing"), channel("Prereleases too, for those who help to test.")),
    ])
}

/// A fault, and where it is if not at the target's name.
type Fault = (Option<Range<usize>>, String);

impl RawTarget {
    fn check(
        self,
        root: &Path,
        name: &TargetName,
        defaults: &RawDefaults,
    ) -> Result<Target, Fault> {
        let chip = self.chip.or_else(|| name.as_str().parse().ok()).ok_or_else(|| {
            (None, format!("target `{name}` is not named after a chip: expected `chip = \"esp32c3\"` or another"))
        })?;
        let offset =
            self.partition_table_offset.or_else(|| defaults.partition_table_offset.clone());
        if let Some(offset) = &offset
            && !offset.get_ref().is_multiple_of(0x1000)
        {
            return Err((Some(offset.span()), "expected a multiple of 0x1000".into()));
        }
        if let Some(psram) = &self.psram
            && !psram::is_possible(chip)
        {
            return Err((Some(psram.span()), format!("an {chip} has no PSRAM")));
        }
        let under_root = |path: &PathBuf| root.join(path);
        let build = self.build.get_ref().check(root).map_err(|m| (Some(self.build.span()), m))?;
        Ok(Target {
            chip,
            build,
            partition_table: self
                .partition_table
                .as_ref()
                .or(defaults.partition_table.as_ref())
                .map(under_root),
            partition_table_offset: offset.map_or(PARTITION_TABLE_OFFSET, Spanned::into_inner),
            flash_size: self.flash_size.or(defaults.flash_size).unwrap_or_default(),
            psram: self.psram.map(|psram| psram.into_inner().0),
            flash_mode: self.flash_mode.or(defaults.flash_mode),
            flash_freq: self.flash_freq.or(defaults.flash_freq),
            bootloader: self.bootloader.as_ref().map(under_root),
        })
    }
}

impl RawBuild {
    fn check(&self, root: &Path) -> Result<Build, String> {
        let refuse = |keys: &[(&str, bool)], kind: &str| match keys.iter().find(|(_, set)| *set) {
            Some((key, _)) => Err(format!("`{key}` has no meaning beside `{kind}`")),
            None => Ok(()),
        };
        let cargo_only = [
            ("package", self.package.is_some()),
            ("features", self.features.is_some()),
            ("triple", self.triple.is_some()),
        ];
        let command_only = [("dir", self.dir.is_some()), ("output", self.output.is_some())];
        match (&self.cargo, &self.command, &self.prebuilt) {
            (Some(dir), None, None) => {
                refuse(&command_only, "cargo")?;
                Ok(Build::Cargo {
                    dir: root.join(dir),
                    package: self.package.clone(),
                    features: self.features.clone().unwrap_or_default(),
                    triple: self.triple.clone(),
                })
            }
            (None, Some(command), None) => {
                refuse(&cargo_only, "command")?;
                if command.is_empty() {
                    return Err("expected `command = [\"program\", \"argument\", ...]`".into());
                }
                let output = self.output.as_ref();
                Ok(Build::Command {
                    command: command.clone(),
                    dir: self.dir.as_ref().map_or_else(|| root.to_owned(), |dir| root.join(dir)),
                    output: root.join(output.ok_or(
                        "expected `output`, the ELF file or app image that the command leaves",
                    )?),
                })
            }
            (None, None, Some(file)) => {
                refuse(&cargo_only, "prebuilt")?;
                refuse(&command_only, "prebuilt")?;
                Ok(Build::Prebuilt(root.join(file)))
            }
            _ => Err(
                "expected one of `cargo` (a folder), `command` (a list) and `prebuilt` (a file)"
                    .into(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str = r#"project = "lamp"
base-url = "https://example.org/fw"

[targets.esp32c3]
build.cargo = "firmware"
"#;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(Path::new("/p/towline.toml"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_minimal_file_gets_sensible_defaults() {
        let config = parse(MINIMAL).unwrap();
        let target = &config.targets[0];
        assert_eq!(
            (config.title.as_str(), config.base_url.as_str()),
            ("lamp", "https://example.org/fw/")
        );
        assert_eq!(
            config.channels.keys().map(ChannelName::as_str).collect::<Vec<_>>(),
            ["stable", "testing"]
        );
        assert_eq!((target.chip, target.flash_size), (Chip::Esp32c3, FlashSize::_4Mb));
        assert!(
            matches!(&target.build, Build::Cargo { dir, .. } if dir == Path::new("/p/firmware"))
        );
    }

    #[test]
    fn defaults_hold_for_targets_that_say_nothing() {
        let text = format!(
            "{MINIMAL}flash-size = \"8MB\"\n[targets.esp32c6]\nbuild.prebuilt = \"a.bin\"\n[defaults]\nflash-size = \"2MB\"\n"
        );
        let config = parse(&text).unwrap();
        assert_eq!(config.targets[0].flash_size, FlashSize::_8Mb);
        assert_eq!(config.targets[1].flash_size, FlashSize::_2Mb);
    }

    #[test]
    fn what_the_installer_has_to_know_is_read() {
        let config = parse(MINIMAL).unwrap();
        assert_eq!((config.installer.improv, config.targets[0].psram), (true, None));
        let text = MINIMAL.replace("esp32c3]", "esp32s3]\npsram = \"8MB\"");
        let config = parse(&format!("{text}[installer]\nimprov = false\n")).unwrap();
        assert_eq!((config.installer.improv, config.targets[0].psram), (false, Some(8 << 20)));
        assert!(parse(&format!("{text}[installer]\n")).unwrap().installer.improv);
    }

    #[test]
    fn what_the_site_holds_is_read() {
        let config = parse(MINIMAL).unwrap();
        assert_eq!((config.site.keep, config.site.max_size), (None, Size(1_000_000_000)));
        let keep = "[site]\nkeep = 5\nmax-size = \"800MB\"\n[channels.testing]\nkeep = 2\n";
        let config = parse(&format!("{MINIMAL}{keep}")).unwrap();
        let count = |keep: Option<NonZeroUsize>| keep.map(NonZeroUsize::get);
        assert_eq!((count(config.site.keep), config.site.max_size), (Some(5), Size(800_000_000)));
        assert_eq!(count(config.channels[0].keep), Some(2));
    }

    #[test]
    fn errors_point_at_the_fault() {
        let faults = [
            ("esp32c3]", "desk]", "/p/towline.toml:4:10: target `desk` is not named after a chip"),
            (
                "esp32c3]",
                "esp32c3]\nchip = \"esp99\"",
                "/p/towline.toml:5:8: not a known chip; known are esp32 ",
            ),
            ("esp32c3]", "\"../x\"]", "/p/towline.toml:4:10: a name has 1 to 31 letters"),
            ("https://", "http://", "/p/towline.toml:2:12: base-url: not an https:// URL"),
            (
                "build.cargo",
                "build.cargoo",
                "/p/towline.toml:5:7: unknown field `cargoo`, expected one of",
            ),
            (
                "build.cargo = \"firmware\"",
                "build = { cargo = \"a\", output = \"b\" }",
                "/p/towline.toml:5:9: `output` has no meaning beside `cargo`",
            ),
            (
                "build.cargo = \"firmware\"",
                "build = {}",
                "/p/towline.toml:5:9: expected one of `cargo`",
            ),
            ("build.cargo = \"firmware\"", "build.command = [\"make\"]", "expected `output`"),
            (
                "build.cargo = \"firmware\"",
                "flash-size = \"5MB\"",
                "/p/towline.toml:5:14: unknown variant `5MB`, expected one of",
            ),
            (
                "[targets",
                "[installer]\nimprov = 1\n[targets",
                "/p/towline.toml:5:10: invalid type: integer `1`, expected a boolean",
            ),
            (
                "[targets",
                "[installer]\nimprof = true\n[targets",
                "/p/towline.toml:5:1: unknown field `improf`, expected `improv`",
            ),
            (
                "build.cargo",
                "psram = \"8\"\nbuild.cargo",
                "/p/towline.toml:5:9: not a size of PSRAM: expected \"2MB\"",
            ),
            (
                "build.cargo",
                "psram = \"8MB\"\nbuild.cargo",
                "/p/towline.toml:5:9: an esp32c3 has no PSRAM",
            ),
            (
                "[targets",
                "[site]\nmax-size = \"1G\"\n[targets",
                "/p/towline.toml:5:12: not a size: expected a whole number of kB, MB or GB",
            ),
            (
                "[targets",
                "[site]\nkeep = 0\n[targets",
                "/p/towline.toml:5:8: invalid value: integer `0`, expected a nonzero",
            ),
            (
                "[targets",
                "[channels.stable]\nkeep = \"3\"\n[targets",
                "/p/towline.toml:5:8: invalid type: string \"3\", expected a nonzero",
            ),
            ("build.cargo = \"firmware\"", "", "/p/towline.toml:4:1: missing field `build`"),
            ("project = \"lamp\"\n", "", "/p/towline.toml:1:1: missing field `project`"),
            ("lamp\"", "lamp", "/p/towline.toml:1:16: "),
        ];
        for (from, to, expected) in faults {
            let error = parse(&MINIMAL.replacen(from, to, 1)).unwrap_err();
            assert!(error.contains(expected), "{error}\nexpected: {expected}");
        }
    }

    #[test]
    fn the_faulty_line_is_shown() {
        let error = parse(&MINIMAL.replace("https", "ftp")).unwrap_err();
        let expected =
            "  |\n2 | base-url = \"ftp://example.org/fw\"\n  |            ^^^^^^^^^^^^^^^^^^^^^^";
        assert!(error.ends_with(expected), "{error}");
        let long = MINIMAL.replace("https://", &format!("ftp://{}/", "a".repeat(100)));
        let error = parse(&long).unwrap_err();
        assert!(error.lines().skip(1).all(|line| line.len() < 80), "{error}");
        assert!(error.lines().last().unwrap().contains("^^^^"), "{error}");
    }
}
