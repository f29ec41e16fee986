//! Improv over serial: a browser tells the device its Wi-Fi network, on the
//! UART or, where the chip has one, on its USB port. Frames stand among the
//! lines of the log.

use crate::chip;
use crate::settings::Network;
use crate::shared::Shared;
use crate::wifi::{STATION, State};
use core::fmt::Write as _;
use embassy_time::{Duration, Instant};
use embedded_io_async::{ErrorType, Read, Write};
use esp_hal::Async;
use esp_hal::peripherals::UART0;
use esp_hal::uart::{self, ConfigError, Uart};
use log::warn;
use towline_app::improv::{
    self, BadHostname, CannotConnect, DeviceInfo, MAX_NETWORKS, Provision, Service, Text,
};

/// What a frame may take to be sent; a host that does not read gets none.
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
        let firmware = env!("CARGO_PKG_NAME");
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

/// Answers on one line, for ever.
async fn answer<L: Read + Write>(shared: &'static Shared, line: &mut L) -> ! {
    let version = shared.slots.contents().version().try_into().unwrap_or_default();
    let mut service = Service::new(Board { shared, version });
    loop {
        // Noise on the line: the next frame is found again.
        let _ = service.run(line).await;
        embassy_futures::yield_now().await;
    }
}

/// Answers on the UART.
#[embassy_executor::task]
pub(crate) async fn on_uart(console: chip::Console, shared: &'static Shared) -> ! {
    match UartLine::open(console) {
        Ok(mut line) => answer(shared, &mut line).await,
        Err(error) => {
            warn!("serial: {error}");
            core::future::pending().await
        }
    }
}

/// The UART of the console.
struct UartLine(Uart<'static, Async>);

impl UartLine {
    fn open(console: chip::Console) -> Result<Self, ConfigError> {
        let chip::Console { uart, rx, tx } = console;
        let uart: UART0<'static> = uart;
        let uart = Uart::new(uart, uart::Config::default())?;
        Ok(Self(uart.with_rx(rx).with_tx(tx).into_async()))
    }
}

impl ErrorType for UartLine {
    type Error = uart::IoError;
}

impl Read for UartLine {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Self::Error> {
        Ok(self.0.read_async(buffer).await?)
    }
}

impl Write for UartLine {
    /// Blocks, 87 µs a byte: a line of the log must not come in between.
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Self::Error> {
        Ok(self.0.write(bytes)?)
    }

    async fn flush(&mut self) -> Result<(), Self::Error> {
        Ok(self.0.flush()?)
    }
}

#[cfg(any(feature = "esp32c3", feature = "esp32c6", feature = "esp32s3"))]
pub(crate) use usb::on_usb;

#[cfg(any(feature = "esp32c3", feature = "esp32c6", feature = "esp32s3"))]
mod usb {
    use super::{Instant, Read, SENDING, Shared, Write, answer};
    use core::convert::Infallible;
    use embedded_io_async::ErrorType;
    use esp_hal::Async;
    use esp_hal::peripherals::USB_DEVICE;
    use esp_hal::usb::usb_serial_jtag::UsbSerialJtag;

    /// Answers on the USB port.
    #[embassy_executor::task]
    pub(crate) async fn on_usb(usb: USB_DEVICE<'static>, shared: &'static Shared) -> ! {
        answer(shared, &mut UsbLine(UsbSerialJtag::new(usb).into_async())).await
    }

    struct UsbLine(UsbSerialJtag<'static, Async>);

    impl ErrorType for UsbLine {
        type Error = Infallible;
    }

    impl Read for UsbLine {
        async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Infallible> {
            match Read::read(&mut self.0, buffer).await {
                Ok(count) => Ok(count),
                Err(_) => Ok(0),
            }
        }
    }

    impl Write for UsbLine {
        /// Blocks, until the host has read or does not: a line of the log must
        /// not come in between.
        async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
            let end = Instant::now() + SENDING;
            for byte in bytes {
                while self.0.write_byte_nb(*byte).is_err() {
                    if Instant::now() > end {
                        return Ok(bytes.len());
                    }
                }
            }
            Ok(bytes.len())
        }

        async fn flush(&mut self) -> Result<(), Infallible> {
            let end = Instant::now() + SENDING;
            while self.0.flush_tx_nb().is_err() && Instant::now() < end {}
            Ok(())
        }
    }
}
