//! Embeds the root that the environment variable `TOWLINE_ROOT` names: who signs
//! the channels. Firmware without one verifies no signatures.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::exit,
};
use towline_descriptor::Root;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=TOWLINE_ROOT");
    println!("cargo::rerun-if-env-changed=TOWLINE_CHANNELS");
    println!("cargo::rustc-check-cfg=cfg(signed_channels)");
    let Some(path) = env::var_os("TOWLINE_ROOT").filter(|path| !path.is_empty()) else { return };
    let root = read(Path::new(&path));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join("root.json"), root).expect("cargo made the folder");
    println!("cargo::rustc-cfg=signed_channels");
}

/// Reads a root that this firmware can follow its channels by.
fn read(path: &Path) -> Vec<u8> {
    let shown = path.display();
    if !path.is_absolute() {
        fail(&format!("TOWLINE_ROOT is `{shown}`; give the absolute path of a root"));
    }
    println!("cargo::rerun-if-changed={shown}");
    let bytes = fs::read(path).unwrap_or_else(|error| {
        fail(&format!("TOWLINE_ROOT names `{shown}`, which is not readable: {error}"))
    });
    let (channels, project) = (variable("TOWLINE_CHANNELS"), variable("CARGO_PKG_NAME"));
    for channel in channels.split(',') {
        let mut payload = bytes.clone();
        let root = Root::parse(&mut payload, channel).unwrap_or_else(|error| {
            fail(&format!(
                "TOWLINE_ROOT names `{shown}`, which is no root: {error}; \
                 `cargo xtask keys export` writes one"
            ))
        });
        if root.project != project {
            let of = root.project;
            fail(&format!("TOWLINE_ROOT names the root of `{of}`; this firmware is `{project}`"));
        }
        if root.channel.is_none() {
            fail(&format!(
                "the root that TOWLINE_ROOT names has no key for the channel `{channel}`; \
                 `cargo xtask keys add` adds one"
            ));
        }
    }
    bytes
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| fail(&format!("{name} is not set")))
}

fn fail(message: &str) -> ! {
    println!("cargo::error={message}");
    exit(1)
}
