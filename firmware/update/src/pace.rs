//! Limits on the time that a download may take.

use crate::clock::Clock;
use core::{fmt, future::Future, pin::pin, time::Duration};
use embassy_futures::select::{Either, select};

/// What a download has to keep to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest time without a byte, connecting included.
    pub silence: Duration,
    /// Lowest rate in bytes a second, over each [`Limits::window`]. Time in
    /// which nobody reads, for flash is written, does not count.
    pub min_rate: u32,
    /// Time over which the rate is taken.
    pub window: Duration,
    /// Longest time for all of it: every attempt, and the time between them.
    pub deadline: Duration,
    /// Most attempts in a row that bring no byte.
    pub attempts: u32,
    /// Most redirects in a row.
    pub redirects: u8,
    /// Whether a redirect may lead to another host.
    pub other_hosts: bool,
}

impl Limits {
    /// What suits an image over Wi-Fi: 30 s of silence, 256 bytes a second,
    /// 5 attempts, 3 redirects on the same host, and 30 minutes in all.
    pub const DEFAULT: Self = Self {
        silence: Duration::from_secs(30),
        min_rate: 256,
        window: Duration::from_secs(30),
        deadline: Duration::from_secs(30 * 60),
        attempts: 5,
        redirects: 3,
        other_hosts: false,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Which limit was passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// Nothing came for too long.
    Silent,
    /// Too few bytes came.
    Slow,
    /// All of it took too long.
    Deadline,
}

/// Keeps a download to its [`Limits`].
#[derive(Debug)]
pub struct Pace<'c, C> {
    clock: &'c C,
    limits: Limits,
    end: Duration,
    window_start: Duration,
    window_bytes: u32,
}

impl<'c, C: Clock> Pace<'c, C> {
    /// Starts the time.
    pub fn new(clock: &'c C, limits: Limits) -> Self {
        let now = clock.uptime();
        Self {
            clock,
            limits,
            end: now.saturating_add(limits.deadline),
            window_start: now,
            window_bytes: 0,
        }
    }

    /// Starts taking the rate anew: a new connection.
    pub fn begin(&mut self) {
        self.window_start = self.clock.uptime();
        self.window_bytes = 0;
    }

    /// Waits for `future`, as long as silence may last.
    ///
    /// # Errors
    /// [`Late::Silent`] and [`Late::Deadline`].
    pub async fn within<T>(&self, future: impl Future<Output = T>) -> Result<T, Late> {
        let (time, late) = self.left(self.limits.silence, Late::Silent)?;
        match select(pin!(future), pin!(self.clock.wait(time))).await {
            Either::First(output) => Ok(output),
            Either::Second(()) => Err(late),
        }
    }

    /// Waits that long, for another attempt.
    ///
    /// # Errors
    /// [`Late::Deadline`] if the time ends before, at once.
    pub async fn rest(&self, time: Duration) -> Result<(), Late> {
        let (left, _) = self.left(Duration::MAX, Late::Deadline)?;
        if left < time {
            return Err(Late::Deadline);
        }
        self.clock.wait(time).await;
        Ok(())
    }

    /// Counts bytes that came.
    ///
    /// # Errors
    /// [`Late::Slow`] and [`Late::Deadline`].
    pub fn took(&mut self, bytes: usize) -> Result<(), Late> {
        self.window_bytes = self.window_bytes.saturating_add(bytes as u32);
        self.left(Duration::MAX, Late::Deadline)?;
        let window = self.clock.uptime().saturating_sub(self.window_start);
        if window >= self.limits.window {
            let least = u64::from(self.limits.min_rate) * window.as_secs();
            if u64::from(self.window_bytes) < least {
                return Err(Late::Slow);
            }
            self.begin();
        }
        Ok(())
    }

    /// Leaves out of the rate the time that `work` takes: nobody reads
    /// meanwhile.
    pub fn aside<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let start = self.clock.uptime();
        let output = work();
        self.window_start += self.clock.uptime().saturating_sub(start);
        output
    }

    /// Returns how long to wait at most, and what passed then.
    fn left(&self, longest: Duration, late: Late) -> Result<(Duration, Late), Late> {
        match self.end.saturating_sub(self.clock.uptime()) {
            Duration::ZERO => Err(Late::Deadline),
            left if left < longest => Ok((left, Late::Deadline)),
            _ => Ok((longest, late)),
        }
    }
}

impl fmt::Display for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Silent => "the host went silent",
            Self::Slow => "the host is too slow",
            Self::Deadline => "the time for the download is over",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::Cell;

    struct Watch(Cell<Duration>);

    impl Watch {
        fn pass(&self, seconds: u64) {
            self.0.set(self.0.get() + Duration::from_secs(seconds));
        }
    }

    impl Clock for Watch {
        fn uptime(&self) -> Duration {
            self.0.get()
        }

        async fn wait(&self, time: Duration) {
            self.0.set(self.0.get() + time);
        }
    }

    #[test]
    fn time_in_which_flash_is_written_makes_no_host_slow() {
        let limits = Limits { min_rate: 100, ..Limits::DEFAULT };
        let clock = Watch(Cell::new(Duration::ZERO));
        let mut pace = Pace::new(&clock, limits);
        // 400 bytes in 4 s, and a minute of flash.
        for _ in 0..4 {
            pace.aside(|| clock.pass(15));
            clock.pass(1);
            assert_eq!(pace.took(100), Ok(()));
        }
        clock.pass(30);
        assert_eq!(pace.took(100), Err(Late::Slow));
    }

    #[test]
    fn time_in_which_flash_is_written_counts_for_all_of_it() {
        let clock = Watch(Cell::new(Duration::ZERO));
        let mut pace = Pace::new(&clock, Limits::DEFAULT);
        pace.aside(|| clock.pass(31 * 60));
        assert_eq!(pace.took(100_000), Err(Late::Deadline));
    }
}
