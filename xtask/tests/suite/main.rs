//! Tests of the whole publisher: real commands on real folders, judged by
//! what users and devices receive.

mod device;
mod firmware;
mod house;
mod oracles;
mod push;
mod release;
mod site;
mod support;
