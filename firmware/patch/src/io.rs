//! What a patch is applied to.

use crate::header::Refused;
use core::fmt;

/// The old image, and the new one as it comes.
pub trait Images {
    /// Why flash could not be read or written.
    type Error;

    /// Reads the old image from `at`. All of it lies within the old image.
    ///
    /// # Errors
    /// The old image cannot be read.
    fn old(&mut self, at: u32, buf: &mut [u8]) -> Result<(), Self::Error>;

    /// Reads from `at` what was put. All of it was.
    ///
    /// # Errors
    /// The new image cannot be read.
    fn back(&mut self, at: u32, buf: &mut [u8]) -> Result<(), Self::Error>;

    /// Takes the next bytes of the new image.
    ///
    /// # Errors
    /// The new image cannot be written.
    fn put(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;
}

/// Why a patch cannot be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error<E> {
    /// An image cannot be read or written.
    Images(E),
    /// The patch contradicts itself, or is cut.
    Damaged,
    /// It is not for this device, or not for what runs there.
    Refused(Refused),
}

impl<E> From<E> for Error<E> {
    fn from(error: E) -> Self {
        Self::Images(error)
    }
}

impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Images(error) => error.fmt(f),
            Self::Damaged => f.write_str("the patch is damaged"),
            Self::Refused(why) => why.fmt(f),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for Error<E> {}
