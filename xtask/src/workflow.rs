//! What a step of a GitHub workflow tells the steps and jobs after it.

use crate::ui::Hinted;
use anyhow::{Context, Result, ensure};
use std::{fs::OpenOptions, io::Write, path::PathBuf};

/// Sets outputs of the step, each a name and a value.
pub(crate) fn set_outputs(outputs: &[(&str, &str)]) -> Result<()> {
    let file = file("GITHUB_OUTPUT")?;
    let lines: Result<Vec<_>> = outputs.iter().map(|(name, value)| line(name, value)).collect();
    append(&file, &lines?.concat())
}

/// Appends Markdown to the summary of the job.
pub(crate) fn add_to_summary(text: &str) -> Result<()> {
    append(&file("GITHUB_STEP_SUMMARY")?, text)
}

/// Writes an output. A value with a line break would be read as further ones.
fn line(name: &str, value: &str) -> Result<String> {
    ensure!(
        !value.contains(char::is_control),
        "the output {name} has a control character: {value:?}"
    );
    Ok(format!("{name}={value}\n"))
}

fn file(variable: &str) -> Result<PathBuf> {
    let path = std::env::var_os(variable).filter(|path| !path.is_empty());
    path.map(PathBuf::from).ok_or_else(|| {
        let message = format!("{variable} is not set: this is no step of a GitHub workflow");
        Hinted::new(message, "at your desk, leave out `--github`").into()
    })
}

fn append(path: &PathBuf, text: &str) -> Result<()> {
    let open = || OpenOptions::new().append(true).create(true).open(path);
    open()
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_is_one_line() {
        assert_eq!(line("version", "1.2.0").unwrap(), "version=1.2.0\n");
        for value in ["1\nmatrix={}", "1\r", "a\u{85}", "\0"] {
            assert!(line("version", value).is_err(), "{value:?}");
        }
    }
}
