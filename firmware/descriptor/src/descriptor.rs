//! The descriptor of a channel: what one target's devices are offered.

use crate::{
    Chip, Policy, Rollout, Sha256, Step, Version,
    document::{DocumentError, FORMAT, MAX_DOCUMENT, set},
    envelope::{self, DESCRIPTOR_TYPE, Envelope},
    json::{self, Value},
    policy::{self, MAX_STEPS, digest, parsed},
};

/// Most patches of a descriptor that are read. Those after them are left out: a
/// device that finds none of its own takes the whole image.
pub const MAX_PATCHES: usize = 8;

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
    /// Number that only grows from one signing of a channel to the next.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub seq: Option<u64>,
    /// When this was signed, in seconds since 1970.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub issued: Option<u64>,
    /// Last second, since 1970, at which this may be believed.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub expires: Option<u64>,
    /// Lowest version that may go to the offered one.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub min_from: Option<Version>,
    /// Intermediate releases for those below.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "heapless::Vec::is_empty"))]
    pub steps: heapless::Vec<Step<'a>, MAX_STEPS, u8>,
    /// How far the release is rolled out.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "is_default"))]
    pub rollout: Rollout,
    /// When and to whom it goes.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "is_default"))]
    pub policy: Policy<'a>,
    /// Release notes, at most [`MAX_NOTES`] bytes of plain text.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub notes: Option<&'a str>,
    /// Shorter ways to the image, the first [`MAX_PATCHES`] of them.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "heapless::Vec::is_empty"))]
    pub patches: heapless::Vec<Patch<'a>, MAX_PATCHES, u8>,
}

/// The difference between an earlier image and the offered one, or the offered one
/// compressed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Patch<'a> {
    /// SHA-256 of the image that it starts from; [`Sha256::OF_NOTHING`] if it needs
    /// none.
    pub from_sha256: Sha256,
    /// Name of its format.
    pub alg: &'a str,
    /// URL of its file.
    pub path: &'a str,
    /// Its size in bytes.
    pub size: u32,
    /// SHA-256 of its bytes.
    pub sha256: Sha256,
}

/// A descriptor as it is published.
#[derive(Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "nothing to box it with; there is one at a time")]
pub enum Document<'a> {
    /// Without signatures.
    Plain(Descriptor<'a>),
    /// With signatures that nobody has verified yet.
    Signed(SignedDescriptor<'a>),
}

/// A descriptor in an [`Envelope`].
#[derive(Debug, PartialEq, Eq)]
pub struct SignedDescriptor<'a> {
    version: Version,
    path: &'a str,
    envelope: Envelope<'a>,
}

#[cfg(feature = "serde")]
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl<'a> Document<'a> {
    /// Parses a published descriptor in place; the result borrows from
    /// `document`, whose other content is lost.
    ///
    /// # Errors
    /// [`DocumentError`]; nothing is returned unless all of it is sound.
    pub fn parse(document: &'a mut [u8]) -> Result<Self, DocumentError> {
        let mut descriptor = Descriptor::empty();
        let envelope = Fields::of(&mut descriptor).read_document(document)?;
        Ok(match envelope {
            None => Self::Plain(descriptor),
            Some(envelope) => {
                let Descriptor { version, path, .. } = descriptor;
                Self::Signed(SignedDescriptor { version, path, envelope })
            }
        })
    }
}

impl<'a> SignedDescriptor<'a> {
    /// Parses a published descriptor in place, as [`Document::parse`] does.
    /// Returns `None` if it is a plain one.
    ///
    /// # Errors
    /// [`DocumentError`].
    pub fn parse(document: &'a mut [u8]) -> Result<Option<Self>, DocumentError> {
        let mut descriptor = Descriptor::empty();
        let envelope = Fields::of(&mut descriptor).read_document(document)?;
        let Descriptor { version, path, .. } = descriptor;
        Ok(envelope.map(|envelope| Self { version, path, envelope }))
    }

    /// Returns the signatures.
    pub fn envelope(&self) -> &Envelope<'a> {
        &self.envelope
    }

    /// Reads what was signed. Only that of a descriptor whose
    /// [envelope](Self::envelope) was verified may be believed.
    ///
    /// # Errors
    /// [`DocumentError`]; the plain fields beside the payload have to agree with
    /// it, so that all readers see one release, and nothing that tells this
    /// descriptor from another may be missing.
    pub fn read(self) -> Result<Descriptor<'a>, DocumentError> {
        let mut descriptor = Descriptor::empty();
        self.read_into(&mut descriptor)?;
        Ok(descriptor)
    }

    /// As [`read`](Self::read), into a place that is there already: a descriptor
    /// is large, and the stacks of devices are small. After an error nothing in
    /// it means anything.
    ///
    /// # Errors
    /// [`DocumentError`].
    pub fn read_into(self, descriptor: &mut Descriptor<'a>) -> Result<(), DocumentError> {
        *descriptor = Descriptor::empty();
        let mut fields = Fields::of(descriptor);
        json::read_object(self.envelope.into_payload(), |key, value| fields.take(key, value))?;
        fields.finish()?;
        let Fields { descriptor, seen } = &fields;
        if descriptor.version != self.version {
            return Err(DocumentError::Differs("version"));
        }
        if descriptor.path != self.path {
            return Err(DocumentError::Differs("path"));
        }
        let needed =
            ["fmt", "project", "target", "chip_id", "channel", "size", "sha256", "seq", "expires"];
        for (place, name) in FIELDS.into_iter().enumerate() {
            if needed.contains(&name) && seen & 1 << place == 0 {
                return Err(DocumentError::Missing(name));
            }
        }
        Ok(())
    }
}

impl<'a> Descriptor<'a> {
    /// Returns a descriptor that says nothing, to be [read
    /// into](Self::read_into).
    pub const fn empty() -> Self {
        Self {
            version: Version::UNSET,
            path: "",
            fmt: None,
            project: None,
            target: None,
            channel: None,
            chip: None,
            chip_id: None,
            size: None,
            sha256: None,
            secure_version: None,
            seq: None,
            issued: None,
            expires: None,
            min_from: None,
            steps: heapless::Vec::new(),
            rollout: Rollout::ALL,
            policy: Policy::NONE,
            notes: None,
            patches: heapless::Vec::new(),
        }
    }

    /// Parses a descriptor in place without verifying any signature: for tools,
    /// and for devices that trust their host.
    ///
    /// # Errors
    /// [`DocumentError`]; nothing is returned unless all of it is sound.
    pub fn parse(document: &'a mut [u8]) -> Result<Self, DocumentError> {
        let mut descriptor = Self::empty();
        descriptor.read_into(document)?;
        Ok(descriptor)
    }

    /// As [`parse`](Self::parse), into a place that is there already: a
    /// descriptor is large, and the stacks of devices are small. After an error
    /// nothing in it means anything.
    ///
    /// # Errors
    /// [`DocumentError`].
    pub fn read_into(&mut self, document: &'a mut [u8]) -> Result<(), DocumentError> {
        *self = Self::empty();
        let Some(envelope) = Fields::of(self).read_document(document)? else { return Ok(()) };
        let (version, path) = (self.version.clone(), self.path);
        SignedDescriptor { version, path, envelope }.read_into(self)
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

/// A descriptor while it is read.
struct Fields<'a, 'd> {
    descriptor: &'d mut Descriptor<'a>,
    /// Which fields were there, by their place in [`FIELDS`].
    seen: u32,
}

/// The fields that a descriptor may have.
const FIELDS: [&str; 20] = [
    "version",
    "path",
    "fmt",
    "project",
    "target",
    "channel",
    "chip",
    "chip_id",
    "size",
    "sha256",
    "secure_version",
    "seq",
    "issued",
    "expires",
    "min_from",
    "steps",
    "rollout",
    "policy",
    "notes",
    "patches",
];

impl<'a, 'd> Fields<'a, 'd> {
    fn of(descriptor: &'d mut Descriptor<'a>) -> Self {
        Self { descriptor, seen: 0 }
    }

    fn take(&mut self, key: &str, value: Value<'a>) -> Result<(), DocumentError> {
        let Some(place) = FIELDS.iter().position(|field| *field == key) else { return Ok(()) };
        let name = FIELDS[place];
        let Descriptor {
            version,
            path,
            fmt,
            project,
            target,
            channel,
            chip,
            chip_id,
            size,
            sha256,
            secure_version,
            seq,
            issued,
            expires,
            min_from,
            steps,
            rollout,
            policy,
            notes,
            patches,
        } = &mut *self.descriptor;
        match name {
            "version" => fill(version, name, parsed(value)),
            "path" => fill(path, name, value.into_str()),
            "fmt" => fill(fmt, name, value.as_number().map(Some)),
            "project" => fill(project, name, value.into_str().map(Some)),
            "target" => fill(target, name, value.into_str().map(Some)),
            "channel" => fill(channel, name, value.into_str().map(Some)),
            "chip" => fill(chip, name, value.into_str().map(Some)),
            "chip_id" => fill(chip_id, name, value.as_number().map(Some)),
            "size" => fill(size, name, value.as_number().map(Some)),
            "sha256" => fill(sha256, name, digest(value).map(Some)),
            "secure_version" => fill(secure_version, name, value.as_number().map(Some)),
            "seq" => fill(seq, name, value.as_number().map(Some)),
            "issued" => fill(issued, name, value.as_number().map(Some)),
            "expires" => fill(expires, name, value.as_number().map(Some)),
            "min_from" => fill(min_from, name, parsed(value).map(Some)),
            "steps" => policy::parse_steps(value, steps),
            "rollout" => policy::parse_rollout(value).map(|parsed| *rollout = parsed),
            "policy" => policy::parse_policy(value, policy),
            "notes" => fill(notes, name, value.into_str().map(Some)),
            _ => parse_patches(value, patches),
        }?;
        let bit = 1 << place;
        if self.seen & bit != 0 {
            return Err(DocumentError::Duplicate(name));
        }
        self.seen |= bit;
        Ok(())
    }

    /// Reads a published descriptor, and returns its envelope if it has one.
    fn read_document(
        &mut self,
        document: &'a mut [u8],
    ) -> Result<Option<Envelope<'a>>, DocumentError> {
        if document.len() > MAX_DOCUMENT {
            return Err(DocumentError::TooLarge);
        }
        let mut envelope = envelope::Fields::default();
        json::read_object(document, |key, value| match envelope.take(key, value)? {
            Some(value) => self.take(key, value),
            None => Ok(()),
        })?;
        self.finish()?;
        let envelope = envelope.finish()?;
        match &envelope {
            Some(envelope) if envelope.payload_type() != DESCRIPTOR_TYPE => {
                Err(DocumentError::Invalid("payloadType"))
            }
            _ => Ok(envelope),
        }
    }

    /// Finds out whether what has to be there is there.
    fn finish(&self) -> Result<(), DocumentError> {
        if self.descriptor.fmt.is_some_and(|fmt| fmt != FORMAT) {
            return Err(DocumentError::UnknownFormat);
        }
        for (place, name) in ["version", "path"].into_iter().enumerate() {
            if self.seen & 1 << place == 0 {
                return Err(DocumentError::Missing(name));
            }
        }
        Ok(())
    }
}

/// Fills a field. `None` is no valid value.
fn fill<T>(field: &mut T, name: &'static str, value: Option<T>) -> Result<(), DocumentError> {
    *field = value.ok_or(DocumentError::Invalid(name))?;
    Ok(())
}

fn parse_patches<'a>(
    value: Value<'a>,
    patches: &mut heapless::Vec<Patch<'a>, MAX_PATCHES, u8>,
) -> Result<(), DocumentError> {
    let invalid = DocumentError::Invalid("patches");
    let Value::Nested(list) = value else { return Err(invalid) };
    patches.clear();
    json::read_array(list, |value| {
        if patches.is_full() {
            return Ok(());
        }
        let Value::Nested(object) = value else { return Err(invalid) };
        let mut from_sha256 = None;
        let mut alg = None;
        let mut path = None;
        let mut size = None;
        let mut sha256 = None;
        json::read_object(object, |key, value| match key {
            "from_sha256" => set(&mut from_sha256, "patches.from_sha256", digest(value)),
            "alg" => set(&mut alg, "patches.alg", value.into_str()),
            "path" => set(&mut path, "patches.path", value.into_str()),
            "size" => set(&mut size, "patches.size", value.as_number()),
            "sha256" => set(&mut sha256, "patches.sha256", digest(value)),
            _ => Ok(()),
        })?;
        let patch = Patch {
            from_sha256: from_sha256.ok_or(DocumentError::Missing("patches.from_sha256"))?,
            alg: alg.ok_or(DocumentError::Missing("patches.alg"))?,
            path: path.ok_or(DocumentError::Missing("patches.path"))?,
            size: size.ok_or(DocumentError::Missing("patches.size"))?,
            sha256: sha256.ok_or(DocumentError::Missing("patches.sha256"))?,
        };
        patches.push(patch).map_err(|_| invalid)
    })
}

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

    fn error(document: &str) -> DocumentError {
        Descriptor::parse(&mut document.as_bytes().to_vec()).unwrap_err()
    }

    #[test]
    fn faults_are_named() {
        use DocumentError::{Duplicate, Invalid, Missing, TooLarge, UnknownFormat};
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
        assert_eq!(error(&format!("{{\"x\":\"{}\"}}", "y".repeat(MAX_DOCUMENT))), TooLarge);
    }

    #[test]
    fn unknown_fields_are_skipped() {
        let mut document = *br#"{"version":"1.0.0","path":"p","policy":{"new":[10]},"new":null}"#;
        assert!(Descriptor::parse(&mut document).is_ok());
    }

    fn signed(payload: &str) -> std::vec::Vec<u8> {
        use ::base64::prelude::{BASE64_STANDARD, Engine};
        format!(
            "{{\"version\":\"1.0.0\",\"path\":\"p\",\"payloadType\":\"{DESCRIPTOR_TYPE}\",\
             \"payload\":\"{}\",\"signatures\":[]}}",
            BASE64_STANDARD.encode(payload)
        )
        .into_bytes()
    }

    const PAYLOAD: &str = r#"{"fmt":1,"project":"lamp","target":"desk","chip_id":5,
        "channel":"stable","version":"1.0.0","path":"p","size":1,
        "sha256":"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE","seq":7,"expires":9,
        "min_from":"0.9.0","rollout":{"percent":12.5},"patches":[{"alg":"x","path":"q","size":2,
        "from_sha256":"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",
        "sha256":"0202020202020202020202020202020202020202020202020202020202020202"}],
        "steps":[{"version":"0.9.0","path":"s","size":3,
        "sha256":"0303030303030303030303030303030303030303030303030303030303030303"}]}"#;

    #[test]
    fn a_signed_descriptor_is_its_payload() {
        let mut document = signed(PAYLOAD);
        let Ok(Document::Signed(signed)) = Document::parse(&mut document) else { panic!() };
        let descriptor = signed.read().unwrap();
        assert_eq!((descriptor.seq, descriptor.expires), (Some(7), Some(9)));
        assert_eq!(descriptor.rollout.percent.hundredths(), 1250);
        assert_eq!(descriptor.sha256, Some(Sha256([1; 32])));
        assert_eq!(descriptor.patches[0].sha256, Sha256([2; 32]));
        assert_eq!(descriptor.steps[0].sha256, Sha256([3; 32]));
        assert_eq!(descriptor.min_from, Some(descriptor.steps[0].version.clone()));
    }

    #[test]
    fn patches_beyond_those_that_are_read_are_left_out() {
        let patch = |number: usize| {
            let hash = "ab".repeat(32);
            format!(
                r#"{{"from_sha256":"{hash}","alg":"x","path":"{number}","size":1,"sha256":"{hash}"}}"#
            )
        };
        let patches: std::vec::Vec<_> = (0..=MAX_PATCHES).map(patch).collect();
        let mut document =
            format!(r#"{{"version":"1.0.0","path":"p","patches":[{}]}}"#, patches.join(","))
                .into_bytes();
        let descriptor = Descriptor::parse(&mut document).unwrap();
        let paths: std::vec::Vec<_> = descriptor.patches.iter().map(|patch| patch.path).collect();
        assert_eq!(paths, ["0", "1", "2", "3", "4", "5", "6", "7"]);
    }

    #[test]
    fn outer_fields_that_differ_from_the_signed_ones_are_refused() {
        for (from, to, field) in
            [("\"1.0.0\"", "\"1.0.1\"", "version"), ("\"path\":\"p\"", "\"path\":\"P\"", "path")]
        {
            let mut document = signed(&PAYLOAD.replacen(from, to, 1));
            assert_eq!(Descriptor::parse(&mut document), Err(DocumentError::Differs(field)));
        }
    }

    #[test]
    fn a_signed_descriptor_says_what_it_is_for() {
        for field in
            ["fmt", "project", "target", "chip_id", "channel", "size", "sha256", "seq", "expires"]
        {
            let payload = PAYLOAD.replacen(&format!("\"{field}\""), "\"other\"", 1);
            let result = Descriptor::parse(&mut signed(&payload)).map(|_| ());
            let expected = DocumentError::Missing(field);
            assert_eq!(result, Err(expected), "{field}");
        }
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
            seq: None,
            issued: None,
            expires: None,
            min_from: None,
            steps: heapless::Vec::new(),
            rollout: Rollout::default(),
            policy: Policy::default(),
            patches: heapless::Vec::new(),
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
