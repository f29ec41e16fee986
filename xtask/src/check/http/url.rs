//! URLs as browsers and devices put them together.

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// What cannot stand in a request as it is.
const UNFIT: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'`');

/// Returns where a link leads that stands in the document at `base`.
pub(in crate::check) fn join(base: &str, link: &str) -> String {
    let link = link.split('#').next().unwrap_or_default();
    if is_whole(link) {
        return encoded(link);
    }
    let start = origin(base).len();
    if let (Some(rest), Some((scheme, _))) = (link.strip_prefix("//"), base.split_once("//")) {
        return encoded(&format!("{scheme}//{rest}"));
    }
    let (link, query) = match link.split_once('?') {
        Some((link, query)) => (link, format!("?{query}")),
        None => (link, String::new()),
    };
    let whole = base[start..].split(['?', '#']).next().unwrap_or_default();
    let path = if link.is_empty() { whole.to_owned() } else { below(folder(whole), link) };
    encoded(&format!("{}/{}{query}", &base[..start], path.trim_start_matches('/')))
}

/// Returns whether a link is a whole URL: it starts with a scheme.
pub(in crate::check) fn is_whole(link: &str) -> bool {
    let is_of_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    link.split_once("://")
        .is_some_and(|(scheme, _)| !scheme.is_empty() && scheme.bytes().all(is_of_scheme))
}

/// Returns the path that a link leads to from a folder; no path leads above the top. A
/// slash at its end stays.
pub(in crate::check) fn below(folder: &str, link: &str) -> String {
    let folder = if link.starts_with('/') { "" } else { folder };
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(link.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let is_folder = ["", ".", ".."].contains(&link.rsplit('/').next().unwrap_or_default());
    parts.join("/") + if is_folder && !parts.is_empty() { "/" } else { "" }
}

/// Returns the folder that a path is in.
pub(in crate::check) fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Returns scheme, host and port.
pub(in crate::check) fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + "://".len());
    let end = url[host..].find(['/', '?', '#']).map_or(url.len(), |at| host + at);
    &url[..end]
}

/// Returns a path as it is on disk.
pub(in crate::check) fn decoded(path: &str) -> String {
    percent_decode_str(path).decode_utf8_lossy().into_owned()
}

/// Returns a URL as it is asked for.
fn encoded(url: &str) -> String {
    utf8_percent_encode(url, UNFIT).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_joined_as_in_a_browser() {
        let base = "https://a.example:8443/lamp/web/manifest.json?v=1";
        for (link, expected) in [
            ("a.bin", "https://a.example:8443/lamp/web/a.bin"),
            ("../ota/./a b.bin?v=2#x", "https://a.example:8443/lamp/ota/a%20b.bin?v=2"),
            ("a%20b.bin", "https://a.example:8443/lamp/web/a%20b.bin"),
            ("../../../a.bin", "https://a.example:8443/a.bin"),
            ("/a.bin", "https://a.example:8443/a.bin"),
            ("..", "https://a.example:8443/lamp/"),
            ("//b.example/a.bin", "https://b.example/a.bin"),
            ("http://b.example/a.bin", "http://b.example/a.bin"),
            ("a.bin?from=http://b", "https://a.example:8443/lamp/web/a.bin?from=http://b"),
            ("?v=2", "https://a.example:8443/lamp/web/manifest.json?v=2"),
        ] {
            assert_eq!(join(base, link), expected, "{link}");
        }
        assert_eq!(join("https://a.example", "a.bin"), "https://a.example/a.bin");
        assert_eq!(join("https://a.example/lamp/", ""), "https://a.example/lamp/");
        assert_eq!(origin("https://a.example?x"), "https://a.example");
        assert_eq!(decoded("web/a%20b%C3%A9.bin"), "web/a bé.bin");
    }
}
