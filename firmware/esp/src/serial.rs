//! The console.

/// The peripherals of the console.
pub(crate) struct Peripherals;

macro_rules! peripherals {
    ($peripherals:ident) => {
        $crate::serial::Peripherals
    };
}
pub(crate) use peripherals;
