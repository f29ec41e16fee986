//! Rules of sites that Towline did not make: pure functions over the facts of a site.
//! Those on tables and versions hold on its own sites, too.

pub(super) mod channels;
mod documents;
mod flash;
mod installer;
pub(super) mod rollback;
mod settings;
pub(super) mod table;
mod versions;

use super::{Finding, discover::Document, foreign::Site};
use std::collections::BTreeSet;

/// Checks all of a site.
pub(super) fn all(site: &Site<'_>) -> Vec<Finding> {
    let mut found = documents::check(site);
    found.extend(flash::check(site));
    found.extend(versions::check(site));
    found
}

/// Returns the texts that rules look for in firmware.
pub(super) fn texts(documents: &[Document]) -> BTreeSet<&str> {
    documents.iter().flat_map(installer::texts).collect()
}
