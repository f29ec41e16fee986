//! The images of one target of a release.

use super::{
    Code, Fault, Finding,
    facts::{AllFacts, Facts},
    rules::{rollback, table},
};
use crate::{
    placement::{Placed, faults, smallest_slot},
    release::Role,
    site::{Index, IndexArtifact, IndexPart, IndexRelease, IndexTarget},
};
use std::ops::Range;
use towline::image::{Head, Header, ImageError};

/// From so many hundredths of a slot on, the next release may not fit.
const NEARLY_FULL: u64 = 98;

/// Where the header of an image says what chip it is for, in bytes.
const CHIP_ID_OFFSET: u64 = 12;

/// Returns the files of a target, each with the pieces of it whose hash is needed.
pub(super) fn files(target: &IndexTarget) -> impl Iterator<Item = (&str, Vec<Range<usize>>)> {
    let piece = |part: &IndexPart| {
        let start = part.offset as usize;
        start..start + part.file.size as usize
    };
    let parts = target.parts.iter().map(|part| &part.file);
    let whole = std::iter::once(&target.app).chain(parts).map(|file| (file, Vec::new()));
    let factory = target.factory.iter();
    let factory = factory.map(move |file| (file, target.parts.iter().map(piece).collect()));
    whole.chain(factory).filter_map(|(file, pieces)| Some((file.path.as_deref()?, pieces)))
}

/// Checks everything that is published for a target of a release.
pub(super) fn check(
    files: &AllFacts,
    index: &Index,
    release: &IndexRelease,
    target: &IndexTarget,
) -> Vec<Finding> {
    let mut found = Vec::new();
    let app_path = path(&target.app);
    let app =
        known(files, &target.app).and_then(|app| app.image.map(|()| app).map_err(image_fault));
    let app = match app {
        Ok(app) => app,
        Err(fault) => return vec![fault.of(app_path)],
    };
    found.extend(app.found.clone());
    found.extend(check_app(index, release, target, app).map(|fault| fault.of(app_path)));

    let mut parts: Vec<(&IndexPart, &Facts)> = Vec::new();
    for part in &target.parts {
        match known(files, &part.file) {
            Ok(facts) => {
                found.extend(facts.found.clone());
                parts.push((part, facts));
            }
            Err(fault) => found.push(fault.of(path(&part.file))),
        }
    }
    if parts.len() < target.parts.len() {
        return found;
    }
    found.extend(check_parts(target, &parts));
    if let Some(factory) = &target.factory {
        match known(files, factory) {
            Ok(facts) => {
                // What its parts say of the machine, it says again.
                let of_whole = facts.found.iter().filter(|f| f.code != Code::BuildPath);
                found.extend(of_whole.cloned());
                let (pieces, is_rest_blank) = &facts.pieces;
                let expected = parts.iter().map(|(part, _)| Some(part.file.sha256));
                let is_merged = *is_rest_blank && expected.eq(pieces.iter().copied());
                let message = "is not its parts put together";
                let result = Code::FactoryDiffers.unless(is_merged, message);
                found.extend(result.err().map(|fault| fault.of(path(factory))));
            }
            Err(fault) => found.push(fault.of(path(factory))),
        }
    }
    found
}

fn path(file: &IndexArtifact) -> &str {
    file.path.as_deref().unwrap_or_default()
}

/// Returns the facts of a file that is what the index says.
fn known<'f>(files: &'f AllFacts, listed: &IndexArtifact) -> Result<&'f Facts, Fault> {
    let missing = || Code::FileMissing.fault("missing");
    let facts = files.get(path(listed)).ok_or_else(missing)?.as_ref().map_err(Clone::clone)?;
    facts.compare(listed).map(|()| facts)
}

/// Checks that an image fits the smallest slot of updates, and how well.
pub(super) fn check_room(size: u64, slot: u64) -> Result<(), Fault> {
    let message = || format!("has {size} bytes, and the smallest slot {slot}");
    Code::SlotTooSmall.unless(size <= slot, message())?;
    let percent = size * 100 / slot.max(1);
    Code::SlotNearlyFull
        .unless(percent < NEARLY_FULL, format!("fills {percent} % of the smallest slot"))
}

/// Says where an image has a segment that flash cannot be mapped to.
pub(super) fn unmappable(at: u64) -> Fault {
    let message = "a segment is at another place in its page than its address";
    Code::ImageSegmentPlace.fault(message).at_byte(at)
}

/// Says what is wrong with an image.
pub(super) fn image_fault(error: ImageError) -> Fault {
    let code = match error {
        ImageError::Truncated => Code::ImageTruncated,
        ImageError::Checksum => Code::ImageChecksum,
        ImageError::Hash => Code::ImageHash,
        ImageError::NoAppDescriptor | ImageError::Text => Code::AppDescriptor,
        ImageError::NotAnImage
        | ImageError::SegmentCount
        | ImageError::SegmentLength
        | ImageError::TrailingBytes => Code::ImageMalformed,
    };
    code.fault(error.to_string())
}

fn check_app(
    index: &Index,
    release: &IndexRelease,
    target: &IndexTarget,
    app: &Facts,
) -> impl Iterator<Item = Fault> {
    let faults = match &app.head {
        Err(error) => vec![Err(image_fault(*error))],
        Ok(Head { header, app: said }) => vec![
            is_for_chip(header, target),
            Code::ChipMismatch.unless(
                target.chip_family == target.chip.family(),
                format!("the index calls an {} {}", target.chip, target.chip_family),
            ),
            Code::ProjectMismatch.unless(
                said.project_name.as_str() == index.project.as_str(),
                format!("is of project {}, the site is of {}", said.project_name, index.project),
            ),
            Code::VersionMismatch.unless(
                said.version.as_str() == release.version.as_str(),
                format!("has version {}, the release is {}", said.version, release.version),
            ),
            Code::SecureVersionMismatch.unless(
                said.secure_version == target.secure_version,
                format!(
                    "has secure_version {}, the index says {}",
                    said.secure_version, target.secure_version
                ),
            ),
            app.unmappable.map_or(Ok(()), |at| Err(unmappable(at as u64))),
            target.slot_size.map_or(Ok(()), |slot| check_room(app.size as u64, slot.into())),
        ],
    };
    faults.into_iter().filter_map(Result::err)
}

fn is_for_chip(header: &Header, target: &IndexTarget) -> Result<(), Fault> {
    let message = format!("is for chip id {}, the target is an {}", header.chip_id, target.chip);
    Code::ChipMismatch
        .unless(header.chip_id == target.chip.id(), message)
        .map_err(|fault| fault.at_byte(CHIP_ID_OFFSET))
}

/// Checks the parts of a first flash against each other and against the
/// partition table among them.
fn check_parts(target: &IndexTarget, parts: &[(&IndexPart, &Facts)]) -> Vec<Finding> {
    let mut found = Vec::new();
    let by_role = |role: Role| parts.iter().find(|(part, _)| part.role == role);

    if parts.is_empty() {
        return found;
    }
    for role in [Role::Bootloader, Role::PartitionTable, Role::App] {
        if by_role(role).is_none() {
            let message = format!("has parts, but no {}", role.as_str());
            found.push(Code::PartMissing.of(target.target.as_str(), message));
        }
    }
    if let Some((part, facts)) = by_role(Role::Bootloader) {
        let result = match (facts.image, &facts.header) {
            (Err(error), _) => Err(image_fault(error)),
            (_, Err(error)) => Err(image_fault(*error)),
            (_, Ok(header)) => is_for_chip(header, target),
        };
        found.extend(result.err().map(|fault| fault.of(path(&part.file))));
        let app = by_role(Role::App).map(|(_, app)| app.marks).unwrap_or_default();
        let result = rollback::half(facts.rolls_back, app);
        found.extend(result.err().map(|fault| fault.of(path(&part.file))));
    }
    if let Some((part, facts)) = by_role(Role::Otadata)
        && let Some(at) = facts.written
    {
        let message = "is not blank: a first flash might boot another slot";
        found.push(Code::OtadataNotBlank.fault(message).at_byte(at).of(path(&part.file)));
    }
    if let Some((part, _)) = by_role(Role::App)
        && part.file != target.app
    {
        let message = "is not the image that updates carry";
        found.push(Code::AppDiffers.of(path(&part.file), message));
    }
    if let Some((part, facts)) = by_role(Role::PartitionTable) {
        match &facts.table {
            Err(error) => found.push(Code::PartitionTableInvalid.of(path(&part.file), error)),
            Ok(table) => {
                let placed: Vec<_> = parts
                    .iter()
                    .map(|(part, facts)| {
                        Placed::new(part.role, path(&part.file), part.offset, facts.size)
                    })
                    .collect();
                let partitions = table.partitions();
                let faults = faults(target.chip, target.flash_size, &placed, partitions);
                // Of an app that fits no slot, that was told.
                let is_told = |(at, fault): &(usize, Fault)| {
                    let (part, facts) = parts[*at];
                    part.role == Role::App
                        && fault.code() == Code::PartitionTooSmall
                        && target.slot_size.is_some_and(|slot| facts.size > slot as usize)
                };
                let faults = faults.into_iter().filter(|fault| !is_told(fault));
                let of_part = |(at, fault): (usize, Fault)| fault.of(path(&parts[at].0.file));
                found.extend(faults.map(of_part));
                let faults = table::faults(partitions).into_iter();
                found.extend(faults.map(|fault| fault.of(path(&part.file))));
                if target.slot_size != smallest_slot(partitions) {
                    let message = "has another slot size than the index states";
                    found.push(Code::SlotSizeDiffers.of(path(&part.file), message));
                }
            }
        }
    }
    found
}
