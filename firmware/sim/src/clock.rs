//! Time for the host device.

use std::{
    cell::Cell,
    time::{Duration, Instant},
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
}

impl Clock for Counted {
    fn uptime(&self) -> Duration {
        let now = self.now.get();
        self.now.set(now + self.per_look);
        now
    }

    async fn wait(&self, time: Duration) {
        self.now.set(self.now.get() + time);
    }
}
