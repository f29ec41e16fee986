//! The course of a rollout in 80 columns of plain text.

use super::{Board, Course, Duration, Fleet, Phase, Wait};
use std::fmt::Write;
use towline::Reason;
use towline_descriptor::Rollout;

/// Columns of a bar.
const WIDTH: usize = 46;

/// Most bars.
const ROWS: u64 = 29;

/// Times between two bars, in hours.
const STEPS: [u64; 9] = [1, 2, 3, 6, 12, 24, 48, 96, 168];

/// Draws a course: a bar for each point of time, and what its letters mean.
pub fn chart(course: &Course, phases: &[Phase]) -> String {
    let mut text = String::new();
    let span = course.times.last().copied().unwrap_or(0);
    let step = STEPS.iter().map(|hours| hours * 3600).find(|step| span / step < ROWS);
    let step = step.unwrap_or(span.div_ceil(ROWS - 1));
    let rule = format!("{:>10} +{}+", "", "-".repeat(WIDTH));
    let scale = format!("0 %{:>1$}", "100 %", WIDTH - 1);
    let _ = writeln!(text, "{:>11}{scale}\n{rule}", "");
    let mut told = 0;
    for at in (0..=span).step_by(step as usize) {
        let tick = course.times.partition_point(|time| *time <= at) - 1;
        let done = f64::from(course.done()[tick]) * 100.0 / f64::from(course.devices.max(1));
        let begun = phases.partition_point(|phase| phase.at <= at);
        // Whoever begins between two bars is told at the second of them.
        let notes: Vec<_> =
            phases[told.min(begun)..begun].iter().map(|phase| stage_text(phase.rollout)).collect();
        told = begun;
        let note =
            if notes.is_empty() { String::new() } else { format!(" <- {}", notes.join(", ")) };
        let time = Duration::from_seconds(at).to_string();
        let time = if at == 0 { "start".into() } else { time };
        let _ = writeln!(text, "{time:>10} |{}|{done:6.1} %{note}", bar(course, tick));
    }
    let _ = writeln!(text, "{rule}");
    let last = course.times.len() - 1;
    let line = |symbol: char, words: &str, count: u32| {
        let percent = f64::from(count) * 100.0 / f64::from(course.devices.max(1));
        format!("{:>10} {symbol} {words:<44}{count:>8}{percent:7.1} %\n", "")
    };
    let _ = writeln!(text, "{:>10}   {:<44}{:>8}", "", "", "at the end");
    text += &line('\u{2588}', &format!("runs {}", course.goal), course.done()[last]);
    for (wait, counts) in &course.waits {
        text += &line(symbol(*wait), &wait.label(), counts[last]);
    }
    text
}

/// Says what is drawn, and what comes of it.
pub fn headline(course: &Course, fleet: &Fleet, board: &Board<'_>) -> String {
    let span = Duration::from_seconds(course.times.last().copied().unwrap_or(0));
    format!(
        "{} {} on {} for {}: {} devices, a poll every {}, over {span}\n{}",
        board.project,
        course.goal,
        board.channel,
        board.target,
        course.devices,
        fleet.period,
        summary(course)
    )
}

/// Says when parts of the fleet run the goal.
pub(super) fn summary(course: &Course) -> String {
    let span = Duration::from_seconds(course.times.last().copied().unwrap_or(0));
    let mut parts = Vec::new();
    for (percent, name) in [(50, "half of them"), (90, "90 %"), (99, "99 %")] {
        match course.reached(percent) {
            Some(0) => parts.push(format!("{name} at the start")),
            Some(at) => parts.push(format!("{name} after {}", Duration::from_seconds(at))),
            None => {
                parts.push(format!("{name} not within {span}"));
                break;
            }
        }
    }
    parts.join(", ")
}

/// Says how far a release is rolled out, in a word or two.
pub(super) fn stage_text(Rollout { percent, paused }: Rollout) -> String {
    if paused { "paused".into() } else { format!("{percent} %") }
}

fn bar(course: &Course, tick: usize) -> String {
    let done = (course.done()[tick], '\u{2588}');
    let waits = course.waits.iter().map(|(wait, counts)| (counts[tick], symbol(*wait)));
    let mut bar = String::new();
    let (mut sum, mut drawn) = (0_u64, 0);
    for (count, symbol) in std::iter::once(done).chain(waits) {
        sum += u64::from(count);
        let devices = u64::from(course.devices.max(1));
        let end = ((sum * WIDTH as u64 + devices / 2) / devices) as usize;
        bar.extend(std::iter::repeat_n(symbol, end.saturating_sub(drawn)));
        drawn = drawn.max(end);
    }
    bar.extend(std::iter::repeat_n(' ', WIDTH.saturating_sub(drawn)));
    bar
}

/// Returns the letter of a reason.
fn symbol(wait: Wait) -> char {
    match wait {
        Wait::OnTheWay => '\u{2593}',
        Wait::Loading => '>',
        Wait::BrokenOff => '/',
        Wait::NoAnswer => '#',
        Wait::Unasked => '?',
        Wait::Off => '-',
        Wait::Told(Reason::NotInRollout) => '\u{b7}',
        Wait::Told(Reason::Paused) => 'p',
        Wait::Told(Reason::OutsideWindow) => 'w',
        Wait::Told(Reason::NeedsApproval) => 'a',
        Wait::Told(Reason::NotYet) => 'n',
        Wait::Told(Reason::Ended) => 'e',
        Wait::Told(Reason::NotForThisDevice) => 'x',
        Wait::Told(Reason::TooOld) => '!',
        Wait::Told(Reason::Downgrade) => '^',
        Wait::Told(_) => 'r',
    }
}
