//! The host device follows a channel over HTTPS, from a site that the
//! publisher made and serves.

use crate::support::{PARTITIONS, Project, repository, text, xtask};
use std::{
    fs,
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    thread,
};
use towline_descriptor::Chip;
use xtask::{
    serve::{Identity, Server},
    signing::clock,
};

const CHIP: [Chip; 1] = [Chip::Esp32c3];

/// A server of a folder over HTTPS.
pub(crate) struct Host {
    address: SocketAddr,
    pub(crate) ca: PathBuf,
}

impl Host {
    pub(crate) fn serve(site: &Path, ca: PathBuf) -> Self {
        let identity = Identity::new(&["localhost".into(), "127.0.0.1".into()]).unwrap();
        fs::write(&ca, &identity.authority).unwrap();
        let server =
            Server::bind("127.0.0.1:0".parse().unwrap(), site, "/", Some(&identity)).unwrap();
        let address = server.address().unwrap();
        thread::spawn(move || server.run(|_| {}));
        Self { address, ca }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}/{path}", self.address.port())
    }
}

/// Lets the project publish under the address of its host: paths in
/// descriptors are absolute.
pub(crate) fn publish_at(project: &Project, host: &Host) {
    let config = project.read("towline.toml");
    let config = config.replace("https://localhost/", &host.url(""));
    project.write("towline.toml", config);
}

fn update(project: &Project, host: &Host, arguments: &[&str]) -> std::process::Output {
    let url = host.url("ota/stable/esp32c3.json");
    let ca = host.ca.display().to_string();
    project.xtask(&[&["sim", "update", "--url", &url, "--ca", &ca, "--json"], arguments].concat())
}

#[test]
fn a_device_follows_its_channel_and_stays_when_it_is_up_to_date() {
    let project = Project::new(&CHIP);
    fs::create_dir_all(project.path("dist/site")).unwrap();
    let host = Host::serve(&project.path("dist/site"), project.path("ca.pem"));
    publish_at(&project, &host);
    project.build(&CHIP, "1.0.0").done(&["release"]);
    let shown = project.done(&["sim", "flash", "--target", "esp32c3"]);
    assert!(shown.contains("runs lamp 1.0.0 from ota_0"), "{shown}");
    for (version, slot) in [("1.1.0", "ota_1"), ("1.2.0", "ota_0")] {
        project.build(&CHIP, version).done(&["release"]);
        let mut outcome: serde_json::Value =
            serde_json::from_slice(&update(&project, &host, &[]).stdout).unwrap();
        let fetched = outcome.as_object_mut().unwrap().remove("fetched").unwrap();
        assert!((1..60_000).contains(&fetched.as_u64().unwrap()), "{fetched}");
        assert_eq!(
            outcome,
            serde_json::json!({
                "installed": version, "slot": slot, "runs": version,
                "boots": ["first boot, on trial"], "form": "compressed",
            })
        );
    }
    let outcome: serde_json::Value =
        serde_json::from_slice(&update(&project, &host, &[]).stdout).unwrap();
    assert_eq!(outcome["reason"], "up to date");
    let info = project.done(&["sim", "info", "--json"]);
    assert!(info.contains("\"state\":\"valid\""), "{info}");

    // The site is the same over the network as in its folder.
    let ca = host.ca.display().to_string();
    assert_eq!(
        project.done(&["check", &host.url(""), "--ca", &ca, "--json"]),
        "{\"problems\":[]}\n"
    );
}

#[test]
fn a_host_that_is_not_trusted_gets_nowhere() {
    let project = Project::new(&CHIP);
    fs::create_dir_all(project.path("dist/site")).unwrap();
    let host = Host::serve(&project.path("dist/site"), project.path("ca.pem"));
    publish_at(&project, &host);
    project.build(&CHIP, "1.0.0").done(&["release"]);
    project.done(&["sim", "flash", "--target", "esp32c3"]);
    project.build(&CHIP, "1.1.0").done(&["release"]);
    let before = fs::read(project.path("flash.bin")).unwrap();
    let url = host.url("ota/stable/esp32c3.json");
    let error = project.fails(&["sim", "update", "--url", &url]);
    assert!(error.contains("UnknownIssuer"), "{error}");
    let ca = host.ca.display().to_string();
    let other_name = url.replace("localhost", "127.0.0.2");
    let error = project.fails(&["sim", "update", "--url", &other_name, "--ca", &ca]);
    assert!(!error.is_empty());
    let plain = url.replace("https", "http");
    assert!(
        project
            .fails(&["sim", "update", "--url", &plain, "--ca", &ca])
            .contains("not an https:// URL")
    );
    assert_eq!(fs::read(project.path("flash.bin")).unwrap(), before);
}

#[test]
fn a_tampered_image_never_boots() {
    let project = Project::new(&CHIP);
    fs::create_dir_all(project.path("dist/site")).unwrap();
    let host = Host::serve(&project.path("dist/site"), project.path("ca.pem"));
    publish_at(&project, &host);
    // There is no other way to the image than the image.
    let config = project.read("towline.toml");
    project.write("towline.toml", format!("{config}[patches]\nfrom = 0\ncompressed = false\n"));
    project.build(&CHIP, "1.0.0").done(&["release"]);
    project.done(&["sim", "flash", "--target", "esp32c3"]);
    project.build(&CHIP, "1.1.0").done(&["release"]);
    let folder = project.path("dist/site/firmware/lamp/1.1.0");
    let image = folder
        .read_dir()
        .unwrap()
        .map(|e| e.unwrap().path())
        .find(|p| p.to_string_lossy().contains("-app-"))
        .unwrap();
    let sound = fs::read(&image).unwrap();
    let last = sound.len() - 1;
    for at in [0, 12, 60, 80, 5000, last] {
        let mut tampered = sound.clone();
        tampered[at] ^= 0x10;
        fs::write(&image, tampered).unwrap();
        let output = update(&project, &host, &[]);
        assert_eq!(output.status.code(), Some(1), "byte {at}");
        assert!(project.done(&["sim", "info"]).contains("runs ota_0    valid          lamp 1.0.0"));
    }
    fs::write(&image, &sound[..last]).unwrap();
    assert!(text(&update(&project, &host, &[]).stderr).contains("length"));
    fs::write(&image, sound).unwrap();
    assert!(update(&project, &host, &[]).status.success());
}

/// Images of a public project, made by other tools: ESP-IDF, versions with a
/// leading `v`, devices that read two fields.
#[test]
fn a_foreign_project_is_published_and_followed_as_it_is() {
    let data = repository().join("../shared/data/esp32-evse");
    let (old, new) = (data.join("esp32-v2.1.0.ota.bin"), data.join("esp32-v2.1.1.ota.bin"));
    if !old.exists() {
        // Not with `eprintln`: what passing tests print that way is not shown.
        let line = format!("a foreign project was NOT RUN: no images in {}\n", data.display());
        std::io::stderr().write_all(line.as_bytes()).unwrap();
        return;
    }
    let project = Project::new(&CHIP);
    fs::create_dir_all(project.path("dist/site")).unwrap();
    let host = Host::serve(&project.path("dist/site"), project.path("ca.pem"));
    let config = format!(
        "project = \"esp32-evse\"\nbase-url = \"{}\"\n[targets.esp32]\nbuild.prebuilt = \"image.bin\"\npartition-table = \"partitions.csv\"\n",
        host.url("")
    );
    project.write("towline.toml", config);
    project.write("partitions.csv", PARTITIONS);
    fs::copy(&old, project.path("image.bin")).unwrap();
    project.done(&["release"]);
    // Stable keeps the old release, testing goes ahead.
    project.done(&["pin", "stable", "2.1.0"]);
    project.done(&["sim", "flash", "--target", "esp32"]);
    fs::copy(&new, project.path("image.bin")).unwrap();
    project.done(&["release"]);
    assert_eq!(project.done(&["check", "--json"]), "{\"problems\":[]}\n");

    // What that project's own devices read: two strings, no redirect, a length.
    for (channel, version, image) in [("stable", "v2.1.0", &old), ("testing", "v2.1.1", &new)] {
        let descriptor: serde_json::Value =
            serde_json::from_str(&project.read(&format!("dist/site/ota/{channel}/esp32.json")))
                .unwrap();
        let image = fs::read(image).unwrap();
        let stated = text(&image[0x30..0x50]);
        assert_eq!(descriptor["version"].as_str(), Some(stated.trim_end_matches('\0')));
        assert_eq!(descriptor["version"], version);
        let path =
            descriptor["path"].as_str().unwrap().strip_prefix(&host.url("")).unwrap().to_owned();
        assert_eq!(fs::read(project.path("dist/site").join(path)).unwrap(), image);
    }
    let ca = host.ca.display().to_string();
    let poll = |channel: &str| {
        let url = host.url(&format!("ota/{channel}/esp32.json"));
        let output =
            xtask(&project.path("."), &["sim", "update", "--url", &url, "--ca", &ca, "--json"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    assert_eq!(poll("stable")["reason"], "up to date");
    assert_eq!(poll("testing")["runs"], "v2.1.1");
    assert_eq!(poll("testing")["reason"], "up to date");
}

/// Lets a device of the project poll, as firmware with its root would.
fn update_signed(project: &Project, host: &Host, arguments: &[&str]) -> std::process::Output {
    let ca = host.ca.display().to_string();
    let update = ["sim", "update", "--target", "esp32c3", "--ca", &ca, "--json"];
    project.xtask(&[&update, arguments].concat())
}

#[test]
fn a_device_with_the_root_follows_signed_channels_through_every_change_of_keys() {
    let project = Project::new(&CHIP);
    fs::create_dir_all(project.path("dist/site")).unwrap();
    let host = Host::serve(&project.path("dist/site"), project.path("ca.pem"));
    publish_at(&project, &host);
    // The device knows the time, and what was signed long ago has expired.
    let publisher = |arguments: &[&str]| {
        let now = clock().to_string();
        let output = project.xtask_with(arguments, &[("SOURCE_DATE_EPOCH", &now)]);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    };
    let release = |version| {
        project.build(&CHIP, version);
        publisher(&["release"]);
    };
    publisher(&["keys", "init"]);
    project.done(&["keys", "export", "--out", "first-root.json"]);
    release("1.0.0");
    project.done(&["sim", "flash", "--target", "esp32c3"]);
    release("1.1.0");
    let installed = |arguments: &[&str]| -> serde_json::Value {
        let output = update_signed(&project, &host, arguments);
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()["installed"].clone()
    };
    assert_eq!(installed(&[]), "1.1.0");
    // Off for three changes of the root key and two of the channel key.
    for arguments in [&["keys", "rotate", "--root"][..], &["keys", "rotate"]].repeat(2) {
        publisher(arguments);
    }
    publisher(&["keys", "rotate", "--root"]);
    release("1.2.0");
    assert_eq!(installed(&["--root", "first-root.json"]), "1.2.0");

    // Whoever controls the host puts nothing on it.
    release("1.3.0");
    let path = "dist/site/ota/stable/esp32c3.json";
    let sound = project.read(path);
    let mut plain: serde_json::Value = serde_json::from_str(&sound).unwrap();
    plain.as_object_mut().unwrap().retain(|key, _| key == "version" || key == "path");
    project.write(path, plain.to_string());
    let output = update_signed(&project, &host, &[]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
    let error = text(&output.stderr);
    assert!(error.contains("not trusted: the descriptor is not signed"), "{error}");
    project.write(path, sound);
    assert_eq!(installed(&[]), "1.3.0");
}
