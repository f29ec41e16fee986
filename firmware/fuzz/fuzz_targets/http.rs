//! Answers of a host, in pieces, to requests with and without `Range` and
//! `If-None-Match`.
#![no_main]

use embassy_futures::block_on;
use libfuzzer_sys::fuzz_target;
use towline::{
    Limits,
    descriptor::Url,
    http::{self, HEAD, Request, Status},
    pace::Pace,
};
use towline_fuzz::{Host, Input};
use towline_sim::Counted;

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let piece = usize::from(input.byte()) + 1;
    let flags = input.byte();
    let from = if flags & 1 == 0 { 0 } else { u32::from(input.byte()) };
    let if_none_match = (flags & 2 != 0).then_some("\"a\"");
    let answer = input.rest();

    let mut host = Host { answer, piece, request: Vec::new() };
    let clock = Counted::default();
    let mut pace = Pace::new(&clock, Limits::DEFAULT);
    let url = Url::parse("https://example.org/a").expect("a plain URL");
    let request = Request { url, if_none_match, from };
    let mut head = [0; HEAD];
    block_on(async {
        let Ok(mut response) = http::get(&mut host, &mut pace, &request, &mut head).await else {
            return;
        };
        if let Some(location) = response.location(&head) {
            let _ = Url::parse(location);
        }
        if let Some(etag) = &response.etag {
            assert!(etag.bytes().all(|byte| byte.is_ascii_graphic()), "{etag}");
        }
        let (length, status) = (response.length(), response.status);
        match status {
            Status::Whole => {}
            Status::Rest { size } => assert_eq!((from > 0, size - from), (true, length)),
            Status::NotModified => assert!(if_none_match.is_some()),
            Status::NoSuchRange => assert!(from > 0),
            Status::Elsewhere => assert_eq!(length, 0),
        }
        let body = if flags & 4 == 0 {
            let mut body = [0; 512];
            let Ok(Some(body)) = response.read_all(&mut pace, &head, &mut body).await else {
                return;
            };
            body.to_vec()
        } else {
            let mut body = head[response.take_early()].to_vec();
            let mut buffer = [0; 33];
            loop {
                match response.read(&mut pace, &mut buffer).await {
                    Ok(0) => break,
                    Ok(count) => body.extend(&buffer[..count]),
                    Err(_) => return,
                }
            }
            body
        };
        assert_eq!(body.len(), length as usize);
        assert!(body.is_empty() || answer.windows(body.len()).any(|part| part == body));
    });
});
