//! Whether and when a request is made again.
//!
//! | what came back | what is done |
//! |---|---|
//! | no answer, 408, 5xx | again after 0.5 s, 1 s, 2 s …, up to a minute, with jitter |
//! | 429, or 403 for a rate limit, with `retry-after` | again after that time |
//! | the primary rate limit: `x-ratelimit-remaining: 0` | again at `x-ratelimit-reset` |
//! | a secondary rate limit without a time | again after a minute, then two … |
//! | anything else | never again: it would only be refused once more |
//!
//! A request that could have been carried out, though its answer got lost, is
//! made again only if that does no harm ([`Kind::Repeatable`]).

use http::{HeaderMap, StatusCode, header::RETRY_AFTER};
use std::time::Duration;

/// The most attempts at one request.
pub const ATTEMPTS: u32 = 6;

/// The longest time that a request may wait in all.
pub const PATIENCE: Duration = Duration::from_secs(15 * 60);

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(60);

/// Whether a request may be carried out twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The second time changes nothing.
    Repeatable,
    /// Who sends it again has to look first.
    Once,
}

/// What came back.
#[derive(Clone, Copy, Debug)]
pub enum Outcome<'a> {
    /// Nothing: the connection broke.
    Broken,
    /// An answer.
    Answer {
        /// Its status.
        status: StatusCode,
        /// Its headers.
        headers: &'a HeaderMap,
        /// What it says.
        message: &'a str,
    },
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Take what came back for the result.
    Final,
    /// Wait, then ask again.
    Again(Duration),
}

/// Decides about the `attempt`-th attempt, counted from 0. `waited` is the time
/// that the earlier ones waited, `now` seconds since 1970, `jitter` a random number
/// from 0 to 1.
pub fn decide(
    outcome: Outcome<'_>,
    kind: Kind,
    attempt: u32,
    waited: Duration,
    now: u64,
    jitter: f64,
) -> Verdict {
    let wait = match outcome {
        Outcome::Broken if kind == Kind::Repeatable => Some(backoff(attempt, jitter)),
        Outcome::Broken => None,
        Outcome::Answer { status, headers, message } => match status.as_u16() {
            403 | 429 => limited(status, headers, message, attempt, now),
            408 | 500..=599 if kind == Kind::Repeatable => {
                Some(retry_after(headers).unwrap_or_else(|| backoff(attempt, jitter)))
            }
            _ => None,
        },
    };
    match wait {
        Some(wait) if attempt + 1 < ATTEMPTS && waited + wait <= PATIENCE => Verdict::Again(wait),
        _ => Verdict::Final,
    }
}

/// Returns how long to wait before the attempt after this one.
pub fn backoff(attempt: u32, jitter: f64) -> Duration {
    let full = FIRST.saturating_mul(2_u32.saturating_pow(attempt)).min(LONGEST);
    full.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
}

/// Returns whether an answer is the refusal of a rate limit, and not of a right.
pub fn is_limit(status: StatusCode, headers: &HeaderMap, message: &str) -> bool {
    limited(status, headers, message, 0, 0).is_some()
}

fn limited(
    status: StatusCode,
    headers: &HeaderMap,
    message: &str,
    attempt: u32,
    now: u64,
) -> Option<Duration> {
    if !matches!(status.as_u16(), 403 | 429) {
        return None;
    }
    if let Some(wait) = retry_after(headers) {
        return Some(wait);
    }
    if number(headers, "x-ratelimit-remaining") == Some(0)
        && let Some(reset) = number(headers, "x-ratelimit-reset")
    {
        // The clock of the host and ours may differ by a little.
        return Some(Duration::from_secs(reset.saturating_sub(now).saturating_add(1)));
    }
    let is_limit = status.as_u16() == 429 || message.to_lowercase().contains("rate limit");
    is_limit.then(|| LONGEST.saturating_mul(2_u32.saturating_pow(attempt)))
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    number(headers, RETRY_AFTER.as_str()).map(Duration::from_secs)
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(status: u16, headers: &[(&'static str, &str)], message: &str, kind: Kind) -> Verdict {
        let headers = headers
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()));
        let headers = headers.collect();
        let status = StatusCode::from_u16(status).unwrap();
        let outcome = Outcome::Answer { status, headers: &headers, message };
        decide(outcome, kind, 0, Duration::ZERO, 1000, 1.0)
    }

    fn seconds(seconds: u64) -> Verdict {
        Verdict::Again(Duration::from_secs(seconds))
    }

    #[test]
    fn a_rate_limit_says_how_long_to_wait() {
        for kind in [Kind::Repeatable, Kind::Once] {
            for status in [403, 429] {
                assert_eq!(after(status, &[("retry-after", "7")], "", kind), seconds(7));
                let primary = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1030")];
                assert_eq!(after(status, &primary, "", kind), seconds(31));
            }
            assert_eq!(
                after(403, &[], "You have exceeded a secondary rate limit.", kind),
                seconds(60)
            );
            assert_eq!(after(429, &[], "", kind), seconds(60));
        }
    }

    #[test]
    fn what_would_be_refused_again_is_final() {
        let left = [("x-ratelimit-remaining", "4999"), ("x-ratelimit-reset", "1030")];
        for status in [200, 304, 401, 403, 404, 409, 422] {
            let verdict =
                after(status, &left, "Resource not accessible by integration", Kind::Repeatable);
            assert_eq!(verdict, Verdict::Final, "{status}");
        }
        assert_eq!(after(403, &[("retry-after", "7200")], "", Kind::Once), Verdict::Final);
    }

    #[test]
    fn what_may_have_been_done_is_not_done_twice() {
        for status in [500, 502, 503, 504] {
            assert_eq!(after(status, &[], "", Kind::Once), Verdict::Final);
            assert_eq!(after(status, &[], "", Kind::Repeatable), Verdict::Again(FIRST));
        }
        let broken = |kind| decide(Outcome::Broken, kind, 0, Duration::ZERO, 0, 0.0);
        assert_eq!(broken(Kind::Once), Verdict::Final);
        assert_eq!(broken(Kind::Repeatable), Verdict::Again(FIRST / 2));
    }

    #[test]
    fn waiting_grows_and_ends() {
        let waits: Vec<_> = (0..12).map(|attempt| backoff(attempt, 1.0)).collect();
        assert!(waits.windows(2).all(|pair| pair[0] <= pair[1]) && waits[11] == LONGEST);
        assert_eq!(backoff(u32::MAX, 0.0), LONGEST / 2);
        let at =
            |attempt, waited| decide(Outcome::Broken, Kind::Repeatable, attempt, waited, 0, 1.0);
        assert_eq!(at(ATTEMPTS - 1, Duration::ZERO), Verdict::Final);
        assert_eq!(at(0, PATIENCE), Verdict::Final);
    }
}
