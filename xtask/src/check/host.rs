//! Whether a site fits the host that it is for.

use super::{Code, Files, Finding};
use crate::site::{Index, size_text};
use std::collections::BTreeMap;

/// What a host takes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Host {
    name: &'static str,
    /// How the names of its sites end.
    domain: &'static str,
    /// Files of a folder that are for no other host.
    files: &'static [&'static str],
    /// The most bytes of a site.
    max_site: Option<u64>,
    /// The most bytes of a file.
    max_file: Option<u64>,
    /// The most files, if nobody pays for more.
    max_files: Option<usize>,
    /// The bytes a month from which on it asks its users to send less.
    max_month: Option<u64>,
}

/// Those with limits that they publish:
/// <https://docs.github.com/en/pages/getting-started-with-github-pages/github-pages-limits>,
/// <https://developers.cloudflare.com/pages/platform/limits/> and
/// <https://docs.gitlab.com/user/gitlab_com/#gitlab-pages>.
const HOSTS: [Host; 3] = [
    Host {
        name: "GitHub Pages",
        domain: ".github.io",
        files: &[],
        max_site: Some(1 << 30),
        max_file: None,
        max_files: None,
        max_month: Some(100_000_000_000),
    },
    Host {
        name: "Cloudflare Pages",
        domain: ".pages.dev",
        files: &["_routes.json", "_worker.js", "wrangler.json", "wrangler.jsonc", "wrangler.toml"],
        max_site: None,
        max_file: Some(25 << 20),
        max_files: Some(20_000),
        max_month: None,
    },
    Host {
        name: "GitLab Pages",
        domain: ".gitlab.io",
        files: &[],
        max_site: Some(1 << 30),
        max_file: None,
        max_files: Some(200_000),
        max_month: None,
    },
];

/// Returns the name of the host of a URL, if it is a known one, and the bytes that
/// it sends in a month, if it limits them.
pub(crate) fn monthly_limit(url: &str) -> Option<(&'static str, Option<u64>)> {
    Host::of_url(url).map(|host| (host.name, host.max_month))
}

impl Host {
    /// Returns the host of a URL, if it is one of these.
    pub(super) fn of_url(url: &str) -> Option<&'static Self> {
        let (_, rest) = url.split_once("://")?;
        let name = rest.split(['/', ':']).next()?.to_ascii_lowercase();
        HOSTS.iter().find(|host| name.ends_with(host.domain))
    }

    /// Returns the host that a folder is made for, if one of its files tells.
    pub(super) fn of_folder(has: impl Fn(&str) -> bool) -> Option<&'static Self> {
        HOSTS.iter().find(|host| host.files.iter().any(|file| has(file)))
    }
}

/// Returns the files of a folder that are deployed, each with its size.
pub(super) fn in_folder<'a>(
    files: &impl Files,
    all: impl IntoIterator<Item = &'a String>,
) -> BTreeMap<&'a str, u64> {
    // What Git keeps beside is not.
    let deployed = all.into_iter().filter(|path| !path.starts_with(".git"));
    deployed.filter_map(|path| Some((path.as_str(), files.size(path)?))).collect()
}

/// Returns the files that an index lists, each with its size.
pub(super) fn listed(index: &Index) -> BTreeMap<&str, u64> {
    let targets = index.releases.iter().flat_map(|release| &release.targets);
    let artifacts = targets
        .flat_map(|target| target.files().chain(target.patches.iter().map(|patch| &patch.file)));
    let artifacts = artifacts.filter_map(|file| Some((file.path.as_deref()?, file)));
    let others = index.files.iter().map(|(path, file)| (path.as_str(), file));
    artifacts.chain(others).map(|(path, file)| (path, file.size.into())).collect()
}

/// Finds what a host would not take. `is_kept_small` says whether old releases make
/// room for new ones.
pub(super) fn check(host: &Host, files: &BTreeMap<&str, u64>, is_kept_small: bool) -> Vec<Finding> {
    let name = host.name;
    let mut found = Vec::new();
    let sum: u64 = files.values().sum();
    let largest = files.iter().max_by_key(|(_, size)| **size);
    if let (Some(max), Some((path, _))) = (host.max_site, largest) {
        let code = match sum {
            sum if sum > max => Some(Code::SiteTooLarge),
            sum if sum > max / 5 * 4 && !is_kept_small => Some(Code::SiteNearlyFull),
            _ => None,
        };
        let message = || {
            let (sum, max) = (size_text(sum), size_text(max));
            format!("is the largest file of a site of {sum}; {name} takes {max}")
        };
        found.extend(code.map(|code| code.of(*path, message())));
    }
    if let Some(max) = host.max_file {
        let large = files.iter().filter(|(_, size)| **size > max);
        found.extend(large.map(|(path, size)| {
            let (size, max) = (size_text(*size), size_text(max));
            Code::HostFileTooLarge.of(*path, format!("has {size}; {name} takes files of {max}"))
        }));
    }
    if let Some(max) = host.max_files
        && let Some(path) = files.keys().nth(max)
    {
        let message = format!("is one of {} files; {name} takes {max}", files.len());
        found.push(Code::TooManyFiles.of(*path, message));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_told_by_its_name_or_its_files() {
        let of = |url| Host::of_url(url).map(|host| host.name);
        assert_eq!(of("https://anna.github.io/lamp/"), Some("GitHub Pages"));
        assert_eq!(of("https://Lamp.Pages.dev:443"), Some("Cloudflare Pages"));
        assert_eq!(of("https://anna.gitlab.io/lamp/"), Some("GitLab Pages"));
        for unknown in ["https://lamp.org/a.github.io/", "https://localhost/", "x.github.io"] {
            assert_eq!(of(unknown), None, "{unknown}");
        }
        let cloudflare = Host::of_folder(|file| file == "wrangler.toml").unwrap();
        assert_eq!(cloudflare.name, "Cloudflare Pages");
        // Several hosts read these.
        for file in ["CNAME", "_headers"] {
            assert_eq!(Host::of_folder(|of_site| of_site == file), None);
        }
    }

    #[test]
    fn what_fits_exactly_is_taken() {
        let names: Vec<_> = (0..20_001).map(|number| format!("{number:06}")).collect();
        let codes = |host: &Host, sizes: &[u64], is_kept_small| -> Vec<_> {
            let files = names.iter().map(String::as_str).zip(sizes.iter().copied()).collect();
            let found = check(host, &files, is_kept_small);
            found.into_iter().map(|finding| (finding.code, finding.place.file)).collect()
        };
        let [github, cloudflare, gitlab] = &HOSTS;
        let whole = 1 << 30;
        assert_eq!(codes(github, &[1, whole - 1], true), []);
        let second = |code| (code, "000001".to_owned());
        assert_eq!(codes(github, &[2, whole - 1], true), [second(Code::SiteTooLarge)]);
        assert_eq!(codes(github, &[1, whole - 1], false), [second(Code::SiteNearlyFull)]);
        assert_eq!(codes(github, &[whole / 5 * 4], false), []);
        assert_eq!(codes(cloudflare, &[25 << 20], false), []);
        let large = [0, (25 << 20) + 1];
        assert_eq!(codes(cloudflare, &large, false), [second(Code::HostFileTooLarge)]);
        assert_eq!(codes(cloudflare, &[0; 20_000], false), []);
        assert_eq!(codes(gitlab, &[0; 20_001], false), []);
        let expected = [(Code::TooManyFiles, "020000".to_owned())];
        assert_eq!(codes(cloudflare, &[0; 20_001], false), expected);
        assert_eq!(codes(cloudflare, &[], false), []);
    }
}
