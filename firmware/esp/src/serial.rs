//! Improv over serial: a browser tells the device its Wi-Fi network, on the
//! UART or, where the chip has one, on its USB port. Frames stand among the
//! lines of the log.

use crate::chip;
use crate::settings::Network;
use crate::shared::Shared;
use crate::wifi::{STATION, State};
use core::fmt::Write as _;
use embedded_io_async::{ErrorType, Read, Write};
use esp_hal::Async;
use esp_hal::uart::{self, ConfigError, Uart};
use log::warn;
use towline_app::improv::{
    self, BadHostname, CannotConnect, DeviceInfo, MAX_NETWORKS, Provision, Service, Text,
};
#[cfg(feature = "usb")]
use {
    embassy_futures::select::{Either, select},
    embassy_time::{Duration, Instant},
    esp_hal::usb::usb_serial_jtag::UsbSerialJtag,
};

/// What a frame may take to be sent; a host that does not read gets none.
#[cfg(feature = "usb")]
const SENDING: Duration = Duration::from_millis(100);

/// The chip, as installers name it.
const CHIP: &str = match esp_hal::chip!().as_bytes() {
    b"esp32c2" => "ESP32-C2",
    b"esp32c3" => "ESP32-C3",
    b"esp32c6" => "ESP32-C6",
    b"esp32s2" => "ESP32-S2",
    b"esp32s3" => "ESP32-S3",
    _ => "ESP32",
};

/// The device as Improv sees it.
struct Board {
    shared: &'static Shared,
    version: heapless::String<32>,
}

impl Provision for Board {
    fn info(&self) -> DeviceInfo<'_> {
        let firmware = self.shared.project.name;
        DeviceInfo { firmware, version: &self.version, chip: CHIP }
    }

    fn is_connected(&self) -> bool {
        matches!(STATION.state(), State::Joined(_))
    }

    fn url(&self) -> Option<Text> {
        let State::Joined(address) = STATION.state() else { return None };
        let mut url = Text::new();
        write!(url, "http://{address}/").ok()?;
        Some(url)
    }

    async fn connect(&mut self, ssid: &str, password: &str) -> Result<(), CannotConnect> {
        let network = Network::new(ssid, password).ok_or(CannotConnect)?;
        STATION.join(network).await.map(|_| ()).ok_or(CannotConnect)
    }

    async fn scan(&mut self) -> heapless::Vec<improv::Network, MAX_NETWORKS> {
        STATION.scan().await
    }

    fn hostname(&self) -> Text {
        let name = self.shared.settings().hostname(&self.shared.hostname);
        name.as_str().try_into().unwrap_or_default()
    }

    async fn set_hostname(&mut self, name: &str) -> Result<(), BadHostname> {
        self.shared.settings().set_hostname(name).map_err(|_| BadHostname)
    }

    fn name(&self) -> Text {
        self.hostname()
    }

    async fn set_name(&mut self, name: &str) -> Result<(), BadHostname> {
        self.set_hostname(name).await
    }
}

/// Answers on the console, for ever.
#[embassy_executor::task]
pub(crate) async fn run(console: chip::Console, shared: &'static Shared) -> ! {
    let version = shared.slots.contents().version().try_into().unwrap_or_default();
    let mut service = Service::new(Board { shared, version });
    match Line::open(console) {
        Ok(mut line) => loop {
            // Noise on the line: the next frame is found again.
            let _ = service.run(&mut line).await;
            embassy_futures::yield_now().await;
        },
        Err(error) => {
            warn!("serial: {error}");
            core::future::pending().await
        }
    }
}

/// The console. Answers go to where the last bytes came from.
struct Line {
    uart: Uart<'static, Async>,
    #[cfg(feature = "usb")]
    usb: UsbSerialJtag<'static, Async>,
    #[cfg(feature = "usb")]
    on_usb: bool,
}

impl Line {
    fn open(console: chip::Console) -> Result<Self, ConfigError> {
        let uart = Uart::new(console.uart, uart::Config::default())?;
        Ok(Self {
            uart: uart.with_rx(console.rx).with_tx(console.tx).into_async(),
            #[cfg(feature = "usb")]
            usb: UsbSerialJtag::new(console.usb).into_async(),
            #[cfg(feature = "usb")]
            on_usb: false,
        })
    }
}

impl ErrorType for Line {
    type Error = uart::IoError;
}

impl Read for Line {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Self::Error> {
        #[cfg(feature = "usb")]
        {
            let mut from_usb = [0; 64];
            let read = select(self.uart.read_async(buffer), self.usb.read(&mut from_usb)).await;
            self.on_usb = matches!(read, Either::Second(_));
            match read {
                Either::First(count) => Ok(count?),
                Either::Second(count) => {
                    let count = count.unwrap_or(0).min(buffer.len());
                    buffer[..count].copy_from_slice(&from_usb[..count]);
                    Ok(count)
                }
            }
        }
        #[cfg(not(feature = "usb"))]
        Ok(self.uart.read_async(buffer).await?)
    }
}

impl Write for Line {
    /// Blocks, 87 µs a byte on the UART: a line of the log must not come in
    /// between.
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Self::Error> {
        #[cfg(feature = "usb")]
        if self.on_usb {
            let end = Instant::now() + SENDING;
            let sent = bytes.iter().all(|byte| {
                while self.usb.write_byte_nb(*byte).is_err() {
                    if Instant::now() > end {
                        return false;
                    }
                }
                true
            });
            let _ = sent && self.usb.flush_tx_nb().is_ok();
            return Ok(bytes.len());
        }
        Ok(self.uart.write(bytes)?)
    }

    async fn flush(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}
