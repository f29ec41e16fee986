//! When to ask again: pure functions from a random number to a time.
//!
//! A fleet that lost its host, or that got its power back, must not come back
//! in step: every time here is spread.

use core::time::Duration;

/// Time between two polls, unless the application says otherwise.
pub const DEFAULT_PERIOD: Duration = Duration::from_secs(24 * 60 * 60);

/// Most time that passes between the start and the first poll.
pub const FIRST_POLL: Duration = Duration::from_secs(60);

const FIRST_BACKOFF: Duration = Duration::from_secs(30);
const LAST_BACKOFF: Duration = Duration::from_secs(480);

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
    let doublings = failures.saturating_sub(1).min(4);
    let longest = (FIRST_BACKOFF * (1 << doublings)).min(LAST_BACKOFF);
    longest / 2 + part(longest / 2, random)
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
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_from_30_to_480_seconds() {
        let longest = [30, 30, 60, 120, 240, 480, 480].map(Duration::from_secs);
        for (failures, longest) in (0..).zip(longest) {
            assert_eq!(backoff(failures, u32::MAX), longest);
            assert_eq!(backoff(failures, 0), longest / 2);
        }
        assert_eq!(backoff(u32::MAX, u32::MAX), Duration::from_secs(480));
    }

    #[test]
    fn polls_are_spread_over_a_fifth_of_the_period() {
        let period = Duration::from_secs(1000);
        assert_eq!(next_poll(period, 0), Duration::from_secs(900));
        assert_eq!(next_poll(period, u32::MAX), Duration::from_secs(1100));
        assert_eq!(first_poll(u32::MAX), FIRST_POLL);
    }

    #[test]
    fn devices_with_different_seeds_do_not_come_in_step() {
        let mut times: std::vec::Vec<_> =
            (0..1000).map(|seed| backoff(5, Jitter::new(seed).draw())).collect();
        times.sort();
        let quarters = [times[250], times[500], times[750]].map(|time| time.as_secs());
        assert!((290..310).contains(&quarters[0]), "{quarters:?}");
        assert!((350..370).contains(&quarters[1]), "{quarters:?}");
        assert!((410..430).contains(&quarters[2]), "{quarters:?}");
    }
}
