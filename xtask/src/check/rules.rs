//! Rules of sites that Towline did not make: pure functions over the facts of a site.

mod documents;
mod flash;

use super::{Finding, foreign::Site};

/// Checks all of a site.
pub(super) fn all(site: &Site<'_>) -> Vec<Finding> {
    let mut found = documents::check(site);
    found.extend(flash::check(site));
    found
}
