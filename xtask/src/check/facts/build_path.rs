//! Paths of the machine that an image was built on.

use std::ops::Range;

/// How folders of people begin.
pub(super) const SIGNS: [&str; 3] = ["/home/", "/Users/", "\\Users\\"];

/// Names of machines that are everybody's, and of those that built what everybody
/// links: the libraries of Espressif and of its Arduino core.
const EVERYBODY: [&str; 40] = [
    "appveyor",
    "bamboo",
    "build",
    "builder",
    "buildkite-agent",
    "cff",
    "ci",
    "circleci",
    "codespace",
    "Default",
    "dev",
    "developer",
    "docker",
    "esp",
    "esphome",
    "espressif",
    "ficeto",
    "gitlab-runner",
    "gitpod",
    "jenkins",
    "me",
    "me-no-dev",
    "name",
    "node",
    "pi",
    "platformio",
    "project",
    "Public",
    "runner",
    "runneradmin",
    "rust",
    "Shared",
    "teamcity",
    "travis",
    "ubuntu",
    "user",
    "username",
    "vagrant",
    "vscode",
    "vsts",
];

/// How the names of sources end.
const SOURCES: [&str; 10] =
    [".c", ".cc", ".cpp", ".cxx", ".h", ".hpp", ".inc", ".py", ".S", ".ino"];

/// The most bytes of a path.
const MAX: usize = 256;

/// The most bytes of a name.
const MAX_NAME: usize = 32;

/// Finds the path of a source in somebody's folder; the folder of all is at `at`.
pub(super) fn find(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let rest = &bytes[at..bytes.len().min(at + MAX)];
    let len = rest.iter().take_while(|byte| (b' '..=b'~').contains(byte)).count();
    let text = str::from_utf8(&rest[..len]).ok()?;
    // In debug texts of Windows there are two backslashes for one.
    let before = bytes[..at].strip_suffix(b"\\").unwrap_or(&bytes[..at]);
    let drive = matches!(before, [.., letter, b':'] if letter.is_ascii_alphabetic());
    let is_separator = ['/', '\\'];
    let (_, inner) = text[1..].split_once(is_separator)?;
    let inner = inner.trim_start_matches('\\');
    let (name, inside) = inner.split_once(is_separator)?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let is_person = (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(|byte| is_name(byte) || (drive && byte == b' '))
        && !EVERYBODY.iter().any(|of_all| name.eq_ignore_ascii_case(of_all));
    if !is_person || (text.starts_with('\\') && !drive) {
        return None;
    }
    let end = text.len() - inside.len() + source(inside)?;
    let start = if drive { before.len() - 2 } else { at };
    // The end of something longer, such as a URL; texts of Rust have no zero between.
    let is_inside = bytes[..start].last().is_some_and(|byte| is_name(*byte));
    (!is_inside || text[..end].ends_with(".rs")).then_some(start..at + end)
}

/// Returns where the name of a source ends in a path.
fn source(path: &str) -> Option<usize> {
    // What is Rust's is followed by other texts.
    let of_rust = path.find(".rs").map(|at| at + ".rs".len());
    let ends = SOURCES.iter().flat_map(|end| path.match_indices(end).map(|(at, e)| at + e.len()));
    let is_end = |end: &usize| {
        !path[*end..].starts_with(|c: char| c.is_ascii_alphanumeric() || "._-/\\".contains(c))
    };
    of_rust.into_iter().chain(ends.filter(is_end)).min()
}
