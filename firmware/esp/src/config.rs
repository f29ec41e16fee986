//! What the firmware was built for: `cargo xtask build` takes it from
//! `towline.toml`; builds without it have what `.cargo/config.toml` says.
//! `build.rs` lists the variables, so that a change of one is seen.

use alloc::format;
use alloc::string::String;
use core::time::Duration;
#[cfg(signed_channels)]
use towline::Trust;

/// Returns the variable of the build, or its default.
macro_rules! variable {
    ($name:literal, $default:expr) => {
        match option_env!($name) {
            Some(value) => value,
            None => $default,
        }
    };
}

/// The project that a firmware is of, as its image names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Project {
    /// Its name.
    pub name: &'static str,
    /// The version that runs.
    pub version: &'static str,
}

impl Project {
    /// Names the project.
    ///
    /// # Panics
    /// If the firmware was built with the root of another one: it would believe
    /// nothing that its own channels say.
    #[doc(hidden)]
    pub const fn new(name: &'static str, version: &'static str) -> Self {
        #[cfg(signed_channels)]
        assert!(
            is_same(name.as_bytes(), env!("TOWLINE_ROOT_PROJECT").as_bytes()),
            "TOWLINE_ROOT names the root of another project; the name of this package has to be \
             `project` in towline.toml"
        );
        Self { name, version }
    }
}

/// `==` of texts, for constants.
#[cfg(signed_channels)]
const fn is_same(one: &[u8], other: &[u8]) -> bool {
    match (one, other) {
        ([], []) => true,
        ([a, one @ ..], [b, other @ ..]) => *a == *b && is_same(one, other),
        _ => false,
    }
}

/// Where the project publishes, ending in a slash.
pub const BASE_URL: &str = env!("TOWLINE_BASE_URL");

/// Names of the project's channels, separated by commas.
const CHANNELS: &str = env!("TOWLINE_CHANNELS");

/// The target that this is built for.
pub const TARGET: &str = variable!("TOWLINE_TARGET", esp_hal::chip!());

/// Host of the time server.
pub(crate) const NTP_HOST: &str = variable!("TOWLINE_NTP_HOST", "pool.ntp.org");

/// Time that a new image has to prove itself.
pub(crate) const TRIAL: Duration = {
    let seconds = number(variable!("TOWLINE_TRIAL_SECONDS", "90"));
    assert!(30 <= seconds && seconds <= 600, "TOWLINE_TRIAL_SECONDS: expected 30 to 600");
    Duration::from_secs(seconds)
};

/// Sockets of the application.
pub(crate) const APP_SOCKETS: usize = number(variable!("TOWLINE_APP_SOCKETS", "0")) as usize;

/// About when this was built, in seconds since 1970: the time of the commit if
/// the build is reproducible.
pub(crate) const BUILT: u64 = number(variable!("SOURCE_DATE_EPOCH", "1767225600"));

/// Minutes that local time is ahead of UTC, unless a setting says otherwise.
pub(crate) const UTC_OFFSET: i16 =
    match i16::from_str_radix(variable!("TOWLINE_UTC_OFFSET_MINUTES", "0"), 10) {
        Ok(minutes) if is_utc_offset(minutes) => minutes,
        _ => panic!("TOWLINE_UTC_OFFSET_MINUTES: expected -720 to 840"),
    };

/// Returns whether a place on Earth has its clocks that many minutes ahead of
/// UTC.
pub(crate) const fn is_utc_offset(minutes: i16) -> bool {
    -12 * 60 <= minutes && minutes <= 14 * 60
}

/// What this trusts: the root that it was built with, and those that are
/// published after it. Without a root, it has no code for signatures either.
#[cfg(signed_channels)]
pub(crate) type Trusts = Trust<'static>;
#[cfg(not(signed_channels))]
pub(crate) type Trusts = ();

#[cfg(signed_channels)]
pub(crate) const TRUST: Trusts = Trust {
    root: include_bytes!(concat!(env!("OUT_DIR"), "/root.json")),
    roots: concat!(env!("TOWLINE_BASE_URL"), "root/"),
    verify: towline::ed25519,
};
#[cfg(not(signed_channels))]
pub(crate) const TRUST: Trusts = ();

/// Payload of the root that this was built with; without one, no signatures are
/// verified.
#[cfg(signed_channels)]
pub const ROOT: Option<&[u8]> = Some(TRUST.root);
#[cfg(not(signed_channels))]
#[expect(missing_docs, reason = "the same")]
pub const ROOT: Option<&[u8]> = None;

const _: () = assert!(
    !BASE_URL.is_empty() && BASE_URL.as_bytes()[BASE_URL.len() - 1] == b'/',
    "TOWLINE_BASE_URL: expected a URL that ends in a slash"
);

const fn number(digits: &str) -> u64 {
    match u64::from_str_radix(digits, 10) {
        Ok(number) => number,
        Err(_) => panic!(
            "expected a whole number in TOWLINE_TRIAL_SECONDS, TOWLINE_APP_SOCKETS and \
             SOURCE_DATE_EPOCH"
        ),
    }
}

/// Returns the channels in the project's order.
pub fn channels() -> impl Iterator<Item = &'static str> {
    CHANNELS.split(',')
}

/// Returns the channel of this name.
pub(crate) fn channel(name: &str) -> Option<&'static str> {
    channels().find(|channel| *channel == name)
}

/// Returns the channel that a device follows before another is chosen.
pub(crate) fn default_channel() -> &'static str {
    channels().next().unwrap_or(CHANNELS)
}

/// Returns the URL of a channel's descriptor for this target.
pub(crate) fn descriptor_url(channel: &str) -> String {
    format!("{BASE_URL}ota/{channel}/{TARGET}.json")
}
