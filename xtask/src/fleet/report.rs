//! What a fleet asks of its host, in words and for machines.

use super::{Load, World, host::HEAD};
use crate::{
    check::monthly_limit,
    rollout::{self, Course, Duration, Fleet},
    ui,
};
use serde::Serialize;

/// Seconds that a host's month is taken to have.
const MONTH: u64 = 30 * 86_400;

/// What a host sends.
#[derive(Clone, Copy, Debug, Serialize)]
struct Traffic {
    /// Bytes of images within the course.
    images: u64,
    /// Bytes of images that patches saved.
    saved: u64,
    /// Bytes of everything else: those of the course, and the polls of the rest of a
    /// month, to which the answer is that nothing has changed.
    polls_a_month: u64,
}

impl Traffic {
    fn of(load: &Load, world: &World) -> Self {
        let Fleet { devices, period, span, offline, .. } = &world.fleet;
        let on = 1.0 - f64::from(offline.hundredths()) / 10_000.0;
        let rest = MONTH.saturating_sub(span.seconds()) as f64;
        let polls = f64::from(*devices) * on * rest / period.seconds().max(1) as f64;
        Self {
            images: load.image_bytes(),
            saved: load.saved,
            polls_a_month: load.small_bytes + (polls * HEAD as f64) as u64,
        }
    }

    fn month(self) -> u64 {
        self.images + self.polls_a_month
    }
}

/// Lists what the host of a site has to do, beside what it can do.
pub fn table(course: &Course, load: &Load, world: &World, base_url: &str) -> String {
    let mean = mean(load);
    let (second, most) = load.busiest();
    let p99 = load.percentile(0.99);
    let traffic = Traffic::of(load, world);
    let limited = |limit: Option<u32>| limit.map_or(String::new(), |n| format!("{n} a second"));
    let at = Duration::from_seconds(second as u64);
    let mut rows = vec![
        ["", "THIS FLEET", "ITS HOST"].map(String::from),
        ["requests a second, mean".into(), format!("{mean:.2}"), limited(world.most_requests)],
        ["  in 99 of 100 seconds at most".into(), ratio(p99, mean), String::new()],
        ["  in the busiest".into(), format!("{}, after {at}", ratio(most, mean)), String::new()],
        ["refused with 429".into(), load.refused.to_string(), String::new()],
    ];
    let mut row = |what: &str, value: String, limit: String| rows.push([what.into(), value, limit]);
    if load.unanswered > 0 {
        row("not answered", load.unanswered.to_string(), String::new());
    }
    let bandwidth =
        world.bandwidth.map(|bytes| format!("{} in all", rate(bytes))).unwrap_or_default();
    let (at, fastest) = fastest(course, load);
    row("downloads", load.downloads.to_string(), String::new());
    row("  at once at most", load.most_at_once.to_string(), String::new());
    row("  broken off, and gone on", load.broken_off.to_string(), String::new());
    let at = Duration::from_seconds(at);
    row("fastest sent", format!("{}, after {at}", rate(fastest)), bandwidth);
    if load.failed_self_test > 0 {
        row("back after a failed self-test", load.failed_self_test.to_string(), String::new());
    }
    if load.failed_trial > 0 {
        row("back, the channel was not reached", load.failed_trial.to_string(), String::new());
    }
    row("sent: images", giga(traffic.images), String::new());
    if load.saved > 0 {
        row("  saved by patches", giga(load.saved), String::new());
    }
    row("sent: all polls of a month", giga(traffic.polls_a_month), String::new());
    let (host, limit) = monthly_limit(base_url).unwrap_or(("", None));
    let limit = limit.map_or(String::new(), |limit| {
        let percent = traffic.month() as f64 * 100.0 / limit as f64;
        format!("{host} wants at most {} a month: {percent:.0} %", giga(limit))
    });
    row("a month with this release", giga(traffic.month()), limit);
    ui::table(&rows)
}

fn mean(load: &Load) -> f64 {
    load.all_requests() as f64 / load.requests.len().max(1) as f64
}

fn ratio(count: u32, mean: f64) -> String {
    format!("{count} ({:.1} x the mean)", f64::from(count) / mean.max(f64::MIN_POSITIVE))
}

/// Returns the bytes a second that were sent between two counts at most, and when.
fn fastest(course: &Course, load: &Load) -> (u64, u64) {
    let spans = course.times.windows(2).zip(load.bytes.iter().skip(1));
    let rates = spans.map(|(span, bytes)| (span[0], bytes / (span[1] - span[0]).max(1)));
    rates.max_by_key(|(at, rate)| (*rate, std::cmp::Reverse(*at))).unwrap_or_default()
}

/// Writes bytes as hosts count them, in powers of ten.
fn giga(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

/// Writes bytes a second as lines are sold, in bits.
fn rate(bytes: u64) -> String {
    match bytes * 8 {
        bits @ 0..1_000_000_000 => format!("{:.1} Mbit/s", bits as f64 / 1e6),
        bits => format!("{:.2} Gbit/s", bits as f64 / 1e9),
    }
}

/// A course with its load, for machines.
#[derive(Serialize)]
pub struct Report<'a> {
    course: rollout::Report<'a>,
    requests: Requests,
    traffic: Traffic,
    downloads: u64,
    broken_off: u64,
    most_downloads_at_once: u32,
    /// Bytes a second, and the second from which on they were sent.
    fastest: (u64, u64),
    failed_self_test: u32,
    failed_trial: u32,
    /// Bytes of images that were sent up to each sample, from the one before.
    bytes: &'a [u64],
}

#[derive(Serialize)]
struct Requests {
    all: u64,
    refused: u64,
    unanswered: u64,
    /// In a second.
    mean: f64,
    p99: u32,
    most: u32,
    /// The second from the start that had the most.
    busiest: usize,
}

impl<'a> Report<'a> {
    /// Makes the report.
    pub fn of(course: &'a Course, load: &'a Load, world: &World) -> Self {
        let (busiest, most) = load.busiest();
        let (at, rate) = fastest(course, load);
        Self {
            course: rollout::Report::of(course),
            requests: Requests {
                all: load.all_requests(),
                refused: load.refused,
                unanswered: load.unanswered,
                mean: mean(load),
                p99: load.percentile(0.99),
                most,
                busiest,
            },
            traffic: Traffic::of(load, world),
            downloads: load.downloads,
            broken_off: load.broken_off,
            most_downloads_at_once: load.most_at_once,
            fastest: (rate, at),
            failed_self_test: load.failed_self_test,
            failed_trial: load.failed_trial,
            bytes: &load.bytes,
        }
    }
}
