//! The template of projects, which this program carries, and what fills it in.

use crate::{disk::Disk, name::ProjectName, toolchain, ui::Hinted};
use anyhow::{Context, Result, bail};
use std::{
    fs,
    path::{Path, PathBuf},
};
use towline_descriptor::Chip;

/// Every file of the template by its path.
const FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/template.rs"));

/// The commit that this program was built from; empty where that is not known.
const COMMIT: &str = env!("TOWLINE_COMMIT");

/// Where our packages are.
pub const REPOSITORY: &str = "https://github.com/towline-fw/towline";

/// How firmware is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// By cargo, from a package of the project that uses esp-hal.
    EspHal,
    /// By any command. `{chip}` stands for the chip in both.
    Command {
        /// Words apart by spaces.
        command: String,
        /// The file that it leaves.
        output: String,
        /// The command that installs the framework in workflows, if it is known.
        prepare: Option<&'static str>,
    },
}

/// Where the packages that a project depends on come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// From the repository, at the state of this program.
    Published,
    /// From a checkout.
    Checkout(PathBuf),
}

impl Source {
    /// Returns the commit or tag that packages and workflows are pinned to.
    pub fn reference() -> String {
        match COMMIT {
            "" => concat!("v", env!("CARGO_PKG_VERSION")).to_owned(),
            commit => commit.to_owned(),
        }
    }

    /// Returns the keys of a dependency on the package in this folder of the
    /// repository.
    fn keys(&self, folder: &str) -> String {
        let quoted = |text: &str| toml::Value::from(text).to_string();
        match self {
            Self::Checkout(root) => {
                format!("path = {}", quoted(&root.join(folder).to_string_lossy()))
            }
            Self::Published => {
                let key = if COMMIT.is_empty() { "tag" } else { "rev" };
                format!("git = {}, {key} = {}", quoted(REPOSITORY), quoted(&Self::reference()))
            }
        }
    }
}

/// What fills in the template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Values {
    /// Name of the project.
    pub name: ProjectName,
    /// How its firmware is built.
    pub kind: Kind,
    /// The chips that it is for.
    pub chips: Vec<Chip>,
    /// Where the site will be served, with a slash at its end.
    pub base_url: String,
    /// The repository on GitHub that publishes it, `OWNER/REPO`.
    pub repository: Option<String>,
    /// How the publisher is called.
    pub program: &'static str,
    /// Where our packages come from.
    pub source: Source,
}

impl Values {
    /// Returns the placeholders of the template and what they stand for.
    fn definitions(&self) -> Vec<(&'static str, String)> {
        let chips: Vec<_> = self.chips.iter().map(|chip| chip.name()).collect();
        let mut definitions = vec![
            ("base_url", self.base_url.clone()),
            ("chips", chips.join(",")),
            ("program", self.program.to_owned()),
            ("repository", self.repository.clone().unwrap_or_default()),
            ("towline_xtask", self.source.keys("xtask")),
            ("towline_ref", Source::reference()),
        ];
        definitions.extend(match &self.kind {
            Kind::EspHal => vec![
                ("kind", "esp-hal".into()),
                ("towline_device", self.source.keys("firmware/esp")),
            ],
            Kind::Command { command, output, prepare } => vec![
                ("kind", "command".into()),
                ("build_command", command.clone()),
                ("output", output.clone()),
                ("prepare", prepare.unwrap_or_default().to_owned()),
            ],
        });
        definitions
    }

    /// Fills in the template in `scratch`, a folder for that alone, and returns the
    /// folder of the project in it.
    ///
    /// The engine goes by the user's environment and prints as it likes, so that it
    /// has a process of its own: this program, called as [`generate`].
    ///
    /// # Errors
    /// If a value is not one that the template takes, or files cannot be written.
    pub fn fill_in(&self, scratch: &Path, disk: &Disk) -> Result<PathBuf> {
        let template = scratch.join("template");
        unpack(&template, disk)?;
        let mut command = toolchain::command(std::env::current_exe()?);
        command.args(["generate", "--template"]).arg(&template).arg("--destination").arg(scratch);
        for (placeholder, value) in self.definitions() {
            command.arg(format!("--define={placeholder}={value}"));
        }
        let output = command
            .arg(self.name.as_str())
            // It asks for an author, whom the template does not name.
            .env("CARGO_NAME", "Towline")
            .env_remove("CARGO_GENERATE_TEMPLATE_VALUES_FILE")
            .output()
            .context("this program cannot be run again")?;
        if !output.status.success() {
            bail!("the template: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(scratch.join(self.name.as_str()))
    }
}

/// Writes the template into a folder.
fn unpack(folder: &Path, disk: &Disk) -> Result<()> {
    for (name, bytes) in FILES {
        let path = folder.join(name);
        disk.create_dir(path.parent().context("a file lies in a folder")?)?;
        disk.stage(&path, bytes)?;
    }
    Ok(())
}

/// Fills in the template in a folder: the process that [`Values::fill_in`] starts.
/// Nothing of the user's counts: no configuration, no hooks, no formatter.
///
/// # Errors
/// Those of the engine.
pub fn generate(
    template: &Path,
    destination: &Path,
    name: &ProjectName,
    define: &[String],
) -> Result<()> {
    let config = destination.join("cargo-generate.toml");
    fs::write(&config, "").with_context(|| config.display().to_string())?;
    let text = |path: &Path| path.to_str().map(str::to_owned).ok_or_else(|| not_text(path));
    cargo_generate::generate(cargo_generate::GenerateArgs {
        template_path: cargo_generate::TemplatePath {
            path: Some(text(template)?),
            ..Default::default()
        },
        name: Some(name.to_string()),
        // The name stays as it is.
        force: true,
        silent: true,
        config: Some(config),
        vcs: Some(cargo_generate::Vcs::None),
        define: define.to_vec(),
        destination: Some(destination.to_owned()),
        no_workspace: true,
        no_fmt: true,
        ..Default::default()
    })?;
    Ok(())
}

fn not_text(path: &Path) -> Hinted {
    let message = format!("{}: the name is not text", path.display());
    Hinted::new(message, "use a folder with a name in UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_come_from_the_state_of_this_program_or_from_a_checkout() {
        let published = Source::Published.keys("xtask");
        let pin = format!("= \"{}\"", Source::reference());
        assert!(published.starts_with("git = \"https://") && published.ends_with(&pin));
        let checkout = Source::Checkout("/a b/\"c".into()).keys("firmware/esp");
        assert_eq!(checkout, "path = '/a b/\"c/firmware/esp'");
        let parsed: toml::Table = checkout.parse().unwrap();
        assert_eq!(parsed["path"].as_str(), Some("/a b/\"c/firmware/esp"));
    }
}
