//! Waits between attempts that fail.

use embassy_time::Duration;
use esp_hal::rng::Rng;

/// Doubles from a first wait to a longest one. Each is shortened by up to a
/// quarter, at random, so that devices that lost the same host do not come back
/// together.
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first }
    }

    /// Returns how long to wait now.
    pub(crate) fn next(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(self.longest);
        let quarter = (wait.as_millis() / 4).max(1);
        wait - Duration::from_millis(u64::from(Rng::new().random()) % quarter)
    }

    /// Begins anew after a success.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }
}
