//! What the documents of a site have in common: their faults.

use crate::json::JsonError;
use core::fmt;

/// The number of the format of descriptors and roots that this crate reads.
pub const FORMAT: u64 = 1;

/// The largest descriptor or root in bytes that a device reads.
pub const MAX_DOCUMENT: usize = 4096;

/// Why a descriptor or a root is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DocumentError {
    /// Larger than [`MAX_DOCUMENT`].
    TooLarge,
    /// Not a well-formed JSON object.
    Json(JsonError),
    /// This field appears twice.
    Duplicate(&'static str),
    /// This field has a value of the wrong type, or one that does not fit.
    Invalid(&'static str),
    /// This field is missing.
    Missing(&'static str),
    /// A format that this reader does not know: the firmware is too old.
    UnknownFormat,
    /// This field outside of the signed payload is not the one inside.
    Differs(&'static str),
}

/// Sets a field that may appear once. `None` is no valid value.
pub(crate) fn set<T>(
    field: &mut Option<T>,
    name: &'static str,
    value: Option<T>,
) -> Result<(), DocumentError> {
    let value = value.ok_or(DocumentError::Invalid(name))?;
    match field.replace(value) {
        None => Ok(()),
        Some(_) => Err(DocumentError::Duplicate(name)),
    }
}

impl From<JsonError> for DocumentError {
    fn from(error: JsonError) -> Self {
        Self::Json(error)
    }
}

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => write!(f, "larger than {MAX_DOCUMENT} bytes"),
            Self::Json(error) => error.fmt(f),
            Self::Duplicate(field) => write!(f, "field `{field}` appears twice"),
            Self::Invalid(field) => write!(f, "field `{field}` has no valid value"),
            Self::Missing(field) => write!(f, "field `{field}` is missing"),
            Self::UnknownFormat => {
                write!(f, "a format other than {FORMAT}, written for newer firmware")
            }
            Self::Differs(field) => {
                write!(f, "field `{field}` differs from the signed one")
            }
        }
    }
}

impl core::error::Error for DocumentError {}
