//! The machine `virt` of QEMU, as a device: how it is started, what it says, and
//! how its power is cut.
//!
//! ```text
//! flash.img (32 MiB, the first 8 are the device's) <-> qemu <-> 127.0.0.1 (the site)
//!                                    boot stage ---^     |
//!                                                        v  console, line by line
//! ```

use crate::{toolchain, ui::Hinted};
use std::{
    fs, io,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

/// The emulator's program.
pub const QEMU: &str = "qemu-system-riscv32";

/// The host's loopback, as the machine sees it.
pub const HOST_ADDRESS: &str = "10.0.2.2";

/// Where the device looks for what it is told (`machine/settings.rs`).
const SETTINGS: u32 = 0x80E0_0000;

/// Size of the bank of flash in bytes; the device uses the start of it.
const FLASH_BANK: usize = 32 << 20;

/// A device that can be started.
#[derive(Clone, Debug)]
pub struct Machine {
    /// ELF file of the boot stage.
    pub boot: PathBuf,
    /// The flash.
    pub flash: PathBuf,
    /// What the device is told: a file of lines `name=value`.
    pub settings: PathBuf,
    /// Whether instructions are counted; time then goes by their number.
    pub counts_instructions: bool,
}

/// How a run of the machine ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The device had nothing more to do.
    Finished,
    /// The device gave up, or the emulator did.
    Failed,
    /// The power was cut.
    Cut,
}

/// Why the machine did not run.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// There is no emulator.
    #[error(transparent)]
    NoEmulator(#[from] Hinted),
    /// A file or the emulator failed.
    #[error("{0}: {1}")]
    Io(String, io::Error),
}

/// Makes sure that there is an emulator.
///
/// # Errors
/// With the command that installs it.
pub fn require_emulator() -> Result<(), Hinted> {
    match toolchain::command(QEMU).arg("--version").stdout(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(()),
        _ => Err(Hinted::new(
            format!("there is no {QEMU}"),
            "install it, on Debian and Ubuntu with `apt-get install qemu-system-misc`",
        )),
    }
}

impl Machine {
    /// Writes a factory image to the flash; the rest is blank.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn flash(&self, factory: &[u8]) -> Result<(), MachineError> {
        let mut bank = vec![0xFF; FLASH_BANK];
        bank[..factory.len()].copy_from_slice(factory);
        fs::write(&self.flash, bank)
            .map_err(|error| MachineError::Io(self.flash.display().to_string(), error))
    }

    /// Switches the machine on, and gives `line` each line of its console, until
    /// it ends or its power is cut after `time`.
    ///
    /// # Errors
    /// [`MachineError`].
    pub fn run(&self, time: Duration, mut line: impl FnMut(&str)) -> Result<End, MachineError> {
        let fault = |error| MachineError::Io(QEMU.into(), error);
        let mut child = match self.command().spawn() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                require_emulator()?;
                return Err(fault(error));
            }
            result => result.map_err(fault)?,
        };
        let Some(console) = child.stdout.take() else {
            return Err(fault(io::ErrorKind::BrokenPipe.into()));
        };
        let (sender, lines) = channel();
        thread::spawn(move || {
            for text in BufReader::new(console).split(b'\n').map_while(Result::ok) {
                let text = String::from_utf8_lossy(&text).trim_end().to_owned();
                if sender.send(text).is_err() {
                    break;
                }
            }
        });
        let end = Instant::now() + time;
        loop {
            match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(text) => line(&text),
                Err(RecvTimeoutError::Disconnected) => {
                    let status = child.wait().map_err(fault)?;
                    return Ok(if status.success() { End::Finished } else { End::Failed });
                }
                Err(RecvTimeoutError::Timeout) => {
                    child.kill().and_then(|()| child.wait()).map_err(fault)?;
                    return Ok(End::Cut);
                }
            }
        }
    }

    fn command(&self) -> Command {
        let mut command = toolchain::command(QEMU);
        let path = |path: &Path| path.display().to_string().replace(',', ",,");
        command
            .args(["-machine", "virt", "-m", "64M", "-nographic", "-monitor", "none"])
            .args(["-bios", "none", "-serial", "stdio"])
            .args(["-device", &format!("loader,file={},cpu-num=0", path(&self.boot))])
            .args([
                "-device",
                &format!("loader,file={},addr={SETTINGS:#x},force-raw=on", path(&self.settings)),
            ])
            .args(["-drive", &format!("if=pflash,unit=1,format=raw,file={}", path(&self.flash))])
            .args(["-global", "virtio-mmio.force-legacy=false"])
            .args(["-device", "virtio-rng-device"])
            .args(["-netdev", "user,id=net0", "-device", "virtio-net-device,netdev=net0"]);
        if self.counts_instructions {
            command.args(["-icount", "shift=0"]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        command
    }
}
