//! Why an operation on slots failed.
//!
//! # Errors of other systems and their counterparts here
//!
//! | ESP-IDF, NodeMCU                          | here                             |
//! |-------------------------------------------|----------------------------------|
//! | no OTA partition available                | [`LayoutError::TooFewSlots`]     |
//! | ota data partition invalid                | [`LayoutError::NoOtadata`]       |
//! | out of memory                             | nothing is allocated             |
//! | cannot overwrite running firmware         | impossible: `begin` picks the slot |
//! | cannot upgrade from unconfirmed firmware  | [`OtaError::Unconfirmed`]        |
//! | call commence first, none in progress     | impossible: `write` needs a [`SlotWriter`] |
//! | not a valid OTA image                     | [`OtaError::Image`]              |
//! | empty firmware image                      | [`OtaError::Empty`]              |
//! | validation failed                         | [`OtaError::Image`], [`OtaError::Digest`], [`OtaError::ReadBack`] |
//! | lower secure version                      | [`OtaError::SecureVersion`]      |
//! | no other firmware to roll back to         | [`OtaError::NothingToGoBackTo`]  |
//!
//! [`LayoutError::TooFewSlots`]: crate::layout::LayoutError::TooFewSlots
//! [`LayoutError::NoOtadata`]: crate::layout::LayoutError::NoOtadata
//! [`SlotWriter`]: crate::SlotWriter

use crate::{image::ImageError, patch::PatchError};
use core::fmt;

/// Why an operation on slots failed. What runs stays bootable in every case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtaError<E> {
    /// Erasing, programming or reading flash failed.
    Flash(E),
    /// What runs is on trial: accept or roll back first.
    Unconfirmed,
    /// The bytes are not a sound image.
    Image(ImageError),
    /// The image cannot be made of the patch.
    Patch(PatchError),
    /// There are no bytes.
    Empty,
    /// The image is of another project.
    OtherProject,
    /// The image is for another chip.
    OtherChip,
    /// The version of the image is not the expected one.
    OtherVersion,
    /// The image is barred by anti-rollback.
    SecureVersion,
    /// There are more or fewer bytes than expected.
    Size,
    /// The image is larger than the slot.
    TooLarge,
    /// The SHA-256 is not the expected one.
    Digest,
    /// Flash does not hold what was written to it.
    ReadBack,
    /// No other partition holds a sound image that was not rejected.
    NothingToGoBackTo,
    /// The sequence numbers of otadata are used up.
    SequenceUsedUp,
}

impl<E: fmt::Debug> fmt::Display for OtaError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flash(error) => return write!(f, "flash failed: {error:?}"),
            Self::Image(error) => return error.fmt(f),
            Self::Patch(error) => return error.fmt(f),
            Self::Unconfirmed => "what runs is on trial: accept it or roll back first",
            Self::Empty => "the image is empty",
            Self::OtherProject => "the image is of another project",
            Self::OtherChip => "the image is for another chip",
            Self::OtherVersion => "the version of the image is not the offered one",
            Self::SecureVersion => "the image is barred by anti-rollback",
            Self::Size => "the image has not the offered size",
            Self::TooLarge => "the image is larger than the slot",
            Self::Digest => "the SHA-256 of the image is not the offered one",
            Self::ReadBack => "flash does not hold what was written",
            Self::NothingToGoBackTo => "no other slot holds a sound image to go back to",
            Self::SequenceUsedUp => "the sequence numbers of otadata are used up",
        })
    }
}

impl<E: fmt::Debug> core::error::Error for OtaError<E> {}
