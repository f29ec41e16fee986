//! What a repository needs to publish with Towline: files that it has not.

use super::{
    recognise::{Build, Found, Target},
    template::REPOSITORY,
};
use crate::name::{InvalidName, ProjectName, TargetName};
use std::fmt::Write;
use toml::{Table, Value};

/// A file that the repository is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewFile {
    /// Its path in the repository.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// How a file stands to the one of its name that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// There is none: it is to be written.
    Missing,
    /// It is there.
    Same,
    /// Another one is there, and stays as it is. It lacks these lines, if any.
    Other(Option<String>),
}

/// Returns what a repository is to have for what was found in it. `template` has
/// the files that are the same in each project.
pub fn propose(
    found: &Found,
    project: &ProjectName,
    base_url: &str,
    template: &[(String, Vec<u8>)],
) -> Vec<NewFile> {
    let is_same = |path: &str| {
        let publisher = path.starts_with("xtask/") || path.starts_with(".cargo/");
        path == "channels.toml" || path.starts_with(".github/") || publisher && found.has_cargo
    };
    let same = template.iter().filter(|(path, _)| is_same(path)).map(|(path, bytes)| NewFile {
        path: path.clone(),
        text: String::from_utf8_lossy(bytes).into_owned(),
    });
    let ignored = if found.has_cargo { "/dist/\n/xtask/target/\n" } else { "/dist/\n" };
    let own = [
        ("towline.toml", configuration(found, project, base_url)),
        (".gitignore", ignored.to_owned()),
    ];
    let own = own.map(|(path, text)| NewFile { path: path.to_owned(), text });
    own.into_iter().chain(same).collect()
}

/// Returns how a file stands to what is there.
pub fn standing(file: &NewFile, there: Option<&str>) -> Standing {
    match there {
        None => Standing::Missing,
        Some(text) if text == file.text => Standing::Same,
        Some(text) => Standing::Other(match file.path.as_str() {
            ".cargo/config.toml" => missing_alias(text),
            ".gitignore" => missing_lines(text, &file.text),
            _ => None,
        }),
    }
}

/// Returns the alias that a configuration of cargo lacks, for a program that runs on
/// this machine whatever the configuration builds for.
fn missing_alias(config: &str) -> Option<String> {
    let config: Table = config.parse().unwrap_or_default();
    let has_alias = config.get("alias").is_some_and(|alias| alias.get("xtask").is_some());
    let target = match config.get("build").and_then(|build| build.get("target")) {
        Some(_) => " --target host-tuple",
        None => "",
    };
    let alias = format!("[alias]\nxtask = \"run --manifest-path xtask/Cargo.toml{target} --\"\n");
    (!has_alias).then_some(alias)
}

/// Returns whether the repository has an xtask that is not ours, to which nothing is
/// to be added. `manifest` is the text of `xtask/Cargo.toml`, empty where a folder
/// `xtask` has none; `config` is cargo's configuration.
pub fn has_another_xtask(manifest: Option<&str>, config: &str) -> bool {
    match manifest {
        Some(manifest) => !depends_on_ours(manifest),
        None => {
            let config: Table = config.parse().unwrap_or_default();
            let alias = config.get("alias").and_then(|alias| alias.get("xtask"));
            let between = |c: char| " \"',=[]".contains(c);
            let runs_ours =
                |alias: &str| alias.split(between).any(|word| word == "xtask/Cargo.toml");
            alias.is_some_and(|alias| !runs_ours(&alias.to_string()))
        }
    }
}

/// Returns whether a package depends on our publisher: that of our repository or of
/// a checkout.
fn depends_on_ours(manifest: &str) -> bool {
    let manifest: Table = manifest.parse().unwrap_or_default();
    let dependencies = manifest.get("dependencies").and_then(Value::as_table);
    dependencies.into_iter().flatten().any(|(name, keys)| {
        let text = |key: &str| keys.get(key).and_then(Value::as_str);
        let is_from_us = text("git").map(|git| git.trim_end_matches(".git")) == Some(REPOSITORY);
        text("package").unwrap_or(name) == "xtask" && (is_from_us || text("path").is_some())
    })
}

fn missing_lines(there: &str, wanted: &str) -> Option<String> {
    let bare = |line: &str| line.trim().trim_matches('/').to_owned();
    let known: Vec<_> = there.lines().map(bare).collect();
    // `target/` covers each folder of that name.
    let is_known = |line: &str| {
        let bare = bare(line);
        known.iter().any(|known| *known == bare || bare.rsplit('/').next() == Some(known))
    };
    let missing: String =
        wanted.lines().filter(|line| !is_known(line)).map(|line| format!("{line}\n")).collect();
    (!missing.is_empty()).then_some(missing)
}

/// Returns the name of a project, made of what it is called.
///
/// # Errors
/// If nothing of that can be in a name.
pub fn project_name(called: &str) -> Result<ProjectName, InvalidName> {
    plain(called).parse()
}

/// Returns a text as a name, as far as it can be one.
fn plain(text: &str) -> String {
    let known = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let text: String = text.chars().map(known).collect();
    let text = text.replace("..", ".");
    let text = text.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    text.chars().take(31).collect::<String>().trim_end_matches(['.', '-']).to_owned()
}

fn configuration(found: &Found, project: &ProjectName, base_url: &str) -> String {
    let mut text = format!(
        "# What this project publishes. Every key is explained at\n\
         # https://github.com/towline-fw/towline#reference\n\
         project = {}\nbase-url = {}\n",
        quoted(project.as_str()),
        quoted(base_url),
    );
    let mut names = Vec::new();
    for target in &found.targets {
        names.push(name_of(target, &names));
        // Writing to a text does not fail.
        let _ = describe(&mut text, &names[names.len() - 1], target);
    }
    text
}

/// Returns a name for a target that no other one has: its own as far as it can be
/// one, or that of its chip.
fn name_of(target: &Target, taken: &[String]) -> String {
    let own = Some(plain(&target.name)).filter(|name| name.parse::<TargetName>().is_ok());
    let chip = target.chip.name().to_owned();
    let numbered = (2..).map(|number| format!("{chip}-{number}"));
    let mut names = own.into_iter().chain([chip.clone()]).chain(numbered);
    names.find(|name| !taken.contains(name)).unwrap_or_default()
}

fn describe(text: &mut String, name: &str, target: &Target) -> std::fmt::Result {
    let chip = target.chip.name();
    let key = if name.contains('.') { quoted(name) } else { name.to_owned() };
    writeln!(text, "\n[targets.{key}]")?;
    if target.is_guess {
        writeln!(text, "# No file says which chip it is: look whether this is right.")?;
    }
    if target.is_guess || name != chip {
        writeln!(text, "chip = {}", quoted(chip))?;
    }
    let list = |words: &[String]| {
        format!("[{}]", words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(", "))
    };
    match &target.build {
        Build::Cargo { dir, features } if features.is_empty() => {
            writeln!(text, "build = {{ cargo = {} }}", quoted(dir))?;
        }
        Build::Cargo { dir, features } => {
            let features = list(features);
            writeln!(text, "build = {{ cargo = {}, features = {features} }}", quoted(dir))?;
        }
        Build::Command { command, dir, output } => {
            writeln!(text, "build.command = {}", list(command))?;
            if dir != "." {
                writeln!(text, "build.dir = {}", quoted(dir))?;
            }
            writeln!(text, "build.output = {}", quoted(output))?;
        }
        Build::Prebuilt(file) => writeln!(text, "build.prebuilt = {}", quoted(file))?,
    }
    if let Some(table) = &target.partition_table {
        writeln!(text, "partition-table = {}", quoted(table))?;
    }
    if let Some(offset) = target.partition_table_offset {
        writeln!(text, "partition-table-offset = {offset:#x}")?;
    }
    if let Some(size) = &target.flash_size {
        writeln!(text, "flash-size = {}", quoted(size))?;
    }
    Ok(())
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// Returns the repository `OWNER/REPO` of a Git remote on GitHub.
pub fn repository_of(remote: &str) -> Option<&str> {
    let hosts = ["https://github.com/", "git@github.com:", "ssh://git@github.com/"];
    let path = hosts.iter().find_map(|host| remote.trim().strip_prefix(host))?;
    Some(path.trim_end_matches('/').trim_end_matches(".git"))
}

#[cfg(test)]
mod tests {
    use super::{
        super::recognise::{Framework, Target},
        *,
    };
    use crate::config::{self, Config};
    use std::path::Path;
    use towline_descriptor::Chip;

    fn found(targets: Vec<Target>, has_cargo: bool) -> Found {
        let (framework, evidence) = (Framework::Prebuilt, String::new());
        Found { framework, evidence, project: None, targets, has_cargo, notes: vec![] }
    }

    fn target(name: &str, build: Build) -> Target {
        Target {
            name: name.into(),
            chip: Chip::Esp32c3,
            is_guess: true,
            build,
            partition_table: Some("a \"b\"/parts.csv".into()),
            partition_table_offset: Some(0x1_0000),
            flash_size: Some("8MB".into()),
        }
    }

    #[test]
    fn a_proposed_configuration_says_what_was_found() {
        let command = Build::Command {
            command: vec!["sh".into(), "a \"b\" \\".into()],
            dir: "fw".into(),
            output: "fw/out.bin".into(),
        };
        let cargo = Build::Cargo { dir: ".".into(), features: vec!["esp32c3".into()] };
        let names = ["desk lamp!", "v1.2", "esp32c3", "???"];
        let builds = [command.clone(), cargo, Build::Prebuilt("a.bin".into()), command];
        let targets = names.iter().zip(builds).map(|(name, build)| target(name, build)).collect();
        let project = project_name("My Lamp").unwrap();
        let text = configuration(&found(targets, true), &project, "https://h/x/");
        let config = Config::parse(Path::new("/p/towline.toml"), &text).unwrap();
        assert_eq!(config.project.as_str(), "My-Lamp");
        let names: Vec<_> = config.targets.keys().map(TargetName::as_str).collect();
        assert_eq!(names, ["desk-lamp", "v1.2", "esp32c3", "esp32c3-2"]);
        let expected = config::Build::Command {
            command: vec!["sh".into(), "a \"b\" \\".into()],
            dir: "/p/fw".into(),
            output: "/p/fw/out.bin".into(),
        };
        assert_eq!(config.targets[0].build, expected);
        assert_eq!(config.targets[1].partition_table_offset, 0x1_0000);
        let table = Path::new("/p/a \"b\"/parts.csv");
        assert_eq!(config.targets[2].partition_table.as_deref(), Some(table));
    }

    #[test]
    fn a_file_that_is_there_is_only_told_what_it_lacks() {
        let file = |path: &str, text: &str| NewFile { path: path.into(), text: text.into() };
        let config = file(".cargo/config.toml", "x");
        assert_eq!(standing(&config, None), Standing::Missing);
        assert_eq!(standing(&config, Some("x")), Standing::Same);
        let alias = |text: &str| match standing(&config, Some(text)) {
            Standing::Other(lines) => lines,
            other => panic!("{other:?}"),
        };
        assert!(alias("[env]\n").unwrap().contains("Cargo.toml --\""));
        assert!(alias("[build]\ntarget = \"x\"\n").unwrap().contains("--target host-tuple"));
        assert_eq!(alias("[alias]\nxtask = \"run\"\n"), None);
        let ignored = file(".gitignore", "/dist/\n/xtask/target/\n");
        let lines = |text: &str| standing(&ignored, Some(text));
        assert_eq!(lines("target\n"), Standing::Other(Some("/dist/\n".into())));
        assert_eq!(lines("dist\n/xtask/target\n"), Standing::Other(None));
        assert_eq!(standing(&file("towline.toml", "a"), Some("b")), Standing::Other(None));
    }

    #[test]
    fn only_a_project_with_cargo_gets_an_xtask() {
        let template: Vec<_> =
            ["xtask/Cargo.toml", ".cargo/config.toml", "channels.toml", "README.md"]
                .map(|path| (path.to_owned(), vec![]))
                .into();
        let project = project_name("lamp").unwrap();
        let paths = |has_cargo| {
            let files = propose(&found(vec![], has_cargo), &project, "https://h/", &template);
            files.into_iter().map(|file| file.path).collect::<Vec<_>>()
        };
        assert_eq!(paths(false), ["towline.toml", ".gitignore", "channels.toml"]);
        let all = [
            "towline.toml",
            ".gitignore",
            "xtask/Cargo.toml",
            ".cargo/config.toml",
            "channels.toml",
        ];
        assert_eq!(paths(true), all);
    }

    #[test]
    fn an_xtask_is_ours_if_it_depends_on_the_publisher() {
        let ours = format!("[dependencies]\nxtask = {{ git = \"{REPOSITORY}\", rev = \"1\" }}\n");
        let renamed = "[dependencies]\ntowline = { package = \"xtask\", path = \"/t/xtask\" }\n";
        for manifest in [&ours, renamed] {
            assert!(!has_another_xtask(Some(manifest), ""), "{manifest}");
        }
        let elsewhere = ours.replace("towline-fw", "ann");
        for manifest in ["", "[", "[package]\nname = \"xtask\"\n", &elsewhere] {
            assert!(has_another_xtask(Some(manifest), ""), "{manifest}");
        }
        let alias = |words: &str| format!("[alias]\nxtask = {words}\n");
        for words in [
            "\"run --package tasks --\"",
            "[\"run\", \"-p\", \"tasks\"]",
            "\"run --manifest-path tools/xtask/Cargo.toml --\"",
        ] {
            assert!(has_another_xtask(None, &alias(words)), "{words}");
            assert!(!has_another_xtask(Some(&ours), &alias(words)), "{words}");
        }
        for words in [
            "\"run --manifest-path xtask/Cargo.toml --\"",
            "[\"run\", \"--manifest-path=xtask/Cargo.toml\"]",
        ] {
            assert!(!has_another_xtask(None, &alias(words)), "{words}");
        }
        assert!(!has_another_xtask(None, ""));
    }

    #[test]
    fn remotes_on_github_name_their_repository() {
        for remote in [
            "https://github.com/ann/lamp.git\n",
            "https://github.com/ann/lamp",
            "git@github.com:ann/lamp.git",
            "ssh://git@github.com/ann/lamp.git",
        ] {
            assert_eq!(repository_of(remote), Some("ann/lamp"), "{remote}");
        }
        assert_eq!(repository_of("https://example.org/ann/lamp"), None);
    }
}
