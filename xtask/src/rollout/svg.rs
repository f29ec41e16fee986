//! The course of a rollout as a picture that stands by itself.

use super::{
    Board, Course, Duration, Fleet, Phase, Wait,
    chart::{stage_text, summary},
};
use crate::svg::{picture, text};
use std::fmt::Write;
use towline::Reason;

/// Left and right edge of both diagrams.
pub(crate) const LEFT: f64 = 60.0;
pub(crate) const RIGHT: f64 = 930.0;
/// Distance of two lines of a legend.
const LINE: f64 = 22.0;

/// Colours of light and dark ground. What waits for people or for the
/// publisher is warm, what waits for a time is cool.
pub(crate) const STYLE: &str = "
svg{font:13px system-ui,-apple-system,\"Segoe UI\",Roboto,sans-serif;background:#fff}
.ground{fill:#fff}text{fill:#13202c}.quiet{fill:#51616f}.title{font-size:19px;font-weight:600}
.head{font-weight:600}.grid{stroke:#dbe2e9}.stage{stroke:#13202c;stroke-dasharray:4 4}
.area{stroke:#fff;stroke-width:.75}.v0{fill:#0b5aa5}.v1{fill:#3f9b8f}.v2{fill:#8fcabf}.v3{fill:#c6d0da}
.v4{fill:#a9b6c3}.v5{fill:#8d9cab}.way{fill:#3f9b8f}.window{fill:#7a6fc4}.user{fill:#d9822b}
.rollout{fill:#b9c5d0}.paused{fill:#c2413a}.date{fill:#9a8fd8}.never{fill:#7d1f1a}.unasked{fill:#dfe6ec}
.off{fill:#67747f}
@media (prefers-color-scheme:dark){svg{background:#0c131a}.ground{fill:#0c131a}text{fill:#e6edf3}
.quiet{fill:#9db0c0}.grid{stroke:#24323f}.stage{stroke:#e6edf3}.area{stroke:#0c131a}.v0{fill:#58a9f0}
.v1{fill:#46a89b}.v2{fill:#2d7168}.v3{fill:#3c4f60}.v4{fill:#53677a}.v5{fill:#6b8094}.way{fill:#46a89b}
.window{fill:#9287e0}.user{fill:#e79a4b}.rollout{fill:#3c4f60}.paused{fill:#e0625a}.date{fill:#6d62b5}
.never{fill:#f0938d}.unasked{fill:#1d2a35}.off{fill:#8b98a3}}
";

/// Draws a course.
pub fn svg(course: &Course, fleet: &Fleet, board: &Board<'_>, phases: &[Phase]) -> String {
    let title =
        format!("Rollout of {} {} to {} devices", board.project, course.goal, course.devices);
    let (mut body, lines) = head(course, fleet, board, &title);
    let y = areas(&mut body, 110.0, course, phases);
    let stages = stages(phases);
    let desc = format!("{} Stages: {stages}. {}", lines.join(" "), at_the_end(course));
    picture(y + 8.0, &title, &desc, STYLE, &body)
}

/// Begins a picture with its title and two lines, which are returned too.
pub(crate) fn head(
    course: &Course,
    fleet: &Fleet,
    board: &Board<'_>,
    title: &str,
) -> (String, [String; 2]) {
    let channel = format!(
        "Channel {}, target {}, a poll every {}.",
        board.channel, board.target, fleet.period
    );
    let reached = format!("The release runs on {}.", summary(course));
    let mut body = String::new();
    text(&mut body, LEFT, 34.0, "title", "start", title);
    text(&mut body, LEFT, 57.0, "quiet", "start", &channel);
    text(&mut body, LEFT, 77.0, "quiet", "start", &reached);
    (body, [channel, reached])
}

/// Says how far the release is rolled out when.
pub(crate) fn stages(phases: &[Phase]) -> String {
    let stages: Vec<_> = phases
        .iter()
        .map(|phase| match phase.at {
            0 => format!("{} at the start", stage_text(phase.rollout)),
            at => format!("{} after {}", stage_text(phase.rollout), Duration::from_seconds(at)),
        })
        .collect();
    stages.join(", ")
}

/// Draws what devices run, and why others wait. Returns where it ends.
pub(crate) fn areas(body: &mut String, top: f64, course: &Course, phases: &[Phase]) -> f64 {
    let versions: Vec<_> = course
        .versions
        .iter()
        .enumerate()
        .filter(|(_, (_, counts))| counts.iter().any(|count| *count > 0))
        .map(|(index, (version, counts))| {
            let class = ["v0", "v1", "v2", "v3", "v4", "v5"][index_of_colour(course, index)];
            Layer { class, label: format!("runs {version}"), counts }
        })
        .collect();
    let waits: Vec<_> = course
        .waits
        .iter()
        .map(|(wait, counts)| Layer { class: class(*wait), label: wait.label(), counts })
        .collect();
    text(body, LEFT, top, "head", "start", "What devices run");
    text(body, RIGHT, top, "quiet", "end", "Percentages in the lists: at the end");
    let what_runs = Diagram { top: top + 46.0, height: 210.0, course };
    what_runs.draw(body, &versions);
    what_runs.stages(body, phases);
    let mut y = what_runs.bottom() + 46.0;
    y = legend(body, y, course, &versions);
    if !waits.is_empty() {
        y += 20.0;
        text(body, LEFT, y, "head", "start", "Why others wait");
        let why = Diagram { top: y + 14.0, height: 150.0, course };
        why.draw(body, &waits);
        why.marks(body, phases);
        y = legend(body, why.bottom() + 46.0, course, &waits);
    }
    y
}

/// Returns the colour of a version: one for the goal, some for those on the
/// way, others for what ran before.
fn index_of_colour(course: &Course, index: usize) -> usize {
    let ran_before = |index: usize| course.versions[index].1[0] > 0;
    let before = (1..index).filter(|other| ran_before(*other) == ran_before(index)).count();
    match (index, ran_before(index)) {
        (0, _) => 0,
        (_, false) => 1 + before.min(1),
        (_, true) => 3 + before.min(2),
    }
}

fn class(wait: Wait) -> &'static str {
    match wait {
        Wait::OnTheWay | Wait::Loading => "way",
        Wait::BrokenOff => "user",
        Wait::NoAnswer => "paused",
        Wait::Unasked => "unasked",
        Wait::Off => "off",
        Wait::Told(Reason::OutsideWindow) => "window",
        Wait::Told(Reason::NeedsApproval) => "user",
        Wait::Told(Reason::NotInRollout) => "rollout",
        Wait::Told(Reason::Paused) => "paused",
        Wait::Told(Reason::NotYet | Reason::Ended | Reason::ClockUnset) => "date",
        Wait::Told(_) => "never",
    }
}

pub(crate) fn at_the_end(course: &Course) -> String {
    let last = course.times.len() - 1;
    let mut parts = vec![format!("{} run {}", course.done()[last], course.goal)];
    for (wait, counts) in course.waits.iter().filter(|(_, counts)| counts[last] > 0) {
        parts.push(format!("{}: {}", wait.label(), counts[last]));
    }
    format!("At the end: {}.", parts.join("; "))
}

/// Devices that have something in common, over time.
struct Layer<'c> {
    class: &'static str,
    label: String,
    counts: &'c [u32],
}

/// Areas over time, one upon the other.
struct Diagram<'c> {
    top: f64,
    height: f64,
    course: &'c Course,
}

impl Diagram<'_> {
    fn bottom(&self) -> f64 {
        self.top + self.height
    }

    fn x(&self, at: u64) -> f64 {
        let span = self.course.times.last().copied().unwrap_or(1).max(1);
        x(at, span)
    }

    fn y(&self, count: u64) -> f64 {
        self.bottom() - self.height * count as f64 / f64::from(self.course.devices.max(1))
    }

    fn draw(&self, body: &mut String, layers: &[Layer<'_>]) {
        for percent in [0_u32, 50, 100] {
            let y = self.bottom() - self.height * f64::from(percent) / 100.0;
            let _ = writeln!(body, "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/>");
            text(body, LEFT - 8.0, y + 4.5, "quiet", "end", &format!("{percent} %"));
        }
        let mut below = vec![0_u64; self.course.times.len()];
        for layer in layers {
            let above: Vec<_> =
                below.iter().zip(layer.counts).map(|(sum, n)| sum + u64::from(*n)).collect();
            let mut path = String::new();
            let upper = above.iter().enumerate();
            let lower = below.iter().enumerate().rev();
            let mut points: Vec<(f64, f64)> = upper
                .chain(lower)
                .map(|(tick, count)| (self.x(self.course.times[tick]), self.y(*count)))
                .collect();
            // Points on a level line say nothing.
            let mut kept = 1;
            for at in 1..points.len() {
                let level = |a: (f64, f64), b: (f64, f64)| (a.1 - b.1).abs() < 0.05;
                let is_level = at + 1 < points.len()
                    && level(points[kept - 1], points[at])
                    && level(points[at], points[at + 1]);
                if !is_level {
                    points[kept] = points[at];
                    kept += 1;
                }
            }
            for (at, (x, y)) in points[..kept].iter().enumerate() {
                let _ = write!(path, "{}{x:.1} {y:.1}", if at == 0 { "M" } else { "L" });
            }
            let _ = writeln!(body, "<path class=\"area {}\" d=\"{path}Z\"/>", layer.class);
            below = above;
        }
        self.axis(body);
    }

    fn axis(&self, body: &mut String) {
        let span = self.course.times.last().copied().unwrap_or(1).max(1);
        axis(body, span, self.bottom());
    }

    /// Marks the stages with a line each.
    fn marks(&self, body: &mut String, phases: &[Phase]) {
        for x in phases.iter().filter(|phase| phase.at > 0).map(|phase| self.x(phase.at)) {
            if x <= RIGHT {
                let (top, bottom) = (self.top, self.bottom());
                let _ = writeln!(body, "<path class=\"stage\" d=\"M{x:.1} {top}V{bottom}\"/>");
            }
        }
    }

    /// Marks the stages, and says what each is.
    fn stages(&self, body: &mut String, phases: &[Phase]) {
        self.marks(body, phases);
        let mut free = [f64::MIN; 2];
        for phase in phases {
            let x = self.x(phase.at);
            if x > RIGHT {
                continue;
            }
            let label = stage_text(phase.rollout);
            let width = label.chars().count() as f64 * 7.5 + 12.0;
            // Labels that would touch go one above the other.
            let row = free.iter().position(|free| x >= *free).unwrap_or(0);
            free[row] = x + width;
            let anchor = if x + width > RIGHT { "end" } else { "start" };
            let y = self.top - 8.0 - row as f64 * 16.0;
            text(body, x, y, "head", anchor, &label);
        }
    }
}

/// Writes times below a diagram of so many seconds.
pub(crate) fn axis(body: &mut String, span: u64, bottom: f64) {
    let hours = [1, 2, 3, 6, 12, 24, 48, 96, 168, 336, 672, 2688];
    let step = hours.iter().map(|hours| hours * 3600).find(|step| span / step <= 10);
    for at in (0..=span).step_by(step.unwrap_or(span) as usize) {
        let label = match at {
            0 => "start".into(),
            at => Duration::from_seconds(at).to_string(),
        };
        text(body, x(at, span), bottom + 18.0, "quiet", "middle", &label);
    }
}

/// Returns where a second is.
pub(crate) fn x(at: u64, span: u64) -> f64 {
    LEFT + (RIGHT - LEFT) * at as f64 / span as f64
}

/// Lists layers in three columns, with their counts at the end. Returns where it ends.
fn legend(body: &mut String, top: f64, course: &Course, layers: &[Layer<'_>]) -> f64 {
    let last = course.times.len() - 1;
    for (index, layer) in layers.iter().enumerate() {
        let (x, y) = (LEFT + (index % 3) as f64 * 294.0, top + (index / 3) as f64 * LINE);
        let percent = f64::from(layer.counts[last]) * 100.0 / f64::from(course.devices.max(1));
        let _ = writeln!(
            body,
            "<rect class=\"area {}\" x=\"{x}\" y=\"{:.1}\" width=\"13\" height=\"13\" rx=\"2\"/>",
            layer.class,
            y - 11.0
        );
        text(body, x + 20.0, y, "", "start", &format!("{}, {percent:.1} %", layer.label));
    }
    top + layers.len().div_ceil(3) as f64 * LINE
}
