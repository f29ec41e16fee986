//! Embeds the root that the environment variable `TOWLINE_ROOT` names: who signs
//! the channels. Firmware without one verifies no signatures.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::exit,
};
use towline_descriptor::Root;

/// The variables that `src/config.rs` reads, and this.
const VARIABLES: [&str; 9] = [
    "SOURCE_DATE_EPOCH",
    "TOWLINE_APP_SOCKETS",
    "TOWLINE_BASE_URL",
    "TOWLINE_CHANNELS",
    "TOWLINE_NTP_HOST",
    "TOWLINE_ROOT",
    "TOWLINE_TARGET",
    "TOWLINE_TRIAL_SECONDS",
    "TOWLINE_UTC_OFFSET_MINUTES",
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for name in VARIABLES {
        println!("cargo::rerun-if-env-changed={name}");
    }
    println!("cargo::rustc-check-cfg=cfg(signed_channels)");
    for name in ["TOWLINE_BASE_URL", "TOWLINE_CHANNELS"] {
        variable(name);
    }
    let Some(path) = env::var_os("TOWLINE_ROOT").filter(|path| !path.is_empty()) else { return };
    let (root, project) = read(Path::new(&path));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join("root.json"), root).expect("cargo made the folder");
    println!("cargo::rustc-cfg=signed_channels");
    // What the firmware is called is not known here: `Project::new` compares.
    println!("cargo::rustc-env=TOWLINE_ROOT_PROJECT={project}");
}

/// Reads a root that firmware can follow its channels by, and the project that
/// it is of.
fn read(path: &Path) -> (Vec<u8>, String) {
    let shown = path.display();
    if !path.is_absolute() {
        fail(&format!("TOWLINE_ROOT is `{shown}`; give the absolute path of a root"));
    }
    println!("cargo::rerun-if-changed={shown}");
    let bytes = fs::read(path).unwrap_or_else(|error| {
        fail(&format!("TOWLINE_ROOT names `{shown}`, which is not readable: {error}"))
    });
    let channels = variable("TOWLINE_CHANNELS");
    let mut project = String::new();
    for channel in channels.split(',') {
        let mut payload = bytes.clone();
        let root = Root::parse(&mut payload, channel).unwrap_or_else(|error| {
            fail(&format!(
                "TOWLINE_ROOT names `{shown}`, which is no root: {error}; \
                 `cargo xtask keys export` writes one"
            ))
        });
        if root.channel.is_none() {
            fail(&format!(
                "the root that TOWLINE_ROOT names has no key for the channel `{channel}`; \
                 `cargo xtask keys add` adds one"
            ));
        }
        project = root.project.to_string();
    }
    (bytes, project)
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| {
        fail(&format!(
            "{name} is not set; build with `cargo xtask build`, or set it in [env] of the \
             firmware's .cargo/config.toml"
        ))
    })
}

fn fail(message: &str) -> ! {
    println!("cargo::error={message}");
    exit(1)
}
