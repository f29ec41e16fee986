//! The network card, as embassy-net takes it.

use super::virtio::{self, Memory};
use core::{cell::RefCell, task::Context};
use embassy_net_driver::{Capabilities, Driver, HardwareAddress, LinkState, RxToken, TxToken};
use virtio_drivers::{
    device::net::{RxBuffer, VirtIONet},
    transport::{DeviceType, mmio::MmioTransport},
};

const QUEUE: usize = 16;
const FRAME: usize = 1514;
/// With the header that comes before each frame.
const BUFFER: usize = 2048;

type Device = VirtIONet<Memory, MmioTransport<'static>, QUEUE>;

/// The network card.
pub struct Card(RefCell<Device>);

impl Card {
    /// Finds the device. `None` if the emulator was started without one
    /// (`-device virtio-net-device`).
    pub fn find() -> Option<Self> {
        let device = VirtIONet::new(virtio::find(DeviceType::Network)?, BUFFER).ok()?;
        Some(Self(RefCell::new(device)))
    }
}

/// A frame that came.
pub struct Received<'a> {
    card: &'a RefCell<Device>,
    frame: RxBuffer,
}

/// Room for a frame that goes.
pub struct Sending<'a>(&'a RefCell<Device>);

// Wakers are not kept: the app polls without pause.
impl Driver for Card {
    type RxToken<'a> = Received<'a>;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _: &mut Context<'_>) -> Option<(Received<'_>, Sending<'_>)> {
        let frame = self.0.get_mut().receive().ok()?;
        Some((Received { card: &self.0, frame }, Sending(&self.0)))
    }

    fn transmit(&mut self, _: &mut Context<'_>) -> Option<Sending<'_>> {
        self.0.get_mut().can_send().then_some(Sending(&self.0))
    }

    fn link_state(&mut self, _: &mut Context<'_>) -> LinkState {
        LinkState::Up
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.max_transmission_unit = FRAME;
        capabilities
    }

    fn hardware_address(&self) -> HardwareAddress {
        HardwareAddress::Ethernet(self.0.borrow().mac_address())
    }
}

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(mut self, f: F) -> R {
        let result = f(self.frame.packet_mut());
        // A buffer that does not go back is one frame less at a time.
        let _ = self.card.borrow_mut().recycle_rx_buffer(self.frame);
        result
    }
}

impl TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut card = self.0.borrow_mut();
        let mut frame = card.new_tx_buffer(len);
        let result = f(frame.packet_mut());
        // A frame that is lost is sent again by TCP.
        let _ = card.send(frame);
        result
    }
}
