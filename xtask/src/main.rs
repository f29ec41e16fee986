//! The `cargo xtask` binary.

fn main() -> std::process::ExitCode {
    xtask::cli::main()
}
