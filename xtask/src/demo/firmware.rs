//! What an emulated board runs once an app is in its flash: the boot log of
//! ESP-IDF, the slot that the bootloader would choose, and Improv as devices
//! answer it.
//!
//! ```text
//! flash -> bootloader, boot guard -> project, version
//!                                        |
//! serial line <-> log, improv::Service --+--> page of the device
//! ```

use super::{
    device::Device,
    wifi::{Line, Shared, Wifi},
};
use std::{
    fmt::Write as _,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Waker},
    time::Duration,
};
use towline::{
    Guard, Ota, Reset, Slot,
    image::{HEAD_LEN, Head},
};
use towline_app::improv::Service;
use towline_descriptor::Chip;
use towline_rom::{Firmware, Flash, SECTOR};
use towline_sim::{BootError, Kind, Memory};

/// Time that the firmware needs before it answers on the line.
const STARTS: Duration = Duration::from_millis(400);

/// How often it prints what it is about.
const HEARTBEAT: Duration = Duration::from_secs(3);

/// Where an app lies if no partition table says so.
const FIRST_APP: u32 = 0x1_0000;

/// Most boots in a row that follow from each other.
const MOST_BOOTS: usize = 4;

/// Bytes at the start of the NVS partition that mark the name of a network
/// after them. It is no NVS: nothing but this demo reads it.
const MARK: &[u8] = b"towline demo Wi-Fi: ";
const RECORD: u32 = 64;

/// The firmware of a demo.
pub(super) struct DemoFirmware {
    chip: Chip,
    running: Option<Running>,
}

struct Running {
    shared: Arc<Mutex<Shared>>,
    service: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Time since the start.
    uptime: Duration,
    /// It was connected when it was looked at last.
    was_connected: bool,
    /// Keeps the page of the device there.
    device: Option<Device>,
    nvs: Option<u32>,
}

/// What was booted: where it lies, and what it says of itself.
struct Booted {
    offset: u32,
    head: Head,
    guards: Vec<Guard>,
}

/// Levels of ESP-IDF's log, as it colours them.
enum Level {
    Error,
    Warning,
    Info,
    Debug,
    Verbose,
}

impl DemoFirmware {
    pub(super) fn new(chip: Chip) -> Self {
        Self { chip, running: None }
    }
}

impl Firmware for DemoFirmware {
    fn start(&mut self, flash: &mut Flash, out: &mut Vec<u8>) {
        use Level::{Debug, Error, Info, Verbose, Warning};

        self.running = None;
        log(out, Info, 24, "boot", "2nd stage bootloader (emulated)");
        let size = flash.bytes().len() >> 20;
        log(out, Info, 27, "boot", &format!("SPI Flash Size : {size}MB"));
        let booted = match boot(flash) {
            Ok(booted) => booted,
            Err(reason) => {
                log(out, Error, 31, "boot", &reason);
                return log(out, Error, 31, "boot", "No bootable app partitions in the flash");
            }
        };
        let Booted { offset, head, guards } = booted;
        let line = format!("Loaded app from partition at offset {offset:#x}");
        log(out, Info, 118, "boot", &line);
        log(out, Info, 131, "cpu_start", &format!("{} is up", self.chip.family()));
        let (project, version) = (head.app.project_name.as_str(), head.app.version.as_str());
        log(out, Info, 140, "app_init", &format!("Project name:     {project}"));
        log(out, Info, 140, "app_init", &format!("App version:      {version}"));
        for guard in guards {
            log(out, Info, 152, "ota", &format!("boot guard: {guard}"));
        }
        log(out, Debug, 160, "nvs", "looking for the settings of the last run");
        let nvs = nvs(flash);
        let known = nvs.and_then(|nvs| network(flash, nvs));
        log(out, Verbose, 164, "nvs", &format!("partition at {:#x}", nvs.unwrap_or_default()));
        log(out, Error, 170, "sensor", "nothing answers on I2C at 0x44: this board is emulated");

        let shared = Arc::new(Mutex::new(Shared::default()));
        let wifi = Wifi::new(self.chip, project, version, shared.clone());
        let mut line = Line(shared.clone());
        let service = Box::pin(async move {
            // The line never ends, and never fails.
            let Ok(()) = Service::new(wifi).run(&mut line).await;
        });
        let mut running = Running {
            shared,
            service,
            uptime: Duration::ZERO,
            was_connected: false,
            device: None,
            nvs,
        };
        match known {
            Some(ssid) => running.join(ssid, flash),
            None => {
                log(out, Warning, 181, "wifi", "no network is set: Improv on this line sets it");
            }
        }
        self.running = Some(running);
    }

    fn receive(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        // What comes before the line is set up is lost.
        if let Some(running) = self.running.as_mut().filter(|running| running.uptime >= STARTS) {
            running.shared().input.extend(bytes);
            running.poll(out);
        }
    }

    fn advance(&mut self, time: Duration, flash: &mut Flash, out: &mut Vec<u8>) {
        let Some(running) = &mut self.running else { return };
        let before = running.uptime;
        running.uptime += time;
        running.shared().now = running.uptime;
        running.poll(out);
        let joining = running.shared().joining.take();
        if let Some(ssid) = joining {
            if let Some(nvs) = running.nvs {
                remember(flash, nvs, &ssid);
            }
            running.join(ssid, flash);
            running.poll(out);
        }
        let network = running.shared().network.clone();
        let uptime = running.uptime.as_millis() as u64;
        if network.is_some() != running.was_connected {
            running.was_connected = network.is_some();
            let url = running.shared().url.clone().unwrap_or_default();
            let line = format!("connected to {}; page: {url}", network.as_deref().unwrap_or("?"));
            log(out, Level::Info, uptime, "wifi", &line);
        } else if before.as_secs() / HEARTBEAT.as_secs()
            != running.uptime.as_secs() / HEARTBEAT.as_secs()
        {
            let state = network.map_or("waiting for Wi-Fi settings".into(), |ssid| {
                format!("connected to {ssid}, nothing to do")
            });
            log(out, Level::Info, uptime, "app", &state);
        }
    }
}

impl Running {
    fn shared(&self) -> std::sync::MutexGuard<'_, Shared> {
        super::wifi::lock(&self.shared)
    }

    /// Lets the service go on as far as it can, and takes what it says.
    fn poll(&mut self, out: &mut Vec<u8>) {
        let mut context = Context::from_waker(Waker::noop());
        let _ = self.service.as_mut().poll(&mut context);
        out.append(&mut self.shared().output);
    }

    /// Connects to a network: the device can be reached from now on.
    fn join(&mut self, ssid: String, flash: &Flash) {
        // Without a page of its own a device has no URL, and is as connected.
        self.device = Device::start(flash.bytes()).ok();
        let mut shared = super::wifi::lock(&self.shared);
        shared.url = self.device.as_ref().map(|device| device.url().to_owned());
        shared.network = Some(ssid);
    }
}

/// Boots as the bootloader of ESP-IDF and the boot guard of Towline do, and
/// records what they record.
fn boot(flash: &mut Flash) -> Result<Booted, String> {
    let mut memory = Memory::new(flash.bytes().len());
    memory.bytes_mut().copy_from_slice(flash.bytes());
    let booted = select(&mut memory);
    for at in (0..flash.bytes().len()).step_by(SECTOR as usize) {
        let new = &memory.bytes()[at..][..SECTOR as usize];
        if flash.bytes()[at..][..SECTOR as usize] != *new {
            let sector = flash.put(at as u32, new);
            sector.map_err(|error| error.to_string())?;
        }
    }
    booted
}

fn select(memory: &mut Memory) -> Result<Booted, String> {
    let mut guards = Vec::new();
    while guards.len() < MOST_BOOTS {
        let booted = match towline_sim::boot(memory, Kind::Stock) {
            Ok(booted) => booted,
            // A table without slots for updates is no fault of a single app.
            Err(error @ BootError::Layout(_)) => {
                return single_app(memory.bytes()).ok_or_else(|| error.to_string());
            }
            Err(error) => return Err(error.to_string()),
        };
        let offset = booted.offset();
        if booted.slot != Slot::Factory {
            let mut ota = Ota::open(&mut *memory, offset).map_err(|error| error.to_string())?;
            let reset = if guards.is_empty() { Reset::Power } else { Reset::Other };
            let guard = ota.guard(reset).map_err(|error| error.to_string())?;
            guards.push(guard);
            match guard {
                Guard::RolledBack { .. } => continue,
                Guard::Trial | Guard::Stranded => {
                    ota.accept().map_err(|error| error.to_string())?;
                }
                Guard::Settled | Guard::DidNotBoot { .. } => {}
            }
        }
        return Ok(Booted { offset, head: booted.head, guards });
    }
    Err("the device is reset again and again".into())
}

fn single_app(flash: &[u8]) -> Option<Booted> {
    let head = flash.get(FIRST_APP as usize..)?.first_chunk::<HEAD_LEN>()?;
    let head = Head::parse(head).ok()?;
    Some(Booted { offset: FIRST_APP, head, guards: Vec::new() })
}

/// Returns where the partition with settings lies.
fn nvs(flash: &Flash) -> Option<u32> {
    const ENTRY: usize = 32;
    const NVS: [u8; 4] = [0xAA, 0x50, 1, 2];
    let table = flash.read(towline::layout::PARTITION_TABLE_OFFSET, 0xC00).ok()?;
    let entry = table.chunks_exact(ENTRY).find(|entry| entry.starts_with(&NVS))?;
    let offset = u32::from_le_bytes(*entry[4..].first_chunk()?);
    flash.read(offset, RECORD).ok().map(|_| offset)
}

/// Returns the network that was connected to before the last reset.
fn network(flash: &Flash, nvs: u32) -> Option<String> {
    let record = flash.read(nvs, RECORD).ok()?.strip_prefix(MARK)?;
    let end = record.iter().position(|byte| *byte == 0)?;
    str::from_utf8(&record[..end]).ok().map(str::to_owned)
}

fn remember(flash: &mut Flash, nvs: u32, ssid: &str) {
    let mut record = [MARK, ssid.as_bytes()].concat();
    record.resize(RECORD as usize, 0);
    // The partition is within the flash, as `nvs` has seen.
    let _ = flash.put(nvs, &record);
}

fn log(out: &mut Vec<u8>, level: Level, uptime: u64, tag: &str, text: &str) {
    let (colour, letter) = match level {
        Level::Error => ("\x1b[0;31m", 'E'),
        Level::Warning => ("\x1b[0;33m", 'W'),
        Level::Info => ("\x1b[0;32m", 'I'),
        Level::Debug => ("", 'D'),
        Level::Verbose => ("", 'V'),
    };
    let end = if colour.is_empty() { "" } else { "\x1b[0m" };
    let mut line = String::new();
    // Writing to a string never fails.
    let _ = write!(line, "{colour}{letter} ({uptime}) {tag}: {text}{end}\r\n");
    out.extend(line.into_bytes());
}
