//! Writes an app image that is sound and does nothing, for tests that need
//! releases of chips whose firmware is not built here:
//!
//! ```sh
//! cargo run -p towline-sim --example app_image -- esp32s3 harbour 1.0.0 300000 app.bin
//! ```

use std::{error::Error, fs};
use towline::descriptor::Chip;
use towline_sim::sample::app_image;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [chip, project, version, len, file] = &arguments[..] else {
        return Err("expected: CHIP PROJECT VERSION LENGTH FILE".into());
    };
    let chip: Chip = chip.parse().map_err(|error| format!("{chip}: {error}"))?;
    fs::write(file, app_image(chip, project, version, len.parse()?))?;
    Ok(())
}
