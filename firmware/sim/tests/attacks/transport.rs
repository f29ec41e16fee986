//! Hosts and networks that are hostile or broken.

use crate::{
    device::{DESCRIPTOR, Device, HOST, IMAGE, NEW, NEXT, Offer, STEP, image, new_image},
    host::{Asked, Host, Identity, replace},
};
use rustls::CertificateError;
use std::{
    io::{self, ErrorKind, Write},
    sync::mpsc::{self, Sender},
    time::Duration,
};
use towline::{
    Clock, Limits, OtaError, Outcome, Reason, UpdateError, descriptor::DocumentError,
    http::HttpError, pace::Late,
};
use towline_sim::{Counted, MemoryError, NetError};

type Refusal = UpdateError<MemoryError, NetError>;

/// Bytes of the image after which a connection is lost, and what of them
/// outlives a reset.
const LOST_AFTER: usize = 70_000;
const HELD: usize = 2 * STEP;

/// Returns what went wrong with HTTP.
#[track_caller]
fn http(error: Refusal) -> HttpError<NetError> {
    match error {
        UpdateError::DescriptorFetch(error) | UpdateError::ImageFetch(error) => error,
        error => panic!("not of HTTP: {error}"),
    }
}

/// Lets a device hold the first part of the image, and its host be sound.
fn with_part_of_the_image() -> (Host, Device) {
    let (host, mut device) = (Host::new(), Device::new());
    device.limits.attempts = 1;
    host.attack(IMAGE, |asked, wire| loses(&asked.answer(), LOST_AFTER, wire));
    assert!(matches!(http(device.refuses(&mut host.net())), HttpError::Truncated));
    host.relent();
    (host, device)
}

/// Sends the head and so many bytes of the body.
fn loses(answer: &[u8], bytes: usize, wire: &mut dyn Write) -> io::Result<()> {
    let head = answer.windows(4).position(|end| end == b"\r\n\r\n").map_or(0, |at| at + 4);
    wire.write_all(&answer[..answer.len().min(head + bytes)])
}

#[test]
fn a01_a_truncated_body_is_kept_and_goes_on() {
    let size = new_image().len();
    for kept in [0, 1, 511, 40_000, LOST_AFTER, size - 1] {
        for farewell in [true, false] {
            let (host, mut device) = (Host::new(), Device::new());
            host.attack(IMAGE, move |asked, wire| {
                let from = asked.header("Range").map_or(0, |range| {
                    range["bytes=".len()..].trim_end_matches('-').parse().unwrap()
                });
                loses(&asked.answer(), kept - from, wire)?;
                if farewell { Ok(()) } else { Err(ErrorKind::ConnectionAborted.into()) }
            });
            let error = http(device.refuses(&mut host.net()));
            let is_known = matches!(error, HttpError::Truncated | HttpError::Transport(_));
            assert!(is_known && error.is_passing(), "{kept}: {error}");
            // Once with news, and until the attempts are used up without.
            let attempts = host.log().iter().filter(|e| e.path == IMAGE).count();
            assert!((4..=5).contains(&(attempts - usize::from(kept > 0))), "{kept}: {attempts}");
            host.relent();
            device.follows(&mut host.net(), NEW);
            assert_eq!(host.sent(IMAGE), size - kept / STEP * STEP, "{kept}");
        }
    }
}

#[test]
fn a01_a_connection_that_is_lost_costs_not_a_byte_within_a_poll() {
    let (host, mut device) = (Host::new(), Device::new());
    host.attack(IMAGE, |asked, wire| loses(&asked.answer(), 10_001, wire));
    assert!(matches!(device.poll(&mut host.net()), Ok(Outcome::Installed { .. })));
    assert_eq!(host.sent(IMAGE), new_image().len());
}

#[test]
fn a01_a_truncated_descriptor_is_refused() {
    for kept in [0, 1, 100] {
        let (host, mut device) = (Host::new(), Device::new());
        host.attack(DESCRIPTOR, move |asked, wire| loses(&asked.answer(), kept, wire));
        assert!(matches!(http(device.refuses_at_once(&mut host.net())), HttpError::Truncated));
        host.relent();
        device.follows(&mut host.net(), NEW);
    }
}

/// Sends `head`, and then bytes until nobody listens.
fn endless(head: &str, wire: &mut dyn Write) -> io::Result<()> {
    wire.write_all(head.as_bytes())?;
    loop {
        wire.write_all(&[b'x'; 4096])?;
    }
}

#[test]
fn a02_an_endless_head_is_refused() {
    for path in [DESCRIPTOR, IMAGE] {
        let (host, mut device) = (Host::new(), Device::new());
        host.attack(path, |_, wire| endless("HTTP/1.1 200 OK\r\nX-Long: ", wire));
        assert!(matches!(http(device.refuses_at_once(&mut host.net())), HttpError::Malformed));
        host.relent();
        device.follows(&mut host.net(), NEW);
    }
}

#[test]
fn a02_an_endless_body_is_refused_by_its_length_or_cut_off_there() {
    let (host, mut device) = (Host::new(), Device::new());
    let long = "HTTP/1.1 200 OK\r\nContent-Length: 4294967295\r\n\r\n";
    host.attack(DESCRIPTOR, move |_, wire| endless(long, wire));
    let error = device.refuses_at_once(&mut host.net());
    assert!(matches!(error, UpdateError::Descriptor(DocumentError::TooLarge)), "{error}");
    host.attack(IMAGE, move |_, wire| endless(long, wire));
    assert!(matches!(device.refuses_at_once(&mut host.net()), UpdateError::Length));
    for path in [DESCRIPTOR, IMAGE] {
        host.attack(path, |_, wire| endless("HTTP/1.1 200 OK\r\n\r\n", wire));
        assert!(matches!(http(device.refuses_at_once(&mut host.net())), HttpError::NoLength));
    }
    // The right length, and then on and on: what follows is never read.
    host.attack(IMAGE, |asked, wire| {
        wire.write_all(&asked.answer())?;
        endless("", wire)
    });
    device.follows(&mut host.net(), NEW);
}

/// Time that passes with each look, and lets a host that drips go on.
struct Beat {
    time: Counted,
    beat: Sender<()>,
}

impl Clock for Beat {
    fn uptime(&self) -> Duration {
        // A host that does not drip does not listen.
        let _ = self.beat.send(());
        self.time.uptime()
    }

    async fn wait(&self, time: Duration) {
        self.time.wait(time).await;
    }
}

/// Lets `path` be sent byte by byte, one with each look at the clock that is
/// returned, so that nobody sleeps.
fn drip(host: &Host, path: &'static str, per_look: Duration) -> Beat {
    let (beat, beats) = mpsc::channel();
    host.attack(path, move |asked, wire| {
        for byte in asked.answer() {
            beats.recv().map_err(io::Error::other)?;
            wire.write_all(&[byte])?;
        }
        Ok(())
    });
    let mut time = Counted::default();
    time.per_look = per_look;
    Beat { time, beat }
}

#[test]
fn a03_a_slow_drip_of_the_descriptor_hits_the_minimum_rate() {
    let (host, mut device) = (Host::new(), Device::new());
    let beat = drip(&host, DESCRIPTOR, Duration::from_secs(1));
    let error = http(device.refuses_by(&mut host.net(), &beat));
    assert!(matches!(error, HttpError::Late(Late::Slow)), "{error}");
    let time = beat.time.uptime();
    drop(beat);
    assert!(time < Limits::DEFAULT.window + Duration::from_secs(15), "{time:?}");
    host.relent();
    device.follows(&mut host.net(), NEW);
}

#[test]
fn a03_a_slow_drip_of_the_image_hits_the_minimum_rate_and_the_deadline() {
    let (host, mut device) = (Host::new(), Device::new());
    device.limits.attempts = 1;
    let beat = drip(&host, IMAGE, Duration::from_secs(1));
    let error = http(device.refuses_by(&mut host.net(), &beat));
    assert!(matches!(error, HttpError::Late(Late::Slow)), "{error}");
    let time = beat.time.uptime();
    drop(beat);
    assert!(time < Limits::DEFAULT.window + Duration::from_secs(30), "{time:?}");

    // With all its attempts it ends at the deadline, or a rest before it.
    host.relent();
    device.limits = Limits::DEFAULT;
    let beat = drip(&host, IMAGE, Duration::from_secs(1));
    let error = http(device.refuses_by(&mut host.net(), &beat));
    assert!(matches!(error, HttpError::Late(Late::Slow | Late::Deadline)), "{error}");
    let time = beat.time.uptime();
    drop(beat);
    assert!(time < Limits::DEFAULT.deadline + Duration::from_secs(15), "{time:?}");
    host.relent();
    device.follows(&mut host.net(), NEW);
}

#[test]
fn a03_a_drip_at_the_minimum_rate_hits_the_deadline() {
    let (host, mut device) = (Host::new(), Device::new());
    let deadline = Duration::from_secs(60);
    device.limits = Limits { min_rate: 8, deadline, ..Limits::DEFAULT };
    let beat = drip(&host, IMAGE, Duration::from_millis(20));
    let error = http(device.refuses_by(&mut host.net(), &beat));
    assert!(matches!(error, HttpError::Late(Late::Deadline)), "{error}");
    let time = beat.time.uptime();
    drop(beat);
    assert!((deadline..deadline + Duration::from_secs(1)).contains(&time), "{time:?}");
    assert_eq!(host.log().len(), 2, "one connection for each file");
    host.relent();
    device.limits = Limits::DEFAULT;
    device.follows(&mut host.net(), NEW);
}

/// Lets each file redirect to `location`, which must be refused after this many
/// requests for it.
fn refuses_redirect(location: &'static str, requests: usize) {
    for path in [DESCRIPTOR, IMAGE] {
        let identity = Identity { names: vec![HOST, "elsewhere.example"], ..Identity::default() };
        let (host, mut device) = (Host::with(&identity), Device::new());
        for status in [301, 302, 303, 307, 308] {
            let to = if location == "itself" { path } else { location };
            let header = if to.is_empty() { String::new() } else { format!("Location: {to}\r\n") };
            let answer = format!("HTTP/1.1 {status} X\r\n{header}Content-Length: 0\r\n\r\n");
            host.answer(path, move |_| answer.clone().into());
            let error = http(device.refuses_at_once(&mut host.net()));
            assert!(matches!(error, HttpError::Redirect), "{status} to {to:?}: {error}");
            let log = host.log();
            let before = usize::from(path == IMAGE);
            assert_eq!(log.len(), before + requests, "{status} to {to:?}: {log:?}");
        }
        host.relent();
        device.follows(&mut host.net(), NEW);
    }
}

#[test]
fn a04_a_redirect_to_plain_http_is_refused() {
    refuses_redirect("http://updates.example/app.bin", 1);
    refuses_redirect("HTTP://updates.example/app.bin", 1);
    refuses_redirect("http:/app.bin", 1);
}

/// The other host has a certificate that is in order, and would be reached.
#[test]
fn a05_a_redirect_to_another_host_is_refused() {
    refuses_redirect("https://elsewhere.example/app.bin", 1);
    refuses_redirect("https://updates.example:8443/app.bin", 1);
    refuses_redirect("https://updates.example@elsewhere.example/app.bin", 1);
    refuses_redirect("https://updates.example.elsewhere.example/app.bin", 1);
    refuses_redirect("//elsewhere.example/app.bin", 1);
    refuses_redirect("/\\elsewhere.example/app.bin", 1);
    refuses_redirect("", 1);
}

#[test]
fn a05_another_host_is_followed_where_that_is_allowed() {
    let identity = Identity { names: vec![HOST, "elsewhere.example"], ..Identity::default() };
    let (host, mut device) = (Host::with(&identity), Device::new());
    device.limits.other_hosts = true;
    host.serve("/files/app.bin", new_image());
    let location = "Location: https://elsewhere.example/files/app.bin";
    host.answer(IMAGE, move |_| format!("HTTP/1.1 302 X\r\n{location}\r\n\r\n").into());
    assert!(matches!(device.poll(&mut host.net()), Ok(Outcome::Installed { .. })));
    assert_eq!(host.sent("/files/app.bin"), new_image().len());
}

#[test]
fn a06_a_redirect_loop_ends() {
    let requests = 1 + usize::from(Limits::DEFAULT.redirects);
    refuses_redirect("itself", requests);
}

/// Returns what a device that does not trust the certificate says about it.
/// Nothing is asked of such a host.
fn distrust(identity: &Identity) -> CertificateError {
    let (host, mut device) = (Host::with(identity), Device::new());
    let error = distrusts(&mut device, &host, Host::net);
    // Trying again makes sense, with another certificate.
    device.follows(&mut Host::new().net(), NEW);
    error
}

fn distrusts(
    device: &mut Device,
    host: &Host,
    net: impl Fn(&Host) -> towline_sim::Net,
) -> CertificateError {
    let error = http(device.refuses_at_once(&mut net(host)));
    assert!(host.log().is_empty(), "a host that is not trusted was asked");
    let cause = match &error {
        HttpError::Transport(NetError::Io(error)) => error.get_ref(),
        _ => None,
    };
    match cause.and_then(|cause| cause.downcast_ref()) {
        Some(rustls::Error::InvalidCertificate(fault)) => fault.clone(),
        _ => panic!("not of a certificate: {error:?}"),
    }
}

#[test]
fn a07_a_certificate_for_another_host_is_refused() {
    for names in [vec!["elsewhere.example"], vec!["www.updates.example"], vec!["*.example.org"]] {
        let fault = distrust(&Identity { names, ..Identity::default() });
        assert!(matches!(fault, CertificateError::NotValidForNameContext { .. }), "{fault:?}");
    }
}

#[test]
fn a07_a_certificate_of_an_unknown_authority_is_refused() {
    let (host, mut device) = (Host::new(), Device::new());
    let fault = distrusts(&mut device, &host, Host::net_without_authority);
    assert!(matches!(fault, CertificateError::UnknownIssuer), "{fault:?}");
    device.follows(&mut host.net(), NEW);
}

#[test]
fn a08_an_expired_certificate_is_refused() {
    let fault = distrust(&Identity { years: (2020, 2021), ..Identity::default() });
    assert!(matches!(fault, CertificateError::ExpiredContext { .. }), "{fault:?}");
}

/// The client of the host always has a clock, so that a clock that is unset
/// shows as one that is late: the certificate is not valid yet. That a chip
/// without a clock connects to nobody is up to its TLS, and tested there.
#[test]
fn a09_a_certificate_that_is_not_valid_yet_is_refused() {
    let fault = distrust(&Identity { years: (2090, 2100), ..Identity::default() });
    assert!(matches!(fault, CertificateError::NotValidYetContext { .. }), "{fault:?}");
}

#[test]
fn a10_a_chunked_body_or_one_without_a_length_is_refused() {
    for path in [DESCRIPTOR, IMAGE] {
        for headers in [
            "",
            "Transfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\nContent-Length: 5\r\n",
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            "Content-Length: 5, 5\r\n",
            "Content-Length: -5\r\n",
            "Content-Length: 0x5\r\n",
            "Content-Length: 18446744073709551621\r\n",
        ] {
            let (host, mut device) = (Host::new(), Device::new());
            let answer = format!("HTTP/1.1 200 OK\r\n{headers}\r\n5\r\nhello\r\n0\r\n\r\n");
            host.answer(path, move |_| answer.clone().into());
            let error = http(device.refuses_at_once(&mut host.net()));
            assert!(matches!(error, HttpError::NoLength), "{headers:?}: {error}");
            host.relent();
            device.follows(&mut host.net(), NEW);
        }
    }
}

#[test]
fn a10_a_length_that_differs_from_the_size_is_refused() {
    for change in [-1, 1, 4096] {
        let (host, mut device) = (Host::new(), Device::new());
        let mut image = new_image();
        image.resize(image.len().strict_add_signed(change), 0xFF);
        host.serve(IMAGE, image);
        assert!(matches!(device.refuses_at_once(&mut host.net()), UpdateError::Length));
        host.serve(IMAGE, new_image());
        device.follows(&mut host.net(), NEW);
    }
    // A rest whose file has another size.
    let (host, mut device) = with_part_of_the_image();
    let mut longer = new_image();
    longer.resize(longer.len() + 16, 0xFF);
    host.serve(IMAGE, longer);
    assert!(matches!(device.refuses(&mut host.net()), UpdateError::Length));
    host.serve(IMAGE, new_image());
    device.follows(&mut host.net(), NEW);
}

#[test]
fn a11_the_whole_where_the_rest_was_asked_for_starts_over() {
    let (host, mut device) = with_part_of_the_image();
    host.answer(IMAGE, Asked::whole);
    device.follows(&mut host.net(), NEW);
    let log = host.log();
    let image = log.iter().find(|exchange| exchange.path == IMAGE).unwrap();
    assert_eq!(image.range, Some(format!("bytes={HELD}-")));
    assert_eq!(image.sent, new_image().len());
}

#[test]
fn a11_a_host_without_ranges_that_loses_each_connection_is_given_up() {
    let (host, mut device) = (Host::new(), Device::new());
    host.attack(IMAGE, |asked, wire| loses(&asked.whole(), LOST_AFTER, wire));
    assert!(matches!(http(device.refuses(&mut host.net())), HttpError::Truncated));
    let attempts = host.log().iter().filter(|e| e.path == IMAGE).count();
    assert_eq!(attempts, Limits::DEFAULT.attempts as usize);
    host.relent();
    device.follows(&mut host.net(), NEW);
    assert_eq!(host.sent(IMAGE), new_image().len() - HELD);
}

#[test]
fn a11_a_wrong_range_is_refused_and_costs_nothing_that_is_held() {
    let (host, mut device) = with_part_of_the_image();
    let size = new_image().len();
    let right = format!("bytes {HELD}-{}/{size}", size - 1);
    for wrong in [
        format!("bytes 0-{}/{size}", size - 1),
        format!("bytes {}-{}/{size}", HELD - 1, size - 1),
        format!("bytes {}-{}/{size}", HELD + 1, size - 1),
        format!("bytes {HELD}-{}/{size}", size - 2),
        format!("bytes {HELD}-{size}/{size}"),
        format!("bytes {HELD}-{}/*", size - 1),
        format!("bytes */{size}"),
        format!("bytes {HELD}-4294967295/0"),
        format!("bytes {HELD}-{}/4294967296", u32::MAX),
        "none".into(),
        String::new(),
    ] {
        let (from, to) = (right.clone(), wrong.clone());
        host.answer(IMAGE, move |asked| asked.answer_with(&from, &to));
        let error = http(device.refuses_at_once(&mut host.net()));
        assert!(matches!(error, HttpError::Range), "{wrong:?}: {error}");
    }
    host.answer(IMAGE, |asked| asked.answer_with("Content-Range", "X-Range"));
    assert!(matches!(http(device.refuses_at_once(&mut host.net())), HttpError::Range));
    host.relent();
    device.follows(&mut host.net(), NEW);
    assert_eq!(host.sent(IMAGE), size - HELD);
}

#[test]
fn a11_a_rest_that_nobody_asked_for_is_refused() {
    for path in [DESCRIPTOR, IMAGE] {
        let (host, mut device) = (Host::new(), Device::new());
        host.answer(path, |asked| replace(&asked.whole(), "200 OK", "206 Partial Content"));
        assert!(matches!(http(device.refuses_at_once(&mut host.net())), HttpError::Status(206)));
        host.answer(path, |_| b"HTTP/1.1 416 X\r\nContent-Length: 0\r\n\r\n".to_vec());
        assert!(matches!(http(device.refuses_at_once(&mut host.net())), HttpError::Status(416)));
        host.relent();
        device.follows(&mut host.net(), NEW);
    }
}

#[test]
fn a11_other_bytes_in_the_right_range_never_boot() {
    let (host, mut device) = with_part_of_the_image();
    host.answer(IMAGE, |asked| {
        let mut answer = asked.answer();
        let middle = answer.len() - 10_000;
        answer[middle] ^= 1;
        answer
    });
    let error = device.refuses(&mut host.net());
    assert!(matches!(error, UpdateError::Ota(OtaError::Image(_) | OtaError::Digest)), "{error}");
    host.relent();
    device.follows(&mut host.net(), NEW);
    assert_eq!(host.sent(IMAGE), new_image().len(), "nothing goes on behind a bad image");
}

#[test]
fn a12_a_rest_with_another_etag_starts_over() {
    for etag in ["ETag: \"other\"\r\nX-Old", "ETag: W/\"0\"\r\nX-Old", "X-Old"] {
        let (host, mut device) = with_part_of_the_image();
        host.answer(IMAGE, move |asked| asked.answer_with("ETag", etag));
        device.follows(&mut host.net(), NEW);
        let log = host.log();
        let image: Vec<_> = log.iter().filter(|exchange| exchange.path == IMAGE).collect();
        assert_eq!(image.len(), 2, "{log:?}");
        assert_eq!(image[0].range, Some(format!("bytes={HELD}-")));
        assert_eq!((image[1].range.as_deref(), image[1].sent), (None, new_image().len()));
    }
}

#[test]
fn a12_no_stored_copy_no_304() {
    for path in [DESCRIPTOR, IMAGE] {
        let (host, mut device) = (Host::new(), Device::new());
        host.answer(path, |_| b"HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n".to_vec());
        assert!(matches!(http(device.refuses_at_once(&mut host.net())), HttpError::Status(304)));
        assert!(host.log().iter().all(|exchange| exchange.if_none_match.is_none()));
        host.relent();
        device.follows(&mut host.net(), NEW);
    }
}

#[test]
fn a12_a_descriptor_that_changed_is_never_hidden_by_an_old_etag() {
    let (host, mut device) = (Host::new(), Device::new());
    device.follows(&mut host.net(), NEW);
    host.log();
    assert_eq!(device.stays(&mut host.net()), Reason::UpToDate);
    let log = host.log();
    assert!(log[0].if_none_match.is_some() && log[0].sent == 0, "{log:?}");
    // The host forgets to answer 304, and sends all of it: the same decision.
    host.answer(DESCRIPTOR, Asked::whole);
    assert_eq!(device.stays(&mut host.net()), Reason::UpToDate);
    host.relent();
    let next = image(NEXT, 50_000);
    host.serve(DESCRIPTOR, Offer::of(NEXT, &next).json().into());
    host.serve(IMAGE, next);
    device.follows(&mut host.net(), NEXT);
}

/// An answer to this device only: an ETag that cannot be sent back is never
/// sent back.
#[test]
fn a12_an_etag_that_would_break_the_request_is_not_kept() {
    let long = format!("\"{}\"", "x".repeat(100));
    for etag in [&long, "\"a b\"", "\"a\tb\"", "unquoted", "\"\u{e4}\"", "W/", ""] {
        let host = Host::new();
        let mut device = Device::running(NEW);
        let etag = format!("ETag: {etag}\r\nX-Old");
        host.answer(DESCRIPTOR, move |asked| asked.answer_with("ETag", &etag));
        for _ in 0..2 {
            assert_eq!(device.stays(&mut host.net()), Reason::UpToDate);
            assert_eq!(host.log()[0].if_none_match, None);
        }
    }
}
