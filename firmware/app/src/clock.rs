//! Time, for deadlines.

use core::{future::Future, time::Duration};
use embassy_futures::select::{Either, select};

/// Tells the time since start-up, and waits.
#[expect(async_fn_in_trait, reason = "one executor runs everything on a device")]
pub trait Clock {
    /// Returns the time since start-up.
    fn uptime(&self) -> Duration;

    /// Waits.
    async fn wait(&self, time: Duration);
}

/// Runs `task` for at most `limit`; `None` if it was not done by then.
pub(crate) async fn within<C: Clock, T>(
    clock: &C,
    limit: Duration,
    task: impl Future<Output = T>,
) -> Option<T> {
    match select(task, clock.wait(limit)).await {
        Either::First(output) => Some(output),
        Either::Second(()) => None,
    }
}
