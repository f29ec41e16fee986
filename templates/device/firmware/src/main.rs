//! Blinks, and follows the channel of the project.
//!
//! The device (Wi-Fi, updates, REST API and page, Improv over serial) is the crate
//! `towline_device`; what is here is the application.
#![no_std]
#![no_main]

use embassy_sync::{blocking_mutex::raw::CriticalSectionRawMutex, signal::Signal};
use embassy_time::Timer;
use esp_hal::gpio::{Level, Output, OutputConfig};
use log::info;
use towline_device::{Handle, Reason};

/// Whether the application works, or what does not.
static WORKS: Signal<CriticalSectionRawMutex, Result<(), &'static str>> = Signal::new();

#[esp_hal::main]
fn main() -> ! {
    // First: an update that does not get further is undone.
    towline_device::start!(device, peripherals);
    // Every chip has this pin; many boards have their LED at another one.
    let led = Output::new(peripherals.GPIO2, Level::Low, OutputConfig::default());
    device.run(|spawner, handle| {
        spawner.spawn(blink(led, handle).expect("one task"));
        // The self-test: a new image is kept only if this says `Ok` in time, and
        // the channel is reached.
        WORKS.wait()
    })
}

/// Blinks, twice as fast while the channel has something else than what runs.
#[embassy_executor::task]
async fn blink(mut led: Output<'static>, device: Handle) -> ! {
    let project = device.project();
    info!("{} {}: {} blinks", project.name, project.version, device.hostname());
    // Look here at what your devices must never lose, such as a sensor that answers:
    // `Err("the sensor is silent")` takes them back to what ran before.
    WORKS.signal(Ok(()));
    loop {
        led.toggle();
        let offers_another =
            device.offered().is_some_and(|offered| offered.reason != Some(Reason::UpToDate));
        Timer::after_millis(if offers_another { 250 } else { 500 }).await;
    }
}
