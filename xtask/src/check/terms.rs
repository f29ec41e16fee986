//! What holds a release back: index, records and descriptor have to say the
//! same of it.

use super::{Code, Fault};
use crate::site::{Index, IndexChannel, IndexPolicy, IndexRelease, IndexRollout, ServedTarget};
use towline_descriptor::{Descriptor, Policy, Rollout, Step, Version};

/// Checks the terms of a descriptor, and that its steps lead up over releases
/// of the site.
pub(super) fn check(
    index: &Index,
    channel: &IndexChannel,
    served: &ServedTarget,
    release: &IndexRelease,
    descriptor: &Descriptor<'_>,
) -> Result<(), Fault> {
    let expect = |ok: bool, message: &str| Code::TermsDiffer.unless(ok, message);
    expect(
        IndexRollout::of(descriptor.rollout) == channel.rollout,
        "rollout is not that of the channel",
    )?;
    expect(
        IndexPolicy::of(&descriptor.policy) == channel.policy,
        "policy is not that of the channel",
    )?;
    // Descriptors of before this field leave it out.
    let Some(mut lowest) = descriptor.min_from.as_ref() else {
        return expect(descriptor.steps.is_empty(), "has steps, and installs over any version");
    };
    expect(Some(lowest) == release.min_from.as_ref(), "min_from is not that of the release")?;
    for step in &descriptor.steps {
        check_step(index, served, step, lowest).map_err(|message| {
            Code::StepInvalid.fault(format!("step {}: {message}", step.version))
        })?;
        match &step.min_from {
            Some(min_from) => lowest = min_from,
            None => break,
        }
    }
    Ok(())
}

fn check_step(
    index: &Index,
    served: &ServedTarget,
    step: &Step<'_>,
    lowest: &Version,
) -> Result<(), String> {
    let expect = |ok: bool, message: &str| if ok { Ok(()) } else { Err(message.to_owned()) };
    let release = index.releases.iter().find(|release| release.version == step.version);
    let release = release.ok_or("there is no such release")?;
    expect(release.yanked.is_none(), "the release was yanked")?;
    expect(release.min_from == step.min_from, "min_from is not that of the release")?;
    expect(step.version.precedence(lowest).is_ge(), "is too old for what comes after it")?;
    let target = release.targets.iter().find(|target| target.target == served.target);
    let target = target.ok_or("the release has no such target")?;
    let path = target.app.path.as_deref().unwrap_or_default();
    expect(
        step.path.strip_prefix(index.base_url.as_str()) == Some(path),
        "path is not that of the release's image on this site",
    )?;
    expect(
        step.size == target.app.size && step.sha256 == target.app.sha256,
        "is not the image of the release",
    )
}

/// Takes from a descriptor what holds it back from some devices, for some time
/// or until they have gone up a step: what is left, a device has to install.
pub(super) fn release_from(descriptor: &mut Descriptor<'_>) {
    lift_conditions(descriptor);
    descriptor.min_from = None;
    descriptor.steps.clear();
}

/// Takes from a descriptor what holds it back from some devices or for some time.
pub(super) fn lift_conditions(descriptor: &mut Descriptor<'_>) {
    descriptor.rollout = Rollout::default();
    descriptor.policy = Policy::default();
}
