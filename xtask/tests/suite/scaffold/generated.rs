//! A project with esp-hal from its template to its devices, with nothing replaced but
//! github.com: the step `generated` of `cargo xtask ci`, which takes minutes.

use crate::{
    github::double::GitHub,
    support::repository,
    tutorial::{Event, assert_shown, events, script},
};
use std::{env, fs, net::TcpListener, process::Command, process::Stdio};

/// What a tester has prepared: the tool, the packages of this checkout, and its build
/// cache. `cargo xtask` is the project's own.
fn preparations(folder: &str, checkout: &str) -> String {
    let tool = env!("CARGO_BIN_EXE_towline");
    format!(
        r#"
        # What `cargo test` says of the package of this test.
        unset ${{!CARGO_PKG_@}} ${{!CARGO_MANIFEST_@}} OUT_DIR
        rm -rf '{folder}/lamp' && mkdir -p '{checkout}/firmware/esp/target'
        builtin cd '{folder}'
        towline() {{
            if [ "$1" = new ]; then set -- "$@" --towline '{checkout}'; fi
            CARGO_NET_OFFLINE=true '{tool}' "$@"
        }}
        # The packages that are tested here, instead of whatever is newest today, with
        # all features, and in our folders: so they are built already. The publisher
        # itself is built unoptimised, in half the time.
        cd() {{
            builtin cd "$@"
            cp '{checkout}/Cargo.lock' xtask/
            cp '{checkout}/firmware/Cargo.lock' firmware/
            ln -s '{checkout}/firmware/esp/target' firmware/target
            export CARGO_TARGET_DIR='{checkout}/target'
            sed -i -e 's/, default-features = false, features = \["github"\]//' \
                -e '/^xtask.opt-level/d' xtask/Cargo.toml
            (builtin cd xtask && cargo metadata --format-version 1 > /dev/null)
            (builtin cd firmware && cargo metadata --format-version 1 > /dev/null)
            git add . && git commit -qm "Lock the packages"
        }}
        "#
    )
}

#[cfg(unix)]
#[test]
#[ignore = "a step of `cargo xtask ci`: takes minutes"]
fn the_tutorial_leads_from_zero_to_a_published_channel() {
    let tutorial = fs::read_to_string(repository().join("xtask/docs/from-zero.md")).unwrap();
    let events = events(&tutorial);
    let github = GitHub::start();
    let checkout = repository().canonicalize().unwrap();
    // Outside of this repository, and the same place each time: what was built for it
    // is still good.
    let folder = env::temp_dir().join("towline-generated");
    fs::create_dir_all(&folder).unwrap();
    let keys = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let preparations = preparations(folder.to_str().unwrap(), checkout.to_str().unwrap());
    let output = Command::new("bash")
        .args(["-c", &script(&preparations, &events, port)])
        .envs(github.variables())
        // The project knows it.
        .env_remove("GITHUB_REPOSITORY")
        .env("XDG_CONFIG_HOME", keys.path())
        .env("GIT_AUTHOR_NAME", "lamp")
        .env("GIT_AUTHOR_EMAIL", "lamp@example.org")
        .env("GIT_COMMITTER_NAME", "lamp")
        .env("GIT_COMMITTER_EMAIL", "lamp@example.org")
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("SOURCE_DATE_EPOCH")
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert_shown(&output, &events);
    let first_three: Vec<_> = events.iter().take(3).map(Event::command).collect();
    assert_eq!(first_three[1..], [Some("cd lamp"), Some("cargo xtask release")]);
    let tags: Vec<_> = github.releases().into_iter().map(|release| release.tag).collect();
    assert_eq!(tags, ["v0.1.0", "v0.2.0-rc.1", "v0.2.0"]);
    assert_eq!(github.latest().as_deref(), Some("v0.2.0"));
}
