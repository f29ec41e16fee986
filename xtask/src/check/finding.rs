//! What a check finds, and where.

use super::{Allow, Code, UpdatePath};
use serde::Serialize;
use std::{fmt, mem};

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// A client or a device would be misled, fail, or be attacked.
    Error,
    /// What cannot be helped any more, but should be known.
    Warning,
    /// What is worth a word.
    Note,
}

impl Severity {
    /// Returns its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// Where something was found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file, by its path on the site or in the repository.
    pub file: String,
    /// The byte in it.
    pub offset: Option<u64>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        self.offset.map_or(Ok(()), |offset| write!(f, "@{offset:#x}"))
    }
}

/// What is wrong, wherever it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    code: Code,
    message: String,
    offset: Option<u64>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Fault {
    /// Tells the byte that is at fault.
    #[must_use]
    pub fn at_byte(mut self, offset: u64) -> Self {
        self.offset = Some(offset);
        self
    }

    /// Says more.
    #[must_use]
    pub(super) fn and(mut self, more: &str) -> Self {
        self.message += more;
        self
    }

    /// Tells the file that is at fault.
    pub fn of(self, file: impl Into<String>) -> Finding {
        let Self { code, message, offset } = self;
        Finding { place: Place { file: file.into(), offset }, code, message, allowed: None }
    }

    /// Returns what kind of fault it is.
    pub fn code(&self) -> Code {
        self.code
    }
}

impl Code {
    /// Says what is wrong.
    pub fn fault(self, message: impl Into<String>) -> Fault {
        Fault { code: self, message: without_passwords(message.into()), offset: None }
    }

    /// Says what is wrong with a file.
    pub fn of(self, file: impl Into<String>, message: impl Into<String>) -> Finding {
        self.fault(message).of(file)
    }

    /// Says what is wrong unless it is as it should be.
    ///
    /// # Errors
    /// The fault.
    pub fn unless(self, ok: bool, message: impl Into<String>) -> Result<(), Fault> {
        if ok { Ok(()) } else { Err(self.fault(message)) }
    }
}

/// Something that whoever publishes the site should know.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Where it is.
    pub place: Place,
    /// What kind it is of.
    pub code: Code,
    /// What is wrong.
    pub message: String,
    /// Why it is meant, if it is.
    pub allowed: Option<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)?;
        self.allowed.as_ref().map_or(Ok(()), |reason| write!(f, " (allowed: {reason})"))
    }
}

impl Finding {
    /// Returns how much it matters, unless it is allowed.
    pub fn severity(&self) -> Option<Severity> {
        self.allowed.is_none().then(|| self.code.severity())
    }
}

/// What a check found.
#[derive(Debug, Default)]
pub struct Findings {
    /// All of it, in the order of the files.
    pub all: Vec<Finding>,
    /// When the first signed descriptor expires, in seconds since 1970.
    pub expires: Option<u64>,
    /// What devices on each release would do now.
    pub paths: Vec<UpdatePath>,
}

impl Findings {
    /// Returns those of a severity that are not allowed.
    pub fn of(&self, severity: Severity) -> impl Iterator<Item = &Finding> {
        self.all.iter().filter(move |finding| finding.severity() == Some(severity))
    }

    /// Returns those that are allowed, each with its reason.
    pub fn allowed(&self) -> impl Iterator<Item = (&Finding, &str)> {
        self.all.iter().filter_map(|finding| Some((finding, finding.allowed.as_deref()?)))
    }

    /// Takes the errors, and leaves the others.
    pub fn take_errors(&mut self) -> Vec<Finding> {
        let all = mem::take(&mut self.all).into_iter();
        let (errors, others) = all.partition(|f| f.severity() == Some(Severity::Error));
        self.all = others;
        errors
    }

    /// Adds what else was found.
    pub fn add(&mut self, more: impl IntoIterator<Item = Finding>) {
        self.all.extend(more);
        self.all.sort();
        self.all.dedup();
    }

    /// Marks what is allowed, and returns what there was nothing to allow for.
    pub fn allow<'a>(&mut self, allowed: &'a [Allow]) -> Vec<&'a Allow> {
        let mut unused: Vec<_> = allowed.iter().collect();
        for finding in &mut self.all {
            if let Some(allow) = allowed.iter().find(|allow| allow.covers(finding)) {
                finding.allowed = Some(allow.reason().to_owned());
            }
            unused.retain(|allow| !allow.covers(finding));
        }
        unused
    }
}

/// Takes user names and passwords out of the URLs of a text: logs are read by many.
pub(crate) fn without_passwords(text: String) -> String {
    const SCHEME_END: &str = "://";
    if !text.contains('@') {
        return text;
    }
    let mut parts = text.split(SCHEME_END);
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(['/', '?', '#', ' ', '"', '`']).unwrap_or(part.len());
        let host = part[..end].rfind('@').map_or(0, |at| at + 1);
        let user = if host > 0 { "…@" } else { "" };
        plain += &format!("{SCHEME_END}{user}{}", &part[host..]);
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_of_urls_are_not_told() {
        for (text, plain) in [
            ("https://anna:h0rse@a.example/b@c is", "https://…@a.example/b@c is"),
            ("of a@b.example and https://c.example/", "of a@b.example and https://c.example/"),
            ("x://a@b y://c:d@e", "x://…@b y://…@e"),
        ] {
            assert_eq!(without_passwords(text.into()), plain);
        }
    }
}
