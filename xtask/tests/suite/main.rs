//! Tests of the whole publisher: real commands on real folders, judged by
//! what users and devices receive.

mod check;
mod conditions;
mod demo;
mod device;
mod firmware;
#[cfg(target_os = "linux")]
mod flash;
#[cfg(feature = "github")]
mod github;
mod house;
mod installer;
mod keep;
mod keys;
mod merge;
mod nginx;
mod notes;
mod oracles;
mod output;
mod patch_by_hand;
mod patches;
mod paths;
mod policy;
mod program;
mod push;
mod release;
mod rollout;
mod scaffold;
mod signing;
mod site;
mod support;
mod tutorial;
mod wire;
#[cfg(feature = "github")]
mod workflows;
