//! Faults of configuration files, shown where they are.

use std::{
    fmt,
    ops::Range,
    path::{Path, PathBuf},
};

/// The most characters of a line that are shown: what fits a terminal.
const SHOWN: usize = 72;

/// What is wrong with a configuration file, and where.
#[derive(Debug)]
pub struct ConfigError {
    path: PathBuf,
    /// Line, column and text of the line.
    place: Option<(usize, usize, String, usize)>,
    message: String,
}

impl ConfigError {
    /// Describes a fault of the bytes `span` of `text`, the content of `path`.
    pub(crate) fn at(
        path: &Path,
        text: &str,
        span: Option<Range<usize>>,
        message: impl Into<String>,
    ) -> Self {
        let place = span.map(|span| {
            let start = span.start.min(text.len());
            let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
            let line = text[line_start..].lines().next().unwrap_or_default();
            let number = text[..line_start].matches('\n').count() + 1;
            let column = text[line_start..start].chars().count() + 1;
            let width = text
                .get(start..span.end)
                .map_or(1, |t| t.lines().next().map_or(1, |l| l.chars().count()));
            (number, column, line.to_owned(), width.max(1))
        });
        Self { path: path.to_owned(), place, message: message.into() }
    }

    /// Describes a fault that the TOML parser found.
    pub(crate) fn toml(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        Self::at(path, text, error.span(), error.message().trim_end())
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.place {
            None => write!(f, "{path}: {}", self.message),
            Some((number, column, line, width)) => {
                let gutter = number.to_string().len();
                // Of a long line that part is shown which has the fault.
                let is_long = line.chars().count() > SHOWN;
                let cut = if is_long { (column - 1).saturating_sub(SHOWN / 2) } else { 0 };
                let line: String = line.chars().skip(cut).take(SHOWN).collect();
                let before = column - 1 - cut;
                let marks = (*width).min(SHOWN.saturating_sub(before)).max(1);
                writeln!(f, "{path}:{number}:{column}: {}", self.message)?;
                write!(f, "{:gutter$} |\n{number} | {line}\n{:gutter$} | ", "", "")?;
                write!(f, "{:before$}{}", "", "^".repeat(marks))
            }
        }
    }
}

impl std::error::Error for ConfigError {}
