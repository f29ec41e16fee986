//! Attacks on a device, each tried on the real client.
//!
//! | attacks         | what                                | where        |
//! |-----------------|-------------------------------------|--------------|
//! | 1 - 12          | transport, over real TLS            | `transport`  |
//! | 13 - 26         | descriptor                          | `descriptor` |
//! | 13 - 26, 30, 35 | descriptor of a signed channel      | `signed`     |
//! | 15 - 17, 20, 22 | roots, and what a device remembers  | `roots`      |
//! | 27 - 35         | image                               | `image`      |
//! | 34              | patches                             | `patch`      |
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
mod patch;
mod policy;
mod project;
mod roots;
mod signed;
mod storage;
mod transport;

/// The documentation of what is covered names tests that are there.
#[test]
fn each_test_that_the_documentation_names_is_there() {
    let document = include_str!("../../../update/docs/security.md");
    let sources = [
        ("image", include_str!("image.rs")),
        ("patch", include_str!("patch.rs")),
        ("roots", include_str!("roots.rs")),
        ("signed", include_str!("signed.rs")),
        ("transport", include_str!("transport.rs")),
    ];
    let mut count = 0;
    for (module, test) in document.split('`').filter_map(|text| text.split_once("::")) {
        let Some((_, source)) = sources.iter().find(|(name, _)| *name == module) else { continue };
        assert!(source.contains(&format!("\nfn {test}() {{")), "{module}::{test}");
        count += 1;
    }
    assert!(count > 25, "only {count} tests are named");
}
