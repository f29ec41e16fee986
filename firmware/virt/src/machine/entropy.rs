//! Random numbers, from the host.

use super::virtio::{self, Memory};
use core::convert::Infallible;
use rand_core::{TryCryptoRng, TryRng};
use virtio_drivers::{
    device::rng::VirtIORng,
    transport::{DeviceType, mmio::MmioTransport},
};

/// The generator of the host.
pub struct Entropy(VirtIORng<Memory, MmioTransport<'static>>);

// SAFETY: the machine has one thread.
unsafe impl Send for Entropy {}

impl Entropy {
    /// Finds the device. `None` if the emulator was started without one
    /// (`-device virtio-rng-device`).
    pub fn find() -> Option<Self> {
        VirtIORng::new(virtio::find(DeviceType::EntropySource)?).ok().map(Self)
    }
}

impl TryRng for Entropy {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// # Panics
    /// If the device fails: keys must not be made without it.
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        let mut filled = 0;
        while filled < bytes.len() {
            match self.0.request_entropy(&mut bytes[filled..]) {
                Ok(count) => filled += count,
                Err(error) => panic!("no random numbers: {error}"),
            }
        }
        Ok(())
    }
}

impl TryCryptoRng for Entropy {}
