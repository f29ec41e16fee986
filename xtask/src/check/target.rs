//! The images of one target of a release.

use super::{Files, Problem, compare, read_listed, secrets::Secrets, trust::Trust};
use crate::{
    placement::{Placed, faults, parse_table, smallest_slot},
    release::Role,
    site::{Index, IndexArtifact, IndexPart, IndexRelease, IndexTarget},
    store,
};
use towline::image::{self, Head, Header, ImageError};

/// Checks everything that is published for a target of a release. Returns
/// problems, and what should be known without being one.
pub(super) fn check(
    files: &impl Files,
    index: &Index,
    release: &IndexRelease,
    target: &IndexTarget,
    trust: &Trust<'_>,
    secrets: &Secrets,
) -> (Vec<Problem>, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut warnings = Vec::new();
    let mut public = Vec::new();
    let mut report = |path: &str, message: String| {
        problems.push(Problem { path: path.to_owned(), message });
    };
    let read = |file: &IndexArtifact| {
        let path = file.path.clone().unwrap_or_default();
        let bytes = read_listed(files, &path, file);
        (path, bytes)
    };

    // The check of an image hashes all of it: once is enough.
    let app_path = target.app.path.clone().unwrap_or_default();
    let app = files.read(&app_path).and_then(|app| {
        let sha256 = image::check(&app).map(|checked| checked.sha256);
        compare(&app, sha256.unwrap_or_else(|_| store::sha256(&app)), &target.app)?;
        sha256.map_err(|error| error.to_string())?;
        Ok(app)
    });
    let app = match app {
        Ok(app) => app,
        Err(message) => {
            report(&app_path, message);
            return (problems, warnings);
        }
    };
    let mut publish = |path: &str, bytes: &[u8]| {
        public.extend(trust.check_artifact(files, index, release, path, bytes));
        match secrets.problem_of_image(path, bytes) {
            Some(Err(problem)) => public.push(problem),
            Some(Ok(warning)) => warnings.push(warning),
            None => {}
        }
    };
    publish(&app_path, &app);
    for message in check_app(index, release, target, &app) {
        report(&app_path, message);
    }

    let mut parts: Vec<(&IndexPart, String, Vec<u8>)> = Vec::new();
    for part in &target.parts {
        let is_app = part.role == Role::App && part.file == target.app;
        let (path, bytes) =
            if is_app { (app_path.clone(), Ok(app.clone())) } else { read(&part.file) };
        match bytes {
            Ok(bytes) => {
                if !is_app {
                    publish(&path, &bytes);
                }
                parts.push((part, path, bytes));
            }
            Err(message) => report(&path, message),
        }
    }
    if parts.len() < target.parts.len() {
        problems.extend(public);
        return (problems, warnings);
    }
    for (path, message) in check_parts(target, &parts) {
        report(&path, message);
    }
    if let Some(factory) = &target.factory {
        let (path, bytes) = read(factory);
        if let Ok(bytes) = &bytes {
            publish(&path, bytes);
        }
        match bytes {
            Ok(bytes) if is_merged(&bytes, &parts) => {}
            Ok(_) => report(&path, "is not its parts put together".into()),
            Err(message) => report(&path, message),
        }
    }
    problems.extend(public);
    (problems, warnings)
}

fn check_app(
    index: &Index,
    release: &IndexRelease,
    target: &IndexTarget,
    app: &[u8],
) -> Vec<String> {
    let mut messages = Vec::new();
    let head = app.first_chunk().ok_or(ImageError::Truncated).and_then(Head::parse);
    let head = match head {
        Ok(head) => head,
        Err(error) => {
            messages.push(error.to_string());
            return messages;
        }
    };
    let mut expect = |ok: bool, message: String| {
        if !ok {
            messages.push(message);
        }
    };
    let app_descriptor = &head.app;
    expect(
        head.header.chip_id == target.chip.id(),
        format!("is for chip id {}, the target is an {}", head.header.chip_id, target.chip),
    );
    expect(
        target.chip_family == target.chip.family(),
        format!("the index calls an {} {}", target.chip, target.chip_family),
    );
    expect(
        app_descriptor.project_name.as_str() == index.project.as_str(),
        format!("is of project {}, the site is of {}", app_descriptor.project_name, index.project),
    );
    expect(
        app_descriptor.version.as_str() == release.version.as_str(),
        format!("has version {}, the release is {}", app_descriptor.version, release.version),
    );
    expect(
        app_descriptor.secure_version == target.secure_version,
        format!(
            "has secure_version {}, the index says {}",
            app_descriptor.secure_version, target.secure_version
        ),
    );
    expect(
        target.slot_size.is_none_or(|slot| app.len() <= slot as usize),
        "does not fit the smallest slot".into(),
    );
    messages
}

/// Checks the parts of a first flash against each other and against the
/// partition table among them.
fn check_parts(
    target: &IndexTarget,
    parts: &[(&IndexPart, String, Vec<u8>)],
) -> Vec<(String, String)> {
    let mut messages = Vec::new();
    let mut report = |path: &str, message: String| messages.push((path.to_owned(), message));
    let by_role = |role: Role| parts.iter().find(|(part, ..)| part.role == role);

    if parts.is_empty() {
        return messages;
    }
    for role in [Role::Bootloader, Role::PartitionTable, Role::App] {
        if by_role(role).is_none() {
            report(target.target.as_str(), format!("has parts, but no {}", role.as_str()));
        }
    }
    if let Some((_, path, bytes)) = by_role(Role::Bootloader) {
        let header = bytes.first_chunk().ok_or(ImageError::Truncated).and_then(Header::parse);
        match (image::check(bytes), header) {
            (Err(error), _) | (_, Err(error)) => report(path, error.to_string()),
            (_, Ok(header)) if header.chip_id != target.chip.id() => {
                report(
                    path,
                    format!("is for chip id {}, the target is an {}", header.chip_id, target.chip),
                );
            }
            _ => {}
        }
    }
    if let Some((_, path, bytes)) = by_role(Role::Otadata)
        && bytes.iter().any(|byte| *byte != 0xFF)
    {
        report(path, "is not blank: a first flash might boot another slot".into());
    }
    if let Some((part, path, _)) = by_role(Role::App)
        && part.file != target.app
    {
        report(path, "is not the image that updates carry".into());
    }
    if let Some((_, path, bytes)) = by_role(Role::PartitionTable) {
        match parse_table(bytes.clone()) {
            Err(error) => report(path, error),
            Ok(table) => {
                let placed: Vec<_> = parts
                    .iter()
                    .map(|(part, path, bytes)| {
                        Placed::new(part.role, path, part.offset, bytes.len())
                    })
                    .collect();
                let partitions = table.partitions();
                for (index, fault) in faults(target.chip, target.flash_size, &placed, partitions) {
                    report(&parts[index].1, fault);
                }
                if target.slot_size != smallest_slot(partitions) {
                    report(path, "has another slot size than the index states".into());
                }
            }
        }
    }
    messages
}

fn is_merged(factory: &[u8], parts: &[(&IndexPart, String, Vec<u8>)]) -> bool {
    let mut at = 0;
    for (part, _, bytes) in parts {
        let offset = part.offset as usize;
        let gap = factory.get(at..offset);
        let body = factory.get(offset..offset + bytes.len());
        if body != Some(bytes) || !gap.is_some_and(|gap| gap.iter().all(|byte| *byte == 0xFF)) {
            return false;
        }
        at = offset + bytes.len();
    }
    at == factory.len()
}
