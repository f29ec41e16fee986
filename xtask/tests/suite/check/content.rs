//! What files give away: secrets of somebody, and where they were built.

use super::{
    check,
    foreign::{Site, found},
    nvs, released,
};
use crate::support::text;
use serde_json::Value;
use std::{collections::BTreeSet, fs};
use towline_sim::sample::seal;

/// A token as random as they are, put together so that it stands nowhere as one.
fn token() -> String {
    ["gh", "p_", "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF3hJ6"].concat()
}

/// Writes a text into an image, in the midst of its zeros.
fn with_text(image: &mut Vec<u8>, text: &str) {
    image[20_000..][..text.len()].copy_from_slice(text.as_bytes());
    *image = seal(image.clone());
}

/// Returns a board of which all flash was read, with this in its settings.
fn read_out(site: &Site, settings: &[u8]) -> Vec<u8> {
    let mut flash = site.part("factory");
    flash[0x9000..][..settings.len()].copy_from_slice(settings);
    flash
}

type Break = fn(&Site);

const RULES: &[(&str, &str, Break)] = &[
    ("token", "index.html", |s| {
        s.write("index.html", format!("<script>f('{}')</script>", token()));
    }),
    ("token", "web/app.bin", |s| s.app(|app| with_text(app, &token()))),
    ("client-key", "map.js", |s| {
        let key = ["AI", "za", "SyB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF3h"].concat();
        s.write("map.js", format!("key=\"{key}\""));
    }),
    ("wifi-credentials", "board.bin", |s| {
        s.write("board.bin", read_out(s, &nvs::of_network("home", "correct horse", 0b10)));
    }),
    ("wifi-credentials", "web/nvs.bin", |s| {
        s.write("web/nvs.bin", nvs::of_network("open", "", 0b10));
    }),
    ("build-path", "web/app.bin", |s| {
        s.app(|app| with_text(app, "/home/anna/src/lamp/main/main.c"));
    }),
];

#[test]
fn what_a_file_gives_away_is_found_by_its_code() {
    for (code, path, break_it) in RULES {
        let site = Site::new();
        break_it(&site);
        let found = found(site.dir.path(), &["."]);
        let codes: BTreeSet<_> = found.iter().map(|(code, _)| code.as_str()).collect();
        assert_eq!(codes, BTreeSet::from([*code]), "{found:?}");
        assert!(found.iter().any(|(_, place)| place == path), "{found:?}");
    }
}

#[test]
fn settings_without_a_network_are_nobodys() {
    let unset = [0; 36];
    for settings in [
        nvs::of_network("", "", 0b10),
        nvs::page("nvs.net80211", &[("sta.ssid", &unset), ("sta.apinfo", b"abcdefgh")], 0b10),
        nvs::page("lamp", &[("sta.pswd", b"correct horse")], 0b10),
        nvs::of_network("home", "correct horse", 0b10)[1..].to_vec(),
        vec![0xFF; 4096],
    ] {
        let site = Site::new();
        site.write("board.bin", read_out(&site, &settings));
        assert_eq!(found(site.dir.path(), &["."]), []);
    }
}

#[test]
fn a_network_that_was_forgotten_is_still_in_the_bytes() {
    let site = Site::new();
    site.write("board.bin", read_out(&site, &nvs::of_network("home", "correct horse", 0)));
    let output = crate::support::xtask(site.dir.path(), &["check", "."]);
    let shown = text(&output.stdout);
    let expected = "error[wifi-credentials] board.bin@0x9060: has the password of a Wi-Fi network";
    assert!(shown.contains(expected) && !shown.contains("horse"), "{shown}");
}

#[test]
fn on_a_site_of_ours_an_image_stays_and_a_page_does_not() {
    let project = released();
    let token = token();
    fs::write(project.path("dist/site/assets/unlisted.txt"), &token).unwrap();
    let (code, json, _) = check(&project, &["--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &json["problems"][0]["code"]), (1, &"token".into()));
    assert!(!json.to_string().contains(&token[4..]));
    // Where everybody may have it, it is none.
    let config = project.read("towline.toml");
    let public = "[check]\nnot-secret = [\"assets\"]\n[defaults]";
    project.write("towline.toml", config.replace("[defaults]", public));
    assert_eq!(check(&project, &[]).0, 0);
    // What is recorded can only be regretted, so it is refused before.
    let release = |version: &str| {
        let mut image = crate::support::app_image(super::CHIPS[0], "lamp", version, 40_000);
        with_text(&mut image, &format!("{token}\0/Users/anna/lamp/src/main.rs"));
        project.write("images/esp32c3.bin", image);
        project.xtask(&["release"])
    };
    let error = text(&release("1.1.0").stderr);
    assert!(error.contains("has a token of GitHub (ghp_…)") && !error.contains(&token), "{error}");
    assert!(!error.contains("anna"), "{error}");
    let public = "[check]\nnot-secret = [\"firmware/lamp\", \"assets\"]\n[defaults]";
    project.write("towline.toml", config.replace("[defaults]", public));
    assert!(release("1.1.0").status.success());
    project.write("towline.toml", config);
    let (_, json, _) = check(&project, &["--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    let codes = |list: &str| -> Vec<String> {
        let rows = json[list].as_array().unwrap();
        rows.iter().map(|row| row["code"].as_str().unwrap().to_owned()).collect()
    };
    project.write("notes.txt", format!("Now with {token}."));
    project.build(&super::CHIPS, "1.2.0");
    let error = project.fails(&["release", "--notes", "notes.txt"]);
    assert!(error.contains("notes@0x9: has a token of GitHub"), "{error}");
    // In the app, and in all of it.
    assert_eq!(codes("warnings"), ["recorded-token", "recorded-token"]);
    assert_eq!(codes("notes"), ["build-path"]);
}
