//! Blinks, and follows the channel of the project.
//!
//! The device (Wi-Fi, updates, REST API and page, Improv over serial) is the crate
//! `towline_device`; what is here is the application.
#![no_std]
#![no_main]

use embassy_sync::{blocking_mutex::raw::CriticalSectionRawMutex, signal::Signal};
use embassy_time::Timer;
use esp_hal::gpio::{Flex, OutputConfig};
use log::info;
use towline_device::{Handle, Reason};

/// Whether the application works, or what does not.
static WORKS: Signal<CriticalSectionRawMutex, Result<(), &'static str>> = Signal::new();

#[esp_hal::main]
fn main() -> ! {
    // First: an update that does not get further is undone.
    towline_device::start!(device, peripherals);
    // Every chip has this pin; many boards have their LED at another one.
    let led = Flex::new(peripherals.GPIO2);
    device.run(|spawner, handle| {
        spawner.spawn(blink(led, handle).expect("one task"));
        // The self-test: a new image is kept only if this says `Ok` in time, and
        // the channel is reached. Extend it by what your devices must never lose.
        WORKS.wait()
    })
}

/// Blinks, twice as fast while the channel has something else than what runs.
#[embassy_executor::task]
async fn blink(mut led: Flex<'static>, device: Handle) -> ! {
    led.apply_output_config(&OutputConfig::default());
    led.set_output_enable(true);
    led.set_input_enable(true);
    let project = device.project();
    info!("{} {}: {} blinks", project.name, project.version, device.hostname());
    let mut follows = true;
    for is_lit in [true, false] {
        led.set_level(is_lit.into());
        Timer::after_millis(10).await;
        follows &= led.is_high() == is_lit;
    }
    WORKS.signal(follows.then_some(()).ok_or("the pin of the LED does not follow"));
    loop {
        led.toggle();
        let offered = device.offered().and_then(|offered| offered.reason);
        let is_up_to_date = matches!(offered, None | Some(Reason::UpToDate));
        Timer::after_millis(if is_up_to_date { 500 } else { 250 }).await;
    }
}
