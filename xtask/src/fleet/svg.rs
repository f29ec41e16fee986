//! A fleet and the load of its host, as a picture that stands by itself.

use super::{Load, World};
use crate::{
    rollout::{
        Board, Course, Phase,
        svg::{LEFT, RIGHT, STYLE, areas, at_the_end, axis, head, stages, x},
    },
    svg::{picture, text},
};
use std::fmt::Write;

/// Height of a diagram of the load.
const HEIGHT: f64 = 110.0;

/// Megabits of a byte.
const MEGABITS: f64 = 8e-6;

/// What the diagrams of the load are drawn with, beside what those of a course are.
const LOAD: &str = "
.mean{fill:#0b5aa5}.most{fill:none;stroke:#d9822b;stroke-width:1.25}.limit{stroke:#c2413a;stroke-width:1.5}
@media (prefers-color-scheme:dark){.mean{fill:#58a9f0}.most{stroke:#e79a4b}.limit{stroke:#e0625a}}
";

/// Draws a course with the load of its host.
pub fn svg(
    course: &Course,
    load: &Load,
    world: &World,
    board: &Board<'_>,
    phases: &[Phase],
) -> String {
    let title = format!("{} {} on {} devices", board.project, course.goal, course.devices);
    let (mut body, lines) = head(course, &world.fleet, board, &title);
    let mut y = areas(&mut body, 110.0, course, phases) + 20.0;
    let requests = Curve::of_requests(course, load);
    let heading = "Requests a second: mean, and the busiest second";
    y = requests.draw(&mut body, y, heading, course, world.most_requests.map(f64::from));
    let images = Curve::of_images(course, load);
    let limit = world.bandwidth.map(|bytes| bytes as f64 * MEGABITS);
    y = images.draw(&mut body, y + 12.0, "Images sent, in Mbit/s", course, limit);
    let (second, most) = load.busiest();
    let desc = format!(
        "{} Stages: {}. {} At most {most} requests in a second, the one {second} s from the start; \
         {} refused, {} without an answer.",
        lines.join(" "),
        stages(phases),
        at_the_end(course),
        load.refused,
        load.unanswered,
    );
    picture(y + 8.0, &title, &desc, &format!("{STYLE}{LOAD}"), &body)
}

/// A number between each two counts: its mean, and its peak if it has one.
struct Curve {
    mean: Vec<f64>,
    most: Vec<f64>,
}

impl Curve {
    fn of_requests(course: &Course, load: &Load) -> Self {
        let between = |span: &[u64]| {
            let last = load.requests.len();
            &load.requests[(span[0] as usize).min(last)..(span[1] as usize).min(last)]
        };
        let mean = |counts: &[u32]| {
            counts.iter().map(|count| f64::from(*count)).sum::<f64>() / counts.len().max(1) as f64
        };
        let spans = || course.times.windows(2);
        let most = |span| between(span).iter().copied().max().unwrap_or(0).into();
        Self {
            mean: spans().map(|span| mean(between(span))).collect(),
            most: spans().map(most).collect(),
        }
    }

    fn of_images(course: &Course, load: &Load) -> Self {
        let spans = course.times.windows(2).zip(load.bytes.iter().skip(1));
        let rate = |(span, bytes): (&[u64], &u64)| {
            *bytes as f64 * MEGABITS / (span[1] - span[0]).max(1) as f64
        };
        Self { mean: spans.map(rate).collect(), most: Vec::new() }
    }

    /// Draws it below `top`, with the host's limit if that is in sight. Returns where
    /// it ends.
    fn draw(
        &self,
        body: &mut String,
        top: f64,
        heading: &str,
        course: &Course,
        limit: Option<f64>,
    ) -> f64 {
        text(body, LEFT, top, "head", "start", heading);
        let bottom = top + 14.0 + HEIGHT;
        let peak = self.mean.iter().chain(&self.most).copied().fold(0.0, f64::max);
        let in_sight = limit.filter(|limit| *limit <= peak * 3.0);
        let peak = in_sight.map_or(peak, |limit| limit.max(peak)).max(f64::MIN_POSITIVE);
        let y = |value: f64| bottom - HEIGHT * value / peak;
        for part in [0.0, 0.5, 1.0] {
            let at = bottom - HEIGHT * part;
            let _ = writeln!(body, "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{RIGHT}\"/>");
            let decimals = usize::from(peak < 10.0);
            let label = format!("{:.decimals$}", peak * part);
            text(body, LEFT - 8.0, at + 4.5, "quiet", "end", &label);
        }
        let span = course.times.last().copied().unwrap_or(1).max(1);
        let steps = |values: &[f64]| {
            let mut path = String::new();
            for (times, value) in course.times.windows(2).zip(values) {
                let (from, to) = (x(times[0], span), x(times[1], span));
                let _ = write!(path, "L{from:.1} {0:.1}L{to:.1} {0:.1}", y(*value));
            }
            path
        };
        let mean = steps(&self.mean);
        let _ = writeln!(
            body,
            "<path class=\"mean\" d=\"M{LEFT} {bottom:.1}{mean}L{RIGHT} {bottom:.1}Z\"/>"
        );
        if let Some(rest) = steps(&self.most).strip_prefix('L') {
            let _ = writeln!(body, "<path class=\"most\" d=\"M{rest}\"/>");
        }
        if let Some(limit) = in_sight {
            let at = y(limit);
            let _ = writeln!(body, "<path class=\"limit\" d=\"M{LEFT} {at:.1}H{RIGHT}\"/>");
            text(body, RIGHT, at - 4.0, "quiet", "end", "limit of the host");
        }
        axis(body, span, bottom);
        bottom + 46.0
    }
}
