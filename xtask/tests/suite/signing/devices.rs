//! What devices make of each change of keys: the real client over HTTPS, which
//! knows the root of the day that its firmware was built.

use super::*;
use crate::device::{Host, publish_at};
use xtask::signing::clock;

const CHIP: [Chip; 1] = [Chip::Esp32c3];

/// With room for what a device remembers.
const PARTITIONS: &str = "\
nvs,      data, nvs,       0x9000,   0x4000
otadata,  data, ota,       0xd000,   0x2000
phy_init, data, phy,       0xf000,   0x1000
ota_0,    app,  ota_0,     0x10000,  0x1d0000
ota_1,    app,  ota_1,     0x1e0000, 0x1d0000
towline,  data, undefined, 0x3b0000, 0x2000
";

/// A device with the first root, which runs 1.0.0, and the site that it follows.
struct Bench {
    project: Project,
    host: Host,
}

impl Bench {
    fn new() -> Self {
        let project = Project::new(&CHIP);
        project.write("partitions.csv", PARTITIONS);
        fs::create_dir_all(project.path("dist/site")).unwrap();
        let host = Host::serve(&project.path("dist/site"), project.path("ca.pem"));
        publish_at(&project, &host);
        let bench = Self { project, host };
        bench.done(&["keys", "init"]);
        bench.done(&["keys", "export", "--out", "root-1"]);
        bench.release("1.0.0");
        bench.done(&["sim", "flash", "--target", "esp32c3"]);
        bench
    }

    /// Runs a command at the true time, by which devices go.
    fn run(&self, arguments: &[&str]) -> std::process::Output {
        self.project.xtask_with(arguments, &[("SOURCE_DATE_EPOCH", &clock().to_string())])
    }

    fn done(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    fn release(&self, version: &str) {
        self.project.build(&CHIP, version);
        self.done(&["release"]);
    }

    /// Lets the device poll; returns what it installed, or why it did not.
    fn update(&self) -> String {
        self.update_with("root-1")
    }

    /// Lets the device poll with firmware that was built with this root.
    fn update_with(&self, root: &str) -> String {
        let ca = self.host.ca.display().to_string();
        let output = self
            .run(&["sim", "update", "--target", "esp32c3", "--root", root, "--ca", &ca, "--json"]);
        match output.status.success() {
            false => text(&output.stderr),
            true => {
                let outcome: Value = serde_json::from_slice(&output.stdout).unwrap();
                let told = ["installed", "reason"].map(|name| outcome[name].as_str());
                told.into_iter().flatten().next().unwrap().to_owned()
            }
        }
    }

    /// Returns the site as it is.
    fn keep(&self) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        copy(&self.project.path("dist/site"), dir.path());
        dir
    }

    /// Puts what a thief signs with the key of a file in the place of the
    /// descriptor: the highest number there is. Returns what was there.
    fn forge(&self, key: &Path) -> Vec<u8> {
        let path = self.project.path("dist/site").join(DESCRIPTOR);
        let sound = fs::read(&path).unwrap();
        let forged = forged(key, &sound, |payload| payload["seq"] = u64::MAX.into());
        fs::write(path, forged).unwrap();
        sound
    }
}

#[test]
fn a_device_follows_a_rotation_and_refuses_the_key_of_before() {
    let bench = Bench::new();
    bench.release("1.1.0");
    assert_eq!(bench.update(), "1.1.0");
    let stolen = channel_key(&bench.project);
    let aside = bench.project.keys("aside");
    fs::rename(&stolen, &aside).unwrap();
    bench.done(&["keys", "rotate"]);
    bench.release("1.2.0");
    assert_eq!(bench.update(), "1.2.0");
    let sound = bench.forge(&aside);
    let refusal = bench.update();
    assert!(refusal.contains("too few keys of the channel signed"), "{refusal}");
    bench.project.write(&format!("dist/site/{DESCRIPTOR}"), sound);
    assert_eq!(bench.update(), "up to date");
}

#[test]
fn a_device_goes_on_after_the_loss_of_the_channel_key() {
    let bench = Bench::new();
    bench.release("1.1.0");
    assert_eq!(bench.update(), "1.1.0");
    fs::remove_file(channel_key(&bench.project)).unwrap();
    bench.done(&["keys", "rotate"]);
    bench.release("1.2.0");
    // Through two roots at once.
    bench.done(&["keys", "rotate", "--root"]);
    bench.done(&["site"]);
    assert_eq!(bench.update(), "1.2.0");
    bench.release("1.3.0");
    assert_eq!(bench.update(), "1.3.0");
}

#[test]
fn a_device_refuses_a_key_that_was_revoked() {
    let bench = Bench::new();
    let revoked = channel_key(&bench.project);
    bench.done(&["keys", "add"]);
    bench.release("1.1.0");
    assert_eq!(bench.update(), "1.1.0");
    let name = revoked.file_stem().unwrap().to_str().unwrap();
    bench.done(&["keys", "revoke", name.strip_prefix("channel-").unwrap()]);
    bench.release("1.2.0");
    assert_eq!(bench.update(), "1.2.0");
    bench.forge(&revoked);
    let refusal = bench.update();
    assert!(refusal.contains("too few keys of the channel signed"), "{refusal}");
}

/// As the tutorial tells it.
#[test]
fn a_fleet_is_led_to_a_new_chain_when_the_root_key_is_lost() {
    let bench = Bench::new();
    let path = |name: &str| bench.project.path(name);
    let channel = channel_key(&bench.project).with_extension("pub");
    fs::rename(path("root"), path("root-of-before")).unwrap();
    bench.done(&["keys", "init"]);
    bench.done(&["keys", "add", channel.to_str().unwrap()]);
    bench.done(&["keys", "export", "--out", "root-2"]);
    bench.project.build(&CHIP, "1.1.0");
    bench.done(&["release", "--no-site"]);
    fs::rename(path("root"), path("root-of-tomorrow")).unwrap();
    fs::rename(path("root-of-before"), path("root")).unwrap();
    bench.done(&["site"]);
    assert_eq!(bench.update(), "1.1.0");
    // The new firmware believes the old key too, and finds no other root.
    assert_eq!(bench.update_with("root-2"), "up to date");
    bench.release("1.2.0");
    assert_eq!(bench.update_with("root-2"), "1.2.0");
    // Once all devices run such firmware, the old chain goes.
    fs::rename(path("root"), path("root-of-before")).unwrap();
    fs::rename(path("root-of-tomorrow"), path("root")).unwrap();
    fs::remove_dir_all(path("dist/site")).unwrap();
    bench.project.build(&CHIP, "1.3.0");
    // In an empty folder numbers go by the clock alone, and several were given
    // within this second.
    let later = (clock() + 60).to_string();
    let output = bench.project.xtask_with(&["release"], &[("SOURCE_DATE_EPOCH", &later)]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(bench.update_with("root-2"), "1.3.0");
}

/// A thief's number is the highest there is, and both devices and the publisher
/// have seen it.
#[test]
fn a_device_that_was_put_far_ahead_comes_back_with_the_next_key() {
    let bench = Bench::new();
    bench.release("1.1.0");
    let stolen = channel_key(&bench.project);
    let sound = bench.forge(&stolen);
    assert_eq!(bench.update(), "1.1.0");
    let forged = fs::read(bench.project.path("dist/site").join(DESCRIPTOR)).unwrap();
    bench.project.write(&format!("dist/site/{DESCRIPTOR}"), sound);
    let refusal = bench.update();
    assert!(refusal.contains("not trusted"), "{refusal}");
    // The publisher has that site too.
    bench.project.write(&format!("dist/site/{DESCRIPTOR}"), forged);
    bench.done(&["keys", "rotate"]);
    bench.done(&["site"]);
    assert_eq!(bench.update(), "up to date");
    bench.release("1.2.0");
    assert_eq!(bench.update(), "1.2.0");
    bench.forge(&stolen);
    let refusal = bench.update();
    assert!(refusal.contains("too few keys of the channel signed"), "{refusal}");
}

#[test]
fn a_host_has_to_say_what_it_does_not_have() {
    let bench = Bench::new();
    let (url, ca) = (bench.host.url(""), bench.host.ca.display().to_string());
    bench.done(&["sim", "info"]);
    let check = |arguments: &[&str]| {
        let now = clock().to_string();
        let arguments = [&["check"], arguments, &["--ca", &ca]].concat();
        let output = bench.project.xtask_with(&arguments, &[("SOURCE_DATE_EPOCH", &now)]);
        (output.status.code(), text(&output.stdout))
    };
    let (code, shown) = check(&[&url]);
    assert_eq!(code, Some(0), "{shown}");
    // Many hosts serve their front page for whatever they do not know.
    bench.project.write("dist/site/root/2.json", "<!DOCTYPE html>");
    let (code, shown) = check(&[&url]);
    assert_eq!(code, Some(1));
    let expected = "root/2.json: is not published, and the host answers with 15 bytes";
    assert!(shown.contains(expected), "{shown}");
    // Before the first publication there is nothing to compare with.
    let site = bench.keep();
    fs::remove_file(site.path().join("root/2.json")).unwrap();
    fs::remove_file(bench.project.path("dist/site/releases.json")).unwrap();
    let (code, shown) = check(&[site.path().to_str().unwrap(), "--against", &url]);
    assert_eq!(code, Some(0), "{shown}");
}
