//! What the device is told from outside, in the place of its settings in flash:
//! lines `name=value` that the emulator loads into memory at each reset
//! (`-device loader`).

use core::{slice, str};

/// Memory that no program has.
const START: usize = 0x80E0_0000;
const MAX: usize = 16 * 1024;

/// Returns the value of a setting.
pub fn text(name: &str) -> Option<&'static str> {
    // SAFETY: memory that is there, and that nobody writes while the machine
    // runs. Without settings it is zero.
    let memory = unsafe { slice::from_raw_parts(START as *const u8, MAX) };
    let end = memory.iter().position(|byte| *byte == 0).unwrap_or(MAX);
    let lines = str::from_utf8(&memory[..end]).ok()?.lines();
    lines.filter_map(|line| line.split_once('=')).find(|(key, _)| *key == name).map(|(_, v)| v)
}
