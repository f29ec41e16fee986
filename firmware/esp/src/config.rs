//! What the firmware was built for: `cargo xtask build` takes it from
//! `towline.toml`; builds without it have the defaults of
//! `.cargo/config.toml`.

use alloc::format;
use alloc::string::String;
use core::time::Duration;
#[cfg(signed_channels)]
use towline::Trust;

/// Where the project publishes, ending in a slash.
pub(crate) const BASE_URL: &str = env!("TOWLINE_BASE_URL");

/// Names of the project's channels, separated by commas.
const CHANNELS: &str = env!("TOWLINE_CHANNELS");

/// The target that this is built for.
pub(crate) const TARGET: &str = match option_env!("TOWLINE_TARGET") {
    Some(target) => target,
    None => esp_hal::chip!(),
};

/// Host of the time server.
pub(crate) const NTP_HOST: &str = env!("TOWLINE_NTP_HOST");

/// Time that a new image has to prove itself.
pub(crate) const TRIAL: Duration = {
    let seconds = number(env!("TOWLINE_TRIAL_SECONDS"));
    assert!(30 <= seconds && seconds <= 600, "TOWLINE_TRIAL_SECONDS: expected 30 to 600");
    Duration::from_secs(seconds)
};

/// About when this was built, in seconds since 1970: the time of the commit if
/// the build is reproducible.
pub(crate) const BUILT: u64 = match option_env!("SOURCE_DATE_EPOCH") {
    Some(seconds) => number(seconds),
    None => 1_767_225_600,
};

/// Minutes that local time is ahead of UTC, unless a setting says otherwise.
pub(crate) const UTC_OFFSET: i16 = match i16::from_str_radix(env!("TOWLINE_UTC_OFFSET_MINUTES"), 10)
{
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

const _: () = assert!(
    !BASE_URL.is_empty() && BASE_URL.as_bytes()[BASE_URL.len() - 1] == b'/',
    "TOWLINE_BASE_URL: expected a URL that ends in a slash"
);

const fn number(digits: &str) -> u64 {
    match u64::from_str_radix(digits, 10) {
        Ok(number) => number,
        Err(_) => panic!("expected a whole number in TOWLINE_TRIAL_SECONDS and SOURCE_DATE_EPOCH"),
    }
}

/// Returns the channels in the project's order.
pub(crate) fn channels() -> impl Iterator<Item = &'static str> {
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
