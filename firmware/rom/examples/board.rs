//! Puts a blank board on a serial port of this machine, in download mode:
//!
//! ```sh
//! cargo run -p towline-rom --example board -- esp32c3
//! cargo xtask flash --port /dev/pts/7
//! ```

use std::{error::Error, io};
use towline_descriptor::Chip;
use towline_rom::{Board, Options, Pty};

fn main() -> Result<(), Box<dyn Error>> {
    let name = std::env::args().nth(1).unwrap_or_else(|| "esp32c3".into());
    let chip: Chip = name.parse().map_err(|error| format!("{name}: {error}"))?;
    let port = Pty::connect(Board::new(Options::new(chip))?.in_download_mode())?;
    println!("{} (Enter ends it)", port.path().display());
    io::stdin().read_line(&mut String::new())?;
    println!("the board ends as {:?}", port.board().state());
    Ok(())
}
