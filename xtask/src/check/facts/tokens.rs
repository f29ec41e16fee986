//! Tokens of services, told by how they begin and what they are made of: what could as
//! well be a hash or a name is none.

use std::ops::{Range, RangeInclusive};

/// A kind of token.
pub(super) struct Kind {
    /// How it begins, or what is in it for certain.
    pub sign: &'static str,
    /// What it is.
    pub name: &'static str,
    /// Finds where it is, around its sign at this byte.
    pub find: fn(&[u8], usize) -> Option<Range<usize>>,
}

/// Keys of this kind stand in pages that use maps, where they are restricted to them.
pub(in crate::check) const GOOGLE: &str = "a key of Google (AIza…)";

/// The most bytes of a token.
const MAX: usize = 255;

/// More characters in a row are data in base64, whatever they spell.
const MAX_BEFORE: usize = 64;

/// What stands in documentation in the place of a token.
const EXAMPLES: [&[u8]; 8] = [
    b"EXAMPLE",
    b"example",
    b"xxxx",
    b"XXXX",
    b"1234567890",
    b"16C7e42F292c6912E7710c838347Ae178B4a",
    b"AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw",
    b"AAFD39kkdpWt3ywyRZergyOLMaJhac60qc",
];

/// Words in the place of a name or a password, or of what is found as a token itself.
const WORDS: [&[u8]; 12] = [
    b"user",
    b"username",
    b"login",
    b"oauth2",
    b"x-access-token",
    b"pass",
    b"password",
    b"passwd",
    b"passphrase",
    b"secret",
    b"changeme",
    b"x-oauth-basic",
];

/// Ends of names that nobody can reach from elsewhere, or that are reserved for
/// documentation (RFC 2606, RFC 6761, RFC 8375).
const NOT_HOSTS: [&[u8]; 9] = [
    b"example",
    b"test",
    b"invalid",
    b"localhost",
    b"local",
    b"lan",
    b"home",
    b"internal",
    b"arpa",
];

/// All of them.
pub(super) const KINDS: &[Kind] = &[
    kind("ghp_", "a token of GitHub (ghp_…)", |b, at| token(b, at, 4, alphanumeric, 36..=MAX)),
    kind("gho_", "a token of GitHub (gho_…)", |b, at| token(b, at, 4, alphanumeric, 36..=MAX)),
    kind("ghu_", "a token of GitHub (ghu_…)", |b, at| token(b, at, 4, alphanumeric, 36..=MAX)),
    kind("ghs_", "a token of GitHub (ghs_…)", |b, at| token(b, at, 4, alphanumeric, 36..=MAX)),
    kind("ghr_", "a token of GitHub (ghr_…)", |b, at| token(b, at, 4, alphanumeric, 36..=MAX)),
    kind("github_pat_", "a token of GitHub (gith…)", |b, at| token(b, at, 11, word, 82..=MAX)),
    kind("glpat-", "a token of GitLab (glpa…)", |b, at| token(b, at, 6, word, 20..=MAX)),
    kind("_live_", "a key of Stripe", |b, at| {
        let start = at.checked_sub(2).filter(|start| matches!(&b[*start..at], b"sk" | b"rk"))?;
        token(b, start, 8, alphanumeric, 24..=MAX)
    }),
    kind("xox", "a token of Slack (xox…)", |b, at| {
        let is_kind = b.get(at + 3).is_some_and(|kind| b"abeoprs".contains(kind));
        let found =
            token(b, at, 4, word, 24..=MAX).filter(|_| is_kind && b.get(at + 4) == Some(&b'-'));
        found.filter(|found| b[found.clone()].iter().filter(|b| b.is_ascii_digit()).count() >= 10)
    }),
    kind("npm_", "a token of npm (npm_…)", |b, at| {
        apart(b, token(b, at, 4, alphanumeric, 36..=36)?)
    }),
    kind("AIza", GOOGLE, |b, at| apart(b, token(b, at, 4, word, 35..=35)?)),
    kind("AKIA", "a key of AWS (AKIA…)", |b, at| {
        let found = apart(b, at..at + 4 + run(b, at + 4, base32, 16..=16)?)?;
        // In a signed URL it stands for everybody to see, without its secret.
        let is_signed = matches!(b.get(found.end), Some(b'/' | b'%'));
        (!is_signed && !is_example(&b[found.clone()])).then_some(found)
    }),
    kind(":AA", "a token of a Telegram bot", |b, at| {
        let digits = b[..at].iter().rev().take_while(|b| b.is_ascii_digit()).count();
        let start = at.checked_sub(digits).filter(|_| (8..=10).contains(&digits))?;
        apart(b, token(b, start, digits + 1, word, 35..=35)?)
    }),
    kind("hooks.slack.com/services/T", "a webhook of Slack", |b, at| {
        let team = at + "hooks.slack.com/services/".len();
        let hook = step(b, team + run(b, team, alphanumeric, 9..=16)?, b"/B")?;
        let secret = step(b, hook + run(b, hook, alphanumeric, 8..=16)?, b"/")?;
        let end = token(b, secret, 0, alphanumeric, 24..=24)?.end;
        Some(at..end)
    }),
    kind("/api/webhooks/", "a webhook of Discord", |b, at| {
        let host =
            ["discord.com", "discordapp.com"].iter().find(|h| b[..at].ends_with(h.as_bytes()))?;
        let id = at + "/api/webhooks/".len();
        let secret = step(b, id + run(b, id, u8::is_ascii_digit, 17..=20)?, b"/")?;
        Some(at - host.len()..token(b, secret, 0, word, 60..=80)?.end)
    }),
    kind("://", "a password in a URL", password),
];

const fn kind(
    sign: &'static str,
    name: &'static str,
    find: fn(&[u8], usize) -> Option<Range<usize>>,
) -> Kind {
    Kind { sign, name, find }
}

fn alphanumeric(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric()
}

fn word(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

fn base32(byte: &u8) -> bool {
    matches!(byte, b'A'..=b'Z' | b'2'..=b'7')
}

/// Returns how many bytes of a kind are at `at`, if as many as there should be.
fn run(
    bytes: &[u8],
    at: usize,
    kind: fn(&u8) -> bool,
    lens: RangeInclusive<usize>,
) -> Option<usize> {
    let len = bytes.get(at..)?.iter().take(MAX + 1).take_while(|byte| kind(byte)).count();
    lens.contains(&len).then_some(len)
}

/// Returns where `expected` ends if it is at `at`.
fn step(bytes: &[u8], at: usize, expected: &[u8]) -> Option<usize> {
    bytes.get(at..)?.starts_with(expected).then_some(at + expected.len())
}

/// Finds a token whose prefix is at `at`: as random as only a machine writes.
fn token(
    bytes: &[u8],
    at: usize,
    prefix: usize,
    kind: fn(&u8) -> bool,
    lens: RangeInclusive<usize>,
) -> Option<Range<usize>> {
    let start = at + prefix;
    let end = start + run(bytes, start, kind, lens)?;
    let body = &bytes[start..end];
    let has = |kind: fn(&u8) -> bool| body.iter().any(kind);
    let is_random =
        has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_digit);
    let before = bytes[..at].iter().rev().take(MAX_BEFORE).take_while(|byte| word(byte)).count();
    (is_random && before < MAX_BEFORE && !is_example(&bytes[at..end])).then_some(at..end)
}

/// Lets pass what no letter is next to: texts of C end with a zero, those of Rust do
/// not, so this is asked of short beginnings alone.
fn apart(bytes: &[u8], found: Range<usize>) -> Option<Range<usize>> {
    let is_word = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(word);
    (!is_word(found.start.checked_sub(1)) && !is_word(Some(found.end))).then_some(found)
}

fn is_example(text: &[u8]) -> bool {
    EXAMPLES.iter().any(|example| text.windows(example.len()).any(|part| part == *example))
}

/// Finds the name and password in a URL for a host that others can reach.
fn password(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let scheme = ["https", "http"].iter().find(|s| bytes[..at].ends_with(s.as_bytes()))?;
    let user = at + "://".len();
    let colon = user + run(bytes, user, userinfo, 1..=MAX)?;
    let secret = step(bytes, colon, b":")?;
    let end = secret + run(bytes, secret, userinfo, 8..=MAX)?;
    let host = step(bytes, end, b"@")?;
    let host_end = host + run(bytes, host, |b| word(b) || *b == b'.', 4..=253)?;
    let is_word = |text: &[u8]| {
        WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
            || text.iter().all(|byte| *byte == text[0])
            // Formats, such as %s; what is escaped is two digits.
            || text.iter().enumerate().any(|(at, byte)| {
                *byte == b'%' && !matches!(text.get(at + 1..at + 3), Some(d) if d.iter().all(u8::is_ascii_hexdigit))
            })
    };
    let mut labels = bytes[host..host_end].rsplit(|byte| *byte == b'.');
    let (top, second) = (labels.next()?, labels.next()?);
    let is_reachable = top.len() >= 2
        && top.iter().all(u8::is_ascii_alphabetic)
        && !NOT_HOSTS.contains(&top)
        // Where programs report their failures, by a name that all may have.
        && ![&b"example"[..], b"sentry"].contains(&second);
    // Words alone are in tests and in documentation.
    let has_digit = bytes[secret..end].iter().any(u8::is_ascii_digit);
    let is_secret = has_digit && !is_word(&bytes[user..colon]) && !is_word(&bytes[secret..end]);
    (is_reachable && is_secret && !is_example(&bytes[user..end]))
        .then(|| at - scheme.len()..host_end)
}

fn userinfo(byte: &u8) -> bool {
    word(byte) || b".~+!=%".contains(byte)
}
