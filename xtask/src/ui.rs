//! What a person sees: progress on stderr, hints with errors.

use indicatif::{ProgressBar, ProgressStyle};
use std::{
    borrow::Cow,
    error::Error,
    fmt,
    io::{self, IsTerminal, Write},
    sync::OnceLock,
    time::Duration,
};

/// What texts of this crate call the program: the command of a project that has
/// an xtask.
pub const NAME: &str = "cargo xtask";

/// What people call it, if it is something else.
static PROGRAM: OnceLock<&'static str> = OnceLock::new();

/// Decides what the program is called. The first call counts, before anything is
/// printed.
pub fn call_program(name: &'static str) {
    let _ = PROGRAM.set(name);
}

/// Returns what the program is called.
pub fn program() -> &'static str {
    PROGRAM.get().copied().unwrap_or(NAME)
}

/// Returns a message with the commands in it as people have to type them.
pub fn named(message: &str) -> Cow<'_, str> {
    match program() {
        NAME => message.into(),
        program => message.replace("`cargo xtask", &format!("`{program}")).into(),
    }
}

/// An error that says what to do next.
#[derive(Debug)]
pub struct Hinted {
    message: String,
    hint: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Hinted {
    /// Makes an error with its hint.
    pub fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into(), source: None }
    }

    /// Adds what it comes from.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Returns what to do next.
    pub fn hint(&self) -> &str {
        &self.hint
    }
}

impl fmt::Display for Hinted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Hinted {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// Why results could not be printed, the first time.
static UNPRINTED: OnceLock<io::Error> = OnceLock::new();

/// Prints a part of a result to stdout.
///
/// A reader that has gone, as in `cargo xtask plan | head -1`, has what it
/// wanted: the command goes on, and its exit code says what it did. Any other
/// fault, such as a full disk, is kept for [`unprinted`].
pub fn print(text: fmt::Arguments<'_>, end: &str) {
    let mut stdout = io::stdout().lock();
    let printed = stdout.write_fmt(text).and_then(|()| stdout.write_all(end.as_bytes()));
    keep(printed);
}

/// Returns why a result could not be printed, if it could not.
pub fn unprinted() -> Option<&'static io::Error> {
    keep(io::stdout().flush());
    UNPRINTED.get()
}

fn keep(printed: io::Result<()>) {
    if let Err(error) = printed
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        // The first fault is the one to tell.
        let _ = UNPRINTED.set(error);
    }
}

/// Returns whether results may have colours: on a terminal, where nobody set
/// `NO_COLOR`.
pub fn has_colour() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty())
}

/// Says what a person should know before it is too late, on stderr and however
/// quiet a command is to be.
pub fn warn(line: impl fmt::Display) {
    // Nobody reads it: not worth an error.
    let _ = writeln!(io::stderr(), "warning: {}", named(&line.to_string()));
}

/// Asks a person for a line; `None` where nobody sits at a terminal.
///
/// # Errors
/// If the terminal cannot be read.
pub fn ask(question: &str) -> io::Result<Option<String>> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(None);
    }
    write!(io::stderr(), "{question}")?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(Some(answer.trim().to_owned()))
}

/// Reports the steps of a command on stderr.
#[derive(Clone, Copy, Debug)]
pub struct Ui {
    quiet: bool,
}

impl Ui {
    /// Makes a reporter; a quiet one says nothing.
    pub fn new(quiet: bool) -> Self {
        Self { quiet }
    }

    /// Says what was done or is being done.
    pub fn say(&self, line: impl fmt::Display) {
        if !self.quiet {
            // Nobody reads it: not worth an error.
            let _ = writeln!(io::stderr(), "{}", named(&line.to_string()));
        }
    }

    /// Starts a spinner for work of unknown length. It is shown on a terminal
    /// only.
    pub fn spinner(&self, message: impl Into<String>) -> ProgressBar {
        let bar = if self.quiet || !io::stderr().is_terminal() {
            ProgressBar::hidden()
        } else {
            ProgressBar::new_spinner()
        };
        bar.set_style(style("{spinner} {prefix} {wide_msg} {elapsed}"));
        bar.set_message(message.into());
        bar.enable_steady_tick(Duration::from_millis(120));
        bar
    }

    /// Starts a bar for `len` bytes. It is shown on a terminal only.
    pub fn bytes(&self, len: u64) -> ProgressBar {
        self.bar(len, "{prefix} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta} left")
    }

    /// Starts a bar for `len` steps of something. It is shown on a terminal
    /// only.
    pub fn steps(&self, len: u64, what: &'static str) -> ProgressBar {
        let bar = self.bar(len, "{prefix} {wide_bar} {pos}/{len} {eta} left");
        bar.set_prefix(what);
        bar
    }

    fn bar(&self, len: u64, template: &str) -> ProgressBar {
        let bar = if self.quiet || !io::stderr().is_terminal() {
            ProgressBar::hidden()
        } else {
            ProgressBar::new(len)
        };
        bar.set_style(style(template));
        bar
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Lays out rows in columns; the first row is the head.
pub fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; N] = std::array::from_fn(|column| width(column).unwrap_or(0));
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}
