//! Firmware that does nothing, in images that are sound.

pub(crate) use towline_sim::sample::app_image;

/// The partition table of the demo firmware: two slots of 1856 KiB.
pub(crate) const PARTITIONS: &str = "\
nvs,       data, nvs,   0x9000,   0x4000
otadata,   data, ota,   0xd000,   0x2000
phy_init,  data, phy,   0xf000,   0x1000
ota_0,     app,  ota_0, 0x10000,  0x1d0000
ota_1,     app,  ota_1, 0x1e0000, 0x1d0000
";
