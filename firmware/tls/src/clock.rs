//! The time of day, which certificates are checked against.

use crate::built::EARLIEST;
use core::sync::atomic::{AtomicU32, Ordering};
use embassy_time::Instant;
use mbedtls_rs_sys::{
    hook::{
        backend::embassy::timer::EmbassyTimer,
        timer::hook_timer,
        wall_clock::{MbedtlsWallClock, hook_wall_clock},
    },
    tm,
};

/// The time at which the device started, in seconds since 1970; 0 while it is
/// not known.
static STARTED: AtomicU32 = AtomicU32::new(0);

/// The time is before this firmware was made, or after 2106: a fault, or an
/// attempt to make an old certificate valid again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Implausible;

/// Sets the time, in seconds since 1970, as SNTP or a battery-backed clock tells
/// it. From then on the dates of certificates are checked.
///
/// # Errors
/// [`Implausible`]; the clock is as it was.
pub fn set(unix_time: u64) -> Result<(), Implausible> {
    let time = u32::try_from(unix_time).ok().filter(|time| *time >= EARLIEST).ok_or(Implausible)?;
    let uptime = u32::try_from(Instant::now().as_secs()).map_err(|_| Implausible)?;
    STARTED.store(time.checked_sub(uptime).ok_or(Implausible)?, Ordering::Relaxed);
    Ok(())
}

/// Returns the time in seconds since 1970; `None` while it is not set.
pub fn now() -> Option<u64> {
    let started = STARTED.load(Ordering::Relaxed);
    (started != 0).then(|| u64::from(started) + Instant::now().as_secs())
}

/// Gives mbedtls the time.
pub(crate) fn install() {
    static TIMER: EmbassyTimer = EmbassyTimer;
    static WALL: Wall = Wall;
    // SAFETY: both live for ever, and nothing of mbedtls runs before an
    // `Engine` exists, which calls this first.
    unsafe {
        hook_timer(Some(&TIMER));
        hook_wall_clock(Some(&WALL));
    }
}

/// The clock as mbedtls asks for it. While it is not set, mbedtls is told the
/// date of this firmware, for it refuses to look at a certificate without one;
/// what comes of the dates is then decided by `verify`.
struct Wall;

impl MbedtlsWallClock for Wall {
    fn instant(&self) -> Option<tm> {
        Some(broken_down(now().unwrap_or(u64::from(EARLIEST))))
    }
}

const DAY: u64 = 86_400;

/// Returns the calendar date of a time, in UTC.
fn broken_down(time: u64) -> tm {
    let (days, second) = (time / DAY, time % DAY);
    // Years start in March here, so that a leap day is the last of its year,
    // and are counted from the year 0: 400 of them have 146,097 days.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month + 2) / 5 + 1;
    let month = (month + 2) % 12;
    let year = era * 400 + year + u64::from(month < 2);
    let field = |value: u64| value as core::ffi::c_int;
    tm {
        tm_sec: field(second % 60),
        tm_min: field(second / 60 % 60),
        tm_hour: field(second / 3_600),
        tm_mday: field(day_of_month),
        tm_mon: field(month),
        tm_year: field(year) - 1_900,
        ..Default::default()
    }
}
