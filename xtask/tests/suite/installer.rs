//! The installer of the page: how it is built, kept and published.

use crate::support::{Project, assert_tree, repository, text, tree};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
};
use towline_descriptor::Chip;
use xtask::{
    installer::{Bundle, Installer},
    ui::Ui,
};

const CHIPS: [Chip; 1] = [Chip::Esp32c3];

/// Returns the installer that all tests share.
fn installer() -> Bundle {
    Installer::beside_program().unwrap().built(Ui::new(true)).unwrap()
}

#[test]
fn all_that_the_page_loads_is_published_and_listed() {
    let project = Project::new(&CHIPS);
    project.build(&CHIPS, "1.0.0").done(&["release"]);
    let bundle = installer();
    let index: Value = serde_json::from_str(&project.read("dist/site/releases.json")).unwrap();
    for (name, bytes) in &bundle.published {
        let path = format!("assets/{name}");
        assert_eq!(&fs::read(project.path("dist/site").join(&path)).unwrap(), bytes, "{path}");
        assert_eq!(index["files"][&path]["size"], bytes.len(), "{path}");
    }
    for name in [&bundle.script, &bundle.style, &bundle.licenses] {
        assert!(bundle.published.contains_key(name), "{name}");
    }
    let demo = project.path("dist/site/assets").join(&bundle.demo.name);
    assert!(!demo.exists(), "the emulated board is not published");
}

/// Returns the packages that end up in a bundle of these sources, and the files
/// of the bundle, built in `folder`.
fn build_in(folder: &Path, main: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let site = repository().join("site");
    for file in ["build.mjs", "package.json", "package-lock.json", "tsconfig.json"] {
        fs::copy(site.join(file), folder.join(file)).unwrap();
    }
    for source in ["src", "demo"] {
        fs::create_dir(folder.join(source)).unwrap();
    }
    fs::write(folder.join("src/installer.css"), "p { color: red; }").unwrap();
    fs::write(folder.join("src/board.ts"), BOARD).unwrap();
    fs::write(folder.join("src/main.ts"), main).unwrap();
    fs::write(folder.join("demo/demo.ts"), "export {};").unwrap();
    let install = ["ci", "--ignore-scripts", "--omit=dev", "--prefer-offline"];
    assert!(run(Command::new(xtask::tools::NPM).args(install).current_dir(folder)));
    assert!(run(Command::new("node").args(["build.mjs", "out"]).current_dir(folder)));
    tree(&folder.join("out"))
}

fn run(command: &mut Command) -> bool {
    let output = command.output().unwrap();
    output.status.success() || panic!("{command:?}: {}", text(&output.stderr))
}

const MAIN: &str = "import \"./installer.css\";\nimport(\"./board\").then(console.log);\n";
const BOARD: &str =
    "export { ESPLoader } from \"esptool-js\";\nexport { md5 } from \"@noble/hashes/legacy.js\";\n";

#[test]
fn the_same_sources_give_the_same_bytes_in_any_folder() {
    let dir = tempfile::tempdir().unwrap();
    let folders = [dir.path().join("a"), dir.path().join("elsewhere/deep/down")];
    let built = folders.each_ref().map(|folder| {
        fs::create_dir_all(folder).unwrap();
        build_in(folder, MAIN)
    });
    assert_tree(&folders[0].join("out"), &built[1]);
    let needle = dir.path().to_str().unwrap();
    for (path, bytes) in &built[0] {
        assert!(!text(bytes).contains(needle), "{} tells where it was built", path.display());
    }
    let bundle = Bundle::read(&folders[0].join("out")).unwrap();
    let script = text(&bundle.published[&bundle.script]);
    assert!(script.contains("import(\"./board-"), "what is heavy comes later: {script}");
    // The licences of all that was bundled, of their dependencies too, and of
    // nothing else.
    let licenses = text(&bundle.published[&bundle.licenses]);
    let heads = licenses.lines().filter(|line| line.ends_with(')') && !line.starts_with(' '));
    let heads: Vec<_> = heads.filter_map(|line| line.split(' ').next()).collect();
    for package in ["@noble/hashes", "atob-lite", "esptool-js", "pako"] {
        assert!(heads.contains(&package), "{package}: {heads:?}");
        assert!(licenses.contains("Apache License") && licenses.contains("MIT"));
    }
    assert!(!heads.contains(&"esbuild") && !heads.contains(&"improv-wifi-serial-sdk"), "{heads:?}");
}

#[test]
fn the_site_of_one_commit_is_the_same_wherever_its_installer_was_built() {
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = Installer::new(&dir.path().join("installers")).built(Ui::new(true)).unwrap();
    assert!(elsewhere == installer());
}

/// The publisher in a folder of its own, where no installer has been built yet,
/// with programs that stand in for Node and npm.
#[cfg(unix)]
struct Bench {
    dir: tempfile::TempDir,
    project: Project,
}

#[cfg(unix)]
impl Bench {
    fn new() -> Self {
        let bench = Self { dir: tempfile::tempdir().unwrap(), project: Project::new(&CHIPS) };
        bench.project.build(&CHIPS, "1.0.0");
        let program = bench.dir.path().join("xtask");
        let built = env!("CARGO_BIN_EXE_xtask");
        fs::hard_link(built, &program).or_else(|_| fs::copy(built, &program).map(drop)).unwrap();
        fs::create_dir(bench.dir.path().join("bin")).unwrap();
        // A folder of cargo's, as that of a project.
        fs::write(bench.dir.path().join("CACHEDIR.TAG"), "").unwrap();
        bench.program("npm", "echo 11.0.0");
        bench.program("node", NODE);
        bench
    }

    /// Puts a shell script in the place of a program.
    fn program(&self, name: &str, script: &str) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.dir.path().join("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn release(&self) -> Output {
        // Nothing else is in the path, wherever this machine has its Node.
        let path = self.dir.path().join("bin");
        Command::new(self.dir.path().join("xtask"))
            .args(["release"])
            .current_dir(self.project.path("."))
            .env("PATH", path)
            .env("SOURCE_DATE_EPOCH", "1790000000")
            .output()
            .unwrap()
    }

    fn done(&self) {
        let output = self.release();
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert_eq!(self.project.done(&["check", "--json"]), "{\"problems\":[]}\n");
    }

    fn fails(&self) -> String {
        let output = self.release();
        assert_eq!(output.status.code(), Some(1));
        assert!(!self.project.path("dist").exists(), "nothing is built or recorded first");
        text(&output.stderr)
    }

    /// Returns what is beside the program, by name.
    fn kept(&self) -> Vec<String> {
        let folder = self.dir.path().join("towline-installer");
        let entries = folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = entries.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Returns how often the installer was built.
    fn builds(&self) -> usize {
        let log = fs::read_to_string(self.dir.path().join("builds")).unwrap_or_default();
        log.lines().count()
    }
}

/// Node as far as it is called: it tells its version, or writes a bundle.
#[cfg(unix)]
const NODE: &str = r#"
[ "$1" = --version ] && echo v20.19.0 && exit
echo build >> "$(dirname "$0")/../builds"
test -f src/main.ts && test -f package-lock.json || exit 9
mkdir "$2" && cd "$2" && sleep 0.2
sum() { sha256sum $1 2>/dev/null || shasum -a 256 $1; }
files=
for file in installer-1.js installer-1.css licenses-1.txt demo-1.js; do
  echo "/* $file */" > $file
  files="$files,\"$file\":\"$(sum $file | cut -c 1-64)\""
done
names='"script":"installer-1.js","style":"installer-1.css","licenses":"licenses-1.txt","demo":"demo-1.js"'
echo "{$names,\"files\":{${files#,}}}" > bundle.json
"#;

#[cfg(unix)]
#[test]
fn it_is_built_once_and_found_by_the_next_run() {
    let bench = Bench::new();
    bench.done();
    bench.done();
    assert_eq!(bench.builds(), 1);
    let [lock, hash] = &bench.kept()[..] else { panic!("{:?}", bench.kept()) };
    assert_eq!((lock.as_str(), hash.len()), (".lock", 16));
}

#[cfg(unix)]
#[test]
fn what_is_missing_is_named_with_what_to_install() {
    let bench = Bench::new();
    let fails = |expected: &str| {
        let error = bench.fails();
        assert!(error.contains(expected), "{error}");
        assert!(error.contains("hint: install Node.js 20.19 or newer with npm"), "{error}");
        assert!(error.contains("apt-get install nodejs npm"), "{error}");
    };
    bench.program("node", "echo v18.20.4");
    fails("cannot be built: node v18.20.4 is older than 20.19");
    fs::remove_file(bench.dir.path().join("bin/node")).unwrap();
    fails("cannot be built: node not found");
    bench.program("node", NODE);
    fs::remove_file(bench.dir.path().join("bin/npm")).unwrap();
    fails("cannot be built: npm not found");
}

#[cfg(unix)]
#[test]
fn without_a_network_the_next_step_is_told() {
    let bench = Bench::new();
    let script = "[ \"$1\" = --version ] && echo 11.0.0 && exit\n\
                  echo 'npm error code ENOTCACHED' >&2\nexit 1";
    bench.program("npm", script);
    let error = bench.fails();
    assert!(error.contains("`npm ci --ignore-scripts"), "{error}");
    assert!(error.contains("npm error code ENOTCACHED"), "{error}");
    assert!(error.contains("hint: its packages are fetched once: connect"), "{error}");
    assert_eq!(bench.kept(), [".lock"], "a failed build leaves nothing");
}

#[cfg(unix)]
#[test]
fn a_build_that_was_killed_is_completed_by_the_next() {
    let bench = Bench::new();
    let npm = "[ \"$1\" = --version ] && echo 11.0.0 && exit\nmkdir node_modules\n";
    bench.program("npm", &format!("{npm}kill -9 $PPID"));
    assert_eq!(bench.release().status.code(), None, "it was killed");
    assert!(bench.kept()[1].starts_with(".towline-"), "{:?}", bench.kept());
    bench.program("npm", npm);
    bench.done();
    assert_eq!(bench.kept().len(), 2, "{:?}", bench.kept());
}

#[cfg(unix)]
#[test]
fn a_damaged_one_is_built_again_and_old_ones_go() {
    let bench = Bench::new();
    bench.done();
    let kept = bench.kept();
    let folder = bench.dir.path().join("towline-installer");
    let style = folder.join(&kept[1]).join("installer-1.css");
    fs::write(&style, "").unwrap();
    fs::create_dir(folder.join("0123456789abcdef")).unwrap();
    bench.done();
    assert_eq!(bench.kept(), kept);
    fs::remove_file(&style).unwrap();
    bench.done();
    assert_eq!(bench.builds(), 3);
}

#[cfg(unix)]
#[test]
fn of_runs_at_the_same_time_one_builds_and_the_others_wait() {
    let bench = Bench::new();
    thread::scope(|scope| {
        let runs: Vec<_> = (0..4).map(|_| scope.spawn(|| bench.release())).collect();
        for run in runs {
            let output = run.join().unwrap();
            assert!(output.status.success(), "{}", text(&output.stderr));
        }
    });
    assert_eq!(bench.builds(), 1);
    assert_eq!(bench.project.done(&["check", "--json"]), "{\"problems\":[]}\n");
}
