//! The descriptor of a channel: what one target's devices are offered.

use crate::{
    Chip, Sha256, Version,
    json::{self, JsonError, Value},
};
use core::fmt;

/// The number of the descriptor format that this crate writes, and the only
/// one that it reads.
pub const FORMAT: u64 = 1;

/// The largest descriptor in bytes that a device reads.
pub const MAX_DESCRIPTOR: usize = 4096;

/// The longest release notes in bytes that a descriptor carries; the whole
/// notes stand in `releases.json` and on the page.
pub const MAX_NOTES: usize = 1024;

/// What a channel offers to the devices of one target.
///
/// Only `version` and `path` have to be there: such is the descriptor of
/// readers and publishers that know no more than these two.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Descriptor<'a> {
    /// Version of the offered image, byte for byte that of its app descriptor.
    pub version: Version,
    /// URL of the app image.
    pub path: &'a str,
    /// Format of this descriptor, [`FORMAT`].
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub fmt: Option<u64>,
    /// `project_name` of the image's app descriptor.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub project: Option<&'a str>,
    /// Board variant that the image was built for.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub target: Option<&'a str>,
    /// Channel that this descriptor belongs to.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub channel: Option<&'a str>,
    /// Name of the chip, such as `esp32c3`.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub chip: Option<&'a str>,
    /// `chip_id` of the image header.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub chip_id: Option<u16>,
    /// Size of the image in bytes.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub size: Option<u32>,
    /// SHA-256 of the whole image.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub sha256: Option<Sha256>,
    /// Anti-rollback version of the image's app descriptor.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub secure_version: Option<u32>,
    /// Release notes, at most [`MAX_NOTES`] bytes of plain text.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub notes: Option<&'a str>,
}

/// Why a descriptor is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DescriptorError {
    /// Larger than [`MAX_DESCRIPTOR`].
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
}

impl<'a> Descriptor<'a> {
    /// Parses a descriptor in place; the result borrows from `document`, whose
    /// other content is lost.
    ///
    /// # Errors
    /// [`DescriptorError`]; nothing is returned unless all of it is sound.
    pub fn parse(document: &'a mut [u8]) -> Result<Self, DescriptorError> {
        if document.len() > MAX_DESCRIPTOR {
            return Err(DescriptorError::TooLarge);
        }
        let mut version = None;
        let mut path = None;
        let mut fmt = None;
        let mut project = None;
        let mut target = None;
        let mut channel = None;
        let mut chip = None;
        let mut chip_id = None;
        let mut size = None;
        let mut sha256 = None;
        let mut secure_version = None;
        let mut notes = None;
        json::read_object(document, |key, value| match key {
            "version" => set(&mut version, "version", string(&value).and_then(|s| s.parse().ok())),
            "path" => set(&mut path, "path", string(&value)),
            "fmt" => set(&mut fmt, "fmt", value.as_u64()),
            "project" => set(&mut project, "project", string(&value)),
            "target" => set(&mut target, "target", string(&value)),
            "channel" => set(&mut channel, "channel", string(&value)),
            "chip" => set(&mut chip, "chip", string(&value)),
            "chip_id" => set(&mut chip_id, "chip_id", number(&value)),
            "size" => set(&mut size, "size", number(&value)),
            "sha256" => set(&mut sha256, "sha256", string(&value).and_then(|s| s.parse().ok())),
            "secure_version" => set(&mut secure_version, "secure_version", number(&value)),
            "notes" => set(&mut notes, "notes", string(&value)),
            _ => Ok(()),
        })?;
        if fmt.is_some_and(|fmt| fmt != FORMAT) {
            return Err(DescriptorError::UnknownFormat);
        }
        Ok(Self {
            version: version.ok_or(DescriptorError::Missing("version"))?,
            path: path.ok_or(DescriptorError::Missing("path"))?,
            fmt,
            project,
            target,
            channel,
            chip,
            chip_id,
            size,
            sha256,
            secure_version,
            notes,
        })
    }

    /// Returns the chip, from its id or else from its name; `None` if neither
    /// is given or known.
    pub fn chip(&self) -> Option<Chip> {
        match self.chip_id {
            Some(id) => Chip::from_id(id),
            None => self.chip?.parse().ok(),
        }
    }
}

fn set<T>(
    field: &mut Option<T>,
    name: &'static str,
    value: Option<T>,
) -> Result<(), DescriptorError> {
    let value = value.ok_or(DescriptorError::Invalid(name))?;
    match field.replace(value) {
        None => Ok(()),
        Some(_) => Err(DescriptorError::Duplicate(name)),
    }
}

fn string<'a>(value: &Value<'a>) -> Option<&'a str> {
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

fn number<T: TryFrom<u64>>(value: &Value<'_>) -> Option<T> {
    value.as_u64().and_then(|number| T::try_from(number).ok())
}

impl From<JsonError> for DescriptorError {
    fn from(error: JsonError) -> Self {
        Self::Json(error)
    }
}

impl fmt::Display for DescriptorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => write!(f, "larger than {MAX_DESCRIPTOR} bytes"),
            Self::Json(error) => error.fmt(f),
            Self::Duplicate(field) => write!(f, "field `{field}` appears twice"),
            Self::Invalid(field) => write!(f, "field `{field}` has no valid value"),
            Self::Missing(field) => write!(f, "field `{field}` is missing"),
            Self::UnknownFormat => {
                write!(f, "a format other than {FORMAT}, written for newer firmware")
            }
        }
    }
}

impl core::error::Error for DescriptorError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{format, string::String};

    /// Published descriptors of format 1 stay readable forever.
    const FROZEN: &str = include_str!("../tests/frozen/descriptor-1.json");

    #[test]
    fn frozen_format_1_is_read() {
        let mut document = FROZEN.as_bytes().to_vec();
        let descriptor = Descriptor::parse(&mut document).unwrap();
        assert_eq!(descriptor.version.as_str(), "1.4.0-rc.1");
        assert_eq!(
            descriptor.path,
            "https://example.org/fw/firmware/lamp/1.4.0-rc.1/desk-app-0123456789ab.bin"
        );
        assert_eq!(descriptor.project, Some("lamp"));
        assert_eq!(descriptor.target, Some("desk"));
        assert_eq!(descriptor.channel, Some("testing"));
        assert_eq!(descriptor.chip(), Some(Chip::Esp32c3));
        assert_eq!((descriptor.size, descriptor.secure_version), (Some(708_112), Some(3)));
        assert_eq!(descriptor.sha256, Some(Sha256([0xab; 32])));
        assert_eq!(descriptor.notes, Some("Brighter.\nStarts faster."));
    }

    #[test]
    fn two_plain_fields_are_enough() {
        let mut document = *br#"{"version": "v2.1.1", "path": "https:\/\/example.org\/a.bin"}"#;
        let descriptor = Descriptor::parse(&mut document).unwrap();
        assert_eq!(
            (descriptor.version.as_str(), descriptor.path),
            ("v2.1.1", "https://example.org/a.bin")
        );
        assert_eq!(descriptor.sha256, None);
    }

    fn error(document: &str) -> DescriptorError {
        Descriptor::parse(&mut document.as_bytes().to_vec()).unwrap_err()
    }

    #[test]
    fn faults_are_named() {
        use DescriptorError::{Duplicate, Invalid, Missing, TooLarge, UnknownFormat};
        assert_eq!(error("{}"), Missing("version"));
        assert_eq!(error(r#"{"version":"1.0.0"}"#), Missing("path"));
        assert_eq!(
            error(r#"{"version":"1.0.0","version":"2.0.0","path":""}"#),
            Duplicate("version")
        );
        assert_eq!(error(r#"{"version":1,"path":""}"#), Invalid("version"));
        assert_eq!(error(r#"{"version":"1","path":""}"#), Invalid("version"));
        assert_eq!(error(r#"{"version":"1.0.0","path":"","size":4294967296}"#), Invalid("size"));
        assert_eq!(error(r#"{"version":"1.0.0","path":"","size":-1}"#), Invalid("size"));
        assert_eq!(error(r#"{"version":"1.0.0","path":"","sha256":"ab"}"#), Invalid("sha256"));
        assert_eq!(error(r#"{"version":"1.0.0","path":"","fmt":2}"#), UnknownFormat);
        assert_eq!(error(&format!("{{\"x\":\"{}\"}}", "y".repeat(MAX_DESCRIPTOR))), TooLarge);
    }

    #[test]
    fn unknown_fields_are_skipped() {
        let mut document =
            *br#"{"version":"1.0.0","path":"p","policy":{"percent":[10]},"new":null}"#;
        assert!(Descriptor::parse(&mut document).is_ok());
    }

    #[cfg(feature = "serde")]
    #[test]
    fn what_the_publisher_writes_is_what_the_device_reads() {
        let written = Descriptor {
            version: "1.2.3".parse().unwrap(),
            path: "https://example.org/a.bin",
            fmt: Some(FORMAT),
            project: Some("lamp"),
            target: Some("desk"),
            channel: Some("stable"),
            chip: Some("esp32c6"),
            chip_id: Some(13),
            size: Some(1),
            sha256: Some(Sha256([7; 32])),
            secure_version: Some(0),
            notes: Some("\"quoted\"\n\u{1f680}"),
        };
        let mut document = serde_json::to_vec_pretty(&written).unwrap();
        assert_eq!(Descriptor::parse(&mut document), Ok(written));
    }

    proptest! {
        #[test]
        fn any_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Descriptor::parse(&mut bytes);
        }

        #[test]
        fn a_damaged_descriptor_never_panics(at in 0..FROZEN.len(), byte in any::<u8>()) {
            let mut document = FROZEN.as_bytes().to_vec();
            document[at] = byte;
            let _ = Descriptor::parse(&mut document);
        }

        #[test]
        fn any_member_is_tolerated_or_refused(key in "[a-z_0-9]{1,16}", value in "[0-9\"a-z{}\\[\\],:]{0,20}") {
            let mut document = format!("{{\"version\":\"1.0.0\",\"path\":\"p\",\"{key}\":{value}}}").into_bytes();
            let _ = Descriptor::parse(&mut document).map(|d| String::from(d.path));
        }
    }
}
