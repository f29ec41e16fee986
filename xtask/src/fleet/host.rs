//! The host of a channel: how many requests it answers, and how fast it sends.

use super::{Load, World};
use std::{cmp::Reverse, collections::BinaryHeap};
use towline::http::HttpError;

/// Bytes of the head of an answer, as common static hosts send it.
pub(super) const HEAD: u64 = 900;

/// Why a request brought nothing.
pub(super) type Failure = HttpError<()>;

/// A host, whose bandwidth is shared evenly among those that download.
pub(super) struct Host<'w> {
    world: &'w World,
    /// Requests that it would still answer at this moment.
    tokens: f64,
    /// Bytes that each download that never ended would have got.
    served: f64,
    /// Milliseconds from the start.
    now: u64,
    /// Downloads under way by the value of [`Host::served`] at which they end.
    /// Numbers above zero have the order of their bits.
    ends: BinaryHeap<Reverse<(u64, Download)>>,
    active: u32,
    times: Vec<u64>,
    pub(super) load: Load,
}

/// The download of a device. A device that has lost one goes on with another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Download {
    pub(super) device: u32,
    pub(super) epoch: u32,
}

impl<'w> Host<'w> {
    pub(super) fn new(world: &'w World, times: Vec<u64>) -> Self {
        let span = world.fleet.span.seconds() as usize;
        let load = Load { requests: vec![0; span], bytes: vec![0; times.len()], ..Load::default() };
        Self {
            world,
            tokens: world.most_requests.unwrap_or(0).into(),
            served: 0.0,
            now: 0,
            ends: BinaryHeap::new(),
            active: 0,
            times,
            load,
        }
    }

    /// Takes a request, whose answer has a body of so many bytes.
    pub(super) fn request(&mut self, body: u64) -> Result<(), Failure> {
        if let Some(count) = self.load.requests.get_mut((self.now / 1000) as usize) {
            *count += 1;
        }
        if self.world.host_down.iter().any(|outage| outage.until(self.now).is_some()) {
            self.load.unanswered += 1;
            return Err(HttpError::Transport(()));
        }
        self.load.small_bytes += HEAD;
        if self.world.most_requests.is_some() {
            if self.tokens < 1.0 {
                self.load.refused += 1;
                return Err(HttpError::Status(429));
            }
            self.tokens -= 1.0;
        }
        self.load.small_bytes += body;
        Ok(())
    }

    /// Begins to send so many bytes. Returns what [`Host::stop`] needs.
    pub(super) fn start(&mut self, download: Download, bytes: u32) -> f64 {
        self.ends.push(Reverse(((self.served + f64::from(bytes)).to_bits(), download)));
        self.active += 1;
        self.load.most_at_once = self.load.most_at_once.max(self.active);
        self.served
    }

    /// Ends a download that began then. Returns the bytes that were sent.
    pub(super) fn stop(&mut self, began: f64) -> u32 {
        self.active -= 1;
        (self.served - began) as u32
    }

    /// Returns the next download that is done, and when. `is_under_way` tells
    /// those from the ones that were stopped.
    pub(super) fn next_end(
        &mut self,
        is_under_way: impl Fn(Download) -> bool,
    ) -> Option<(u64, Download)> {
        while let Some(Reverse((end, download))) = self.ends.peek().copied() {
            if is_under_way(download) {
                let left = (f64::from_bits(end) - self.served).max(0.0);
                return Some((self.now + (left / self.rate()).ceil() as u64, download));
            }
            self.ends.pop();
        }
        None
    }

    /// Lets time pass. Nothing begins or ends meanwhile.
    pub(super) fn advance(&mut self, now: u64) {
        if let Some(most) = self.world.most_requests {
            let passed = (now - self.now) as f64 / 1000.0;
            self.tokens = (self.tokens + passed * f64::from(most)).min(most.into());
        }
        let (mut from, rate) = (self.now, self.rate());
        while self.active > 0 && from < now {
            let tick = self.times.partition_point(|time| time * 1000 <= from);
            let end = self.times.get(tick).map_or(now, |time| (time * 1000).min(now));
            let bytes = (end - from) as f64 * rate * f64::from(self.active);
            self.load.bytes[tick.min(self.times.len() - 1)] += bytes as u64;
            from = end;
        }
        self.served += (now - self.now) as f64 * rate;
        self.now = now;
    }

    /// Returns the number of the count that comes next.
    pub(super) fn tick(&self) -> usize {
        self.times.partition_point(|time| time * 1000 < self.now)
    }

    /// Returns the bytes a millisecond that a download gets now.
    fn rate(&self) -> f64 {
        let own = self.world.device_rate as f64;
        let shared = self.world.bandwidth.map(|all| all as f64 / f64::from(self.active.max(1)));
        shared.map_or(own, |shared| shared.min(own)) / 1000.0
    }
}
