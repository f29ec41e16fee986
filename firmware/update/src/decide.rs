//! Whether an offer is installed: a pure function with a reason for each
//! outcome.

use crate::descriptor::{Chip, Descriptor, Sha256, Version};
use core::{cmp::Ordering, fmt};

/// What a device knows of itself.
#[derive(Clone, Debug)]
pub struct Running<'a> {
    /// `project_name` of the running image.
    pub project: &'a str,
    /// Version of the running image; `None` if it is not semver, as that of a
    /// development build may be.
    pub version: Option<Version>,
    /// The chip.
    pub chip: Chip,
    /// Board variant; `None` for firmware that does not know its own.
    pub target: Option<&'a str>,
    /// Channel that the device follows; `None` if it knows only a URL.
    pub channel: Option<&'a str>,
    /// Lowest `secure_version` that may boot.
    pub secure_version: u32,
    /// Size in bytes of the slot that an update goes to.
    pub slot_size: u32,
}

/// What to do with an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Download and install this image.
    Install(Offer),
    /// Stay with what is running.
    Stay(Reason),
}

/// An image to install, as its descriptor describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Version.
    pub version: Version,
    /// Size in bytes.
    pub size: u32,
    /// SHA-256 of the whole image.
    pub sha256: Sha256,
}

/// Why nothing is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The offered version is the running one.
    UpToDate,
    /// The offered version comes before the running one.
    Downgrade,
    /// The offer is of another project.
    OtherProject,
    /// The offer is for another chip.
    OtherChip,
    /// The offer is for another board variant.
    OtherTarget,
    /// The descriptor is that of another channel.
    OtherChannel,
    /// The offered image may not boot here: anti-rollback.
    SecureVersion,
    /// The image is larger than the slot.
    TooLarge,
    /// The descriptor states no size and SHA-256 to verify against.
    Unverifiable,
    /// The offered release was tried here and rolled back.
    RolledBack,
    /// The offered image is installed and boots at the next reset.
    AwaitingReset,
}

/// Decides what to do with the offer of a descriptor.
///
/// Identity comes first, so that a foreign descriptor is called foreign
/// whatever its version is. Order of versions is semver precedence: an equal
/// version is never installed again, a lower one never at all.
pub fn decide(running: &Running<'_>, offered: &Descriptor<'_>) -> Decision {
    match refusal(running, offered) {
        Err(reason) => Decision::Stay(reason),
        Ok(offer) => Decision::Install(offer),
    }
}

fn refusal(running: &Running<'_>, offered: &Descriptor<'_>) -> Result<Offer, Reason> {
    let unless = |ok: bool, reason| if ok { Ok(()) } else { Err(reason) };
    unless(offered.project.is_none_or(|project| project == running.project), Reason::OtherProject)?;
    let chip_is_stated = offered.chip.is_some() || offered.chip_id.is_some();
    unless(!chip_is_stated || offered.chip() == Some(running.chip), Reason::OtherChip)?;
    unless(agree(offered.target, running.target), Reason::OtherTarget)?;
    unless(agree(offered.channel, running.channel), Reason::OtherChannel)?;
    if let Some(version) = &running.version {
        match offered.version.precedence(version) {
            Ordering::Greater => {}
            Ordering::Equal => return Err(Reason::UpToDate),
            Ordering::Less => return Err(Reason::Downgrade),
        }
    }
    unless(
        offered.secure_version.is_none_or(|version| version >= running.secure_version),
        Reason::SecureVersion,
    )?;
    let (Some(size), Some(sha256)) = (offered.size, offered.sha256) else {
        return Err(Reason::Unverifiable);
    };
    unless(size <= running.slot_size, Reason::TooLarge)?;
    Ok(Offer { version: offered.version.clone(), size, sha256 })
}

/// Returns whether two names agree, as far as both are known.
fn agree(offered: Option<&str>, own: Option<&str>) -> bool {
    match (offered, own) {
        (Some(offered), Some(own)) => offered == own,
        _ => true,
    }
}

impl Reason {
    /// Returns whether the same offer meets the same answer until the device is
    /// reset.
    pub(crate) fn lasts_until_reset(self) -> bool {
        self != Self::AwaitingReset
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UpToDate => "up to date",
            Self::Downgrade => "the channel offers an older version",
            Self::OtherProject => "the offer is of another project",
            Self::OtherChip => "the offer is for another chip",
            Self::OtherTarget => "the offer is for another board variant",
            Self::OtherChannel => "the descriptor is that of another channel",
            Self::SecureVersion => "the offered image is barred by anti-rollback",
            Self::TooLarge => "the offered image is larger than the slot",
            Self::Unverifiable => "the descriptor states no size and SHA-256",
            Self::RolledBack => "this release was rolled back here; waiting for a newer one",
            Self::AwaitingReset => "installed, and boots at the next reset",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(version: &str) -> Running<'static> {
        Running {
            project: "lamp",
            version: version.parse().ok(),
            chip: Chip::Esp32c3,
            target: Some("desk"),
            channel: Some("stable"),
            secure_version: 2,
            slot_size: 1000,
        }
    }

    fn offer(version: &str) -> Descriptor<'static> {
        Descriptor {
            version: version.parse().unwrap(),
            path: "https://example.org/a.bin",
            fmt: Some(1),
            project: Some("lamp"),
            target: Some("desk"),
            channel: Some("stable"),
            chip: Some("esp32c3"),
            chip_id: Some(5),
            size: Some(1000),
            sha256: Some(Sha256([1; 32])),
            secure_version: Some(2),
            seq: None,
            issued: None,
            expires: None,
            min_from: None,
            steps: Default::default(),
            rollout: Default::default(),
            policy: Default::default(),
            notes: None,
            patches: Default::default(),
        }
    }

    fn installs(decision: &Decision) -> bool {
        matches!(decision, Decision::Install(_))
    }

    #[test]
    fn only_a_higher_version_is_installed() {
        for (own, offered, expected) in [
            ("1.0.0", "1.0.1", None),
            ("1.0.0-rc.2", "1.0.0-rc.10", None),
            ("1.0.0-rc.10", "1.0.0", None),
            ("v1.0.0", "1.0.1", None),
            ("1.0.0", "1.0.0", Some(Reason::UpToDate)),
            ("1.0.0", "v1.0.0+build.7", Some(Reason::UpToDate)),
            ("1.0.1", "1.0.0", Some(Reason::Downgrade)),
            ("1.0.0", "1.0.0-rc.1", Some(Reason::Downgrade)),
        ] {
            let decision = decide(&running(own), &offer(offered));
            match expected {
                None => assert!(installs(&decision), "{own} -> {offered}"),
                Some(reason) => assert_eq!(decision, Decision::Stay(reason), "{own} -> {offered}"),
            }
        }
    }

    #[test]
    fn a_running_version_that_is_not_semver_is_replaced() {
        assert!(installs(&decide(&running("dirty"), &offer("0.0.1"))));
    }

    #[test]
    fn every_refusal_has_its_reason() {
        type Change = fn(&mut Descriptor<'static>);
        let changes: [(Reason, Change); 8] = [
            (Reason::OtherProject, |d| d.project = Some("fan")),
            (Reason::OtherChip, |d| d.chip_id = Some(9)),
            (Reason::OtherChip, |d| (d.chip_id, d.chip) = (None, Some("esp99"))),
            (Reason::OtherTarget, |d| d.target = Some("wall")),
            (Reason::OtherChannel, |d| d.channel = Some("testing")),
            (Reason::SecureVersion, |d| d.secure_version = Some(1)),
            (Reason::TooLarge, |d| d.size = Some(1001)),
            (Reason::Unverifiable, |d| d.sha256 = None),
        ];
        for (reason, change) in &changes {
            let mut descriptor = offer("1.0.1");
            assert!(installs(&decide(&running("1.0.0"), &descriptor)));
            change(&mut descriptor);
            assert_eq!(decide(&running("1.0.0"), &descriptor), Decision::Stay(*reason));
        }
    }
}
