//! Keys: what the commands make, refuse and leave to do elsewhere.

use crate::support::{PASSPHRASE, Project, assert_tree, repository, text, tree};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use towline_descriptor::Chip;

fn project() -> Project {
    Project::new(&[Chip::Esp32c3])
}

/// A project with the keys that `init` makes.
fn with_keys() -> Project {
    let project = project();
    project.done(&["keys", "init"]);
    project
}

fn list(project: &Project) -> Value {
    serde_json::from_str(&project.done(&["keys", "list", "--json"])).unwrap()
}

/// Returns the ids of the keys of a role.
fn ids(project: &Project, role: &str) -> Vec<String> {
    let list = list(project);
    let keys = list["roles"][role]["keys"].as_array().unwrap();
    keys.iter().map(|key| key["keyid"].as_str().unwrap().to_owned()).collect()
}

/// Returns the key files of a kind.
fn files(project: &Project, kind: &str) -> Vec<PathBuf> {
    let entries = project.keys("").read_dir().unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with(kind) && name.ends_with(".pem")
    });
    files.sort();
    files
}

#[test]
fn init_makes_a_root_key_and_a_channel_key() {
    let project = project();
    let shown = project.done(&["keys", "init", "--json"]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let roles: Vec<_> = shown["keys"].as_array().unwrap().iter().map(|key| &key["role"]).collect();
    assert_eq!(roles, ["root", "*"]);
    let [root, channel] = [&files(&project, "root"), &files(&project, "channel")];
    assert_eq!((root.len(), channel.len()), (1, 1));
    let pem = |path: &Path| fs::read_to_string(path).unwrap();
    assert!(pem(&root[0]).starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
    assert!(pem(&channel[0]).starts_with("-----BEGIN PRIVATE KEY-----"));
    let list = list(&project);
    assert_eq!((&list["version"], &list["issued"]), (&1.into(), &1_790_000_000.into()));
    assert_eq!(list["roles"]["root"]["keys"][0]["secret"], root[0].to_str().unwrap());

    let error = project.fails(&["keys", "init"]);
    assert!(error.contains("the project has keys already: root 1"), "{error}");
}

#[test]
fn a_dry_run_makes_nothing() {
    let project = project();
    let before = tree(&project.path("."));
    let shown = project.done(&["keys", "init", "--dry-run"]);
    assert!(shown.contains("root/1.json"), "{shown}");
    assert_tree(&project.path("."), &before);
    assert!(!project.keys("").exists());
    project.done(&["keys", "init"]);
    let (before, keys) = (tree(&project.path(".")), tree(&project.keys("")));
    let shown = project.done(&["keys", "rotate", "--dry-run"]);
    assert!(shown.starts_with("root 1 -> 2\n- "), "{shown}");
    assert_tree(&project.path("."), &before);
    assert_tree(&project.keys(""), &keys);
}

#[test]
fn openssl_reads_the_key_files() {
    let project = with_keys();
    for kind in ["root", "channel"] {
        let file = &files(&project, kind)[0];
        let output = Command::new("openssl")
            .args(["pkey", "-pubout", "-passin"])
            .arg(format!("pass:{PASSPHRASE}"))
            .arg("-in")
            .arg(file)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        let public = fs::read_to_string(file.with_extension("pub")).unwrap();
        assert_eq!(text(&output.stdout), public);
    }
}

#[test]
fn keys_that_openssl_made_can_be_added_and_used() {
    let project = with_keys();
    let file = project.keys("theirs.pem");
    let public = project.keys("theirs.pub");
    let openssl = |arguments: &[&str]| {
        let output = Command::new("openssl").args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
    };
    let (file, public) = (file.to_str().unwrap(), public.to_str().unwrap());
    let pass = format!("pass:{PASSPHRASE}");
    openssl(&["genpkey", "-algorithm", "ed25519", "-aes256", "-pass", &pass, "-out", file]);
    openssl(&["pkey", "-in", file, "-passin", &pass, "-pubout", "-out", public]);
    project.done(&["keys", "add", "--root", public]);
    assert_eq!(ids(&project, "root").len(), 2);
    // Alone, without the first key.
    fs::remove_file(&files(&project, "root")[0]).unwrap();
    project.done(&["keys", "rotate", "--key", file]);
    assert_eq!(list(&project)["version"], 3);
}

#[test]
fn a_wrong_passphrase_changes_nothing() {
    let project = with_keys();
    let before = tree(&project.path("root"));
    let channel = ids(&project, "*");
    let wrong = [("TOWLINE_ROOT_PASSPHRASE", "battery horse")];
    let output = project.xtask_with(&["keys", "revoke", &ids(&project, "root")[0]], &wrong);
    assert_eq!(output.status.code(), Some(1));
    let output = project.xtask_with(&["keys", "rotate"], &wrong);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(error.contains("the passphrase is wrong"), "{error}");
    assert!(error.contains("hint: type it again"), "{error}");
    assert_tree(&project.path("root"), &before);
    let none = [("TOWLINE_ROOT_PASSPHRASE", "short")];
    let error = text(&project.xtask_with(&["keys", "rotate", "--root"], &none).stderr);
    assert!(error.contains("8 characters or more"), "{error}");
    // The key that was made is the one that the next run takes.
    project.done(&["keys", "rotate"]);
    assert_eq!(files(&project, "channel").len(), 2);
    assert_ne!(ids(&project, "*"), channel);
}

#[cfg(unix)]
#[test]
fn a_key_file_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let project = with_keys();
    project.build(&[Chip::Esp32c3], "1.0.0").done(&["release"]);
    let channel = &files(&project, "channel")[0];
    for mode in [0o644, 0o640] {
        fs::set_permissions(channel, fs::Permissions::from_mode(mode)).unwrap();
        let error = project.fails(&["site"]);
        assert!(error.contains("others on this machine can read"), "{error}");
        assert!(error.contains("hint: chmod 600"), "{error}");
    }
    // Media without permissions show 755; the passphrase keeps a root key.
    fs::set_permissions(&files(&project, "root")[0], fs::Permissions::from_mode(0o755)).unwrap();
    let output = project.xtask(&["keys", "rotate"]);
    let warning = text(&output.stderr);
    assert!(output.status.success(), "{warning}");
    assert!(warning.contains("only its passphrase keeps it secret"), "{warning}");
}

#[test]
fn keys_inside_the_repository_are_refused() {
    let project = project();
    fs::create_dir(project.path("secret")).unwrap();
    let inside = project.path("secret");
    let output =
        project.xtask_with(&["keys", "init"], &[("TOWLINE_KEYS", inside.to_str().unwrap())]);
    let error = text(&output.stderr);
    assert!(error.contains("secret keys must not be inside the repository"), "{error}");
    assert!(error.contains("hint: move them elsewhere"), "{error}");
    assert!(inside.read_dir().unwrap().next().is_none());
    project.done(&["keys", "init"]);
    let copy = project.path("root.pem");
    fs::rename(&files(&project, "root")[0], &copy).unwrap();
    let error = project.fails(&["keys", "rotate", "--key", copy.to_str().unwrap()]);
    assert!(error.contains("secret keys must not be inside the repository"), "{error}");
}

#[test]
fn a_root_that_was_edited_by_hand_stops_everything() {
    let project = with_keys();
    let root = project.read("root/1.json");
    // Another threshold, another key: any change of the payload.
    for (from, to) in [("eyJmbXQ", "eyJmbXR"), ("\"sig\": \"", "\"sig\": \"AA"), ("{", "[")] {
        let edited = root.replacen(from, to, 1);
        assert_ne!(edited, root, "{from}");
        project.write("root/1.json", edited);
        for command in [&["keys", "list"][..], &["keys", "rotate"], &["build"]] {
            let error = project.fails(command);
            assert!(error.contains("root/1.json: "), "{command:?}: {error}");
        }
    }
    project.write("root/1.json", root);
    project.done(&["keys", "rotate"]);
    fs::remove_file(project.path("root/1.json")).unwrap();
    let error = project.fails(&["keys", "list"]);
    assert!(error.contains("root/2.json: there is no root 1 before it"), "{error}");
}

#[test]
fn revoking_what_is_needed_is_refused_with_what_to_do_instead() {
    let project = with_keys();
    let [root, channel] = ["root", "*"].map(|role| ids(&project, role).remove(0));
    let error = project.fails(&["keys", "revoke", &channel]);
    assert!(error.contains("would have no key left"), "{error}");
    assert!(
        error.contains("hint: replace it in one step with `cargo xtask keys rotate`"),
        "{error}"
    );
    let error = project.fails(&["keys", "revoke", &root]);
    assert!(error.contains("`cargo xtask keys rotate --root`"), "{error}");
    let error = project.fails(&["keys", "revoke", "0000000000000000"]);
    assert!(error.contains("no role has the key"), "{error}");

    project.done(&["keys", "add", "--root", "--threshold", "2"]);
    let error = project.fails(&["keys", "revoke", &root]);
    assert!(error.contains("would have 1 key(s), and 2 have to sign"), "{error}");
    project.done(&["keys", "revoke", &root, "--threshold", "1"]);
    assert_eq!(ids(&project, "root").len(), 1);
    // The number is that of the key's own role.
    project.done(&["keys", "add", "--threshold", "2"]);
    let error = project.fails(&["keys", "revoke", &channel]);
    assert!(error.contains("the role `*` would have 1 key(s)"), "{error}");
    project.done(&["keys", "revoke", &channel, "--threshold", "1"]);
    assert!(!ids(&project, "*").contains(&channel));
    assert_eq!(list(&project)["version"], 5);
}

#[test]
fn the_number_of_signatures_can_be_changed_alone() {
    let project = with_keys();
    let error = project.fails(&["keys", "threshold", "2", "--root"]);
    assert!(error.contains("the role `root` would have 1 key(s), and 2 have to sign"), "{error}");
    project.done(&["keys", "add"]);
    let shown = project.done(&["keys", "threshold", "2"]);
    assert!(shown.contains("2 of 2 keys sign for role *"), "{shown}");
    assert_eq!(list(&project)["roles"]["*"]["threshold"], 2);
}

#[test]
fn the_key_of_a_channel_that_is_gone_can_be_replaced_and_revoked() {
    let project = with_keys();
    project.done(&["keys", "add", "--channel", "testing"]);
    let config = project.read("towline.toml");
    project.write("towline.toml", config + "[channels.stable]\n");
    let stolen = ids(&project, "testing").remove(0);
    project.done(&["keys", "rotate", "--channel", "testing"]);
    assert_ne!(ids(&project, "testing"), [stolen]);
    let shown = project.done(&["keys", "revoke", &ids(&project, "testing")[0]]);
    assert!(
        shown.contains("role testing is gone: the keys of that channel are those of role *"),
        "{shown}"
    );
    assert_eq!(list(&project)["roles"]["testing"], Value::Null);
    project.done(&["keys", "list"]);
}

#[test]
fn the_last_own_key_of_a_channel_can_go_where_all_channels_have_some() {
    let project = project();
    project.done(&["keys", "init", "--channel", "stable,testing"]);
    let error = project.fails(&["keys", "revoke", &ids(&project, "stable")[0]]);
    assert!(
        error.contains(
            "hint: replace it in one step with `cargo xtask keys rotate --channel stable`"
        ),
        "{error}"
    );
    project.done(&["keys", "add"]);
    project.done(&["keys", "revoke", &ids(&project, "stable")[0]]);
    assert_eq!(list(&project)["roles"]["stable"], Value::Null);
}

#[test]
fn what_ci_needs_is_told_whole() {
    let project = with_keys();
    let old = ids(&project, "*").remove(0);
    let told = |arguments: &[&str]| text(&project.xtask(arguments).stderr);
    let shown = told(&["keys", "add", "--channel", "stable"]);
    let both: Vec<_> = files(&project, "channel").iter().map(|f| f.display().to_string()).collect();
    let cat = shown.lines().find(|line| line.contains("cat ")).unwrap();
    assert!(both.len() == 2 && both.iter().all(|file| cat.contains(file)), "{cat}");
    let shown = told(&["keys", "rotate"]);
    assert!(shown.contains(&format!("channel key {old} goes out of the secret")), "{shown}");
    let cat = shown.lines().find(|line| line.contains("cat ")).unwrap();
    assert!(!cat.contains(&old) && cat.contains(&ids(&project, "stable")[0]), "{cat}");
    // Nothing of it where nothing changes for CI.
    assert!(!told(&["keys", "rotate", "--root"]).contains("TOWLINE_CHANNEL_KEY"));
}

#[test]
fn json_is_all_that_stdout_has() {
    let project = project();
    let json = |arguments: &[&str]| -> Value {
        serde_json::from_str(&project.done(&[arguments, &["--json"]].concat())).unwrap()
    };
    let shown = json(&["keys", "init", "--root-keys", "2", "--threshold", "2", "--dry-run"]);
    assert_eq!((&shown["dry_run"], &shown["channel_keys"][0]), (&true.into(), &"*".into()));
    json(&["keys", "init", "--root-keys", "2", "--threshold", "2"]);
    let shown = json(&["keys", "rotate", "--dry-run"]);
    assert_eq!((&shown["dry_run"], &shown["version"]), (&true.into(), &2.into()));
    // One of two people.
    let away = files(&project, "root").remove(0);
    fs::rename(&away, away.with_extension("away")).unwrap();
    assert_eq!(json(&["keys", "rotate"])["lacking"][0]["count"], 1);
    let mail = project.keys("mail.json");
    fs::rename(project.path("root/2.json.partial"), &mail).unwrap();
    fs::rename(away.with_extension("away"), &away).unwrap();
    let shown = json(&["keys", "sign", mail.to_str().unwrap()]);
    assert_eq!((&shown["version"], &shown["lacking"]), (&2.into(), &Value::Array(Vec::new())));
}

#[test]
fn a_root_that_devices_could_not_read_is_refused_before_a_key_is_made() {
    let project = project();
    let channels = ["a", "b", "c", "d", "e", "f"];
    let tables = channels.map(|name| format!("[channels.{name}]\n")).concat();
    project.write("towline.toml", [project.read("towline.toml"), tables].concat());
    let all = channels.join(",");
    let error = project.fails(&["keys", "init", "--root-keys", "8", "--channel", &all]);
    assert!(error.contains("1.json: has ") && error.contains("hint: revoke keys"), "{error}");
    assert!(!project.keys("").exists());
    project.done(&["keys", "init", "--root-keys", "8", "--threshold", "8"]);
    let keys = tree(&project.keys(""));
    let error = project.fails(&["keys", "rotate", &ids(&project, "root")[0], "--root"]);
    assert!(error.contains("9 keys would have to sign"), "{error}");
    assert!(error.contains("hint: lower the number"), "{error}");
    assert_tree(&project.keys(""), &keys);
}

#[test]
fn what_is_signed_is_shown_with_whole_keys() {
    let project = with_keys();
    let shown = project.done(&["keys", "rotate"]);
    let key = list(&project)["roles"]["*"]["keys"][0]["key"].clone();
    assert!(shown.contains(&format!("in role *: {}\n", key.as_str().unwrap())), "{shown}");
}

#[test]
fn keys_of_other_projects_are_never_taken() {
    let project = with_keys();
    project.done(&["keys", "new"]);
    let keys = tree(&project.keys(""));
    // Another project with the same folder of keys, and of the same name, makes
    // its own keys, even when one that was made for the first is unused.
    let scratch = Project::new(&[Chip::Esp32c3]);
    let folder = project.keys("");
    let variables = [("TOWLINE_KEYS", folder.to_str().unwrap())];
    let interrupted = [variables[0], ("TOWLINE_ROOT_PASSPHRASE", "battery horse")];
    assert!(!project.xtask_with(&["keys", "rotate"], &interrupted).status.success());
    assert_eq!(files(&project, "new").len(), 1);
    assert!(scratch.xtask_with(&["keys", "init"], &variables).status.success());
    assert_eq!((files(&project, "root").len(), files(&project, "channel").len()), (2, 3));
    assert_eq!(files(&project, "new").len(), 1);
    let root: Value = serde_json::from_str(&scratch.done(&["keys", "list", "--json"])).unwrap();
    let own = root["roles"]["*"]["keys"][0]["keyid"].as_str().unwrap().to_owned();
    assert!(!keys.iter().any(|(path, _)| path.to_string_lossy().contains(&own)));
}

#[test]
fn a_ceremony_needs_as_many_people_as_the_threshold_says() {
    let project = project();
    project.done(&["keys", "init", "--root-keys", "3", "--threshold", "2"]);
    // Each of three people takes a key home.
    let homes: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    for (file, home) in files(&project, "root").iter().zip(&homes) {
        fs::copy(file, home.path().join(file.file_name().unwrap())).unwrap();
        fs::remove_file(file).unwrap();
    }
    let shown = project.done(&["keys", "rotate"]);
    assert!(shown.contains("root/2.json.partial waits for signatures"), "{shown}");
    assert!(shown.contains("2 more of the root keys of root 1"), "{shown}");
    let error = project.fails(&["keys", "rotate"]);
    assert!(error.contains("root/2.json.partial waits for signatures"), "{error}");
    let error = project.fails(&["keys", "sign"]);
    assert!(error.contains("none of the root keys that are missing is at hand"), "{error}");

    let at = |home: &tempfile::TempDir, arguments: &[&str]| {
        let variables = [("TOWLINE_KEYS", home.path().to_str().unwrap())];
        let output = project.xtask_with(arguments, &variables);
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    // The first one gets the file by mail, and sends it back.
    let mail = homes[0].path().join("mail.json");
    fs::rename(project.path("root/2.json.partial"), &mail).unwrap();
    let shown = at(&homes[0], &["keys", "sign", mail.to_str().unwrap()]);
    assert!(shown.starts_with("root 1 -> 2\n- "), "{shown}");
    assert!(!project.path("root/2.json").exists());
    fs::rename(&mail, project.path("root/2.json.partial")).unwrap();
    // The same person once more is nobody else.
    let again = project
        .xtask_with(&["keys", "sign"], &[("TOWLINE_KEYS", homes[0].path().to_str().unwrap())]);
    assert_eq!(again.status.code(), Some(1));
    at(&homes[2], &["keys", "sign"]);
    assert!(project.path("root/2.json").exists());
    assert!(!project.path("root/2.json.partial").exists());
    assert_eq!(list(&project)["version"], 2);
}

#[test]
fn a_key_that_is_made_elsewhere_never_leaves_there() {
    let project = with_keys();
    let elsewhere = tempfile::tempdir().unwrap();
    let keys = elsewhere.path().join("keys");
    let output =
        project.xtask_with(&["keys", "new", "--root"], &[("TOWLINE_KEYS", keys.to_str().unwrap())]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let public = text(&output.stdout);
    project.done(&["keys", "add", "--root", public.trim()]);
    assert_eq!(list(&project)["roles"]["root"]["keys"][1]["key"], public.trim());
    assert_eq!(list(&project)["roles"]["root"]["keys"][1]["secret"], Value::Null);
    let error = project.fails(&["keys", "add", public.trim()]);
    assert!(error.contains("cannot be a root key and a channel key"), "{error}");
}

#[test]
fn channels_can_have_keys_of_their_own() {
    let project = with_keys();
    let error = project.fails(&["keys", "rotate", "--channel", "stable"]);
    assert!(error.contains("`cargo xtask keys add --channel stable`"), "{error}");
    project.done(&["keys", "add", "--channel", "stable"]);
    let common = ids(&project, "*");
    let own = ids(&project, "stable");
    project.done(&["keys", "rotate", "--channel", "stable"]);
    assert_eq!(ids(&project, "*"), common);
    assert_ne!(ids(&project, "stable"), own);
    let error = project.fails(&["keys", "add", "--channel", "nightly"]);
    assert!(error.contains("the project has no channel `nightly`"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_killed_init_is_completed_with_the_keys_that_it_made() {
    let project = project();
    // Nothing can be written there.
    std::os::unix::fs::symlink(project.path("nowhere"), project.path("root")).unwrap();
    project.fails(&["keys", "init"]);
    let made = files(&project, "new");
    assert_eq!(made.len(), 2);
    fs::remove_file(project.path("root")).unwrap();
    project.done(&["keys", "init"]);
    let kept = [files(&project, "channel"), files(&project, "root")].concat();
    for (made, kept) in made.iter().zip(&kept) {
        let id = |path: &Path| path.to_str().unwrap().rsplit('-').next().unwrap().to_owned();
        assert_eq!(id(made), id(kept));
    }
    assert_eq!((kept.len(), files(&project, "new").len()), (2, 0));
}

#[test]
fn a_killed_change_is_completed_by_the_same_command() {
    let project = with_keys();
    let wrong = [("TOWLINE_ROOT_PASSPHRASE", "battery horse")];
    project.xtask_with(&["keys", "rotate"], &wrong);
    // The key is there, and no root names it.
    let made = files(&project, "new").remove(0);
    project.done(&["keys", "rotate"]);
    assert!(made.to_str().unwrap().ends_with(&format!("-{}.pem", ids(&project, "*")[0])));
    let settled = project.keys(format!("channel-{}.pem", ids(&project, "*")[0]));
    assert!(settled.exists() && !made.exists());
    // Killed before the key had its name and the partial root was removed.
    fs::rename(&settled, &made).unwrap();
    fs::copy(project.path("root/2.json"), project.path("root/2.json.partial")).unwrap();
    project.done(&["keys", "rotate"]);
    assert!(settled.exists() && !made.exists());
    assert!(!project.path("root/2.json.partial").exists());
    // One that is of another change is nobody's to remove.
    fs::copy(project.path("root/2.json"), project.path("root/3.json.partial")).unwrap();
    project.done(&["keys", "list"]);
    assert!(project.path("root/3.json.partial").exists());
}

#[test]
fn firmware_is_built_with_the_root_that_export_writes() {
    let project = with_keys();
    let config = "project = \"lamp\"\nbase-url = \"https://localhost/\"\n[targets.esp32c3]\nbuild = { command = [\"sh\", \"-c\", \"echo \\\"root=$TOWLINE_ROOT\\\" > told; cp \\\"$TOWLINE_ROOT\\\" seen || :\"], output = \"images/esp32c3.bin\" }\n";
    project.write("towline.toml", config);
    project.build(&[Chip::Esp32c3], "1.0.0").done(&["build"]);
    project.done(&["keys", "export", "--out", "exported"]);
    assert_eq!(project.read("seen"), project.read("exported"));
    assert!(Path::new(project.read("told").trim().trim_start_matches("root=")).is_absolute());
    let root: Value = serde_json::from_str(&project.read("exported")).unwrap();
    assert_eq!((&root["project"], &root["version"]), (&"lamp".into(), &1.into()));
    assert_eq!(project.done(&["keys", "export"]).trim(), project.read("exported"));
    // Nothing of it where there are no keys, whatever the variable says.
    fs::remove_dir_all(project.path("root")).unwrap();
    fs::remove_file(project.path("seen")).unwrap();
    let output = project.xtask_with(&["build"], &[("TOWLINE_ROOT", "/elsewhere")]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(project.read("told"), "root=\n");
}

#[test]
fn this_repository_holds_no_secret_key() {
    let secrets = xtask::check::secrets::Secrets::default();
    let problems = xtask::check::secrets::in_repository(repository(), &[], &secrets).unwrap();
    assert_eq!(problems, []);
}
