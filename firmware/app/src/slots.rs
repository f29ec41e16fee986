//! The slots of a device, shared by those who use them.
//!
//! One at a time changes slots, which may take minutes. What is in them can be
//! read all the while: a copy is kept, and renewed after each change.

use core::{cell::RefCell, fmt};
use embassy_sync::{
    blocking_mutex::raw::NoopRawMutex,
    mutex::{Mutex, MutexGuard},
};
use embedded_io_async::Read;
use embedded_storage::nor_flash::NorFlash;
use towline::{Expected, Ota, OtaError, Slot, SlotInfo, image::AppDescriptor, layout::MAX_SLOTS};

/// Bytes of an image that are taken at a time.
const PIECE: usize = 1024;

/// What runs, what will, and what is in each slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// What runs.
    pub running: Slot,
    /// What runs after the next reset.
    pub next_boot: Slot,
    /// Every app partition.
    pub slots: heapless::Vec<SlotInfo, { MAX_SLOTS + 1 }, u8>,
}

/// The slots of a device.
pub struct Slots<F> {
    ota: Mutex<NoopRawMutex, Ota<F>>,
    contents: RefCell<Contents>,
    spare_size: u32,
}

/// Why an image was not installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstallError<R, F> {
    /// It did not come whole.
    Receive(R),
    /// It was refused, or could not be written.
    Ota(OtaError<F>),
}

impl<F: NorFlash> Slots<F> {
    /// Takes the slots, after the boot guard.
    ///
    /// # Errors
    /// [`OtaError::Flash`].
    pub fn new(mut ota: Ota<F>) -> Result<Self, OtaError<F::Error>> {
        let contents = read(&mut ota)?;
        let spare_size = ota.spare_size();
        Ok(Self { ota: Mutex::new(ota), contents: RefCell::new(contents), spare_size })
    }

    /// Returns what runs, what will, and what is in each slot. The borrow must
    /// not be held over an await.
    pub fn contents(&self) -> core::cell::Ref<'_, Contents> {
        self.contents.borrow()
    }

    /// Returns the size in bytes of the slot that an image goes to.
    pub fn spare_size(&self) -> u32 {
        self.spare_size
    }

    /// Claims the slots, to update from a channel or to accept what runs. What
    /// is read of them is renewed when the claim is given back.
    pub async fn claim(&self) -> Claim<'_, F> {
        Claim { ota: self.ota.lock().await, contents: &self.contents }
    }

    /// Installs an image of `size` bytes in the slot that does not run, and
    /// makes it the one that boots. Its head is checked before anything is
    /// erased, and the whole is read back.
    ///
    /// # Errors
    /// [`InstallError`]; what runs stays the one that boots.
    pub async fn install<R: Read>(
        &self,
        size: u32,
        image: &mut R,
    ) -> Result<(), InstallError<R::Error, F::Error>> {
        let mut claim = self.claim().await;
        let expected = Expected { size: Some(size), ..Expected::default() };
        let mut writer = claim.begin(expected).map_err(InstallError::Ota)?;
        let mut piece = [0; PIECE];
        loop {
            match image.read(&mut piece).await {
                Ok(0) => break,
                Ok(count) => writer.write(&piece[..count]).map_err(InstallError::Ota)?,
                Err(error) => {
                    writer.abort().map_err(InstallError::Ota)?;
                    return Err(InstallError::Receive(error));
                }
            }
        }
        writer.finish().and_then(towline::Verified::activate).map_err(InstallError::Ota)
    }
}

fn read<F: NorFlash>(ota: &mut Ota<F>) -> Result<Contents, OtaError<F::Error>> {
    let info = ota.info()?;
    let mut slots = heapless::Vec::new();
    for slot in ota.layout().partitions() {
        if let Some(info) = ota.slot_info(slot)? {
            let fits = slots.push(info);
            debug_assert!(fits.is_ok(), "there are no more partitions than a layout has");
        }
    }
    Ok(Contents { running: info.running, next_boot: info.next_boot, slots })
}

/// A claim on the slots.
pub struct Claim<'s, F: NorFlash> {
    ota: MutexGuard<'s, NoopRawMutex, Ota<F>>,
    contents: &'s RefCell<Contents>,
}

impl<F: NorFlash> core::ops::Deref for Claim<'_, F> {
    type Target = Ota<F>;

    fn deref(&self) -> &Ota<F> {
        &self.ota
    }
}

impl<F: NorFlash> core::ops::DerefMut for Claim<'_, F> {
    fn deref_mut(&mut self) -> &mut Ota<F> {
        &mut self.ota
    }
}

impl<F: NorFlash> Drop for Claim<'_, F> {
    fn drop(&mut self) {
        // Flash that cannot be read tells nothing new.
        if let Ok(contents) = read(&mut self.ota) {
            *self.contents.borrow_mut() = contents;
        }
    }
}

impl Contents {
    /// Returns what the image that runs says of itself.
    pub fn running_app(&self) -> Option<&AppDescriptor> {
        self.slots.iter().find(|slot| slot.slot == self.running)?.app.as_ref().ok()
    }

    /// Returns the version of what runs; empty if its image does not tell.
    pub fn version(&self) -> &str {
        self.running_app().map_or("", |app| app.version.as_str())
    }
}

impl<R: fmt::Display, F: fmt::Debug> fmt::Display for InstallError<R, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Receive(error) => error.fmt(f),
            Self::Ota(error) => error.fmt(f),
        }
    }
}

impl<R: fmt::Debug + fmt::Display, F: fmt::Debug> core::error::Error for InstallError<R, F> {}
