//! What a check found, as people and programs read it.

mod github;
mod json;
mod sarif;
mod text;

use super::Findings;
use crate::{
    source::{DAY, date_text},
    ui::named,
};
use clap::ValueEnum;

/// How findings are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For scripts.
    Json,
    /// SARIF 2.1.0, which tools for code read.
    Sarif,
    /// Annotations of a workflow run on GitHub.
    Github,
}

/// How the text for people looks.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Whether it has colours.
    pub colour: bool,
    /// Whether it leaves out what happens and how to mend it.
    pub short: bool,
}

/// The report of a check.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// The site, as people name it.
    pub site: &'a str,
    /// What was found.
    pub findings: &'a Findings,
    /// The time in seconds since 1970.
    pub now: u64,
    /// Whether it has the update paths.
    pub with_paths: bool,
}

impl Report<'_> {
    /// Writes it, with a line break at its end.
    pub fn write(&self, format: Format, style: Style) -> String {
        match format {
            Format::Text => named(&text::write(self, style)).into_owned(),
            Format::Json => json::write(self),
            Format::Sarif => sarif::write(self),
            Format::Github => named(&github::write(self)).into_owned(),
        }
    }

    /// Sums it up for people.
    fn summary(&self) -> String {
        let counted = |count: usize, what: &str| {
            let plural = if count == 1 { "" } else { "s" };
            (count > 0).then(|| format!("{count} {what}{plural}"))
        };
        let of = |severity| self.findings.of(severity).count();
        let counts = [
            counted(of(super::Severity::Error), "problem"),
            counted(of(super::Severity::Warning), "warning"),
            counted(of(super::Severity::Note), "note"),
            match self.findings.allowed().count() {
                0 => None,
                count => Some(format!("{count} allowed")),
            },
        ];
        let counts: Vec<_> = counts.into_iter().flatten().collect();
        let counts = if counts.is_empty() { "no problems".into() } else { counts.join(", ") };
        let mut text = format!("{}: {counts}\n", text::printable(self.site));
        if let Some(expires) = self.findings.expires {
            let date = date_text(expires.try_into().unwrap_or(i64::MAX));
            let days = expires.saturating_sub(self.now) / DAY;
            text += &format!("signed; the first descriptor expires on {date}, in {days} days\n");
        }
        text
    }
}

#[cfg(test)]
mod tests;
