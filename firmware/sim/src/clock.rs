//! Time for the host device.

use std::{
    cell::Cell,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use towline::Clock;

/// The time of the host. Waiting blocks.
#[derive(Debug)]
pub struct HostClock(Instant);

impl HostClock {
    /// Starts at zero.
    pub fn new() -> Self {
        Self(Instant::now())
    }
}

impl Default for HostClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for HostClock {
    fn uptime(&self) -> Duration {
        self.0.elapsed()
    }

    fn unix_time(&self) -> Option<u64> {
        SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|time| time.as_secs())
    }

    async fn wait(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

/// A time that only passes when somebody waits, or looks.
#[derive(Debug, Default)]
pub struct Counted {
    now: Cell<Duration>,
    /// What passes each time that somebody looks.
    pub per_look: Duration,
    unix_start: Option<u64>,
}

impl Counted {
    /// Starts at this time in seconds since 1970, if it is known.
    pub fn at(unix_start: Option<u64>) -> Self {
        Self { unix_start, ..Self::default() }
    }
}

impl Clock for Counted {
    fn uptime(&self) -> Duration {
        let now = self.now.get();
        self.now.set(now + self.per_look);
        now
    }

    fn unix_time(&self) -> Option<u64> {
        Some(self.unix_start? + self.now.get().as_secs())
    }

    async fn wait(&self, time: Duration) {
        self.now.set(self.now.get() + time);
    }
}
