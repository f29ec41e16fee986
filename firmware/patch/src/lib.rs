//! Patches of ESP32 firmware images.
#![no_std]
#![forbid(unsafe_code)]
