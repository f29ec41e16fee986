//! In which form an image is fetched: the one of fewest bytes that the device
//! can make use of.

use super::Offer;
use crate::descriptor::{Descriptor, Patch, Sha256, Url};
use core::fmt;

/// How an image comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// As it is.
    #[default]
    Plain,
    /// Compressed.
    Compressed,
    /// As what differs from the running image.
    Patch,
}

impl Form {
    fn of(patch: &Patch<'_>) -> Self {
        if patch.from_sha256 == Sha256::OF_NOTHING { Self::Compressed } else { Self::Patch }
    }
}

/// Returns the file to fetch in the place of the offered image, and what it is;
/// `None` if the image itself is the best.
///
/// `memory` is what the firmware has for patches, in bytes. `running` is asked
/// for the SHA-256 of the running image only if the answer depends on it.
pub fn lightest<'d>(
    offered: &'d Descriptor<'_>,
    offer: &Offer,
    memory: u32,
    running: impl FnOnce() -> Option<Sha256>,
) -> Option<(Form, &'d Patch<'d>)> {
    // Patches lead to the release, not to a step on the way there.
    if offered.sha256 != Some(offer.sha256) {
        return None;
    }
    let usable = || {
        offered.patches.iter().filter(|patch| {
            memory_of(patch.alg).is_some_and(|needed| needed <= memory)
                && patch.size < offer.size
                && Url::parse(patch.path).is_ok()
        })
    };
    let lightest = |from: Sha256| {
        usable().filter(|patch| patch.from_sha256 == from).min_by_key(|patch| patch.size)
    };
    let compressed = lightest(Sha256::OF_NOTHING);
    let least = compressed.map_or(u32::MAX, |patch| patch.size);
    let is_worth_it = usable().any(|patch| Form::of(patch) == Form::Patch && patch.size < least);
    let patch = is_worth_it.then(running).flatten().and_then(lightest);
    let best = compressed.into_iter().chain(patch).min_by_key(|patch| patch.size)?;
    Some((Form::of(best), best))
}

/// Returns the working memory in bytes that a patch of this format may need;
/// `None` if the format is not known.
pub(crate) fn memory_of(alg: &str) -> Option<u32> {
    match alg {
        "twp1-small" => Some(4 * 1024),
        "twp1-large" => Some(32 * 1024),
        _ => None,
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Plain => "plain",
            Self::Compressed => "compressed",
            Self::Patch => "patch",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::Cell;
    use std::{format, string::String, vec::Vec};

    const OWN: Sha256 = Sha256([7; 32]);
    const OTHER: Sha256 = Sha256([8; 32]);
    const NEW: Sha256 = Sha256([9; 32]);
    const SMALL: u32 = 4 * 1024;

    fn hex(sha256: Sha256) -> String {
        sha256.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What is fetched of an image of 1000 bytes that these patches lead to, and
    /// whether the running image was looked at.
    fn fetched(patches: &[(Sha256, &str, u32)], memory: u32) -> (Option<(Form, u32)>, bool) {
        let patches: Vec<_> = patches
            .iter()
            .map(|(from, alg, size)| {
                format!(
                    r#"{{"from_sha256":"{}","alg":"{alg}","path":"https://a.example/{size}",
                    "size":{size},"sha256":"{}"}}"#,
                    hex(*from),
                    hex(OTHER)
                )
            })
            .collect();
        let mut document = format!(
            r#"{{"version":"1.1.0","path":"https://a.example/x","size":1000,"sha256":"{}",
            "patches":[{}]}}"#,
            hex(NEW),
            patches.join(",")
        )
        .into_bytes();
        let offered = Descriptor::parse(&mut document).unwrap();
        let offer = Offer { version: "1.1.0".parse().unwrap(), size: 1000, sha256: NEW };
        let was_asked = Cell::new(false);
        let running = || {
            was_asked.set(true);
            Some(OWN)
        };
        let lightest = lightest(&offered, &offer, memory, running);
        (lightest.map(|(form, patch)| (form, patch.size)), was_asked.get())
    }

    #[test]
    fn the_form_of_fewest_bytes_is_fetched() {
        let (patch, compressed) =
            ((OWN, "twp1-small", 90), (Sha256::OF_NOTHING, "twp1-small", 600));
        let both = fetched(&[compressed, patch], SMALL);
        assert_eq!(both, (Some((Form::Patch, 90)), true));
        assert_eq!(fetched(&[compressed], SMALL).0, Some((Form::Compressed, 600)));
        assert_eq!(
            fetched(&[(OWN, "twp1-small", 700), compressed], SMALL).0,
            Some((Form::Compressed, 600))
        );
        assert_eq!(fetched(&[(OWN, "twp1-small", 1000)], SMALL).0, None);
        assert_eq!(fetched(&[], SMALL).0, None);
    }

    #[test]
    fn a_patch_from_another_image_is_not_fetched() {
        assert_eq!(fetched(&[(OTHER, "twp1-small", 90)], SMALL), (None, true));
        let patches = [(OTHER, "twp1-small", 90), (Sha256::OF_NOTHING, "twp1-small", 600)];
        assert_eq!(fetched(&patches, SMALL).0, Some((Form::Compressed, 600)));
    }

    #[test]
    fn what_needs_more_memory_or_is_of_an_unknown_format_is_not_fetched() {
        let patches = [(OWN, "twp1-large", 80), (OWN, "twp1-small", 90), (OWN, "twp2", 70)];
        assert_eq!(fetched(&patches, SMALL).0, Some((Form::Patch, 90)));
        assert_eq!(fetched(&patches, 8 * SMALL).0, Some((Form::Patch, 80)));
        assert_eq!(fetched(&patches, SMALL - 1), (None, false));
    }

    #[test]
    fn the_running_image_is_looked_at_only_if_that_may_help() {
        let compressed = (Sha256::OF_NOTHING, "twp1-small", 60);
        assert!(!fetched(&[compressed, (OWN, "twp1-small", 90)], SMALL).1);
        assert!(!fetched(&[compressed], SMALL).1);
    }
}
