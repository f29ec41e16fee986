//! The page of a device: it shows what is installed without a script, and with
//! one uses the API.
//!
//! It is one document, so that a device with few sockets serves it in one
//! request. Its policy names the digests of its style and script: nothing else
//! runs, and nothing is loaded from elsewhere.

use super::{Offered, Text, view::state_name};
use crate::slots::Contents;
use core::fmt::{self, Write};

/// The page up to what is installed.
pub(super) const BEFORE: &[u8] = include_bytes!("../../page/before.html");

/// The page after what is installed.
pub(super) const AFTER: &[u8] = include_bytes!("../../page/after.html");

/// Header lines of the page.
pub(super) const HEADERS: &str = concat!(
    "Content-Security-Policy: default-src 'none'; style-src 'sha256-",
    "JW4rO5ARdCfuuihsiqz9AQHtyQay+iyvWJq/NBBzaQU=",
    "'; script-src 'sha256-",
    "GXbi27/HZOCzRWsUMWHd05C5RdjihIPE/U57HnlG7fw=",
    "'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; ",
    "frame-ancestors 'none'\r\n",
    "Referrer-Policy: no-referrer\r\nCross-Origin-Opener-Policy: same-origin\r\n",
);

/// Writes what is installed; returns the length. What does not fit is cut, at
/// the end of a slot.
pub(super) fn render(contents: &Contents, offered: Option<&Offered>, buffer: &mut [u8]) -> usize {
    let mut page = Text { buffer, len: 0 };
    // A page that is too long ends early, and is still one.
    let _ = write_contents(&mut page, contents, offered);
    page.len
}

fn write_contents(page: &mut Text<'_>, info: &Contents, offered: Option<&Offered>) -> fmt::Result {
    if let Some(app) = info.running_app() {
        let project = Escaped(app.project_name.as_str());
        let version = Escaped(app.version.as_str());
        piece(page, format_args!("<p><strong>{project} {version}</strong> runs.</p>\n"))?;
    }
    if info.next_boot != info.running {
        piece(page, format_args!("<p>After the next restart, {} runs.</p>\n", info.next_boot))?;
    }
    if let Some(offered) = offered.filter(|offered| !offered.is_old()) {
        let version = Escaped(&offered.version);
        match offered.reason {
            Some(reason) => piece(
                page,
                format_args!("<p><strong>{version}</strong> is offered: {reason}.</p>\n"),
            )?,
            None => piece(page, format_args!("<p><strong>{version}</strong> is offered.</p>\n"))?,
        }
        if !offered.notes.is_empty() {
            let notes = Escaped(&offered.notes);
            piece(page, format_args!("<blockquote>{notes}</blockquote>\n"))?;
        }
        if offered.is_for_user() {
            piece(
                page,
                format_args!(
                    "<p class=\"needs-script\"><button id=\"approve\" type=\"button\" \
                     class=\"main\">Install {version}</button></p>\n"
                ),
            )?;
        }
    }
    piece(page, format_args!("<ul aria-label=\"Slots\">\n"))?;
    for slot in &info.slots {
        let name = slot.slot;
        let runs = if name == info.running { ", runs" } else { "" };
        let Ok(app) = &slot.app else {
            piece(page, format_args!("<li><strong>{name}</strong>: <small>empty</small></li>\n"))?;
            continue;
        };
        piece(
            page,
            format_args!(
                "<li><strong>{name}</strong>: {} {} <small>{}{runs}<br>{} {} {}</small></li>\n",
                Escaped(app.project_name.as_str()),
                Escaped(app.version.as_str()),
                state_name(slot.state),
                Escaped(app.date.as_str()),
                Escaped(app.time.as_str()),
                Escaped(app.idf_version.as_str()),
            ),
        )?;
    }
    // Its end tag opens the rest of the page.
    Ok(())
}

/// Adds HTML whole or not at all.
fn piece(page: &mut Text<'_>, html: fmt::Arguments<'_>) -> fmt::Result {
    let before = page.len;
    page.write_fmt(html).inspect_err(|_| page.len = before)
}

/// Text of an image, which may be anything, as HTML.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|char| match char {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            char => f.write_char(char),
        })
    }
}
