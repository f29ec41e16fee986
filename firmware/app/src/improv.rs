//! Improv Wi-Fi over a serial line: an installer in the browser gives the
//! device its Wi-Fi network, right after it has written the firmware.
//!
//! ```text
//! serial bytes -> Parser -> Packet -> Command -> Provision (Wi-Fi, settings)
//!      ^            (among log output)                |
//!      +------------- frames: state, error, result <--+
//! ```
//!
//! ```text
//!          settings came              connected
//!  Ready ---------------> Provisioning ---------> Provisioned
//!    ^                         |                       |
//!    +---- could not connect --+                       |
//!    +--------------- connection lost -----------------+
//! ```
//!
//! Source of the protocol: <https://www.improv-wifi.com/serial/>, whose client
//! is `improv-wifi-serial-sdk`.

mod packet;
mod service;

pub use packet::{
    Command, CommandError, Error, Frame, MAX_DATA, Packet, Parser, Results, State, VERSION,
};
pub use service::{
    BadHostname, CannotConnect, DeviceInfo, MAX_NETWORKS, Network, Provision, Service, Text,
    is_hostname,
};
