//! The board as tools meet it.

mod faults;
mod firmware;
mod loader;
mod talk;
