//! The index of a site, read as the installer and scripts read it: by its letters.

use super::{Code, Fault, Files, http::is_page};
use crate::site::{FORMAT, INDEX, Index};
use serde_json::Value;

/// Reads the index of a site.
///
/// # Errors
/// Why it is none.
pub(super) fn read_index(files: &impl Files) -> Result<Index, Fault> {
    read(&files.read(INDEX)?)
}

/// Returns whether this looks like an index, sound or not: others have a file of that
/// name too.
pub(super) fn is_index(bytes: &[u8]) -> bool {
    let has_mark = |value: Value| {
        ["fmt", "project", "channels"].iter().any(|field| value.get(field).is_some())
    };
    !is_page(bytes) && serde_json::from_slice(bytes).map_or(true, has_mark)
}

/// Reads an index, and finds what it says otherwise than an index does.
pub(super) fn read_closely(bytes: &[u8]) -> Result<(Index, Vec<Fault>), Fault> {
    let index = read(bytes)?;
    let mut faults = Vec::new();
    // What no field of ours reads is read here for the first time.
    let value = |read: serde_json::Result<Value>| read.map_err(|error| not_an_index(&error));
    let said = value(serde_json::from_slice(bytes))?;
    let meant = value(serde_json::to_value(&index))?;
    compare(&said, &meant, "", &mut faults);
    let undated = index.releases.iter().filter(|release| !is_date(&release.released));
    faults.extend(undated.map(|release| {
        let message =
            format!("release {} is of {}, which is no date", release.version, release.released);
        Code::IndexInvalid.fault(message)
    }));
    Ok((index, faults))
}

fn not_an_index(error: &serde_json::Error) -> Fault {
    Code::IndexInvalid.fault(format!("not an index: {error}"))
}

fn read(bytes: &[u8]) -> Result<Index, Fault> {
    let fault = |message: String| Err(Code::IndexInvalid.fault(message));
    Code::HtmlInstead.unless(!is_page(bytes), "is a web page, and no index")?;
    let index: Index = match serde_json::from_slice(bytes) {
        Ok(index) => index,
        Err(error) => return Err(not_an_index(&error)),
    };
    if index.fmt != FORMAT {
        return fault(format!("format {} is not known, only {FORMAT}", index.fmt));
    }
    let mut versions: Vec<_> = index.releases.iter().map(|release| &release.version).collect();
    versions.dedup_by(|a, b| a.precedence(b).is_eq());
    if versions.len() != index.releases.len()
        || !versions.is_sorted_by(|a, b| a.precedence(b).is_gt())
    {
        return fault("releases are not in falling order of their versions".into());
    }
    Ok(index)
}

/// Compares what an index says with what was read of it: others read its letters, such
/// as those of a hash, and go by names that we do not know.
fn compare(said: &Value, meant: &Value, place: &str, faults: &mut Vec<Fault>) {
    match (said, meant) {
        (Value::Object(said), Value::Object(meant)) => {
            for (name, value) in said {
                let place = format!("{place}/{name}");
                match meant.get(name) {
                    Some(meant) => compare(value, meant, &place, faults),
                    None if is_empty(value) => {}
                    None => {
                        let message = format!("says {place}, which this version does not know");
                        faults.push(Code::IndexFieldUnknown.fault(message));
                    }
                }
            }
        }
        (Value::Array(said), Value::Array(meant)) => {
            for (number, (said, meant)) in said.iter().zip(meant).enumerate() {
                compare(said, meant, &format!("{place}/{number}"), faults);
            }
        }
        (Value::Number(said), Value::Number(meant)) if said.as_f64() == meant.as_f64() => {}
        _ if said == meant => {}
        _ => {
            let message = format!("{place} is written {said}, and has to be {meant}");
            faults.push(Code::IndexInvalid.fault(message));
        }
    }
}

/// Tells whether leaving a field out means the same.
fn is_empty(value: &Value) -> bool {
    value.is_null() || value.as_array().is_some_and(Vec::is_empty)
}

/// Tells whether a text is a date such as `2026-11-21`.
fn is_date(text: &str) -> bool {
    let parts: Vec<_> = text.split('-').collect();
    let is_number = |part: &&str| part.bytes().all(|byte| byte.is_ascii_digit());
    matches!(parts[..], [year, month, day] if [year.len(), month.len(), day.len()] == [4, 2, 2])
        && parts.iter().all(is_number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(change: impl FnOnce(&mut Value)) -> Vec<(Code, String)> {
        let artifact = json!({ "size": 5, "sha256": "ab".repeat(32) });
        let mut index = json!({
            "fmt": 1,
            "project": "lamp",
            "title": "Lamp",
            "base_url": "https://a.example/",
            "channels": [{
                "name": "stable",
                "description": null,
                "manifest": "manifests/stable.json",
                "rollout": { "percent": 12.5, "paused": false },
                "targets": [],
            }],
            "releases": [{
                "version": "1.0.0",
                "prerelease": false,
                "yanked": null,
                "released": "2026-11-21",
                "notes": null,
                "min_from": null,
                "commit": null,
                "targets": [],
            }],
            "files": { "index.html": artifact },
        });
        change(&mut index);
        let faults = match read_closely(index.to_string().as_bytes()) {
            Ok((_, faults)) => faults,
            Err(fault) => vec![fault],
        };
        faults.into_iter().map(|fault| (fault.code(), fault.to_string())).collect()
    }

    #[test]
    fn what_others_would_read_otherwise_is_told_with_its_place() {
        assert_eq!(told(|_| {}), []);
        // Older sites lack fields, and others may write numbers as they like.
        assert_eq!(
            told(|index| drop(index["channels"][0].as_object_mut().unwrap().remove("rollout"))),
            []
        );
        assert_eq!(told(|index| index["channels"][0]["rollout"]["percent"] = json!(100.0)), []);
        assert_eq!(told(|index| index["dropped"] = json!([])), []);
        let upper = "AB".repeat(32);
        let of_hash = told(|index| index["files"]["index.html"]["sha256"] = upper.clone().into());
        let message = format!(
            "/files/index.html/sha256 is written {upper:?}, and has to be {:?}",
            "ab".repeat(32)
        );
        assert_eq!(of_hash, [(Code::IndexInvalid, message)]);
        let misspelt = told(|index| index["releases"][0]["note"] = "new".into());
        let message = "says /releases/0/note, which this version does not know".to_owned();
        assert_eq!(misspelt, [(Code::IndexFieldUnknown, message)]);
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        for odd in ["1e999", "\"\\ud800\"", &deep] {
            let text = format!(
                r#"{{"fmt":1,"project":"lamp","title":"","base_url":"","channels":[],"releases":[],"files":{{}},"x":{odd}}}"#
            );
            let fault = read_closely(text.as_bytes()).unwrap_err();
            assert_eq!(fault.code(), Code::IndexInvalid, "{odd}");
        }
        let undated = told(|index| index["releases"][0]["released"] = "today".into());
        assert_eq!(
            undated,
            [(Code::IndexInvalid, "release 1.0.0 is of today, which is no date".into())]
        );
    }
}
