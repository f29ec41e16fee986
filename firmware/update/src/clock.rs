//! What the client needs to know of time.

use core::time::Duration;

/// A monotonic clock, and waiting by it.
///
/// On a chip this is a few lines on `embassy-time`; on the host it is
/// `std::time`; in tests it is a number.
#[expect(async_fn_in_trait, reason = "one executor, one thread: no Send needed on a chip")]
pub trait Clock {
    /// Returns the time since some fixed moment, such as the start. It never
    /// goes back.
    fn uptime(&self) -> Duration;

    /// Returns the time in seconds since 1970, if it is known. Without it,
    /// nothing expires, and what is for a certain time waits.
    fn unix_time(&self) -> Option<u64> {
        None
    }

    /// Waits that long. A wait that is dropped is over.
    async fn wait(&self, time: Duration);
}

impl<C: Clock> Clock for &C {
    fn uptime(&self) -> Duration {
        C::uptime(self)
    }

    fn unix_time(&self) -> Option<u64> {
        C::unix_time(self)
    }

    async fn wait(&self, time: Duration) {
        C::wait(self, time).await;
    }
}
