//! A site against the one that is published: what must not go backwards.

use super::{Code, Files, Finding, read_index};
use crate::{
    keys::chain::{Chain, FOLDER, Signed, file_name},
    signing::Standing,
    site::{INDEX, Index, IndexChannel},
};
use towline_descriptor::Version;

/// Finds what went backwards on a site against the one that is published: what
/// devices that have seen that one would refuse, and what was taken back, as by
/// an older commit.
///
/// A host that has no site yet is nothing to compare with.
pub fn check_against(files: &impl Files, published: &impl Files) -> Vec<Finding> {
    let unreadable = |message: String| {
        vec![Code::PublishedUnreadable.of(INDEX, format!("of the published site: {message}"))]
    };
    if matches!(published.absence(INDEX), Some(Ok(()))) {
        return Vec::new();
    }
    let (index, old) = match (read_index(files), read_index(published)) {
        (Ok(index), Ok(old)) => (index, old),
        // Told by the check of the site itself.
        (Err(_), _) => return Vec::new(),
        (_, Err(fault)) => return unreadable(fault.to_string()),
    };
    if index.project != old.project {
        return unreadable(format!("it is of project {}", old.project));
    }
    let mut problems = taken_back(&index, &old);
    for Finding { code, place, message, .. } in &mut problems {
        *message += &format!("; if that is meant, --allow {code}:{place}=REASON");
    }
    match roots_against(files, published, &old) {
        Ok((chain, faults)) => {
            problems.extend(faults);
            if let Some(chain) = chain {
                problems.extend(numbers_against(files, published, &index, &old, &chain));
            }
        }
        Err(message) => problems.extend(unreadable(message)),
    }
    problems
}

/// Finds releases, channels, yanks and pauses that would be gone.
fn taken_back(index: &Index, old: &Index) -> Vec<Finding> {
    let mut problems = Vec::new();
    for release in &old.releases {
        let version = &release.version;
        let path = format!("firmware/{}/{version}/", old.project);
        match index.releases.iter().find(|ours| ours.version == *version) {
            // Who limits what the site holds knows that.
            None if index.dropped.contains(version) => {}
            None => problems.push(Code::Gone.of(path, "is published, and would be gone")),
            Some(ours) if release.yanked.is_some() && ours.yanked.is_none() => {
                problems.push(Code::Unyanked.of(path, "is yanked, and would not be any more"));
            }
            Some(_) => {}
        }
    }
    let is_yanked = |version: &Version| {
        let mut releases = index.releases.iter();
        // A yanked release is the first that a site does without.
        releases.any(|ours| ours.version == *version && ours.yanked.is_some())
            || index.dropped.contains(version)
    };
    for channel in &old.channels {
        let path = format!("ota/{}/", channel.name);
        let Some(ours) = index.channels.iter().find(|ours| ours.name == channel.name) else {
            let message = "is published, and would be gone: devices would find no channel there";
            problems.push(Code::Gone.of(path, message));
            continue;
        };
        if channel.rollout.paused && !ours.rollout.paused && !is_ahead(ours, channel) {
            problems.push(Code::Unpaused.of(path, "is paused, and would not be any more"));
        }
        for served in &channel.targets {
            let is_served = ours.targets.iter().any(|t| t.target == served.target);
            // Who yanks a release knows that.
            if !is_served && !is_yanked(&served.version) {
                let message = "is published, and would be gone";
                problems.push(Code::Gone.of(&served.descriptor, message));
            }
        }
    }
    problems
}

/// Returns whether a channel serves something newer than before.
fn is_ahead(ours: &IndexChannel, before: &IndexChannel) -> bool {
    ours.targets.iter().any(|ours| {
        let served = before.targets.iter().find(|before| before.target == ours.target);
        served.is_none_or(|before| ours.version.precedence(&before.version).is_gt())
    })
}

/// Compares the roots, and returns those that are published, if there are some.
fn roots_against(
    files: &impl Files,
    published: &impl Files,
    old: &Index,
) -> Result<(Option<Chain>, Vec<Finding>), String> {
    let mut problems = Vec::new();
    let mut roots = Vec::new();
    for number in 1.. {
        let path = format!("{FOLDER}/{}", file_name(number));
        if !old.files.contains_key(&path) {
            break;
        }
        let theirs = published.read(&path).map_err(|message| format!("{path}: {message}"))?;
        let payload = |text: &[u8]| Signed::parse(text, &path).map(|signed| signed.payload).ok();
        match files.read(&path) {
            Err(_) => problems.push(Code::RootMissing.of(&path, "is published, and would be gone")),
            Ok(ours) if payload(&ours) != payload(&theirs) => {
                let message = "is published with other content: roots never change";
                problems.push(Code::RootDiffers.of(&path, message));
            }
            Ok(_) => {}
        }
        roots.push((path.clone(), theirs));
    }
    if roots.is_empty() {
        return Ok((None, problems));
    }
    // What nobody of the project has signed says nothing.
    let chain = Chain::verify(&roots, &old.project).map_err(|_| "its roots do not hold")?;
    Ok((Some(chain), problems))
}

/// Compares the numbers of what is signed. `chain` are the published roots.
fn numbers_against(
    files: &impl Files,
    published: &impl Files,
    index: &Index,
    old: &Index,
    chain: &Chain,
) -> Vec<Finding> {
    let mut problems = Vec::new();
    // The keys of both sides: a descriptor of now may have a new one.
    let ours: Vec<_> = (1..)
        .map(|number| format!("{FOLDER}/{}", file_name(number)))
        .map_while(|path| Some((path.clone(), files.read(&path).ok()?)))
        .collect();
    let our_chain = Chain::verify(&ours, &index.project).ok().filter(|_| !ours.is_empty());
    for channel in &old.channels {
        for served in &channel.targets {
            let path = &served.descriptor;
            let (Ok(theirs), Ok(ours)) = (published.read(path), files.read(path)) else { continue };
            let (theirs, ours) = (Standing::of(&[(path, &theirs)]), Standing::of(&[(path, &ours)]));
            let Some(before) = theirs.descriptor(path, &channel.name, chain) else { continue };
            let role = our_chain.as_ref().and_then(|c| c.newest().root.role_of(&channel.name));
            let now = our_chain.as_ref().and_then(|c| ours.descriptor(path, &channel.name, c));
            let fault = match now {
                None => Code::SignatureGone
                    .fault("is published with a signature, and has none that holds any more"),
                // Devices forget what a key signed that has lost the role.
                Some(_) if role.is_some_and(|(_, role)| !before.counts(role)) => continue,
                Some(now) if now.seq < before.seq => Code::SequenceBackwards.fault(format!(
                    "has seq {}, and {} is published: devices would refuse it",
                    now.seq, before.seq
                )),
                Some(now) if now.seq == before.seq && now.payload != before.payload => {
                    Code::SequenceBackwards.fault(format!(
                        "has the seq {} of what is published, with other content",
                        now.seq
                    ))
                }
                Some(_) => continue,
            };
            problems.push(fault.of(path));
        }
    }
    problems
}
