//! When to ask again: pure functions from what happened, and a random number,
//! to a time.
//!
//! ```text
//! waits for its time of day, or its date -> within that time
//! passing fault                          -> 30 s, doubled up to 480 s
//! fault of the host, or of the download  -> 30 s, doubled up to the period
//! all else                               -> the period
//! ```
//!
//! A fleet that lost its host, or that got its power back, must not come back
//! in step: every time here is spread.

use crate::{
    decide::{Reason, second_of_day},
    descriptor::{Policy, Priority, Window},
    trust::TrustError,
    update::UpdateError,
};
use core::time::Duration;

/// Time between two polls, unless the application says otherwise.
pub const DEFAULT_PERIOD: Duration = Duration::from_secs(24 * 60 * 60);

/// Most time that passes between the start and the first poll.
pub const FIRST_POLL: Duration = Duration::from_secs(60);

const FIRST_BACKOFF: Duration = Duration::from_secs(30);
const LAST_BACKOFF: Duration = Duration::from_secs(480);

/// Time within which a fleet takes a release that waited for a date alone.
const RUSH: u64 = 60 * 60;

const DAY: u64 = 24 * 60 * 60;

/// Returns how long to wait after the start before the first poll: up to
/// [`FIRST_POLL`].
pub fn first_poll(random: u32) -> Duration {
    part(FIRST_POLL, random)
}

/// Returns how long to wait before the next poll: `period`, a tenth of it more
/// or less.
pub fn next_poll(period: Duration, random: u32) -> Duration {
    let spread = period / 10;
    period - spread + part(spread * 2, random)
}

/// Returns how long to wait after the `failures`-th failure in a row: 30 s,
/// doubled each time up to 480 s, of which a random half to the whole.
pub fn backoff(failures: u32, random: u32) -> Duration {
    backoff_up_to(LAST_BACKOFF, failures, random)
}

fn backoff_up_to(most: Duration, failures: u32, random: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(20);
    let longest = (FIRST_BACKOFF * (1 << doublings)).min(most);
    longest / 2 + part(longest / 2, random)
}

/// Returns how long to wait after a poll that installed nothing. `times` are
/// those of the [`Check`](crate::Check), `now` is the time in seconds since
/// 1970, and local time is `utc_offset` minutes ahead of UTC.
///
/// A device that asks once a day would hardly ever ask in the one hour in which
/// it may install: what waits for its time is asked for then. It is never asked
/// for later than without that.
pub fn after_stay(
    reason: Reason,
    times: &Times,
    now: Option<u64>,
    utc_offset: i16,
    period: Duration,
    random: u32,
) -> Duration {
    let usual = next_poll(period, random);
    match now {
        Some(now) if matches!(reason, Reason::NotYet | Reason::OutsideWindow) => {
            usual.min(times.within(now, utc_offset, random))
        }
        _ => usual,
    }
}

/// Returns how long to wait after a poll that failed, the `failures`-th in a
/// row.
///
/// What another try does not mend is tried once in a `period`: a host without
/// any key could otherwise have a device write the same bad image every few
/// minutes, until its flash is worn out. For the same reason downloads that
/// never end are tried less and less often.
pub fn after_failure<F, N>(
    error: &UpdateError<F, N>,
    failures: u32,
    period: Duration,
    random: u32,
) -> Duration {
    match error {
        UpdateError::DescriptorFetch(error) | UpdateError::RootFetch(error)
            if error.is_passing() =>
        {
            backoff(failures, random)
        }
        UpdateError::Trust(TrustError::MoreRoots) => backoff(failures, random),
        UpdateError::DescriptorFetch(_)
        | UpdateError::RootFetch(_)
        | UpdateError::ImageFetch(_) => backoff_up_to(period, failures, random),
        UpdateError::Url(_)
        | UpdateError::Descriptor(_)
        | UpdateError::Trust(_)
        | UpdateError::Length
        | UpdateError::Ota(_) => next_poll(period, random),
    }
}

/// When a release may be installed, as far as its publisher limits that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// First second, since 1970.
    pub not_before: Option<u64>,
    /// Last second, since 1970.
    pub not_after: Option<u64>,
    /// Part of the local day.
    pub window: Option<Window>,
}

impl Times {
    /// Returns those of a release.
    pub fn of(policy: &Policy<'_>) -> Self {
        Self {
            not_before: policy.not_before,
            not_after: policy.not_after,
            window: policy.window.filter(|_| policy.priority != Priority::Urgent),
        }
    }

    /// Returns how long it is from `now` to a moment in the next of these
    /// times.
    fn within(&self, now: u64, utc_offset: i16, random: u32) -> Duration {
        let from = self.not_before.map_or(now, |from| from.max(now));
        let (begin, length) = match self.window {
            None => (from, RUSH),
            Some(window) => {
                let day = i64::from(Window::DAY);
                let minutes = (i64::from(window.end) - i64::from(window.start)).rem_euclid(day) + 1;
                let length = minutes as u64 * 60;
                let start = u64::from(window.start) * 60;
                // Since the window last opened.
                let passed = (second_of_day(from, utc_offset) + DAY - start) % DAY;
                if passed < length {
                    (from, length - passed)
                } else {
                    (from.saturating_add(DAY - passed), length)
                }
            }
        };
        let length = match self.not_after {
            Some(until) => length.min(until.saturating_sub(begin)),
            None => length,
        };
        // Not to its end: clocks differ, and asking takes a while.
        let spread = part(Duration::from_secs(length) * 9 / 10, random);
        Duration::from_secs(begin - now).saturating_add(spread)
    }
}

/// Returns the part of `whole` that `random` is of `u32::MAX`.
fn part(whole: Duration, random: u32) -> Duration {
    let millis = whole.as_millis() as u64 * u64::from(random) / u64::from(u32::MAX);
    Duration::from_millis(millis)
}

/// A small generator for spreading times (splitmix32). It is no source of
/// secrets.
#[derive(Clone, Debug)]
pub struct Jitter(u32);

impl Jitter {
    /// Starts with a seed that differs from device to device, such as a true
    /// random number or a part of the MAC address.
    pub fn new(seed: u32) -> Self {
        Self(seed)
    }

    /// Returns the next number.
    pub fn draw(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9);
        let mut z = self.0;
        z = (z ^ (z >> 16)).wrapping_mul(0x21F0_AAAD);
        z = (z ^ (z >> 15)).wrapping_mul(0x735A_2D97);
        z ^ (z >> 15)
    }
}

#[cfg(test)]
mod tests;
