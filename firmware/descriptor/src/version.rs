//! Semantic versions as devices keep them: at most 31 bytes of text.

use core::{cmp::Ordering, fmt, str::FromStr};

/// The longest version in bytes. The app descriptor of an image and the
/// readers in the field hold 32 bytes, the last of them a NUL.
pub const MAX_VERSION: usize = 31;

/// A semantic version with the text it was written in.
///
/// One leading `v` is tolerated, because published images carry it: the text
/// keeps it, the order ignores it. Order is [`Version::precedence`] and not
/// [`Ord`], because versions that differ in build metadata are different texts
/// of equal precedence.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Version(heapless::String<MAX_VERSION, u8>);

/// Why a text is not a [`Version`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidVersion {
    /// Longer than [`MAX_VERSION`] bytes: devices could not store it.
    TooLong,
    /// Not `MAJOR.MINOR.PATCH[-prerelease][+build]` of semver 2.0.
    NotSemver,
}

/// The parts that decide precedence.
struct Parts<'a> {
    core: [u64; 3],
    pre: Option<&'a str>,
}

impl Version {
    /// What stands where a version is still to be read. It is none.
    pub(crate) const UNSET: Self = Self(heapless::String::new());

    /// Parses a version.
    ///
    /// # Errors
    /// [`InvalidVersion`], for texts that are not semver or too long.
    pub fn parse(text: &str) -> Result<Self, InvalidVersion> {
        split(text).ok_or(InvalidVersion::NotSemver)?;
        heapless::String::try_from(text).map(Self).map_err(|_| InvalidVersion::TooLong)
    }

    /// Returns the text as it was written, a leading `v` included.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the text without a leading `v`.
    pub fn without_v(&self) -> &str {
        self.0.strip_prefix('v').unwrap_or(&self.0)
    }

    /// Returns whether this version has a prerelease part (`1.2.0-rc.1`).
    pub fn is_prerelease(&self) -> bool {
        self.parts().pre.is_some()
    }

    /// Compares by the precedence rules of semver 2.0, section 11. Build
    /// metadata and a leading `v` have no influence.
    pub fn precedence(&self, other: &Self) -> Ordering {
        let (a, b) = (self.parts(), other.parts());
        a.core.cmp(&b.core).then_with(|| match (a.pre, b.pre) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(a), Some(b)) => compare_prereleases(a, b),
        })
    }

    fn parts(&self) -> Parts<'_> {
        split(&self.0).expect("checked when it was made")
    }
}

/// Splits and checks a version; `None` if it is not semver.
fn split(text: &str) -> Option<Parts<'_>> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let (text, build) = split_at_mark(text, '+');
    let (core, pre) = split_at_mark(text, '-');
    let mut numbers = core.split('.');
    let mut number = || number(numbers.next()?);
    let core = [number()?, number()?, number()?];
    let complete = numbers.next().is_none()
        && build.is_none_or(|build| build.split('.').all(is_identifier))
        && pre.is_none_or(|pre| {
            pre.split('.').all(|id| is_identifier(id) && (!is_digits(id) || !has_leading_zero(id)))
        });
    complete.then_some(Parts { core, pre })
}

fn split_at_mark(text: &str, mark: char) -> (&str, Option<&str>) {
    match text.split_once(mark) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

fn number(text: &str) -> Option<u64> {
    (is_digits(text) && !has_leading_zero(text)).then(|| text.parse().ok())?
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn has_leading_zero(digits: &str) -> bool {
    digits.len() > 1 && digits.starts_with('0')
}

fn is_identifier(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn compare_prereleases(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.split('.'), b.split('.'));
    loop {
        let order = match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(a), Some(b)) => match (is_digits(a), is_digits(b)) {
                // Without leading zeros the longer number is the larger one.
                (true, true) => a.len().cmp(&b.len()).then_with(|| a.cmp(b)),
                (true, false) => Ordering::Less,
                (false, true) => Ordering::Greater,
                (false, false) => a.cmp(b),
            },
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

impl FromStr for Version {
    type Err = InvalidVersion;

    fn from_str(text: &str) -> Result<Self, InvalidVersion> {
        Self::parse(text)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for InvalidVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => {
                write!(f, "a version has at most {MAX_VERSION} bytes, devices keep no more")
            }
            Self::NotSemver => f.write_str("not a semantic version such as 1.4.0 or 1.4.0-rc.1"),
        }
    }
}

impl core::error::Error for InvalidVersion {}

#[cfg(feature = "serde")]
mod serde_impl {
    use super::Version;
    use core::fmt;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    impl Serialize for Version {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_str(self.as_str())
        }
    }

    impl<'de> Deserialize<'de> for Version {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Text;
            impl de::Visitor<'_> for Text {
                type Value = Version;

                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("a semantic version such as \"1.4.0\"")
                }

                fn visit_str<E: de::Error>(self, text: &str) -> Result<Version, E> {
                    text.parse().map_err(E::custom)
                }
            }
            deserializer.deserialize_str(Text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap()
    }

    #[test]
    fn prereleases_order_by_number_and_come_before_their_release() {
        let ascending = [
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-rc.2",
            "1.0.0-rc.10",
            "1.0.0",
            "v1.0.1",
            "1.2.0",
            "1.10.0",
        ];
        for pair in ascending.windows(2) {
            assert_eq!(version(pair[0]).precedence(&version(pair[1])), Ordering::Less, "{pair:?}");
        }
    }

    #[test]
    fn build_metadata_and_leading_v_do_not_count() {
        assert_eq!(version("1.0.0+a").precedence(&version("v1.0.0+b")), Ordering::Equal);
    }

    #[test]
    fn more_than_31_bytes_are_refused() {
        let longest = "1.0.0-aaaaaaaaaaaaaaaaaaaaaaaaa";
        assert_eq!(longest.len(), MAX_VERSION);
        assert!(Version::parse(longest).is_ok());
        let longer = std::format!("{longest}a");
        assert_eq!(Version::parse(&longer), Err(InvalidVersion::TooLong));
    }

    #[test]
    fn rubbish_is_refused() {
        for text in [
            "",
            "v",
            "1",
            "1.2",
            "1.2.3.4",
            "01.2.3",
            "1.2.3-",
            "1.2.3-01",
            "1.2.3+",
            "vv1.2.3",
            "1.2.3-a..b",
            " 1.2.3",
            "1.2.3\0",
            "99999999999999999999.0.0",
        ] {
            assert_eq!(Version::parse(text), Err(InvalidVersion::NotSemver), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_semver_crate(a in "[0-9]{1,2}\\.[0-9]\\.[0-9](-[0-9a-b.-]{1,8})?(\\+[0-9a-b.-]{1,4})?",
                                        b in "[0-9]{1,2}\\.[0-9]\\.[0-9](-[0-9a-b.-]{1,8})?(\\+[0-9a-b.-]{1,4})?") {
            let theirs = (semver::Version::parse(&a), semver::Version::parse(&b));
            let ours = (Version::parse(&a), Version::parse(&b));
            prop_assert_eq!(ours.0.is_ok(), theirs.0.is_ok());
            prop_assert_eq!(ours.1.is_ok(), theirs.1.is_ok());
            if let ((Ok(a), Ok(b)), (Ok(c), Ok(d))) = (ours, theirs) {
                prop_assert_eq!(a.precedence(&b), c.cmp_precedence(&d));
            }
        }

        #[test]
        fn any_text_is_refused_or_kept_as_it_is(text in ".{0,40}") {
            if let Ok(version) = Version::parse(&text) {
                prop_assert_eq!(version.as_str(), text);
            }
        }
    }
}
