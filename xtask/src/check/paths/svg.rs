//! Update paths as a picture: releases from the newest down, an arrow for each update.

use super::{End, Group, UpdatePath, channels, groups, range_text};
use crate::svg::{picture, text};
use std::{collections::BTreeSet, fmt::Write, iter};
use towline_descriptor::Version;

/// Where versions end, where their dots are, and where what is said of them begins.
const VERSIONS: f64 = 190.0;
const DOTS: f64 = 210.0;
const WORDS: f64 = 430.0;
/// Height of a line, and of the head of a channel.
const LINE: f64 = 24.0;
const HEAD: f64 = 44.0;

const STYLE: &str = "
svg{font:13px system-ui,-apple-system,\"Segoe UI\",Roboto,sans-serif;background:#fff}
.ground{fill:#fff}text{fill:#13202c}.quiet{fill:#51616f}.title{font-size:19px;font-weight:600}
.head{font-size:15px;font-weight:600}.fault{fill:#b3261e;font-weight:600}
.way{fill:none;stroke:#8fb3d4;stroke-width:1.5}.tip{fill:#5b8dbb}
.dot{fill:#8d9cab}.served{fill:#0b5aa5}.lost{fill:#b3261e}
@media (prefers-color-scheme:dark){svg{background:#0c131a}.ground{fill:#0c131a}text{fill:#e6edf3}
.quiet{fill:#9db0c0}.fault{fill:#f0938d}.way{stroke:#3f6387}.tip{fill:#6f9cc4}.dot{fill:#6b8094}
.served{fill:#58a9f0}.lost{fill:#f0938d}}
";

/// Draws the paths, a part for each channel.
pub fn svg(project: &str, paths: &[UpdatePath]) -> String {
    let title = format!("Update paths of {project}");
    let faults = paths.iter().filter(|path| path.is_fault()).count();
    let desc = match faults {
        0 => "Every device reaches what its channel serves, or stays ahead of it.".to_owned(),
        1 => "One kind of device never reaches what its channel serves.".to_owned(),
        _ => format!("{faults} kinds of devices never reach what their channels serve."),
    };
    let mut body = String::new();
    text(&mut body, 30.0, 36.0, "title", "start", &title);
    text(&mut body, 30.0, 58.0, "quiet", "start", &desc);
    let groups = groups(paths);
    let mut top = 84.0;
    for (channel, targets) in channels(paths) {
        let of_channel: Vec<_> = groups.iter().filter(|group| group.channel == channel).collect();
        text(&mut body, 30.0, top + 18.0, "head", "start", &format!("Channel {channel}"));
        top = draw(&mut body, top + HEAD, &of_channel, targets);
    }
    picture(top + 4.0, &title, &desc, STYLE, &body)
}

/// Draws the releases of a channel from `top` down. Returns where that ends.
fn draw(body: &mut String, top: f64, groups: &[&Group<'_>], targets: usize) -> f64 {
    // A line for each group; the dot of a release is in its first.
    let mut dots: Vec<(&Version, f64)> = Vec::new();
    for (line, group) in groups.iter().enumerate() {
        if dots.last().is_none_or(|(version, _)| *version != group.from) {
            dots.push((group.from, top + line as f64 * LINE));
        }
    }
    let y = |version: &str| dots.iter().find(|(dot, _)| dot.as_str() == version).map(|(_, y)| *y);
    let updates: BTreeSet<(&str, &str)> =
        groups.iter().flat_map(|group| updates(group.path)).collect();
    for (from, to) in updates {
        if let Some((from, to)) = y(from).zip(y(to)) {
            // The further, the wider; all stay clear of the words.
            let bulge = 30.0 + (from - to).abs().sqrt() * 8.0;
            let bulge = DOTS + bulge.min(WORDS - DOTS + 40.0);
            let start = DOTS + 6.0;
            let _ = writeln!(
                body,
                "<path class=\"way\" d=\"M{start} {from:.1}C{bulge:.1} {from:.1} {bulge:.1} {to:.1} {:.1} {to:.1}\"/>\
                 <path class=\"tip\" d=\"M{start} {to:.1}l9 -4v8Z\"/>",
                start + 8.0
            );
        }
    }
    for (version, y) in &dots {
        let of_version = || groups.iter().filter(|group| group.from == *version);
        let class = if of_version().any(|group| group.path.is_fault()) {
            "lost"
        } else if of_version().all(|group| group.path.legs.is_empty()) {
            "served"
        } else {
            "dot"
        };
        let _ = writeln!(body, "<circle class=\"{class}\" cx=\"{DOTS}\" cy=\"{y:.1}\" r=\"5\"/>");
        text(body, VERSIONS, y + 4.5, "", "end", version.as_str());
    }
    for (line, group) in groups.iter().enumerate() {
        let bytes = range_text(group.bytes.0, group.bytes.1);
        let mut words = match (group.path.legs.len(), &group.path.end) {
            (0, _) => group.end_text(),
            (1, End::Served) => bytes,
            (count, End::Served) => format!("{bytes} in {count} updates"),
            _ => format!("{}, {bytes}", group.path.end),
        };
        if let (Some(reason), 1..) = (&group.path.held, group.path.legs.len()) {
            words = format!("{words}; not now: {reason}");
        }
        if targets > group.targets.len() {
            words = format!("{}: {words}", group.targets_text(targets));
        }
        let class = if group.path.is_fault() { "fault" } else { "quiet" };
        text(body, WORDS, top + line as f64 * LINE + 4.5, class, "start", &words);
    }
    top + groups.len() as f64 * LINE
}

/// Returns the updates of a path, each from one version to another.
fn updates(path: &UpdatePath) -> impl Iterator<Item = (&str, &str)> {
    let installed = path.legs.iter().map(|leg| leg.version.as_str());
    iter::once(path.from.as_str()).chain(installed.clone()).zip(installed)
}
