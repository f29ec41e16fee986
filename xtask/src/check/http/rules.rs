//! Rules on what hosts answer: pure functions over what was recorded.

use super::{Answer, Answers, Devices, Reply, TAIL, Use, Uses, url::origin};
use crate::check::{Code, Finding};

/// The longest time in seconds that a document may be kept which changes in place.
const MAX_AGE: u64 = 60 * 60;

/// Room of the clients of ESP-IDF for the first line of a request, in bytes.
const LINE: usize = 512;

/// What else stands in that line.
const METHOD_AND_VERSION: usize = "GET  HTTP/1.1\r\n".len();

/// Checks what was answered to those who fetch the files.
pub(in crate::check) fn check(answers: &Answers, uses: &Uses) -> Vec<Finding> {
    let used = || uses.iter().filter_map(|(file, of)| Some((file, of, answers.get(file)?)));
    let mut found = Vec::new();
    for (file, of, answer) in used() {
        let faults = [redirect(of, answer), length(of, answer), age(of, answer), cors(of, answer)];
        found.extend(faults.into_iter().flatten().map(|(code, message)| code.of(file, message)));
    }
    let polled = used().filter(|(_, of, _)| of.changes && of.devices == Some(Devices::Towline));
    let without: Vec<_> = polled.filter(|(_, _, answer)| answer.header("etag").is_none()).collect();
    if let Some((file, ..)) = without.first() {
        let message = format!("has no ETag, as {} of what devices poll", without.len());
        found.push(Code::EtagMissing.of(*file, message));
    }
    found
}

type Told = Option<(Code, String)>;

/// Devices go nowhere else, or have no room for where they are sent.
fn redirect(of: &Use, answer: &Answer) -> Told {
    let (first, others) = answer.hops.split_first()?;
    let end = others.last()?;
    match of.devices? {
        Devices::Towline | Devices::Staying => {
            let message =
                format!("the host sends clients on to {}: devices stay", origin(&end.url));
            Some((Code::Redirect, message))
        }
        Devices::Following => {
            let length = |url: &str| url.len() - origin(url).len() + METHOD_AND_VERSION;
            let longest = others.iter().map(|hop| length(&hop.url)).max()?;
            let message = format!(
                "{} sends clients on to an address that takes {longest} bytes to ask for: without settings of their own, devices have room for {LINE}",
                origin(&first.url)
            );
            (longest > LINE && length(&first.url) <= LINE).then_some((Code::RedirectLong, message))
        }
    }
}

/// Devices take as many bytes as the host says, and none if it does not.
fn length(of: &Use, answer: &Answer) -> Told {
    of.devices?;
    let message = "the host does not say how long it is: it has no Content-Length".to_owned();
    answer.header("content-length").is_none().then_some((Code::LengthMissing, message))
}

/// What changes in place is seen late if caches keep it for long.
fn age(of: &Use, answer: &Answer) -> Told {
    let control = answer.header("cache-control").filter(|_| of.changes)?.to_ascii_lowercase();
    let says = |name: &str| control.split(',').any(|part| part.trim() == name);
    if says("no-cache") || says("no-store") {
        return None;
    }
    let age = |name: &str| {
        let values = control.split(',').filter_map(|part| part.trim().strip_prefix(name));
        values.filter_map(|value| value.trim_matches('"').parse::<u64>().ok()).max()
    };
    let longest = age("max-age=").max(age("s-maxage="))?;
    let message = format!("changes in place, and caches may keep it for {longest} seconds");
    (longest > MAX_AGE).then_some((Code::CacheLong, message))
}

/// Browsers give a page nothing of another origin unless its host lets them.
fn cors(of: &Use, answer: &Answer) -> Told {
    let refused = of.installers.iter().find_map(|page| {
        let mut is_elsewhere = false;
        answer.hops.iter().find(|hop| {
            is_elsewhere |= origin(&hop.url) != page;
            let allowed = hop.headers.get("access-control-allow-origin");
            // Some hosts name whoever asks.
            let is_allowed = allowed.is_some_and(|of| {
                of == "*" || of == page.as_str() || Some(of) == hop.asked_from.as_ref()
            });
            is_elsewhere && !is_allowed
        })
    })?;
    let host = origin(&refused.url);
    let message = format!(
        "{host} does not let pages of other hosts read it: it sends no Access-Control-Allow-Origin"
    );
    Some((Code::CorsMissing, message))
}

/// Returns from which byte on a file is asked for again, to see whether the host
/// continues a download.
pub(in crate::check) fn rest_of(answer: &Answer) -> Option<usize> {
    answer.size.checked_sub(TAIL).filter(|from| *from > 0)
}

/// Checks the answer to a request for the end of a file.
pub(in crate::check) fn check_rest(file: &str, answer: &Answer, rest: &Reply) -> Option<Finding> {
    let from = rest_of(answer)?;
    let message = match rest.status {
        206 => {
            let expected = format!("bytes {from}-{}/{}", answer.size - 1, answer.size);
            let is_right =
                rest.header("content-range") == Some(expected.as_str()) && rest.body == answer.tail;
            if is_right {
                return None;
            }
            "the host sends other bytes than those that are asked for".to_owned()
        }
        // A host that is busy, or asks for less of it, says nothing of ranges.
        200 | 416 => {
            format!("the host answers with status {} to a request for a part", rest.status)
        }
        _ => return None,
    };
    Some(Code::RangeMissing.of(file, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::http::Hop;
    use http::{HeaderName, HeaderValue};

    const PAGE: &str = "https://a.example";
    const FILE: &str = "https://a.example/ota/lamp.json";

    fn hop(url: &str, headers: &[(&'static str, &'static str)]) -> Hop {
        let header = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let headers = headers.iter().map(header).collect();
        Hop { url: url.into(), asked_from: None, headers }
    }

    const GOOD: &[(&str, &str)] =
        &[("content-length", "100"), ("etag", "\"1\""), ("cache-control", "max-age=600")];

    /// Returns what is found where devices that go elsewhere fetch what changes, and
    /// installers of [`PAGE`].
    fn found(hops: Vec<Hop>, change: impl FnOnce(&mut Use)) -> Vec<Code> {
        let mut of =
            Use { installers: vec![PAGE.into()], devices: Some(Devices::Following), changes: true };
        change(&mut of);
        let answers = Answers::from([("file".into(), Answer::of(hops, &[7; 100]))]);
        let found = check(&answers, &Uses::from([("file".into(), of)]));
        found.into_iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn each_fault_of_a_sound_answer_is_found_by_its_code() {
        let by = |devices| move |of: &mut Use| of.devices = Some(devices);
        let nothing = |_: &mut Use| ();
        let is = |headers: &[(&'static str, &'static str)]| vec![hop(FILE, headers)];
        assert_eq!(found(is(GOOD), nothing), []);
        assert_eq!(found(is(GOOD), by(Devices::Towline)), []);
        assert_eq!(found(is(&GOOD[1..]), nothing), [Code::LengthMissing]);
        assert_eq!(found(is(&GOOD[1..]), |of| of.devices = None), []);
        let untagged = is(&[GOOD[0], GOOD[2]]);
        assert_eq!(found(untagged.clone(), nothing), []);
        assert_eq!(found(untagged, by(Devices::Towline)), [Code::EtagMissing]);
        for (control, codes) in [
            ("public, max-age=31536000, immutable", &[Code::CacheLong][..]),
            ("max-age=0, s-maxage=86400", &[Code::CacheLong]),
            ("max-age=3600", &[]),
            ("no-cache, max-age=86400", &[]),
            ("private", &[]),
        ] {
            let answer = is(&[GOOD[0], ("cache-control", control)]);
            assert_eq!(found(answer.clone(), nothing), codes, "{control}");
            assert_eq!(found(answer, |of| of.changes = false), []);
        }
    }

    #[test]
    fn redirects_are_judged_by_who_meets_them() {
        let to = |url: &str| vec![hop(FILE, &[]), hop(url, GOOD)];
        let by = |devices: Option<Devices>| {
            move |of: &mut Use| {
                of.devices = devices;
                of.installers.clear();
            }
        };
        let near = "https://a.example/lamp.json";
        assert_eq!(found(to(near), by(None)), []);
        assert_eq!(found(to(near), by(Some(Devices::Following))), []);
        assert_eq!(found(to(near), by(Some(Devices::Staying))), [Code::Redirect]);
        let long = format!("https://a.example/{}", "x".repeat(500));
        assert_eq!(found(to(&long), by(Some(Devices::Following))), [Code::RedirectLong]);
        let fits = format!("https://a.example/{}", "x".repeat(496));
        assert_eq!(found(to(&fits), by(Some(Devices::Following))), []);
    }

    #[test]
    fn pages_need_leave_on_every_hop_from_the_first_of_another_origin_on() {
        let by = |of: &mut Use| of.devices = None;
        let any = ("access-control-allow-origin", "*");
        let this = ("access-control-allow-origin", PAGE);
        let other = "https://b.example/a.bin";
        assert_eq!(found(vec![hop(other, GOOD)], by), [Code::CorsMissing]);
        for allowed in [any, this] {
            assert_eq!(found(vec![hop(other, &[allowed])], by), []);
            assert_eq!(found(vec![hop(FILE, &[]), hop(other, &[allowed])], by), []);
            let through = vec![hop(other, &[]), hop("https://c.example/a.bin", &[allowed])];
            assert_eq!(found(through, by), [Code::CorsMissing]);
            let back = vec![hop(other, &[allowed]), hop(FILE, &[])];
            assert_eq!(found(back, by), [Code::CorsMissing]);
        }
        let base = HeaderValue::from_static("https://d.example");
        let mut echo = hop(other, &[("access-control-allow-origin", "https://d.example")]);
        assert_eq!(found(vec![echo.clone()], by), [Code::CorsMissing]);
        echo.asked_from = Some(base);
        assert_eq!(found(vec![echo], by), []);
        assert_eq!(found(vec![hop(other, GOOD)], |of| *of = Use::default()), []);
    }

    #[test]
    fn the_end_of_a_file_is_that_which_was_asked_for() {
        let answer = Answer::of(Vec::new(), &(0..100).collect::<Vec<u8>>());
        assert_eq!(rest_of(&answer), Some(36));
        let reply = |status: u16, range: &'static str, body: &[u8]| {
            let mut reply = Reply { status, body: body.into(), ..Reply::default() };
            reply.headers.insert("content-range", HeaderValue::from_static(range));
            check_rest("a.bin", &answer, &reply).map(|finding| finding.code)
        };
        let tail: Vec<u8> = (36..100).collect();
        assert_eq!(reply(206, "bytes 36-99/100", &tail), None);
        assert_eq!(reply(206, "bytes 36-99/100", &[0; 64]), Some(Code::RangeMissing));
        assert_eq!(reply(206, "bytes 0-99/100", &tail), Some(Code::RangeMissing));
        assert_eq!(reply(200, "", &[]), Some(Code::RangeMissing));
        assert_eq!(reply(503, "", &[]), None);
        assert_eq!(rest_of(&Answer::of(Vec::new(), &[0; 64])), None);
    }
}
