//! The machine timer, which counts from the reset, and the real-time clock.

use super::read;
const RTC_LOW: usize = 0x0010_1000;
const RTC_HIGH: usize = RTC_LOW + 4;
const NANOSECONDS: u64 = 1_000_000_000;

/// Returns the time in seconds since 1970, from the host.
pub fn unix_time() -> u64 {
    // Reading the low half holds the high one.
    let low = u64::from(read::<u32>(RTC_LOW));
    (u64::from(read::<u32>(RTC_HIGH)) << 32 | low) / NANOSECONDS
}

/// Returns the instructions that ran since the machine was switched on. They
/// are counted if the emulator runs with `-icount`.
pub fn instructions() -> u64 {
    riscv::register::minstret::read64()
}

#[cfg(feature = "device")]
mod driver {
    use super::read;
    use core::task::Waker;
    use embassy_time_driver::Driver;

    const MTIME: usize = 0x0200_BFF8;
    const MTIME_HZ: u64 = 10_000_000;

    struct Timer;

    impl Driver for Timer {
        fn now(&self) -> u64 {
            loop {
                let high = read::<u32>(MTIME + 4);
                let low = read::<u32>(MTIME);
                if read::<u32>(MTIME + 4) == high {
                    let ticks = u64::from(high) << 32 | u64::from(low);
                    return ticks / (MTIME_HZ / embassy_time_driver::TICK_HZ);
                }
            }
        }

        fn schedule_wake(&self, _: u64, _: &Waker) {
            // The app polls without pause: nothing needs to be woken.
        }
    }

    embassy_time_driver::time_driver_impl!(static TIMER: Timer = Timer);
}
