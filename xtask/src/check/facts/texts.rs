//! What the texts in a file give away: tokens, and where it was built. One pass finds
//! what is a sign of one; then what is around it counts.

use super::{build_path, tokens::KINDS};
use aho_corasick::{AhoCorasick, MatchKind};
use std::{ops::Range, sync::LazyLock};

/// Finds all signs at once.
static SIGNS: LazyLock<AhoCorasick> = LazyLock::new(|| {
    let signs = KINDS.iter().map(|kind| kind.sign).chain(build_path::SIGNS);
    // With this order of matches it skips what cannot be one by vectors.
    let builder = AhoCorasick::builder().match_kind(MatchKind::LeftmostFirst).build(signs);
    builder.expect("so few signs are no problem")
});

/// The most places that are looked at for build paths: one tells.
const MAX_PLACES: u32 = 10_000;

/// What is given away, in the order of its places.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::check) struct Texts {
    /// What a token is, and where.
    pub tokens: Vec<(&'static str, Range<usize>)>,
    /// Where paths of the machine are that built the file.
    pub paths: Vec<Range<usize>>,
}

/// Looks through a file.
pub(in crate::check) fn texts(bytes: &[u8]) -> Texts {
    let (mut texts, mut places) = (Texts::default(), 0);
    for sign in SIGNS.find_iter(bytes) {
        match KINDS.get(sign.pattern().as_usize()) {
            Some(kind) => {
                let found = (kind.find)(bytes, sign.start());
                texts.tokens.extend(found.map(|found| (kind.name, found)));
            }
            None if places < MAX_PLACES => {
                places += 1;
                texts.paths.extend(build_path::find(bytes, sign.start()));
            }
            None => {}
        }
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As random as tokens are.
    const RANDOM: &str = "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF3hJ6";

    fn names(text: &str) -> Vec<&'static str> {
        texts(text.as_bytes()).tokens.iter().map(|(name, _)| *name).collect()
    }

    #[test]
    fn tokens_are_told_by_what_they_are_made_of() {
        for (text, name) in [
            (format!("ghp_{RANDOM}"), "a token of GitHub (ghp_…)"),
            (
                format!("github_pat_{}_{RANDOM}{}", &RANDOM[..22], &RANDOM[..23]),
                "a token of GitHub (gith…)",
            ),
            (format!("glpat-{}", &RANDOM[..20]), "a token of GitLab (glpa…)"),
            (format!("sk_live_{}", &RANDOM[..24]), "a key of Stripe"),
            (format!("xoxb-298374650912-{RANDOM}"), "a token of Slack (xox…)"),
            (format!("npm_{RANDOM}"), "a token of npm (npm_…)"),
            (format!("AIza{}", &RANDOM[..35]), super::super::GOOGLE),
            ("AKIAI2DEFGH7JKLMNOP3".into(), "a key of AWS (AKIA…)"),
            (format!("298374650:AA{}", &RANDOM[..33]), "a token of a Telegram bot"),
            (
                format!("hooks.slack.com/services/T02AB3CD4/B05EF6GH7/{}", &RANDOM[..24]),
                "a webhook of Slack",
            ),
            (
                format!("discord.com/api/webhooks/298374650918273645/{RANDOM}{RANDOM}"),
                "a webhook of Discord",
            ),
            ("https://anna:correct-h0rse@files.lamp.org".into(), "a password in a URL"),
        ] {
            let places = [("", ""), ("key = \"", "\";"), ("\0", "\0\0"), ("a.b/", " next")];
            for (before, after) in places {
                let whole = format!("{before}{text}{after}");
                let found = texts(whole.as_bytes()).tokens;
                assert_eq!(found, [(name, before.len()..before.len() + text.len())], "{whole}");
            }
        }
    }

    #[test]
    fn what_could_be_something_else_is_no_token() {
        let base64 = RANDOM.repeat(3);
        for text in [
            "ghp_only_a_name_of_a_variable_that_goes_on_and_on",
            "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
            "AKIAIOSFODNN7EXAMPLE",
            "AKIAI2DEFGH7JKLMNOP34",
            "X-Amz-Credential=AKIAI2DEFGH7JKLMNOP3/20260101/eu/s3/aws4_request",
            "X-Amz-Credential=AKIAI2DEFGH7JKLMNOP3%2F20260101%2Feu",
            "xoxb-your-token-goes-here-and-nowhere-else",
            "https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX",
            "npm_config_registry",
            "12:AA:BB:CC:DD:EE",
            "https://user:password@host.org/",
            "https://%s:%s@files.lamp.org",
            "https://${user}:${password}@files.lamp.org",
            "https://anna:correct-h0rse@www.example.org",
            "https://anna:correct-h0rse@lamp.local",
            "https://anna:correct-h0rse@192.168.0.7",
            "https://anna:opensesame@files.lamp.org",
            "https://0123abcd:4567cdef@sentry.io/1",
            "https://files.lamp.org:8443/a@b",
            "gho_16C7e42F292c6912E7710c838347Ae178B4a",
            "-----BEGIN CERTIFICATE-----",
            &format!("{base64}ghp_{RANDOM}"),
            &format!("{base64}AIza{}", &RANDOM[..35]),
            &format!("ghp_{}", &RANDOM[..30]),
        ] {
            assert_eq!(names(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn paths_of_people_are_told_from_those_of_everybody() {
        let of = |text: &str| -> Vec<String> {
            let paths = texts(text.as_bytes()).paths.into_iter();
            paths.map(|place| text[place].to_owned()).collect()
        };
        for (text, path) in [
            ("\0/home/anna/src/lamp/main.c\0", "/home/anna/src/lamp/main.c"),
            ("at /Users/anna/lamp/main.cpp:5", "/Users/anna/lamp/main.cpp"),
            ("C:\\Users\\Anna B\\lamp\\main.c", "C:\\Users\\Anna B\\lamp\\main.c"),
            ("C:\\\\Users\\\\anna\\\\lamp\\\\main.h", "C:\\\\Users\\\\anna\\\\lamp\\\\main.h"),
            ("\"C:/Users/anna/lamp.ino\"", "C:/Users/anna/lamp.ino"),
            // Texts of Rust stand side by side.
            (
                "overflow/home/anna/.cargo/a-1.0/src/lib.rsno room",
                "/home/anna/.cargo/a-1.0/src/lib.rs",
            ),
        ] {
            assert_eq!(of(text), [path], "{text}");
        }
        for text in [
            "/home/runner/work/lamp/main.c",
            "C:\\Users\\runneradmin\\lamp\\main.c",
            "/Users/ficeto/Desktop/ESP32/esp-idf-public/components/lwip/core/tcp.c",
            "/builds/idf/crosstool-NG/newlib/locale.c",
            "//IDF/components/main.c",
            "/rustc/0123456789abcdef/library/core/src/fmt/mod.rs",
            "https://a.example/home/anna/main.c",
            "<a href=\"/home/about/us.html\">",
            "/home/anna/notes\0main.c",
            "\\Users\\anna\\main.c",
            "/home/anna",
        ] {
            assert_eq!(of(text), [""; 0], "{text}");
        }
    }
}
