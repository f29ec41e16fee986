//! What a plan tells the steps and jobs of a GitHub workflow.

use crate::{plan::Plan, ui::Hinted};
use anyhow::{Context, Result, ensure};
use std::{fs::OpenOptions, io::Write, path::PathBuf};

/// Appends the plan to what the workflow reads: `version` and `matrix` to the
/// outputs of the step, and a summary for people.
pub(super) fn write(plan: &Plan, notes: Option<&str>) -> Result<()> {
    let outputs = file("GITHUB_OUTPUT")?;
    let summary = file("GITHUB_STEP_SUMMARY")?;
    let version = plan.version.as_ref().map(ToString::to_string).unwrap_or_default();
    let matrix = serde_json::json!({ "include": plan.include }).to_string();
    let lines = [line("version", &version)?, line("matrix", &matrix)?].concat();
    append(&outputs, &lines)?;
    append(&summary, &plan.markdown(notes))
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
        Hinted::new(message, "at your desk, use `cargo xtask plan --format markdown`").into()
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
