//! The few URLs that a device may be sent to.

use core::fmt;

/// An `https` URL in the plain form that every reader understands alike.
///
/// Accepted is `https://host[:port]/path` in ASCII. Refused is all that has
/// been used to make two readers disagree about where a URL leads: user
/// information, internationalised hosts, dot segments (also as `%2e`),
/// backslashes, queries and fragments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Url<'a> {
    text: &'a str,
    host: &'a str,
    port: u16,
    path: &'a str,
}

/// Why a URL is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UrlError {
    /// It does not start with `https://`.
    NotHttps,
    /// The host is empty or has characters other than letters, digits, dots
    /// and dashes.
    Host,
    /// The port is not a number from 1 to 65535.
    Port,
    /// The path is missing, has a dot segment, or a character that is not
    /// plain.
    Path,
}

impl<'a> Url<'a> {
    /// Parses an absolute URL.
    ///
    /// # Errors
    /// [`UrlError`], naming the part that is refused.
    pub fn parse(text: &'a str) -> Result<Self, UrlError> {
        let rest = text.strip_prefix("https://").ok_or(UrlError::NotHttps)?;
        let slash = rest.find('/').ok_or(UrlError::Path)?;
        let (authority, path) = rest.split_at(slash);
        let (host, port) = match authority.split_once(':') {
            Some((host, port)) => (host, parse_port(port)?),
            None => (authority, 443),
        };
        if !is_host(host) {
            return Err(UrlError::Host);
        }
        if !is_path(path) {
            return Err(UrlError::Path);
        }
        Ok(Self { text, host, port, path })
    }

    /// Returns the whole URL as it was written.
    pub fn as_str(&self) -> &'a str {
        self.text
    }

    /// Returns the host: a name or an IPv4 address.
    pub fn host(&self) -> &'a str {
        self.host
    }

    /// Returns the port, 443 where none was written.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the path with its leading slash.
    pub fn path(&self) -> &'a str {
        self.path
    }
}

fn parse_port(text: &str) -> Result<u16, UrlError> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    let port = if digits { text.parse().unwrap_or(0) } else { 0 };
    if port == 0 { Err(UrlError::Port) } else { Ok(port) }
}

fn is_host(host: &str) -> bool {
    host.len() <= 253
        && host.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                // A host that starts with xn-- is an internationalised one.
                && !label.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("xn--"))
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        })
}

fn is_path(path: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-._~+@=,".contains(&b);
    path.bytes().all(plain)
        && path.split('/').all(|segment| segment != "." && segment != "..")
        && !path.contains("//")
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotHttps => "not an https:// URL",
            Self::Host => "the host is not a plain name or IPv4 address",
            Self::Port => "the port is not a number from 1 to 65535",
            Self::Path => {
                "the path is missing or not plain (letters, digits, -._~+@=, and single slashes)"
            }
        })
    }
}

impl core::error::Error for UrlError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parts_are_found() {
        let url = Url::parse("https://example.org:8443/fw/a-1.bin").unwrap();
        assert_eq!((url.host(), url.port(), url.path()), ("example.org", 8443, "/fw/a-1.bin"));
        assert_eq!(Url::parse("https://10.0.2.2/").unwrap().port(), 443);
    }

    #[test]
    fn confusing_urls_are_refused() {
        use UrlError::{Host, NotHttps, Path, Port};
        for (text, error) in [
            ("http://example.org/", NotHttps),
            ("HTTPS://example.org/", NotHttps),
            ("https://example.org", Path),
            ("https://user@example.org/", Host),
            ("https://user:1@example.org/", Port),
            ("https:///x", Host),
            ("https://ex\u{e4}mple.org/", Host),
            ("https://xn--exmple-cua.org/", Host),
            ("https://[::1]/", Port),
            ("https://example.org:0/", Port),
            ("https://example.org:99999/", Port),
            ("https://example.org:/", Port),
            ("https://example.org/../x", Path),
            ("https://example.org/%2e%2e/x", Path),
            ("https://example.org/a\\b", Path),
            ("https://example.org/a?b", Path),
            ("https://example.org/a#b", Path),
            ("https://example.org/a b", Path),
            ("https://example.org//a", Path),
            ("https://example.org/a\r\nHost: x", Path),
        ] {
            assert_eq!(Url::parse(text), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_never_panics(text in "(https://)?.{0,40}") {
            let _ = Url::parse(&text);
        }
    }
}
