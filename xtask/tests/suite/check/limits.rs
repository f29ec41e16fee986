//! Whether a site fits its host.

use super::{
    CHIPS, check,
    foreign::{APP, DESCRIPTOR, Site, found},
};
use crate::support::Project;
use std::{fs::File, path::Path};

/// Makes a file of so many bytes that takes no room.
fn sparse(path: &Path, size: u64) {
    File::create(path).unwrap().set_len(size).unwrap();
}

/// Leads devices to a site of GitHub Pages.
fn on_github(site: &Site) {
    let path = format!("https://anna.github.io/lamp/{APP}");
    site.edit(DESCRIPTOR, |descriptor| descriptor["path"] = path.into());
}

type Break = fn(&Site);

const RULES: &[(&str, &str, Break)] = &[
    ("site-too-large", "film.mp4", |s| {
        on_github(s);
        sparse(&s.dir.path().join("film.mp4"), 1 << 30);
    }),
    ("site-nearly-full", "film.mp4", |s| {
        on_github(s);
        sparse(&s.dir.path().join("film.mp4"), 900 << 20);
    }),
    ("host-file-too-large", "film.mp4", |s| {
        s.write("wrangler.toml", "name = \"lamp\"");
        sparse(&s.dir.path().join("film.mp4"), 65 << 20);
    }),
    ("too-many-files", "notes/19999", |s| {
        s.write("_routes.json", "{}");
        for number in 0..20_000 {
            s.write(&format!("notes/{number:05}"), "");
        }
    }),
];

#[test]
fn what_a_host_does_not_take_is_found_where_the_host_is_known() {
    for (code, path, break_it) in RULES {
        let site = Site::new();
        break_it(&site);
        assert_eq!(found(site.dir.path(), &["."]), [((*code).to_owned(), (*path).to_owned())]);
    }
    let site = Site::new();
    sparse(&site.dir.path().join("film.mp4"), 1 << 30);
    assert_eq!(found(site.dir.path(), &["."]), []);
}

#[test]
fn a_site_of_ours_makes_room_by_itself_up_to_what_its_host_takes() {
    let project = Project::new(&CHIPS);
    let config = project.read("towline.toml");
    project.write("towline.toml", config.replace("localhost", "anna.github.io/lamp"));
    project.build(&CHIPS, "1.0.0").done(&["release"]);
    let film = project.path("dist/site/film.mp4");
    sparse(&film, 900 << 20);
    assert_eq!(check(&project, &[]).0, 0);
    sparse(&film, 1 << 30);
    let (code, shown, _) = check(&project, &["--quiet"]);
    assert_eq!(code, 1);
    assert!(shown.starts_with("error[site-too-large] film.mp4: is the largest file"), "{shown}");
}
