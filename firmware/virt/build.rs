//! Gives each program its memory map.

use std::{env, fs, path::PathBuf};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=sections.ld");
    for name in ["TOWLINE_VIRT_VERSION", "TOWLINE_VIRT_SELF_TEST"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    let dir = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let sections = fs::read_to_string(dir.join("sections.ld")).expect("beside this file");
    // In RAM, which starts at 0x80000000: what the emulator starts low, the app
    // where the boot stage loads it.
    for (program, origin, length, heap) in [
        ("boot", "0x80000000", "1M", "0"),
        ("towline-virt", "0x80400000", "8M", "256K"),
        ("verify", "0x80000000", "1M", "0"),
    ] {
        let script = format!(
            "MEMORY {{ RAM : ORIGIN = {origin}, LENGTH = {length} }}\n_heap_size = {heap};\n{sections}"
        );
        let path = out.join(format!("{program}.ld"));
        fs::write(&path, script).expect("cargo made the folder");
        println!("cargo::rustc-link-arg-bin={program}=-T{}", path.display());
    }
}
