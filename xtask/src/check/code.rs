//! All kinds of findings. Codes are stable: scripts and configurations name them.

use super::Severity;
use serde::{Serialize, Serializer};
use std::{fmt, str::FromStr};

/// The list of all pages.
pub const INDEX: &str = include_str!("../../docs/check.md");

/// Makes the codes from their names; each has a page below `docs/check`.
macro_rules! codes {
    ($($severity:ident { $($name:ident = $code:literal,)* })*) => {
        /// A kind of finding.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code {
            $($(
                #[doc = include_str!(concat!("../../docs/check/", $code, ".md"))]
                $name,
            )*)*
        }

        impl Code {
            /// All of them.
            pub const ALL: &[Self] = &[$($(Self::$name,)*)*];

            /// Returns its name.
            pub const fn as_str(self) -> &'static str {
                match self { $($(Self::$name => $code,)*)* }
            }

            /// Returns how much it matters.
            pub const fn severity(self) -> Severity {
                match self { $($(Self::$name => Severity::$severity,)*)* }
            }

            /// Returns its page: what is wrong, what happens and how to mend it.
            pub const fn page(self) -> &'static str {
                match self {
                    $($(Self::$name => include_str!(concat!("../../docs/check/", $code, ".md")),)*)*
                }
            }
        }
    };
}

codes! {
    Error {
        IndexInvalid = "index-invalid",
        FileMissing = "file-missing",
        FileUnreadable = "file-unreadable",
        FileTooLarge = "file-too-large",
        HostUnreachable = "host-unreachable",
        Redirect = "redirect",
        AbsenceAnswered = "absence-answered",
        PathOutside = "path-outside",
        PageMissing = "page-missing",
        SizeDiffers = "size-differs",
        HashDiffers = "hash-differs",
        NotListed = "not-listed",
        StrayFile = "stray-file",
        DescriptorInvalid = "descriptor-invalid",
        DescriptorVersion = "descriptor-version",
        DescriptorPath = "descriptor-path",
        DescriptorImage = "descriptor-image",
        ReleaseUnknown = "release-unknown",
        YankedServed = "yanked-served",
        TermsDiffer = "terms-differ",
        StepInvalid = "step-invalid",
        UpdateRefused = "update-refused",
        UpdateLoop = "update-loop",
        SimulationDiffers = "simulation-differs",
        ManifestInvalid = "manifest-invalid",
        ManifestVersion = "manifest-version",
        ManifestParts = "manifest-parts",
        RootInvalid = "root-invalid",
        RootMissing = "root-missing",
        RootDiffers = "root-differs",
        KeyFileDiffers = "key-file-differs",
        DescriptorUnsigned = "descriptor-unsigned",
        RoleMissing = "role-missing",
        SignatureInvalid = "signature-invalid",
        DatedAhead = "dated-ahead",
        Expired = "expired",
        ExpiresSoon = "expires-soon",
        ArtifactSignature = "artifact-signature",
        SumsDiffer = "sums-differ",
        ImageMalformed = "image-malformed",
        ImageTruncated = "image-truncated",
        ImageChecksum = "image-checksum",
        ImageHash = "image-hash",
        AppDescriptor = "app-descriptor",
        ChipMismatch = "chip-mismatch",
        ProjectMismatch = "project-mismatch",
        VersionMismatch = "version-mismatch",
        SecureVersionMismatch = "secure-version-mismatch",
        SlotTooSmall = "slot-too-small",
        SlotSizeDiffers = "slot-size-differs",
        PartMissing = "part-missing",
        PartMisplaced = "part-misplaced",
        PartsOverlap = "parts-overlap",
        PartitionOverlap = "partition-overlap",
        PartitionTooSmall = "partition-too-small",
        PartitionTableInvalid = "partition-table-invalid",
        SettingsOverwritten = "settings-overwritten",
        BootloaderOffset = "bootloader-offset",
        BeyondFlash = "beyond-flash",
        OtadataNotBlank = "otadata-not-blank",
        AppDiffers = "app-differs",
        FactoryDiffers = "factory-differs",
        ChipFamilyUnknown = "chip-family-unknown",
        ImageShared = "image-shared",
        LinkBroken = "link-broken",
        LinkInsecure = "link-insecure",
        Md5Differs = "md5-differs",
        NotAnApp = "not-an-app",
        OtadataMissing = "otadata-missing",
        PartUnaligned = "part-unaligned",
        PathRelative = "path-relative",
        OwnSecretKey = "own-secret-key",
        SecretKey = "secret-key",
        KeysInRepository = "keys-in-repository",
        PublishedUnreadable = "published-unreadable",
        Gone = "gone",
        Unyanked = "unyanked",
        Unpaused = "unpaused",
        SignatureGone = "signature-gone",
        SequenceBackwards = "sequence-backwards",
        ImageSegmentPlace = "image-segment-place",
        SlotsGap = "slots-gap",
        SecureVersionFalls = "secure-version-falls",
        HtmlInstead = "html-instead",
        LengthMissing = "length-missing",
        ContentEncoded = "content-encoded",
        CorsMissing = "cors-missing",
        CertificateUntrusted = "certificate-untrusted",
        CertificateName = "certificate-name",
        CertificateExpired = "certificate-expired",
        TlsTooOld = "tls-too-old",
        Token = "token",
        WifiCredentials = "wifi-credentials",
        SiteTooLarge = "site-too-large",
        HostFileTooLarge = "host-file-too-large",
        DescriptorPatch = "descriptor-patch",
        PatchBroken = "patch-broken",
    }
    Warning {
        RecordedSecretKey = "recorded-secret-key",
        DeadEnd = "dead-end",
        MutableName = "mutable-name",
        VersionNotSemver = "version-not-semver",
        SlotNearlyFull = "slot-nearly-full",
        SlotsUnequal = "slots-unequal",
        RollbackMissing = "rollback-missing",
        RollbackHalf = "rollback-half",
        InstallerErases = "installer-erases",
        ImprovUnknown = "improv-unknown",
        ManifestBuildUnreachable = "manifest-build-unreachable",
        OtaPathOdd = "ota-path-odd",
        VersionNotInImage = "version-not-in-image",
        OtadataKept = "otadata-kept",
        OtadataBroken = "otadata-broken",
        DataOverwritten = "data-overwritten",
        SingleSlot = "single-slot",
        ChannelOrder = "channel-order",
        ChannelPath = "channel-path",
        CertificateExpiresSoon = "certificate-expires-soon",
        CacheLong = "cache-long",
        RedirectLong = "redirect-long",
        RangeMissing = "range-missing",
        RecordedToken = "recorded-token",
        ClientKey = "client-key",
        LicenceMissing = "licence-missing",
        SiteNearlyFull = "site-nearly-full",
        TooManyFiles = "too-many-files",
        PatchBaseMissing = "patch-base-missing",
    }
    Note {
        AllowUnused = "allow-unused",
        IndexFieldUnknown = "index-field-unknown",
        NotChecked = "not-checked",
        Unauthenticated = "unauthenticated",
        YankedAhead = "yanked-ahead",
        ManifestDeprecated = "manifest-deprecated",
        PartitionTableUnhashed = "partition-table-unhashed",
        EtagMissing = "etag-missing",
        BuildPath = "build-path",
    }
}

/// A text that is no code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownCode(String);

impl fmt::Display for UnknownCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no code of a finding", self.0)?;
        let names: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        match similar::get_close_matches(self.0.as_str(), &names, 1, 0.6).first() {
            Some(name) => write!(f, "; did you mean `{name}`?"),
            None => write!(f, "; `cargo xtask check --explain` lists all"),
        }
    }
}

impl std::error::Error for UnknownCode {}

impl FromStr for Code {
    type Err = UnknownCode;

    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        let known = Self::ALL.iter().find(|code| code.as_str() == text);
        known.copied().ok_or_else(|| UnknownCode(text.to_owned()))
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl Code {
    /// Returns what is wrong in general.
    pub fn title(self) -> &'static str {
        self.page().lines().next().unwrap_or_default().trim_start_matches("# ")
    }

    /// Returns what it does to people or devices, in short.
    pub fn what_happens(self) -> String {
        self.section("## What happens")
    }

    /// Returns what to do about it, in short.
    pub fn how_to_mend_it(self) -> String {
        self.section("## How to mend it")
    }

    /// Returns the first paragraph of a section of the page, on one line.
    fn section(self, head: &str) -> String {
        let lines = self.page().lines().skip_while(|line| *line != head).skip(2);
        lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn every_code_has_its_page_and_every_page_its_code() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/check");
        let pages = docs.read_dir().unwrap().map(|entry| entry.unwrap().file_name());
        let mut pages: Vec<_> = pages.map(|name| name.into_string().unwrap()).collect();
        let mut expected: Vec<_> = Code::ALL.iter().map(|code| format!("{code}.md")).collect();
        pages.sort();
        expected.sort();
        assert_eq!(pages, expected);
        for code in Code::ALL {
            let page = code.page();
            assert!(page.starts_with("# ") && page.ends_with(".\n"), "{code}");
            let heads: Vec<_> = page.lines().filter(|line| line.starts_with('#')).skip(1).collect();
            assert_eq!(heads, ["## What happens", "## How to mend it"], "{code}");
            for text in [code.what_happens(), code.how_to_mend_it()] {
                assert!(text.ends_with('.') && text.len() > 20, "{code}: {text:?}");
            }
        }
    }

    #[test]
    fn the_index_lists_exactly_the_codes() {
        let rows: Vec<_> = INDEX.lines().filter(|line| line.starts_with("| [")).collect();
        let row = |code: &Code| {
            let severity = code.severity().as_str();
            format!("| [`{code}`](check/{code}.md) | {severity} | {} |", code.title())
        };
        assert_eq!(rows, Code::ALL.iter().map(row).collect::<Vec<_>>());
    }

    #[test]
    fn names_are_read_back_and_near_ones_are_told() {
        for code in Code::ALL {
            assert_eq!(code.as_str().parse(), Ok(*code));
        }
        let told = |text: &str| text.parse::<Code>().unwrap_err().to_string();
        assert!(told("chip_mismatch").ends_with("did you mean `chip-mismatch`?"));
        assert!(told("xyz").ends_with("`cargo xtask check --explain` lists all"));
    }
}
