//! Update paths as a table for a terminal.

use super::{Group, UpdatePath, channels, groups};
use crate::ui;

/// Draws the paths as a table: neighbouring releases whose devices fare alike are one
/// row.
pub(crate) fn table(paths: &[UpdatePath]) -> String {
    let all = channels(paths);
    let mut groups = groups(paths);
    groups.sort_by_key(|group| all.get_index_of(group.channel));
    let mut rows =
        vec![["CHANNEL", "RUNS", "INSTALLS", "DOWNLOADS", "ENDS", "TARGETS"].map(String::from)];
    let alike = |a: &Group<'_>, b: &Group<'_>| {
        a.channel == b.channel && a.targets == b.targets && a.is_alike(b.path)
    };
    for run in groups.chunk_by(alike) {
        let (newest, oldest) = (&run[0], &run[run.len() - 1]);
        let runs = match run.len() {
            1 => newest.from.to_string(),
            count => format!("{} to {} ({count})", oldest.from, newest.from),
        };
        let legs: Vec<_> = newest.path.legs.iter().map(|leg| leg.version.to_string()).collect();
        let least = run.iter().map(|group| group.bytes.0).min().unwrap_or_default();
        let most = run.iter().map(|group| group.bytes.1).max().unwrap_or_default();
        let downloads = if legs.is_empty() { "-".into() } else { super::range_text(least, most) };
        rows.push([
            newest.channel.to_string(),
            runs,
            if legs.is_empty() { "-".into() } else { legs.join(", then ") },
            downloads,
            newest.end_text(),
            newest.targets_text(all[newest.channel]),
        ]);
    }
    ui::table(&rows)
}
