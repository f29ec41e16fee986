//! Who may do what: the protections of every request, as pure functions.
//!
//! | attack | protection |
//! |---|---|
//! | anybody on the network | bearer token; without one no change is possible |
//! | guessing a token byte by byte | digests are compared in constant time |
//! | a web page that posts to the device | `Sec-Fetch-Site`, `Origin`, media type, token in a header |
//! | a name that is made to point here (DNS rebinding) | `Host` has to be an address or a name of the device |
//! | a length that is missing or too large | refused before anything is erased |

use super::{
    http::{Length, Method, Request},
    refusal::Refusal,
};
use core::{fmt, net::Ipv4Addr};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Fewest bytes of a token.
pub const MIN_TOKEN: usize = 16;

/// What a request has to show to change something: kept as a digest, so that
/// who reads the settings of a device does not learn it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Token([u8; 32]);

/// A token is shorter than [`MIN_TOKEN`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenTooShort;

impl fmt::Display for TokenTooShort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a token has at least {MIN_TOKEN} characters")
    }
}

impl core::error::Error for TokenTooShort {}

impl Token {
    /// Takes a secret.
    ///
    /// # Errors
    /// If it is shorter than [`MIN_TOKEN`]: it could be guessed.
    pub fn new(secret: &str) -> Result<Self, TokenTooShort> {
        if secret.len() < MIN_TOKEN { Err(TokenTooShort) } else { Ok(Self::digest(secret)) }
    }

    /// Takes the SHA-256 of a secret, as it was kept.
    pub const fn from_digest(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// Returns the SHA-256 of the secret, to be kept.
    pub const fn as_digest(&self) -> &[u8; 32] {
        &self.0
    }

    fn digest(secret: &str) -> Self {
        Self(Sha256::digest(secret).into())
    }

    fn is(&self, secret: &str) -> bool {
        self.0.ct_eq(&Self::digest(secret).0).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// What a route takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    /// No body.
    Nothing,
    /// JSON of at most this many bytes.
    Json(u32),
    /// An image of at most this many bytes.
    Image(u32),
}

/// Refuses a request that was not sent to this device by its name or address.
pub(crate) fn check_host(
    request: &Request<'_>,
    answers_to: impl Fn(&str) -> bool,
) -> Result<(), Refusal> {
    let host = request.host.ok_or(Refusal::NO_HOST)?;
    let name = without_port(host);
    if is_address(name) || name.eq_ignore_ascii_case("localhost") || answers_to(name) {
        Ok(())
    } else {
        Err(Refusal::FOREIGN_HOST)
    }
}

/// Returns whether no name server is asked for this: a name ends in a word that
/// is no number, and has no colon.
fn is_address(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(v6) => {
            v6.contains(':')
                && v6.bytes().all(|byte| byte.is_ascii_hexdigit() || b":.".contains(&byte))
        }
        None => host.parse::<Ipv4Addr>().is_ok(),
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Refuses a request that would change something and may not; returns the
/// length of its body.
pub(crate) fn admit(
    request: &Request<'_>,
    token: Option<&Token>,
    takes: Takes,
) -> Result<u32, Refusal> {
    debug_assert_eq!(request.method, Method::Post);
    if request.fetch_site.is_some_and(|site| site != "same-origin" && site != "none") {
        return Err(Refusal::CROSS_SITE);
    }
    if request.origin.is_some_and(|origin| !is_own(origin, request.host)) {
        return Err(Refusal::CROSS_SITE);
    }
    let token = token.ok_or(Refusal::NO_TOKEN_SET)?;
    let shown = request.authorization.and_then(|value| value.split_once(' '));
    match shown {
        Some((scheme, secret)) if scheme.eq_ignore_ascii_case("bearer") => {
            if !token.is(secret.trim()) {
                return Err(Refusal::WRONG_TOKEN);
            }
        }
        _ => return Err(Refusal::NO_TOKEN),
    }
    let (media_type, most) = match takes {
        Takes::Nothing => {
            return match request.length {
                Length::Missing | Length::Stated(0) => Ok(0),
                _ => Err(Refusal::NO_BODY_WANTED),
            };
        }
        Takes::Json(most) => ("application/json", most),
        Takes::Image(most) => ("application/octet-stream", most),
    };
    let stated = request.content_type.map(|value| value.split(';').next().unwrap_or("").trim());
    if !stated.is_some_and(|stated| stated.eq_ignore_ascii_case(media_type)) {
        return Err(match takes {
            Takes::Image(_) => Refusal::NOT_OCTETS,
            _ => Refusal::NOT_JSON,
        });
    }
    match request.length {
        Length::Missing | Length::Chunked => Err(Refusal::NO_LENGTH),
        Length::Stated(length) if length <= most => Ok(length),
        Length::Stated(_) | Length::Huge => Err(match takes {
            Takes::Image(_) => Refusal::IMAGE_TOO_LARGE,
            _ => Refusal::BODY_TOO_LARGE,
        }),
    }
}

/// Returns whether an origin is that of the page that this device served.
fn is_own(origin: &str, host: Option<&str>) -> bool {
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    authority.zip(host).is_some_and(|(authority, host)| authority.eq_ignore_ascii_case(host))
}
