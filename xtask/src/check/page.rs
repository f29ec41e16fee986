//! The page, what it loads, and the licences of that.

use super::{Code, Fault, Finding};
use crate::site::{INDEX, NOT_FOUND};
use memchr::memmem;
use std::collections::BTreeMap;

/// Path of the page.
const PAGE: &str = "index.html";

/// How the path of the licences starts of all that is bundled in its scripts.
const LICENCES: &str = "assets/licenses-";

/// How the bundled scripts name each other.
const IMPORTS: [&str; 3] = ["import(\"./", "import\"./", "from\"./"];

/// Finds what the page or one of its scripts loads and the index does not
/// list: nobody could tell whether that is what was published; and licences that it
/// does not lead to. `contents` are the listed files; one that could not be read is
/// told elsewhere.
pub(super) fn check(contents: &BTreeMap<&str, Result<Vec<u8>, Fault>>) -> Vec<Finding> {
    let bytes = |path: &str| match contents.get(path) {
        Some(Ok(bytes)) => bytes.as_slice(),
        _ => &[],
    };
    // Templates write slashes as they like.
    let page = String::from_utf8_lossy(bytes(PAGE)).replace("&#x2f;", "/");
    let mut loaded: Vec<_> = page
        .split('"')
        .filter(|part| part.starts_with("assets/"))
        .map(|p| (PAGE, p.into()))
        .collect();
    let loads = |is: fn(&str) -> bool| loaded.iter().any(|(_, path): &(_, String)| is(path));
    let is_unlicensed =
        loads(|path| path.ends_with(".js")) && !loads(|path| path.starts_with(LICENCES));
    let scripts = contents.keys().filter(|p| p.starts_with("assets/") && p.ends_with(".js"));
    for script in scripts {
        let text = bytes(script);
        for import in IMPORTS {
            for at in memmem::find_iter(text, import) {
                let name = text[at + import.len()..].split(|byte| *byte == b'"').next();
                let name = String::from_utf8_lossy(name.unwrap_or_default());
                loaded.push((*script, format!("assets/{name}")));
            }
        }
    }
    let unlisted = loaded.into_iter().filter(|(_, path)| !contents.contains_key(path.as_str()));
    let mut problems: Vec<_> = unlisted
        .map(|(by, path)| {
            Code::NotListed.of(by, format!("loads {path}, which {INDEX} does not list"))
        })
        .collect();
    if is_unlicensed {
        let message = format!("has bundled scripts, and leads to no {LICENCES}….txt");
        problems.push(Code::LicenceMissing.of(PAGE, message));
    }
    let missing = [PAGE, NOT_FOUND].into_iter().filter(|page| !contents.contains_key(page));
    problems.extend(missing.map(|page| Code::PageMissing.of(page, "missing")));
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_loaded_has_to_be_listed() {
        let script = r#"import"./a-1.js";import{b}from"./b-1.js";const c=()=>import("./c-1.js");"#;
        let files = [
            (
                PAGE,
                r#"<script type="module" src="assets&#x2f;main-1.js"></script><a href="assets&#x2f;licenses-1.txt">"#,
            ),
            (NOT_FOUND, ""),
            ("assets/licenses-1.txt", ""),
            ("assets/main-1.js", script),
            ("assets/a-1.js", "console.log('./x.js')"),
            ("assets/b-1.js", ""),
            ("assets/c-1.js", r#"import("./a-1.js")"#),
        ];
        let contents = |without: &str| -> BTreeMap<_, _> {
            let kept = files.into_iter().filter(|(path, _)| *path != without);
            kept.map(|(path, text)| (path, Ok(text.as_bytes().to_vec()))).collect()
        };
        assert_eq!(check(&contents("")), []);
        for (path, by) in [
            ("assets/licenses-1.txt", PAGE),
            ("assets/main-1.js", PAGE),
            ("assets/a-1.js", "assets/main-1.js"),
            ("assets/b-1.js", "assets/main-1.js"),
            ("assets/c-1.js", "assets/main-1.js"),
        ] {
            let problems = check(&contents(path));
            let message = format!("loads {path}, which releases.json does not list");
            assert!(problems.contains(&Code::NotListed.of(by, message)), "{problems:?}");
        }
        for page in [PAGE, NOT_FOUND] {
            assert_eq!(check(&contents(page))[0].message, "missing");
        }
    }
}
