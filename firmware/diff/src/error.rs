//! Errors.

use std::convert::Infallible;
use towline_patch::{Error, HeaderError, Refused};

/// Why there is no patch, or why it cannot be applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiffError {
    /// The new image is empty, or one of them is too large.
    #[error("images have 1 byte to 256 MiB, the old one has {old} bytes and the new one {new}")]
    Size {
        /// Bytes of the old image.
        old: usize,
        /// Bytes of the new image.
        new: usize,
    },
    /// No patch gets by with so little working memory.
    #[error("{0} bytes of memory are too few for patches")]
    Memory(u32),
    /// What was made does not give the new image.
    #[error("the patch would not give the new image: a fault of the generator, please report it")]
    Fault,
    /// There is no whole header.
    #[error("{0} bytes are too few for a patch")]
    Short(usize),
    /// It is not a patch that is known here.
    #[error(transparent)]
    Header(HeaderError),
    /// The patch says that it is for something else.
    #[error("{0}")]
    Refused(Refused),
    /// The patch is not what was made.
    #[error("the patch is damaged: what it makes is wrong at or before byte {at}")]
    Damaged {
        /// Offset in the new image.
        at: usize,
    },
}

impl DiffError {
    /// Returns why a patch failed that had made so many bytes.
    pub(crate) fn of(error: Error<Infallible>, at: usize) -> Self {
        match error {
            Error::Refused(refused) => Self::Refused(refused),
            Error::Damaged => Self::Damaged { at },
            Error::Images(never) => match never {},
        }
    }
}
