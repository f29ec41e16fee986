//! The `towline` binary, for projects without an xtask: the same commands.

fn main() -> std::process::ExitCode {
    xtask::cli::main_as("towline")
}
