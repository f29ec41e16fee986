//! Towline's publisher: builds ESP32 firmware, records releases, renders the
//! site with its channels and its page, and checks it as its clients will use
//! it.
//!
//! ```text
//! towline.toml -> plan -> build -> image -> record -> channel -> site (staged) -> check -> swap
//!   config        plan    build    image    release   channel    site             check    disk
//!                                              |                  ^
//!                                              +----- store ------+
//! ```
//!
//! What is decided is decided in pure functions ([`plan`], [`release::admit`],
//! [`channel::Channels::serves`], [`site::render`]); commands act at the edge.
//! The binary is thin: a project's own xtask can call [`cli::run`].

/// Prints a result. std's macro of this name panics when the reader of a pipe
/// has gone; see [`ui::print`].
macro_rules! print {
    ($($text:tt)*) => { $crate::ui::print(format_args!($($text)*), "") };
}

/// Prints a line of a result; see [`ui::print`].
macro_rules! println {
    ($($text:tt)*) => { $crate::ui::print(format_args!($($text)*), "\n") };
}

pub mod build;
pub mod channel;
pub mod check;
pub mod cli;
mod commands;
pub mod config;
pub mod demo;
pub mod disk;
pub mod flash;
pub mod fleet;
#[cfg(feature = "github")]
pub mod github;
pub mod image;
pub mod installer;
pub mod keys;
pub mod merge;
pub mod name;
pub mod notes;
pub mod patch;
pub mod placement;
pub mod plan;
pub mod project;
pub mod publish;
pub mod push;
pub mod receipt;
pub mod release;
pub mod rollout;
#[cfg(feature = "new")]
pub mod scaffold;
pub mod serve;
pub mod signing;
pub mod site;
pub mod source;
pub mod store;
mod svg;
pub mod toolchain;
pub mod tools;
pub mod ui;
mod unpanicked;
pub mod virt;
mod workflow;
