//! Images of two releases each.

use crate::process::{cargo, repository, xtask};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Most hundredths of the image that a patch for one changed line may have.
pub(crate) const LINE_LIMIT: f64 = 5.0;
/// Most hundredths of the image that a patch for changed dependencies may have.
pub(crate) const DEPENDENCIES_LIMIT: f64 = 30.0;

/// Chips whose firmware is built.
const CHIPS: [&str; 2] = ["esp32c3", "esp32c6"];

/// A line of the firmware, and what it is changed to.
const LINE: (&str, &str, &str) = (
    "firmware/esp/src/status.rs",
    "the next reset boots {next_boot}",
    "the next reset will boot {next_boot} and not {running}",
);

/// Dependencies of the firmware, and the version that came before: its network stack, and
/// what it reads HTTP with.
const DEPENDENCIES: [(&str, &str); 3] =
    [("smoltcp", "0.13.0"), ("heapless@0.9.3", "0.9.2"), ("httparse", "1.10.0")];

/// Two images, and how large the patch may be, in hundredths of the new one.
pub(crate) struct Pair {
    pub(crate) name: String,
    pub(crate) old: PathBuf,
    pub(crate) new: PathBuf,
    pub(crate) most: Option<f64>,
}

/// Returns the pairs in a folder.
pub(crate) fn in_folder(folder: &Path) -> Vec<Pair> {
    let files = folder.read_dir().unwrap().map(|entry| entry.unwrap().path());
    let pair = |new: PathBuf| {
        let name = new.file_name()?.to_str()?.strip_suffix("-new.bin")?.to_owned();
        let old = folder.join(format!("{name}-old.bin"));
        old.is_file().then_some(Pair { name, old, new, most: None })
    };
    let mut pairs: Vec<_> = files.filter_map(pair).collect();
    pairs.sort_by(|a, b| a.name.cmp(&b.name));
    pairs
}

/// Returns the pair of another project, if its images are there.
pub(crate) fn of_others() -> Option<Pair> {
    let folder = repository().join("../shared/data/esp32-evse");
    let [old, new] = ["2.1.0", "2.1.1"].map(|v| folder.join(format!("esp32-v{v}.ota.bin")));
    let name = "esp32-evse 2.1.0 to 2.1.1".to_owned();
    (old.is_file() && new.is_file()).then_some(Pair { name, old, new, most: None })
}

/// How the firmware is built.
#[derive(Clone, Copy)]
enum State {
    /// As it is.
    Now,
    /// With one line of it changed.
    Line,
    /// With older dependencies.
    Dependencies,
    /// For channels that are signed.
    Signed,
}

/// Builds the firmware of this repository in each state, and returns its pairs.
pub(crate) fn of_ours() -> Vec<Pair> {
    let dir = repository().join("target/bench-patch");
    let [now, line, dependencies, signed] =
        [State::Now, State::Line, State::Dependencies, State::Signed]
            .map(|state| state.build(&dir));
    let pairs = CHIPS.iter().flat_map(|chip| {
        let pair = |what: &str, old: &Path, new: &Path, most| {
            let image = |folder: &Path| folder.join(format!("{chip}-app.bin"));
            Pair { name: format!("{chip} {what}"), old: image(old), new: image(new), most }
        };
        [
            pair("one line", &now, &line, Some(LINE_LIMIT)),
            pair("dependencies", &dependencies, &now, Some(DEPENDENCIES_LIMIT)),
            pair("signed channels", &now, &signed, None),
        ]
    });
    pairs.collect()
}

impl State {
    /// Builds the images, unless they are there, and returns their folder.
    fn build(self, dir: &Path) -> PathBuf {
        let name = match self {
            Self::Now => "now",
            Self::Line => "line",
            Self::Dependencies => "dependencies",
            Self::Signed => "signed",
        };
        let commit = git(repository(), &["rev-parse", "HEAD"]);
        let out = dir.join(format!("{commit:.12}-{name}"));
        if CHIPS.iter().all(|chip| out.join(format!("{chip}-app.bin")).is_file()) {
            return out;
        }
        // One folder for all: paths are a part of what is built.
        let tree = dir.join("tree");
        if !tree.is_dir() {
            fs::create_dir_all(dir).unwrap();
            let from = repository().display().to_string();
            git(dir, &["clone", "--quiet", "--shared", "--no-checkout", &from, "tree"]);
        }
        git(&tree, &["fetch", "--quiet", "origin", &commit]);
        git(&tree, &["checkout", "--quiet", "--force", &commit]);
        git(&tree, &["clean", "--quiet", "--force", "-d"]);
        self.change(&tree);
        let publisher = |arguments: &[&str]| {
            let mut command = xtask(Path::new(env!("CARGO_BIN_EXE_xtask")), arguments);
            command
                .current_dir(&tree)
                .env("CARGO_TARGET_DIR", dir.join("target"))
                .env("TOWLINE_KEYS", dir.join("keys"))
                .env("TOWLINE_ROOT_PASSPHRASE", "of a bench");
            command
        };
        if let Self::Signed = self {
            let _ = fs::remove_dir_all(dir.join("keys"));
            run(&mut publisher(&["keys", "init"]));
        }
        let images = out.display().to_string();
        run(&mut publisher(&["build", "--targets", &CHIPS.join(","), "--out", &images]));
        out
    }

    /// Makes the change.
    fn change(self, tree: &Path) {
        match self {
            Self::Now | Self::Signed => {}
            Self::Line => {
                let (path, line, changed) = LINE;
                let text = fs::read_to_string(tree.join(path)).unwrap();
                assert!(
                    text.contains(line),
                    "{path} has no `{line}` any more: choose another line"
                );
                fs::write(tree.join(path), text.replacen(line, changed, 1)).unwrap();
            }
            Self::Dependencies => {
                for (name, version) in DEPENDENCIES {
                    let update = ["update", "--package", name, "--precise", version];
                    run(cargo(&update).current_dir(tree.join("firmware")));
                }
            }
        }
    }
}

fn git(dir: &Path, arguments: &[&str]) -> String {
    run(Command::new("git").args(arguments).current_dir(dir))
}

/// Runs a command that has to succeed, and returns what it prints.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
