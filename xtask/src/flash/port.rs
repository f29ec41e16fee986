//! Which serial port has the board.

use super::{FlashError, PortList};
use serialport::{SerialPort, SerialPortInfo, SerialPortType, UsbPortInfo};
use std::{io, path::Path};

/// Vendors of the USB bridges on development boards, and Espressif itself.
const VENDORS: [u16; 5] = [
    0x303A, // Espressif: the chip's own USB
    0x10C4, // Silicon Labs CP210x
    0x1A86, // QinHeng CH340, CH910x
    0x0403, // FTDI
    0x067B, // Prolific PL2303
];

/// A port that may have a board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its path or name.
    pub path: String,
    /// What USB tells of it; zeros and nothing for a port that is none.
    pub usb: UsbPortInfo,
}

impl Candidate {
    /// Returns how the device calls itself; nothing for a port without USB.
    pub fn label(&self) -> String {
        if self.usb == no_usb() {
            return String::new();
        }
        let names = [&self.usb.manufacturer, &self.usb.product];
        let names: Vec<_> = names.into_iter().flatten().map(String::as_str).collect();
        let number = self.usb.serial_number.iter().map(|number| format!(" {number}"));
        let id = format!("[{:04x}:{:04x}]", self.usb.vid, self.usb.pid);
        format!("{} {id}{}", names.join(" "), number.collect::<String>()).trim().to_owned()
    }
}

/// Returns the port to use, of those that are there: the one that was asked
/// for, or the only one that looks like a board.
///
/// # Errors
/// If none does, or several.
pub fn choose(there: Vec<SerialPortInfo>, asked: Option<&str>) -> Result<Candidate, FlashError> {
    let mut usb: Vec<_> = there
        .into_iter()
        // macOS shows each port twice; `tty` waits for a carrier.
        .filter(|port| !port.port_name.starts_with("/dev/tty."))
        .filter_map(|port| match port.port_type {
            SerialPortType::UsbPort(usb) => Some(Candidate { path: port.port_name, usb }),
            _ => None,
        })
        .collect();
    if let Some(asked) = asked {
        // Links such as those in /dev/serial/by-id name a port too.
        let real = Path::new(asked).canonicalize().ok();
        let real = real.as_deref().and_then(Path::to_str).unwrap_or(asked);
        let known = usb.into_iter().find(|port| port.path == asked || port.path == real);
        return Ok(known.unwrap_or_else(|| Candidate { path: asked.to_owned(), usb: no_usb() }));
    }
    let is_known = |port: &Candidate| VENDORS.contains(&port.usb.vid);
    if usb.iter().any(is_known) {
        usb.retain(is_known);
    }
    match usb.len() {
        0 => Err(FlashError::NoPort),
        1 => Ok(usb.remove(0)),
        _ => {
            usb.sort_by(|a, b| a.path.cmp(&b.path));
            Err(FlashError::SeveralPorts(PortList(usb)))
        }
    }
}

fn no_usb() -> UsbPortInfo {
    UsbPortInfo { vid: 0, pid: 0, serial_number: None, manufacturer: None, product: None }
}

/// Opens a port, and finds out whether its control lines can be set.
///
/// # Errors
/// If it is not there, is in use, or may not be used.
pub(super) fn open(
    path: &str,
    baud: u32,
) -> Result<(espflash::connection::Port, bool), FlashError> {
    let builder = serialport::new(path, baud).flow_control(serialport::FlowControl::None);
    let mut port = builder.open_native().map_err(|error| explain(path, error))?;
    // Opening asserts both lines. RTS goes first: alone it would reset the chip.
    let lines = port.write_request_to_send(false);
    let has_lines = lines.and_then(|()| port.write_data_terminal_ready(false)).is_ok();
    Ok((port, has_lines))
}

fn explain(path: &str, error: serialport::Error) -> FlashError {
    let port = path.to_owned();
    match error.kind() {
        serialport::ErrorKind::Io(io::ErrorKind::NotFound) => FlashError::PortNotFound(port),
        serialport::ErrorKind::Io(io::ErrorKind::PermissionDenied) => {
            FlashError::PortDenied { group: group_of(Path::new(path)), port }
        }
        serialport::ErrorKind::NoDevice if Path::new(path).exists() => FlashError::PortBusy(port),
        serialport::ErrorKind::NoDevice => FlashError::PortNotFound(port),
        _ => FlashError::Port { port, source: error },
    }
}

/// Returns the name of the group that a device file belongs to.
#[cfg(unix)]
fn group_of(path: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let id = path.metadata().ok()?.gid().to_string();
    let groups = std::fs::read_to_string("/etc/group").ok()?;
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == id && id != "0").then(|| name.to_owned())
    })
}

#[cfg(not(unix))]
fn group_of(_: &Path) -> Option<String> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usb(path: &str, vid: u16, product: &str) -> SerialPortInfo {
        let product = Some(product.to_owned());
        let port_type = SerialPortType::UsbPort(UsbPortInfo { vid, pid: 1, product, ..no_usb() });
        SerialPortInfo { port_name: path.into(), port_type }
    }

    fn plain(path: &str) -> SerialPortInfo {
        SerialPortInfo { port_name: path.into(), port_type: SerialPortType::Unknown }
    }

    #[test]
    fn the_only_plausible_port_is_taken() {
        let there = || vec![plain("/dev/ttyS0"), usb("/dev/ttyUSB0", 0x1234, "modem")];
        assert_eq!(choose(there(), None).unwrap().path, "/dev/ttyUSB0");
        let mut with_board = there();
        with_board.push(usb("/dev/ttyACM0", 0x303A, "USB JTAG/serial debug unit"));
        assert_eq!(choose(with_board, None).unwrap().path, "/dev/ttyACM0");
    }

    #[test]
    fn several_ports_are_listed_with_their_names() {
        let there =
            vec![usb("/dev/ttyUSB1", 0x10C4, "CP2102N"), usb("/dev/ttyUSB0", 0x1A86, "CH340")];
        let error = choose(there, None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "several boards are connected:\n  /dev/ttyUSB0  CH340 [1a86:0001]\n  /dev/ttyUSB1  CP2102N [10c4:0001]"
        );
        assert!(error.hint().contains("--port"));
    }

    #[test]
    fn no_port_hints_at_the_cable_and_a_named_one_is_taken_as_it_is() {
        let error = choose(vec![plain("/dev/ttyS0")], None).unwrap_err();
        assert!(error.hint().contains("cable"), "{}", error.hint());
        let port = choose(vec![usb("/dev/ttyUSB0", 0x1A86, "CH340")], Some("/dev/pts/7")).unwrap();
        assert_eq!((port.path.as_str(), port.usb.pid), ("/dev/pts/7", 0));
        let port = choose(vec![usb("/dev/ttyUSB0", 0x1A86, "CH340")], Some("/dev/ttyUSB0"));
        assert_eq!(port.unwrap().usb.vid, 0x1A86);
    }

    #[test]
    fn errors_of_ports_say_what_to_do() {
        use serialport::{Error, ErrorKind};
        let at = |kind| explain("/dev/null", Error::new(kind, "text"));
        let denied = at(ErrorKind::Io(io::ErrorKind::PermissionDenied));
        assert!(denied.hint().starts_with("sudo usermod --append --groups "), "{}", denied.hint());
        assert!(at(ErrorKind::NoDevice).hint().contains("fuser -v /dev/null"));
        let gone = explain("/dev/no-such-port", Error::new(ErrorKind::NoDevice, "text"));
        assert!(matches!(gone, FlashError::PortNotFound(_)));
    }
}
