//! Attacks on a device, each tried on the real client.
//!
//! | attacks         | what                                | where        |
//! |-----------------|-------------------------------------|--------------|
//! | 1 - 12          | transport, over real TLS            | `transport`  |
//! | 13 - 26         | descriptor                          | `descriptor` |
//! | 13 - 26, 30, 35 | descriptor of a signed channel      | `signed`     |
//! | 15 - 17, 20, 22 | roots, and what a device remembers  | `roots`      |
//! | 27 - 35         | image                               | `image`      |
//! | 36 - 40         | storage, and the hazards of otadata | `storage`    |
//!
//! Whatever a device meets, what runs must not be harmed: its bytes are the
//! same, any bootloader boots it, and it needs no confirmation. Where trying
//! again makes sense, a sound host gets the device up to date afterwards.
//!
//! A power cut at every flash operation, torn in every way (36), is the subject
//! of `powercut.rs`.

mod descriptor;
mod device;
mod host;
mod image;
mod policy;
mod project;
mod roots;
mod signed;
mod storage;
mod transport;
