//! Firmware without the feature `patches`: there is no patch, and nothing is taken for
//! one.

use crate::{decide::Form, error::OtaError, slot::SlotWriter};
use core::marker::PhantomData;
use embedded_storage::nor_flash::NorFlash;
use towline_descriptor::Sha256;

pub(super) enum Never {}

/// Never there, and takes no room.
pub(super) struct Patch<'w>(Never, PhantomData<&'w mut [u16]>);

impl<'w> Patch<'w> {
    pub(super) fn new<F: NorFlash>(
        _: &SlotWriter<'_, F>,
        _: Form,
        _: u32,
        _: &Sha256,
        _: &'w mut [u16],
    ) -> Option<Self> {
        None
    }

    pub(super) fn size(&self) -> u32 {
        match self.0 {}
    }

    pub(super) fn at(&self) -> u32 {
        match self.0 {}
    }

    pub(super) fn is_busy(&self) -> bool {
        match self.0 {}
    }

    pub(super) fn restart(&mut self) {
        match self.0 {}
    }

    pub(super) fn write<F: NorFlash>(
        &mut self,
        _: &mut SlotWriter<'_, F>,
        _: &[u8],
    ) -> Result<usize, OtaError<F::Error>> {
        match self.0 {}
    }
}
